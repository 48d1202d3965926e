// The fused forward convolution in half precision: y = post_gate ((u pre_gate) * k), one kernel.
//
// Two forms of one formula. Up to 1K points a row lives in one warp's registers, and warps walk rows on their own. Beyond,
// the block's warps share a row: the outermost DFT crosses shared memory, the inner ones stay in registers.
#pragma once
#include "half_exchange.cuh"
#include "half_mask.cuh"
#include "half_rows.cuh"

// The channel and batch items of this block.
struct Rows {
  int channel, first, end;
  Index filter;
};
DEVICE Rows rows_of_block(const Arguments& a) {
  Rows r;
  r.channel = static_cast<int>(ptx::block_x());
  r.first = static_cast<int>(ptx::block_y()) * a.rows_per_block;
  r.end = r.first + a.rows_per_block < a.batch ? r.first + a.rows_per_block : a.batch;
  r.filter = r.first * a.filter_strides.batch + r.channel / a.channels_per_filter * a.filter_strides.channel;
  return r;
}
DEVICE const Sample* row_of(const void* tensor, Strides strides, int item, int channel) {
  return static_cast<const Sample*>(tensor) + item * strides.batch + channel * strides.channel;
}
DEVICE Sample* row_of(void* tensor, Strides strides, int item, int channel) {
  return static_cast<Sample*>(tensor) + item * strides.batch + channel * strides.channel;
}

// What a block loads once: tables, and the filter's spectrum where it is kept; a barrier is the caller's.
template <class F, bool RESIDENT, class Given>
DEVICE void load_constants(unsigned tables, unsigned spectrum, const Given& a, const Rows& rows, int threads) {
  memory::async_copy_block(tables, a.tables, Tables<F>::bytes, threads);
  if (RESIDENT)
    memory::async_copy_block(spectrum, static_cast<const char*>(a.spectrum) + rows.filter * Spectrum<F>::bytes, Spectrum<F>::bytes,
                             threads);
  ptx::async_commit();
  ptx::async_wait<0>();
}
// An entry of the filter's spectrum, out of shared or device memory.
template <class F, bool RESIDENT>
struct FilterEntries {
  unsigned shared;
  const uint4* device;
  template <class Given>
  DEVICE FilterEntries of(unsigned shared, const Given& a, const Rows& rows) {
    // Opaque, so that an address that is used in all of a row's parts is not worked out and kept for each of them.
    return {shared, ptx::opaque(static_cast<const uint4*>(a.spectrum) + rows.filter * Spectrum<F>::entries)};
  }
  METHOD uint4 load(int unit, int row_block, int tile, int lane) const {
    const int entry = Spectrum<F>::entry(unit, row_block, tile, lane);
    return RESIDENT ? memory::load_shared<uint4>(shared + entry * 16) : memory::load(device + entry);
  }
};

// ---- a row in a warp

template <class Number, class F, class S>
struct WarpForward {
  static_assert(F::n1 == 1, "one warp holds a row of two factors");
  using Input = StagedInput<Number, F, 32, S::pre_gate, S::aligned>;
  static constexpr int warps = 4, threads = 32 * warps;
  static constexpr int blocks_per_multiprocessor = F::points <= 256 ? (S::aligned ? 8 : 5) : S::aligned ? 4 : 3;
  static constexpr unsigned tables = warps * Input::bytes, spectrum = tables + Tables<F>::bytes;
  static constexpr unsigned shared_bytes = spectrum + Spectrum<F>::bytes;
};

