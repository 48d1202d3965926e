// Which units of inner transforms a convolution keeps, where it is frequency-sparse.
//
// The mask is of bins, in their natural order. A unit (some neighbouring k1; of a warp's row, 16 of its kp) none of whose
// bins is kept is passed over: it is left out of the inner transforms, and where all of 16 rows of the outermost DFT are,
// so are they. In a unit of which some bins are kept the others are zeros of the filter's spectrum (single_filter.cuh).
#pragma once
#include "half_dft.cuh"

// All are kept.
template <class F, int WARPS, bool SPARSE>
struct Mask {
  DEVICE Mask load(const unsigned char*, int) { return {}; }
  DEVICE void put(unsigned, int) {}
  DEVICE Mask get(unsigned) { return {}; }
  DEVICE unsigned blocks() { return ~0u; }
  template <class Matrix>
  DEVICE Matrix only_kept(const Matrix& matrix, int) { return matrix; }
  // Of a warp's units the first, and the one after another; F::units or a higher number where there is none.
  DEVICE int first_unit(int warp, int) { return warp; }
  DEVICE int next_unit(int unit, int) { return unit + WARPS; }
};

template <class F, int WARPS>
struct Mask<F, WARPS, true> {
  static constexpr int rows_of_unit = F::n1 > 1 ? F::stack : 16;
  static constexpr int bands = 16;  // neighbouring bins that are kept together
  unsigned rows;                    // of the outermost DFT's frequencies, a bit for each that is kept

  DEVICE Mask load(const unsigned char* kept, int lane) {
    unsigned any = 0;
    UNROLL for (int band = 0; band < bands; band++)
      if (lane < F::first) any |= memory::load(kept + lane / rows_of_unit * rows_of_unit + band * (F::points / bands));
    Mask mask{any ? 1u << lane : 0u};
    UNROLL for (int other = 1; other < 32; other *= 2) mask.rows |= ptx::shuffle_xor(mask.rows, other);
    return mask;
  }
  // In shared memory, where there is no register for what all warps have in common: put there, and taken after a barrier.
  METHOD void put(unsigned at, int thread) const {
    if (thread == 0) memory::store_shared(at, rows);
  }
  DEVICE Mask get(unsigned at) { return {memory::load_shared<unsigned>(at)}; }
  // Of 16 rows of the outermost DFT, a bit for each that has any.
  METHOD unsigned blocks() const { return (rows & 0xffffu ? 1u : 0u) | (rows >> 16 ? 2u : 0u); }
  // The outermost DFT's matrix as it is multiplied with on the way back, without the columns of what was passed over.
  template <int N>
  METHOD RowMatrix<N> only_kept(RowMatrix<N> matrix, int lane) const {
    UNROLL for (int step = 0; step < N / 16; step++) {
      const unsigned low = both(rows >> (16 * step + lane % 4 * 2)), high = both(rows >> (16 * step + lane % 4 * 2 + 8));
      clear(matrix.re[step], low, high);
      clear(matrix.im[step], low, high);
    }
    return matrix;
  }
  // Kept units are dealt to the warps in turn, so that all have as much to do.
  METHOD int first_unit(int warp, int lane) const { return kept_unit(warp, lane); }
  METHOD int next_unit(int unit, int lane) const { return kept_unit(units_below(unit * rows_of_unit) + WARPS, lane); }

 private:
  METHOD int units_below(int row) const { return ptx::count_bits(rows & ((1u << row) - 1)) / rows_of_unit; }
  METHOD int kept_unit(int number, int lane) const {
    const bool found = (rows >> lane & 1) && units_below(lane) == number;
    return (32 - static_cast<int>(ptx::maximum_over_warp(found ? 32 - lane : 0))) / rows_of_unit;  // 32 where no lane has it
  }
  // A pair of 16-bit numbers' bits, from two.
  DEVICE unsigned both(unsigned bits) { return (bits & 1 ? 0xffffu : 0u) | (bits & 2 ? 0xffff0000u : 0u); }
  DEVICE void clear(uint4& x, unsigned low, unsigned high) { x.x &= low, x.y &= low, x.z &= high, x.w &= high; }
};
