// Complex numbers by pairs, between two matrix products.
//
// A pair is two columns' numbers of one row. fp16 computes on packed pairs, two numbers an instruction; bf16 has too few
// bits for that (46 dB would become 43) and computes in fp32. Tables and spectra are fp16 in both.
#pragma once
#include "ptx.cuh"

using ptx::Bf16;
using ptx::Fp16;

struct PackedPair {
  unsigned bits;
};
struct FloatPair {
  float low, high;
};
template <class Number> struct PairOf;
template <> struct PairOf<Fp16> { using Type = PackedPair; };
template <> struct PairOf<Bf16> { using Type = FloatPair; };
template <class Number>
using Pair = typename PairOf<Number>::Type;

DEVICE PackedPair multiply(PackedPair a, PackedPair b) { return {ptx::multiply(Fp16(), a.bits, b.bits)}; }
DEVICE PackedPair multiply_add(PackedPair a, PackedPair b, PackedPair c) {
  return {ptx::multiply_add(Fp16(), a.bits, b.bits, c.bits)};
}
DEVICE PackedPair negative(PackedPair a) { return {a.bits ^ 0x80008000u}; }
DEVICE FloatPair multiply(FloatPair a, FloatPair b) { return {a.low * b.low, a.high * b.high}; }
DEVICE FloatPair multiply_add(FloatPair a, FloatPair b, FloatPair c) {
  return {fmaf(a.low, b.low, c.low), fmaf(a.high, b.high, c.high)};
}
DEVICE FloatPair negative(FloatPair a) { return {-a.low, -a.high}; }

// From accumulators, from a packed operand, from a table; and to a packed operand.
DEVICE PackedPair from_floats(Fp16, float low, float high) { return {ptx::pack(Fp16(), low, high)}; }
DEVICE FloatPair from_floats(Bf16, float low, float high) { return {low, high}; }
DEVICE PackedPair from_operand(Fp16, unsigned x) { return {x}; }
DEVICE FloatPair from_operand(Bf16, unsigned x) {
  const float2 v = ptx::unpack(Bf16(), x);
  return {v.x, v.y};
}
DEVICE PackedPair from_table(Fp16, unsigned x) { return {x}; }
DEVICE FloatPair from_table(Bf16, unsigned x) {
  const float2 v = ptx::unpack(Fp16(), x);
  return {v.x, v.y};
}
DEVICE unsigned to_operand(Fp16, PackedPair x) { return x.bits; }
DEVICE unsigned to_operand(Bf16, FloatPair x) { return ptx::pack(Bf16(), x.low, x.high); }

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

template <class Number>
DEVICE Complex<Pair<Number>> complex_from_table(unsigned re, unsigned im) {
  return {from_table(Number(), re), from_table(Number(), im)};
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

template <class Number>
DEVICE Complex<Pair<Number>> half_tile(const Accumulators& x, int half) {
  return {from_floats(Number(), x.re[2 * half], x.re[2 * half + 1]), from_floats(Number(), x.im[2 * half], x.im[2 * half + 1])};
}
template <class Number>
DEVICE Complex<Pair<Number>> half_tile(const Tile& x, int half) {
  return {from_operand(Number(), x.re[half]), from_operand(Number(), x.im[half])};
}
template <class Number>
DEVICE void set_half(Tile& to, int half, Complex<Pair<Number>> value) {
  to.re[half] = to_operand(Number(), value.re);
  to.im[half] = to_operand(Number(), value.im);
}
template <class Number>
DEVICE Tile rounded(const Accumulators& x) {
  Tile y;
  UNROLL for (int half = 0; half < 2; half++) {
    y.re[half] = ptx::pack(Number(), x.re[2 * half], x.re[2 * half + 1]);
    y.im[half] = ptx::pack(Number(), x.im[2 * half], x.im[2 * half + 1]);
  }
  return y;
}
// Times a tile of twiddles in table order: re, im of row g, re, im of row g + 8.
template <class Number, bool CONJUGATE>
DEVICE Tile multiply_by_twiddle(const Accumulators& x, uint4 twiddle) {
  Tile y;
  UNROLL for (int half = 0; half < 2; half++) {
    const auto w = half ? complex_from_table<Number>(twiddle.z, twiddle.w) : complex_from_table<Number>(twiddle.x, twiddle.y);
    set_half<Number>(y, half, multiply(half_tile<Number>(x, half), CONJUGATE ? conjugate(w) : w));
  }
  return y;
}
// The product of two fp16 twiddles, pair by pair, for the tile's two rows.
DEVICE uint4 multiply_twiddles(uint4 a, unsigned re, unsigned im) {
  const Complex<PackedPair> w{{re}, {im}};
  const Complex<PackedPair> low = multiply(Complex<PackedPair>{{a.x}, {a.y}}, w);
  const Complex<PackedPair> high = multiply(Complex<PackedPair>{{a.z}, {a.w}}, w);
  return make_uint4(low.re.bits, low.im.bits, high.re.bits, high.im.bits);
}
