// The last step of a short convolution's gradients: a warp for each tap and each bias adds up what the chunks left, in
// an order that depends on shapes alone.
#pragma once

#include "arguments.cuh"
#include "memory.cuh"

namespace short_conv {

DEVICE float sum_over_warp(float x) {
  UNROLL
  for (int mask = 16; mask > 0; mask /= 2) x += ptx::shuffle_xor(x, mask);
  return x;
}

// Of `channels` channels from the first on and all chunks.
DEVICE float sum_of_chunks(const ShortSumArguments& a, int first, int channels, int slot) {
  const float* sums = a.sums + (first * a.channel_step + slot * a.slot_step);
  float total = 0.0f;
  for (Index term = ptx::thread() % 32; term < Index(channels) * a.chunks; term += 32)
    total += memory::load(sums + (term % a.chunks * a.chunk_step + term / a.chunks * a.channel_step));
  return sum_over_warp(total);
}

constexpr int sums_of_block = 4;

KERNEL(sums_of_block * 32, 8) short_sums(ShortSumArguments a) {
  const Index taps = a.dk ? Index(a.filters) * a.taps : 0;
  const Index number = Index(ptx::block_x()) * sums_of_block + ptx::thread() / 32;
  float* to;
  float total;
  if (number < taps) {
    const int filter = int(number / a.taps), tap = int(number % a.taps);
    to = a.dk + number;
    total = sum_of_chunks(a, filter * a.channels_per_filter, a.channels_per_filter,
                          a.first_slot + (a.reversed ? a.taps - 1 - tap : tap));
  } else if (a.dbias && number < taps + a.channels) {
    to = a.dbias + (number - taps);
    total = sum_of_chunks(a, int(number - taps), 1, a.bias_slot);
  } else {
    return;
  }
  if (ptx::thread() % 32 == 0) memory::store(to, total);
}

}  // namespace short_conv
