// The last step of a short convolution's gradients: for each tap and each bias some lanes add up what the chunks left, in
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

// Eight numbers of each lane, summed over the warp, in the order of a tree: lanes 4 i to 4 i + 3 get the sum of number i.
DEVICE float sum_of_eight(float (&v)[8], int lane) {
  UNROLL
  for (int half = 4; half > 0; half /= 2) {
    const bool upper = lane & half * 4;
    UNROLL
    for (int i = 0; i < half; ++i) {
      const float kept = upper ? v[i + half] : v[i], given = upper ? v[i] : v[i + half];
      v[i] = kept + ptx::shuffle_xor(given, half * 4);
    }
  }
  v[0] += ptx::shuffle_xor(v[0], 2);
  return v[0] + ptx::shuffle_xor(v[0], 1);
}

// One lane's part of `channels` channels from the first on, and of all chunks.
DEVICE float sum_of_chunks(const ShortSumArguments& a, int first, int channels, int slot, int lane) {
  const float* sums = a.sums + (first * a.channel_step + slot * a.slot_step);
  float total = 0.0f;
  for (int channel = 0; channel < channels; ++channel)
    for (int chunk = lane; chunk < a.chunks; chunk += a.lanes)
      total += memory::load(sums + (chunk * a.chunk_step + channel * a.channel_step));
  return total;
}

constexpr int threads_of_sums = 128;

KERNEL(threads_of_sums, 8) short_sums(ShortSumArguments a) {
  const unsigned taps = a.dk ? unsigned(a.filters) * a.taps : 0;
  const unsigned thread = ptx::block_x() * threads_of_sums + ptx::thread(), number = thread / a.lanes;
  const int lane = int(thread % a.lanes);
  float* to = nullptr;
  float total = 0.0f;
  if (number < taps) {
    const int filter = int(number / a.taps), tap = int(number % a.taps);
    to = a.dk + number;
    total = sum_of_chunks(a, filter * a.channels_per_filter, a.channels_per_filter,
                          a.first_slot + (a.reversed ? a.taps - 1 - tap : tap), lane);
  } else if (a.dbias && number < taps + a.channels) {
    to = a.dbias + (number - taps);
    total = sum_of_chunks(a, int(number - taps), 1, a.bias_slot, lane);
  }
  for (int mask = a.lanes / 2; mask > 0; mask /= 2) total += ptx::shuffle_xor(total, mask);
  if (to && lane == 0) memory::store(to, total);
}

}  // namespace short_conv
