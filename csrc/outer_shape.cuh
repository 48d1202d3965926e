// Sizes of the outermost DFT of a long row, and which thread holds which of its points when.
//
// A row of M = R I complex points is too long for one block. Point n = n1 I + n2 and frequency k = k1 + R k2 make of its
// transform R-point ones over n1, twiddles, and I-point ones over n2:
//
//   n (k - 1/4) / M  =  n1 (k1 - 1/4) / R  +  n2 (k1 + (R - 1) / 4) / M  +  n2 (k2 - 1/4) / I  (mod 1).
//
// The quarter of the fold is in the last term as it is in a row of I points alone (single_transform.cuh), so that what
// convolves short rows convolves the R rows of frequency k1 too: complex points n2, the planes of a row. The passes here
// are the first term and the second, forth and back.
//
// R = R1 R2, R1 = 1 where one thread's registers hold all of a column. Otherwise n1 = a R2 + b and k1 = c + R1 d, and
//
//   n1 (k1 - 1/4) / R  =  a (c - 1/4) / R1  +  b (c - 1/4) / R + b d / R2  (mod 1):
//
// a thread holds columns of a, which become columns of c, and after an exchange one column of b, which becomes d. Lanes
// are neighbouring n2.
#pragma once

#include "fft_register.cuh"
#include "memory.cuh"

namespace outer {

using fft::Complex;

template <int R1_, int R2_>
struct Shape {
  static constexpr int R1 = R1_, R2 = R2_, R = R1 * R2;
  static constexpr int held = R2;  // points in a thread's registers
  static constexpr int threads = R1 > 1 ? 32 * R1 : 128;
  static constexpr int columns = R1 > 1 ? 32 : threads;  // n2 of a block
  static constexpr int exchange_bytes = R1 > 1 ? R * 32 * 8 : 0;
  static constexpr int shared_bytes = exchange_bytes + (R1 > 1 ? R1 * 4 : 0);  // and a peak of each warp
  static constexpr int parts = R1 > 1 ? R2 / R1 : 1;  // columns of a that a thread holds
  static constexpr int blocks_per_multiprocessor = (held == 32 ? 512 : parts > 1 ? 768 : 1024) / threads;
  static constexpr int blocks_of_reals = (held == 32 ? 512 : 1024) / threads;  // which take fewer registers

  static_assert(R1 <= R2, "registers for a column of b hold those of a");
};

// Of a power of two: the exponent of the number that it is.
DEVICE int log2_of_power(int power) { return int(ptx::as_unsigned(float(power)) >> 23) - 127; }

// How exact twiddles are: for planes in single precision as they can be, for those of fp16 to some 100 dB.
enum class Planes { single, half };

// e^(2 pi i numerator / denominator), the latter a power of two. The angle is reduced as an integer: exact, up to 2^24 of them.
template <Planes PLANES>
DEVICE Complex unit(unsigned numerator, unsigned denominator) {
  const int reduced = int(numerator & (denominator - 1)) - int((numerator & (denominator >> 1)) * 2);
  Complex unit;
  const float inverse = ptx::as_float((255u << 23) - ptx::as_unsigned(float(denominator)));  // 2 / denominator
  const float halves = float(reduced) * inverse;
  if constexpr (PLANES == Planes::single) ptx::sine_cosine_pi(halves, unit.im, unit.re);
  else ptx::rough_sine_cosine_pi(halves, unit.im, unit.re);
  return unit;
}

// The twist by c = unit(numerator, denominator): every other power from its own angle, as in a table.
template <int R, Planes PLANES>
DEVICE fft::Twist<R> twist(unsigned numerator, unsigned denominator) {
  constexpr int levels = fft::log2_of(R);
  fft::Twist<R> twist;
  UNROLL
  for (int level = 0; level < levels; level += 2) {
    const Complex power = unit<PLANES>(numerator << level, denominator);
    twist.power[levels - 1 - level] = power;
    if (level + 1 < levels) twist.power[levels - 2 - level] = square(power);
  }
  return twist;
}

// v[d] times first * step^d, with step = unit(numerator, denominator).
template <Planes PLANES, int R>
DEVICE void multiply_by_powers(Complex (&v)[R], Complex first, unsigned numerator, unsigned denominator) {
  const Complex step = unit<PLANES>(numerator, denominator), step4 = unit<PLANES>(4 * numerator, denominator);
  const Complex step16 = unit<PLANES>(16 * numerator, denominator);
  const Complex step8 = square(step4), step12 = step4 * step8, fine[4] = {first, first * step, first * square(step), {}};
  UNROLL
  for (int d = 0; d < R; ++d) {
    const Complex of_four = d % 4 < 3 ? fine[d % 4] : fine[2] * step;
    Complex power = d / 4 % 4 == 0 ? of_four : of_four * (d / 4 % 4 == 1 ? step4 : d / 4 % 4 == 2 ? step8 : step12);
    if (d >= 16) power = power * step16;
    v[d] = v[d] * power;
  }
}

// Columns of c, `parts` of them, to one of b: thread (warp, lane) holds those of b = warp * parts + i, and c = warp. The
// way back is the same with both sides changed.
template <class S>
DEVICE unsigned cell(int b, int c, int lane) {
  return unsigned(((c * S::R2 + b) * 32 + lane) * 8);
}

template <class S>
DEVICE void exchange_to_b(Complex (&v)[S::held], unsigned shared, int warp, int lane) {
  UNROLL
  for (int r = 0; r < S::held; ++r)
    memory::store_shared(shared + cell<S>(warp * S::parts + r / S::R1, r % S::R1, lane), fft::pair(v[r]));
  ptx::block_barrier();
  UNROLL
  for (int b = 0; b < S::R2; ++b) v[b] = fft::complex(memory::load_shared<float2>(shared + cell<S>(b, warp, lane)));
}

template <class S>
DEVICE void exchange_to_c(Complex (&v)[S::held], unsigned shared, int warp, int lane) {
  UNROLL
  for (int b = 0; b < S::R2; ++b) memory::store_shared(shared + cell<S>(b, warp, lane), fft::pair(v[b]));
  ptx::block_barrier();
  UNROLL
  for (int r = 0; r < S::held; ++r)
    v[r] = fft::complex(memory::load_shared<float2>(shared + cell<S>(warp * S::parts + r / S::R1, r % S::R1, lane)));
}

}  // namespace outer
