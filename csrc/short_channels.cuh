// The short depthwise convolution where samples of one time lie together, channel by channel, and its gradients.
//
// A lane has one channel, or two in 16 bits, and eight times at a time; a warp's lanes lie side by side, so that every
// access is dense and nothing is exchanged. What windows have in common comes from the first-level cache. Taps are
// (taps, channels), in the order of lags: s[i] = sum_q k[q] x[i + shift - q].
#pragma once

#include "short_samples.cuh"

namespace short_conv {

constexpr int times = 8;          // of a lane at a time
constexpr int times_of_tile = 64; // of a warp
constexpr int warps_of_channels = 4;

template <class Number>
struct Lanes {
  static constexpr int each = sizeof(Bits<Number>) == 2 ? 2 : 1;  // channels of a lane
  static constexpr int channels = 32 * each;                      // of a warp
};

// The samples of a lane's channels at one time.
template <class Number>
struct Columns {
  static constexpr int each = Lanes<Number>::each;
  const Bits<Number>* first;  // at time 0
  Index step;                 // from one time to the next
  int present;                // channels that there are, of a lane's

  DEVICE Columns of(const void* tensor, Strides strides, int batch, int channel, int present) {
    return {static_cast<const Bits<Number>*>(tensor) + (batch * strides.batch + channel), strides.channel, present};
  }

  METHOD const Bits<Number>* at(int n) const { return first + n * step; }

  template <bool ALIGNED>
  METHOD unsigned load(const Bits<Number>* at) const {
    if constexpr (ALIGNED || each == 1) return memory::load(reinterpret_cast<const unsigned*>(at));
    else return memory::load(at) | memory::load_if(present > 1, at + 1) << 16;
  }

