// A stretch of a row in the shared memory of a warp, whose every lane works on `run` samples that follow each other.
//
// Rows come and go in pieces of 16 bytes, lane by lane, and are worked on in runs: the exchange is what the tile is for.
// Its pieces are swizzled so that both are free of bank conflicts.
#pragma once

#include "short_samples.cuh"

namespace short_conv {

constexpr int run = 16;             // samples of a lane
constexpr int tile = 32 * run;      // of a warp
constexpr int most_slots = 17 * 8;  // 128 taps, as far shifted as it takes to begin at a piece, in whole groups

// SPREAD: pieces, a power of two, that lanes lie apart.
template <class Number, int SPREAD = run / Piece<Number>::samples>
struct Tile {
  static constexpr int piece = Piece<Number>::samples;
  unsigned base;

  // `samples` of them, in a whole number of swizzled blocks.
  DEVICE constexpr int bytes(int samples) { return (samples / piece + 7) / 8 * 128; }

  DEVICE constexpr unsigned place(int number) { return (number ^ (number >> 3 & (SPREAD - 1))) * 16; }

  METHOD void load_group(float (&v)[8], int number) const {
    UNROLL
    for (int i = 0; i < group / piece; ++i)
      from_piece<Number>(v, i * piece, memory::load_shared<uint4>(base + place(number * (group / piece) + i)));
  }

  // From any multiple of four samples on.
  METHOD void load_group_at(float (&v)[8], int sample) const {
    UNROLL
    for (int i = 0; i < 8; i += 4) {
      const unsigned n = sample + i;
      load_four<Number>(v, i, base + place(n / piece) + n % piece * sizeof(Bits<Number>));
    }
  }

  METHOD void store_group(const float (&v)[8], int number) const {
    UNROLL
    for (int i = 0; i < group / piece; ++i)
      memory::store_shared(base + place(number * (group / piece) + i), to_piece<Number>(v, i * piece));
  }

  // `samples` from `begin` on (a multiple of a piece), zeros beyond the row's ends. Whoever reads waits for the copies.
  template <bool ALIGNED>
  METHOD void fetch(const Bits<Number>* row, int begin, int samples, int length, int lane) const {
    if (ALIGNED && begin >= 0 && begin + samples <= length) {
      // Pieces 32 apart are swizzled alike.
      const unsigned to = base + place(lane);
      const Bits<Number>* from = row + begin + lane * piece;
      for (int i = 0; i * 32 < samples / piece; ++i)
        if (lane + i * 32 < samples / piece) ptx::async_copy<16>(to + i * 512, from + i * 32 * piece);
      ptx::async_commit();
    } else if constexpr (ALIGNED) {
      for (int number = lane; number < samples / piece; number += 32) {
        const int n = begin + number * piece, left = length - n;
        const int valid = n < 0 || left < 0 ? 0 : left < piece ? left : piece;
        ptx::async_copy<16>(base + place(number), valid ? row + n : row, valid * int(sizeof(Bits<Number>)));
      }
      ptx::async_commit();
    } else {
      constexpr int samples_of_word = piece / 4, together = 4;
      const int end = length < begin + samples ? length : begin + samples;
      for (int first = lane; first < samples / samples_of_word; first += 32 * together) {
        unsigned words[together];
        UNROLL
        for (int i = 0; i < together; ++i) {
          const int n = begin + (first + i * 32) * samples_of_word;
          words[i] = bits_at<Number>(row, n, end);
          if constexpr (samples_of_word == 2) words[i] |= bits_at<Number>(row, n + 1, end) << 16;
        }
        UNROLL
        for (int i = 0; i < together; ++i) {
          const int word = first + i * 32;
          if (word < samples / samples_of_word) memory::store_shared(base + place(word / 4) + word % 4 * 4, words[i]);
        }
      }
    }
  }

  // The whole tile to the row's samples from `begin` on, none beyond its ends.
  template <bool ALIGNED>
  METHOD void put(Bits<Number>* row, int begin, int length, int lane) const {
    if (ALIGNED && begin >= 0 && begin + tile <= length) {
      const unsigned from = base + place(lane);
      uint4* to = reinterpret_cast<uint4*>(row + begin) + lane;
      UNROLL
      for (int i = 0; i < tile / piece / 32; ++i) memory::store(to + i * 32, memory::load_shared<uint4>(from + i * 512));
    } else if constexpr (ALIGNED) {
      UNROLL
      for (int i = 0; i < tile / piece / 32; ++i) {
        const int number = i * 32 + lane, n = begin + number * piece;
        if (n >= 0 && n + piece <= length)
          memory::store(reinterpret_cast<uint4*>(row + n), memory::load_shared<uint4>(base + place(number)));
      }
      const int whole = length - length % piece;
      if (whole >= begin && whole < begin + tile) put_samples(row, begin, whole, length, lane);
    } else {
      put_samples(row, begin, begin < 0 ? 0 : begin, length < begin + tile ? length : begin + tile, lane);
    }
  }

  METHOD void put_samples(Bits<Number>* row, int begin, int from, int to, int lane) const {
    for (int n = from + lane; n < to; n += 32) {
      const unsigned at = n - begin;
      const unsigned word = memory::load_shared<unsigned>(base + place(at / piece) + at * sizeof(Bits<Number>) % 16 / 4 * 4);
      memory::store(row + n, Bits<Number>(sizeof(Bits<Number>) == 2 && at % 2 ? word >> 16 : word));
    }
  }
};

}  // namespace short_conv
