// The gradients of many taps, of 16-bit rows whose time is dense, by matrix products.
//
// With x y's gradient (and its pre-gate y's gate), u as `side` and the coordinates of short_rows.cuh, what tap j = 8 m + n
// has to sum is
//
//   dw[8 m + n] = sum_t X[t - 8 m] u[t + n + lead],     0 <= m < 16, 0 <= n < 8:
//
// the product of 16 rows of X, each eight samples further back, and eight columns of u, each one sample further on.
// Sixteen t are one product of all 128 taps. Sums: (chunk, channel, 128 + 1), the bias' behind.
#pragma once

#include "short_stages.cuh"
#include "short_sums.cuh"

namespace short_conv {

constexpr int most_taps = 128;

template <class Number, bool PRE_GATE>
using SumStages = Stages<Number, tile + most_taps, tile + 16, 1, PRE_GATE, true>;

template <class Number, bool PRE_GATE, bool ALIGNED>
KERNEL(warps * 32, 4) short_product_sums(ShortArguments a) {
  using S = SumStages<Number, PRE_GATE>;
  const int lane = ptx::thread() % 32, g = lane / 4, t = lane % 4;
  const Chunk chunk = chunk_of_warp(a);
  if (chunk.number >= a.chunks) return;
  const S stages = {memory::shared_base() + ptx::thread() / 32 * S::bytes, first_tile(a, chunk), end_of_tiles(a, chunk)};
  stages.template begin<ALIGNED>(a, chunk.channel, most_taps, tile + 16, lane);

  // Lane l names row l % 8 of matrix l / 8: the first eight m and the others, of the first eight t, then of the next.
  const int piece = most_taps / 8 - lane % 8 - lane / 8 % 2 * 8 + lane / 16;
  const unsigned word = (2 * t + g + a.lead) / 2 * 4, selector = (g + a.lead) % 2 ? 0x5432 : 0x3210;
  float sums[4] = {}, bias = 0.0f;
  NO_UNROLL
  for (unsigned number = stages.first; number < stages.end; ++number) {
    const auto stage = stages.template next<ALIGNED>(a, chunk.channel, number, most_taps, tile + 16, lane);
    const int left = a.shift - a.lead + a.out_length - (a.first + int(number % a.tiles) * tile);
    const int times = left < tile ? left : tile;
    const auto column = [&](int at) {
      const unsigned from = stage.side.base + word + at * 2;
      return ptx::permute_bytes(memory::load_shared<unsigned>(from), memory::load_shared<unsigned>(from + 4), selector);
    };
    float products[4] = {};  // of one tile: the unit that makes them rounds towards zero
    NO_UNROLL
    for (int first = 0; first < times; first += 64) {
      UNROLL
      for (int at = 0; at < 64; at += 16) {
        unsigned x[4];
        ptx::load_matrix<false>(x, stage.window.base + stage.window.place(piece + (first + at) / 8));
        ptx::mma(Number(), products, uint4{x[0], x[1], x[2], x[3]}, column(first + at), column(first + at + 8));
      }
    }
    UNROLL
    for (int i = 0; i < 4; ++i) sums[i] += products[i];
    // The tiles of x alone begin `first` samples earlier than those of t.
    UNROLL
    for (int i = 0; i < 2; ++i) {
      float x[8];
      stage.window.load_group(x, (most_taps - a.first) / 8 + lane + i * 32);
      bias += ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
    }
    ptx::warp_barrier();  // another tile is fetched to where this one was read
  }

  float* to = a.sums + (Index(chunk.number) * a.channels + chunk.channel) * (most_taps + 1);
  UNROLL
  for (int i = 0; i < 4; ++i) memory::store(to + (g + i / 2 * 8) * 8 + 2 * t + i % 2, sums[i]);
  bias = sum_over_warp(bias);
  if (lane == 0) memory::store(to + most_taps, bias);
}

}  // namespace short_conv
