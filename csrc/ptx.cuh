// Every line of inline assembly of the project, one function an instruction.
//
// A kernel names what it wants (`ptx::mma`, `ptx::load_matrix`); on a machine without a GPU the same names come from
// tests/emulator/emulator.h, which runs the kernels in C++. So nothing outside this file may contain `asm`.
#pragma once

#if !defined(__CUDACC__)
#include "emulator.h"
#else

#define DEVICE static __device__ __forceinline__
#define METHOD __device__ __forceinline__
#define KERNEL(threads, blocks_per_multiprocessor) \
  __global__ void __launch_bounds__(threads, blocks_per_multiprocessor)
#define UNROLL _Pragma("unroll")
#define NO_UNROLL _Pragma("unroll 1")

namespace ptx {

struct Fp16 {};  // names of the two 16-bit operand types; pairs of either travel as `unsigned`, first element low
struct Bf16 {};

DEVICE unsigned thread() { return threadIdx.x; }
DEVICE unsigned block_x() { return blockIdx.x; }
DEVICE unsigned block_y() { return blockIdx.y; }
DEVICE unsigned blocks_y() { return gridDim.y; }

// ---- order: barriers, votes, shuffles

DEVICE void block_barrier() { __syncthreads(); }
DEVICE void warp_barrier() { __syncwarp(); }
DEVICE float shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
DEVICE unsigned shuffle_xor(unsigned x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
DEVICE unsigned maximum_over_warp(unsigned x) { return __reduce_max_sync(0xffffffffu, x); }

DEVICE int count_bits(unsigned x) { return __popc(x); }

// A value the optimiser cannot see through: addresses made from it are not hoisted out of loops.
DEVICE unsigned opaque(unsigned x) {
  asm volatile("" : "+r"(x));
  return x;
}
DEVICE int opaque(int x) {
  asm volatile("" : "+r"(x));
  return x;
}
template <class T>
DEVICE T* opaque(T* x) {  // in device memory, and known to be
  size_t address = __cvta_generic_to_global(x);
  asm volatile("" : "+l"(address));
  return static_cast<T*>(__cvta_global_to_generic(address));
}

// ---- shared memory, by 32-bit shared address (see memory.cuh for the names kernels use)

DEVICE unsigned shared_base() {
  extern __shared__ __align__(1024) unsigned char dynamic_shared_memory[];
  return static_cast<unsigned>(__cvta_generic_to_shared(dynamic_shared_memory));
}
DEVICE void load_shared(unsigned at, unsigned& v) { asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(at)); }
DEVICE void load_shared(unsigned at, float& v) { asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(at)); }
DEVICE void load_shared(unsigned at, uint2& v) {
  asm volatile("ld.shared.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(at));
}
DEVICE void load_shared(unsigned at, float2& v) {
  asm volatile("ld.shared.v2.f32 {%0,%1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(at));
}
DEVICE void load_shared(unsigned at, uint4& v) {
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(at));
}
DEVICE void load_shared(unsigned at, float4& v) {
  asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "r"(at));
}
DEVICE void store_shared(unsigned at, unsigned v) { asm volatile("st.shared.u32 [%0], %1;" ::"r"(at), "r"(v) : "memory"); }
DEVICE void store_shared(unsigned at, float v) { asm volatile("st.shared.f32 [%0], %1;" ::"r"(at), "f"(v) : "memory"); }
DEVICE void store_shared(unsigned at, uint2 v) {
  asm volatile("st.shared.v2.u32 [%0], {%1,%2};" ::"r"(at), "r"(v.x), "r"(v.y) : "memory");
}
DEVICE void store_shared(unsigned at, float2 v) {
  asm volatile("st.shared.v2.f32 [%0], {%1,%2};" ::"r"(at), "f"(v.x), "f"(v.y) : "memory");
}
DEVICE void store_shared(unsigned at, uint4 v) {
  asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(at), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
DEVICE void store_shared(unsigned at, float4 v) {
  asm volatile("st.shared.v4.f32 [%0], {%1,%2,%3,%4};" ::"r"(at), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w) : "memory");
}

// ---- device memory, ahead of its use

