// Rows of samples in device memory, and the registers that hold them as points of the fold.
//
// The right-angle fold: M complex points modulo z^M - i stand for 2M real samples, sample n as the real and sample n +
// M as the imaginary part of point n. (Reduction of real polynomials modulo z^(2M) + 1 by its factor z^M - i, with
// which the other one is conjugate.) So a causal convolution of M samples with M taps has real points going in, and
// leaves its tail in the imaginary parts coming out, where nobody asks for it.
#pragma once

#include "arguments.cuh"
#include "single_transform.cuh"

namespace single {

// How far the samples reach. whole: there are M of them, in and out. padded: M or fewer. doubled: up to 2M. tiled: rows are
// tiles of longer ones, each the 2M samples of its window.
enum class Extent { whole, padded, doubled, tiled };

template <Extent EXTENT>
constexpr bool has_second_half = EXTENT == Extent::doubled || EXTENT == Extent::tiled;

// Which batch item, channel and tile a row is; absent rows fill up the last round of a block's and touch no memory.
struct Row {
  int batch, channel, tile;
  bool present;
};

// The samples of a tensor that rows see: so many it has, and tile t sees `span` of them from t hop - lead on.
struct Seen {
  int length, hop, lead, span;

  METHOD int first(Row row) const { return row.tile * hop - lead; }
};

// Those of u, and those of y.
template <class S, Extent EXTENT>
DEVICE Seen seen_in(const Arguments& a) {
  if constexpr (EXTENT == Extent::tiled) return {a.length, a.hop, a.lead, 2 * S::points};
  else return {a.length, 0, 0, a.length};
}

template <Extent EXTENT>
DEVICE Seen seen_out(const Arguments& a) {
  if constexpr (EXTENT == Extent::tiled) return {a.out_length, a.hop, 0, a.hop};
  else return {a.out_length, 0, 0, a.out_length};
}

// Sample n of a row. Opaque, for otherwise the compiler works the address out anew for each of the samples that follow
// it at constant distances, which the load instruction would add for nothing.
DEVICE const float* sample(const void* tensor, Strides strides, Row row, int n) {
  const Index start = row.batch * strides.batch + row.channel * strides.channel;
  return ptx::opaque(static_cast<const float*>(tensor) + (start + n));
}

DEVICE float* sample(void* tensor, Strides strides, Row row, int n) {
  return const_cast<float*>(sample(static_cast<const void*>(tensor), strides, row, n));
}

// A row's gate from sample n on, where there is a gate.
template <bool GATED>
struct Gate {
  const float* from;
};

template <bool GATED>
DEVICE Gate<GATED> gate(const void* tensor, Strides strides, Row row, int n) {
  if constexpr (GATED) return {sample(tensor, strides, row, n)};
  else return {nullptr};
}

template <bool GATED>
DEVICE float gated(Gate<GATED> gate, int step, float x) {
  if constexpr (GATED) return x * memory::load(gate.from + step);
  else return x;
}

// The channel's rows that a block works on in one round: S::rows of them from `first` on, of which those before `end`
// exist. Each batch item has `tiles` of them.
struct Round {
  int channel, first, end, tiles;
};

// Round `number` of this block's, empty after the last.
template <class S, Extent EXTENT>
DEVICE Round round_of_block(const Arguments& a, int number) {
  const int begin = int(ptx::block_y()) * a.rows_per_block;
  const int end = begin + a.rows_per_block < a.batch ? begin + a.rows_per_block : a.batch;
  return {int(ptx::block_x()), begin + number * S::rows, end, EXTENT == Extent::tiled ? a.tiles : 1};
}

DEVICE Row row_of(Round round, int row_in_block) {
  const bool present = round.first + row_in_block < round.end;
  const int row = present ? round.first + row_in_block : round.first;
  return {row / round.tiles, round.channel, row % round.tiles, present};
}

// Calls visit(row, n, r) for each column of samples that this thread holds: register r is sample n of the row, and the
// column's i-th the one i S::first_columns further.
template <class S, class Visit>
DEVICE void each_column_of_samples(Round round, int thread, Visit visit) {
  using V = View<S, S::first_digit>;
  UNROLL
  for (int c = 0; c < V::columns; ++c) {
    const int index = V::column(thread) + c * V::column_step;
    const int row_in_block = S::N1 > 1 ? 0 : index / S::first_columns;
    visit(row_of(round, row_in_block), S::N1 > 1 ? index : index % S::first_columns, c * V::radix);
  }
}

// Goes through the samples that this thread holds among those that each row sees. of_row(row, n) is called once for each
// column, n being its first sample, and gives what is called as visit(step, r, part) for sample n + step: step is a
// constant, so that addresses are worked out once a column, and the sample is the real part (part 0) or the imaginary
// one (part 1) of register r. elsewhere(r, part) is called for the others.
template <class S, Extent EXTENT, class OfRow, class Elsewhere>
DEVICE void each_sample(Round round, int thread, Seen seen, OfRow of_row, Elsewhere elsewhere) {
  each_column_of_samples<S>(round, thread, [&](Row row, int n, int first) {
    const int begin = seen.first(row), rest = seen.length - begin;
    const int left = row.present ? (EXTENT == Extent::tiled && seen.span < rest ? seen.span : rest) - n : 0;
    const int before = EXTENT == Extent::tiled ? -begin - n : 0;
    const auto visit = of_row(row, begin + n);
    UNROLL
    for (int i = 0; i < S::first_radix; ++i) {
      UNROLL
      for (int part = 0; part < (has_second_half<EXTENT> ? 2 : 1); ++part) {
        const int step = i * S::first_columns + part * S::points;
        if (EXTENT == Extent::whole ? row.present : step < left && step >= before) visit(step, first + i, part);
        else elsewhere(first + i, part);
      }
    }
  });
}

// v is filled with sample_of(row, n)(step); with zeros, where it is not asked, for samples that the row does not see.
template <class S, Extent EXTENT, class SampleOf>
DEVICE void load_samples(Complex (&v)[S::held], Round round, int thread, Seen seen, SampleOf sample_of) {
  each_sample<S, EXTENT>(
      round, thread, seen,
      [&](Row row, int n) {
        const auto sample = sample_of(row, n);
        return [&v, sample](int step, int r, int part) { (part == 0 ? v[r].re : v[r].im) = sample(step); };
      },
      [&v](int r, int part) { (part == 0 ? v[r].re : v[r].im) = 0.0f; });
}

// What `inverse` left is handed to store_of(row, n)(step, sample), each sample that the row sees.
template <class S, Extent EXTENT, class StoreOf>
DEVICE void store_samples(const Complex (&v)[S::held], Round round, int thread, Seen seen, StoreOf store_of) {
  each_sample<S, EXTENT>(
      round, thread, seen,
      [&](Row row, int n) {
        const auto store = store_of(row, n);
        return [&v, store](int step, int r, int part) {
          const Complex sample = untwisted<S>(v, r);
          store(step, part == 0 ? sample.re : sample.im);
        };
      },
      [](int, int) {});
}

}  // namespace single
