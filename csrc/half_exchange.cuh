// One row of a group of warps in shared memory, and the outer and inner DFTs on either side of it.
//
// Real and imaginary plane; in each, k1 rows of P Q numbers in pieces of 16 bytes (8 columns of one tile). The piece's
// place is mixed with k1 and with p so that accesses along k1 and along p are both free of bank conflicts.
#pragma once
#include "half_rows.cuh"

template <class F>
struct Exchange {
  static_assert(F::p == 16, "the inner transform is one block of 16 rows");
  static constexpr unsigned plane = F::points * 2, bytes = 2 * plane;
  unsigned base;

  METHOD unsigned at(unsigned part, unsigned k1, unsigned p, unsigned tile) const {
    const unsigned piece = p * F::tiles + tile;
    return base + part * plane + k1 * (F::inner * 2) + (piece ^ (piece >> 3 & 3) ^ (k1 & 7)) * 16;
  }
  // A tile of 16 rows k1 (one p), or of 16 rows p (one k1).
  METHOD void store_column(const Tile& x, int k1_block, int p, int tile, int lane) const {
    ptx::store_matrix(at(lane / 16, 16 * k1_block + lane % 16, p, tile), x.re[0], x.re[1], x.im[0], x.im[1]);
  }
  METHOD void store_row(const Tile& x, int k1, int tile, int lane) const {
    ptx::store_matrix(at(lane / 16, k1, lane % 16, tile), x.re[0], x.re[1], x.im[0], x.im[1]);
  }
  // All p of one k1, or all k1 of one p, as B operand.
  METHOD void load_row(ComplexRows<2, F::tiles>& x, int k1, int lane) const {
    UNROLL for (int j = 0; j < F::tiles; j++) {
      unsigned r[4];
      ptx::load_matrix<true>(r, at(lane / 16, k1, lane % 16, j));
      x.re[0][j] = r[0], x.re[1][j] = r[1], x.im[0][j] = r[2], x.im[1][j] = r[3];
    }
  }
  METHOD void load_column(ComplexRows<F::n1 / 8, F::tiles>& x, int p, int lane) const {
    UNROLL for (int j = 0; j < F::tiles; j++) {
      unsigned r[4];
      if constexpr (F::n1 == 16) {
        ptx::load_matrix<true>(r, at(lane / 16, lane % 16, p, j));
        x.re[0][j] = r[0], x.re[1][j] = r[1], x.im[0][j] = r[2], x.im[1][j] = r[3];
      } else {
        ptx::load_matrix<true>(r, at(0, lane, p, j));
        UNROLL for (int block = 0; block < 4; block++) x.re[block][j] = r[block];
        ptx::load_matrix<true>(r, at(1, lane, p, j));
        UNROLL for (int block = 0; block < 4; block++) x.im[block][j] = r[block];
      }
    }
  }
};

// The largest samples of a group's next row, found by its warps together: two turns, so that one is read while the other
// is written.
template <int WARPS>
struct GroupPeaks {
  unsigned base;
  METHOD void put(int turn, int warp, int lane, unsigned peaks) const {
    peaks = peak_over_lanes<32>(peaks);
    if (lane == 0) memory::store_shared(base + (turn * WARPS + warp) * 4, peaks);
  }
  METHOD unsigned get(int turn, int lane) const {
    return peak_over_lanes<WARPS>(memory::load_shared<unsigned>(base + (turn * WARPS + lane % WARPS) * 4));
  }
};

