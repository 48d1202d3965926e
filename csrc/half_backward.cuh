// The fused backward convolution in half precision. With x = u pre_gate and z = dy post_gate, each row gives
//
//   dx = T^-1 (conj K T z),  du = dx pre_gate,  dpre_gate = dx u,
//   dpost_gate = dy T^-1 (K T x),
//   dK += conj(T x) T z, summed over the block's rows in fp32, in their order.
//
// T is unitary, so its inverse is its adjoint. x is transformed first and its spectrum put aside; z meets it there.
#pragma once
#include "half_forward.cuh"

// One warp's share of a spectrum put aside: each thread comes back to what it wrote itself.
template <class F>
struct Stash {
  unsigned shared;
  uint4* scratch;  // where shared memory is too small, else null
  METHOD void put(const SpectrumRows<F>& s, int unit, int lane) const {
    UNROLL for (int c = 0; c < F::channels; c++)
      UNROLL for (int j = 0; j < 2; j++) {
        const Tile& x = s.part[c][j];
        const uint4 v = make_uint4(x.re[0], x.re[1], x.im[0], x.im[1]);
        const int entry = Spectrum<F>::entry(unit, 0, j * F::channels + c, lane);
        if (scratch) memory::store(scratch + entry, v);
        else memory::store_shared(shared + entry * 16, v);
      }
  }
  METHOD SpectrumRows<F> get(int unit, int lane) const {
    SpectrumRows<F> s;
    UNROLL for (int c = 0; c < F::channels; c++)
      UNROLL for (int j = 0; j < 2; j++) {
        const int entry = Spectrum<F>::entry(unit, 0, j * F::channels + c, lane);
        const uint4 v = scratch ? memory::load_own(scratch + entry) : memory::load_shared<uint4>(shared + entry * 16);
        s.part[c][j] = {{v.x, v.y}, {v.z, v.w}};
      }
    return s;
  }
};

// Sums of the filter's gradient in shared memory, fp32: two planes (rows g, g + 8) for each entry of the spectrum.
template <class F>
struct Gradient {
  static constexpr unsigned bytes = F::points * 8;
  static constexpr int pieces = F::points / 2;  // of 16 bytes: re of a pair of columns, then im
  unsigned base;

  DEVICE int piece(int entry, int half) { return (entry / 32 * 2 + half) * 32 + entry % 32; }
  METHOD void clear(int thread, int threads) const {
    for (int i = thread; i < pieces; i += threads) memory::store_shared(base + i * 16, make_float4(0.f, 0.f, 0.f, 0.f));
  }
  METHOD void add(int entry, int half, Complex<FloatPair> v, float scale) const {
    const unsigned at = base + piece(entry, half) * 16;
    float4 sum = memory::load_shared<float4>(at);
    sum.x = fmaf(v.re.low, scale, sum.x), sum.y = fmaf(v.re.high, scale, sum.y);
    sum.z = fmaf(v.im.low, scale, sum.z), sum.w = fmaf(v.im.high, scale, sum.w);
    memory::store_shared(at, sum);
  }
};

DEVICE FloatPair to_floats(Pair x) {
  const float2 v = ptx::unpack(Fp16(), x.bits);
  return {v.x, v.y};
}
DEVICE Complex<FloatPair> to_floats(Complex<Pair> x) { return {to_floats(x.re), to_floats(x.im)}; }

// The adjoint, in the filter, of multiply_by_spectrum.
template <class F>
DEVICE void add_gradient(const Gradient<F>& gradient, const SpectrumRows<F>& x, const SpectrumRows<F>& z, const FoldTwiddle& fold,
                         float scale, int unit, int row_block, int lane) {
  UNROLL for (int j = 0; j < 2; j++) {
    const int even = Spectrum<F>::entry(unit, row_block, j * F::channels, lane);
    UNROLL for (int half = 0; half < 2; half++) {
      const auto e = conjugate(to_floats(half_of(x.part[0][j], half))), z0 = to_floats(half_of(z.part[0][j], half));
      if constexpr (F::channels == 1) {
        gradient.add(even, half, multiply(e, z0), scale);
      } else {
        const auto w = to_floats(Complex<Pair>{{fold.re[j]}, {fold.im[j]}});
        const auto o = conjugate(to_floats(half_of(x.part[1][j], half))), z1 = to_floats(half_of(z.part[1][j], half));
        gradient.add(even, half, multiply_add(o, z1, multiply(e, z0)), scale);
        gradient.add(even + 32, half, multiply_add(multiply(conjugate(w), o), z0, multiply(e, z1)), scale);
      }
    }
  }
}

