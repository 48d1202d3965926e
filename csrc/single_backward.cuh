// The gradients of the fused convolution in single precision, all in one pass over the rows.
//
// With x = u pre_gate, s = x * k, y = post_gate s and T the right-angle transform, the adjoints are the same products
// with conjugates, for T is the square root of M times a unitary map:
//
//   g = dy post_gate,   dpost_gate = dy s,   dx = T^-1(conj(T k) T g),   du = dx pre_gate,   dpre_gate = dx u,
//   T dk = sum over rows of conj(T x) T g.
//
// Three transforms a row, five where the post gate needs s. Nothing is kept from the forward pass.
#pragma once

#include "single_forward.cuh"

namespace single {

// Where T x waits for T g, and where the sum over the rows grows: both in shared memory where the device has enough of
// it, else the former in `scratch` (points of 8 bytes for each block), else the latter in `dspectrum` too. A thread
// reads there what it wrote itself.
enum class Keep { in_shared, sums_in_shared, in_device };

template <class S, Cells CELLS, Keep KEEP>
DEVICE constexpr int backward_bytes() {
  constexpr int spectra = S::threads * S::held * 8;
  return (exchange_bytes<S, CELLS>() + 15) / 16 * 16 +
         spectra * (KEEP == Keep::in_shared ? 2 : KEEP == Keep::sums_in_shared ? 1 : 0);
}

// No more blocks than fit the shared memory of a device, 227 KB, or 163 where cells need halving for the smaller ones:
// what they leave of the registers is free to use.
template <class S, Cells CELLS, Keep KEEP>
DEVICE constexpr int backward_blocks() {
  constexpr int fitting = (CELLS == Cells::whole ? 227 : 163) * 1024 / (backward_bytes<S, CELLS, KEEP>() + 1024);
  return fitting < 1 ? 1 : fitting < S::blocks_per_multiprocessor ? fitting : S::blocks_per_multiprocessor;
}

// A thread's own bins of a spectrum that is being worked on: pair p is `step` further than pair p - 1.
struct SharedBins {
  unsigned first, step;
};

struct DeviceBins {
  float4* first;
  int step;
};

DEVICE BinPair load_own_bins(SharedBins kept, int p) {
  return bins(memory::load_shared<float4>(kept.first + p * kept.step));
}

DEVICE BinPair load_own_bins(DeviceBins kept, int p) {
  return bins(memory::load_own(kept.first + p * kept.step));
}

DEVICE void store_own_bins(SharedBins kept, int p, BinPair bins) {
  memory::store_shared(kept.first + p * kept.step, four(bins));
}

DEVICE void store_own_bins(DeviceBins kept, int p, BinPair bins) {
  memory::store(kept.first + p * kept.step, four(bins));
}

// The spectrum of a block's own in device memory. Opaque, for it is found as fast as it is fetched from a spilled
// register.
template <class S>
DEVICE float4* spectrum_of_block(void* spectra) {
  const Index block = Index(ptx::opaque(ptx::block_x())) * ptx::blocks_y() + ptx::block_y();
  return static_cast<float4*>(spectra) + block * (S::points / 2);
}

template <class S, bool SHARED>
DEVICE auto own_bins(unsigned shared, void* spectra, int thread) {
  if constexpr (SHARED) return SharedBins{shared + thread * 16, S::threads * 16};
  else return DeviceBins{ptx::opaque(spectrum_of_block<S>(spectra) + thread), S::threads};
}

// The sums of the rows that a block works on at a time, added up and written where the block's sum belongs.
template <class S>
DEVICE void store_sum_of_rows(float4* sum, unsigned shared, int thread) {
  ptx::block_barrier();
  constexpr int columns = S::N1 * S::N2;
  for (int i = thread; i < S::points / 2; i += S::threads) {
    const unsigned first = shared + (i / columns * S::threads + i % columns) * 16;
    BinPair total = bins(memory::load_shared<float4>(first));
    for (int row = 1; row < S::rows; ++row) {
      const BinPair more = bins(memory::load_shared<float4>(first + row * columns * 16));
      total = {total.even + more.even, total.odd + more.odd};
    }
    memory::store(sum + i, four(total));
  }
}

template <class S, Extent EXTENT, class Gates>
DEVICE void load_g(Complex (&v)[S::held], const Arguments& a, Round round, int thread) {
  load_samples<S, EXTENT>(v, round, thread, seen_out<EXTENT>(a), [&](Row row, int n) {
    const float* dy = sample(a.dy, a.dy_strides, row, n);
    const auto post = gate<Gates::post_gate>(a.post_gate, a.post_strides, row, n);
    return [=](int step) { return gated(post, step, load_sample<EXTENT>(dy + step)); };
  });
}

// sum += conj(T x) T g, a few bins at a time: barriers keep the compiler from fetching all of them at once into
// registers that are full of g.
template <int HELD, class KeptX, class Sums>
DEVICE void add_products(Complex (&v)[HELD], KeptX kept_x, Sums sums) {
  UNROLL
  for (int p = 0; p < HELD / 2; ++p) {
    if (p % 4 == 0) ptx::warp_barrier();
    const BinPair x = load_own_bins(kept_x, p), sum = load_own_bins(sums, p);
    store_own_bins(sums, p, {sum.even + conjugate(x.even) * v[2 * p], sum.odd + conjugate(x.odd) * v[2 * p + 1]});
  }
}

template <class S, Extent EXTENT, class Gates>
DEVICE void store_dpost(const Complex (&v)[S::held], const Arguments& a, Round round, int thread) {
  store_samples<S, EXTENT>(v, round, thread, seen_out<EXTENT>(a), [&](Row row, int n) {
    const float* dy = sample(a.dy, a.dy_strides, row, n);
    float* dpost = sample(a.dpost_gate, a.dpost_strides, row, n);
    return [=](int step, float s) { memory::store(dpost + step, s * memory::load(dy + step)); };
  });
}

template <class S, Extent EXTENT, class Gates>
DEVICE void store_du(const Complex (&v)[S::held], const Arguments& a, Round round, int thread) {
  store_samples<S, EXTENT>(v, round, thread, seen_in<S, EXTENT>(a), [&](Row row, int n) {
    const auto pre = gate<Gates::pre_gate>(a.pre_gate, a.pre_strides, row, n);
    const auto u = gate<Gates::pre_gate>(a.u, a.u_strides, row, n);
    float* du = sample(a.du, a.du_strides, row, n);
    float* dpre = Gates::pre_gate ? sample(a.dpre_gate, a.dpre_strides, row, n) : nullptr;
    return [=](int step, float dx) {
      memory::store(du + step, gated(pre, step, dx));
      if constexpr (Gates::pre_gate) memory::store(dpre + step, gated(u, step, dx));
    };
  });
}

// Shared memory: backward_bytes<S, CELLS, KEEP>(). FILTER_GRADIENT: dspectrum is wanted.
template <class S, Cells CELLS, Extent EXTENT, class Gates, Keep KEEP, bool FILTER_GRADIENT>
KERNEL(S::threads, (backward_blocks<S, CELLS, KEEP>())) convolve_backward(Arguments a) {
  static_assert(KEEP != Keep::in_device || S::rows == 1, "in device memory there is room for one sum a block");
  const unsigned shared = memory::shared_base();
  const unsigned shared_sums = shared + backward_bytes<S, CELLS, Keep::in_device>();
  const unsigned shared_x = shared + backward_bytes<S, CELLS, Keep::sums_in_shared>();
  const auto sums = [&](int thread) { return own_bins<S, KEEP != Keep::in_device>(shared_sums, a.dspectrum, thread); };
  const auto kept_x = [&](int thread) { return own_bins<S, KEEP == Keep::in_shared>(shared_x, a.scratch, thread); };

  if constexpr (FILTER_GRADIENT) {
    UNROLL
    for (int p = 0; p < S::held / 2; ++p)
      store_own_bins(sums(int(ptx::thread())), p, BinPair{{0.0f, 0.0f}, {0.0f, 0.0f}});  // {} would be fetched
  }

  // Two turns a round, for x and for g, through one code: twice the code would not fit the instruction cache, and the
  // compiler would keep the twists of one transform for the next in registers that there are not.
  NO_UNROLL
  for (int turn = 0;; ++turn) {
    const auto round = [&] { return round_of_block<S, EXTENT>(a, ptx::opaque(turn) / 2); };  // again rather than kept
    if (round().first >= round().end) break;
    const bool turn_of_x = turn % 2 == 0;
    const int thread = ptx::opaque(int(ptx::thread()));
    const auto place = [&] {  // its addresses again for each transform
      return Place<S, CELLS>{static_cast<const float2*>(a.tables), shared, ptx::opaque(thread)};
    };
    Complex v[S::held];

    if (turn_of_x) load_x<S, EXTENT, Gates>(v, a, round(), thread);
    else load_g<S, EXTENT, Gates>(v, a, round(), thread);

    forward<!has_second_half<EXTENT>>(v, place());
    if (turn_of_x) {
      if constexpr (FILTER_GRADIENT) {
        const auto kept = kept_x(thread);
        each_bin_pair<S>(v, [&](int p, BinPair& x) { store_own_bins(kept, p, x); });
      }
      if constexpr (!Gates::post_gate || EXTENT == Extent::tiled) {
        barrier<(S::N1 > 1)>();  // the next turn's cells are not those that this thread read last
        continue;
      }
      multiply_by_filter<S, EXTENT, false>(v, a, round(), thread);
    } else {
      if constexpr (FILTER_GRADIENT) add_products(v, kept_x(thread), sums(thread));
      if constexpr (EXTENT == Extent::tiled) {  // the rows' gradients are sums over tiles: convolutions of their own
        barrier<(S::N1 > 1)>();
        continue;
      }
      multiply_by_filter<S, EXTENT, true>(v, a, round(), thread);
    }
    inverse(v, place());

    if (turn_of_x) store_dpost<S, EXTENT, Gates>(v, a, round(), ptx::opaque(thread));
    else store_du<S, EXTENT, Gates>(v, a, round(), ptx::opaque(thread));
  }

  if constexpr (FILTER_GRADIENT && KEEP != Keep::in_device)
    store_sum_of_rows<S>(spectrum_of_block<S>(a.dspectrum), shared_sums, int(ptx::thread()));
}

}  // namespace single