// A load that stays where it is written: the compiler moves others past barriers, to their use.
DEVICE uint2 load_now(const uint2* from) {
  uint2 v;
  asm volatile("ld.volatile.global.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from) : "memory");
  return v;
}
DEVICE uint4 load_now(const uint4* from) {
  uint4 v;
  asm volatile("ld.volatile.global.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from) : "memory");
  return v;
}
DEVICE unsigned short load_now(const unsigned short* from) {
  unsigned short v;
  asm volatile("ld.volatile.global.u16 %0, [%1];" : "=h"(v) : "l"(from) : "memory");
  return v;
}
// The line of 128 bytes, into the L2 cache.
DEVICE void prefetch(const void* line) { asm volatile("prefetch.global.L2 [%0];" ::"l"(line)); }

// ---- asynchronous copies, device to shared memory; visible to the thread after its wait, to others after a barrier

// BYTES is 4, 8 or 16; the bytes past `valid` are written as zeros (valid 0 reads nothing).
template <int BYTES>
DEVICE void async_copy(unsigned to, const void* from, int valid = BYTES) {
  if constexpr (BYTES == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(BYTES), "r"(valid) : "memory");
}
DEVICE void async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most PENDING of this thread's newest groups are still under way.
template <int PENDING>
DEVICE void async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// ---- matrices

// d (16 x 8, fp32) += a (16 x 16) b (16 x 8). With g = lane / 4 and t = lane % 4 the fragments hold
// a0 a1 a2 a3: rows g, g+8, g, g+8, columns 2t + {0,1} (a2, a3: + 8);  b0 b1: rows 2t + {0,1} (b1: + 8), column g;
// d0 d1 d2 d3: row g columns 2t, 2t+1, row g+8 columns 2t, 2t+1.
DEVICE void mma(Fp16, float (&d)[4], uint4 a, unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}
DEVICE void mma(Bf16, float (&d)[4], uint4 a, unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}
// 8 x 8 matrices of 16 bits from shared memory; lane l names row l % 8 of matrix l / 8 (16 bytes, aligned).
// A lane gets row lane / 4, columns 2 (lane % 4) + {0,1} of each; of the transposed matrix where TRANSPOSED.
template <bool TRANSPOSED>
DEVICE void load_matrix(unsigned (&r)[4], unsigned at) {
  if constexpr (TRANSPOSED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}
// Whether there is an instruction for what follows.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr bool stores_matrices = false;
#else
constexpr bool stores_matrices = true;
#endif
// The reverse of load_matrix<false>. Before sm_90 there is no stmatrix: each lane asks the lane that owns a row for its
// address and stores its own four bytes of it, in as many wavefronts.
DEVICE void store_matrix(unsigned at, unsigned r0, unsigned r1, unsigned r2, unsigned r3) {
#if __CUDA_ARCH__ >= 900
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(at), "r"(r0), "r"(r1), "r"(r2), "r"(r3)
               : "memory");
#else
  const unsigned lane = threadIdx.x & 31, row = lane >> 2, column = (lane & 3) * 4;
  store_shared(__shfl_sync(0xffffffffu, at, row) + column, r0);
  store_shared(__shfl_sync(0xffffffffu, at, row + 8) + column, r1);
  store_shared(__shfl_sync(0xffffffffu, at, row + 16) + column, r2);
  store_shared(__shfl_sync(0xffffffffu, at, row + 24) + column, r3);
#endif
}
// Transposes an 8 x 8 matrix of 16 bits held as load_matrix gives it.
DEVICE unsigned transpose_matrix(unsigned x) {
  unsigned y;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

// ---- pairs of 16-bit numbers in one register

DEVICE unsigned pack(Fp16, float low, float high) {
  unsigned v;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(high), "f"(low));
  return v;
}
DEVICE unsigned pack(Bf16, float low, float high) {
  unsigned v;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(high), "f"(low));
  return v;
}
DEVICE float2 unpack(Fp16, unsigned x) {
  float2 v;
  asm("{.reg .f16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}" : "=f"(v.x), "=f"(v.y) : "r"(x));
  return v;
}
DEVICE float2 unpack(Bf16, unsigned x) { return make_float2(__uint_as_float(x << 16), __uint_as_float(x & 0xffff0000u)); }
DEVICE unsigned multiply(Fp16, unsigned a, unsigned b) {
  unsigned v;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(v) : "r"(a), "r"(b));
  return v;
}
DEVICE unsigned multiply_add(Fp16, unsigned a, unsigned b, unsigned c) {
  unsigned v;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(v) : "r"(a), "r"(b), "r"(c));
  return v;
}
DEVICE unsigned multiply_add(Bf16, unsigned a, unsigned b, unsigned c) {
  unsigned v;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(v) : "r"(a), "r"(b), "r"(c));
  return v;
}
// Before sm_90 bf16 has no product of its own; adding -0 leaves every product as it is.
DEVICE unsigned multiply(Bf16, unsigned a, unsigned b) { return multiply_add(Bf16(), a, b, 0x80008000u); }
DEVICE unsigned negative(Fp16, unsigned a) {
  unsigned v;
  asm("neg.f16x2 %0, %1;" : "=r"(v) : "r"(a));
  return v;
}
DEVICE unsigned maximum(Fp16, unsigned a, unsigned b) {
  unsigned v;
  asm("max.f16x2 %0, %1, %2;" : "=r"(v) : "r"(a), "r"(b));
  return v;
}
DEVICE unsigned maximum(Bf16, unsigned a, unsigned b) {
  unsigned v;
  asm("max.bf16x2 %0, %1, %2;" : "=r"(v) : "r"(a), "r"(b));
  return v;
}
DEVICE unsigned permute_bytes(unsigned a, unsigned b, unsigned selector) { return __byte_perm(a, b, selector); }

// Of pi x: exact reduction, no slow path.
DEVICE void sine_cosine_pi(float x, float& sine, float& cosine) { sincospif(x, &sine, &cosine); }
// The same to 2^-21, in a few instructions, for |x| <= 1.
DEVICE void rough_sine_cosine_pi(float x, float& sine, float& cosine) { __sincosf(x * 3.14159265f, &sine, &cosine); }

DEVICE float as_float(unsigned x) { return __uint_as_float(x); }
DEVICE unsigned as_unsigned(float x) { return __float_as_uint(x); }

}  // namespace ptx
#endif
