// The short depthwise convolution where samples of one time lie together, of so few taps that all of a lane's stay in
// registers, and with them the samples that they see: each is read once, while the eight before it are worked on.
#pragma once

#include "short_channels.cuh"

namespace short_conv {

constexpr int times_of_few = 128;  // of a warp

// That the registers suffice for.
DEVICE constexpr int blocks_of_few(int taps, bool gated) { return taps <= 4 ? (gated ? 4 : 6) : gated ? 3 : 4; }

// y = post_gate (x pre_gate * k + bias). A warp does one tile of one batch item. There are at most TAPS taps.
template <class Number, int TAPS, bool PRE_GATE, bool POST_GATE, bool ALIGNED>
KERNEL(warps_of_channels * 32, blocks_of_few(TAPS, PRE_GATE || POST_GATE)) short_channels_few(ShortArguments a) {
  constexpr int each = Lanes<Number>::each;
  constexpr int groups = 1 + (TAPS + 6) / 8;  // of eight times: those of the outputs, and what their taps see before
  const Lane lane = lane_of<Number>(a);
  const int batch = int(lane.rest / a.tiles), begin = int(lane.rest % a.tiles) * times_of_few;
  if (batch >= a.batch || lane.present == 0) return;
  const auto columns = [&](const void* tensor, Strides strides) {
    return Columns<Number>::of(tensor, strides, batch, lane.channel, lane.present);
  };
  const Columns<Number> x = columns(a.x, a.x_strides), pre = columns(a.pre_gate, a.pre_strides);
  const Columns<Number> post = columns(a.side, a.side_strides), y = columns(a.y, a.y_strides);
  const int end = begin + times_of_few < a.out_length ? begin + times_of_few : a.out_length;
  const int oldest = begin + a.shift - (a.taps - 1), newest = end - 1 + a.shift;
  const int from = oldest < 0 ? 0 : oldest, to = newest + 1 < a.length ? newest + 1 : a.length;

  // Of eight times at a time: X[n] is window[r], in turn, and X[n - 8 i] the one that came i before.
  Times<Number> window[groups];
  UNROLL
  for (int i = 1; i < groups; ++i)
    load_times<Number, PRE_GATE, ALIGNED>(window[groups - i], x, pre, begin + a.shift - i * 8, from, to);
  unsigned words[times], gates[times];
  const auto send_for = [&](int n) {
    load_words<Number, ALIGNED>(words, x, n + a.shift, from, to);
    if constexpr (PRE_GATE) load_words<Number, ALIGNED>(gates, pre, n + a.shift, from, to);
  };
  send_for(begin);
  float w[TAPS][each], bias[each];
  UNROLL
  for (int c = 0; c < each; ++c) {
    bias[c] = a.bias ? memory::load_if(c < lane.present, a.bias + lane.channel + c) : 0.0f;
    UNROLL
    for (int q = 0; q < TAPS; ++q)
      w[q][c] = memory::load_if(q < a.taps && c < lane.present, a.k + (Index(q) * a.channels + lane.channel + c));
  }

  const Bits<Number>* to_write = y.at(begin);
  NO_UNROLL
  for (int first = begin; first < end; first += groups * times) {
    UNROLL
    for (int r = 0; r < groups; ++r) {
      const int n = first + r * times;
      if (n >= end) break;
      unpack<Number>(window[r], words);
      if constexpr (PRE_GATE) multiply<Number>(window[r], gates);
      send_for(n + times);
      unsigned factors[times];
      if constexpr (POST_GATE) load_words<Number, ALIGNED>(factors, post, n, 0, end);
      Times<Number> s;
      UNROLL
      for (int i = 0; i < times; ++i)
        UNROLL for (int c = 0; c < each; ++c) s[i][c] = bias[c];
      UNROLL
      for (int q = 0; q < TAPS; ++q) {
        UNROLL
        for (int i = 0; i < times; ++i) {
          const int back = (q - i + 7) / 8;  // groups from X[n + i] to X[n + i - q]
          const auto& of = window[(r + groups - back) % groups][(i - q) & 7];
          UNROLL
          for (int c = 0; c < each; ++c) s[i][c] = fmaf(w[q][c], of[c], s[i][c]);
        }
      }
      if constexpr (POST_GATE) multiply<Number>(s, factors);
      UNROLL
      for (int i = 0; i < times; ++i, to_write += y.step) y.template store_if<ALIGNED>(n + i < end, s[i], to_write);
    }
  }
}

}  // namespace short_conv
