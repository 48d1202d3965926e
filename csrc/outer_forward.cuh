// The first pass of a long convolution: rows times their gate to planes, one read of a row and one write of its planes.
// And of filters: taps to the planes of their fold.
#pragma once

#include "outer_planes.cuh"

namespace outer {

// From samples at n1, as `each_n1` deals them, to frequencies k1 = warp + R1 d (R1 = 1: k1 = d) in register d.
template <class S, bool REAL, Planes PLANES>
DEVICE void forward(Complex (&v)[S::held], const OuterArguments& a, const Place& at) {
  constexpr int first = S::R1 > 1 ? S::R1 : S::R2;
  UNROLL
  for (int i = 0; i < S::held / first; ++i) {
    Complex column[first];
    UNROLL
    for (int r = 0; r < first; ++r) column[r] = v[i * first + r];
    if constexpr (REAL) fft::dft_of_reals<-1>(column, fft::QuarterTwist());
    else fft::dft<-1>(column, fft::QuarterTwist());
    UNROLL
    for (int r = 0; r < first; ++r) v[i * first + r] = column[r];
  }
  const unsigned c = S::R1 > 1 ? at.warp : 0, points = S::R * a.points, n2 = at.n2;
  if constexpr (S::R1 > 1) {
    exchange_to_b<S>(v, memory::shared_base(), at.warp, at.lane);
    fft::dft<-1>(v, twist<S::R2, PLANES>(1 - 4 * c, 4 * S::R));
  }
  multiply_by_powers<PLANES>(v, unit<PLANES>(0 - n2 * (4 * c + S::R - 1), 4 * points), 0 - S::R1 * n2, points);
}

// combine(part of a register, sample) for each sample of a row that the window has; elsewhere a sample is 0. Barriers keep
// the compiler from fetching more of them at a time than there are registers for.
template <class S, class Number, bool REAL, bool WHOLE, class Row, class Combine>
DEVICE void each_sample(Complex (&v)[S::held], int points, Row row, Seen seen, int warp, Combine combine) {
  each_n1<S>(warp, [&](int r, int n1) {
    if (!REAL && r % 8 == 0) ptx::warp_barrier();
    UNROLL
    for (int part = 0; part < (REAL ? 1 : 2); ++part) {
      const int n = (n1 + part * S::R) * points;
      const auto sample = memory::load_if(WHOLE || (n < seen.end && n >= seen.begin), row + n);
      combine(part == 0 ? v[r].re : v[r].im, to_float(Number(), sample));
    }
  });
}

template <class S, class Number, bool REAL, class Combine>
DEVICE void each_sample(Complex (&v)[S::held], const OuterArguments& a, const void* tensor, Strides strides, Combine combine) {
  const Place at = place_of<S>(a);
  const int start = at.tile * a.hop - a.lead + at.n2;
  const Seen there = seen(start, a.length, a.span, at.n2);
  const auto* row = ptx::opaque(row_of<Number>(tensor, strides, at) + start);
  if (there.whole<S>(a.points, REAL ? 1 : 2)) each_sample<S, Number, REAL, true>(v, a.points, row, there, at.warp, combine);
  else each_sample<S, Number, REAL, false>(v, a.points, row, there, at.warp, combine);
}

// REAL: no window has a sample from M on. On (I / S::columns * channels, rows) blocks.
template <class S, class Number, bool REAL, Planes PLANES>
KERNEL(S::threads, (REAL ? S::blocks_of_reals : S::blocks_per_multiprocessor)) outer_forward(OuterArguments a) {
  Complex v[S::held];
  UNROLL
  for (int r = 0; r < S::held; ++r) v[r] = {0.0f, 0.0f};
  each_sample<S, Number, REAL>(v, a, a.samples, a.strides, [](float& to, float x) { to = x; });
  if (a.gate) each_sample<S, Number, REAL>(v, a, a.gate, a.gate_strides, [](float& to, float x) { to *= x; });
  const Place at = place_of<S>(a);
  forward<S, REAL, PLANES>(v, a, at);
  store_planes<S, PLANES>(v, a, at);
}

// Tap j stands at lag direction (j - offset), lag m at place m and lag -m, with its sign changed, at place 2M - m: see
// single_filter.cuh. visit(r, part, tap, sign) is called for each place that has a tap.
template <class S, class Visit>
DEVICE void each_tap(const OuterArguments& a, const Place& at, Visit visit) {
  const int points = S::R * a.points;
  each_n1<S>(at.warp, [&](int r, int n1) {
    UNROLL
    for (int part = 0; part < 2; ++part) {
      const int n = at.n2 + n1 * a.points + part * points;
      const int after = a.offset + a.direction * n, before = after - a.direction * 2 * points;
      const bool is_after = unsigned(after) < unsigned(a.length), is_before = unsigned(before) < unsigned(a.length);
      if (is_after || is_before) visit(r, part, is_after ? after : before, is_after ? 1.0f : -1.0f);
    }
  });
}

template <class S>
KERNEL(S::threads, S::blocks_per_multiprocessor) outer_filter_forward(OuterArguments a) {
  const Place at = place_of<S>(a);
  const float* taps = row_of<Fp32>(a.samples, a.strides, at);
  Complex v[S::held];
  UNROLL
  for (int r = 0; r < S::held; ++r) v[r] = {0.0f, 0.0f};
  each_tap<S>(a, at, [&](int r, int part, int tap, float sign) {
    (part == 0 ? v[r].re : v[r].im) = sign * memory::load(taps + tap);
  });
  const Place again = place_of<S>(a);
  forward<S, false, Planes::single>(v, a, again);
  store_planes<S, Planes::single>(v, a, again);
}

}  // namespace outer
