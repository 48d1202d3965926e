// The fused backward convolution in half precision. With x = u pre_gate and z = dy post_gate, each row gives
//
//   dx = T^-1 (conj K T z),  du = dx pre_gate,  dpre_gate = dx u,
//   dpost_gate = dy T^-1 (K T x),
//   dK += conj(T x) T z, summed over the block's rows in fp32, in their order.
//
// T is unitary, so its inverse is its adjoint. x is transformed first and its spectrum put aside; z meets it there.
#pragma once
#include "half_forward.cuh"

// One warp's share of a spectrum put aside, and of the sums: each thread comes back to what it wrote itself.
struct Stash {
  unsigned shared;
  uint4* scratch;  // where shared memory is too small, else null
  METHOD void put(int entry, const Tile& x) const {
    const uint4 v = make_uint4(x.re[0], x.re[1], x.im[0], x.im[1]);
    if (scratch) memory::store(scratch + entry, v);
    else memory::store_shared(shared + entry * 16, v);
  }
  METHOD Tile get(int entry) const {
    const uint4 v = scratch ? memory::load_own(scratch + entry) : memory::load_shared<uint4>(shared + entry * 16);
    return {{v.x, v.y}, {v.z, v.w}};
  }
};
template <class F>
DEVICE void put_aside(const Stash& stash, const SpectrumRows<F>& s, int k1, int row_block, int lane) {
  UNROLL for (int c = 0; c < F::channels; c++)
    UNROLL for (int j = 0; j < 2; j++) stash.put(Spectrum<F>::entry(k1, row_block, j * F::channels + c, lane), s.part[c][j]);
}
template <class F>
DEVICE SpectrumRows<F> take_back(const Stash& stash, int k1, int row_block, int lane) {
  SpectrumRows<F> s;
  UNROLL for (int c = 0; c < F::channels; c++)
    UNROLL for (int j = 0; j < 2; j++) s.part[c][j] = stash.get(Spectrum<F>::entry(k1, row_block, j * F::channels + c, lane));
  return s;
}

// Sums of the filter's gradient in shared memory, fp32: two planes (rows g, g + 8) for each entry of the spectrum.
template <class F>
struct Gradient {
  static constexpr unsigned bytes = F::points * 8;
  static constexpr int pieces = F::points / 2;  // of 16 bytes: re of a pair of columns, then im
  unsigned base;

  DEVICE int piece(int entry, int half) { return (entry / 32 * 2 + half) * 32 + entry % 32; }
  METHOD void add(int entry, int half, Complex<FloatPair> v, float scale) const {
    const unsigned at = base + piece(entry, half) * 16;
    float4 sum = memory::load_shared<float4>(at);
    sum.x = fmaf(v.re.low, scale, sum.x), sum.y = fmaf(v.re.high, scale, sum.y);
    sum.z = fmaf(v.im.low, scale, sum.z), sum.w = fmaf(v.im.high, scale, sum.w);
    memory::store_shared(at, sum);
  }
};

template <class Number>
DEVICE FloatPair to_floats(Number n, unsigned x) {
  const float2 v = ptx::unpack(n, x);
  return {v.x, v.y};
}
template <class Number>
DEVICE Complex<FloatPair> float_half_tile(const Tile& x, int half) {
  return {to_floats(Number(), x.re[half]), to_floats(Number(), x.im[half])};
}

// The adjoint, in the filter, of multiply_by_spectrum.
template <class Number, class F>
DEVICE void add_gradient(const Gradient<F>& gradient, const SpectrumRows<F>& x, const SpectrumRows<F>& z, const FoldTwiddle& fold,
                         float scale, int k1, int row_block, int lane) {
  UNROLL for (int j = 0; j < 2; j++) {
    const int even = Spectrum<F>::entry(k1, row_block, j * F::channels, lane);
    UNROLL for (int half = 0; half < 2; half++) {
      const auto e = conjugate(float_half_tile<Number>(x.part[0][j], half)), z0 = float_half_tile<Number>(z.part[0][j], half);
      if constexpr (F::channels == 1) {
        gradient.add(even, half, multiply(e, z0), scale);
      } else {
        const Complex<FloatPair> w{to_floats(Fp16(), fold.re[j]), to_floats(Fp16(), fold.im[j])};
        const auto o = conjugate(float_half_tile<Number>(x.part[1][j], half)), z1 = float_half_tile<Number>(z.part[1][j], half);
        gradient.add(even, half, multiply_add(o, z1, multiply(e, z0)), scale);
        gradient.add(even + 32, half, multiply_add(multiply(conjugate(w), o), z0, multiply(e, z1)), scale);
      }
    }
  }
}

