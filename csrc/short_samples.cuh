// Samples of any type, as the kernels of short convolutions load, keep and store them: by groups of eight in registers,
// as fp32, and by pieces of 16 bytes in shared memory.
#pragma once

#include "arguments.cuh"
#include "memory.cuh"

namespace short_conv {

using ptx::Bf16;
using ptx::Fp16;
struct Fp32 {};

template <class Number>
struct Samples {
  using Bits = unsigned short;
};
template <>
struct Samples<Fp32> {
  using Bits = unsigned;
};
template <class Number>
using Bits = typename Samples<Number>::Bits;

template <class Number>
struct Piece {
  static constexpr int samples = 16 / sizeof(Bits<Number>);
};

constexpr int group = 8;

// The samples of one word: one or, low first, two.
template <class Number>
DEVICE float2 of_word(Number number, unsigned word) { return ptx::unpack(number, word); }
DEVICE float2 of_word(Fp32, unsigned word) { return make_float2(ptx::as_float(word), 0.0f); }

template <class Number>
DEVICE void from_piece(float (&v)[8], int first, uint4 piece) {
  const unsigned words[4] = {piece.x, piece.y, piece.z, piece.w};
  UNROLL
  for (int i = 0; i < 4; ++i) {
    const float2 x = of_word(Number(), words[i]);
    if constexpr (Piece<Number>::samples == 8) v[first + 2 * i] = x.x, v[first + 2 * i + 1] = x.y;
    else v[first + i] = x.x;
  }
}

// Four samples from 8 or 16 bytes of shared memory.
template <class Number>
DEVICE void load_four(float (&v)[8], int first, unsigned at) {
  if constexpr (Piece<Number>::samples == 8) {
    const uint2 words = memory::load_shared<uint2>(at);
    const float2 low = of_word(Number(), words.x), high = of_word(Number(), words.y);
    v[first] = low.x, v[first + 1] = low.y, v[first + 2] = high.x, v[first + 3] = high.y;
  } else {
    const float4 x = memory::load_shared<float4>(at);
    v[first] = x.x, v[first + 1] = x.y, v[first + 2] = x.z, v[first + 3] = x.w;
  }
}

template <class Number>
DEVICE uint4 to_piece(const float (&v)[8], int first) {
  unsigned words[4];
  UNROLL
  for (int i = 0; i < 4; ++i) {
    if constexpr (Piece<Number>::samples == 8) words[i] = ptx::pack(Number(), v[first + 2 * i], v[first + 2 * i + 1]);
    else words[i] = ptx::as_unsigned(v[first + i]);
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

// Sample n of a row, 0 beyond its ends.
template <class Number>
DEVICE unsigned bits_at(const Bits<Number>* row, int n, int length) {
  return memory::load_if(n >= 0 && n < length, row + n);
}

}  // namespace short_conv
