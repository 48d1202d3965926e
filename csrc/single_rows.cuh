// Rows of samples in device memory, and the registers that hold them as points of the fold.
//
// The right-angle fold: M complex points modulo z^M - i stand for 2M real samples, sample n as the real and sample n + M as
// the imaginary part of point n. (Reduction of real polynomials modulo z^(2M) + 1 by its factor z^M - i, with which the
// other one is conjugate.) So a causal convolution of M samples with M taps has real points going in, and leaves its tail
// in the imaginary parts coming out, where nobody asks for it.
#pragma once

#include "arguments.cuh"
#include "single_transform.cuh"

namespace single {

// How far the samples reach. whole: there are M of them, in and out. padded: M or fewer. doubled: up to 2M.
enum class Extent { whole, padded, doubled };

// Which batch item and channel a row is; absent rows fill up the last round of a block's and touch no memory.
struct Row {
  int batch, channel;
  bool present;
};

DEVICE Index start_of(Row row, Strides strides) {
  return row.batch * strides.batch + row.channel * strides.channel;
}

// The channel's rows that a block works on in one round: `held` of them from `first` on, of which those before `end` exist.
struct Round {
  int channel, first, end;
};

DEVICE Row row_of(Round round, int row_in_block) {
  const int batch = round.first + row_in_block;
  const bool present = batch < round.end;
  return {present ? batch : round.first, round.channel, present};
}

// Calls visit(r, part, row, n) for the samples this thread holds among the first `length` of each row: register r, its real
// part (part 0) or imaginary one (part 1). elsewhere(r, part) for the others.
template <class S, Extent EXTENT, class Visit, class Elsewhere>
DEVICE void each_sample(Round round, int thread, int length, Visit visit, Elsewhere elsewhere) {
  using V = View<S, S::first_digit>;
  UNROLL
  for (int c = 0; c < V::columns; ++c) {
    const int index = V::column(thread) + c * V::column_step;
    const Row row = row_of(round, S::N1 > 1 ? 0 : index / S::first_columns);
    const int column = S::N1 > 1 ? index : index % S::first_columns;
    const int present_length = row.present ? length : 0;
    UNROLL
    for (int i = 0; i < V::radix; ++i) {
      UNROLL
      for (int part = 0; part < (EXTENT == Extent::doubled ? 2 : 1); ++part) {
        const int r = c * V::radix + i;
        const int n = column + i * S::first_columns + part * S::points;
        if (EXTENT == Extent::whole ? row.present : n < present_length) visit(r, part, row, n);
        else elsewhere(r, part);
      }
    }
  }
}

// v = sample(row, n) at every point; beyond `length` zero, and `sample` is not asked.
template <class S, Extent EXTENT, class Sample>
DEVICE void load_samples(Complex (&v)[S::held], Round round, int thread, int length, Sample sample) {
  each_sample<S, EXTENT>(
      round, thread, length,
      [&](int r, int part, Row row, int n) { (part == 0 ? v[r].re : v[r].im) = sample(row, n); },
      [&](int r, int part) { (part == 0 ? v[r].re : v[r].im) = 0.0f; });
}

// store(row, n, value) of every sample below `length` after `inverse`.
template <class S, Extent EXTENT, class Store>
DEVICE void store_samples(const Complex (&v)[S::held], Round round, int thread, int length, Store store) {
  each_sample<S, EXTENT>(
      round, thread, length,
      [&](int r, int part, Row row, int n) {
        const Complex sample = untwisted<S>(v, r);
        store(row, n, part == 0 ? sample.re : sample.im);
      },
      [](int, int) {});
}

}  // namespace single
