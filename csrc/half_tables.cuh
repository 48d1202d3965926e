// The kernel that makes the half-precision kernels' tables, once for each size.
#pragma once
#include "half_layout.cuh"
#include "memory.cuh"

// exp(-2 pi i numerator / denominator), scaled. The angle is reduced as an integer, so that it is exact.
DEVICE float2 root_of_unity(int numerator, int denominator, float scale) {
  float sine, cosine;
  ptx::sine_cosine_pi(2.f * static_cast<float>(numerator % denominator) / static_cast<float>(denominator), sine, cosine);
  return make_float2(scale * cosine, -scale * sine);
}

DEVICE unsigned pack_part(int part, float2 a, float2 b) {
  return part ? ptx::pack(ptx::Fp16(), a.y, b.y) : ptx::pack(ptx::Fp16(), a.x, b.x);
}

// One word of an N-point DFT matrix as A operand; `shift` quarters are taken from both indices. Two matrices of 8 points
// stand on the diagonal of one of 16.
template <int N>
DEVICE unsigned matrix_word(int word, int shift) {
  constexpr int size = N < 16 ? 16 : N;
  const int part = word / (size * size / 2), at = word % (size * size / 2);
  const int i = at % 4, lane = at / 4 % 32, step = at / 128 % (size / 16), block = at / 128 / (size / 16);
  const int row = 16 * block + lane / 4 + 8 * (i & 1), column = 16 * step + 2 * (lane % 4) + 8 * (i >> 1);
  if (row / N != column / N) return 0;
  const int r = 4 * (row % N) - shift, c = 4 * (column % N) - shift;
  const float scale = N == 8 ? 0.35355339059327379f : N == 16 ? 0.25f : 0.17677669529663688f;
  return pack_part(part, root_of_unity(r * c, 16 * N, scale), root_of_unity(r * (c + 4), 16 * N, scale));
}

template <class F>
DEVICE unsigned table_word(int byte) {
  using T = Tables<F>;
  constexpr int quarter = 1, M = F::points;
  if (byte < int(T::rows)) return matrix_word<F::n1 == 1 ? 16 : F::n1>((byte - T::outer) / 4, quarter);
  if (byte < int(T::columns)) return matrix_word<F::p>((byte - T::rows) / 4, F::n1 == 1 ? quarter : 0);
  if (byte < int(T::fold)) {
    const int at = (byte - T::columns) / 4, part = at / 128, lane = at / 4 % 32, i = at % 4;
    const int column = fold_column(8 * (i >> 1) + lane / 4), row = 8 * (i & 1) + 2 * (lane % 4);
    return pack_part(part, root_of_unity(fold_column(row) * column, 16, 0.25f),
                     root_of_unity(fold_column(row + 1) * column, 16, 0.25f));
  }
  if (byte < int(T::twiddle)) {
    const int at = (byte - T::fold) / 4, column = 8 * (at / 2 % 2) + 2 * (at / 4);
    return pack_part(at % 2, root_of_unity(fold_column(column), 16, 1.f),
                     root_of_unity(fold_column(column + 1), 16, 1.f));
  }
  if (byte < int(T::outer_by_k1)) {
    const int at = (byte - T::twiddle) / 4, i = at % 4, lane = at / 4 % 32, tile = at / 128 % F::tiles;
    const int kp = (16 * (at / 128 / F::tiles) + lane / 4 + 8 * (i >> 1)) % F::p, column = 8 * tile + 2 * (lane % 4);
    const int q0 = column_sample<F>(column), q1 = column_sample<F>(column + 1);
    if (F::n1 > 1)
      return pack_part(i & 1, root_of_unity(kp * q0, F::inner, 1.f), root_of_unity(kp * q1, F::inner, 1.f));
    // The P-point DFT with its quarters taken from both sides leaves W_P^{(k - 1/4) / 4} behind, made good here.
    const int k = 4 * kp - 1;
    return pack_part(i & 1, root_of_unity(k * (4 * q0 + F::q), 16 * M, 1.f),
                     root_of_unity(k * (4 * q1 + F::q), 16 * M, 1.f));
  }
  if (byte < int(T::outer_columns)) {
    const bool by_k1 = byte < int(T::outer_by_p);
    const int at = (byte - (by_k1 ? T::outer_by_k1 : T::outer_by_p)) / 4;
    const int k1 = by_k1 ? at / 2 % F::n1 : at / 2 / F::p, p = by_k1 ? at / 2 / F::n1 : at / 2 % F::p;
    const float2 w = root_of_unity((4 * k1 - 1) * (4 * p * F::q + F::inner), 16 * M, 1.f);
    return pack_part(at % 2, w, w);
  }
  const int at = (byte - T::outer_columns) / 4, tile = at / 2 % F::tiles, t = at / 2 / F::tiles % 4, k1 = at / 2 / F::tiles / 4;
  const int k = 4 * k1 - 1, column = 8 * tile + 2 * t;
  return pack_part(at % 2, root_of_unity(k * column_sample<F>(column), 4 * M, 1.f),
                   root_of_unity(k * column_sample<F>(column + 1), 4 * M, 1.f));
}

// Any number of threads and blocks, one word each: `tables` is Tables<F>::bytes long.
template <class F>
KERNEL(128, 1) half_tables(unsigned* tables) {
  const int word = ptx::block_x() * 128 + ptx::thread();
  if (word < int(Tables<F>::bytes / 4)) memory::store(tables + word, table_word<F>(4 * word));
}
