// The fused backward convolution of complex rows in half precision. With the planes x and g of a long transform each row gives
//
//   dx = T^-1 (conj K T g),
//   dK += conj(T x) T g, summed over the block's rows in fp32, in their order.
//
// As in half_backward.cuh x is transformed first and its spectrum put aside; g meets it there.
#pragma once
#include "half_backward.cuh"
#include "half_planes_rows.cuh"

// The place of a channel's sums: those that make one filter's gradient lie together.
DEVICE int place_of_sums(const PlaneArguments& a, int channel) {
  const int source = channel / a.planes_per_row;
  return static_cast<int>(filter_of_channel(a, source, channel)) * a.channels_per_filter + source % a.channels_per_filter;
}

// ---- a row in a warp

template <class F>
struct WarpPlanesBackward {
  using Input = PlaneInput<F, 32>;
  static constexpr int warps = 4, threads = 32 * warps;
  static constexpr int blocks_per_multiprocessor = F::points <= 256 ? 6 : F::points <= 512 ? 4 : 3;
  static constexpr unsigned tables = 0, spectrum = Tables<F>::bytes, constants = spectrum + Spectrum<F>::bytes;
  static constexpr unsigned input = Gradient<F>::bytes, scales = input + Input::Row::bytes;  // of a warp
  static constexpr unsigned warp_bytes = scales + Input::scale_bytes;
  static constexpr unsigned shared_bytes = constants + warps * warp_bytes;
};

template <class F>
KERNEL(WarpPlanesBackward<F>::threads, WarpPlanesBackward<F>::blocks_per_multiprocessor)
half_planes_backward_warp(PlaneArguments a) {
  using T = Tables<F>;
  using W = WarpPlanesBackward<F>;
  const int warp = ptx::thread() / 32;
  const unsigned shared = memory::shared_base(), own = shared + W::constants + warp * W::warp_bytes;
  const Gradient<F> gradient{own};
  const typename W::Input input{{own + W::input}, own + W::scales};
  const PlaneRows rows = plane_rows_of_block(a);
  const auto filter = FilterEntries<F, true>::of(shared + W::spectrum, a, rows);
  auto copy = [&](const void* planes, const float* scales, int item, int lane) {
    const float* of_tiles = tile_scales<F>(scales, item, rows.source, rows.sources);
    input.copy(points_of(planes, a.strides, item, rows.channel), of_tiles, lane);
  };
  // See half_forward_warp.
  auto tables_at = [&](int place) { return shared + W::tables + (static_cast<unsigned>(place) & a.zero); };
  auto here = [&](int phase) { return static_cast<int>(ptx::thread() % 32) | (phase & static_cast<int>(a.zero)); };
  if (rows.first + warp < rows.end) copy(a.u, a.in_scale, rows.first + warp, here(0));
  gradient.clear(here(0), 32);
  load_constants<F, true>(shared + W::tables, filter.shared, a, rows, W::threads);
  ptx::block_barrier();
  const float filter_scale = memory::load(a.spectrum_scale + rows.filter);

  NO_UNROLL for (int item = rows.first + warp; item < rows.end; item += W::warps) {
    const int lane = here(item);
    ComplexRows<F::p / 8, F::tiles> row, back;
    SpectrumRows<F> x_spectrum[F::row_blocks];
    auto arrive = [&] {
      const float level = plane_level(peaks_over_warp(input.arrive(lane)));
      ptx::warp_barrier();
      input.load(row, inverse_of(level), 0, lane);
      ptx::warp_barrier();
      return level;
    };

    const float x_level = arrive();
    copy(a.g, a.g_scale, item, lane);
    UNROLL for (int m = 0; m < F::row_blocks; m++) x_spectrum[m] = warp_dft<F>(tables_at(item + m), row, F::p / 16, m, lane);

    const float g_level = arrive();
    if (item + W::warps < rows.end) copy(a.u, a.in_scale, item + W::warps, lane);
    if (lane == 0) memory::store(a.dx_scale + static_cast<Index>(item) * a.channels + rows.channel, filter_scale * g_level);
    UNROLL for (int m = 0; m < F::row_blocks; m++) {
      const unsigned tables = tables_at(item + m + 4);
      const auto g_spectrum = warp_dft<F>(tables, row, F::p / 16, m, lane);
      const auto fold = FoldTwiddle::load(tables + T::fold, lane);
      add_gradient<F>(gradient, x_spectrum[m], g_spectrum, fold, x_level * g_level, 0, m, lane);
      const auto s =
          multiply_by_spectrum<true, F>(g_spectrum, fold, [&](int tile) { return filter.load(0, m, tile, lane); });
      inverse_warp_dft<F>(back, tables_at(item + m + 8), s, m, lane);
    }
    unsigned* dx = points_of(a.dx, a.strides, item, rows.channel) + first_point<F>(0, here(item + 1));
    UNROLL for (int m = 0; m < F::row_blocks; m++) {
      const int lane = here(item + 2 + m);
      const auto matrix = RowMatrix<F::p>::load(tables_at(item + m + 12) + T::rows, m, lane);
      store_points<F>(dx, m, last_dft_of_points<F>(matrix, back), lane);
    }
  }

  ptx::block_barrier();
  store_sums_of_warps<F, W>(a.dspectrum, shared + W::constants, place_of_sums(a, rows.channel));
}

