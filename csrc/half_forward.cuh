// The fused forward convolution in half precision: y = post_gate ((u pre_gate) * k), one kernel.
//
// Two forms of one formula. Up to 1K points a row lives in one warp's registers, and warps walk rows on their own. Beyond,
// a group of warps shares a row: the outermost DFT crosses shared memory, the inner ones stay in registers.
#pragma once
#include "half_exchange.cuh"
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

// What a block loads once: tables, then the filter's spectrum.
template <class F>
DEVICE void load_constants(unsigned shared, const Arguments& a, const Rows& rows, int threads) {
  memory::async_copy_block(shared, a.tables, Tables<F>::bytes, threads);
  memory::async_copy_block(shared + Tables<F>::bytes, static_cast<const char*>(a.spectrum) + rows.filter * Spectrum<F>::bytes,
                           Spectrum<F>::bytes, threads);
  ptx::async_commit();
  ptx::async_wait<0>();
  ptx::block_barrier();
}

// ---- a row in a warp

template <class F, class S>
struct WarpForward {
  static_assert(F::n1 == 1, "one warp holds a row of two factors");
  static constexpr int warps = 4, threads = 32 * warps;
  static constexpr int blocks_per_multiprocessor = S::aligned ? 4 : 3;
  static constexpr unsigned shared_bytes = Tables<F>::bytes + Spectrum<F>::bytes;
};

template <class Number, class F, class S>
KERNEL((WarpForward<F, S>::threads), (WarpForward<F, S>::blocks_per_multiprocessor)) half_forward_warp(Arguments a) {
  using T = Tables<F>;
  constexpr int warps = WarpForward<F, S>::warps, steps = F::p / 16;
  const int lane = ptx::thread() % 32, warp = ptx::thread() / 32;
  const unsigned tables = memory::shared_base(), spectrum = tables + T::bytes;
  const Rows rows = rows_of_block(a);
  load_constants<F>(tables, a, rows, WarpForward<F, S>::threads);
  const float filter_scale = memory::load(a.spectrum_scale + rows.filter);
  const Placement placement{F::q, 0};

  NO_UNROLL for (int item = rows.first + warp; item < rows.end; item += warps) {
    // Zero, but for all the compiler knows another one each row and place: keeps table loads where they are.
    auto here = [&](int place) { return static_cast<unsigned>(item + place) & a.zero; };
    const Sample* u = row_of(a.u, a.u_strides, item, rows.channel);
    const Sample* pre = row_of(a.pre_gate, a.pre_strides, item, rows.channel);
    const Sample* post = row_of(a.post_gate, a.post_strides, item, rows.channel);

    RealRows<F::p / 8, F::tiles> x, gate;
    Level level;
    load_rows<F, S::aligned>(x, u, a.length, placement, lane);
    if (S::pre_gate) load_rows<F, S::aligned>(gate, pre, a.length, placement, lane);
    if (has_level<Number>) level = level_of(peak_over_lanes<32>(peaks_of<S::pre_gate>(x, gate)));
    apply_gate<Number, S::pre_gate>(x, gate, level);

    ComplexRows<F::p / 8, F::tiles> z;
    UNROLL for (int m = 0; m < steps; m++) {
      ColumnTiles<F> columns;
      uint4 twiddle[F::tiles];
      const auto rows_matrix = RowMatrix<F::p>::load(tables + T::rows + here(m), m, lane);
      UNROLL for (int j = 0; j < F::tiles; j++) {
        twiddle[j] = memory::load_shared<uint4>(tables + T::twiddle + here(8 + m) + ((m * F::tiles + j) * 32 + lane) * 16);
        columns.tile[j] = multiply_by_twiddle<Number, false>(dft_of_rows<Number, F::p>(rows_matrix, x, j), twiddle[j]);
      }
      const auto column_matrix = ColumnMatrix::load(tables + T::columns + here(16 + m), lane);
      const auto fold = FoldTwiddle::load(tables + T::fold + here(24 + m), lane);
      SpectrumRows<F> s = dft_of_columns<Number, F>(column_matrix, columns);
      s = multiply_by_spectrum<Number, false, F>(s, fold, [&](int tile) {
        return memory::load_shared<uint4>(spectrum + here(32 + m) + Spectrum<F>::entry(0, m, tile, lane) * 16);
      });
      UNROLL for (int j = 0; j < F::tiles; j++)
        twiddle[j] = memory::load_shared<uint4>(tables + T::twiddle + here(40 + m) + ((m * F::tiles + j) * 32 + lane) * 16);
      transpose_into<F>(z, m, inverse_dft_of_columns<Number, F>(column_matrix, s, twiddle));
    }
    const float scale = filter_scale * (has_level<Number> ? level.inverse : 1.f);
    UNROLL for (int m = 0; m < steps; m++) {
      if (16 * m * F::q >= a.out_length) break;
      const auto rows_matrix = RowMatrix<F::p>::load(tables + T::rows + here(48 + m), m, lane);
      const auto y = last_dft<Number, F, F::p>(rows_matrix, z, scale);
      store_rows<Number, F, S::post_gate, S::aligned>(row_of(a.y, a.y_strides, item, rows.channel), post, a.out_length, placement,
                                                      m, y, lane);
    }
  }
}

// ---- a row in a group of warps

