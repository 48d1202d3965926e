// Rows of 16-bit samples between device memory and fragments, with gates, and with their level.
//
// Rows come by asynchronous copies into shared memory, one ahead of the row that is computed; results go out directly, a
// thread holding whole runs of a row.
#pragma once
#include "arguments.cuh"
#include "half_dft.cuh"

using Sample = unsigned short;  // the bits of an fp16 or bf16 number

// ---- level
//
// fp16 holds 40 dB of headroom and 60 dB of precision at once only near the middle of its range, and sums of a row's
// samples reach sqrt(M) times the largest. So each row enters the transform at a level that no signal can overflow:
// scaled by exact powers of two from its largest sample, undone in fp32 at the end. Rows of bf16 become fp16 there.

DEVICE unsigned magnitude(unsigned pair) { return pair & 0x7fff7fffu; }

struct Level {
  unsigned u, gate;  // what samples are multiplied by: pairs of powers of two in the samples' own type
  float inverse;     // what undoes both
};
template <class Number> struct Format;
template <> struct Format<Fp16> { static constexpr int mantissa_bits = 10, bias = 15, largest_power = 15; };
template <> struct Format<Bf16> { static constexpr int mantissa_bits = 7, bias = 127, largest_power = 126; };

// The power of two that takes `peak` to [2^target, 2^(target + 1)), where the type has it, as a pair, and its inverse.
template <class Number>
DEVICE void power_of_two_level(unsigned peak, int target, unsigned& scale, float& inverse) {
  const float value = ptx::unpack(Number(), peak).x;
  const int exponent = static_cast<int>(ptx::as_unsigned(value) >> 23) - 127;  // -127 where the row is all zeros
  int power = target - exponent;
  power = peak == 0 ? 0 : power > Format<Number>::largest_power ? Format<Number>::largest_power : power;
  scale = static_cast<unsigned>(power + Format<Number>::bias) << Format<Number>::mantissa_bits;
  scale |= scale << 16;
  inverse = ptx::as_float(static_cast<unsigned>(127 - power) << 23);
}
// From the largest magnitudes of u (low half) and of its gate (high half). u below 2^4, the gate below 2^2: their product x is
// below 2^6, its norm below 2^13 for 16K of them. Every stage is unitary, so no number of any is larger than that, and none
// after the product with a spectrum below 2 larger than 2^14. With less than 2^1 for the gate, the power that takes the
// largest one there would be none that its type has. A sample that the gate takes away counts as any other: a row whose
// loudest one is 100 dB above what the gate lets through loses precision.
template <class Number>
DEVICE Level level_of(unsigned peaks) {
  Level level;
  float u_inverse, gate_inverse;
  power_of_two_level<Number>(peaks & 0xffff, 3, level.u, u_inverse);
  power_of_two_level<Number>(peaks >> 16, 1, level.gate, gate_inverse);
  level.inverse = u_inverse * gate_inverse;
  return level;
}
// The largest of a row's samples, of which each thread has looked at some. Magnitudes are ordered like their bits.
template <class Number>
DEVICE unsigned join_peaks(unsigned u_peaks, unsigned gate_peaks) {
  return ptx::maximum(Number(), ptx::permute_bytes(u_peaks, gate_peaks, 0x5410), ptx::permute_bytes(u_peaks, gate_peaks, 0x7632));
}
DEVICE unsigned peaks_over_warp(unsigned peaks) {
  return ptx::maximum_over_warp(peaks & 0xffff) | ptx::maximum_over_warp(peaks >> 16) << 16;
}

// A pair of samples of u, times its gate, at the row's level.
template <bool GATED>
DEVICE unsigned at_level(Fp16, unsigned u, unsigned gate, const Level& level) {
  u = ptx::multiply(Fp16(), u, level.u);
  return GATED ? ptx::multiply(Fp16(), u, ptx::multiply(Fp16(), gate, level.gate)) : u;
}
template <bool GATED>
DEVICE unsigned at_level(Bf16, unsigned u, unsigned gate, const Level& level) {
  float2 v = ptx::unpack(Bf16(), ptx::multiply(Bf16(), u, level.u));
  if (GATED) {
    const float2 g = ptx::unpack(Bf16(), ptx::multiply(Bf16(), gate, level.gate));
    v.x *= g.x, v.y *= g.y;
  }
  return ptx::pack(Fp16(), v.x, v.y);
}

