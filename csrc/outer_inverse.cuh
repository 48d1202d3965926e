// The last pass of a long convolution: planes to rows times their gate, and, where they are asked for, the same rows times
// another one. And of filters: the planes of a gradient to the taps'.
#pragma once

#include "outer_forward.cuh"

namespace outer {

// With z[n] = sum over k1 of W_R^(-n1 (k1 - 1/4)) W_M^(-n2 (k1 + (R - 1) / 4)) Y[k1], and a factor 1/R:
//
//   n1 k1 / R + n2 k1 / M  =  a c / R1 + (b I + n2) c / M  +  b d / R2 + n2 R1 d / M  (mod 1)
//
// is a twist for the sums over d and one for those over c. What is left of the quarters, n1 / 4R - n2 (R - 1) / 4M, is a
// factor of each column of c times a constant of each register.
template <class S, Planes PLANES>
DEVICE void inverse(Complex (&v)[S::held], const OuterArguments& a, const Place& at) {
  const unsigned points = S::R * a.points, n2 = at.n2, quarters = n2 * (S::R - 1);
  constexpr float scale = 1.0f / S::R;
  if constexpr (S::R1 == 1) {
    fft::dft_scaled<+1>(v, twist<S::R2, PLANES>(n2, points), scale * unit<PLANES>(quarters, 4 * points));
  } else {
    fft::dft<+1>(v, twist<S::R2, PLANES>(S::R1 * n2, points));
    exchange_to_c<S>(v, memory::shared_base(), at.warp, at.lane);
    UNROLL
    for (int i = 0; i < S::parts; ++i) {
      const unsigned further = (at.warp * S::parts + i) * a.points;
      Complex column[S::R1];
      UNROLL
      for (int c = 0; c < S::R1; ++c) column[c] = v[i * S::R1 + c];
      fft::dft_scaled<+1>(column, twist<S::R1, PLANES>(further + n2, points), scale * unit<PLANES>(quarters - further, 4 * points));
      UNROLL
      for (int c = 0; c < S::R1; ++c) v[i * S::R1 + c] = column[c];
    }
  }
  constexpr int last = S::R1 > 1 ? S::R1 : S::R2;
  UNROLL
  for (int r = 0; r < S::held; ++r) v[r] = fft::root(-(r % last), 4 * last) * v[r];
}

// The gate's samples, which will be wanted when all transforms are done.
template <class S, class Number>
DEVICE void prefetch_row(const OuterArguments& a, const Place& at) {
  const int start = at.tile * a.hop + at.n2;
  const auto* row = ptx::opaque(row_of<Number>(a.gate, a.gate_strides, at) + start);
  const Seen there = seen(start, a.length, a.span, at.n2);
  each_n1<S>(at.warp, [&](int, int n1) {
    if (n1 * a.points < there.end) ptx::prefetch(row + n1 * a.points);
  });
}

// One half of the window to a row, times its gate if it is GATED.
template <class S, class Number, bool WHOLE, bool GATED, class Row, class Factors>
DEVICE void store_half(const Complex (&v)[S::held], int half, int points, Row row, Factors factors, Seen seen, int warp) {
  each_n1<S>(warp, [&](int r, int n1) {
    const int n = n1 * points;
    const bool inside = WHOLE || n < seen.end;
    float sample = half == 0 ? v[r].re : v[r].im;
    if (GATED) sample *= to_float(Number(), memory::load_if(inside, factors + n));
    memory::store_if(inside, row + n, rounded(Number(), sample));
  });
}

// On as many blocks as outer_forward.
template <class S, class Number, Planes PLANES>
KERNEL(S::threads, S::blocks_per_multiprocessor) outer_inverse(OuterArguments a) {
  const int points = S::R * a.points;
  Complex v[S::held];
  {
    const Place at = place_of<S>(a);
    load_planes<S, PLANES>(v, a, at);
    if (a.gate) prefetch_row<S, Number>(a, at);
    inverse<S, PLANES>(v, a, at);
  }
  NO_UNROLL
  for (int result = 0; result < (a.second ? 2 : 1); ++result) {
    void* tensor = result == 0 ? a.samples : a.second;
    const void* gate = result == 0 ? a.gate : a.second_gate;
    const Strides strides = result == 0 ? a.strides : a.second_strides;
    const Strides gate_strides = result == 0 ? a.gate_strides : a.second_gate_strides;
    UNROLL
    for (int half = 0; half < 2; ++half) {
      if (half * points >= a.span) break;
      const Place at = place_of<S>(a);
      const int start = at.tile * a.hop + at.n2 + half * points;
      const Seen there = seen(start, a.length, a.span, at.n2 + half * points);
      auto* row = ptx::opaque(row_of<Number>(tensor, strides, at) + start);
      const auto* factors = gate ? ptx::opaque(row_of<Number>(gate, gate_strides, at) + start) : nullptr;
      const bool whole = there.whole<S>(a.points, 1);
      if (whole && gate) store_half<S, Number, true, true>(v, half, a.points, row, factors, there, at.warp);
      else if (whole) store_half<S, Number, true, false>(v, half, a.points, row, factors, there, at.warp);
      else if (gate) store_half<S, Number, false, true>(v, half, a.points, row, factors, there, at.warp);
      else store_half<S, Number, false, false>(v, half, a.points, row, factors, there, at.warp);
    }
  }
}

template <class S>
KERNEL(S::threads, S::blocks_per_multiprocessor) outer_filter_inverse(OuterArguments a) {
  const Place at = place_of<S>(a);
  float* taps = row_of<Fp32>(a.samples, a.strides, at);
  Complex v[S::held];
  load_planes<S, Planes::single>(v, a, at);
  inverse<S, Planes::single>(v, a, at);
  each_tap<S>(a, at, [&](int r, int part, int tap, float sign) {
    memory::store(taps + tap, sign * (part == 0 ? v[r].re : v[r].im));
  });
}

}  // namespace outer
