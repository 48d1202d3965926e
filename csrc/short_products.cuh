// The short depthwise convolution of 16-bit rows whose time is dense, by matrix products: for more taps than eight, that
// many multiplications by FMA would take longer than the rows from memory.
//
// Sixteen outputs that follow each other are the product of a Toeplitz matrix of taps and the column of the samples that
// they see. Eight such columns, 16 samples apart, are a product's right side; STEPS products, each with 16 rows of
// samples, make all of it:
//
//   s[16 r + c] = sum over steps and p of w[c - p + 16 step] X[16 r + p - 16 step],     c, p and r from 0.
//
// Fragments of the matrices are pairs w[g - 2t + 8v], w[g - 2t - 1 + 8v] of lane 4g + t: one v serves four places, in
// two steps. A tap is a sum of two 16-bit numbers, so that the products are those of float32 taps. Both are scaled by
// the power of two that takes the largest tap of the filter to 1 at least: fp16 has no exponents for others.
#pragma once

#include "short_gram.cuh"

namespace short_conv {

// Of few taps x with its gate applied is a sum of two 16-bit numbers too. Of more it is rounded.
template <int STEPS, bool PRE_GATE>
constexpr bool exact = PRE_GATE && STEPS == 2;

template <class Number, int STEPS, bool PRE_GATE, Side SIDE>
using ProductStages =
    Stages<Number, tile + 16 * (STEPS - 1), tile, run / 8, PRE_GATE, SIDE != Side::none, exact<STEPS, PRE_GATE>>;

constexpr int slots_before = 16;  // that the pairs reach back beyond w[0]
DEVICE constexpr int padded_slots(int steps) { return slots_before + 16 * steps; }

// That the registers suffice for: the matrix stays in them, and the sums.
DEVICE constexpr int blocks_of_products(int steps, bool pre_gate, Side side) {
  return steps > 5 ? 3 : side != Side::input ? 5 : pre_gate ? 3 : 4;
}

template <int STEPS>
struct Toeplitz {
  static constexpr int pairs = 2 * STEPS + 1;  // v from -1 on
  unsigned high[pairs], low[pairs];
  float inverse;  // of what both are scaled by
};

template <class Number, int STEPS>
DEVICE Toeplitz<STEPS> toeplitz_of(unsigned slots, int lane) {
  Toeplitz<STEPS> w;
  float largest = 0.0f;
  for (int slot = lane; slot < padded_slots(STEPS); slot += 32)
    largest = fmaxf(largest, fabsf(memory::load_shared<float>(slots + slot * 4)));
  const unsigned exponent = ptx::maximum_over_warp(ptx::as_unsigned(largest)) >> 23;
  const unsigned kept = exponent < 1 ? 1 : exponent > 253 ? 253 : exponent;
  const float scale = ptx::as_float((254 - kept) << 23);
  w.inverse = ptx::as_float(kept << 23);
  const unsigned own = slots + (slots_before + lane / 4 - lane % 4 * 2) * 4;
  UNROLL
  for (int i = 0; i < w.pairs; ++i) {
    const unsigned at = own + (i - 1) * 32;
    const float first = memory::load_shared<float>(at) * scale, second = memory::load_shared<float>(at - 4) * scale;
    w.high[i] = ptx::pack(Number(), first, second);
    const float2 rounded = ptx::unpack(Number(), w.high[i]);
    w.low[i] = ptx::pack(Number(), first - rounded.x, second - rounded.y);
  }
  return w;
}

// 256 outputs of a tile, number 0 or 1, from the window into the side, where their gate is.
// `rest` is what belongs to the window where EXACT.
template <class Number, int STEPS, bool POST_GATE, bool EXACT>
DEVICE void multiply(const Toeplitz<STEPS>& w, Tile<Number> window, Tile<Number> rest, Tile<Number> side, int half,
                     float bias, int lane) {
  float s[2][4] = {};
  // Lane l names row l % 8 of matrix l / 8: of the first eight columns two halves of 16 bytes, then of the others.
  const int column = half * 16 + lane / 16 * 8 + lane % 8, part = lane / 8 % 2;
  UNROLL
  for (int step = 0; step < STEPS; ++step) {
    unsigned x[4], more[4];
    const unsigned at = window.place((column + STEPS - 1 - step) * 2 + part);
    ptx::load_matrix<false>(x, window.base + at);
    if constexpr (EXACT) ptx::load_matrix<false>(more, rest.base + at);
    const uint4 high = {w.high[2 * step + 1], w.high[2 * step + 2], w.high[2 * step], w.high[2 * step + 1]};
    const uint4 low = {w.low[2 * step + 1], w.low[2 * step + 2], w.low[2 * step], w.low[2 * step + 1]};
    UNROLL
    for (int i = 0; i < 2; ++i) {
      ptx::mma(Number(), s[i], high, x[2 * i], x[2 * i + 1]);
      ptx::mma(Number(), s[i], low, x[2 * i], x[2 * i + 1]);
      if constexpr (EXACT) ptx::mma(Number(), s[i], high, more[2 * i], more[2 * i + 1]);
    }
  }
  unsigned gates[4];
  if constexpr (POST_GATE) {
    ptx::load_matrix<true>(gates, side.base + side.place(column * 2 + part));
    ptx::warp_barrier();  // y goes where lanes have read each other's gates
  }
  UNROLL
  for (int i = 0; i < 4; ++i) {  // outputs i % 2 * 8 to 7 further, of columns i / 2 * 8 to 7 further
    float2 y = {fmaf(s[i / 2][i % 2 * 2], w.inverse, bias), fmaf(s[i / 2][i % 2 * 2 + 1], w.inverse, bias)};
    if constexpr (POST_GATE) {
      const float2 gate = ptx::unpack(Number(), gates[i]);
      y = {y.x * gate.x, y.y * gate.y};
    }
    const unsigned turned = ptx::transpose_matrix(ptx::pack(Number(), y.x, y.y));
    const int to = half * 16 + i / 2 * 8 + lane / 4;
    memory::store_shared(side.base + side.place(to * 2 + i % 2) + lane % 4 * 4, turned);
  }
}

template <class Number, int STEPS, bool PRE_GATE, Side SIDE, bool ALIGNED>
KERNEL(warps * 32, blocks_of_products(STEPS, PRE_GATE, SIDE)) short_products(ShortArguments a) {
  static_assert(SIDE != Side::input || STEPS == 2);  // as far back as the sums reach
  using S = ProductStages<Number, STEPS, PRE_GATE, SIDE>;
  const int lane = ptx::thread() % 32;
  const unsigned shared = memory::shared_base() + ptx::thread() / 32 * (S::bytes + padded_slots(STEPS) * 4);
  const Chunk chunk = chunk_of_warp(a);
  if (chunk.number >= a.chunks) return;
  Cursor cursor = Cursor::at(a, first_tile(a, chunk));
  S stages = {shared, chunk.channel, end_of_tiles(a, chunk), cursor};
  stages.template begin<ALIGNED>(a, lane);

  const unsigned slots = shared + S::bytes;
  place_taps(a, slots, chunk.channel, slots_before + a.lead, padded_slots(STEPS), lane);
  ptx::warp_barrier();
  const Toeplitz<STEPS> w = toeplitz_of<Number, STEPS>(slots, lane);
  const float bias = a.bias ? memory::load(a.bias + chunk.channel) : 0.0f;

  Gram<Number> gram;
  NO_UNROLL
  for (; cursor.number < stages.end; cursor.advance(a)) {
    const auto stage = stages.template next<ALIGNED>(a, lane);
    if constexpr (SIDE == Side::input) {
      gram.add(stage.window, stage.side, a.first, lane);
      if constexpr (exact<STEPS, PRE_GATE>) gram.add(stage.gates, stage.side, a.first, lane);
      ptx::warp_barrier();  // y goes where u was read
    }
    UNROLL
    for (int half = 0; half < 2; ++half)
      multiply<Number, STEPS, SIDE == Side::gate, exact<STEPS, PRE_GATE>>(
          w, stage.window, stage.gates, stage.side, half, bias, lane);
    ptx::warp_barrier();
    auto* y = const_cast<Bits<Number>*>(row_of<Number>(a.y, a.y_strides, cursor.batch, chunk.channel));
    stage.side.template put<ALIGNED>(y, cursor.begin(a) - a.shift, a.out_length, lane);
    ptx::warp_barrier();  // another tile is fetched to where this one was read
  }
  if constexpr (SIDE == Side::input)
    gram.store(a.sums + (Index(chunk.number) * a.channels + chunk.channel) * (gram_slots + 1), shared, lane);
}

}  // namespace short_conv
