// Planes in device memory: rows of frequency k1 one behind the other, I points each.
//
// In single precision a row has its real parts first and then the imaginary ones, 2 I numbers that the kernels of short
// rows take for samples of the fold. In half precision a point is a word of two fp16 numbers, at the level of its tile
// when it goes into the inner convolution, of its row when it comes out: see PlaneArguments.
#pragma once

#include "outer_rows.cuh"

namespace outer {

template <class S>
DEVICE int first_k1(const Place& at) { return S::R1 > 1 ? at.warp : 0; }

// The power of two that the points of a tile are divided by, for parts below 2^4; 0 where all are 0.
template <class S>
DEVICE float scale_of_tile(const Complex (&v)[S::held], const Place& at) {
  unsigned peak = 0;
  UNROLL
  for (int r = 0; r < S::held; ++r) {
    const unsigned re = ptx::as_unsigned(fabsf(v[r].re)), im = ptx::as_unsigned(fabsf(v[r].im));
    const unsigned larger = re > im ? re : im;  // magnitudes are ordered like their bits
    peak = peak > larger ? peak : larger;
  }
  peak = ptx::maximum_over_warp(peak);
  if constexpr (S::R1 > 1) {  // a tile is a block's: each of its warps has some of the frequencies
    const unsigned peaks = memory::shared_base() + S::exchange_bytes;
    if (at.lane == 0) memory::store_shared(peaks + at.warp * 4, peak);
    ptx::block_barrier();
    peak = ptx::maximum_over_warp(memory::load_shared<unsigned>(peaks + at.lane % S::R1 * 4));
  }
  const int power = int(peak >> 23) - 127 - 3;
  return peak == 0 ? 0.0f : ptx::as_float(unsigned(127 + (power < -126 ? -126 : power)) << 23);
}

template <class S, Planes PLANES>
DEVICE void store_planes(const Complex (&v)[S::held], const OuterArguments& a, const Place& at) {
  const Index row = number_of(a, at) * S::R + first_k1<S>(at);
  if constexpr (PLANES == Planes::single) {
    float* to = ptx::opaque(static_cast<float*>(a.planes) + row * (2 * a.points) + at.n2);
    UNROLL
    for (int d = 0; d < S::R2; ++d) {
      float* point = to + Index(d * S::R1) * (2 * a.points);
      memory::store(point, v[d].re);
      memory::store(point + a.points, v[d].im);
    }
  } else {
    const float scale = scale_of_tile<S>(v, at);
    const float inverse = ptx::as_float((254u << 23) - ptx::as_unsigned(scale));
    unsigned* to = ptx::opaque(static_cast<unsigned*>(a.planes) + row * a.points + at.n2);
    UNROLL
    for (int d = 0; d < S::R2; ++d)
      memory::store(to + Index(d * S::R1) * a.points, ptx::pack(Fp16(), inverse * v[d].re, inverse * v[d].im));
    if (at.lane == 0 && first_k1<S>(at) == 0)
      memory::store(a.tile_scales + number_of(a, at) * (a.points / 32) + at.n2 / 32, scale);
  }
}

template <class S, Planes PLANES>
DEVICE void load_planes(Complex (&v)[S::held], const OuterArguments& a, const Place& at) {
  const Index row = number_of(a, at) * S::R + first_k1<S>(at);
  if constexpr (PLANES == Planes::single) {
    const float* from = ptx::opaque(static_cast<const float*>(a.planes) + row * (2 * a.points) + at.n2);
    UNROLL
    for (int d = 0; d < S::R2; ++d) {
      const float* point = from + Index(d * S::R1) * (2 * a.points);
      v[d] = {memory::load(point), memory::load(point + a.points)};
    }
  } else {
    const unsigned* from = ptx::opaque(static_cast<const unsigned*>(a.planes) + row * a.points + at.n2);
    const float* scales = ptx::opaque(a.row_scales + row);
    UNROLL
    for (int d = 0; d < S::R2; ++d) {
      const float2 point = ptx::unpack(Fp16(), memory::load(from + Index(d * S::R1) * a.points));
      const float scale = memory::load(scales + d * S::R1);
      v[d] = {scale * point.x, scale * point.y};
    }
  }
}

}  // namespace outer