// Where the gradients of one row go, from a lane's first run on, and what they are made of there.
struct RowGradients {
  const Sample *u, *pre, *dy;
  Sample *du, *dpre, *dpost;
  DEVICE RowGradients of(const Arguments& a, int item, int channel, int run) {
    return {row_of(a.u, a.u_strides, item, channel) + run,
            row_of(a.pre_gate, a.pre_strides, item, channel) + run,
            row_of(a.dy, a.dy_strides, item, channel) + run,
            row_of(a.du, a.du_strides, item, channel) + run,
            row_of(a.dpre_gate, a.dpre_strides, item, channel) + run,
            row_of(a.dpost_gate, a.dpost_strides, item, channel) + run};
  }
  // From dx, the gradient of what the convolution was given.
  template <class Number, class F, class S>
  METHOD void store_input(const OutputRuns<F::tiles>& dx, int further, int left, int block) const {
    GateRuns<F, S::aligned> gate;
    if (S::pre_gate) gate.load(pre + further, left - further, block);
    store_rows<Number, F, S::pre_gate, S::aligned>(du + further, left - further, block, gate, dx);
    if (!S::pre_gate) return;
    gate.load(u + further, left - further, block);
    store_rows<Number, F, true, S::aligned>(dpre + further, left - further, block, gate, dx);
  }
  // From y, before its gate.
  template <class Number, class F, class S>
  METHOD void store_gate(const OutputRuns<F::tiles>& y, int further, int left, int block) const {
    GateRuns<F, S::aligned> gate;
    gate.load(dy + further, left - further, block);
    store_rows<Number, F, true, S::aligned>(dpost + further, left - further, block, gate, y);
  }
};

// The two inputs of a row, one after the other in the same place.
template <class Number, class F, class S, int THREADS>
struct BackwardInput {
  using X = StagedInput<Number, F, THREADS, S::pre_gate, S::aligned>;   // u and its gate
  using Z = StagedInput<Number, F, THREADS, S::post_gate, S::aligned>;  // dy and its gate
  static constexpr unsigned bytes = X::bytes > Z::bytes ? X::bytes : Z::bytes;
};

// ---- a row in a warp

template <class Number, class F, class S>
struct WarpBackward {
  using Input = BackwardInput<Number, F, S, 32>;
  static constexpr int warps = 4, threads = 32 * warps;
  static constexpr int blocks_per_multiprocessor = F::points <= 256 ? 4 : F::points <= 512 ? 3 : S::aligned ? 3 : 2;
  static constexpr unsigned tables = 0, spectrum = Tables<F>::bytes, constants = spectrum + Spectrum<F>::bytes;
  static constexpr unsigned warp_bytes = Gradient<F>::bytes + Input::bytes;
  static constexpr unsigned shared_bytes = constants + warps * warp_bytes;
};

// The sums of W::warps warps, each W::warp_bytes further in shared memory, always in the same order.
template <class F, class W>
DEVICE void store_sums_of_warps(float2* dspectrum, unsigned first, int channel) {
  float4* to = reinterpret_cast<float4*>(dspectrum) +
               (static_cast<Index>(channel) * ptx::blocks_y() + ptx::block_y()) * Gradient<F>::pieces;
  for (int i = ptx::thread(); i < Gradient<F>::pieces; i += W::threads) {
    float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
    for (int w = 0; w < W::warps; w++) {
      const float4 v = memory::load_shared<float4>(first + w * W::warp_bytes + i * 16);
      sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
    }
    memory::store(to + i, sum);
  }
}

