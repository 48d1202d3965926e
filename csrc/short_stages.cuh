// The tiles of a warp's chunk, one after the other: while one is worked on, the next ones are on their way.
#pragma once

#include "short_chunks.cuh"

namespace short_conv {

constexpr int stages = 3;  // tiles in shared memory

// Of a tile: x from `WINDOW - tile` samples at most before it, its gate, and what stands at y's place.
template <class Number, int WINDOW, int SIDE, int SPREAD, bool PRE_GATE, bool WITH_SIDE>
struct Stages {
  using Samples = Tile<Number, SPREAD>;
  static constexpr unsigned window_bytes = Samples::bytes(WINDOW), side_bytes = Samples::bytes(SIDE);
  static constexpr unsigned stage_bytes = window_bytes * (PRE_GATE ? 2 : 1) + side_bytes;
  static constexpr unsigned bytes = stages * stage_bytes;
  static constexpr int copies = 1 + PRE_GATE + WITH_SIDE;  // groups of a tile, also of one that there is not

  struct Stage {
    Samples side, window, gates;
  };

  unsigned base;
  unsigned first, end;  // tiles of the chunk

  METHOD Stage stage_of(unsigned number) const {
    const unsigned at = base + (number - first) % stages * stage_bytes;
    return {{at}, {at + side_bytes}, {at + side_bytes + window_bytes}};
  }

  template <bool ALIGNED>
  METHOD void fetch(const ShortArguments& a, int channel, unsigned number, int before, int side_samples, int lane) const {
    if (number >= end) {
      for (int i = 0; i < copies; ++i) ptx::async_commit();
      return;
    }
    const Stage stage = stage_of(number);
    const int batch = int(number / a.tiles), at = a.first + int(number % a.tiles) * tile;
    stage.window.template fetch<ALIGNED>(
        row_of<Number>(a.x, a.x_strides, batch, channel), at - before, tile + before, a.length, lane);
    if constexpr (PRE_GATE)
      stage.gates.template fetch<ALIGNED>(
          row_of<Number>(a.pre_gate, a.pre_strides, batch, channel), at - before, tile + before, a.length, lane);
    if constexpr (WITH_SIDE)
      stage.side.template fetch<ALIGNED>(
          row_of<Number>(a.side, a.side_strides, batch, channel), at - a.shift, side_samples, a.out_length, lane);
  }

  template <bool ALIGNED>
  METHOD void begin(const ShortArguments& a, int channel, int before, int side_samples, int lane) const {
    for (int i = 0; i + 1 < stages; ++i) fetch<ALIGNED>(a, channel, first + i, before, side_samples, lane);
  }

  // The stage of a tile, complete and with its gate applied to x, which that rounds; another tile is sent for. What was
  // read of the tile before, all lanes have read.
  template <bool ALIGNED>
  METHOD Stage next(const ShortArguments& a, int channel, unsigned number, int before, int side_samples, int lane) const {
    fetch<ALIGNED>(a, channel, number + stages - 1, before, side_samples, lane);
    ptx::async_wait<copies * (stages - 1)>();
    const Stage stage = stage_of(number);
    if constexpr (PRE_GATE) {
      if constexpr (!ALIGNED) ptx::warp_barrier();  // the words of a piece come by several lanes
      for (int piece = lane; piece < (tile + before) / 8; piece += 32) {
        float x[8], gate[8];
        stage.window.load_group(x, piece);
        stage.gates.load_group(gate, piece);
        UNROLL
        for (int i = 0; i < 8; ++i) x[i] *= gate[i];
        stage.window.store_group(x, piece);
      }
    }
    ptx::warp_barrier();
    return stage;
  }
};

}  // namespace short_conv
