// The fused convolution of complex rows in half precision: y = T^-1 (K T u), the inner pass of a long convolution.
//
// The transforms of half_forward.cuh, complex at both ends: a row in a warp up to 1K points, in a block beyond.
#pragma once
#include "half_planes_rows.cuh"

// ---- a row in a warp

template <class F>
struct WarpPlanesForward {
  static_assert(F::n1 == 1, "one warp holds a row of two factors");
  using Input = PlaneInput<F, 32>;
  static constexpr int warps = 4, threads = 32 * warps;
  static constexpr int blocks_per_multiprocessor = F::points <= 256 ? 8 : F::points <= 512 ? 5 : 4;
  static constexpr unsigned input_bytes = Input::Row::bytes + Input::scale_bytes;
  static constexpr unsigned tables = warps * input_bytes, spectrum = tables + Tables<F>::bytes;
  static constexpr unsigned shared_bytes = spectrum + Spectrum<F>::bytes;
};

template <class F>
KERNEL(WarpPlanesForward<F>::threads, WarpPlanesForward<F>::blocks_per_multiprocessor)
half_planes_forward_warp(PlaneArguments a) {
  using T = Tables<F>;
  using W = WarpPlanesForward<F>;
  const int warp = ptx::thread() / 32;
  const unsigned shared = memory::shared_base(), own = shared + warp * W::input_bytes;
  const typename W::Input input{{own}, own + W::Input::Row::bytes};
  const PlaneRows rows = plane_rows_of_block(a);
  const auto filter = FilterEntries<F, true>::of(shared + W::spectrum, a, rows);
  auto copy = [&](int item, int lane) {
    const float* scales = tile_scales<F>(a.in_scale, item, rows.source, rows.sources);
    input.copy(points_of(a.u, a.strides, item, rows.channel), scales, lane);
  };
  // See half_forward_warp.
  auto tables_at = [&](int place) { return shared + W::tables + (static_cast<unsigned>(place) & a.zero); };
  auto here = [&](int phase) { return static_cast<int>(ptx::thread() % 32) | (phase & static_cast<int>(a.zero)); };
  if (rows.first + warp < rows.end) copy(rows.first + warp, here(0));
  load_constants<F, true>(shared + W::tables, filter.shared, a, rows, W::threads);
  ptx::block_barrier();
  const float filter_scale = memory::load(a.spectrum_scale + rows.filter);

  NO_UNROLL for (int item = rows.first + warp; item < rows.end; item += W::warps) {
    const int lane = here(item);
    const float level = plane_level(peaks_over_warp(input.arrive(lane)));
    if (lane == 0) memory::store(a.out_scale + static_cast<Index>(item) * a.channels + rows.channel, filter_scale * level);
    ComplexRows<F::p / 8, F::tiles> x, z;
    ptx::warp_barrier();
    input.load(x, inverse_of(level), 0, lane);
    ptx::warp_barrier();
    if (item + W::warps < rows.end) copy(item + W::warps, here(item + 6));

    UNROLL for (int m = 0; m < F::row_blocks; m++) {
      const unsigned tables = tables_at(item + m);
      SpectrumRows<F> s = warp_dft<F>(tables, x, F::p / 16, m, lane);
      const auto fold = FoldTwiddle::load(tables + T::fold, lane);
      s = multiply_by_spectrum<false, F>(s, fold, [&](int tile) { return filter.load(0, m, tile, lane); });
      inverse_warp_dft<F>(z, tables_at(item + m + 4), s, m, lane);
    }
    unsigned* y = points_of(a.y, a.strides, item, rows.channel) + first_point<F>(0, here(item + 1));
    UNROLL for (int m = 0; m < F::row_blocks; m++) {
      const int lane = here(item + 2 + m);
      const auto matrix = RowMatrix<F::p>::load(tables_at(item + m + 8) + T::rows, m, lane);
      store_points<F>(y, m, last_dft_of_points<F>(matrix, z), lane);
    }
  }
}

// ---- a row in a block

// RESIDENT: the filter's spectrum is kept in shared memory.
template <class F, bool RESIDENT>
struct GroupPlanesForward {
  static constexpr int warps = F::points <= 2048 ? 4 : F::points <= 8192 ? 8 : 16, threads = 32 * warps;
  static constexpr int blocks_per_multiprocessor =
      F::points <= 2048 ? 5 : F::points <= 4096 ? 3 : F::points <= 8192 && RESIDENT ? 2 : 1;
  using Input = PlaneInput<F, threads>;
  using Peaks = GroupPeaks<warps>;
  static constexpr unsigned input = Exchange<F>::bytes, scales = input + Input::Row::bytes;
  static constexpr unsigned tables = scales + Input::scale_bytes;
  static constexpr unsigned peaks = tables + Tables<F>::bytes, kept = peaks + Peaks::bytes;
  static constexpr unsigned spectrum = kept + KeptOfRows::bytes;
  static constexpr unsigned shared_bytes = spectrum + (RESIDENT ? Spectrum<F>::bytes : 0);
  static constexpr int columns = F::p / warps, further = warps * F::q;  // see GroupForward
  static_assert(F::p % warps == 0 && F::units % warps == 0, "all warps have as much to do");
};

