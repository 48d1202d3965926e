// A filter's taps to its spectrum in the half-precision kernels' own order, and the gradient's way back.
//
// Fold and transforms are those of single precision (single_rows.cuh): spectra differ in their order, and in the factor
// that they bring, a power of two by the peak here.
#pragma once
#include "half_layout.cuh"
#include "single_filter.cuh"

// A thread holds every kq of one (k1, kp).
template <class F>
using FilterShape = single::Shape<F::n1, F::p, F::q>;

// Where a thread's points are: the row of the block its column is of, the first of its entries in that row's spectrum,
// and which half of them is its own; the other half is that of the row 8 before or behind.
template <class F>
struct FilterColumn {
  using S = FilterShape<F>;
  static constexpr int neighbour = 8;  // lanes to the row 8 further: kp + 8, or k1 + 1
  int row_in_block, first, half;
};
template <class F>
DEVICE FilterColumn<F> filter_column(int thread) {
  using S = FilterShape<F>;
  const single::BinColumn<S> column = single::bin_column<S>(thread);
  const int k = column.first / S::N2 + S::N1 * (column.first % S::N2), k1 = k % F::n1;
  const int row = k1 % F::stack * F::p + k / F::n1;  // of the unit
  return {column.row_in_block, Spectrum<F>::entry(k1 / F::stack, row / 16, 0, row % 8 * 4), row / 8 % 2};
}
// The register of point `i` of 2 of an entry's half, in `tile`, of the lane 4 (kp % 8) + t.
template <class F>
DEVICE constexpr int filter_register(int tile, int t, int i) {
  return tile % F::channels * 16 + fold_column(8 * (tile / F::channels) + 2 * t + i);
}

// The largest x of the threads that share a row. Lane w of warp w leaves its warp's in a cell that nobody else reads in
// View 3, and which for every w is in a bank of its own.
template <class S, single::Cells CELLS>
DEVICE float largest_of_row(float x, unsigned shared, int thread) {
  using V = single::View<S, 3>;
  constexpr int warps = S::threads / 32, cell_bytes = CELLS == single::Cells::whole ? 8 : 4;
  const auto cell = [&](int warp) { return shared + V::cell(V::column(33 * warp)) * cell_bytes; };
  UNROLL for (int mask = S::N1 > 1 ? 16 : S::N2 / 2; mask > 0; mask /= 2) x = fmaxf(x, ptx::shuffle_xor(x, mask));
  if constexpr (S::N1 > 1) {
    if (thread % 32 == thread / 32) memory::store_shared(cell(thread / 32), x);
    ptx::block_barrier();
    x = memory::load_shared<float>(cell(thread % warps));
    UNROLL for (int mask = warps / 2; mask > 0; mask /= 2) x = fmaxf(x, ptx::shuffle_xor(x, mask));
  }
  return x;
}

// The exponent of the power of two that brings the parts of a spectrum below 2 in fp16, whatever the filter's gain.
template <class S, single::Cells CELLS>
DEVICE int exponent_of_row(const fft::Complex (&v)[S::held], unsigned shared, int thread) {
  float peak = 0;
  UNROLL for (int r = 0; r < S::held; r++) peak = fmaxf(peak, fmaxf(fabsf(v[r].re), fabsf(v[r].im)));
  peak = largest_of_row<S, CELLS>(peak, shared, thread);
  const int exponent = static_cast<int>(ptx::as_unsigned(peak) >> 23) - 127;
  return exponent == -127 ? 0 : exponent > 126 ? 126 : exponent;
}
DEVICE float power_of_two(int exponent) { return ptx::as_float(static_cast<unsigned>(127 + exponent) << 23); }

// For C = 2, twice the spectra of the even taps, (K+ + K-) / 2, and of the odd ones, (K+ - K-) / 2 turned back by their
// place between the even; and the adjoint, twice too.
DEVICE void split_channels(fft::Complex (&)[16]) {}
DEVICE void split_channels(fft::Complex (&v)[32]) {
  UNROLL for (int kq = 0; kq < 16; kq++) {
    fft::butterfly(v[kq], v[kq + 16]);
    v[kq + 16] = fft::root(kq, 32) * v[kq + 16];
  }
}
DEVICE void join_channels(fft::Complex (&)[16]) {}
DEVICE void join_channels(fft::Complex (&v)[32]) {
  UNROLL for (int kq = 0; kq < 16; kq++) fft::butterfly(v[kq], v[kq + 16], fft::root(-kq, 32));
}