template <class F, class S, int GROUPS>
struct GroupForward {
  static constexpr int warps = 8, threads = 32 * warps * GROUPS;
  static constexpr int blocks_per_multiprocessor = F::points <= 4096 ? (S::aligned ? 3 : 2) : F::points <= 8192 ? 2 : 1;
  static constexpr unsigned constants = Tables<F>::bytes + Spectrum<F>::bytes;
  static constexpr unsigned peaks = 2 * warps * 4;  // of two rows, a word a warp
  static constexpr unsigned group_bytes = Exchange<F>::bytes + peaks;
  static constexpr unsigned shared_bytes = constants + GROUPS * group_bytes;
};

// Each group of 8 warps walks its own rows, so that one loads while the other computes.
template <class Number, class F, class S, int GROUPS>
KERNEL((GroupForward<F, S, GROUPS>::threads), (GroupForward<F, S, GROUPS>::blocks_per_multiprocessor)) half_forward_group(Arguments a) {
  using T = Tables<F>;
  using G = GroupForward<F, S, GROUPS>;
  const int lane = ptx::thread() % 32, warp = ptx::thread() / 32 % G::warps, group = ptx::thread() / (32 * G::warps);
  const unsigned tables = memory::shared_base(), spectrum = tables + T::bytes;
  const Exchange<F> exchange{tables + G::constants + group * G::group_bytes};
  const GroupPeaks<G::warps> peaks{exchange.base + Exchange<F>::bytes};
  const Rows rows = rows_of_block(a);
  load_constants<F>(tables, a, rows, G::threads);
  const float filter_scale = memory::load(a.spectrum_scale + rows.filter);
  auto turn = [&](int item) { return (item - rows.first) / GROUPS % 2; };
  auto look_at = [&](int item) {
    if (has_level<Number> && item < rows.end)
      peaks.put(turn(item), warp, lane, peaks_in_memory<S::pre_gate, S::aligned>(
          row_of(a.u, a.u_strides, item, rows.channel), row_of(a.pre_gate, a.pre_strides, item, rows.channel), a.length,
          warp * 32 + lane, G::warps * 32));
  };
  auto meet = [&] { ptx::named_barrier(1 + group, G::warps * 32); };

  look_at(rows.first + group);
  meet();
  NO_UNROLL for (int item = rows.first + group; item < rows.end; item += GROUPS) {
    auto here = [&](int place) { return static_cast<unsigned>(item + place) & a.zero; };
    Level level;
    if (has_level<Number>) level = level_of(peaks.get(turn(item), lane));

    // Columns: the outer DFT of each p.
    NO_UNROLL for (int p = warp; p < F::p; p += G::warps) {
      RealRows<F::n1 / 8, F::tiles> x, gate;
      const Placement placement{F::inner, p * F::q};
      load_rows<F, S::aligned>(x, row_of(a.u, a.u_strides, item, rows.channel), a.length, placement, lane);
      if (S::pre_gate)
        load_rows<F, S::aligned>(gate, row_of(a.pre_gate, a.pre_strides, item, rows.channel), a.length, placement, lane);
      apply_gate<Number, S::pre_gate>(x, gate, level);
      outer_dft<Number, F>(tables, exchange, x, p, a.length, lane, here);
    }
    meet();
    look_at(item + GROUPS);
    // Rows: all inner DFTs of each k1, and the product.
    const auto inner = InnerMatrices<F>::load(tables + here(72), lane);
    NO_UNROLL for (int k1 = warp; k1 < F::n1; k1 += G::warps) {
      uint4 twiddle[F::tiles];
      load_inner_twiddles<F>(twiddle, tables + here(80 + k1), k1, lane);
      SpectrumRows<F> s = inner_dft<Number, F>(inner, exchange, twiddle, k1, lane);
      const auto fold = FoldTwiddle::load(tables + T::fold + here(120 + k1), lane);
      s = multiply_by_spectrum<Number, false, F>(s, fold, [&](int tile) {
        return memory::load_shared<uint4>(spectrum + Spectrum<F>::entry(k1, 0, tile, lane) * 16);
      });
      // fp32 pairs leave no registers to keep the twiddles in meanwhile.
      if (!has_level<Number>) load_inner_twiddles<F>(twiddle, tables + here(160 + k1), k1, lane);
      inverse_inner_dft<Number, F>(inner, tables, exchange, s, twiddle, k1, lane, here(200 + k1));
    }
    meet();
    // Columns again. Each is read by the warp that will overwrite it with the next row's, so no barrier follows.
    const float scale = filter_scale * (has_level<Number> ? level.inverse : 1.f);
    NO_UNROLL for (int p = warp; p < F::p; p += G::warps) {
      ComplexRows<F::n1 / 8, F::tiles> z;
      exchange.load_column(z, p, lane);
      UNROLL for (int m = 0; m < F::outer_blocks; m++) {
        if (16 * m * F::inner >= a.out_length) break;
        const auto matrix = RowMatrix<F::n1>::load(tables + T::outer + here(64 + m), m, lane);
        const auto y = last_dft<Number, F, F::n1>(matrix, z, scale);
        store_rows<Number, F, S::post_gate, S::aligned>(
            row_of(a.y, a.y_strides, item, rows.channel), row_of(a.post_gate, a.post_strides, item, rows.channel), a.out_length,
            Placement{F::inner, p * F::q}, m, y, lane);
      }
    }
  }
}