// ---- rows on their way in

// A row in shared memory, in pieces of 16 bytes, brought there by THREADS threads; base is a multiple of 16. Rows of the
// first DFT's matrix lie so that a fragment's four are free of bank conflicts.
//
// A row that does not start on 16 bytes comes with what lies before it in them, and is moved into place afterwards.
template <class F, int THREADS, bool ALIGNED>
struct Staging {
  static constexpr int pieces = F::points / 8, own = pieces / THREADS;
  static constexpr unsigned bytes = F::points * 2 + (ALIGNED ? 0 : 128);
  unsigned base;

  DEVICE constexpr unsigned place(int piece) { return (piece ^ (piece / (F::stride / 4) & 3) * 2) * 16; }
  // Of the thread's own piece number i: place(thread + i * THREADS), in as few instructions as can be.
  METHOD unsigned own_place(int i, int thread) const {
    const unsigned further = i * THREADS * 16;
    return base + (place(thread) ^ place(i * THREADS) ^ further) + further;
  }
  DEVICE int bytes_before(const Sample* row) { return ALIGNED ? 0 : static_cast<int>(reinterpret_cast<size_t>(row) % 16); }
  // Rows of the matrix come by 16; of the largest, those past the end of the samples are never looked at.
  DEVICE bool used(int sample, int length) { return F::n1 != 32 || sample < 16 * F::stride || length > 16 * F::stride; }

  METHOD void copy(const Sample* row, int length, int thread) const {
    const int before = bytes_before(row);
    const char* from = reinterpret_cast<const char*>(row) - before + 16 * thread;
    const int left = 2 * length + before - 16 * thread;
    UNROLL for (int i = 0; i < own; i++)
      if (used(i * THREADS * 8, length + before / 2)) copy_piece(own_place(i, thread), from + i * THREADS * 16, left - i * THREADS * 16);
    if (!ALIGNED && thread == 0) copy_piece(base + place(pieces), from + 16 * pieces, left - 16 * pieces);
  }
  DEVICE void copy_piece(unsigned to, const char* from, int left) {
    ptx::async_copy<16>(to, from, left <= 0 ? 0 : ALIGNED || left > 16 ? 16 : left);
  }
  // The row's own pieces out of those it came with, and back when all threads have theirs.
  METHOD void take(uint4 (&to)[own], const Sample* row, int length, int thread) const {
    const unsigned before = bytes_before(row);
    UNROLL for (int i = 0; i < own; i++) {
      const int piece = thread + i * THREADS;
      to[i] = make_uint4(0, 0, 0, 0);
      if (!used(i * THREADS * 8, length)) continue;
      const uint4 a = memory::load_shared<uint4>(own_place(i, thread));
      uint4 b = make_uint4(0, 0, 0, 0);
      if (piece + 1 == pieces || used(piece * 8 + 8, length + static_cast<int>(before) / 2)) b = memory::load_shared<uint4>(base + place(piece + 1));
      unsigned w[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
      UNROLL for (int k = 0; k < 6; k++) w[k] = before & 8 ? w[k + 2] : w[k];
      UNROLL for (int k = 0; k < 5; k++) w[k] = before & 4 ? w[k + 1] : w[k];
      UNROLL for (int k = 0; k < 4; k++) w[k] = before & 2 ? ptx::permute_bytes(w[k], w[k + 1], 0x5432) : w[k];
      to[i] = make_uint4(w[0], w[1], w[2], w[3]);
    }
  }
  METHOD void put(const uint4 (&from)[own], int length, int thread) const {
    UNROLL for (int i = 0; i < own; i++)
      if (used(i * THREADS * 8, length)) memory::store_shared(own_place(i, thread), from[i]);
  }
  // The largest magnitudes of this thread's own pieces.
  template <class Number>
  METHOD unsigned peaks(int length, int thread) const {
    unsigned peaks = 0;
    UNROLL for (int i = 0; i < own; i++) {
      if (!used(i * THREADS * 8, length)) break;
      const uint4 v = memory::load_shared<uint4>(own_place(i, thread));
      const unsigned w[4] = {v.x, v.y, v.z, v.w};
      UNROLL for (int k = 0; k < 4; k++) peaks = ptx::maximum(Number(), peaks, magnitude(w[k]));
    }
    return peaks;
  }
  // The runs of samples of two rows of the matrix that are a lane's in a block of 8: columns from `column` on.
  METHOD void runs(unsigned (&even)[F::tiles / 2], unsigned (&odd)[F::tiles / 2], int block, int column, int lane) const {
    const unsigned turn = lane % 4, at = ((2 * turn * F::stride + column + lane / 4 * F::tiles) * 2) ^ turn * 32;
    const unsigned of_block = base + block * (16 * F::stride);
    run(even, of_block + at), run(odd, of_block + (at ^ F::stride * 2));
  }
  DEVICE void run(unsigned (&to)[1], unsigned at) { to[0] = memory::load_shared<unsigned>(at); }
  DEVICE void run(unsigned (&to)[2], unsigned at) {
    const uint2 v = memory::load_shared<uint2>(at);
    to[0] = v.x, to[1] = v.y;
  }
  DEVICE void run(unsigned (&to)[4], unsigned at) {
    const uint4 v = memory::load_shared<uint4>(at);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  }
};

// A row and its gate, or the row alone.
template <class Number, class F, int THREADS, bool GATED, bool ALIGNED>
struct StagedInput {
  using Row = Staging<F, THREADS, ALIGNED>;
  static constexpr unsigned bytes = (GATED ? 2 : 1) * Row::bytes;
  Row u, gate;
  DEVICE StagedInput at(unsigned base) { return {{base}, {base + Row::bytes}}; }