// ---- a row in a block

template <class F, Keep KEEP>
struct GroupPlanesBackward {
  static constexpr int warps = F::points <= 2048 ? 4 : F::points <= 4096 ? 8 : 16, threads = 32 * warps;
  static constexpr int blocks_per_multiprocessor = F::points <= 2048 ? 4 : F::points <= 4096 ? 2 : 1;
  static constexpr bool resident = KEEP == Keep::in_shared, through_exchange = KEEP == Keep::in_exchange;
  using Input = PlaneInput<F, threads>;
  using Peaks = GroupPeaks<warps>;
  static constexpr unsigned input = through_exchange ? 0 : Exchange<F>::bytes;
  static constexpr unsigned scales = input + Input::Row::bytes, tables = scales + Input::scale_bytes;
  static constexpr unsigned peaks = tables + Tables<F>::bytes;
  static constexpr unsigned filter_scale = peaks + Peaks::bytes, x_level = filter_scale + 4, g_level = filter_scale + 8;
  static constexpr unsigned gradient = filter_scale + 16;  // they are kept there, for want of registers
  static constexpr unsigned spectrum = gradient + Gradient<F>::bytes;
  static constexpr unsigned shared_bytes = spectrum + (resident ? 2 * Spectrum<F>::bytes : 0);
  static constexpr int columns = F::p / warps, further = warps * F::q;  // see GroupForward
  static_assert(Input::Row::bytes == Exchange<F>::bytes, "a row takes the room of the exchange");
  static_assert(!through_exchange || columns == 1, "all columns are in registers when the exchange is written");
};

