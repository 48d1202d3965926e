// The discrete Fourier transform of R numbers that one thread holds in registers, twisted.
//
// Twisted by c it is X[k] = sum over n of v[n] (c W^k)^n, W = e^(SIGN 2 pi i / R): the polynomial with coefficients v
// at the points c W^k. The twiddles between the stages of a long transform are such a c, a different one for each
// column, so they cost no pass of their own: decimation in time splits the polynomial into its even and its odd part,
//
//     p(x) = even(x^2) + x odd(x^2),
//
// and the twist only changes the x of each butterfly, a + x b and a - x b: six multiply-adds, for the second is
// 2 a - (a + x b).
#pragma once

#include "fft_roots.cuh"

namespace fft {

// Neither loops nor calls itself: indices made of these must become constants before registers are assigned.
DEVICE constexpr int log2_of(int power_of_two) {
  return (power_of_two > 1) + (power_of_two > 2) + (power_of_two > 4) + (power_of_two > 8) + (power_of_two > 16);
}

DEVICE constexpr int bit_reversed(int index, int length) {  // of at most 32
  const int of_32 = (index & 1) << 4 | (index & 2) << 2 | (index & 4) | (index & 8) >> 2 | (index & 16) >> 4;
  return of_32 / (32 / length);
}

// The points x at which the polynomials of length `length` are evaluated, x = c^(R / length) W_length^index, come from
// one of three kinds of twist.

struct Untwisted {  // c = 1
  static constexpr bool untwisted = true;
};

template <int SIGN>
DEVICE Complex point(Untwisted, int length, int index) {
  return root(SIGN * index, length);
}

// c = e^(-SIGN pi i / 2R): the bins lie a quarter of their distance lower, at k - 1/4. The first transform of a
// right-angle convolution; like Untwisted it needs no table.
struct QuarterTwist {
  static constexpr bool untwisted = false;
};

template <int SIGN>
DEVICE Complex point(QuarterTwist, int length, int index) {
  return root(SIGN * (4 * index - 1), 4 * length);
}

// Any c. Every other power of two of c is rounded from float64, in a table; the rest are squares of those. All of them
// by repeated squaring would lose 8 dB.
template <int R>
struct Twist {
  static constexpr bool untwisted = false;
  Complex power[log2_of(R)];  // c^(R/2), c^(R/4), ..., c
};

template <int SIGN, int R>
DEVICE Complex point(const Twist<R>& twist, int length, int index) {
  const Complex base = twist.power[log2_of(length) - 1];
  return index == 0 ? base : base * root(SIGN * index, length);
}

DEVICE constexpr int tabled_powers(int radix) {  // c, c^4, c^16, ..., below c^radix
  return (log2_of(radix) + 1) / 2;
}

// Entries of the table stand `stride` apart: c, c^4, c^16, ...
template <int R, class Load>
DEVICE Twist<R> load_twist(Load load, int stride) {
  constexpr int levels = log2_of(R);
  Twist<R> twist;
  UNROLL
  for (int level = 0; level < levels; level += 2) {
    const Complex power = load(level / 2 * stride);
    twist.power[levels - 1 - level] = power;
    if (level + 1 < levels) twist.power[levels - 2 - level] = square(power);
  }
  return twist;
}

DEVICE void butterfly(Complex& a, Complex& b, Complex x) {
  const Complex sum = {fmaf(-x.im, b.im, fmaf(x.re, b.re, a.re)), fmaf(x.im, b.re, fmaf(x.re, b.im, a.im))};
  b = {fmaf(2.0f, a.re, -sum.re), fmaf(2.0f, a.im, -sum.im)};
  a = sum;
}

DEVICE void butterfly(Complex& a, Complex& b) {  // at x = 1
  const Complex difference = {a.re - b.re, a.im - b.im};
  a = {a.re + b.re, a.im + b.im};
  b = difference;
}

DEVICE void butterfly_of_reals(Complex& a, Complex& b, Complex x) {  // both imaginary parts are zero
  const Complex product = {0.0f, x.im * b.re};
  const Complex sum = {fmaf(x.re, b.re, a.re), product.im};
  b = {fmaf(-x.re, b.re, a.re), -product.im};
  a = sum;
}

template <int R>
DEVICE void reverse_bits(Complex (&v)[R]) {  // register names only, no instruction
  UNROLL
  for (int i = 0; i < R; ++i) {
    const int j = bit_reversed(i, R);
    if (i < j) {
      const Complex kept = v[i];
      v[i] = v[j];
      v[j] = kept;
    }
  }
}

// Polynomials of length 2, 4, ... R. The second quarter of the points is the first turned by a right angle.
template <int LENGTH, int SIGN, bool REAL, int R, class Points>
DEVICE void combine(Complex (&v)[R], const Points& points) {
  constexpr bool untwisted = Points::untwisted;
  constexpr int half = LENGTH / 2;
  constexpr int quarter = LENGTH < 4 ? 1 : LENGTH / 4;
  UNROLL
  for (int j = 0; j < quarter; ++j) {
    const Complex x = point<SIGN>(points, LENGTH, j);
    UNROLL
    for (int start = j; start < R; start += LENGTH) {
      Complex &a = v[start], &b = v[start + half];
      if (REAL && LENGTH == 2) butterfly_of_reals(a, b, x);
      else if (untwisted && j == 0) butterfly(a, b);
      else butterfly(a, b, x);
      if (LENGTH < 4) continue;
      Complex &c = v[start + quarter], &d = v[start + quarter + half];
      if (untwisted && j == 0) {
        d = quarter_turn<SIGN>(d);
        butterfly(c, d);
      } else {
        butterfly(c, d, quarter_turn<SIGN>(x));
      }
    }
  }
  if constexpr (LENGTH < R) combine<2 * LENGTH, SIGN, REAL>(v, points);
}

// SIGN -1 is the forward transform, +1 the inverse without its factor 1/R.
template <int SIGN, int R, class Points>
DEVICE void dft(Complex (&v)[R], const Points& points) {
  reverse_bits(v);
  combine<2, SIGN, false>(v, points);
}

// The same of real numbers: the imaginary parts of v are never read.
template <int SIGN, int R, class Points>
DEVICE void dft_of_reals(Complex (&v)[R], const Points& points) {
  reverse_bits(v);
  combine<2, SIGN, true>(v, points);
}

// scale times dft(v), at half the price of scaling each result: the first butterflies become scale a +- (scale x) b.
template <int SIGN, int R>
DEVICE void dft_scaled(Complex (&v)[R], Twist<R> twist, Complex scale) {
  reverse_bits(v);
  UNROLL
  for (int i = 0; i < R; i += 2) v[i] = scale * v[i];
  twist.power[0] = scale * twist.power[0];
  combine<2, SIGN, false>(v, twist);
}

}  // namespace fft
