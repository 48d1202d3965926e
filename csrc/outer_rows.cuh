// Rows of samples in device memory, seen through windows of 2M of them, and the planes that they become.
//
// A window is the row itself or, for a filter much shorter than the row, one of the tiles that overlap: tile t begins
// `lead` samples before sample t hop and answers for hop of them. What lies outside a row is zero, and is not read.
#pragma once

#include "arguments.cuh"
#include "outer_shape.cuh"

namespace outer {

using ptx::Bf16;
using ptx::Fp16;
struct Fp32 {};

template <class Number>
struct SampleOf {
  using Type = unsigned short;
};
template <>
struct SampleOf<Fp32> {
  using Type = float;
};

DEVICE float to_float(Fp32, float x) { return x; }
template <class Number>
DEVICE float to_float(Number, unsigned short x) { return ptx::unpack(Number(), x).x; }
DEVICE float rounded(Fp32, float x) { return x; }
template <class Number>
DEVICE unsigned short rounded(Number, float x) { return static_cast<unsigned short>(ptx::pack(Number(), x, 0.0f)); }

// What a thread works on: a row of the launch, seen through a tile, in a channel; and in it column n2.
struct Place {
  int row, item, tile, channel, n2, warp, lane;
};

// Opaque, lest what is worked out for one part of a kernel be kept for the next in registers that there are not.
template <class S>
DEVICE Place place_of(const OuterArguments& a) {
  const int thread = ptx::opaque(int(ptx::thread())), blocks = a.points / S::columns;
  const int block = int(ptx::block_x()), channel = block >> log2_of_power(blocks);
  const int first = (block & (blocks - 1)) * S::columns;
  const int row = int(ptx::block_y()), number = row + a.first_row;
  const int item = a.tiles == 1 ? number : number / a.tiles;  // a division takes longer than all else here
  return {row, item, number - item * a.tiles, channel, first + thread % S::columns, thread / 32, thread % 32};
}

// What the number of the channel is among all of the launch's rows.
DEVICE Index number_of(const OuterArguments& a, const Place& at) { return Index(at.row) * a.channels + at.channel; }

template <class Number>
DEVICE auto row_of(const void* tensor, Strides strides, const Place& at) {
  return static_cast<const typename SampleOf<Number>::Type*>(tensor) + at.item * strides.batch + at.channel * strides.channel;
}
template <class Number>
DEVICE auto row_of(void* tensor, Strides strides, const Place& at) {
  return static_cast<typename SampleOf<Number>::Type*>(tensor) + at.item * strides.batch + at.channel * strides.channel;
}

// The samples of a row that a thread's column can see, counted from its first one: from `begin` to before `end`.
struct Seen {
  int begin, end;

  // Whether all of the column is there, in the first half of the window or in both.
  template <class S>
  METHOD bool whole(int points, int halves) const {
    return begin <= 0 && (S::R * halves - 1) * points < end;
  }
};

// A column that begins with sample `start` of a row of so many samples, n2 samples behind the window's first.
DEVICE Seen seen(int start, int length, int span, int n2) {
  return {-start, span - n2 < length - start ? span - n2 : length - start};
}

// Calls visit(r, n1) for each register of the thread before the first DFT, or after the last one back.
template <class S, class Visit>
DEVICE void each_n1(int warp, Visit visit) {
  UNROLL
  for (int r = 0; r < S::held; ++r)
    visit(r, S::R1 > 1 ? r % S::R1 * S::R2 + warp * S::parts + r / S::R1 : r);
}

}  // namespace outer