// Where the gradients of one row go.
struct RowGradients {
  const Sample *u, *pre, *dy;
  Sample *du, *dpre, *dpost;
  DEVICE RowGradients of(const Arguments& a, int item, int channel) {
    return {row_of(a.u, a.u_strides, item, channel),          row_of(a.pre_gate, a.pre_strides, item, channel),
            row_of(a.dy, a.dy_strides, item, channel),        row_of(a.du, a.du_strides, item, channel),
            row_of(a.dpre_gate, a.dpre_strides, item, channel), row_of(a.dpost_gate, a.dpost_strides, item, channel)};
  }
  // From dx, the gradient of what the convolution was given.
  template <class Number, class F, class S>
  METHOD void store_input(const OutputRuns<F::tiles>& dx, int length, Placement at, int block, int lane) const {
    store_rows<Number, F, S::pre_gate, S::aligned>(du, pre, length, at, block, dx, lane);
    if (S::pre_gate) store_rows<Number, F, true, S::aligned>(dpre, u, length, at, block, dx, lane);
  }
};

// ---- a row in a warp

template <class F, class S>
struct WarpBackward {
  static constexpr int warps = 4, threads = 32 * warps;
  // As many as no specialisation spills at; 512 points, all unrolled, take more registers than 1K.
  static constexpr int blocks_per_multiprocessor = F::points <= 256 ? 4 : S::aligned && F::points > 512 ? 3 : 2;
  static constexpr unsigned constants = Tables<F>::bytes + Spectrum<F>::bytes;
  static constexpr unsigned warp_bytes = Spectrum<F>::bytes + Gradient<F>::bytes;
  static constexpr unsigned shared_bytes = constants + warps * warp_bytes;
};

// A row's way to its spectrum, 16 rows of it at a time.
template <class Number, class F, class Here>
DEVICE SpectrumRows<F> warp_dft(unsigned tables, const RealRows<F::p / 8, F::tiles>& x, int m, int lane, Here&& here) {
  using T = Tables<F>;
  ColumnTiles<F> columns;
  const auto matrix = RowMatrix<F::p>::load(tables + T::rows + here(m), m, lane);
  UNROLL for (int j = 0; j < F::tiles; j++) {
    const uint4 twiddle = memory::load_shared<uint4>(tables + T::twiddle + here(8 + m) + ((m * F::tiles + j) * 32 + lane) * 16);
    columns.tile[j] = multiply_by_twiddle<Number, false>(dft_of_rows<Number, F::p>(matrix, x, j), twiddle);
  }
  return dft_of_columns<Number, F>(ColumnMatrix::load(tables + T::columns + here(16 + m), lane), columns);
}
// And back, up to the last DFT.
template <class Number, class F, class Here>
DEVICE void inverse_warp_dft(ComplexRows<F::p / 8, F::tiles>& z, unsigned tables, const SpectrumRows<F>& s, int m, int lane,
                             Here&& here) {
  using T = Tables<F>;
  uint4 twiddle[F::tiles];
  UNROLL for (int j = 0; j < F::tiles; j++)
    twiddle[j] = memory::load_shared<uint4>(tables + T::twiddle + here(40 + m) + ((m * F::tiles + j) * 32 + lane) * 16);
  const auto matrix = ColumnMatrix::load(tables + T::columns + here(48 + m), lane);
  transpose_into<F>(z, m, inverse_dft_of_columns<Number, F>(matrix, s, twiddle));
}
// A row and its gate, brought to its level.
template <class Number, class F, bool GATED, bool ALIGNED>
DEVICE Level load_level_row(RealRows<F::p / 8, F::tiles>& x, const Sample* row, const Sample* gate_row, int length, int lane) {
  RealRows<F::p / 8, F::tiles> gate;
  Level level{0, 0, 1.f};
  load_rows<F, ALIGNED>(x, row, length, Placement{F::q, 0}, lane);
  if (GATED) load_rows<F, ALIGNED>(gate, gate_row, length, Placement{F::q, 0}, lane);
  if (has_level<Number>) level = level_of(peak_over_lanes<32>(peaks_of<GATED>(x, gate)));
  apply_gate<Number, GATED>(x, gate, level);
  return level;
}

