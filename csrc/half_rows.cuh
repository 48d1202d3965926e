// Rows of 16-bit samples between device memory and fragments, with gates, and with their level.
//
// A thread holds whole runs of a row in both directions, so that global accesses are direct and fill their sectors.
#pragma once
#include "arguments.cuh"
#include "half_dft.cuh"

using Sample = unsigned short;  // the bits of an fp16 or bf16 number

// Where the DFT over N rows finds its samples: row r, run g start at r * stride + offset + run length * g.
struct Placement {
  int stride, offset;
};

// PAIRS pairs of samples from n on; zeros past `length`.
template <int PAIRS, bool ALIGNED>
DEVICE void load_run(unsigned (&to)[PAIRS], const Sample* row, int n, int length) {
  if constexpr (!ALIGNED) {
    UNROLL for (int i = 0; i < PAIRS; i++) {
      const unsigned low = memory::load_if(n + 2 * i < length, row + n + 2 * i);
      const unsigned high = memory::load_if(n + 2 * i + 1 < length, row + n + 2 * i + 1);
      to[i] = low | high << 16;
    }
  } else if constexpr (PAIRS == 1) {
    to[0] = memory::load_if(n < length, reinterpret_cast<const unsigned*>(row + n));
  } else if constexpr (PAIRS == 2) {
    const uint2 v = memory::load_if(n < length, reinterpret_cast<const uint2*>(row + n));
    to[0] = v.x, to[1] = v.y;
  } else {
    const uint4 v = memory::load_if(n < length, reinterpret_cast<const uint4*>(row + n));
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  }
}
template <int PAIRS, bool ALIGNED>
DEVICE void store_run(Sample* row, int n, int length, const unsigned (&v)[PAIRS]) {
  if constexpr (!ALIGNED) {
    UNROLL for (int i = 0; i < PAIRS; i++) {
      memory::store_if(n + 2 * i < length, row + n + 2 * i, static_cast<Sample>(v[i] & 0xffff));
      memory::store_if(n + 2 * i + 1 < length, row + n + 2 * i + 1, static_cast<Sample>(v[i] >> 16));
    }
  } else if constexpr (PAIRS == 2) {
    memory::store_if(n < length, reinterpret_cast<uint2*>(row + n), make_uint2(v[0], v[1]));
  } else {
    memory::store_if(n < length, reinterpret_cast<uint4*>(row + n), make_uint4(v[0], v[1], v[2], v[3]));
  }
}

// A row as data of the first DFT, samples as they lie in memory.
template <class F, bool ALIGNED, int BLOCKS>
DEVICE void load_rows(RealRows<BLOCKS, F::tiles>& x, const Sample* row, int length, Placement at, int lane) {
  constexpr int pairs = F::tiles / 2;
  const int run = lane / 4 * F::tiles + at.offset;
  UNROLL for (int block = 0; block < BLOCKS; block++) {
    const int n = (8 * block + 2 * (lane % 4)) * at.stride + run;
    unsigned even[pairs], odd[pairs];
    load_run<pairs, ALIGNED>(even, row, n, length);
    load_run<pairs, ALIGNED>(odd, row, n + at.stride, length);
    UNROLL for (int i = 0; i < pairs; i++) {
      x.re[block][2 * i] = ptx::permute_bytes(even[i], odd[i], 0x5410);
      x.re[block][2 * i + 1] = ptx::permute_bytes(even[i], odd[i], 0x7632);
    }
  }
}

// ---- level
//
// fp16 holds 40 dB of headroom and 60 dB of precision at once only near the middle of its range, and sums of a row's
// samples reach sqrt(M) times the largest. So each row enters the transform at a level that no signal can overflow:
// scaled by exact powers of two from its largest sample, undone in fp32 at the end. bf16 has fp32's range and needs none.

template <class Number> constexpr bool has_level = false;
template <> constexpr bool has_level<Fp16> = true;

// The largest magnitudes of a row of u (low half) and of its gate (high half), as fp16 bits.
DEVICE unsigned magnitude(unsigned pair) { return pair & 0x7fff7fffu; }
DEVICE unsigned join_peaks(unsigned u_peaks, unsigned gate_peaks) {
  return ptx::maximum(Fp16(), ptx::permute_bytes(u_peaks, gate_peaks, 0x5410), ptx::permute_bytes(u_peaks, gate_peaks, 0x7632));
}
template <int LANES>
DEVICE unsigned peak_over_lanes(unsigned peaks) {
  UNROLL for (int mask = LANES / 2; mask > 0; mask /= 2) peaks = ptx::maximum(Fp16(), peaks, ptx::shuffle_xor(peaks, mask));
  return peaks;
}

