// The fused convolution in single precision: y = post_gate (u pre_gate * k), one read of u and one write of y.
#pragma once

#include "single_bins.cuh"

namespace single {

// Of u or dy. The rows of planes are convolved in place.
template <Extent EXTENT>
DEVICE float load_sample(const float* from) {
  if constexpr (EXTENT == Extent::doubled) return memory::load_own(from);
  else return memory::load(from);
}

// u pre_gate
template <class S, Extent EXTENT, class Gates>
DEVICE void load_x(Complex (&v)[S::held], const Arguments& a, Round round, int thread) {
  load_samples<S, EXTENT>(v, round, thread, seen_in<S, EXTENT>(a), [&](Row row, int n) {
    const float* u = sample(a.u, a.u_strides, row, n);
    const auto pre = gate<Gates::pre_gate>(a.pre_gate, a.pre_strides, row, n);
    return [=](int step) { return gated(pre, step, load_sample<EXTENT>(u + step)); };
  });
}

// post_gate s
template <class S, Extent EXTENT, class Gates>
DEVICE void store_y(const Complex (&v)[S::held], const Arguments& a, Round round, int thread) {
  store_samples<S, EXTENT>(v, round, thread, seen_out<EXTENT>(a), [&](Row row, int n) {
    float* y = sample(a.y, a.y_strides, row, n);
    const auto post = gate<Gates::post_gate>(a.post_gate, a.post_strides, row, n);
    return [=](int step, float s) { memory::store(y + step, gated(post, step, s)); };
  });
}

// v times the spectrum of each row's filter, or its conjugate. The rows of planes have samples from M on.
template <class S, Extent EXTENT, bool CONJUGATE>
DEVICE void multiply_by_filter(Complex (&v)[S::held], const Arguments& a, Round round, int thread) {
  const BinColumn<S> column = bin_column<S>(thread);
  const float4* filter = ptx::opaque(spectrum_of<S, EXTENT == Extent::doubled>(a, row_of(round, column.row_in_block)) + column.first);
  each_bin_pair<S>(v, [&](int p, BinPair& x) {
    const BinPair k = bins(memory::load(filter + p * BinColumn<S>::step));
    x.even = x.even * (CONJUGATE ? conjugate(k.even) : k.even);
    x.odd = x.odd * (CONJUGATE ? conjugate(k.odd) : k.odd);
  });
}

// Shared memory: exchange_bytes<S, CELLS>().
template <class S, Cells CELLS, Extent EXTENT, class Gates>
KERNEL(S::threads, S::blocks_per_multiprocessor) convolve(Arguments a) {
  NO_UNROLL
  for (int number = 0;; ++number) {
    const Round round = round_of_block<S, EXTENT>(a, number);
    if (round.first >= round.end) return;
    // Opaque, lest the addresses and twists of a row, the same for every row, be kept in registers that there are not.
    const int thread = ptx::opaque(int(ptx::thread()));
    const Place<S, CELLS> place = {static_cast<const float2*>(a.tables), memory::shared_base(), thread};

    Complex v[S::held];
    load_x<S, EXTENT, Gates>(v, a, round, thread);
    forward<!has_second_half<EXTENT>>(v, place);
    multiply_by_filter<S, EXTENT, false>(v, a, round, thread);
    inverse(v, place);
    store_y<S, EXTENT, Gates>(v, a, round, ptx::opaque(thread));
  }
}

}  // namespace single
