// Complex numbers in registers, one fused multiply-add after another.
#pragma once

#include "ptx.cuh"

namespace fft {

struct Complex {
  float re, im;
};

// In memory a complex number is a float2: one access of eight bytes.
DEVICE Complex complex(float2 pair) {
  return {pair.x, pair.y};
}

DEVICE float2 pair(Complex a) {
  return make_float2(a.re, a.im);
}

DEVICE Complex operator+(Complex a, Complex b) {
  return {a.re + b.re, a.im + b.im};
}

DEVICE Complex operator*(Complex a, Complex b) {
  return {fmaf(a.re, b.re, -(a.im * b.im)), fmaf(a.re, b.im, a.im * b.re)};
}

DEVICE Complex operator*(float scale, Complex a) {
  return {scale * a.re, scale * a.im};
}

DEVICE Complex square(Complex a) {
  return {fmaf(a.re, a.re, -(a.im * a.im)), 2.0f * a.re * a.im};
}

DEVICE Complex conjugate(Complex a) {
  return {a.re, -a.im};
}

// a * e^(SIGN i pi/2): no arithmetic, two registers change their names.
template <int SIGN>
DEVICE Complex quarter_turn(Complex a) {
  return SIGN < 0 ? Complex{a.im, -a.re} : Complex{-a.im, a.re};
}

}  // namespace fft