template <class Number, class F, class S>
KERNEL((WarpBackward<Number, F, S>::threads), (WarpBackward<Number, F, S>::blocks_per_multiprocessor))
half_backward_warp(Arguments a) {
  using T = Tables<F>;
  using W = WarpBackward<Number, F, S>;
  constexpr int blocks = F::row_blocks;
  const int warp = ptx::thread() / 32;
  const unsigned shared = memory::shared_base(), own = shared + W::constants + warp * W::warp_bytes;
  const Gradient<F> gradient{own};
  const auto x_input = W::Input::X::at(own + Gradient<F>::bytes);
  const auto z_input = W::Input::Z::at(own + Gradient<F>::bytes);
  const Rows rows = rows_of_block(a);
  const auto filter = FilterEntries<F, true>::of(shared + W::spectrum, a, rows);
  auto u = [&](int item) { return row_of(a.u, a.u_strides, item, rows.channel); };
  auto pre = [&](int item) { return row_of(a.pre_gate, a.pre_strides, item, rows.channel); };
  auto dy = [&](int item) { return row_of(a.dy, a.dy_strides, item, rows.channel); };
  auto post = [&](int item) { return row_of(a.post_gate, a.post_strides, item, rows.channel); };
  auto meet = [] { ptx::warp_barrier(); };
  // Where tables are, and the lane, in forms that no compiler recognises: see half_forward_warp.
  auto tables_at = [&](int place) { return shared + W::tables + (static_cast<unsigned>(place) & a.zero); };
  auto here = [&](int phase) { return static_cast<int>(ptx::thread() % 32) | (phase & static_cast<int>(a.zero)); };
  if (rows.first + warp < rows.end) x_input.copy(u(rows.first + warp), pre(rows.first + warp), a.length, here(0));
  gradient.clear(here(0), 32);
  load_constants<F, true>(shared + W::tables, filter.shared, a, rows, W::threads);
  const auto mask = Mask<F, W::warps, S::sparse>::load(a.mask, ptx::thread() % 32);
  ptx::block_barrier();
  const float filter_scale = memory::load(a.spectrum_scale + rows.filter);

  NO_UNROLL for (int item = rows.first + warp; item < rows.end; item += W::warps) {
    const int lane = here(item);
    RealRows<F::p / 8, F::tiles> x;
    ComplexRows<F::p / 8, F::tiles> back;
    SpectrumRows<F> x_spectrum[blocks];

    x_input.arrive(u(item), pre(item), a.length, lane, meet);
    const Level x_level = level_of<Number>(peaks_over_warp(x_input.peaks(a.length, lane)));
    const float x_scale = x_level.inverse;
    meet();
    x_input.load(x, x_level, a.length, 0, lane);
    meet();
    z_input.copy(dy(item), post(item), a.out_length, lane);
    UNROLL for (int m = 0; m < blocks; m++) {
      if (!(mask.blocks() >> m & 1)) continue;
      x_spectrum[m] = warp_dft<F>(tables_at(item + m), x, steps_of<F>(a.length), m, lane);
      if (S::post_gate) {
        const unsigned tables = tables_at(item + m + 4);
        const auto s = multiply_by_spectrum<false, F>(x_spectrum[m], FoldTwiddle::load(tables + T::fold, lane),
                                                      [&](int tile) { return filter.load(0, m, tile, lane); });
        inverse_warp_dft<F>(back, tables, s, m, lane);
      }
    }
    const int run = first_run<F>(0, here(item + 1));
    if (S::post_gate)
      UNROLL for (int m = 0; m < blocks; m++) {
        const auto matrix = RowMatrix<F::p>::load(tables_at(item + m + 8) + T::rows, m, lane);
        const auto y = last_dft<F>(matrix, back, filter_scale * x_scale, mask.blocks());
        RowGradients::of(a, item, rows.channel, run).template store_gate<Number, F, S>(y, 0, a.out_length - run, m);
      }

    z_input.arrive(dy(item), post(item), a.out_length, lane, meet);
    const Level z_level = level_of<Number>(peaks_over_warp(z_input.peaks(a.out_length, lane)));
    const float z_scale = z_level.inverse;
    meet();
    z_input.load(x, z_level, a.out_length, 0, lane);
    meet();
    if (item + W::warps < rows.end) x_input.copy(u(item + W::warps), pre(item + W::warps), a.length, lane);
    UNROLL for (int m = 0; m < blocks; m++) {
      if (!(mask.blocks() >> m & 1)) continue;
      const unsigned tables = tables_at(item + m + 12);
      const auto z_spectrum = warp_dft<F>(tables, x, steps_of<F>(a.out_length), m, lane);
      const auto fold = FoldTwiddle::load(tables + T::fold, lane);
      add_gradient<F>(gradient, x_spectrum[m], z_spectrum, fold, x_scale * z_scale, 0, m, lane);
      const auto s =
          multiply_by_spectrum<true, F>(z_spectrum, fold, [&](int tile) { return filter.load(0, m, tile, lane); });
      inverse_warp_dft<F>(back, tables_at(item + m + 16), s, m, lane);
    }
    UNROLL for (int m = 0; m < blocks; m++) {
      const auto matrix = RowMatrix<F::p>::load(tables_at(item + m + 20) + T::rows, m, lane);
      const auto dx = last_dft<F>(matrix, back, filter_scale * z_scale, mask.blocks());
      RowGradients::of(a, item, rows.channel, run).template store_input<Number, F, S>(dx, 0, a.length - run, m);
    }
  }

  ptx::block_barrier();
  store_sums_of_warps<F, W>(a.dspectrum, shared + W::constants, rows.channel);
}