  // Sums are not put off to behind the condition: there would be one branch after the other.
  template <bool ALIGNED>
  METHOD void store_if(bool condition, const float (&v)[each], const Bits<Number>* place) const {
    auto* at = const_cast<Bits<Number>*>(place);
    unsigned word;
    if constexpr (each == 2) word = ptx::pack(Number(), v[0], v[1]);
    else word = ptx::as_unsigned(v[0]);
    word = ptx::opaque(word);
    if constexpr (ALIGNED || each == 1) {
      memory::store_if(condition, reinterpret_cast<unsigned*>(at), word);
    } else {
      memory::store_if(condition, at, Bits<Number>(word));
      memory::store_if(condition && present > 1, at + 1, Bits<Number>(word >> 16));
    }
  }
};

template <class Number>
using Times = float[times][Lanes<Number>::each];

// Times n to n + 7, of which those from `from` to `to` - 1 are read, and zeros for the others. Where all are, no branch
// stands between the loads, which are then under way together.
template <class Number, bool ALIGNED>
DEVICE void load_words(unsigned (&words)[times], Columns<Number> x, int n, int from, int to) {
  const Bits<Number>* at = x.at(n);
  if (n >= from && n + times <= to) {
    UNROLL
    for (int i = 0; i < times; ++i, at += x.step) words[i] = x.template load<ALIGNED>(at);
  } else {
    UNROLL
    for (int i = 0; i < times; ++i) {
      words[i] = 0;
      if (n + i >= from && n + i < to) words[i] = x.template load<ALIGNED>(at + i * x.step);
    }
  }
}

template <class Number>
DEVICE void unpack(Times<Number>& v, const unsigned (&words)[times]) {
  UNROLL
  for (int i = 0; i < times; ++i) {
    const float2 x = of_word(Number(), words[i]);
    v[i][0] = x.x;
    if constexpr (Lanes<Number>::each == 2) v[i][1] = x.y;
  }
}

template <class Number>
DEVICE void multiply(Times<Number>& v, const unsigned (&words)[times]) {
  Times<Number> gate;
  unpack<Number>(gate, words);
  UNROLL
  for (int i = 0; i < times; ++i)
    UNROLL for (int c = 0; c < Lanes<Number>::each; ++c) v[i][c] *= gate[i][c];
}

template <class Number, bool GATED, bool ALIGNED>
DEVICE void load_times(Times<Number>& v, Columns<Number> x, Columns<Number> gate, int n, int from, int to) {
  unsigned words[times], gates[times];
  load_words<Number, ALIGNED>(words, x, n, from, to);
  if constexpr (GATED) load_words<Number, ALIGNED>(gates, gate, n, from, to);
  unpack<Number>(v, words);
  if constexpr (GATED) multiply<Number>(v, gates);
}

// Eight taps of a lane's channels from number q on, zeros beyond the last.
template <class Number, bool ALIGNED>
DEVICE void load_taps(Times<Number>& w, const ShortArguments& a, int channel, int present, int q) {
  const float* at = a.k + (Index(q) * a.channels + channel);
  UNROLL
  for (int j = 0; j < times; ++j)
    UNROLL for (int c = 0; c < Lanes<Number>::each; ++c)
      w[j][c] = memory::load_if(q + j < a.taps && (ALIGNED || c < present), at + Index(j) * a.channels + c);
}

// Of a block's warp: its number, its first channel's, and how many of its lane's channels there are.
struct Lane {
  unsigned rest;  // the warp's number among those of the same channels
  int channel, present;
};

template <class Number>
DEVICE Lane lane_of(const ShortArguments& a) {
  constexpr int each = Lanes<Number>::each;
  const unsigned warp = ptx::block_x() * warps_of_channels + ptx::thread() / 32;
  const unsigned sets = (a.channels + Lanes<Number>::channels - 1) / Lanes<Number>::channels;
  const int channel = int(warp % sets) * Lanes<Number>::channels + int(ptx::thread() % 32) * each;
  const int left = a.channels - channel;
  return {warp / sets, channel, left < 0 ? 0 : left < each ? left : each};
}

// y = post_gate (x pre_gate * k + bias). A warp does one tile of one batch item.
template <class Number, bool PRE_GATE, bool POST_GATE, bool ALIGNED>
KERNEL(warps_of_channels * 32, 4) short_channels(ShortArguments a) {
  constexpr int each = Lanes<Number>::each;
  const Lane lane = lane_of<Number>(a);
  const int batch = int(lane.rest / a.tiles), begin = int(lane.rest % a.tiles) * times_of_tile;
  if (batch >= a.batch || lane.present == 0) return;
  const auto columns = [&](const void* tensor, Strides strides) {
    return Columns<Number>::of(tensor, strides, batch, lane.channel, lane.present);
  };
  const Columns<Number> x = columns(a.x, a.x_strides), pre = columns(a.pre_gate, a.pre_strides);
  const Columns<Number> post = columns(a.side, a.side_strides), y = columns(a.y, a.y_strides);
  float bias[each];
  UNROLL
  for (int c = 0; c < each; ++c) bias[c] = a.bias ? memory::load_if(c < lane.present, a.bias + lane.channel + c) : 0.0f;

  const int end = begin + times_of_tile < a.out_length ? begin + times_of_tile : a.out_length;
  const int groups = (a.taps + 7) / 8;
  // The first and the last sample that this tile's outputs need.
  const int oldest = begin + a.shift - (a.taps - 1), newest = end - 1 + a.shift;
  const int from = oldest < 0 ? 0 : oldest, to = newest + 1 < a.length ? newest + 1 : a.length;
  NO_UNROLL
  for (int first = begin; first < end; first += times) {
    Times<Number> s, window[2];
    UNROLL
    for (int i = 0; i < times; ++i)
      UNROLL for (int c = 0; c < each; ++c) s[i][c] = bias[c];
    load_times<Number, PRE_GATE, ALIGNED>(window[0], x, pre, first + a.shift, from, to);
    NO_UNROLL
    for (int b = 0; b < groups; b += 2) {
      UNROLL
      for (int r = 0; r < 2; ++r) {
        if (b + r >= groups) break;
        load_times<Number, PRE_GATE, ALIGNED>(window[1 - r], x, pre, first + a.shift - (b + r + 1) * 8, from, to);
        Times<Number> w;
        load_taps<Number, ALIGNED>(w, a, lane.channel, lane.present, (b + r) * 8);
        UNROLL
        for (int j = 0; j < 8; ++j) {
          if ((b + r) * 8 + j >= a.taps) break;
          UNROLL
          for (int c = 0; c < each; ++c)
            UNROLL for (int i = 0; i < times; ++i)
              s[i][c] = fmaf(w[j][c], i >= j ? window[r][i - j][c] : window[1 - r][i - j + 8][c], s[i][c]);
        }
      }
    }
    if constexpr (POST_GATE) {
      unsigned gates[times];
      load_words<Number, ALIGNED>(gates, post, first, 0, end);
      multiply<Number>(s, gates);
    }
    UNROLL
    for (int i = 0; i < times; ++i)
      y.template store_if<ALIGNED>(first + i < end, s[i], y.at(first) + i * y.step);
  }
}

// With g = x pre_gate, y's gradient, and u the input as `side` (which here has `length` samples, and x `out_length`),
//
//   dk[q] = sum_i g[i] u[i + shift - q],    dbias = sum_i g[i].
//
// A warp does eight q of one chunk of its channels. Sums: (chunk, slots, channel), the bias behind the taps.
template <class Number, bool PRE_GATE, bool ALIGNED>
KERNEL(warps_of_channels * 32, PRE_GATE ? 3 : 4) short_channels_sums(ShortArguments a) {
  constexpr int each = Lanes<Number>::each;
  const Lane lane = lane_of<Number>(a);
  const int groups = (a.taps + 7) / 8, chunk = int(lane.rest / groups), q = int(lane.rest % groups) * 8;
  if (chunk >= a.chunks || lane.present == 0) return;
  float products[8][each] = {}, total[each] = {};
  const unsigned first_tile = unsigned(chunk) * a.tiles_per_chunk, every = unsigned(a.batch) * a.tiles;
  const unsigned end_tile = first_tile + a.tiles_per_chunk < every ? first_tile + a.tiles_per_chunk : every;
  NO_UNROLL
  for (unsigned tile = first_tile; tile < end_tile; ++tile) {
    const int batch = int(tile / a.tiles), begin = int(tile % a.tiles) * times_of_tile;
    const int end = begin + times_of_tile < a.out_length ? begin + times_of_tile : a.out_length;
    const auto columns = [&](const void* tensor, Strides strides) {
      return Columns<Number>::of(tensor, strides, batch, lane.channel, lane.present);
    };
    const Columns<Number> x = columns(a.x, a.x_strides), pre = columns(a.pre_gate, a.pre_strides);
    const Columns<Number> u = columns(a.side, a.side_strides);
    const int shift = a.shift - q, newest = end + shift;
    const int from = begin + shift - 7 < 0 ? 0 : begin + shift - 7, to = newest < a.length ? newest : a.length;
    Times<Number> g, window[2];
    load_times<Number, false, ALIGNED>(window[1], u, u, begin + shift - 8, from, to);
    unsigned words[times], gates[times], inputs[times];  // sent for while those before them are worked on
    const auto send_for = [&](int n) {
      load_words<Number, ALIGNED>(words, x, n, 0, end);
      if constexpr (PRE_GATE) load_words<Number, ALIGNED>(gates, pre, n, 0, end);
      load_words<Number, ALIGNED>(inputs, u, n + shift, from, to);
    };
    send_for(begin);
    NO_UNROLL
    for (int first = begin; first < end; first += 2 * times) {
      UNROLL
      for (int r = 0; r < 2; ++r) {
        if (first + r * times >= end) break;
        unpack<Number>(g, words);
        if constexpr (PRE_GATE) multiply<Number>(g, gates);
        unpack<Number>(window[r], inputs);
        send_for(first + (r + 1) * times);
        UNROLL
        for (int c = 0; c < each; ++c)
          UNROLL for (int i = 0; i < times; ++i) {
            total[c] += g[i][c];
            UNROLL
            for (int j = 0; j < 8; ++j)
              products[j][c] = fmaf(g[i][c], i >= j ? window[r][i - j][c] : window[1 - r][i - j + 8][c], products[j][c]);
          }
      }
    }
  }
  float* to = a.sums + Index(chunk) * (a.taps + 1) * a.channels + lane.channel;
  UNROLL
  for (int c = 0; c < each; ++c) {
    UNROLL
    for (int j = 0; j < 8; ++j)
      memory::store_if(q + j < a.taps && c < lane.present, to + Index(q + j) * a.channels + c, products[j][c]);
    memory::store_if(q == 0 && c < lane.present, to + Index(a.taps) * a.channels + c, total[c]);
  }
}

}  // namespace short_conv
