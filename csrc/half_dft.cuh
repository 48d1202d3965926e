// The DFTs as matrix products of one warp, and the product with the filter's spectrum between them.
//
// Rows are contracted with the data as B operand, columns with the data as A operand: the accumulators of the first are
// laid out as the second wants them. Only the way back, from columns to rows, transposes.
#pragma once
#include "half_arithmetic.cuh"
#include "half_layout.cuh"
#include "memory.cuh"

DEVICE unsigned negative_operand(unsigned x) { return x ^ 0x80008000u; }
DEVICE uint4 negative_operand(uint4 x) {
  return make_uint4(negative_operand(x.x), negative_operand(x.y), negative_operand(x.z), negative_operand(x.w));
}

// Data as B operand: blocks of 8 rows, tiles of 8 columns.
template <int BLOCKS, int TILES>
struct RealRows {
  unsigned re[BLOCKS][TILES];
};
template <int BLOCKS, int TILES>
struct ComplexRows {
  unsigned re[BLOCKS][TILES], im[BLOCKS][TILES];
};

// 16 rows of the symmetric N-point DFT matrix, as A operand.
template <int N>
struct RowMatrix {
  uint4 re[N / 16], im[N / 16];
  DEVICE RowMatrix load(unsigned table, int block, int lane) {
    RowMatrix a;
    UNROLL for (int step = 0; step < N / 16; step++) {
      const unsigned at = table + ((block * (N / 16) + step) * 32 + lane) * 16;
      a.re[step] = memory::load_shared<uint4>(at);
      a.im[step] = memory::load_shared<uint4>(at + N * N * 2);
    }
    return a;
  }
};

// The first stage of all, whose input is real. Steps of 16 samples from `steps` on are zero and passed over.
template <int N, int TILES>
DEVICE Accumulators dft_of_rows(const RowMatrix<N>& a, const RealRows<N / 8, TILES>& x, int tile, int steps = N / 16) {
  Accumulators y;
  UNROLL for (int s = 0; s < N / 16; s++) {
    if (s > 0 && s >= steps) break;
    ptx::mma(Fp16(), y.re, a.re[s], x.re[2 * s][tile], x.re[2 * s + 1][tile]);
    ptx::mma(Fp16(), y.im, a.im[s], x.re[2 * s][tile], x.re[2 * s + 1][tile]);
  }
  return y;
}
// The same of complex data, and (INVERSE) its inverse.
template <bool INVERSE, int N, int TILES>
DEVICE Accumulators complex_dft_of_rows(const RowMatrix<N>& a, const ComplexRows<N / 8, TILES>& x, int tile) {
  Accumulators y;
  UNROLL for (int s = 0; s < N / 16; s++) {
    const uint4 i = a.im[s], negative = negative_operand(i);
    ptx::mma(Fp16(), y.re, a.re[s], x.re[2 * s][tile], x.re[2 * s + 1][tile]);
    ptx::mma(Fp16(), y.im, a.re[s], x.im[2 * s][tile], x.im[2 * s + 1][tile]);
    ptx::mma(Fp16(), y.re, INVERSE ? i : negative, x.im[2 * s][tile], x.im[2 * s + 1][tile]);
    ptx::mma(Fp16(), y.im, INVERSE ? negative : i, x.re[2 * s][tile], x.re[2 * s + 1][tile]);
  }
  return y;
}
// A row of complex points has no zeros to pass over.
template <int N, int TILES>
DEVICE Accumulators dft_of_rows(const RowMatrix<N>& a, const ComplexRows<N / 8, TILES>& x, int tile, int = N / 16) {
  return complex_dft_of_rows<false>(a, x, tile);
}
// The last one, of which the real part is wanted. Steps whose bit is not in `steps` are zero and passed over.
template <int N, int TILES>
DEVICE void real_inverse_dft_of_rows(float (&y)[4], const RowMatrix<N>& a, const ComplexRows<N / 8, TILES>& x, int tile,
                                     unsigned steps = ~0u) {
  UNROLL for (int i = 0; i < 4; i++) y[i] = 0;
  UNROLL for (int s = 0; s < N / 16; s++) {
    if (!(steps >> s & 1)) continue;
    ptx::mma(Fp16(), y, a.re[s], x.re[2 * s][tile], x.re[2 * s + 1][tile]);
    ptx::mma(Fp16(), y, a.im[s], x.im[2 * s][tile], x.im[2 * s + 1][tile]);
  }
}

// The matrix between these two, 16 rows: complex on both sides.
struct MiddleMatrix {
  uint4 re, im, negative_im;
  DEVICE MiddleMatrix load(unsigned table, int lane) {
    const RowMatrix<16> a = RowMatrix<16>::load(table, 0, lane);
    return {a.re[0], a.im[0], negative_operand(a.im[0])};
  }
};
template <bool INVERSE, int TILES>
DEVICE Accumulators middle_dft_of_rows(const MiddleMatrix& a, const ComplexRows<2, TILES>& x, int tile) {
  Accumulators y;
  ptx::mma(Fp16(), y.re, a.re, x.re[0][tile], x.re[1][tile]);
  ptx::mma(Fp16(), y.im, a.re, x.im[0][tile], x.im[1][tile]);
  ptx::mma(Fp16(), y.re, INVERSE ? a.im : a.negative_im, x.im[0][tile], x.im[1][tile]);
  ptx::mma(Fp16(), y.im, INVERSE ? a.negative_im : a.im, x.re[0][tile], x.re[1][tile]);
  return y;
}