// ---- a row in a block

// Where the filter's spectrum and that of x are: in shared memory, or in device memory, the latter in the block's own piece
// of `scratch` (Spectrum<F>::bytes). Rows come in beside the exchange or, where there is no room, through it.
enum class Keep { in_shared, in_device, in_exchange };

template <class Number, class F, class S, Keep KEEP>
struct GroupBackward {
  static constexpr int warps = F::points <= 2048 ? 4 : F::points <= 4096 ? 8 : 16, threads = 32 * warps;
  static constexpr int blocks_per_multiprocessor = F::points <= 2048 ? 3 : F::points <= 4096 ? 2 : 1;
  static constexpr bool resident = KEEP == Keep::in_shared, through_exchange = KEEP == Keep::in_exchange;
  using Input = BackwardInput<Number, F, S, threads>;
  using Peaks = GroupPeaks<warps>;
  static constexpr unsigned input = through_exchange ? 0 : Exchange<F>::bytes;
  static constexpr unsigned tables = input + Input::bytes > Exchange<F>::bytes ? input + Input::bytes : Exchange<F>::bytes;
  static constexpr unsigned peaks = tables + Tables<F>::bytes, scale = peaks + Peaks::bytes;
  static constexpr unsigned kept = scale + 4, gradient = scale + 16;  // the filter's scale, and the mask, for want of registers
  static constexpr unsigned spectrum = gradient + Gradient<F>::bytes;
  static constexpr unsigned shared_bytes = spectrum + (resident ? 2 * Spectrum<F>::bytes : 0);
  static constexpr int columns = F::p / warps, further = warps * F::q;  // see GroupForward
  static_assert(!through_exchange || columns == 1, "all columns are in registers when the exchange is written");
};

