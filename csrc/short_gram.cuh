// The gradients of few taps, of 16-bit rows whose time is dense, by matrix products.
//
// With x and u as in short_rows.cuh, u[i] from the same place as the output i, what slot q has to sum is
//
//   dw[q] = sum_i u[i] X[i - q],    0 <= q <= 16:
//
// cut into columns of 16 samples, the sums of the diagonals of 16 rows of u and 32 rows of X,
//
//   M[p][r] = sum_c u[16 c + p] X[16 c + r - 16],    dw[q] = sum_p M[p][p + 16 - q].
//
// Sums: (chunk, channel, 17 + 1), the bias' behind.
#pragma once

#include "short_stages.cuh"
#include "short_sums.cuh"

namespace short_conv {

constexpr int gram_slots = 17;

template <class Number>
struct Gram {
  float sums[4][4] = {}, total = 0.0f;

  // One tile of u, and of X from 16 samples before it on. `first`: by how much the tiles of X alone begin earlier.
  METHOD void add(Tile<Number> window, Tile<Number> side, int first, int lane) {
    float products[4][4] = {};  // of one tile: the unit that makes them rounds towards zero
    UNROLL
    for (int half = 0; half < 2; ++half) {
      // Lane l names row l % 8 of matrix l / 8: of the first eight columns two halves of 16 bytes, then of the others.
      const int piece = (half * 16 + lane / 16 * 8 + lane % 8) * 2 + lane / 8 % 2;
      unsigned u[4];
      ptx::load_matrix<true>(u, side.base + side.place(piece));
      UNROLL
      for (int i = 0; i < 4; i += 2) {
        unsigned x[4];
        ptx::load_matrix<true>(x, window.base + window.place(piece + i));
        ptx::mma(Number(), products[i], uint4{u[0], u[1], u[2], u[3]}, x[0], x[2]);
        ptx::mma(Number(), products[i + 1], uint4{u[0], u[1], u[2], u[3]}, x[1], x[3]);
      }
    }
    UNROLL
    for (int i = 0; i < 4; ++i)
      UNROLL for (int j = 0; j < 4; ++j) sums[i][j] += products[i][j];
    UNROLL
    for (int i = 0; i < 2; ++i) {
      float x[8];
      window.load_group(x, (16 - (first > 0 ? first : 0)) / 8 + lane + i * 32);
      total += ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
    }
  }

  // `room`: 2 KB of shared memory that nobody else uses any more.
  METHOD void store(float* to, unsigned room, int lane) const {
    const int p = lane / 4, r = lane % 4 * 2;
    UNROLL
    for (int i = 0; i < 4; ++i)
      UNROLL for (int j = 0; j < 4; ++j)
        memory::store_shared(room + ((p + j / 2 * 8) * 32 + i * 8 + r + j % 2) * 4, sums[i][j]);
    ptx::warp_barrier();
    float sum = 0.0f;
    if (lane < gram_slots) {
      for (int row = 0; row < 16; ++row) sum += memory::load_shared<float>(room + (row * 32 + row + 16 - lane) * 4);
      memory::store(to + lane, sum);
    }
    const float bias = sum_over_warp(total);
    if (lane == 0) memory::store(to + gram_slots, bias);
  }
};

}  // namespace short_conv