// The 16-point DFT as B operand: [2 j], [2 j + 1] are output tile j.
struct ColumnMatrix {
  unsigned re[4], im[4], negative_im[4];
  DEVICE ColumnMatrix load(unsigned table, int lane) {
    const uint4 r = memory::load_shared<uint4>(table + lane * 16), i = memory::load_shared<uint4>(table + 512 + lane * 16);
    return {{r.x, r.y, r.z, r.w},
            {i.x, i.y, i.z, i.w},
            {negative_operand(i.x), negative_operand(i.y), negative_operand(i.z), negative_operand(i.w)}};
  }
};
// 16 columns (tiles `low`, `high`) to output tile `tile`.
template <bool INVERSE>
DEVICE Accumulators dft_of_columns(const ColumnMatrix& b, const Tile& low, const Tile& high, int tile) {
  Accumulators y;
  const uint4 re = make_uint4(low.re[0], low.re[1], high.re[0], high.re[1]);
  const uint4 im = make_uint4(low.im[0], low.im[1], high.im[0], high.im[1]);
  const int j = 2 * tile;
  const unsigned(&plus)[4] = INVERSE ? b.negative_im : b.im;
  const unsigned(&minus)[4] = INVERSE ? b.im : b.negative_im;
  ptx::mma(Fp16(), y.re, re, b.re[j], b.re[j + 1]);
  ptx::mma(Fp16(), y.im, re, plus[j], plus[j + 1]);
  ptx::mma(Fp16(), y.re, im, minus[j], minus[j + 1]);
  ptx::mma(Fp16(), y.im, im, b.re[j], b.re[j + 1]);
  return y;
}

// 16 rows of a spectrum: [channel][tile].
template <class F>
struct SpectrumRows {
  Tile part[F::channels][2];
};
// 16 rows of all columns, as data of the inner transform.
template <class F>
struct ColumnTiles {
  Tile tile[F::tiles];
};

template <class F>
DEVICE SpectrumRows<F> dft_of_columns(const ColumnMatrix& b, const ColumnTiles<F>& x) {
  SpectrumRows<F> y;
  UNROLL for (int c = 0; c < F::channels; c++)
    UNROLL for (int j = 0; j < 2; j++)
      y.part[c][j] = rounded(dft_of_columns<false>(b, x.tile[c], x.tile[c + F::channels], j));
  return y;
}
// The inverse, and the twiddles after it.
template <class F>
DEVICE ColumnTiles<F> inverse_dft_of_columns(const ColumnMatrix& b, const SpectrumRows<F>& x, const uint4 (&twiddle)[F::tiles]) {
  ColumnTiles<F> y;
  UNROLL for (int j = 0; j < F::tiles; j++) {
    const int c = j % F::channels;
    y.tile[j] = multiply_by_twiddle<true>(dft_of_columns<true>(b, x.part[c][0], x.part[c][1], j / F::channels), twiddle[j]);
  }
  return y;
}

// W_16^kq of this lane's columns: what the odd channel's square stands for in the product.
struct FoldTwiddle {
  unsigned re[2], im[2];
  DEVICE FoldTwiddle load(unsigned table, int lane) {
    const uint4 w = memory::load_shared<uint4>(table + (lane % 4) * 16);
    return {{w.x, w.z}, {w.y, w.w}};
  }
};

// The product with a filter's spectrum, or (ADJOINT) with its conjugate: the product of x = E + z O and k = a + z b,
// where z^2 = w, is (a E + w b O) + z (b E + a O), and its adjoint (conj a E + conj b O, conj (w b) E + conj a O).
template <bool ADJOINT, class F, class LoadEntry>
DEVICE SpectrumRows<F> multiply_by_spectrum(const SpectrumRows<F>& x, const FoldTwiddle& fold, LoadEntry&& load_entry) {
  SpectrumRows<F> y;
  UNROLL for (int j = 0; j < 2; j++) {
    const uint4 even = load_entry(j * F::channels);
    if constexpr (F::channels == 1) {
      UNROLL for (int half = 0; half < 2; half++) {
        const Complex<Pair> k = half_of(even, half);
        set_half(y.part[0][j], half, multiply(half_of(x.part[0][j], half), ADJOINT ? conjugate(k) : k));
      }
    } else {
      const uint4 odd = load_entry(j * F::channels + 1);
      const Complex<Pair> w{{fold.re[j]}, {fold.im[j]}};
      UNROLL for (int half = 0; half < 2; half++) {
        Complex<Pair> a = half_of(even, half), b = half_of(odd, half);
        const Complex<Pair> e = half_of(x.part[0][j], half), o = half_of(x.part[1][j], half);
        if constexpr (ADJOINT) {
          a = conjugate(a), b = conjugate(b);
          set_half(y.part[0][j], half, multiply_add(b, o, multiply(a, e)));
          set_half(y.part[1][j], half, multiply_add(b, multiply(conjugate(w), e), multiply(a, o)));
        } else {
          set_half(y.part[0][j], half, multiply_add(b, multiply(w, o), multiply(a, e)));
          set_half(y.part[1][j], half, multiply_add(a, o, multiply(b, e)));
        }
      }
    }
  }
  return y;
}

// From columns back to rows: 16 rows of A-like tiles become two blocks of 8 rows as B operand.
template <class F, int BLOCKS>
DEVICE void transpose_into(ComplexRows<BLOCKS, F::tiles>& to, int row_block, const ColumnTiles<F>& x) {
  UNROLL for (int j = 0; j < F::tiles; j++)
    UNROLL for (int half = 0; half < 2; half++) {
      to.re[2 * row_block + half][j] = ptx::transpose_matrix(x.tile[j].re[half]);
      to.im[2 * row_block + half][j] = ptx::transpose_matrix(x.tile[j].im[half]);
    }
}
