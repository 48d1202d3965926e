// Layer normalisation over the channels of each time step, and its gradients.
//
// With m and v the mean and the variance of a time step's C channels, s = 1 / sqrt(v + eps) and n = s (x - m),
//
//   y = w n + b,     dx = s (w g - <w g> - n <n w g>),     dw = sum of g n,     db = sum of g,
//
// where g is y's gradient and <> the mean over channels. Every mean is made of one reading. With p the first channel,
//
//   m = p + <x - p>,     v = <(x - p)^2> - <x - p>^2,     <n w g> = s (<(x - p) w g> - <x - p> <w g>).
//
// As p is one of the numbers whose variance v is, (m - p)^2 is at most C v: however far from 0 the numbers lie, what the
// differences lose is bounded, and mostly nothing.
//
// A block works on a tile of 32 TIMES time steps. Warp i has the channels i, i + WARPS, ..., a group of eight at a time,
// and each lane TIMES of the time steps. HELD: each warp has at most one group, which stays in registers between the means
// and what is made of them; else groups are read again.
#pragma once

#include "short_samples.cuh"
#include "short_sums.cuh"

namespace channel_norm {

using short_conv::Bits;

constexpr int group = short_conv::group;

// That the registers suffice for.
DEVICE constexpr int blocks(int warps, bool held, bool aligned, bool most = false) {
  return (!(held && aligned) ? 16 : most ? 24 : 32) / warps;
}

// As they lie in memory.
template <class Number, int TIMES>
struct Samples {
  static constexpr int count = TIMES * sizeof(Bits<Number>) / 4;
  unsigned words[count];
};

// A lane's time steps: they follow each other, or, where rows begin anywhere, are 32 apart.
template <int TIMES, bool ALIGNED>
struct Times {
  int first, length;
  static METHOD Times of_tile(int tile, int length) {
    const int lane = ptx::thread() % 32;
    return {tile * 32 * TIMES + (ALIGNED ? lane * TIMES : lane), length};
  }
  METHOD int at(int i) const { return first + (ALIGNED ? i : i * 32); }
  METHOD bool inside(int i) const { return at(i) < length; }
};

template <class Number, int TIMES, bool ALIGNED>
DEVICE Samples<Number, TIMES> load_times(const Bits<Number>* row, Times<TIMES, ALIGNED> times, bool present) {
  constexpr int count = Samples<Number, TIMES>::count;
  Samples<Number, TIMES> v;
  if constexpr (ALIGNED) {
    const Bits<Number>* from = row + times.first;
    const bool inside = present && times.inside(0);
    if constexpr (count == 4) {
      const uint4 words = memory::load_if(inside, reinterpret_cast<const uint4*>(from));
      v.words[0] = words.x, v.words[1] = words.y, v.words[2] = words.z, v.words[3] = words.w;
    } else if constexpr (count == 2) {
      const uint2 words = memory::load_if(inside, reinterpret_cast<const uint2*>(from));
      v.words[0] = words.x, v.words[1] = words.y;
    } else {
      v.words[0] = memory::load_if(inside, reinterpret_cast<const unsigned*>(from));
    }
  } else {
    unsigned bits[TIMES];
    UNROLL
    for (int i = 0; i < TIMES; ++i) bits[i] = memory::load_if(present && times.inside(i), row + times.at(i));
    UNROLL
    for (int i = 0; i < count; ++i) {
      if constexpr (count == TIMES) v.words[i] = bits[i];
      else v.words[i] = bits[2 * i] | bits[2 * i + 1] << 16;
    }
  }
  return v;
}

template <class Number, int TIMES>
DEVICE void unpack(float (&v)[TIMES], const Samples<Number, TIMES>& samples) {
  constexpr int count = Samples<Number, TIMES>::count;
  UNROLL
  for (int i = 0; i < count; ++i) {
    const float2 x = short_conv::of_word(Number(), samples.words[i]);
    if constexpr (count == TIMES) v[i] = x.x;
    else v[2 * i] = x.x, v[2 * i + 1] = x.y;
  }
}

template <class Number, int TIMES, bool ALIGNED>
DEVICE void store_times(Bits<Number>* row, Times<TIMES, ALIGNED> times, const float (&v)[TIMES]) {
  constexpr int count = Samples<Number, TIMES>::count;
  unsigned words[count];
  UNROLL
  for (int i = 0; i < count; ++i) {
    if constexpr (count == TIMES) words[i] = ptx::as_unsigned(v[i]);
    else words[i] = ptx::pack(Number(), v[2 * i], v[2 * i + 1]);
  }
  if constexpr (ALIGNED) {
    Bits<Number>* to = row + times.first;
    if (!times.inside(0)) return;
    if constexpr (count == 4) memory::store(reinterpret_cast<uint4*>(to), make_uint4(words[0], words[1], words[2], words[3]));
    else if constexpr (count == 2) memory::store(reinterpret_cast<uint2*>(to), make_uint2(words[0], words[1]));
    else memory::store(reinterpret_cast<unsigned*>(to), words[0]);
  } else {
    UNROLL
    for (int i = 0; i < TIMES; ++i) {
      const unsigned bits = count == TIMES ? words[i % count] : words[i / 2] >> 16 * (i % 2);
      memory::store_if(times.inside(i), row + times.at(i), static_cast<Bits<Number>>(bits));
    }
  }
}

// The group of a warp's channels that begins with `first`; zeros for those beyond the last.
template <int WARPS, class Number, int TIMES, bool ALIGNED>
DEVICE void load_group(Samples<Number, TIMES> (&v)[group], const NormArguments& a, const Bits<Number>* item,
                       Times<TIMES, ALIGNED> times, int first) {
  UNROLL
  for (int i = 0; i < group; ++i) {
    const int channel = first + i * WARPS;
    v[i] = load_times<Number>(item + Index(channel) * a.length, times, channel < a.channels);
  }
}

// Sums over all warps, in their order, of what each has of every time step. Each thread makes some of them for all.
template <int WARPS, int COUNT, int TIMES>
DEVICE void add_over_warps(float (&v)[COUNT][TIMES], unsigned shared) {
  constexpr unsigned pairs = COUNT * TIMES / 2, numbers = pairs * 64;  // of a warp
  const unsigned lane = ptx::thread() % 32, own = shared + ptx::thread() / 32 * numbers * 4 + lane * 8;
  UNROLL
  for (int i = 0; i < pairs; ++i)
    memory::store_shared(own + i * 256, float2{v[2 * i / TIMES][2 * i % TIMES], v[2 * i / TIMES][2 * i % TIMES + 1]});
  ptx::block_barrier();
  for (unsigned number = ptx::thread(); number < numbers; number += WARPS * 32) {
    float sum = 0.0f;
    UNROLL
    for (int w = 0; w < WARPS; ++w) sum += memory::load_shared<float>(shared + (w * numbers + number) * 4);
    memory::store_shared(shared + number * 4, sum);
  }
  ptx::block_barrier();
  UNROLL
  for (int i = 0; i < pairs; ++i) {
    const float2 sum = memory::load_shared<float2>(shared + i * 256 + lane * 8);
    v[2 * i / TIMES][2 * i % TIMES] = sum.x, v[2 * i / TIMES][2 * i % TIMES + 1] = sum.y;
  }
}

// n = scale (x - p) + shift; 0 beyond the end of a row.
struct Normed {
  float scale, shift;
  static METHOD Normed of(float mean, float mean_square, float eps, bool inside) {
    const float scale = inside ? 1.0f / sqrtf(fmaxf(mean_square - mean * mean, 0.0f) + eps) : 0.0f;
    return {scale, -mean * scale};
  }
  METHOD float operator()(float difference) const { return fmaf(difference, scale, shift); }
};

template <class X, class Y, int TIMES, int WARPS, bool HELD, bool ALIGNED>
KERNEL(WARPS * 32, blocks(WARPS, HELD, ALIGNED)) channel_norm_forward(NormArguments a) {
  const int warp = int(ptx::thread() / 32), batch = int(ptx::block_x() / a.tiles);
  const auto here = Times<TIMES, ALIGNED>::of_tile(int(ptx::block_x() % a.tiles), a.length);
  const Index item = Index(batch) * a.channels * a.length;
  const Bits<X>* x = static_cast<const Bits<X>*>(a.x) + item;
  Bits<Y>* y = static_cast<Bits<Y>*>(a.result) + item;

  Samples<X, TIMES> samples[group];
  float pivot[TIMES], sums[2][TIMES] = {};
  unpack<X>(pivot, load_times<X>(x, here, true));
  NO_UNROLL
  for (int first = warp; first < a.channels; first += group * WARPS) {
    load_group<WARPS, X>(samples, a, x, here, first);
    UNROLL
    for (int i = 0; i < group; ++i) {
      if (first + i * WARPS >= a.channels) break;
      float v[TIMES];
      unpack<X>(v, samples[i]);
      UNROLL
      for (int t = 0; t < TIMES; ++t) {
        const float difference = v[t] - pivot[t];
        sums[0][t] += difference, sums[1][t] = fmaf(difference, difference, sums[1][t]);
      }
    }
    if constexpr (HELD) break;
  }
  add_over_warps<WARPS>(sums, memory::shared_base());
  const float share = 1.0f / float(a.channels);
  Normed normed[TIMES];
  UNROLL
  for (int t = 0; t < TIMES; ++t) normed[t] = Normed::of(sums[0][t] * share, sums[1][t] * share, a.eps, here.inside(t));

  NO_UNROLL
  for (int first = warp; first < a.channels; first += group * WARPS) {
    if constexpr (!HELD) load_group<WARPS, X>(samples, a, x, here, first);
    UNROLL
    for (int i = 0; i < group; ++i) {
      const int channel = first + i * WARPS;
      if (channel >= a.channels) break;
      const float weight = memory::load(a.weight + channel), bias = memory::load(a.bias + channel);
      float v[TIMES];
      unpack<X>(v, samples[i]);
      UNROLL
      for (int t = 0; t < TIMES; ++t) v[t] = fmaf(normed[t](v[t] - pivot[t]), weight, bias);
      store_times<Y>(y + Index(channel) * a.length, here, v);
    }
    if constexpr (HELD) break;
  }
}

// Where in shared memory the gradients of a warp's channel are summed; those of a group lie together.
template <int WARPS>
DEVICE unsigned place_of_sum(int number) {
  return (number / group * WARPS + ptx::thread() / 32) * (group * 4) + number % group * 4;
}

// The gradients of a group's weights, or biases, to those that are there.
template <int WARPS>
DEVICE void add_gradients(float (&v)[group], unsigned sums, int first, int channels) {
  const int lane = ptx::thread() % 32, number = first / WARPS + lane / 4;
  const float sum = short_conv::sum_of_eight(v, lane);
  if (lane % 4 != 0 || first + lane / 4 * WARPS >= channels) return;
  const unsigned at = sums + place_of_sum<WARPS>(number);
  memory::store_shared(at, memory::load_shared<float>(at) + sum);
}

// A block does `tiles_per_block` tiles and leaves their sums dw and db: (2, channels, blocks).
template <class X, class Y, int TIMES, int WARPS, bool HELD, bool ALIGNED>
KERNEL(WARPS * 32, blocks(WARPS, HELD, ALIGNED, sizeof(Bits<X>) + sizeof(Bits<Y>) == 8)) channel_norm_backward(NormArguments a) {
  const int warp = int(ptx::thread() / 32), lane = int(ptx::thread() % 32);
  const int groups = HELD ? 1 : (a.channels - 1) / (group * WARPS) + 1;
  const unsigned exchange = memory::shared_base(), dw = exchange + WARPS * 4 * 32 * TIMES * 4;
  const unsigned db = dw + groups * WARPS * group * 4;
  for (int number = lane; number < groups * group; number += 32)
    memory::store_shared(dw + place_of_sum<WARPS>(number), 0.0f), memory::store_shared(db + place_of_sum<WARPS>(number), 0.0f);
  ptx::warp_barrier();  // no other warp has these channels

  const int begin = int(ptx::block_x()) * a.tiles_per_block;
  const int end = begin + a.tiles_per_block < a.all_tiles ? begin + a.tiles_per_block : a.all_tiles;
  const float share = 1.0f / float(a.channels);
  NO_UNROLL
  for (int tile = begin; tile < end; ++tile) {
    const auto here = Times<TIMES, ALIGNED>::of_tile(tile % a.tiles, a.length);
    const Index item = Index(tile / a.tiles) * a.channels * a.length;
    const Bits<X>* x = static_cast<const Bits<X>*>(a.x) + item;
    const Bits<Y>* dy = static_cast<const Bits<Y>*>(a.dy) + item;
    Bits<X>* dx = static_cast<Bits<X>*>(a.result) + item;

    Samples<X, TIMES> samples[group];
    Samples<Y, TIMES> gradients[group];
    float pivot[TIMES], sums[4][TIMES] = {};
    unpack<X>(pivot, load_times<X>(x, here, true));
    NO_UNROLL
    for (int first = warp; first < a.channels; first += group * WARPS) {
      load_group<WARPS, X>(samples, a, x, here, first);
      load_group<WARPS, Y>(gradients, a, dy, here, first);
      UNROLL
      for (int i = 0; i < group; ++i) {
        const int channel = first + i * WARPS;
        if (channel >= a.channels) break;
        const float weight = memory::load(a.weight + channel);
        float v[TIMES], g[TIMES];
        unpack<X>(v, samples[i]), unpack<Y>(g, gradients[i]);
        UNROLL
        for (int t = 0; t < TIMES; ++t) {
          const float difference = v[t] - pivot[t], weighted = g[t] * weight;
          sums[0][t] += difference, sums[1][t] = fmaf(difference, difference, sums[1][t]);
          sums[2][t] += weighted, sums[3][t] = fmaf(weighted, difference, sums[3][t]);
        }
      }
      if constexpr (HELD) break;
    }
    add_over_warps<WARPS>(sums, exchange);
    Normed normed[TIMES];
    float constant[TIMES], slope[TIMES];  // dx = s w g - constant - slope n
    UNROLL
    for (int t = 0; t < TIMES; ++t) {
      const float mean = sums[0][t] * share, mean_gradient = sums[2][t] * share;
      normed[t] = Normed::of(mean, sums[1][t] * share, a.eps, here.inside(t));
      const float scale = normed[t].scale;
      constant[t] = scale * mean_gradient;
      slope[t] = scale * scale * (sums[3][t] * share - mean * mean_gradient);
    }

    NO_UNROLL
    for (int first = warp; first < a.channels; first += group * WARPS) {
      if constexpr (!HELD) {
        load_group<WARPS, X>(samples, a, x, here, first);
        load_group<WARPS, Y>(gradients, a, dy, here, first);
      }
      float products[group] = {};
      UNROLL
      for (int i = 0; i < group; ++i) {
        const int channel = first + i * WARPS;
        if (channel >= a.channels) break;
        const float weight = memory::load(a.weight + channel);
        float v[TIMES], g[TIMES];
        unpack<X>(v, samples[i]), unpack<Y>(g, gradients[i]);
        UNROLL
        for (int t = 0; t < TIMES; ++t) {
          const float n = normed[t](v[t] - pivot[t]);
          products[i] = fmaf(g[t], n, products[i]);
          v[t] = fmaf(normed[t].scale * weight, g[t], -fmaf(slope[t], n, constant[t]));
        }
        store_times<X>(dx + Index(channel) * a.length, here, v);
      }
      add_gradients<WARPS>(products, dw, first, a.channels);
      UNROLL
      for (int i = 0; i < group; ++i) {
        float g[TIMES];
        unpack<Y>(g, gradients[i]);
        products[i] = 0.0f;
        UNROLL
        for (int t = 0; t < TIMES; ++t) products[i] += g[t];
      }
      add_gradients<WARPS>(products, db, first, a.channels);
      if constexpr (HELD) break;
    }
    ptx::block_barrier();  // the next tile's sums go where these were read
  }

  ptx::warp_barrier();
  const Index blocks_of_sums = (a.all_tiles - 1) / a.tiles_per_block + 1;
  for (int number = lane; warp + number * WARPS < a.channels; number += 32) {
    float* to = a.sums + ((warp + number * WARPS) * blocks_of_sums + ptx::block_x());
    memory::store(to, memory::load_shared<float>(dw + place_of_sum<WARPS>(number)));
    memory::store(to + a.channels * blocks_of_sums, memory::load_shared<float>(db + place_of_sum<WARPS>(number)));
  }
}

}  // namespace channel_norm
