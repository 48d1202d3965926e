// Spectra in device memory, in the order in which the threads hold them after `forward`.
//
// The bins of a row lie in pairs: bins k3 = 2 p and 2 p + 1 of column (k1, k2) make 16 bytes, number
// p N1 N2 + k1 N2 + k2. So neighbouring threads, which hold neighbouring columns, access neighbouring memory.
#pragma once

#include "single_rows.cuh"

namespace single {

struct BinPair {
  Complex even, odd;
};

// In memory a pair is a float4: one access of sixteen bytes.
DEVICE BinPair bins(float4 four) {
  return {{four.x, four.y}, {four.z, four.w}};
}

DEVICE float4 four(BinPair bins) {
  return make_float4(bins.even.re, bins.even.im, bins.odd.re, bins.odd.im);
}

// Where a thread's bins are: the row of the block its column is of, and the first of its pairs in that row's spectrum.
template <class S>
struct BinColumn {
  static constexpr int step = S::N1 * S::N2;  // from one pair of a column to its next
  int row_in_block, first;
};

template <class S>
DEVICE BinColumn<S> bin_column(int thread) {
  const int index = View<S, 3>::column(thread);
  return {S::N1 > 1 ? 0 : index / S::N2, S::N1 > 1 ? index : index % S::N2};
}

// change(p, bins) of each of the thread's pairs of bins.
template <class S, class Change>
DEVICE void each_bin_pair(Complex (&v)[S::held], Change change) {
  UNROLL
  for (int p = 0; p < S::held / 2; ++p) {
    BinPair bins = {v[2 * p], v[2 * p + 1]};
    change(p, bins);
    v[2 * p] = bins.even;
    v[2 * p + 1] = bins.odd;
  }
}

// The spectrum of the filter that a row is convolved with. PLANES: channels are those of long rows, plane by plane.
template <class S, bool PLANES>
DEVICE const float4* spectrum_of(const Arguments& a, Row row) {
  const int planes = PLANES ? a.planes : 1, channel = row.channel / planes, plane = row.channel % planes;
  const Index filter = row.batch * a.filter_strides.batch +
                       Index(channel / a.channels_per_filter * planes + plane) * a.filter_strides.channel;
  return static_cast<const float4*>(a.spectrum) + filter * (S::points / 2);
}

}  // namespace single