struct Level {
  unsigned u, gate;  // what samples are multiplied by: pairs of fp16 powers of two
  float inverse;     // what undoes both
};
// The power of two that takes `peak` to [2^target, 2^(target + 1)), as a pair of fp16, and its inverse. fp16 ends at 2^15.
DEVICE void power_of_two_level(unsigned peak, int target, unsigned& scale, float& inverse) {
  const float value = ptx::unpack(Fp16(), peak).x;
  const int exponent = static_cast<int>(ptx::as_unsigned(value) >> 23) - 127;  // -127 where the row is all zeros
  int power = target - exponent;
  power = peak == 0 ? 0 : power > 15 ? 15 : power;
  scale = static_cast<unsigned>(power + 15) << 10;
  scale |= scale << 16;
  inverse = ptx::as_float(static_cast<unsigned>(127 - power) << 23);
}
// u below 2^5, the gate below 2: their product is below 2^6, and no sum of 16K of them under a spectrum below 2 in
// magnitude passes 2^6 * 2^7 * 2, of which a complex product's intermediate results are at most the quadruple.
DEVICE Level level_of(unsigned peaks) {
  Level level;
  float u_inverse, gate_inverse;
  power_of_two_level(peaks & 0xffff, 4, level.u, u_inverse);
  power_of_two_level(peaks >> 16, 0, level.gate, gate_inverse);
  level.inverse = u_inverse * gate_inverse;
  return level;
}

template <class Number, bool GATED, int BLOCKS, int TILES>
DEVICE void apply_gate(RealRows<BLOCKS, TILES>& x, const RealRows<BLOCKS, TILES>& gate, const Level& level) {
  UNROLL for (int block = 0; block < BLOCKS; block++)
    UNROLL for (int tile = 0; tile < TILES; tile++) {
      unsigned& v = x.re[block][tile];
      if constexpr (has_level<Number>) {
        v = ptx::multiply(Number(), v, level.u);
        if (GATED) v = ptx::multiply(Number(), v, ptx::multiply(Number(), gate.re[block][tile], level.gate));
      } else if (GATED) {
        v = ptx::multiply(Number(), v, gate.re[block][tile]);
      }
    }
}

// ---- the first stage's input

// The largest samples of u and gate in rows that are loaded already.
template <bool GATED, int BLOCKS, int TILES>
DEVICE unsigned peaks_of(const RealRows<BLOCKS, TILES>& u, const RealRows<BLOCKS, TILES>& gate) {
  unsigned u_peaks = 0, gate_peaks = 0;
  UNROLL for (int block = 0; block < BLOCKS; block++)
    UNROLL for (int tile = 0; tile < TILES; tile++) {
      u_peaks = ptx::maximum(Fp16(), u_peaks, magnitude(u.re[block][tile]));
      if (GATED) gate_peaks = ptx::maximum(Fp16(), gate_peaks, magnitude(gate.re[block][tile]));
    }
  return join_peaks(u_peaks, gate_peaks);
}
// The same for a row in memory, a share for each of `threads` threads. A row is looked at while the row before it is
// computed, so that it is in the L2 cache when its turn comes.
template <bool GATED, bool ALIGNED>
DEVICE unsigned peaks_in_memory(const Sample* u, const Sample* gate, int length, int thread, int threads) {
  constexpr int pairs = ALIGNED ? 4 : 1;
  unsigned u_peaks = 0, gate_peaks = 0;
  NO_UNROLL for (int n = thread * 2 * pairs; n < length; n += threads * 2 * pairs) {
    unsigned v[pairs], g[pairs];
    load_run<pairs, ALIGNED>(v, u, n, length);
    if (GATED) load_run<pairs, ALIGNED>(g, gate, n, length);
    UNROLL for (int i = 0; i < pairs; i++) {
      u_peaks = ptx::maximum(Fp16(), u_peaks, magnitude(v[i]));
      if (GATED) gate_peaks = ptx::maximum(Fp16(), gate_peaks, magnitude(g[i]));
    }
  }
  return join_peaks(u_peaks, gate_peaks);
}

// ---- the last stage's output

// Rows g and g + 8 of a block of 16, all columns: [half] row g + 8 half, one run of 2 * TILES samples, in fp32.
template <int TILES>
struct OutputRuns {
  float value[2][2 * TILES];
};
template <class Number, class F, int N>
DEVICE OutputRuns<F::tiles> last_dft(const RowMatrix<N>& a, const ComplexRows<N / 8, F::tiles>& x, float scale) {
  OutputRuns<F::tiles> y;
  UNROLL for (int j = 0; j < F::tiles; j++) {
    float d[4];
    real_inverse_dft_of_rows<Number, N>(d, a, x, j);
    UNROLL for (int i = 0; i < 4; i++) y.value[i >> 1][(i & 1) * F::tiles + j] = d[i] * scale;
  }
  return y;
}
// Times a gate (or any tensor like the output), to memory; `block` is the block of 16 rows.
template <class Number, class F, bool GATED, bool ALIGNED>
DEVICE void store_rows(Sample* row, const Sample* gate, int length, Placement at, int block, const OutputRuns<F::tiles>& y,
                       int lane) {
  constexpr int pairs = F::tiles;
  UNROLL for (int half = 0; half < 2; half++) {
    const int n = (16 * block + lane / 4 + 8 * half) * at.stride + at.offset + lane % 4 * 2 * F::tiles;
    unsigned out[pairs], g[pairs];
    if (GATED) load_run<pairs, ALIGNED>(g, gate, n, length);
    UNROLL for (int i = 0; i < pairs; i++) {
      float2 v = make_float2(y.value[half][2 * i], y.value[half][2 * i + 1]);
      if (GATED) {
        const float2 w = ptx::unpack(Number(), g[i]);
        v.x *= w.x, v.y *= w.y;
      }
      out[i] = ptx::pack(Number(), v.x, v.y);
    }
    store_run<pairs, ALIGNED>(row, n, length, out);
  }
}