// Of every two entries that it has halves of, a thread stores one, and gives the other's to its neighbour.
template <class F, int HELD>
DEVICE void store_points(
    const fft::Complex (&v)[HELD], uint4* spectrum, FilterColumn<F> column, bool present, float scale) {
  uint4* to = spectrum + column.first + column.half;
  const auto half_entry = [&](int tile, int t) {
    const fft::Complex x = scale * v[filter_register<F>(tile, t, 0)], y = scale * v[filter_register<F>(tile, t, 1)];
    return make_uint2(ptx::pack(ptx::Fp16(), x.re, y.re), ptx::pack(ptx::Fp16(), x.im, y.im));
  };
  UNROLL for (int tile = 0; tile < F::tiles; tile++)
    UNROLL for (int t = 0; t < 4; t += 2) {
      const uint2 even = half_entry(tile, t), odd = half_entry(tile, t + 1);
      const uint2 own = column.half ? odd : even, given = column.half ? even : odd;
      const uint2 got = {ptx::shuffle_xor(given.x, column.neighbour), ptx::shuffle_xor(given.y, column.neighbour)};
      const uint2 low = column.half ? got : own, high = column.half ? own : got;
      memory::store_if(present, to + tile * 32 + t, make_uint4(low.x, low.y, high.x, high.y));
    }
}

// Blocks, threads and shared memory as in single_filter.cuh.
template <class F, single::Cells CELLS>
KERNEL(FilterShape<F>::threads, FilterShape<F>::blocks_per_multiprocessor) half_filter_spectrum(FilterArguments a) {
  using S = FilterShape<F>;
  const int thread = ptx::thread();
  const single::Round round = single::filters_of_block<S>(a);
  const single::Place<S, CELLS> place = {static_cast<const float2*>(a.tables), memory::shared_base(), thread};
  fft::Complex v[S::held];
  single::transform_taps(v, a, place, round);
  const int exponent = exponent_of_row<S, CELLS>(v, place.shared, thread);
  split_channels(v);

  const FilterColumn<F> column = filter_column<F>(thread);
  const single::Row row = single::row_of(round, column.row_in_block);
  const Index filter = single::filter_number(a, row);
  uint4* spectrum = static_cast<uint4*>(a.spectrum) + filter * Spectrum<F>::entries;
  store_points(v, spectrum, column, row.present, power_of_two(-exponent) / F::channels);
  if (row.present && thread % (S::N1 * S::N2) == 0) memory::store(a.scale + filter, power_of_two(exponent));
}

// The gradient of the taps, and of d, from the sums that the backward kernels leave. With a filter for each item,
// chunks are items, and dd is one a filter and item.
template <class F, single::Cells CELLS>
KERNEL(FilterShape<F>::threads, FilterShape<F>::blocks_per_multiprocessor) half_filter_gradient(FilterArguments a) {
  using S = FilterShape<F>;
  const int thread = ptx::thread();
  const single::Round round = single::filters_of_block<S>(a);
  const single::Place<S, CELLS> place = {static_cast<const float2*>(a.tables), memory::shared_base(), thread};
  const FilterColumn<F> column = filter_column<F>(thread);

  // Both halves of an entry lie 32 lanes apart, each pair by pair: re, re, im, im.
  fft::Complex v[S::held] = {};
  const int first = column.first / 32 * 64 + column.half * 32 + column.first % 32;
  single::each_chunk<S>(a, single::row_of(round, column.row_in_block), [&](const float4* sums) {
    UNROLL for (int tile = 0; tile < F::tiles; tile++)
      UNROLL for (int t = 0; t < 4; t++) {
        const float4 more = memory::load(sums + first + tile * 64 + t);
        fft::Complex &x = v[filter_register<F>(tile, t, 0)], &y = v[filter_register<F>(tile, t, 1)];
        x = {x.re + more.x, x.im + more.z};
        y = {y.re + more.y, y.im + more.w};
      }
  });
  join_channels(v);
  single::store_gradient(v, a, place, round, 1.f / F::channels);
}
