// The fused convolution in single precision: y = post_gate (u pre_gate * k), one read of u and one write of y.
#pragma once

#include "single_bins.cuh"

namespace single {

// Sample n of a row of u, gated where there is a gate.
template <bool GATED>
DEVICE float gated_sample(const void* samples, Strides strides, const void* gate, Strides gate_strides, Row row, int n) {
  const float sample = memory::load(static_cast<const float*>(samples) + start_of(row, strides) + n);
  if constexpr (!GATED) return sample;
  else return sample * memory::load(static_cast<const float*>(gate) + start_of(row, gate_strides) + n);
}

// v times the spectrum of each row's filter.
template <class S>
DEVICE void multiply_by_filter(Complex (&v)[S::held], const Arguments& a, Round round, int thread) {
  const BinColumn<S> column = bin_column<S>(thread);
  const float4* filter = spectrum_of<S>(a, row_of(round, column.row_in_block)) + column.first;
  each_bin_pair<S>(v, [&](int p, BinPair& bins) {
    const BinPair k = load_bins(filter + p * BinColumn<S>::step);
    bins.even = bins.even * k.even;
    bins.odd = bins.odd * k.odd;
  });
}

// Shared memory: exchange_bytes<S, CELLS>().
template <class S, Cells CELLS, Extent EXTENT, class Gates>
KERNEL(S::threads, S::blocks_per_multiprocessor) convolve(Arguments a) {
  const int begin = ptx::block_y() * a.rows_per_block;
  const int end = begin + a.rows_per_block < a.batch ? begin + a.rows_per_block : a.batch;
  NO_UNROLL
  for (int first = begin; first < end; first += S::rows) {
    const Round round = {int(ptx::block_x()), first, end};
    // Opaque, lest the addresses and twists of a row, the same for every row, be kept in registers that there are not.
    const int thread = ptx::opaque(int(ptx::thread()));
    const Place<S, CELLS> place = {static_cast<const float2*>(a.tables), memory::shared_base(), thread};

    Complex v[S::held];
    load_samples<S, EXTENT>(v, round, thread, a.length, [&](Row row, int n) {
      return gated_sample<Gates::pre_gate>(a.u, a.u_strides, a.pre_gate, a.pre_strides, row, n);
    });
    forward<EXTENT != Extent::doubled>(v, place);
    multiply_by_filter<S>(v, a, round, thread);
    inverse(v, place);
    store_samples<S, EXTENT>(v, round, thread, a.out_length, [&](Row row, int n, float y) {
      if constexpr (Gates::post_gate)
        y *= memory::load(static_cast<const float*>(a.post_gate) + start_of(row, a.post_strides) + n);
      memory::store(static_cast<float*>(a.y) + start_of(row, a.y_strides) + n, y);
    });
  }
}

}  // namespace single
