// Points change hands between the threads of a block, or of a warp, through shared memory.
#pragma once

#include "fft_complex.cuh"
#include "memory.cuh"
#include "single_shape.cuh"

namespace single {

using fft::Complex;

// Whole passes complex numbers in one go. Halved passes the real parts, then the imaginary ones: half the memory, three
// barriers instead of one. It is for devices on which the whole row does not fit, or fits only once.
enum class Cells { whole, halved };

template <class S, Cells CELLS>
DEVICE constexpr int exchange_bytes() {
  return S::cells * (CELLS == Cells::whole ? 8 : 4);
}

template <bool BLOCK>
DEVICE void barrier() {
  if constexpr (BLOCK) ptx::block_barrier();
  else ptx::warp_barrier();
}

// From the columns of one view to those of another. The cells a thread writes are those it read last, so nothing has to
// be waited for before.
template <class S, int FROM, int TO, Cells CELLS>
DEVICE void exchange(Complex (&v)[S::held], unsigned shared, int thread) {
  using From = View<S, FROM>;
  using To = View<S, TO>;
  constexpr bool block = FROM == 1 || TO == 1;
  constexpr int bytes = CELLS == Cells::whole ? 8 : 4;
  const unsigned from = shared + From::cell(From::column(thread)) * bytes;
  const unsigned to = shared + To::cell(To::column(thread)) * bytes;

  if constexpr (CELLS == Cells::whole) {
    UNROLL
    for (int r = 0; r < S::held; ++r) memory::store_shared(from + From::offset(r) * bytes, fft::pair(v[r]));
    barrier<block>();
    UNROLL
    for (int r = 0; r < S::held; ++r) v[r] = fft::complex(memory::load_shared<float2>(to + To::offset(r) * bytes));
  } else {
    UNROLL
    for (int r = 0; r < S::held; ++r) memory::store_shared(from + From::offset(r) * bytes, v[r].re);
    barrier<block>();
    UNROLL
    for (int r = 0; r < S::held; ++r) v[r].re = memory::load_shared<float>(to + To::offset(r) * bytes);
    barrier<block>();  // the imaginary parts take cells that others have read
    UNROLL
    for (int r = 0; r < S::held; ++r) memory::store_shared(from + From::offset(r) * bytes, v[r].im);
    barrier<block>();
    UNROLL
    for (int r = 0; r < S::held; ++r) v[r].im = memory::load_shared<float>(to + To::offset(r) * bytes);
  }
}

}  // namespace single
