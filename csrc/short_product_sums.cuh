// The gradients of many taps, of 16-bit rows whose time is dense, by matrix products.
//
// With x y's gradient (and its pre-gate y's gate), u as `side` and the coordinates of short_rows.cuh, what tap j = 8 m + n
// has to sum is
//
//   dw[8 m + n] = sum_t X[t - 8 m] u[t + n + lead],     0 <= m < 16, 0 <= n < 8:
//
// the product of 16 rows of X, each eight samples further back, and eight columns of u, each one sample further on.
// Sixteen t, in any order, are one product of all 128 taps. Sums: (chunk, channel, 128 + 1), the bias' behind.
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
  Cursor cursor = Cursor::at(a, first_tile(a, chunk));
  const unsigned shared = memory::shared_base() + ptx::thread() / 32 * S::bytes;
  S stages = {shared, chunk.channel, end_of_tiles(a, chunk), cursor};
  stages.template begin<ALIGNED>(a, lane);

  // Of 64 t a lane has 16 that follow each other, and gives four to each of four products. What the upper eight m have
  // to do with them, the lower eight had with the 64 t before. The window's pieces lie in order.
  const int piece = most_taps / 8 - g + t * 2;
  const unsigned word = (16 * t + g + a.lead) / 2 * 4, selector = (g + a.lead) % 2 ? 0x5432 : 0x3210;
  float sums[4] = {}, bias = 0.0f;
  NO_UNROLL
  for (; cursor.number < stages.end; cursor.advance(a)) {
    const auto stage = stages.template next<ALIGNED>(a, lane);
    const int left = a.shift - a.lead + a.out_length - cursor.begin(a);
    const int times = left < tile ? left : tile;
    const unsigned window = stage.window.base + piece * 16, side = stage.side.base + word;
    float products[4] = {};  // of one tile: the unit that makes them rounds towards zero
    uint4 x[2][2];           // of these 64 t and of the 64 before, in turn
    UNROLL
    for (int i = 0; i < 2; ++i) x[1][i] = memory::load_shared<uint4>(window - 128 + i * 16);
    NO_UNROLL
    for (int first = 0; first < times; first += 128) {
      UNROLL
      for (int turn = 0; turn < 2; ++turn) {
        const unsigned at = (first + turn * 64) * 2;
        unsigned u[9];
        UNROLL
        for (int i = 0; i < 9; ++i) u[i] = memory::load_shared<unsigned>(side + at + i * 4);
        UNROLL
        for (int i = 0; i < 8; ++i) u[i] = ptx::permute_bytes(u[i], u[i + 1], selector);
        UNROLL
        for (int i = 0; i < 2; ++i) {
          const uint4 now = x[turn][i] = memory::load_shared<uint4>(window + at + i * 16), old = x[1 - turn][i];
          ptx::mma(Number(), products, uint4{now.x, old.x, now.y, old.y}, u[4 * i], u[4 * i + 1]);
          ptx::mma(Number(), products, uint4{now.z, old.z, now.w, old.w}, u[4 * i + 2], u[4 * i + 3]);
        }
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
