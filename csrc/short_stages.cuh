// The tiles of a warp's chunk, one after the other: while one is worked on, the next ones are on their way.
#pragma once

#include "short_chunks.cuh"

namespace short_conv {

constexpr int stages = 3;  // tiles in shared memory

// Of a tile: `WINDOW` samples of x to its end, as many of its gate, and `SIDE` samples from y's place on.
// EXACT: what rounding takes from x with its gate applied stands in the gate's place.
template <class Number, int WINDOW, int SIDE, int SPREAD, bool PRE_GATE, bool WITH_SIDE, bool EXACT = false>
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
  int channel;
  unsigned end;             // of the chunk's tiles
  Cursor ahead;             // the tile to send for
  unsigned to = 0, of = 0;  // in bytes, the stages of that tile and of the next that is worked on

  METHOD Stage take(unsigned& offset) const {
    const unsigned at = base + offset;
    offset = offset == bytes - stage_bytes ? 0 : offset + stage_bytes;
    return {{at}, {at + side_bytes}, {at + side_bytes + window_bytes}};
  }

  template <bool ALIGNED>
  METHOD void fetch(const ShortArguments& a, int lane) {
    if (ahead.number >= end) {
      for (int i = 0; i < copies; ++i) ptx::async_commit();
      return;
    }
    const Stage stage = take(to);
    const int batch = ahead.batch, at = ahead.begin(a);
    stage.window.template fetch<ALIGNED>(
        row_of<Number>(a.x, a.x_strides, batch, channel), at + tile - WINDOW, WINDOW, a.length, lane);
    if constexpr (PRE_GATE)
      stage.gates.template fetch<ALIGNED>(
          row_of<Number>(a.pre_gate, a.pre_strides, batch, channel), at + tile - WINDOW, WINDOW, a.length, lane);
    if constexpr (WITH_SIDE)
      stage.side.template fetch<ALIGNED>(
          row_of<Number>(a.side, a.side_strides, batch, channel), at - a.shift, SIDE, a.out_length, lane);
    ahead.advance(a);
  }

  template <bool ALIGNED>
  METHOD void begin(const ShortArguments& a, int lane) {
    for (int i = 0; i + 1 < stages; ++i) fetch<ALIGNED>(a, lane);
  }

  // The stage of the next tile, complete and with its gate applied to x, which that rounds; another tile is sent for.
  // What was read of the tile before, all lanes have read.
  template <bool ALIGNED>
  METHOD Stage next(const ShortArguments& a, int lane) {
    fetch<ALIGNED>(a, lane);
    ptx::async_wait<copies * (stages - 1)>();
    const Stage stage = take(of);
    if constexpr (PRE_GATE) {
      if constexpr (!ALIGNED) ptx::warp_barrier();  // the words of a piece come by several lanes
      for (int piece = lane; piece < WINDOW / 8; piece += 32) {
        float x[8], gate[8];
        stage.window.load_group(x, piece);
        stage.gates.load_group(gate, piece);
        UNROLL
        for (int i = 0; i < 8; ++i) x[i] *= gate[i];
        stage.window.store_group(x, piece);
        if constexpr (EXACT) {
          from_piece<Number>(gate, 0, to_piece<Number>(x, 0));
          UNROLL
          for (int i = 0; i < 8; ++i) x[i] -= gate[i];
          stage.gates.store_group(x, piece);
        }
      }
    }
    ptx::warp_barrier();
    return stage;
  }
};

}  // namespace short_conv
