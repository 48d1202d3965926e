// Filter taps to spectrum, and the gradient of the spectrum back to taps, by the stages of the convolution itself: the
// spectrum comes out in the order in which `convolve` reads it.
//
// Both run on (filters / S::rows, items) blocks, S::threads each, with exchange_bytes<S, CELLS>() of shared memory.
#pragma once

#include "single_bins.cuh"

namespace single {

// The filters of one item that a block works on; what is a batch item of a row elsewhere is a filter here.
template <class S>
DEVICE Round filters_of_block(const FilterArguments& a) {
  return {int(ptx::block_y()), int(ptx::block_x()) * S::rows, a.filters};
}

DEVICE Index filter_number(const FilterArguments& a, Row row) {
  return Index(row.channel) * a.filters + row.batch;
}

// Samples modulo z^(2M) + 1: lag m >= 0 is the factor z^m, and lag -m is z^-m = -z^(2M - m). With length + out_length -
// 1 <= 2M, which the host sees to, no place stands for two lags that an output can see.
struct Lag {
  int lag;
  float sign;  // 0 where no output sees what is in this place
};

template <class S>
DEVICE Lag lag_at(const FilterArguments& a, int place) {
  if (place < a.out_length) return {place, 1.0f};
  const int below = 2 * S::points - place;
  return {-below, below < a.length ? -1.0f : 0.0f};
}

// The first tap that stands at a lag; in a circular filter every length-th tap after it does too.
DEVICE int first_tap(const FilterArguments& a, int lag) {
  const int tap = a.direction * lag + a.offset;
  if (!a.circular) return tap;
  const int remainder = tap % a.length;
  return remainder < 0 ? remainder + a.length : remainder;
}

// What the filter has in a place.
template <class S>
DEVICE float coefficient(const FilterArguments& a, Row row, int place) {
  const Lag at = lag_at<S>(a, place);
  if (at.sign == 0.0f) return 0.0f;
  const float* taps = a.k + row.channel * a.tap_strides.batch + row.batch * a.tap_strides.channel;
  float sum = place == 0 && a.d ? memory::load(a.d + filter_number(a, row)) : 0.0f;
  for (int tap = first_tap(a, at.lag); tap >= 0 && tap < a.taps; tap += a.length) {
    sum += memory::load(taps + tap);
    if (!a.circular) break;
  }
  return at.sign * sum;
}

template <class S, Cells CELLS>
KERNEL(S::threads, S::blocks_per_multiprocessor) filter_spectrum(FilterArguments a) {
  const int thread = int(ptx::thread());
  const Round round = filters_of_block<S>(a);
  const Place<S, CELLS> place = {static_cast<const float2*>(a.tables), memory::shared_base(), thread};

  Complex v[S::held];
  load_samples<S, Extent::doubled>(v, round, thread, 2 * S::points, [&](Row row, int n) {
    return [=, &a](int step) { return coefficient<S>(a, row, n + step); };
  });
  forward<false>(v, place);

  const BinColumn<S> column = bin_column<S>(thread);
  const Row row = row_of(round, column.row_in_block);
  if (!row.present) return;
  float4* spectrum = static_cast<float4*>(a.spectrum) + filter_number(a, row) * (S::points / 2) + column.first;
  each_bin_pair<S>(v, [&](int p, BinPair& x) {
    constexpr float scale = 1.0f / S::points;  // of the inverse transform, exact for it is a power of two
    memory::store(spectrum + p * BinColumn<S>::step, four({scale * x.even, scale * x.odd}));
  });
}

// The sums of all channels of a filter and of all their chunks, always in the same order.
template <class S>
DEVICE void sum_of_chunks(Complex (&v)[S::held], const FilterArguments& a, Round round, int thread) {
  const BinColumn<S> column = bin_column<S>(thread);
  const Row row = row_of(round, column.row_in_block);
  UNROLL
  for (int r = 0; r < S::held; ++r) v[r] = {0.0f, 0.0f};
  NO_UNROLL
  for (int i = 0; i < a.channels_per_filter * a.chunks_per_filter; ++i) {
    const int channel = row.batch * a.channels_per_filter + i / a.chunks_per_filter;
    const int chunk = row.channel * a.chunks_per_filter + i % a.chunks_per_filter;
    const Index spectrum = Index(channel) * a.chunks + chunk;
    const float4* sums = reinterpret_cast<const float4*>(a.dspectrum) + spectrum * (S::points / 2) + column.first;
    each_bin_pair<S>(v, [&](int p, BinPair& sum) {
      const BinPair more = bins(memory::load(sums + p * BinColumn<S>::step));
      sum = {sum.even + more.even, sum.odd + more.odd};
    });
  }
}

// A circular lag -m is the lag length - m: the gradients of the negative lags move over to it through shared memory.
template <class S>
DEVICE void fold_negative_lags(
    Complex (&v)[S::held], const FilterArguments& a, unsigned shared, Round round, int thread) {
  const auto cell = [&](Row row, int n) { return shared + ((row.batch - round.first) * S::points + n) * 4; };
  ptx::block_barrier();  // of the exchange before
  store_samples<S, Extent::doubled>(v, round, thread, 2 * S::points, [&](Row row, int n) {
    return [=](int step, float g) {
      if (step >= S::points) memory::store_shared(cell(row, n + step - S::points), -g);
    };
  });
  ptx::block_barrier();
  each_sample<S, Extent::padded>(
      round, thread, a.length,
      [&](Row row, int n) {
        return [=, &v, &a](int step, int r, int) {
          v[r] = untwisted<S>(v, r);
          if (n + step > 0) v[r].re += memory::load_shared<float>(cell(row, n + step + S::points - a.length));
        };
      },
      [](int, int) {});
}

template <class S, Cells CELLS>
KERNEL(S::threads, S::blocks_per_multiprocessor) filter_gradient(FilterArguments a) {
  const int thread = int(ptx::thread());
  const Round round = filters_of_block<S>(a);
  const Place<S, CELLS> place = {static_cast<const float2*>(a.tables), memory::shared_base(), thread};
  const auto gradient_of = [&](Row row) { return a.dk + filter_number(a, row) * a.taps; };

  Complex v[S::held];
  sum_of_chunks<S>(v, a, round, thread);
  inverse(v, place);
  UNROLL
  for (int r = 0; r < S::held; ++r) v[r] = (1.0f / S::points) * v[r];

  if (a.dd)
    store_samples<S, Extent::padded>(v, round, thread, 1, [&](Row row, int) {
      return [=, &a](int, float g) { memory::store(a.dd + filter_number(a, row), g); };
    });

  if (a.circular) {
    fold_negative_lags<S>(v, a, place.shared, round, thread);
    each_sample<S, Extent::padded>(
        round, thread, a.length,
        [&](Row row, int n) {
          return [=, &v, &a](int step, int r, int) {
            for (int tap = first_tap(a, n + step); tap < a.taps; tap += a.length)
              memory::store(gradient_of(row) + tap, v[r].re);
          };
        },
        [](int, int) {});
    return;
  }

  store_samples<S, Extent::doubled>(v, round, thread, 2 * S::points, [&](Row row, int n) {
    return [=, &a](int step, float g) {
      const Lag at = lag_at<S>(a, n + step);
      const int tap = first_tap(a, at.lag);
      if (at.sign != 0.0f && tap >= 0 && tap < a.taps) memory::store(gradient_of(row) + tap, at.sign * g);
    };
  });
  for (int i = 0; i < S::rows && round.first + i < round.end; ++i)
    for (int tap = thread; tap < a.taps; tap += S::threads) {
      const int lag = a.direction * (tap - a.offset);
      if (lag >= a.out_length || lag <= -a.length) memory::store(gradient_of(row_of(round, i)) + tap, 0.0f);
    }
}

}  // namespace single
