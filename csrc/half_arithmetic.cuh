// Complex numbers by pairs, between two matrix products.
//
// A pair is two columns' numbers of one row. Whatever the type of the samples, a row is computed in fp16 at a level of its
// own (half_rows.cuh): packed pairs, two numbers an instruction, and three more bits than bf16 has.
#pragma once
#include "ptx.cuh"

using ptx::Bf16;
using ptx::Fp16;

struct Pair {
  unsigned bits;
};
struct FloatPair {
  float low, high;
};

DEVICE Pair multiply(Pair a, Pair b) { return {ptx::multiply(Fp16(), a.bits, b.bits)}; }
DEVICE Pair multiply_add(Pair a, Pair b, Pair c) { return {ptx::multiply_add(Fp16(), a.bits, b.bits, c.bits)}; }
DEVICE Pair negative(Pair a) { return {ptx::negative(Fp16(), a.bits)}; }
DEVICE FloatPair multiply(FloatPair a, FloatPair b) { return {a.low * b.low, a.high * b.high}; }
DEVICE FloatPair multiply_add(FloatPair a, FloatPair b, FloatPair c) {
  return {fmaf(a.low, b.low, c.low), fmaf(a.high, b.high, c.high)};
}
DEVICE FloatPair negative(FloatPair a) { return {-a.low, -a.high}; }

template <class P>
struct Complex {
  P re, im;
};
template <class P>
DEVICE Complex<P> multiply(Complex<P> a, Complex<P> b) {
  return {multiply_add(negative(a.im), b.im, multiply(a.re, b.re)), multiply_add(a.re, b.im, multiply(a.im, b.re))};
}
template <class P>
DEVICE Complex<P> multiply_add(Complex<P> a, Complex<P> b, Complex<P> c) {
  return {multiply_add(negative(a.im), b.im, multiply_add(a.re, b.re, c.re)),
          multiply_add(a.re, b.im, multiply_add(a.im, b.re, c.im))};
}
template <class P>
DEVICE Complex<P> conjugate(Complex<P> a) { return {a.re, negative(a.im)}; }

// Of a row's tile, row g or (half 1) row g + 8, from table order: re, im, re, im.
DEVICE Complex<Pair> half_of(uint4 x, int half) {
  return half ? Complex<Pair>{{x.z}, {x.w}} : Complex<Pair>{{x.x}, {x.y}};
}

// ---- 16 x 8 complex tiles

// As a matrix product leaves it (fp32).
struct Accumulators {
  float re[4] = {0, 0, 0, 0}, im[4] = {0, 0, 0, 0};
};
// As 16-bit operand: [0] is row g, [1] row g + 8, each a pair of columns 2t, 2t + 1.
struct Tile {
  unsigned re[2], im[2];
};

DEVICE Complex<Pair> half_of(const Tile& x, int half) { return {{x.re[half]}, {x.im[half]}}; }
DEVICE void set_half(Tile& to, int half, Complex<Pair> value) { to.re[half] = value.re.bits, to.im[half] = value.im.bits; }
DEVICE Tile rounded(const Accumulators& x) {
  Tile y;
  UNROLL for (int half = 0; half < 2; half++) {
    y.re[half] = ptx::pack(Fp16(), x.re[2 * half], x.re[2 * half + 1]);
    y.im[half] = ptx::pack(Fp16(), x.im[2 * half], x.im[2 * half + 1]);
  }
  return y;
}
// Times a tile of twiddles in table order.
template <bool CONJUGATE>
DEVICE Tile multiply_by_twiddle(const Accumulators& x, uint4 twiddle) {
  Tile y = rounded(x);
  UNROLL for (int half = 0; half < 2; half++) {
    const Complex<Pair> w = half_of(twiddle, half);
    set_half(y, half, multiply(half_of(y, half), CONJUGATE ? conjugate(w) : w));
  }
  return y;
}
// The product of two twiddles in table order.
DEVICE uint4 multiply_twiddles(uint4 a, uint4 b) {
  const Complex<Pair> low = multiply(half_of(a, 0), half_of(b, 0)), high = multiply(half_of(a, 1), half_of(b, 1));
  return make_uint4(low.re.bits, low.im.bits, high.re.bits, high.im.bits);
}
