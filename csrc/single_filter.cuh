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
  return {int(ptx::block_y()), int(ptx::block_x()) * S::rows, a.filters, 1};
}

DEVICE Index filter_number(const FilterArguments& a, Row row) {
  return Index(row.channel) * a.filters + row.batch;
}

// Places are the coefficients modulo z^(2M) + 1: lag m >= 0 is the factor z^m, and lag -m is z^-m = -z^(2M - m). With
// length + out_length - 1 <= 2M, which the host sees to, no place stands for two lags that an output can see.
//
// A run is places with one tap after the other, forwards or backwards: place n has the tap direction n + `tap`.
struct Run {
  int begin, end;
  int tap;
  float sign;
};

// Calls visit(run) for lags from 0 on and, where NEGATIVE, for those below, as far as an output sees them. A circular
// filter is the sum of the linear ones at all offsets a multiple of `length` away.
template <class S, class Visit>
DEVICE void each_run(const FilterArguments& a, bool negative, Visit visit) {
  int offset = a.circular ? a.offset % a.length - a.length : a.offset;
  NO_UNROLL
  do {
    NO_UNROLL
    for (int side = 0; side <= int(negative); ++side) {
      const int origin = side * 2 * S::points;  // the place of lag 0
      const int first = a.direction > 0 ? origin - offset : origin + offset - (a.taps - 1);
      const int begin = side == 0 ? 0 : origin - a.length + 1, end = side == 0 ? a.out_length : origin;
      visit(Run{first > begin ? first : begin, first + a.taps < end ? first + a.taps : end,
                offset - a.direction * origin, side == 0 ? 1.0f : -1.0f});
    }
    offset += a.length;
  } while (a.circular && offset < a.taps + a.length);
}

// Goes through the places that this thread holds, but for parts without any of the run. of_row(row, tap) is called once
// for each column, tap being that of its first place, and gives what is called as visit(in_run, step, value) for tap +
// step and what its place holds.
template <class S, class OfRow>
DEVICE void each_tap(Complex (&v)[S::held], const FilterArguments& a, Run run, Round round, int thread, OfRow of_row) {
  UNROLL
  for (int part = 0; part < 2; ++part) {
    const int begin = run.begin - part * S::points, end = run.end - part * S::points;
    if (begin >= end || begin >= S::points || end <= 0) continue;
    each_column_of_samples<S>(round, thread, [&](Row row, int n, int first) {
      const auto visit = of_row(row, run.tap + a.direction * (n + part * S::points));
      UNROLL
      for (int i = 0; i < S::first_radix; ++i) {
        const int step = i * S::first_columns;
        const bool in_run = row.present && step >= begin - n && step < end - n;
        visit(in_run, a.direction * step, part == 0 ? v[first + i].re : v[first + i].im);
      }
    });
  }
}

// Calls visit(row, value) for place 0 of each row that this thread holds.
template <class S, class Visit>
DEVICE void each_first_place(Complex (&v)[S::held], Round round, int thread, Visit visit) {
  each_column_of_samples<S>(round, thread, [&](Row row, int n, int first) {
    if (row.present && n == 0) visit(row, v[first].re);
  });
}

// Zeros in place of the bins that are not kept.
template <class S>
DEVICE void keep_bins(Complex (&v)[S::held], const FilterArguments& a, int thread) {
  if (!a.mask) return;
  const int column = bin_column<S>(thread).first;
  const unsigned char* kept = a.mask + column / S::N2 + S::N1 * (column % S::N2);
  UNROLL
  for (int k3 = 0; k3 < S::held; ++k3)
    if (!memory::load(kept + k3 * BinColumn<S>::step)) v[k3] = {0.0f, 0.0f};
}

// The bins of the filters, as `forward` leaves them.
template <class P>
DEVICE void transform_taps(Points<P>& v, const FilterArguments& a, const P& place, Round round) {
  using S = typename P::S;
  UNROLL
  for (int r = 0; r < S::held; ++r) v[r] = {0.0f, 0.0f};
  if (a.d)
    each_first_place<S>(v, round, place.thread, [&](Row row, float& value) {
      value = memory::load(a.d + filter_number(a, row));
    });
  each_run<S>(a, true, [&](Run run) {
    each_tap<S>(v, a, run, round, place.thread, [&](Row row, int tap) {
      const float* taps = sample(a.k, {a.tap_strides.channel, a.tap_strides.batch}, row, tap);
      return [=](bool in_run, int step, float& value) { value += run.sign * memory::load_if(in_run, taps + step); };
    });
  });
  forward<false>(v, place);
  keep_bins<S>(v, a, place.thread);
}