// What every k1 of the inner transform uses, in registers while a row's are done.
template <class F>
struct InnerMatrices {
  RowMatrix<F::p> rows;
  ColumnMatrix columns;
  DEVICE InnerMatrices load(unsigned tables, int lane) {
    return {RowMatrix<F::p>::load(tables + Tables<F>::rows, 0, lane), ColumnMatrix::load(tables + Tables<F>::columns, lane)};
  }
};
// W_PQ^(kp q) W_M^(q (k1 - 1/4)): the second factor is what of the outer twiddle depends on the column. Held for all k1, the
// first would cost the registers that keep three blocks on a multiprocessor.
template <class F>
DEVICE void load_inner_twiddles(uint4 (&to)[F::tiles], unsigned tables, int k1, int lane) {
  UNROLL for (int j = 0; j < F::tiles; j += 2) {
    const uint4 w = memory::load_shared<uint4>(tables + Tables<F>::outer_columns + ((k1 * 4 + lane % 4) * F::tiles + j) * 8);
    const unsigned at = tables + Tables<F>::twiddle + (j * 32 + lane) * 16;
    to[j] = multiply_twiddles(memory::load_shared<uint4>(at), w.x, w.y);
    to[j + 1] = multiply_twiddles(memory::load_shared<uint4>(at + 512), w.z, w.w);
  }
}

// Column p of the row: its N1-point DFT and what of the twiddle depends on p, into the exchange.
template <class Number, class F, class Here>
DEVICE void outer_dft(unsigned tables, const Exchange<F>& exchange, const RealRows<F::n1 / 8, F::tiles>& x, int p, int length,
                      int lane, Here&& here) {
  using T = Tables<F>;
  const int steps = (length + 16 * F::inner - 1) / (16 * F::inner);  // of 16 rows that are not all zero
  UNROLL for (int m = 0; m < F::outer_blocks; m++) {
    const auto matrix = RowMatrix<F::n1>::load(tables + T::outer + here(m), m, lane);
    const unsigned at = tables + T::outer_by_k1 + here(8) + (16 * m + lane / 4 + F::n1 * p) * 8;
    const uint2 low = memory::load_shared<uint2>(at), high = memory::load_shared<uint2>(at + 64);
    const uint4 twiddle = make_uint4(low.x, low.y, high.x, high.y);
    UNROLL for (int j = 0; j < F::tiles; j++)
      exchange.store_column(multiply_by_twiddle<Number, false>(dft_of_rows<Number, F::n1>(matrix, x, j, steps), twiddle), m, p, j,
                            lane);
  }
}
// Row k1 out of the exchange and into its spectrum, and back.
template <class Number, class F>
DEVICE SpectrumRows<F> inner_dft(const InnerMatrices<F>& inner, const Exchange<F>& exchange,
                                 const uint4 (&twiddle)[F::tiles], int k1, int lane) {
  ComplexRows<2, F::tiles> x;
  exchange.load_row(x, k1, lane);
  ColumnTiles<F> columns;
  UNROLL for (int j = 0; j < F::tiles; j++)
    columns.tile[j] = multiply_by_twiddle<Number, false>(dft_of_rows<Number, F::p>(inner.rows, x, j), twiddle[j]);
  return dft_of_columns<Number, F>(inner.columns, columns);
}
template <class Number, class F>
DEVICE void inverse_inner_dft(const InnerMatrices<F>& inner, unsigned tables, const Exchange<F>& exchange,
                              const SpectrumRows<F>& s, const uint4 (&twiddle)[F::tiles], int k1, int lane, unsigned here) {
  ComplexRows<2, F::tiles> z;
  transpose_into<F>(z, 0, inverse_dft_of_columns<Number, F>(inner.columns, s, twiddle));
  const unsigned at = tables + Tables<F>::outer_by_p + here + (k1 * F::p + lane / 4) * 8;
  const uint2 low = memory::load_shared<uint2>(at), high = memory::load_shared<uint2>(at + 64);
  const uint4 outer = make_uint4(low.x, low.y, high.x, high.y);
  ptx::warp_barrier();  // every lane has read this row
  UNROLL for (int j = 0; j < F::tiles; j++)
    exchange.store_row(multiply_by_twiddle<Number, true>(inverse_dft_of_rows<Number, F::p>(inner.rows, z, j), outer), k1, j, lane);
}