template <class Number, class F, class S>
KERNEL((WarpBackward<F, S>::threads), (WarpBackward<F, S>::blocks_per_multiprocessor)) half_backward_warp(Arguments a) {
  using T = Tables<F>;
  using W = WarpBackward<F, S>;
  constexpr int blocks = F::row_blocks;
  const int lane = ptx::thread() % 32, warp = ptx::thread() / 32;
  const unsigned tables = memory::shared_base(), spectrum = tables + T::bytes;
  const unsigned own = tables + W::constants + warp * W::warp_bytes;
  const Stash stash{own, nullptr};
  const Gradient<F> gradient{own + Spectrum<F>::bytes};
  const Rows rows = rows_of_block(a);
  for (int i = lane; i < Gradient<F>::pieces; i += 32)
    memory::store_shared(gradient.base + i * 16, make_float4(0.f, 0.f, 0.f, 0.f));
  load_constants<F>(tables, a, rows, W::threads);
  const float filter_scale = memory::load(a.spectrum_scale + rows.filter);
  const Placement placement{F::q, 0};

  NO_UNROLL for (int item = rows.first + warp; item < rows.end; item += W::warps) {
    auto here = [&](int place) { return static_cast<unsigned>(item + place) & a.zero; };
    const auto row = RowGradients::of(a, item, rows.channel);
    auto load_entry = [&](int m) {
      return [=](int tile) { return memory::load_shared<uint4>(spectrum + here(32 + m) + Spectrum<F>::entry(0, m, tile, lane) * 16); };
    };
    auto fold = [&](int m) { return FoldTwiddle::load(tables + T::fold + here(24 + m), lane); };
    RealRows<F::p / 8, F::tiles> x;
    ComplexRows<F::p / 8, F::tiles> back;

    const Level x_level = load_level_row<Number, F, S::pre_gate, S::aligned>(x, row.u, row.pre, a.length, lane);
    UNROLL for (int m = 0; m < blocks; m++) {
      const SpectrumRows<F> s = warp_dft<Number, F>(tables, x, m, lane, here);
      put_aside<F>(stash, s, 0, m, lane);
      if (S::post_gate)
        inverse_warp_dft<Number, F>(back, tables, multiply_by_spectrum<Number, false, F>(s, fold(m), load_entry(m)), m, lane, here);
    }
    if (S::post_gate)
      NO_UNROLL for (int m = 0; m < blocks; m++) {
        const auto matrix = RowMatrix<F::p>::load(tables + T::rows + here(56 + m), m, lane);
        const auto y = last_dft<Number, F, F::p>(matrix, back, filter_scale * x_level.inverse);
        store_rows<Number, F, true, S::aligned>(row.dpost, row.dy, a.out_length, placement, m, y, lane);
      }

    const Sample* post = row_of(a.post_gate, a.post_strides, item, rows.channel);
    const Level z_level = load_level_row<Number, F, S::post_gate, S::aligned>(x, row.dy, post, a.out_length, lane);
    UNROLL for (int m = 0; m < blocks; m++) {
      const SpectrumRows<F> s = warp_dft<Number, F>(tables, x, m, lane, here);
      add_gradient<Number, F>(gradient, take_back<F>(stash, 0, m, lane), s, fold(m), x_level.inverse * z_level.inverse, 0, m, lane);
      inverse_warp_dft<Number, F>(back, tables, multiply_by_spectrum<Number, true, F>(s, fold(m), load_entry(m)), m, lane, here);
    }
    NO_UNROLL for (int m = 0; m < blocks; m++) {
      const auto matrix = RowMatrix<F::p>::load(tables + T::rows + here(64 + m), m, lane);
      const auto dx = last_dft<Number, F, F::p>(matrix, back, filter_scale * z_level.inverse);
      row.template store_input<Number, F, S>(dx, a.length, placement, m, lane);
    }
  }

  // The warps' sums, always in the same order.
  ptx::block_barrier();
  float4* to = reinterpret_cast<float4*>(a.dspectrum) +
               (static_cast<Index>(rows.channel) * ptx::blocks_y() + ptx::block_y()) * Gradient<F>::pieces;
  for (int i = ptx::thread(); i < Gradient<F>::pieces; i += W::threads) {
    float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
    for (int w = 0; w < W::warps; w++) {
      const unsigned of_warp = tables + W::constants + w * W::warp_bytes + Spectrum<F>::bytes;
      const float4 v = memory::load_shared<float4>(of_warp + i * 16);
      sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
    }
    memory::store(to + i, sum);
  }
}

// ---- a row in a group of warps