// A row's way to its spectrum, 16 rows of it at a time.
template <class F, class Data>
DEVICE SpectrumRows<F> warp_dft(unsigned tables, const Data& x, int steps, int m, int lane) {
  using T = Tables<F>;
  ColumnTiles<F> columns;
  const auto matrix = RowMatrix<F::p>::load(tables + T::rows, m, lane);
  UNROLL for (int j = 0; j < F::tiles; j++) {
    const uint4 twiddle = memory::load_shared<uint4>(tables + T::twiddle + ((m * F::tiles + j) * 32 + lane) * 16);
    columns.tile[j] = multiply_by_twiddle<false>(dft_of_rows(matrix, x, j, steps), twiddle);
  }
  return dft_of_columns<F>(ColumnMatrix::load(tables + T::columns, lane), columns);
}
// And back, up to the last DFT.
template <class F>
DEVICE void inverse_warp_dft(ComplexRows<F::p / 8, F::tiles>& z, unsigned tables, const SpectrumRows<F>& s, int m, int lane) {
  using T = Tables<F>;
  uint4 twiddle[F::tiles];
  UNROLL for (int j = 0; j < F::tiles; j++)
    twiddle[j] = memory::load_shared<uint4>(tables + T::twiddle + ((m * F::tiles + j) * 32 + lane) * 16);
  transpose_into<F>(z, m, inverse_dft_of_columns<F>(ColumnMatrix::load(tables + T::columns, lane), s, twiddle));
}

template <class Number, class F, class S>
KERNEL((WarpForward<Number, F, S>::threads), (WarpForward<Number, F, S>::blocks_per_multiprocessor))
half_forward_warp(Arguments a) {
  using T = Tables<F>;
  using W = WarpForward<Number, F, S>;
  const int warp = ptx::thread() / 32;
  const unsigned shared = memory::shared_base();
  const auto input = W::Input::at(shared + warp * W::Input::bytes);
  const Rows rows = rows_of_block(a);
  const auto filter = FilterEntries<F, true>::of(shared + W::spectrum, a, rows);
  auto u = [&](int item) { return row_of(a.u, a.u_strides, item, rows.channel); };
  auto pre = [&](int item) { return row_of(a.pre_gate, a.pre_strides, item, rows.channel); };
  auto post = [&](int item) { return row_of(a.post_gate, a.post_strides, item, rows.channel); };
  auto meet = [] { ptx::warp_barrier(); };
  // Where tables are, and the lane, in forms that no compiler recognises: loads and arithmetic stay where they are written.
  auto tables_at = [&](int place) { return shared + W::tables + (static_cast<unsigned>(place) & a.zero); };
  auto here = [&](int phase) { return static_cast<int>(ptx::thread() % 32) | (phase & static_cast<int>(a.zero)); };
  if (rows.first + warp < rows.end) input.copy(u(rows.first + warp), pre(rows.first + warp), a.length, here(0));
  load_constants<F, true>(shared + W::tables, filter.shared, a, rows, W::threads);
  const auto mask = Mask<F, W::warps, S::sparse>::load(a.mask, ptx::thread() % 32);
  ptx::block_barrier();
  const float filter_scale = memory::load(a.spectrum_scale + rows.filter);

  NO_UNROLL for (int item = rows.first + warp; item < rows.end; item += W::warps) {
    const int lane = here(item);
    RealRows<F::p / 8, F::tiles> x;
    input.arrive(u(item), pre(item), a.length, lane, meet);
    const Level level = level_of<Number>(peaks_over_warp(input.peaks(a.length, lane)));
    const float scale = filter_scale * level.inverse;
    meet();
    input.load(x, level, a.length, 0, lane);
    meet();
    if (item + W::warps < rows.end) input.copy(u(item + W::warps), pre(item + W::warps), a.length, lane);
    if (S::post_gate && item + W::warps < rows.end) prefetch_row(post(item + W::warps), a.out_length, lane);

    ComplexRows<F::p / 8, F::tiles> z;
    UNROLL for (int m = 0; m < F::row_blocks; m++) {
      if (!(mask.blocks() >> m & 1)) continue;
      const unsigned tables = tables_at(item + m);
      SpectrumRows<F> s = warp_dft<F>(tables, x, steps_of<F>(a.length), m, lane);
      const auto fold = FoldTwiddle::load(tables + T::fold, lane);
      s = multiply_by_spectrum<false, F>(s, fold, [&](int tile) { return filter.load(0, m, tile, lane); });
      inverse_warp_dft<F>(z, tables_at(item + m + 4), s, m, lane);
    }
    const int run = first_run<F>(0, here(item + 1)), left = a.out_length - run;
    Sample* y = row_of(a.y, a.y_strides, item, rows.channel) + run;
    const Sample* gate_run = post(item) + run;
    UNROLL for (int m = 0; m < F::row_blocks; m++) {
      if (16 * m * F::stride >= a.out_length) break;
      GateRuns<F, S::aligned> gate;
      if (S::post_gate) gate.load(gate_run, left, m);
      const auto runs = last_dft<F>(RowMatrix<F::p>::load(tables_at(item + m + 8) + T::rows, m, here(item + 2 + m)), z, scale, mask.blocks());
      store_rows<Number, F, S::post_gate, S::aligned>(y, left, m, gate, runs);
    }
  }
}

