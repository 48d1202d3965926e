// One row of a group of warps in shared memory, and the outer and inner DFTs on either side of it.
//
// Real and imaginary plane; in each, k1 rows of P Q numbers in pieces of 16 bytes (8 columns of one tile). The piece's
// place is mixed with k1 and with p so that accesses along k1 and along p are both free of bank conflicts.
#pragma once
#include "half_rows.cuh"

// 16 rows of k1 (one p), or the 16 rows of a unit of inner transforms; addresses are a lane's, of tile 0.
template <class F>
struct Exchange {
  static constexpr unsigned row = F::inner * 2, plane = F::points * 2, bytes = 2 * plane;
  unsigned base;  // a multiple of `row`

  METHOD unsigned at(unsigned part, unsigned k1, unsigned p) const {
    const unsigned piece = p * F::tiles;
    return (base + part * plane + k1 * row) ^ (piece ^ (piece >> 3 & 3) ^ (k1 & 7)) * 16;
  }
  METHOD unsigned column(int p, int lane) const { return at(lane / 16, lane % 16, p); }
  METHOD unsigned unit(int u, int lane) const { return at(lane / 16, u * F::stack + lane % 16 / F::p, lane % F::p); }
  DEVICE void store(unsigned at, const Tile& x, int tile) {
    ptx::store_matrix(at ^ tile * 16, x.re[0], x.re[1], x.im[0], x.im[1]);
  }
  // Two blocks of 8 rows as B operand.
  template <int BLOCKS>
  DEVICE void load(ComplexRows<BLOCKS, F::tiles>& x, int block, unsigned at) {
    UNROLL for (int j = 0; j < F::tiles; j++) {
      unsigned r[4];
      ptx::load_matrix<true>(r, at ^ j * 16);
      x.re[block][j] = r[0], x.re[block + 1][j] = r[1], x.im[block][j] = r[2], x.im[block + 1][j] = r[3];
    }
  }
};

// The largest samples of a group's row, found by its warps together.
template <int WARPS>
struct GroupPeaks {
  static constexpr unsigned bytes = WARPS * 4;
  unsigned base;
  METHOD void put(int warp, int lane, unsigned peaks) const {
    peaks = peaks_over_warp(peaks);
    if (lane == 0) memory::store_shared(base + warp * 4, peaks);
  }
  METHOD unsigned get(int lane) const { return peaks_over_warp(memory::load_shared<unsigned>(base + lane % WARPS * 4)); }
};

DEVICE uint4 load_two(unsigned at, unsigned distance) {
  const uint2 low = memory::load_shared<uint2>(at), high = memory::load_shared<uint2>(at + distance);
  return make_uint4(low.x, low.y, high.x, high.y);
}

// What every unit of the inner transforms uses, in registers while a row's are done.
struct InnerMatrices {
  MiddleMatrix rows;
  ColumnMatrix columns;
  template <class F>
  DEVICE InnerMatrices load(unsigned tables, int lane) {
    return {MiddleMatrix::load(tables + Tables<F>::rows, lane), ColumnMatrix::load(tables + Tables<F>::columns, lane)};
  }
};
// W_PQ^(kp q) W_M^(q (k1 - 1/4)): the second factor is what of the outer twiddle depends on the column.
template <class F>
DEVICE void load_inner_twiddles(uint4 (&to)[F::tiles], unsigned tables, int unit, int lane) {
  constexpr unsigned one_k1 = 4 * F::tiles * 8;
  UNROLL for (int j = 0; j < F::tiles; j += 2) {
    const unsigned at = tables + Tables<F>::outer_columns + unit * F::stack * one_k1 + (lane % 4 * F::tiles + j) * 8;
    const uint4 low = memory::load_shared<uint4>(at);  // tiles j and j + 1
    const uint4 high = F::stack == 2 ? memory::load_shared<uint4>(at + one_k1) : low;
    const unsigned inner = tables + Tables<F>::twiddle + (j * 32 + lane) * 16;
    to[j] = multiply_twiddles(memory::load_shared<uint4>(inner), make_uint4(low.x, low.y, high.x, high.y));
    to[j + 1] = multiply_twiddles(memory::load_shared<uint4>(inner + 512), make_uint4(low.z, low.w, high.z, high.w));
  }
}

// Column p of the row, real or complex: its N1-point DFT, 16 rows of it, and what of the twiddle depends on p, into the exchange.
template <class F, class Rows>
DEVICE void outer_dft(unsigned tables, const RowMatrix<F::n1>& matrix, const Exchange<F>& exchange, const Rows& x, int block, int p,
                      int steps, int lane) {
  const uint4 twiddle = load_two(tables + Tables<F>::outer_by_k1 + (16 * block + lane / 4 + F::n1 * p) * 8, 64);
  const unsigned to = exchange.column(p, lane) + block * 16 * Exchange<F>::row;
  UNROLL for (int j = 0; j < F::tiles; j++)
    Exchange<F>::store(to, multiply_by_twiddle<false>(dft_of_rows(matrix, x, j, steps), twiddle), j);
}
// A unit out of the exchange and into its spectrum, and back.
template <class F>
DEVICE SpectrumRows<F> inner_dft(const InnerMatrices& inner, const Exchange<F>& exchange, const uint4 (&twiddle)[F::tiles],
                                 int unit, int lane) {
  ComplexRows<2, F::tiles> x;
  Exchange<F>::load(x, 0, exchange.unit(unit, lane));
  ColumnTiles<F> columns;
  UNROLL for (int j = 0; j < F::tiles; j++)
    columns.tile[j] = multiply_by_twiddle<false>(middle_dft_of_rows<false>(inner.rows, x, j), twiddle[j]);
  return dft_of_columns<F>(inner.columns, columns);
}
template <class F>
DEVICE void inverse_inner_dft(const InnerMatrices& inner, unsigned tables, const Exchange<F>& exchange, const SpectrumRows<F>& s,
                              const uint4 (&twiddle)[F::tiles], int unit, int lane) {
  ComplexRows<2, F::tiles> z;
  transpose_into<F>(z, 0, inverse_dft_of_columns<F>(inner.columns, s, twiddle));
  const uint4 outer = load_two(tables + Tables<F>::outer_by_p + (unit * 16 + lane / 4) * 8, 64);
  const unsigned to = exchange.unit(unit, lane);
  ptx::warp_barrier();  // every lane has read this unit
  UNROLL for (int j = 0; j < F::tiles; j++)
    Exchange<F>::store(to, multiply_by_twiddle<true>(middle_dft_of_rows<true>(inner.rows, z, j), outer), j);
}
// Column p back out of it, its N1-point DFT still to be done.
template <class F>
DEVICE void load_column(ComplexRows<F::n1 / 8, F::tiles>& x, const Exchange<F>& exchange, int p, int lane) {
  UNROLL for (int m = 0; m < F::outer_blocks; m++)
    Exchange<F>::load(x, 2 * m, exchange.column(p, lane) + m * 16 * Exchange<F>::row);
}