template <class F, Keep KEEP>
KERNEL((GroupPlanesBackward<F, KEEP>::threads), (GroupPlanesBackward<F, KEEP>::blocks_per_multiprocessor))
half_planes_backward_group(PlaneArguments a) {
  using T = Tables<F>;
  using G = GroupPlanesBackward<F, KEEP>;
  const unsigned shared = memory::shared_base();
  const Exchange<F> exchange{shared};
  const typename G::Input input{{shared + G::input}, shared + G::scales};
  const typename G::Peaks peaks{shared + G::peaks};
  const Gradient<F> gradient{shared + G::gradient};
  const PlaneRows rows = plane_rows_of_block(a);
  const auto filter = FilterEntries<F, G::resident>::of(shared + G::spectrum, a, rows);
  // See half_forward_group and half_backward_group.
  auto tables_at = [&](int phase) { return shared + G::tables + (static_cast<unsigned>(phase) & a.zero); };
  auto place = [&](int phase) { return Place(static_cast<int>(ptx::thread()) | (phase & static_cast<int>(a.zero))); };
  auto block = [&](int phase) {
    return static_cast<Index>(ptx::block_x() | (static_cast<unsigned>(phase) & a.zero)) * ptx::blocks_y() + ptx::block_y();
  };
  auto stash_at = [&](int phase) {
    return Stash<F>{shared + G::spectrum + Spectrum<F>::bytes,
                    G::resident ? nullptr : static_cast<uint4*>(a.scratch) + block(phase) * Spectrum<F>::entries};
  };
  auto copy = [&](const void* planes, const float* scales, int item, int thread) {
    const float* of_tiles = tile_scales<F>(scales, item, rows.source, rows.sources);
    input.copy(points_of(planes, a.strides, item, rows.channel), of_tiles, thread);
  };
  // A row that is wanted next: on its way at once, or nearer where its room is taken.
  auto ahead = [&](const void* planes, const float* scales, int item, int thread) {
    if (!G::through_exchange) return copy(planes, scales, item, thread);
    const unsigned* row = points_of(planes, a.strides, item, rows.channel);
    prefetch_row(reinterpret_cast<const Sample*>(row), Words<F>::points, thread);
  };
  gradient.clear(ptx::thread(), G::threads);
  load_constants<F, G::resident>(shared + G::tables, filter.shared, a, rows, G::threads);
  if (ptx::thread() == 0) memory::store_shared(shared + G::filter_scale, memory::load(a.spectrum_scale + rows.filter));
  if (!G::through_exchange) copy(a.u, a.in_scale, rows.first, ptx::thread());

  // What is in the exchange, through its last DFT to dx of the item before (here); then the next row into it, and the level of
  // that to `level_at`.
  auto turn = [&](bool here, bool next, const void* planes, const float* scales, int item, int phase, unsigned level_at) {
    auto arrive = [&] {
      const Place at = place(phase);
      peaks.put(at.warp, at.lane, input.arrive(at.thread));
    };
    if (next && !G::through_exchange) arrive();
    ptx::block_barrier();
    const Place at = place(phase + 1);
    ComplexRows<F::n1 / 8, F::tiles> rows_of_column;
    auto store = [&](int i) {
      const int first = first_point<F>(at.warp * F::q, at.lane) + i * G::further;
      unsigned* dx = points_of(a.dx, a.strides, item - 1, rows.channel) + first;
      UNROLL for (int m = 0; m < F::outer_blocks; m++) {
        const auto matrix = RowMatrix<F::n1>::load(tables_at(phase + m) + T::outer, m, at.lane);
        store_points<F>(dx, m, last_dft_of_points<F>(matrix, rows_of_column), at.lane);
      }
    };
    if constexpr (G::through_exchange) {
      if (here) {
        load_column<F>(rows_of_column, exchange, at.warp, at.lane);
        ptx::block_barrier();
        if (next) copy(planes, scales, item, at.thread);  // on its way while the last DFT is done
        store(0);
      } else {
        copy(planes, scales, item, at.thread);
      }
      if (next) {
        arrive();
        ptx::block_barrier();
      }
    } else if (here) {
      UNROLL for (int i = 0; i < G::columns; i++) {
        load_column<F>(rows_of_column, exchange, at.warp + i * G::warps, at.lane);
        store(i);
      }
    }
    if (!next) return;
    const float level = plane_level(peaks.get(at.lane));
    if (at.thread == 0) memory::store_shared(shared + level_at, level);
    NO_UNROLL for (int p = at.warp; p < F::p; p += G::warps) {
      input.load(rows_of_column, inverse_of(level), p * F::q, at.lane);
      if (G::through_exchange) ptx::block_barrier();
      UNROLL for (int m = 0; m < F::outer_blocks; m++) {
        const unsigned tables = tables_at(phase + m + 2);
        const auto matrix = RowMatrix<F::n1>::load(tables + T::outer, m, at.lane);
        outer_dft<F>(tables, matrix, exchange, rows_of_column, m, p, F::n1 / 16, at.lane);
      }
    }
    ptx::block_barrier();
  };

  NO_UNROLL for (int item = rows.first; item <= rows.end; item++) {
    const bool next = item < rows.end;
    turn(item > rows.first, next, a.u, a.in_scale, item, item, G::x_level);
    if (!next) break;
    ahead(a.g, a.g_scale, item, place(item + 1).thread);
    {
      const Place at = place(item + 2);
      const Stash<F> stash = stash_at(item);
      NO_UNROLL for (int unit = at.warp; unit < F::units; unit += G::warps) {
        const unsigned tables = tables_at(item + unit);
        uint4 twiddle[F::tiles];
        load_inner_twiddles<F>(twiddle, tables, unit, at.lane);
        stash.put(inner_dft<F>(InnerMatrices::load<F>(tables, at.lane), exchange, twiddle, unit, at.lane), unit, at.lane);
      }
    }
    turn(false, true, a.g, a.g_scale, item, item + 3, G::g_level);
    if (item + 1 < rows.end) ahead(a.u, a.in_scale, item + 1, place(item + 4).thread);
    const Place at = place(item + 5);
    const float g_level = memory::load_shared<float>(shared + G::g_level);
    const float of_sums = memory::load_shared<float>(shared + G::x_level) * g_level;
    if (at.thread == 0)
      memory::store(a.dx_scale + static_cast<Index>(item) * a.channels + rows.channel,
                    memory::load_shared<float>(shared + G::filter_scale) * g_level);
    const Stash<F> stash = stash_at(item + 1);
    NO_UNROLL for (int unit = at.warp; unit < F::units; unit += G::warps) {
      const unsigned tables = tables_at(item + unit + 2);
      const auto inner = InnerMatrices::load<F>(tables, at.lane);
      uint4 twiddle[F::tiles];
      load_inner_twiddles<F>(twiddle, tables, unit, at.lane);
      SpectrumRows<F> s = inner_dft<F>(inner, exchange, twiddle, unit, at.lane);
      const auto fold = FoldTwiddle::load(tables + T::fold, at.lane);
      add_gradient<F>(gradient, stash.get(unit, at.lane), s, fold, of_sums, unit, 0, at.lane);
      s = multiply_by_spectrum<true, F>(s, fold, [&](int tile) { return filter.load(unit, 0, tile, at.lane); });
      load_inner_twiddles<F>(twiddle, tables_at(item + unit + 3), unit, at.lane);
      inverse_inner_dft<F>(inner, tables, exchange, s, twiddle, unit, at.lane);
    }
  }

  ptx::block_barrier();
  float4* to = reinterpret_cast<float4*>(a.dspectrum) +
               (static_cast<Index>(place_of_sums(a, rows.channel)) * ptx::blocks_y() + ptx::block_y()) * Gradient<F>::pieces;
  for (int i = ptx::thread(); i < Gradient<F>::pieces; i += G::threads)
    memory::store(to + i, memory::load_shared<float4>(gradient.base + i * 16));
}