template <class S, Cells CELLS>
KERNEL(S::threads, S::blocks_per_multiprocessor) filter_spectrum(FilterArguments a) {
  const int thread = int(ptx::thread());
  const Round round = filters_of_block<S>(a);
  const Place<S, CELLS> place = {static_cast<const float2*>(a.tables), memory::shared_base(), thread};

  Complex v[S::held];
  transform_taps(v, a, place, round);

  const BinColumn<S> column = bin_column<S>(thread);
  const Row row = row_of(round, column.row_in_block);
  if (!row.present) return;
  float4* spectrum = static_cast<float4*>(a.spectrum) + filter_number(a, row) * (S::points / 2) + column.first;
  each_bin_pair<S>(v, [&](int p, BinPair& x) {
    constexpr float scale = 1.0f / S::points;  // of the inverse transform, exact for it is a power of two
    memory::store(spectrum + p * BinColumn<S>::step, four({scale * x.even, scale * x.odd}));
  });
}

// Calls add(sums) for the sums of all channels of a filter and of all their chunks, always in the same order.
template <class S, class Add>
DEVICE void each_chunk(const FilterArguments& a, Row row, Add add) {
  NO_UNROLL
  for (int i = 0; i < a.channels_per_filter * a.chunks_per_filter; ++i) {
    const int channel = (row.batch / a.planes * a.channels_per_filter + i / a.chunks_per_filter) * a.planes + row.batch % a.planes;
    const int chunk = row.channel * a.chunks_per_filter + i % a.chunks_per_filter;
    add(reinterpret_cast<const float4*>(a.dspectrum) + (Index(channel) * a.chunks + chunk) * (S::points / 2));
  }
}

// A circular lag -m is the lag length - m: the gradients of the negative lags move over to it through shared memory.
template <class S>
DEVICE void fold_negative_lags(
    Complex (&v)[S::held], const FilterArguments& a, unsigned shared, Round round, int thread) {
  const auto cell = [&](Row row, int n) { return shared + ((row.batch - round.first) * S::points + n) * 4; };
  ptx::block_barrier();  // of the exchange before
  each_sample<S, Extent::padded>(
      round, thread, {S::points, 0, 0, S::points},
      [&](Row row, int n) {
        return [=, &v](int step, int r, int) { memory::store_shared(cell(row, n + step), v[r].im); };
      },
      [](int, int) {});
  ptx::block_barrier();
  each_sample<S, Extent::padded>(
      round, thread, {a.length, 0, 0, a.length},
      [&](Row row, int n) {
        return [=, &v, &a](int step, int r, int) {
          if (n + step > 0) v[r].re -= memory::load_shared<float>(cell(row, n + step + S::points - a.length));
        };
      },
      [](int, int) {});
}

// Taps whose lag no output sees: those at either end.
template <class S>
DEVICE void store_unseen_taps(const FilterArguments& a, float* gradient, int thread) {
  const bool forwards = a.direction > 0;
  const auto of_all = [&](int taps) { return taps < 0 ? 0 : taps < a.taps ? taps : a.taps; };
  const int before = of_all(a.offset + 1 - (forwards ? a.length : a.out_length));
  const int after = of_all(a.taps - a.offset - (forwards ? a.out_length : a.length));
  for (int i = thread; i < before + after; i += S::threads)
    memory::store(gradient + (i < before ? i : i - before + a.taps - after), 0.0f);
}

// The taps' gradients from their bins, `scale` times.
template <class P>
DEVICE void store_gradient(Points<P>& v, const FilterArguments& a, const P& place, Round round, float scale) {
  using S = typename P::S;
  const auto gradient_of = [&](Row row) { return a.dk + filter_number(a, row) * a.taps; };
  keep_bins<S>(v, a, place.thread);
  inverse(v, place);
  UNROLL
  for (int r = 0; r < S::held; ++r) v[r] = scale * untwisted<S>(v, r);

  if (a.dd)
    each_first_place<S>(v, round, place.thread, [&](Row row, float g) {
      memory::store(a.dd + filter_number(a, row), g);
    });
  if (a.circular) fold_negative_lags<S>(v, a, place.shared, round, place.thread);
  each_run<S>(a, !a.circular, [&](Run run) {
    each_tap<S>(v, a, run, round, place.thread, [&](Row row, int tap) {
      float* gradient = ptx::opaque(gradient_of(row) + tap);
      return [=](bool in_run, int step, float g) { memory::store_if(in_run, gradient + step, run.sign * g); };
    });
  });
  if (a.circular) return;
  for (int i = 0; i < S::rows && round.first + i < round.end; ++i)
    store_unseen_taps<S>(a, gradient_of(row_of(round, i)), place.thread);
}

template <class S, Cells CELLS>
KERNEL(S::threads, S::blocks_per_multiprocessor) filter_gradient(FilterArguments a) {
  const int thread = int(ptx::thread());
  const Round round = filters_of_block<S>(a);
  const Place<S, CELLS> place = {static_cast<const float2*>(a.tables), memory::shared_base(), thread};
  const BinColumn<S> column = bin_column<S>(thread);

  Complex v[S::held] = {};
  each_chunk<S>(a, row_of(round, column.row_in_block), [&](const float4* sums) {
    each_bin_pair<S>(v, [&](int p, BinPair& sum) {
      const BinPair more = bins(memory::load(sums + column.first + p * BinColumn<S>::step));
      sum = {sum.even + more.even, sum.odd + more.odd};
    });
  });
  store_gradient(v, a, place, round, 1.0f / S::points);
}

}  // namespace single