// RESIDENT: the filter's spectrum and that of x lie in shared memory; else in device memory, the latter in the block's own
// piece of `scratch` (Spectrum<F>::bytes).
template <class F, class S, bool RESIDENT>
struct GroupBackward {
  static constexpr int warps = 8, threads = 32 * warps;
  static constexpr int blocks_per_multiprocessor = F::points <= 4096 ? 2 : 1;
  static constexpr unsigned resident = RESIDENT ? Spectrum<F>::bytes : 0;
  static constexpr unsigned peaks = 2 * warps * 4;
  static constexpr unsigned shared_bytes = Tables<F>::bytes + 2 * resident + Exchange<F>::bytes + 2 * peaks + Gradient<F>::bytes;
};

template <class Number, class F, class S, bool RESIDENT>
KERNEL((GroupBackward<F, S, RESIDENT>::threads), (GroupBackward<F, S, RESIDENT>::blocks_per_multiprocessor))
half_backward_group(Arguments a) {
  using T = Tables<F>;
  using G = GroupBackward<F, S, RESIDENT>;
  const int lane = ptx::thread() % 32, warp = ptx::thread() / 32;
  const unsigned tables = memory::shared_base(), spectrum = tables + T::bytes;
  const Exchange<F> exchange{spectrum + 2 * G::resident};
  const GroupPeaks<G::warps> x_peaks{exchange.base + Exchange<F>::bytes}, z_peaks{x_peaks.base + G::peaks};
  const Gradient<F> gradient{z_peaks.base + G::peaks};
  const Rows rows = rows_of_block(a);
  const Index block = static_cast<Index>(rows.channel) * ptx::blocks_y() + ptx::block_y();
  const Stash stash{spectrum + G::resident, RESIDENT ? nullptr : static_cast<uint4*>(a.scratch) + block * Spectrum<F>::entries};
  const uint4* spectrum_in_memory = static_cast<const uint4*>(a.spectrum) + rows.filter * Spectrum<F>::entries;

  for (int i = ptx::thread(); i < Gradient<F>::pieces; i += G::threads)
    memory::store_shared(gradient.base + i * 16, make_float4(0.f, 0.f, 0.f, 0.f));
  memory::async_copy_block(tables, a.tables, T::bytes, G::threads);
  if (RESIDENT) memory::async_copy_block(spectrum, spectrum_in_memory, Spectrum<F>::bytes, G::threads);
  ptx::async_commit();
  ptx::async_wait<0>();
  const float filter_scale = memory::load(a.spectrum_scale + rows.filter);

  auto turn = [&](int item) { return (item - rows.first) % 2; };
  auto look_at = [&](int item) {
    if (!has_level<Number> || item >= rows.end) return;
    x_peaks.put(turn(item), warp, lane, peaks_in_memory<S::pre_gate, S::aligned>(
        row_of(a.u, a.u_strides, item, rows.channel), row_of(a.pre_gate, a.pre_strides, item, rows.channel), a.length,
        ptx::thread(), G::threads));
    z_peaks.put(turn(item), warp, lane, peaks_in_memory<S::post_gate, S::aligned>(
        row_of(a.dy, a.dy_strides, item, rows.channel), row_of(a.post_gate, a.post_strides, item, rows.channel), a.out_length,
        ptx::thread(), G::threads));
  };
  look_at(rows.first);
  ptx::block_barrier();

  NO_UNROLL for (int item = rows.first; item < rows.end; item++) {
    auto here = [&](int place) { return static_cast<unsigned>(item + place) & a.zero; };
    auto load_entry = [&](int k1) {
      return [=](int tile) {
        const int entry = Spectrum<F>::entry(k1, 0, tile, lane);
        return RESIDENT ? memory::load_shared<uint4>(spectrum + entry * 16) : memory::load(spectrum_in_memory + entry);
      };
    };
    Level x_level{0, 0, 1.f}, z_level{0, 0, 1.f};
    if (has_level<Number>) {
      x_level = level_of(x_peaks.get(turn(item), lane));
      z_level = level_of(z_peaks.get(turn(item), lane));
    }

    // x, to its spectrum, and where y had a gate to what that gate multiplied.
    NO_UNROLL for (int p = warp; p < F::p; p += G::warps) {
      RealRows<F::n1 / 8, F::tiles> x, gate;
      const Placement placement{F::inner, p * F::q};
      load_rows<F, S::aligned>(x, row_of(a.u, a.u_strides, item, rows.channel), a.length, placement, lane);
      if (S::pre_gate)
        load_rows<F, S::aligned>(gate, row_of(a.pre_gate, a.pre_strides, item, rows.channel), a.length, placement, lane);
      apply_gate<Number, S::pre_gate>(x, gate, x_level);
      outer_dft<Number, F>(tables, exchange, x, p, a.length, lane, here);
    }
    ptx::block_barrier();
    NO_UNROLL for (int k1 = warp; k1 < F::n1; k1 += G::warps) {
      const auto inner = InnerMatrices<F>::load(tables + here(72 + k1), lane);
      uint4 twiddle[F::tiles];
      load_inner_twiddles<F>(twiddle, tables + here(80 + k1), k1, lane);
      SpectrumRows<F> s = inner_dft<Number, F>(inner, exchange, twiddle, k1, lane);
      put_aside<F>(stash, s, k1, 0, lane);
      if (S::post_gate) {
        const auto fold = FoldTwiddle::load(tables + T::fold + here(120 + k1), lane);
        s = multiply_by_spectrum<Number, false, F>(s, fold, load_entry(k1));
        load_inner_twiddles<F>(twiddle, tables + here(160 + k1), k1, lane);
        inverse_inner_dft<Number, F>(inner, tables, exchange, s, twiddle, k1, lane, here(200 + k1));
      }
    }
    ptx::block_barrier();
    if (S::post_gate) {
      NO_UNROLL for (int p = warp; p < F::p; p += G::warps) {
        ComplexRows<F::n1 / 8, F::tiles> back;
        exchange.load_column(back, p, lane);
        UNROLL for (int m = 0; m < F::outer_blocks; m++) {
          const auto matrix = RowMatrix<F::n1>::load(tables + T::outer + here(64 + m), m, lane);
          const auto y = last_dft<Number, F, F::n1>(matrix, back, filter_scale * x_level.inverse);
          const auto row = RowGradients::of(a, item, rows.channel);
          store_rows<Number, F, true, S::aligned>(row.dpost, row.dy, a.out_length, Placement{F::inner, p * F::q}, m, y, lane);
        }
      }
    }

    // z, to its spectrum, the filter's gradient and dx. Each column is overwritten by the warp that has read it.
    NO_UNROLL for (int p = warp; p < F::p; p += G::warps) {
      RealRows<F::n1 / 8, F::tiles> z, gate;
      const Placement placement{F::inner, p * F::q};
      load_rows<F, S::aligned>(z, row_of(a.dy, a.dy_strides, item, rows.channel), a.out_length, placement, lane);
      if (S::post_gate)
        load_rows<F, S::aligned>(gate, row_of(a.post_gate, a.post_strides, item, rows.channel), a.out_length, placement, lane);
      apply_gate<Number, S::post_gate>(z, gate, z_level);
      outer_dft<Number, F>(tables, exchange, z, p, a.out_length, lane, here);
    }
    ptx::block_barrier();
    look_at(item + 1);
    NO_UNROLL for (int k1 = warp; k1 < F::n1; k1 += G::warps) {
      const auto inner = InnerMatrices<F>::load(tables + here(240 + k1), lane);
      uint4 twiddle[F::tiles];
      load_inner_twiddles<F>(twiddle, tables + here(280 + k1), k1, lane);
      SpectrumRows<F> s = inner_dft<Number, F>(inner, exchange, twiddle, k1, lane);
      const auto fold = FoldTwiddle::load(tables + T::fold + here(320 + k1), lane);
      add_gradient<Number, F>(gradient, take_back<F>(stash, k1, 0, lane), s, fold, x_level.inverse * z_level.inverse, k1, 0, lane);
      s = multiply_by_spectrum<Number, true, F>(s, fold, load_entry(k1));
      load_inner_twiddles<F>(twiddle, tables + here(360 + k1), k1, lane);
      inverse_inner_dft<Number, F>(inner, tables, exchange, s, twiddle, k1, lane, here(400 + k1));
    }
    ptx::block_barrier();
    NO_UNROLL for (int p = warp; p < F::p; p += G::warps) {
      ComplexRows<F::n1 / 8, F::tiles> back;
      exchange.load_column(back, p, lane);
      UNROLL for (int m = 0; m < F::outer_blocks; m++) {
        const auto matrix = RowMatrix<F::n1>::load(tables + T::outer + here(440 + m), m, lane);
        const auto dx = last_dft<Number, F, F::n1>(matrix, back, filter_scale * z_level.inverse);
        RowGradients::of(a, item, rows.channel)
            .template store_input<Number, F, S>(dx, a.length, Placement{F::inner, p * F::q}, m, lane);
      }
    }
  }

  ptx::block_barrier();
  float4* to = reinterpret_cast<float4*>(a.dspectrum) + block * Gradient<F>::pieces;
  for (int i = ptx::thread(); i < Gradient<F>::pieces; i += G::threads)
    memory::store(to + i, memory::load_shared<float4>(gradient.base + i * 16));
}
