// A filter's taps to its spectrum in the half-precision kernels' own order, in fp32, and the gradient's way back.
//
// The ring is that of the fold, modulo z^M - i: a tap at lag p >= 0 is its coefficient p, and one at p < 0 stands at
// p + M with a factor of -i. So two-sided filters, and circular ones with a tap at both p and p - length, cost nothing.
#pragma once
#include "arguments.cuh"
#include "half_tables.cuh"

// ---- which taps stand at a lag

template <class Visit>
DEVICE void for_taps_at(const FilterArguments& a, int lag, Visit&& visit) {
  int tap = a.offset + a.direction * lag;
  if (!a.circular) {
    if (tap >= 0 && tap < a.taps) visit(tap);
    return;
  }
  tap %= a.length;
  for (tap += tap < 0 ? a.length : 0; tap < a.taps; tap += a.length) visit(tap);
}
// Lags beyond this no output can see.
DEVICE int lag_limit(const FilterArguments& a) { return a.length > a.out_length ? a.length : a.out_length; }

DEVICE float sum_of_taps(const FilterArguments& a, const float* k, const float* d, int lag) {
  float sum = 0;
  for_taps_at(a, lag, [&](int tap) { sum += memory::load(k + tap); });
  if (lag == 0 && d) sum += memory::load(d);
  return sum;
}

// ---- an FFT in shared memory, in place: natural order in, digits of the frequency reversed out, and its reverse

template <int M>
struct SharedFft {
  static constexpr unsigned bytes = M * 8;
  unsigned base;

  // Strides of every power of two touch all banks.
  METHOD unsigned at(int i) const { return base + (i ^ (i >> 4 & 3) * 5) * 8; }
  METHOD float2 load(int i) const { return memory::load_shared<float2>(at(i)); }
  METHOD void store(int i, float2 v) const { memory::store_shared(at(i), v); }

  // Where forward() leaves frequency k.
  DEVICE int place(int k) {
    int at = 0, span = M;
    while (span > 1) {
      const int radix = span >= 4 ? 4 : 2;
      span /= radix;
      at += k % radix * span;
      k /= radix;
    }
    return at;
  }
  METHOD void forward(int thread, int threads) const {
    int span = M;
    for (; span >= 4; span /= 4, ptx::block_barrier())
      for (int i = thread; i < M / 4; i += threads) butterfly<false>(span, i);
    if (span == 2) {
      for (int i = thread; i < M / 2; i += threads) butterfly2(i);
      ptx::block_barrier();
    }
  }
  // Unscaled: forward, then this, multiplies by M.
  METHOD void inverse(int thread, int threads) const {
    int span = 4;
    if (odd_power) {
      for (int i = thread; i < M / 2; i += threads) butterfly2(i);
      ptx::block_barrier();
      span = 8;
    }
    for (; span <= M; span *= 4, ptx::block_barrier())
      for (int i = thread; i < M / 4; i += threads) butterfly<true>(span, i);
  }

 private:
  static constexpr bool odd_power = (M & 0xaaaaaaaa) != 0;  // of two: one stage is of radix 2
  DEVICE float2 product(float2 a, float2 b) { return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }
  DEVICE float2 plus(float2 a, float2 b) { return make_float2(a.x + b.x, a.y + b.y); }
  DEVICE float2 minus(float2 a, float2 b) { return make_float2(a.x - b.x, a.y - b.y); }
  METHOD void butterfly2(int i) const {
    const float2 a = load(2 * i), b = load(2 * i + 1);
    store(2 * i, plus(a, b));
    store(2 * i + 1, minus(a, b));
  }
  // Radix 4, twiddles after it going forward and (conjugate) before it coming back.
  template <bool INVERSE>
  METHOD void butterfly(int span, int i) const {
    const int quarter = span / 4, position = i % quarter, first = i / quarter * span + position;
    const float2 w = root_of_unity(INVERSE ? -position : position, span, 1.f), w2 = product(w, w), w3 = product(w, w2);
    float2 a = load(first), b = load(first + quarter), c = load(first + 2 * quarter), d = load(first + 3 * quarter);
    if (INVERSE) b = product(b, w), c = product(c, w2), d = product(d, w3);
    const float2 even = plus(a, c), odd = minus(a, c), sum = plus(b, d), difference = minus(b, d);
    // minus i times the difference, or plus i
    const float2 turned = INVERSE ? make_float2(-difference.y, difference.x) : make_float2(difference.y, -difference.x);
    a = plus(even, sum), b = plus(odd, turned), c = minus(even, sum), d = minus(odd, turned);
    if (!INVERSE) b = product(b, w), c = product(c, w2), d = product(d, w3);
    store(first, a);
    store(first + quarter, b);
    store(first + 2 * quarter, c);
    store(first + 3 * quarter, d);
  }
};

