// Where the twists of each stage lie in the one table of a size. The host computes it in float64 and rounds.
//
// A section for columns of radix R holds, for each power c^(4^j) below c^R in turn, that power of every column's c:
//
//   section         columns            c, with W_n = e^(-2 pi i / n)
//   second          k1                 W_(N1 N2)^(k1 - 1/4)                only where N1 > 1
//   third           k1 N2 + k2         W_M^(k1 + N1 k2 - 1/4)
//   second_inverse  n3                 W_(N2 N3)^(-n3)
//   first_inverse   n2 N3 + n3         W_M^(-(n2 N3 + n3))                 only where N1 > 1
//   untwist         n = first column   W_M^(n / 4), itself only
//
// The quarter is the right angle of the fold: M points modulo z^M - i are 2M modulo z^(2M) + 1, see single_rows.cuh.
#pragma once

#include "fft_register.cuh"
#include "memory.cuh"
#include "single_shape.cuh"

namespace single {

template <class S>
struct Tables {
  static constexpr int second = 0;
  static constexpr int third = second + (S::N1 > 1 ? fft::tabled_powers(S::N2) * S::N1 : 0);
  static constexpr int second_inverse = third + fft::tabled_powers(S::N3) * S::N1 * S::N2;
  static constexpr int first_inverse = second_inverse + fft::tabled_powers(S::N2) * S::N3;
  static constexpr int untwist = first_inverse + (S::N1 > 1 ? fft::tabled_powers(S::N1) * S::N2 * S::N3 : 0);
  static constexpr int entries = untwist + S::first_columns;
};

// The twist of one column in a section of COLUMNS columns.
template <int R, int COLUMNS>
DEVICE fft::Twist<R> load_twist(const float2* section, int column) {
  return fft::load_twist<R>([&](int entry) { return fft::complex(memory::load(section + column + entry)); }, COLUMNS);
}

}  // namespace single
