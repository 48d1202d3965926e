// Rows of complex points between device memory and fragments: PlaneArguments says what they are.
//
// As in half_rows.cuh rows come by asynchronous copies, one ahead of the row that is computed, and results go out directly.
#pragma once
#include "half_forward.cuh"

// The channel and batch items of this block, and the row of the long transform that its channel is of.
struct PlaneRows : Rows {
  int source, sources;
};
DEVICE Index filter_of_channel(const PlaneArguments& a, int source, int channel) {
  return source / a.channels_per_filter * a.planes_per_row + channel % a.planes_per_row;
}
DEVICE PlaneRows plane_rows_of_block(const PlaneArguments& a) {
  PlaneRows r;
  r.channel = static_cast<int>(ptx::block_x());
  r.first = static_cast<int>(ptx::block_y()) * a.rows_per_block;
  r.end = r.first + a.rows_per_block < a.batch ? r.first + a.rows_per_block : a.batch;
  r.source = r.channel / a.planes_per_row, r.sources = a.channels / a.planes_per_row;
  const Index filter = filter_of_channel(a, r.source, r.channel);
  r.filter = r.first * a.filter_strides.batch + filter * a.filter_strides.channel;
  return r;
}
DEVICE const unsigned* points_of(const void* planes, Strides strides, int item, int channel) {
  return static_cast<const unsigned*>(planes) + item * strides.batch + channel * strides.channel;
}
DEVICE unsigned* points_of(void* planes, Strides strides, int item, int channel) {
  return static_cast<unsigned*>(planes) + item * strides.batch + channel * strides.channel;
}
template <class F>
DEVICE const float* tile_scales(const float* scales, int item, int source, int sources) {
  return scales + (static_cast<Index>(item) * sources + source) * (F::points / 32);
}
// What is wanted once a row, in shared memory for want of registers.
struct KeptOfRows {
  static constexpr unsigned bytes = 16;
  unsigned base;
  METHOD void put(const PlaneArguments& a, const PlaneRows& rows) const {  // by one thread; a barrier is the caller's
    const unsigned scale = ptx::as_unsigned(memory::load(a.spectrum_scale + rows.filter));
    memory::store_shared(base, make_uint4(scale, rows.source, rows.sources, 0));
  }
  METHOD float filter_scale() const { return memory::load_shared<float>(base); }
  template <class F>
  METHOD const float* tile_scales_of(const float* scales, int item) const {
    const uint4 kept = memory::load_shared<uint4>(base);
    return tile_scales<F>(scales, item, kept.y, kept.z);
  }
};

// ---- in

// As samples of 16 bits a row of complex points is twice as long, and so is all of it.
template <class F>
struct Words {
  static constexpr int n1 = F::n1, points = 2 * F::points, stride = 2 * F::stride, tiles = 2 * F::tiles;
};

// A row in shared memory with the scales of its tiles, brought there by THREADS threads.
//
// A row's level is the largest scale of its tiles, and its tiles enter the transform at that: multiplied by powers of two
// up to 1, which leaves the parts below 2^4. The norm of M such points is below 2^4.5 sqrt(M), 2^11.5 for 16K of them. Every
// stage is unitary, so no number of any is larger than that, and none after the product with a spectrum whose parts are
// below 2 larger than 2^13.
template <class F, int THREADS>
struct PlaneInput {
  using Row = Staging<Words<F>, THREADS, true>;
  static constexpr int tiles = F::points / 32;
  static constexpr unsigned scale_bytes = tiles * 4;
  static_assert(tiles <= THREADS, "a thread brings one scale at most");
  Row row;
  unsigned scales;  // where they are