  METHOD void copy(const Sample* u_row, const Sample* gate_row, int length, int thread) const {
    u.copy(u_row, length, thread);
    if (GATED) gate.copy(gate_row, length, thread);
    ptx::async_commit();
  }
  // Waits for what this thread copied; `meet` is a barrier of all THREADS. The pieces that `peaks` looks at are the thread's
  // own, so that others need another barrier.
  template <class Meet>
  METHOD void arrive(const Sample* u_row, const Sample* gate_row, int length, int thread, Meet&& meet) const {
    ptx::async_wait<0>();
    if (ALIGNED) return;
    uint4 of_u[Row::own], of_gate[Row::own];
    meet();
    u.take(of_u, u_row, length, thread);
    if (GATED) gate.take(of_gate, gate_row, length, thread);
    meet();
    u.put(of_u, length, thread);
    if (GATED) gate.put(of_gate, length, thread);
  }
  METHOD unsigned peaks(int length, int thread) const {
    const unsigned of_u = u.template peaks<Number>(length, thread);
    return join_peaks<Number>(of_u, GATED ? gate.template peaks<Number>(length, thread) : 0);
  }
  // Columns of the matrix from `column` on, as data of the first DFT.
  METHOD void load(RealRows<F::first / 8, F::tiles>& x, const Level& level, int length, int column, int lane) const {
    constexpr int pairs = F::tiles / 2;
    UNROLL for (int block = 0; block < F::first / 8; block++) {
      if (!Row::used(8 * block * F::stride, length)) break;
      unsigned even[pairs], odd[pairs], even_gate[pairs] = {}, odd_gate[pairs] = {};
      u.runs(even, odd, block, column, lane);
      if (GATED) gate.runs(even_gate, odd_gate, block, column, lane);
      UNROLL for (int i = 0; i < pairs; i++) {
        even[i] = at_level<GATED>(Number(), even[i], even_gate[i], level);
        odd[i] = at_level<GATED>(Number(), odd[i], odd_gate[i], level);
        x.re[block][2 * i] = ptx::permute_bytes(even[i], odd[i], 0x5410);
        x.re[block][2 * i + 1] = ptx::permute_bytes(even[i], odd[i], 0x7632);
      }
    }
  }
};
// 16-row steps of the first DFT that are not all zero.
template <class F>
DEVICE int steps_of(int length) { return (length + 16 * F::stride - 1) / (16 * F::stride); }
// A row that will be wanted soon.
DEVICE void prefetch_row(const Sample* row, int length, int thread) {
  if (thread * 64 < length) ptx::prefetch(row + thread * 64);
}

// ---- rows on their way out

// PAIRS pairs of samples; zeros from the `left`th sample on.
template <int PAIRS, bool ALIGNED>
DEVICE void load_run(unsigned (&to)[PAIRS], const Sample* from, int left) {
  if constexpr (!ALIGNED) {
    UNROLL for (int i = 0; i < PAIRS; i++) {
      const unsigned low = 2 * i < left ? memory::load_now(from + 2 * i) : 0;
      const unsigned high = 2 * i + 1 < left ? memory::load_now(from + 2 * i + 1) : 0;
      to[i] = low | high << 16;
    }
  } else if constexpr (PAIRS == 2) {
    const uint2 v = left > 0 ? memory::load_now(reinterpret_cast<const uint2*>(from)) : make_uint2(0, 0);
    to[0] = v.x, to[1] = v.y;
  } else {
    const uint4 v = left > 0 ? memory::load_now(reinterpret_cast<const uint4*>(from)) : make_uint4(0, 0, 0, 0);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  }
}
template <int PAIRS, bool ALIGNED>
DEVICE void store_run(Sample* to, int left, const unsigned (&v)[PAIRS]) {
  if constexpr (!ALIGNED) {
    UNROLL for (int i = 0; i < PAIRS; i++) {
      memory::store_if(2 * i < left, to + 2 * i, static_cast<Sample>(v[i] & 0xffff));
      memory::store_if(2 * i + 1 < left, to + 2 * i + 1, static_cast<Sample>(v[i] >> 16));
    }
  } else if constexpr (PAIRS == 2) {
    memory::store_if(left > 0, reinterpret_cast<uint2*>(to), make_uint2(v[0], v[1]));
  } else {
    memory::store_if(left > 0, reinterpret_cast<uint4*>(to), make_uint4(v[0], v[1], v[2], v[3]));
  }
}

// What a lane holds of 16 rows of the last matrix, columns from one on, lies in runs of 2 * tiles samples of rows g and g + 8.
// The first of them, and how far each of the others is from it.
template <class F>
DEVICE int first_run(int column, int lane) { return lane / 4 * F::stride + column + lane % 4 * 2 * F::tiles; }
template <class F>
DEVICE constexpr int further_run(int block, int half) { return (16 * block + 8 * half) * F::stride; }

template <int TILES>
struct OutputRuns {
  float value[2][2 * TILES];
};
template <class F>
DEVICE OutputRuns<F::tiles> last_dft(const RowMatrix<F::first>& a, const ComplexRows<F::first / 8, F::tiles>& x, float scale,
                                     unsigned steps = ~0u) {
  OutputRuns<F::tiles> y;
  UNROLL for (int j = 0; j < F::tiles; j++) {
    float d[4];
    real_inverse_dft_of_rows<F::first>(d, a, x, j, steps);
    UNROLL for (int i = 0; i < 4; i++) y.value[i >> 1][(i & 1) * F::tiles + j] = d[i] * scale;
  }
  return y;
}
// What the runs are multiplied by: a gate, or any tensor like the output. `from` is the lane's first run, `left` the samples
// from there on.
template <class F, bool ALIGNED>
struct GateRuns {
  unsigned pair[2][F::tiles];
  METHOD void load(const Sample* from, int left, int block) {
    UNROLL for (int half = 0; half < 2; half++)
      load_run<F::tiles, ALIGNED>(pair[half], from + further_run<F>(block, half), left - further_run<F>(block, half));
  }
};
template <class Number, class F, bool GATED, bool ALIGNED>
DEVICE void store_rows(Sample* to, int left, int block, const GateRuns<F, ALIGNED>& gate, const OutputRuns<F::tiles>& y) {
  UNROLL for (int half = 0; half < 2; half++) {
    unsigned out[F::tiles];
    UNROLL for (int i = 0; i < F::tiles; i++) {
      float2 v = make_float2(y.value[half][2 * i], y.value[half][2 * i + 1]);
      if (GATED) {
        const float2 w = ptx::unpack(Number(), gate.pair[half][i]);
        v.x *= w.x, v.y *= w.y;
      }
      out[i] = ptx::opaque(ptx::pack(Number(), v.x, v.y));  // not put off into the branch of the store
    }
    store_run<F::tiles, ALIGNED>(to + further_run<F>(block, half), left - further_run<F>(block, half), out);
  }
}