template <class Number, class F, class S, Keep KEEP>
KERNEL((GroupBackward<Number, F, S, KEEP>::threads), (GroupBackward<Number, F, S, KEEP>::blocks_per_multiprocessor))
half_backward_group(Arguments a) {
  using T = Tables<F>;
  using G = GroupBackward<Number, F, S, KEEP>;
  const unsigned shared = memory::shared_base();
  const Exchange<F> exchange{shared};
  const auto x_input = G::Input::X::at(shared + G::input);
  const auto z_input = G::Input::Z::at(shared + G::input);
  const typename G::Peaks peaks{shared + G::peaks};
  const Gradient<F> gradient{shared + G::gradient};
  const Rows rows = rows_of_block(a);
  const auto filter = FilterEntries<F, G::resident>::of(shared + G::spectrum, a, rows);
  // See half_forward_group.
  auto u = [&](int item) { return row_of(a.u, a.u_strides, item, rows.channel); };
  auto pre = [&](int item) { return row_of(a.pre_gate, a.pre_strides, item, rows.channel); };
  auto dy = [&](int item) { return row_of(a.dy, a.dy_strides, item, rows.channel); };
  auto post = [&](int item) { return row_of(a.post_gate, a.post_strides, item, rows.channel); };
  auto meet = [] { ptx::block_barrier(); };
  auto tables_at = [&](int phase) { return shared + G::tables + (static_cast<unsigned>(phase) & a.zero); };
  auto place = [&](int phase) { return Place(static_cast<int>(ptx::thread()) | (phase & static_cast<int>(a.zero))); };
  auto block = [&](int phase) {
    return static_cast<Index>(ptx::block_x() | (static_cast<unsigned>(phase) & a.zero)) * ptx::blocks_y() + ptx::block_y();
  };
  auto stash_at = [&](int phase) {
    return Stash<F>{shared + G::spectrum + Spectrum<F>::bytes,
                    G::resident ? nullptr : static_cast<uint4*>(a.scratch) + block(phase) * Spectrum<F>::entries};
  };
  gradient.clear(ptx::thread(), G::threads);
  load_constants<F, G::resident>(shared + G::tables, filter.shared, a, rows, G::threads);
  const auto mask = Mask<F, G::warps, S::sparse>::load(a.mask, ptx::thread() % 32);
  if (ptx::thread() == 0) memory::store_shared(shared + G::scale, memory::load(a.spectrum_scale + rows.filter));
  mask.put(shared + G::kept, ptx::thread());
  if (!G::through_exchange) x_input.copy(u(rows.first), pre(rows.first), a.length, ptx::thread());

  // What is in the exchange, through its last DFT to `store`; then the next input into it. Returns what undoes its level.
  auto turn = [&](bool here, bool next, const auto& input, const Sample* row, const Sample* gate, int length, float scale, int phase,
                  auto&& store) {
    auto fetch = [&] {
      const Place at = place(phase);
      if (G::through_exchange) input.copy(row, gate, length, at.thread);
      input.arrive(row, gate, length, at.thread, meet);
      peaks.put(at.warp, at.lane, input.peaks(length, at.thread));
    };
    if (next && !G::through_exchange) fetch();
    meet();
    if (here) {
      const Place at = place(phase + 1);
      const int run = first_run<F>(at.warp * F::q, at.lane);
      const float of_both = scale * memory::load_shared<float>(shared + G::scale);
      const auto kept = mask.get(shared + G::kept);
      UNROLL for (int i = 0; i < G::columns; i++) {
        ComplexRows<F::n1 / 8, F::tiles> back;
        load_column<F>(back, exchange, at.warp + i * G::warps, at.lane);
        auto last = [&](int m) {
          const auto matrix = kept.only_kept(RowMatrix<F::n1>::load(tables_at(phase + m) + T::outer, m, at.lane), at.lane);
          store(last_dft<F>(matrix, back, of_both, kept.blocks()), run, i * G::further, m);
        };
        if constexpr (S::aligned) {
          UNROLL for (int m = 0; m < F::outer_blocks; m++) last(m);
        } else {  // samples one by one take registers enough for one block of rows
          NO_UNROLL for (int m = 0; m < F::outer_blocks; m++) last(m);
        }
      }
    }
    if (G::through_exchange) {
      meet();
      if (next) fetch();
      meet();
    }
    if (!next) return 0.f;
    const Place at = place(phase + 2);
    const Level level = level_of<Number>(peaks.get(at.lane));
    const auto kept = mask.get(shared + G::kept);
    NO_UNROLL for (int p = at.warp; p < F::p; p += G::warps) {
      RealRows<F::n1 / 8, F::tiles> x;
      input.load(x, level, length, p * F::q, at.lane);
      if (G::through_exchange) meet();
      UNROLL for (int m = 0; m < F::outer_blocks; m++) {
        if (!(kept.blocks() >> m & 1)) continue;
        const unsigned tables = tables_at(phase + m + 2);
        const auto matrix = RowMatrix<F::n1>::load(tables + T::outer, m, at.lane);
        outer_dft<F>(tables, matrix, exchange, x, m, p, steps_of<F>(length), at.lane);
      }
    }
    meet();
    return level.inverse;
  };

  float z_scale = 0;
  NO_UNROLL for (int item = rows.first; item <= rows.end; item++) {
    const bool next = item < rows.end;
    // dx of the row before, and x into the exchange.
    const float x_scale =
        turn(item > rows.first, next, x_input, u(item), pre(item), a.length, z_scale, item,
             [&](const OutputRuns<F::tiles>& dx, int run, int further, int m) {
               RowGradients::of(a, item - 1, rows.channel, run).template store_input<Number, F, S>(dx, further, a.length - run, m);
             });
    if (!next) break;
    if (!G::through_exchange) z_input.copy(dy(item), post(item), a.out_length, place(item + 1).thread);
    {
      const Place at = place(item + 2);
      const Stash<F> stash = stash_at(item);
      const auto kept = mask.get(shared + G::kept);
      NO_UNROLL for (int unit = kept.first_unit(at.warp, at.lane); unit < F::units; unit = kept.next_unit(unit, at.lane)) {
        const unsigned tables = tables_at(item + unit);
        const auto inner = InnerMatrices::load<F>(tables, at.lane);
        uint4 twiddle[F::tiles];
        load_inner_twiddles<F>(twiddle, tables, unit, at.lane);
        SpectrumRows<F> s = inner_dft<F>(inner, exchange, twiddle, unit, at.lane);
        stash.put(s, unit, at.lane);
        if (!S::post_gate) continue;
        s = multiply_by_spectrum<false, F>(s, FoldTwiddle::load(tables + T::fold, at.lane),
                                           [&](int tile) { return filter.load(unit, 0, tile, at.lane); });
        load_inner_twiddles<F>(twiddle, tables_at(item + unit + 1), unit, at.lane);
        inverse_inner_dft<F>(inner, tables, exchange, s, twiddle, unit, at.lane);
      }
    }
    // y, where it had a gate, and z into the exchange.
    z_scale = turn(S::post_gate, true, z_input, dy(item), post(item), a.out_length, x_scale, item + 3,
                   [&](const OutputRuns<F::tiles>& y, int run, int further, int m) {
                     RowGradients::of(a, item, rows.channel, run)
                         .template store_gate<Number, F, S>(y, further, a.out_length - run, m);
                   });
    if (!G::through_exchange && item + 1 < rows.end) x_input.copy(u(item + 1), pre(item + 1), a.length, place(item + 4).thread);
    const Place at = place(item + 5);
    const Stash<F> stash = stash_at(item + 1);
    const auto kept = mask.get(shared + G::kept);
    NO_UNROLL for (int unit = kept.first_unit(at.warp, at.lane); unit < F::units; unit = kept.next_unit(unit, at.lane)) {
      const unsigned tables = tables_at(item + unit + 2);
      const auto inner = InnerMatrices::load<F>(tables, at.lane);
      uint4 twiddle[F::tiles];
      load_inner_twiddles<F>(twiddle, tables, unit, at.lane);
      SpectrumRows<F> s = inner_dft<F>(inner, exchange, twiddle, unit, at.lane);
      const auto fold = FoldTwiddle::load(tables + T::fold, at.lane);
      add_gradient<F>(gradient, stash.get(unit, at.lane), s, fold, x_scale * z_scale, unit, 0, at.lane);
      s = multiply_by_spectrum<true, F>(s, fold, [&](int tile) { return filter.load(unit, 0, tile, at.lane); });
      load_inner_twiddles<F>(twiddle, tables_at(item + unit + 3), unit, at.lane);
      inverse_inner_dft<F>(inner, tables, exchange, s, twiddle, unit, at.lane);
    }
  }

  ptx::block_barrier();
  float4* to = reinterpret_cast<float4*>(a.dspectrum) + block(0) * Gradient<F>::pieces;
  for (int i = ptx::thread(); i < Gradient<F>::pieces; i += G::threads)
    memory::store(to + i, memory::load_shared<float4>(gradient.base + i * 16));
}
