// How the half-precision kernels order a transform: the factors, the order of rows and columns, where tables lie.
//
// M = N1 P Q complex points, sample n = (n1 P + p) Q + q, frequency k = k1 + N1 (kp + P kq). N1 = 1 where a row lives in
// one warp's registers. The transform is that of the right-angle fold (engine: reduction modulo z^M - i),
//
//   X[k] = sum_n x[n] W_M^{n (k - 1/4)},   W_N = exp(-2 pi i / N),
//
// and the quarter goes into the outermost factor's DFT and the twiddles after it. Each DFT is scaled to be unitary, so that
// 16-bit numbers keep their range. The last factor, Q = 16 C, is done by 16-point DFTs alone: for C = 2 the samples of
// even and odd q stay two channels ("incomplete FFT"), which the product with the filter mixes.
//
// Tensor instructions take 16 rows. Where P is 8, two inner transforms (k1 and k1 + 1) stand on one another.
#pragma once
#include "ptx.cuh"

template <int N1, int P, int Q>
struct Factors {
  static constexpr int n1 = N1, p = P, q = Q;
  static constexpr int points = N1 * P * Q;
  static constexpr int inner = P * Q;                      // points of one inner transform
  static constexpr int tiles = Q / 8;                      // of 8 columns
  static constexpr int channels = Q / 16;                  // C
  static constexpr int stack = P == 8 ? 2 : 1;             // inner transforms in 16 rows
  static constexpr int units = N1 / stack;                 // of inner transforms, as one warp does them together
  static constexpr int row_blocks = P == 32 ? 2 : 1;       // of 16 rows, in a unit
  static constexpr int outer_blocks = N1 / 16;
  static constexpr int first = N1 > 1 ? N1 : P;            // the factor that is transformed first, and last,
  static constexpr int stride = points / first;            // and the distance of its samples
  static_assert(N1 == 1 ? P == 16 || P == 32 : (N1 == 16 || N1 == 32) && (P == 8 || P == 16), "rows come in blocks of 16");
  static_assert(Q == 16 || Q == 32, "columns come in tiles of 8, 16 to a channel");
};

// Column 8 j + c of the fragments holds q = tiles c + j: what a thread holds of one row is then contiguous in memory.
template <class F>
DEVICE int column_sample(int column) { return F::tiles * (column & 7) + (column >> 3); }
// The order of the 16-point DFT on both sides; for C channels, q = C fold_column + channel.
DEVICE int fold_column(int column) { return 2 * (column & 7) + (column >> 3); }

// Offsets in bytes. Everything is fp16. Matrices lie in fragment order: 16 bytes a lane, real parts then imaginary parts;
// twiddles as pairs of real parts, then of imaginary parts.
template <class F>
struct Tables {
  static constexpr int inner_rows = F::p < 16 ? 16 : F::p;
  static constexpr unsigned outer = 0;                                    // N1-point DFT as A operand
  static constexpr unsigned rows = outer + (F::n1 > 1 ? F::n1 * F::n1 * 4 : 0);  // P-point DFTs, stacked, as A operand
  static constexpr unsigned columns = rows + inner_rows * inner_rows * 4;  // 16-point DFT as B operand
  static constexpr unsigned fold = columns + 1024;                        // W_16^kq by lane % 4, 16 bytes each
  static constexpr unsigned twiddle = fold + 64;                          // between P and Q: 16 bytes a lane and tile
  static constexpr unsigned outer_by_k1 = twiddle + inner_rows * F::q * 4;  // W_M^{p Q (k1 - 1/4)}, k1 fastest, 8 bytes each
  static constexpr unsigned outer_scalars = F::n1 > 1 ? F::n1 * F::p * 8 : 0;
  static constexpr unsigned outer_by_p = outer_by_k1 + outer_scalars;     // the same, p fastest
  static constexpr unsigned outer_columns = outer_by_p + outer_scalars;   // W_M^{q (k1 - 1/4)}: pairs of columns
  static constexpr unsigned bytes = outer_columns + (F::n1 > 1 ? F::n1 * F::q * 4 : 0);
  static_assert(bytes % 16 == 0, "tables are copied 16 bytes at a time");
};

// A filter's spectrum: 16 bytes (four points, fp16) for each lane, tile, row block and unit. Tile `part + C j` holds, for
// C = 1, K[k] and, for C = 2, the even (part 0) or the odd (part 1) taps' spectrum. The points are those of a fragment:
// of rows g and g + 8, columns 2 (lane % 4) and the next of 16, at kq = fold_column(8 j + column).
template <class F>
struct Spectrum {
  static constexpr unsigned bytes = F::points * 4;
  static constexpr int entries = F::points / 4;
  DEVICE int entry(int unit, int row_block, int tile, int lane) {
    return ((unit * F::row_blocks + row_block) * F::tiles + tile) * 32 + lane;
  }
};
