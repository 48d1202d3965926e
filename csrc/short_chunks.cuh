// What a warp works on: a chunk of a channel's tiles, and the channel's taps.
#pragma once

#include "short_tile.cuh"

namespace short_conv {

constexpr int warps = 4;  // of a block, each on its own

// What comes with y: nothing, its gate, or the input whose products with x are summed.
enum class Side { none, gate, input };

struct Chunk {
  int channel, number;
};

DEVICE Chunk chunk_of_warp(const ShortArguments& a) {
  const unsigned warp = ptx::block_x() * warps + ptx::thread() / 32;
  const unsigned rest = warp / a.chunks_together;
  return {int(rest % a.channels), int(rest / a.channels * a.chunks_together + warp % a.chunks_together)};
}

template <class Number>
DEVICE const Bits<Number>* row_of(const void* tensor, Strides strides, int batch, int channel) {
  return static_cast<const Bits<Number>*>(tensor) + (batch * strides.batch + channel * strides.channel);
}

// Tiles of a channel are numbered through its batch items. They are less than 2^31: the host sees to it.
DEVICE unsigned first_tile(const ShortArguments& a, Chunk chunk) { return unsigned(chunk.number) * a.tiles_per_chunk; }

DEVICE unsigned end_of_tiles(const ShortArguments& a, Chunk chunk) {
  const unsigned end = first_tile(a, chunk) + a.tiles_per_chunk, every = unsigned(a.batch) * a.tiles;
  return end < every ? end : every;
}

// One of a channel's tiles; the next one is found without a division.
struct Cursor {
  unsigned number;
  int batch, of_item;  // the batch item, and the tile's number among its own

  DEVICE Cursor at(const ShortArguments& a, unsigned number) {
    return {number, int(number / a.tiles), int(number % a.tiles)};
  }

  METHOD void advance(const ShortArguments& a) {
    ++number;
    if (++of_item == a.tiles) of_item = 0, ++batch;
  }

  METHOD int begin(const ShortArguments& a) const { return a.first + of_item * tile; }  // in the time of x
};

// `slots` numbers in shared memory: taps in the order of lags from number `first` on, zeros elsewhere.
DEVICE void place_taps(const ShortArguments& a, unsigned to, int channel, int first, int slots, int lane) {
  const float* k = a.k + Index(channel / a.channels_per_filter) * a.taps;
  for (int slot = lane; slot < slots; slot += 32) {
    const int j = slot - first;
    memory::store_shared(to + slot * 4, memory::load_if(j >= 0 && j < a.taps, k + (a.reversed ? a.taps - 1 - j : j)));
  }
}

}  // namespace short_conv