  // Mixed, so that those of a fragment's rows are in banks of their own.
  DEVICE unsigned place(int tile) { return (tile ^ (tile / 32 & 3)) * 4; }
  METHOD void copy(const unsigned* points, const float* tile_scales, int thread) const {
    row.copy(reinterpret_cast<const Sample*>(points), Words<F>::points, thread);
    if (thread < tiles) ptx::async_copy<4>(scales + place(thread), tile_scales + thread);
    ptx::async_commit();
  }
  // Waits for what this thread copied. Returns what its scale is among those of the row for GroupPeaks: powers of two are
  // ordered like the upper half of their bits.
  METHOD unsigned arrive(int thread) const {
    ptx::async_wait<0>();
    return thread < tiles ? memory::load_shared<unsigned>(scales + place(thread)) >> 16 : 0;
  }
  // Columns of the matrix from `column` on, as data of the first DFT, with 1 / level.
  METHOD void load(ComplexRows<F::first / 8, F::tiles>& x, float inverse, int column, int lane) const {
    const int first = 2 * (lane % 4) * F::stride + column;
    UNROLL for (int block = 0; block < F::first / 8; block++) {
      unsigned even[F::tiles], odd[F::tiles];
      row.runs(even, odd, block, 2 * column, lane);
      const unsigned scale = ptx::pack(Fp16(), of_tile((8 * block * F::stride + first) / 32) * inverse,
                                       of_tile(((8 * block + 1) * F::stride + first) / 32) * inverse);
      UNROLL for (int j = 0; j < F::tiles; j++) {
        x.re[block][j] = ptx::multiply(Fp16(), ptx::permute_bytes(even[j], odd[j], 0x5410), scale);
        x.im[block][j] = ptx::multiply(Fp16(), ptx::permute_bytes(even[j], odd[j], 0x7632), scale);
      }
    }
  }
  METHOD float of_tile(int tile) const { return memory::load_shared<float>(scales + place(tile)); }
};
// The level of a row from the largest of what `arrive` returned, and 1 / level. A row of zeros alone has the level 0.
DEVICE float plane_level(unsigned peaks) { return ptx::as_float((peaks & 0xffff) << 16); }
DEVICE float inverse_of(float power_of_two) { return ptx::as_float((254u << 23) - ptx::as_unsigned(power_of_two)); }

// ---- out

// What a lane holds of rows g and g + 8 of the last matrix: runs of 2 * TILES points.
template <int TILES>
struct PointRuns {
  unsigned word[2][2 * TILES];
};
template <class F>
DEVICE PointRuns<F::tiles> last_dft_of_points(const RowMatrix<F::first>& a, const ComplexRows<F::first / 8, F::tiles>& x) {
  PointRuns<F::tiles> y;
  UNROLL for (int j = 0; j < F::tiles; j++) {
    const Accumulators d = complex_dft_of_rows<true>(a, x, j);
    UNROLL for (int i = 0; i < 4; i++) y.word[i >> 1][(i & 1) * F::tiles + j] = ptx::pack(Fp16(), d.re[i], d.im[i]);
  }
  return y;
}
// Where a lane stores. Runs of 32 bytes go out in two accesses, the lanes of a pair side by side in the sectors of the one
// and then of the other.
template <class F>
DEVICE int first_point(int column, int lane) {
  return F::tiles == 2 ? first_run<F>(column, lane) : first_run<F>(column, lane & ~1) + (lane & 1) * 4;
}
// `to` is the lane's first point of row g of block 0.
template <class F>
DEVICE void store_points(unsigned* to, int block, const PointRuns<F::tiles>& y, int lane) {
  UNROLL for (int half = 0; half < 2; half++) {
    uint4* at = reinterpret_cast<uint4*>(to + further_run<F>(block, half));
    const unsigned(&own)[2 * F::tiles] = y.word[half];
    if constexpr (F::tiles == 2) {
      memory::store(at, make_uint4(own[0], own[1], own[2], own[3]));
    } else {
      const bool odd = lane & 1;
      unsigned low[4], high[4];
      UNROLL for (int i = 0; i < 4; i++) {
        const unsigned got = ptx::shuffle_xor(odd ? own[i] : own[4 + i], 1);
        low[i] = odd ? got : own[i], high[i] = odd ? own[4 + i] : got;
      }
      memory::store(at, make_uint4(low[0], low[1], low[2], low[3]));
      memory::store(at + 2, make_uint4(high[0], high[1], high[2], high[3]));
    }
  }
}