// ---- a row in a block

struct Place {
  int thread, warp, lane;
  METHOD explicit Place(int thread) : thread(thread), warp(thread / 32), lane(thread % 32) {}
};

template <class Number, class F, class S, bool RESIDENT>
struct GroupForward {
  static constexpr int warps = F::points <= 2048 ? 4 : F::points <= 8192 ? 8 : 16, threads = 32 * warps;
  static constexpr int blocks_per_multiprocessor = F::points <= 2048 ? 5 : F::points <= 4096 ? 3 : F::points <= 8192 && RESIDENT ? 2 : 1;
  using Input = StagedInput<Number, F, threads, S::pre_gate, S::aligned>;
  using Peaks = GroupPeaks<warps>;
  static constexpr unsigned input = Exchange<F>::bytes, tables = input + Input::bytes, peaks = tables + Tables<F>::bytes;
  static constexpr unsigned kept = peaks + Peaks::bytes, spectrum = kept + (S::sparse ? 16 : 0);
  static constexpr unsigned shared_bytes = spectrum + (RESIDENT ? Spectrum<F>::bytes : 0);
  static constexpr int columns = F::p / warps;           // that a warp transforms,
  static constexpr int further = warps * F::q;           // and samples from one to the next
  static_assert(F::p % warps == 0 && F::units % warps == 0, "all warps have as much to do");
};

