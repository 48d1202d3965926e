// A small kernel with a place for each kind of fault, to prove that the emulator sees them.
//
// y = A u for 64 rows of 16 numbers in fp16, A the 16 x 16 matrix in `tables`: the rows come by an asynchronous copy,
// are read transposed by another warp than the one that copied them, and go out by way of shared memory.
#pragma once
#include "arguments.cuh"
#include "memory.cuh"

enum class Fault { none, no_block_barrier, no_warp_barrier, swapped_fragment, past_the_end, past_shared, no_wait, misaligned,
                   divergent_barrier };

template <Fault FAULT>
KERNEL(64, 1) planted(Arguments a) {
  const unsigned lane = ptx::thread() % 32, warp = ptx::thread() / 32, base = memory::shared_base();
  const char* u = static_cast<const char*>(a.u);
  const unsigned other = (warp ^ 1) * 1024;

  for (int part = 0; part < 2; part++)
    ptx::async_copy<16>(base + warp * 1024 + part * 512 + lane * 16, u + warp * 1024 + part * 512 + lane * 16);
  ptx::async_commit();
  if (FAULT != Fault::no_wait) ptx::async_wait<0>();
  if (FAULT == Fault::divergent_barrier && warp == 1) return;
  if (FAULT != Fault::no_block_barrier) ptx::block_barrier();

  uint4 matrix = memory::load(static_cast<const uint4*>(a.tables) + lane);
  if (FAULT == Fault::swapped_fragment) matrix = make_uint4(matrix.x, matrix.z, matrix.y, matrix.w);
  for (unsigned tile = 0; tile < 4; tile++) {
    // 8 rows of u are 8 columns of the product's right side: read as they lie, they are that fragment.
    unsigned b[2];
    ptx::load_matrix<false>(b, base + other + (tile * 8 + lane % 8) * 32 + (lane / 8 % 2) * 16);
    float d[4] = {0, 0, 0, 0};
    ptx::mma(ptx::Fp16(), d, matrix, b[0], b[1]);
    const unsigned at = base + 2048 + warp * 512;
    for (int row = 0; row < 2; row++)
      memory::store_shared(at + (lane / 4 + 8 * row) * 32 + (lane % 4) * 8, float2{d[2 * row], d[2 * row + 1]});
    if (FAULT != Fault::no_warp_barrier) ptx::warp_barrier();
    const unsigned column = lane / 4, rows = lane % 4 * 4;
    float4 y;
    y.x = memory::load_shared<float>(at + rows * 32 + column * 4);
    y.y = memory::load_shared<float>(at + (rows + 1) * 32 + column * 4);
    y.z = memory::load_shared<float>(at + (rows + 2) * 32 + column * 4);
    y.w = memory::load_shared<float>(at + (rows + 3) * 32 + column * 4 + (FAULT == Fault::past_shared ? 4096 : 0));
    ptx::warp_barrier();
    float* to = static_cast<float*>(a.y) + ((warp ^ 1) * 32 + tile * 8 + column) * 16 + rows;
    if (FAULT == Fault::misaligned) to += 2;
    if (FAULT == Fault::past_the_end) to += 4;
    memory::store(reinterpret_cast<float4*>(to), y);
  }
}