DEVICE float2 complex_product(float2 a, float2 b) { return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }

template <class F>
struct FilterKernel {
  static constexpr int threads = F::points / 4 < 64 ? 64 : F::points / 4 > 512 ? 512 : F::points / 4;
  static constexpr unsigned shared_bytes = SharedFft<F::points>::bytes + 32 * 4;
};

// block_x is the filter, block_y the batch item where items have filters of their own.
template <class F>
KERNEL(FilterKernel<F>::threads, 1) half_filter_spectrum(FilterArguments a) {
  constexpr int M = F::points, threads = FilterKernel<F>::threads;
  const int thread = ptx::thread(), filter = ptx::block_x();
  const SharedFft<M> fft{memory::shared_base()};
  const unsigned peaks = fft.base + SharedFft<M>::bytes;
  const Index which = static_cast<Index>(ptx::block_y()) * a.filters + filter;
  const float* k = a.k + ptx::block_y() * a.tap_strides.batch + filter * a.tap_strides.channel;
  const float* d = a.d ? a.d + filter : nullptr;

  const int limit = lag_limit(a);
  for (int n = thread; n < M; n += threads) {
    float2 v = make_float2(0.f, 0.f);
    if (n < limit) v.x = sum_of_taps(a, k, d, n);
    if (n > M - limit) v.y = -sum_of_taps(a, k, d, n - M);
    fft.store(n, complex_product(v, root_of_unity(-n, 4 * M, 1.f)));
  }
  ptx::block_barrier();
  fft.forward(thread, threads);

  // The largest magnitude decides a power of two, so that the spectrum lies below 2 in fp16 whatever the filter's gain.
  float peak = 0;
  for (int i = thread; i < M; i += threads) {
    const float2 v = fft.load(i);
    peak = fmaxf(peak, v.x * v.x + v.y * v.y);
  }
  for (int mask = 16; mask > 0; mask /= 2) peak = fmaxf(peak, ptx::shuffle_xor(peak, mask));
  if (thread % 32 == 0) memory::store_shared(peaks + thread / 32 * 4, peak);
  ptx::block_barrier();
  for (int w = 0; w < threads / 32; w++) peak = fmaxf(peak, memory::load_shared<float>(peaks + w * 4));
  peak = sqrtf(peak);
  int exponent = static_cast<int>(ptx::as_unsigned(peak) >> 23) - 127;
  exponent = exponent < -100 ? 0 : exponent > 100 ? 100 : exponent;
  const float scale = ptx::as_float(static_cast<unsigned>(127 - exponent) << 23);
  if (thread == 0) memory::store(a.scale + which, ptx::as_float(static_cast<unsigned>(127 + exponent) << 23));

  uint4* to = static_cast<uint4*>(a.spectrum) + which * Spectrum<F>::entries;
  for (int entry = thread; entry < Spectrum<F>::entries; entry += threads) {
    float2 v[4];
    UNROLL for (int i = 0; i < 4; i++) {
      const SpectrumPoint point = spectrum_point<F>(entry, i);
      v[i] = fft.load(SharedFft<M>::place(point.k));
      if (F::channels == 2) {
        // even taps (K+ + K-) / 2, odd taps (K+ - K-) / 2 turned back by their place between the even ones
        const float2 other = fft.load(SharedFft<M>::place(point.k + M / 2));
        if (point.part == 0)
          v[i] = make_float2(.5f * (v[i].x + other.x), .5f * (v[i].y + other.y));
        else
          v[i] = complex_product(make_float2(v[i].x - other.x, v[i].y - other.y), root_of_unity(-point.kq, 32, .5f));
      }
      v[i].x *= scale, v[i].y *= scale;
    }
    memory::store(to + entry, make_uint4(ptx::pack(ptx::Fp16(), v[0].x, v[1].x), ptx::pack(ptx::Fp16(), v[0].y, v[1].y),
                                         ptx::pack(ptx::Fp16(), v[2].x, v[3].x), ptx::pack(ptx::Fp16(), v[2].y, v[3].y)));
  }
}

