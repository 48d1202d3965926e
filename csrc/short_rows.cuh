// The short depthwise convolution of rows whose time is dense, and its gradients.
//
// A lane computes a run of 16 outputs from a window that slides in registers: with X its samples at x's time,
//
//   s[i] = sum_q w[q] X[i - q],     eight q at a time: three groups of eight samples, of which the next eight q
//                                   need one anew.
//
// What a tap of x and an output have between them is no multiple of a piece of 16 bytes. Therefore the outputs of a tile
// begin at one, in the time of x, and it is the taps that stand `lead` later among the w: by less than four, for the
// window is read from any multiple of four samples on.
//
// Gradients are convolutions too. x is then y's gradient, its pre-gate y's gate, k reversed and y the gradient of u:
// where the taps' is wanted, the rows of u come as `side`, and with u[i] from the same place as s[i]
//
//   dw[q] = sum_i u[i] X[i - q],    dbias = sum_i X[i].
//
// The tiles for the sum over X alone begin at its time 0, those of u later by `first`, where that is more.
//
// A warp adds up the tiles of one chunk of a channel, in order. Sums: (chunk, channel, slots + 1), the bias behind.
#pragma once

#include "short_chunks.cuh"
#include "short_sums.cuh"

namespace short_conv {

// That the registers suffice for.
DEVICE constexpr int blocks(Side side, bool pre_gate) { return side != Side::input ? 5 : pre_gate ? 3 : 4; }

template <class Number, bool PRE_GATE, Side SIDE>
struct Room {
  static constexpr unsigned window = Tile<Number>::bytes(tile + most_slots + group);
  static constexpr unsigned side = window * (PRE_GATE ? 2 : 1);
  static constexpr unsigned taps = side + Tile<Number>::bytes(tile);
  static constexpr unsigned sums = taps + most_slots * 4;
  static constexpr unsigned bytes = (sums + (SIDE == Side::input ? most_slots * 4 : 0) + 127) / 128 * 128;
  static constexpr unsigned of_block = warps * bytes;
};

// Eight numbers of each lane, summed over the warp and added to eight in shared memory.
DEVICE void add_over_warp(float (&v)[8], unsigned sums, int lane) {
  const float sum = sum_of_eight(v, lane);
  if (lane % 4 != 0) return;
  const unsigned at = sums + lane / 4 * 4;
  memory::store_shared(at, memory::load_shared<float>(at) + sum);
}

// Calls visit(b, X) for each eight q from 8 b on, X(n) being the sample n - 8 b of this lane, -7 <= n < 16.
template <class Load, class Visit>
DEVICE void slide(int groups, Load load, Visit visit) {
  float window[3][8];  // the last, the middle and the first in time, in turn
  UNROLL
  for (int r = 0; r < 3; ++r) load(window[r], 1 - r);
  NO_UNROLL
  for (int b = 0; b < groups; b += 3) {
    UNROLL
    for (int r = 0; r < 3; ++r) {
      if (b + r >= groups) break;
      visit(b + r, [&](int n) { return window[n >= 8 ? r : n >= 0 ? (r + 1) % 3 : (r + 2) % 3][n & 7]; });
      if (b + r + 1 < groups) load(window[r], -2 - b - r);
    }
  }
}

template <class Number, bool PRE_GATE, Side SIDE, bool ALIGNED>
KERNEL(warps * 32, blocks(SIDE, PRE_GATE)) short_rows(ShortArguments a) {
  using R = Room<Number, PRE_GATE, SIDE>;
  const int lane = ptx::thread() % 32;
  const unsigned shared = memory::shared_base() + ptx::thread() / 32 * R::bytes;
  const Tile<Number> window{shared}, gates{shared + R::side - R::window}, side{shared + R::side};
  const unsigned taps = shared + R::taps, sums = shared + R::sums;

  const Chunk chunk = chunk_of_warp(a);
  if (chunk.number >= a.chunks) return;
  const int later = a.lead / 4 * 4, lead = a.lead % 4;
  const int groups = (lead + a.taps + 7) / 8, slots = groups * 8;
  const int before = slots + (later + 7) / 8 * 8;  // samples of the window before the tile
  const float bias = a.bias ? memory::load(a.bias + chunk.channel) : 0.0f;
  place_taps(a, taps, chunk.channel, lead, slots, lane);
  float total = 0.0f;
  if constexpr (SIDE == Side::input)
    for (int q = lane; q < slots; q += 32) memory::store_shared(sums + q * 4, 0.0f);

  const unsigned end = end_of_tiles(a, chunk);
  NO_UNROLL
  for (Cursor cursor = Cursor::at(a, first_tile(a, chunk)); cursor.number < end; cursor.advance(a)) {
    const int batch = cursor.batch, at = cursor.begin(a), y_at = at - a.shift;
    window.template fetch<ALIGNED>(
        row_of<Number>(a.x, a.x_strides, batch, chunk.channel), at - before, tile + before, a.length, lane);
    if constexpr (PRE_GATE)
      gates.template fetch<ALIGNED>(
          row_of<Number>(a.pre_gate, a.pre_strides, batch, chunk.channel), at - before, tile + before, a.length, lane);
    if constexpr (SIDE != Side::none)
      side.template fetch<ALIGNED>(
          row_of<Number>(a.side, a.side_strides, batch, chunk.channel), y_at, tile, a.out_length, lane);
    ptx::async_wait<0>();
    ptx::warp_barrier();

    float s[run], given[2][8];
    UNROLL
    for (int i = 0; i < run; ++i) s[i] = bias;
    if constexpr (SIDE != Side::none) {
      UNROLL
      for (int part = 0; part < 2; ++part) side.load_group(given[part], lane * 2 + part);
    }

    // X from sample n of the tile on.
    const auto load = [&](float (&v)[8], int n) {
      window.load_group_at(v, before + n);
      if constexpr (PRE_GATE) {
        float gate[8];
        gates.load_group_at(gate, before + n);
        UNROLL
        for (int i = 0; i < 8; ++i) v[i] *= gate[i];
      }
    };
    const auto load_window = [&](float (&v)[8], int number) { load(v, lane * run - later + number * 8); };
    slide(groups, load_window, [&](int b, auto x) {
      const float4 low = memory::load_shared<float4>(taps + b * 32), high = memory::load_shared<float4>(taps + b * 32 + 16);
      const float w[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
      UNROLL
      for (int j = 0; j < 8; ++j)
        UNROLL for (int i = 0; i < run; ++i) s[i] = fmaf(w[j], x(i - j), s[i]);
      if constexpr (SIDE == Side::input) {
        float products[8] = {};
        UNROLL
        for (int j = 0; j < 8; ++j)
          UNROLL for (int i = 0; i < run; ++i) products[j] = fmaf(given[i / 8][i % 8], x(i - j), products[j]);
        add_over_warp(products, sums + b * 32, lane);
      }
    });

    if constexpr (SIDE == Side::input) {
      UNROLL
      for (int part = 0; part < 2; ++part) {
        float x[8];
        load(x, lane * run + part * 8 - (a.first > 0 ? a.first : 0));
        total += ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
      }
    }

    UNROLL
    for (int part = 0; part < 2; ++part) {
      float result[8];
      UNROLL
      for (int i = 0; i < 8; ++i)
        result[i] = SIDE == Side::gate ? s[part * 8 + i] * given[part][i] : s[part * 8 + i];
      side.store_group(result, lane * 2 + part);
    }
    ptx::warp_barrier();
    side.template put<ALIGNED>(
        const_cast<Bits<Number>*>(row_of<Number>(a.y, a.y_strides, batch, chunk.channel)), y_at, a.out_length, lane);
    ptx::warp_barrier();  // the next tile is fetched to where this one was read
  }

  if constexpr (SIDE == Side::input) {
    float* to = a.sums + (Index(chunk.number) * a.channels + chunk.channel) * (slots + 1);
    for (int q = lane; q < slots; q += 32) memory::store(to + q, memory::load_shared<float>(sums + q * 4));
    total = sum_over_warp(total);
    if (lane == 0) memory::store(to + slots, total);
  }
}

}  // namespace short_conv