template <class F, bool RESIDENT>
KERNEL((GroupPlanesForward<F, RESIDENT>::threads), (GroupPlanesForward<F, RESIDENT>::blocks_per_multiprocessor))
half_planes_forward_group(PlaneArguments a) {
  using T = Tables<F>;
  using G = GroupPlanesForward<F, RESIDENT>;
  const unsigned shared = memory::shared_base();
  const Exchange<F> exchange{shared};
  const typename G::Input input{{shared + G::input}, shared + G::scales};
  const typename G::Peaks peaks{shared + G::peaks};
  const KeptOfRows kept{shared + G::kept};
  const PlaneRows rows = plane_rows_of_block(a);
  const auto filter = FilterEntries<F, RESIDENT>::of(shared + G::spectrum, a, rows);
  auto u = [&](int item) { return points_of(a.u, a.strides, item, rows.channel); };
  auto place = [&](int phase) { return Place(static_cast<int>(ptx::thread()) | (phase & static_cast<int>(a.zero))); };
  input.copy(u(rows.first), tile_scales<F>(a.in_scale, rows.first, rows.source, rows.sources), ptx::thread());
  load_constants<F, RESIDENT>(shared + G::tables, filter.shared, a, rows, G::threads);
  if (ptx::thread() == 0) kept.put(a, rows);

  // Columns are the warp's own, and two barriers a row suffice: see half_forward_group, also for `tables` and `place`.
  NO_UNROLL for (int item = rows.first - 1; item < rows.end; item++) {
    const unsigned tables = shared + G::tables + (static_cast<unsigned>(item) & a.zero);
    const bool here = item >= rows.first, next = item + 1 < rows.end;
    if (here) {
      // Rows: all inner DFTs of each k1, and the product.
      const Place at = place(item);
      const auto inner = InnerMatrices::load<F>(tables, at.lane);
      auto convolve = [&](int unit) {
        uint4 twiddle[F::tiles];
        load_inner_twiddles<F>(twiddle, tables, unit, at.lane);
        SpectrumRows<F> s = inner_dft<F>(inner, exchange, twiddle, unit, at.lane);
        const auto fold = FoldTwiddle::load(tables + T::fold, at.lane);
        s = multiply_by_spectrum<false, F>(s, fold, [&](int tile) { return filter.load(unit, 0, tile, at.lane); });
        inverse_inner_dft<F>(inner, tables, exchange, s, twiddle, unit, at.lane);
      };
      if constexpr (ptx::stores_matrices) {
        UNROLL for (int i = 0; i < F::units / G::warps; i++) convolve(at.warp + i * G::warps);
      } else {
        NO_UNROLL for (int i = 0; i < F::units / G::warps; i++) convolve(at.warp + i * G::warps);
      }
    }
    if (next) {
      const Place at = place(item + 1);
      peaks.put(at.warp, at.lane, input.arrive(at.thread));
    }
    ptx::block_barrier();
    if (here) {
      // Columns: the last DFT of each p.
      const Place at = place(item + 2);
      unsigned* y = ptx::opaque(points_of(a.y, a.strides, item, rows.channel) + first_point<F>(at.warp * F::q, at.lane));
      auto outer = RowMatrix<F::n1>::load(tables + T::outer, 0, at.lane);
      UNROLL for (int i = 0; i < G::columns; i++) {
        ComplexRows<F::n1 / 8, F::tiles> z;
        load_column<F>(z, exchange, at.warp + i * G::warps, at.lane);
        UNROLL for (int m = 0; m < F::outer_blocks; m++) {
          if (F::outer_blocks > 1) outer = RowMatrix<F::n1>::load(tables + T::outer, m, at.lane);
          store_points<F>(y + i * G::further, m, last_dft_of_points<F>(outer, z), at.lane);
        }
      }
    }
    if (next) {
      // And the first one of the next row.
      const Place at = place(item + 3);
      const float level = plane_level(peaks.get(at.lane));
      if (at.thread == 0)
        memory::store(a.out_scale + static_cast<Index>(item + 1) * a.channels + rows.channel,
                      kept.filter_scale() * level);
      auto outer = RowMatrix<F::n1>::load(tables + T::outer, 0, at.lane);
      NO_UNROLL for (int p = at.warp; p < F::p; p += G::warps) {
        ComplexRows<F::n1 / 8, F::tiles> x;
        input.load(x, inverse_of(level), p * F::q, at.lane);
        UNROLL for (int m = 0; m < F::outer_blocks; m++) {
          if (F::outer_blocks > 1) outer = RowMatrix<F::n1>::load(tables + T::outer, m, at.lane);
          outer_dft<F>(tables, outer, exchange, x, m, p, F::n1 / 16, at.lane);
        }
      }
    }
    ptx::block_barrier();
    if (item + 2 < rows.end)
      input.copy(u(item + 2), kept.tile_scales_of<F>(a.in_scale, item + 2), place(item + 4).thread);
  }
}
