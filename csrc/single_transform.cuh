// The transform of a row held by a block, or of several held by its warps, there and back.
//
// Forward: X[k] = sum over n of z[n] W_M^(n (k - 1/4)). The quarter makes it the transform modulo z^M - i without a
// pass of its own: n (k - 1/4) / M is, digit by digit,
//
//   n1 (k1 - 1/4) / N1  +  n2 (k1 - 1/4) / (N1 N2) + n2 k2 / N2  +  n3 (k1 + N1 k2 - 1/4) / M + n3 k3 / N3  (mod 1),
//
// a twist of each column in each of the three stages. The inverse undoes k3, k2, k1 in turn, from
//
//   k n / M  =  k3 n3 / N3  +  k2 n3 / (N2 N3) + k2 n2 / N2  +  k1 (n2 N3 + n3) / M + k1 n1 / N1  (mod 1),
//
// and what is left of the quarter, W_M^(n / 4), is a factor of each column times a constant of each register. No stage
// reverses bits in memory: a spectrum stays in the order in which the threads hold it.
#pragma once

#include "single_exchange.cuh"
#include "single_tables.cuh"

namespace single {

// What a thread needs to know to take part: where the tables and the shared memory are, and who it is.
template <class S_, Cells CELLS>
struct Place {
  using S = S_;
  static constexpr Cells cells = CELLS;
  const float2* tables;
  unsigned shared;
  int thread;
};

template <class P>
using Points = Complex[P::S::held];

template <class P, int DIGIT>
using Column = Complex[View<typename P::S, DIGIT>::radix];

// Calls transform(column, index of the column in the block) for each of the thread's columns along a digit.
template <int DIGIT, class P, class ColumnTransform>
DEVICE void each_column(Points<P>& v, const P& place, ColumnTransform transform) {
  using V = View<typename P::S, DIGIT>;
  UNROLL
  for (int c = 0; c < V::columns; ++c) {
    Column<P, DIGIT> column;
    UNROLL
    for (int i = 0; i < V::radix; ++i) column[i] = v[c * V::radix + i];
    transform(column, V::column(place.thread) + c * V::column_step);
    UNROLL
    for (int i = 0; i < V::radix; ++i) v[c * V::radix + i] = column[i];
  }
}

template <int FROM, int TO, class P>
DEVICE void exchange(Points<P>& v, const P& place) {
  exchange<typename P::S, FROM, TO, P::cells>(v, place.shared, place.thread);
}

// ---- the stages

template <bool REAL, class P>
DEVICE void first(Points<P>& v, const P& place) {
  constexpr int digit = P::S::first_digit;
  each_column<digit>(v, place, [](Column<P, digit>& column, int) {
    if constexpr (REAL) fft::dft_of_reals<-1>(column, fft::QuarterTwist());
    else fft::dft<-1>(column, fft::QuarterTwist());
  });
}

template <class P>
DEVICE void second(Points<P>& v, const P& place) {
  using S = typename P::S;
  each_column<2>(v, place, [&](Column<P, 2>& column, int index) {
    fft::dft<-1>(column, load_twist<S::N2, S::N1>(place.tables + Tables<S>::second, index / S::N3));
  });
}

template <class P>
DEVICE void third(Points<P>& v, const P& place) {
  using S = typename P::S;
  each_column<3>(v, place, [&](Column<P, 3>& column, int index) {
    constexpr int columns = S::N1 * S::N2;
    fft::dft<-1>(column, load_twist<S::N3, columns>(place.tables + Tables<S>::third, index % columns));
  });
}

template <class P>
DEVICE void third_inverse(Points<P>& v, const P& place) {
  each_column<3>(v, place, [](Column<P, 3>& column, int) { fft::dft<+1>(column, fft::Untwisted()); });
}

template <class P>
DEVICE void second_inverse(Points<P>& v, const P& place) {
  using S = typename P::S;
  each_column<2>(v, place, [&](Column<P, 2>& column, int index) {
    fft::dft<+1>(column, load_twist<S::N2, S::N3>(place.tables + Tables<S>::second_inverse, index % S::N3));
  });
}

template <class P>
DEVICE void first_inverse(Points<P>& v, const P& place) {
  using S = typename P::S;
  using T = Tables<S>;
  each_column<S::first_digit>(v, place, [&](Column<P, S::first_digit>& column, int index) {
    constexpr int section = S::N1 > 1 ? T::first_inverse : T::second_inverse;
    const int in_row = index % S::first_columns;
    const Complex untwist = fft::complex(memory::load(place.tables + T::untwist + in_row));
    fft::dft_scaled<+1>(column, load_twist<S::first_radix, S::first_columns>(place.tables + section, in_row), untwist);
  });
}

// ---- the transforms

// From columns of time (View first_digit) to columns of frequency (View 3). REAL: the imaginary parts are zero and
// never read.
template <bool REAL, class P>
DEVICE void forward(Points<P>& v, const P& place) {
  first<REAL>(v, place);
  if constexpr (P::S::N1 > 1) {
    exchange<1, 2>(v, place);
    second(v, place);
  }
  exchange<2, 3>(v, place);
  third(v, place);
}

// And back, without the factor 1/M, which the filter's spectrum brings, and without the constants of `untwisted`.
template <class P>
DEVICE void inverse(Points<P>& v, const P& place) {
  third_inverse(v, place);
  exchange<3, 2>(v, place);
  if constexpr (P::S::N1 > 1) {
    second_inverse(v, place);
    exchange<2, 1>(v, place);
  }
  first_inverse(v, place);
}

// What register r holds after `inverse`, modulo z^M - i: its real part is the sample n, the imaginary one n + M.
template <class S>
DEVICE Complex untwisted(const Complex (&v)[S::held], int r) {
  return fft::root(-(r % S::first_radix), 4 * S::first_radix) * v[r];
}

}  // namespace single