// The gradient of the taps, and of d, from the sums that the backward kernels leave: over the channels that share the filter
// and their chunks of the batch, always in the same order. Grid as for the spectrum; with a filter for each item, chunks
// are items, and dd is one a filter and item.
template <class F>
KERNEL(FilterKernel<F>::threads, 1) half_filter_gradient(FilterArguments a) {
  constexpr int M = F::points, threads = FilterKernel<F>::threads;
  const int thread = ptx::thread(), filter = ptx::block_x();
  const SharedFft<M> fft{memory::shared_base()};
  const Index which = static_cast<Index>(ptx::block_y()) * a.filters + filter;
  const float4* sums = reinterpret_cast<const float4*>(a.dspectrum);

  // Both halves of an entry, pair by pair: re, re, im, im.
  auto sum_of = [&](int entry, int half) {
    float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
    for (int c = 0; c < a.channels_per_filter; c++)
      for (int chunk = 0; chunk < a.chunks_per_filter; chunk++) {
        const Index from = static_cast<Index>(filter * a.channels_per_filter + c) * a.chunks +
                           static_cast<Index>(ptx::block_y()) * a.chunks_per_filter + chunk;
        const float4 v = memory::load(sums + from * (M / 2) + (entry / 32 * 2 + half) * 32 + entry % 32);
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
      }
    return sum;
  };
  for (int i = thread; i < Spectrum<F>::entries / F::channels; i += threads) {
    const int entry = i / 32 * (32 * F::channels) + i % 32;  // of an even tile; the odd one follows
    UNROLL for (int half = 0; half < 2; half++) {
      const float4 even = sum_of(entry, half), odd = F::channels == 2 ? sum_of(entry + 32, half) : even;
      UNROLL for (int j = 0; j < 2; j++) {
        const SpectrumPoint point = spectrum_point<F>(entry, 2 * half + j);
        const float2 a0 = j ? make_float2(even.y, even.w) : make_float2(even.x, even.z);
        if (F::channels == 1) {
          fft.store(SharedFft<M>::place(point.k), a0);
        } else {
          const float2 b0 = complex_product(j ? make_float2(odd.y, odd.w) : make_float2(odd.x, odd.z),
                                            root_of_unity(point.kq, 32, 1.f));
          fft.store(SharedFft<M>::place(point.k), make_float2(.5f * (a0.x + b0.x), .5f * (a0.y + b0.y)));
          fft.store(SharedFft<M>::place(point.k + M / 2), make_float2(.5f * (a0.x - b0.x), .5f * (a0.y - b0.y)));
        }
      }
    }
  }
  ptx::block_barrier();
  fft.inverse(thread, threads);

  const int limit = lag_limit(a);
  auto at_lag = [&](int lag) {
    if (lag >= limit || lag <= -limit) return 0.f;
    const int n = lag < 0 ? lag + M : lag;
    const float2 v = complex_product(fft.load(n), root_of_unity(n, 4 * M, 1.f));
    return lag < 0 ? -v.y : v.x;
  };
  for (int tap = thread; tap < a.taps; tap += threads) {
    int lag = a.direction * (tap - a.offset);
    float sum;
    if (a.circular) {
      lag %= a.length;
      lag += lag < 0 ? a.length : 0;
      sum = at_lag(lag) + (lag > 0 ? at_lag(lag - a.length) : 0.f);
    } else {
      sum = at_lag(lag);
    }
    memory::store(a.dk + which * a.taps + tap, sum);
  }
  if (a.dd && thread == 0) memory::store(a.dd + which, at_lag(0));
}