// RESIDENT: the filter's spectrum is kept in shared memory.
template <class Number, class F, class S, bool RESIDENT>
KERNEL((GroupForward<Number, F, S, RESIDENT>::threads), (GroupForward<Number, F, S, RESIDENT>::blocks_per_multiprocessor))
half_forward_group(Arguments a) {
  using T = Tables<F>;
  using G = GroupForward<Number, F, S, RESIDENT>;
  const unsigned shared = memory::shared_base();
  const Exchange<F> exchange{shared};
  const auto input = G::Input::at(shared + G::input);
  const typename G::Peaks peaks{shared + G::peaks};
  const Rows rows = rows_of_block(a);
  const auto filter = FilterEntries<F, RESIDENT>::of(shared + G::spectrum, a, rows);
  auto u = [&](int item) { return row_of(a.u, a.u_strides, item, rows.channel); };
  auto pre = [&](int item) { return row_of(a.pre_gate, a.pre_strides, item, rows.channel); };
  auto post = [&](int item) { return row_of(a.post_gate, a.post_strides, item, rows.channel); };
  auto meet = [] { ptx::block_barrier(); };
  input.copy(u(rows.first), pre(rows.first), a.length, ptx::thread());
  load_constants<F, RESIDENT>(shared + G::tables, filter.shared, a, rows, G::threads);
  const auto mask = Mask<F, G::warps, S::sparse>::load(a.mask, ptx::thread() % 32);
  mask.put(shared + G::kept, ptx::thread());
  const float filter_scale = memory::load(a.spectrum_scale + rows.filter);

  // Columns are the warp's own: where it has read one row it writes the next, and the barrier serves both ends.
  const int steps = steps_of<F>(a.length);
  auto place = [&](int phase) { return Place(static_cast<int>(ptx::thread()) | (phase & static_cast<int>(a.zero))); };
  float scale = 0;
  NO_UNROLL for (int item = rows.first - 1; item < rows.end; item++) {
    // Where tables are and which thread this is, in forms that no compiler recognises: loads and arithmetic stay where they
    // are written, instead of being moved out of the loop, for which there are no registers.
    const unsigned tables = shared + G::tables + (static_cast<unsigned>(item) & a.zero);
    const bool here = item >= rows.first, next = item + 1 < rows.end;
    GateRuns<F, S::aligned> gate[G::columns][F::outer_blocks];
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
      if constexpr (S::sparse) {
        const auto kept = mask.get(shared + G::kept);
        NO_UNROLL for (int unit = kept.first_unit(at.warp, at.lane); unit < F::units; unit = kept.next_unit(unit, at.lane))
          convolve(unit);
      } else if constexpr (ptx::stores_matrices) {
        UNROLL for (int i = 0; i < F::units / G::warps; i++) convolve(at.warp + i * G::warps);
      } else {  // what stands in for the instruction takes the registers of a second unit
        NO_UNROLL for (int i = 0; i < F::units / G::warps; i++) convolve(at.warp + i * G::warps);
      }
      if (S::post_gate) {
        ptx::warp_barrier();  // the units' registers are free before the gate's are taken
        const int run = first_run<F>(at.warp * F::q, at.lane), left = a.out_length - run;
        const Sample* gate_run = post(item) + run;
        UNROLL for (int i = 0; i < G::columns; i++)
          UNROLL for (int m = 0; m < F::outer_blocks; m++) gate[i][m].load(gate_run + i * G::further, left - i * G::further, m);
      }
    }
    if (next) {
      const Place at = place(item + 1);
      input.arrive(u(item + 1), pre(item + 1), a.length, at.thread, meet);
      peaks.put(at.warp, at.lane, input.peaks(a.length, at.thread));
    }
    meet();
    if (here) {
      // Columns: the last DFT of each p.
      const Place at = place(item + 2);
      const int run = first_run<F>(at.warp * F::q, at.lane), left = a.out_length - run;
      Sample* y = ptx::opaque(row_of(a.y, a.y_strides, item, rows.channel) + run);
      const auto kept = mask.get(shared + G::kept);
      auto outer = kept.only_kept(RowMatrix<F::n1>::load(tables + T::outer, 0, at.lane), at.lane);
      UNROLL for (int i = 0; i < G::columns; i++) {
        ComplexRows<F::n1 / 8, F::tiles> z;
        load_column<F>(z, exchange, at.warp + i * G::warps, at.lane);
        UNROLL for (int m = 0; m < F::outer_blocks; m++) {
          if (16 * m * F::stride >= a.out_length) break;
          if (F::outer_blocks > 1) outer = kept.only_kept(RowMatrix<F::n1>::load(tables + T::outer, m, at.lane), at.lane);
          const auto runs = last_dft<F>(outer, z, scale, kept.blocks());
          store_rows<Number, F, S::post_gate, S::aligned>(y + i * G::further, left - i * G::further, m, gate[i][m], runs);
        }
      }
    }
    if (next) {
      // And the first one of the next row.
      const Place at = place(item + 3);
      const Level level = level_of<Number>(peaks.get(at.lane));
      scale = filter_scale * level.inverse;
      const auto kept = mask.get(shared + G::kept);
      auto outer = RowMatrix<F::n1>::load(tables + T::outer, 0, at.lane);
      NO_UNROLL for (int p = at.warp; p < F::p; p += G::warps) {
        RealRows<F::n1 / 8, F::tiles> x;
        input.load(x, level, a.length, p * F::q, at.lane);
        UNROLL for (int m = 0; m < F::outer_blocks; m++) {
          if (!(kept.blocks() >> m & 1)) continue;
          if (F::outer_blocks > 1) outer = RowMatrix<F::n1>::load(tables + T::outer, m, at.lane);
          outer_dft<F>(tables, outer, exchange, x, m, p, steps, at.lane);
        }
      }
    }
    meet();
    if (item + 2 < rows.end) {
      const Place at = place(item + 4);
      input.copy(u(item + 2), pre(item + 2), a.length, at.thread);
      if (S::post_gate) prefetch_row(post(item + 2), a.out_length, at.thread);
    }
  }
}
