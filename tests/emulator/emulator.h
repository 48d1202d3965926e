// Runs the kernels of csrc/ on a CPU, to prove them right where there is no GPU, and to count what they do.
//
// A block's threads are fibers. A warp moves from one warp-wide operation (or barrier) to the next; between two of them
// its lanes run one after the other, in either order, so that a missing warp barrier shows. Warps run in random, unfair
// bursts from a seed, so that a missing block barrier shows (taking turns fairly never shows one). Shared memory is
// filled with NaNs before each block. An asynchronous copy leaves NaNs behind until its thread waits for it. Accesses
// outside what was given, or not aligned to their size, end the launch with a message.
//
// Counted: see Counters. The functions of namespace `ptx` are those of csrc/ptx.cuh.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DEVICE static inline __attribute__((always_inline, unused))
#define METHOD inline __attribute__((always_inline))
#define KERNEL(threads, blocks_per_multiprocessor) static void
#define UNROLL
#define NO_UNROLL

struct uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
DEVICE uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
DEVICE uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
DEVICE float2 make_float2(float x, float y) { return {x, y}; }
DEVICE float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

// What kernels use of <math.h>, which takes the compiler longer to read than some of them.
extern "C" {
float fmaf(float, float, float) noexcept;
float fmaxf(float, float) noexcept;
float fabsf(float) noexcept;
float sqrtf(float) noexcept;
}

namespace emulator {

struct Position { int thread; unsigned block[3], grid[3]; };
extern Position position;  // of the lane that runs

void load_device(const void* from, void* to, int bytes);
void store_device(void* to, const void* from, int bytes);
void load_shared_bytes(unsigned from, void* to, int bytes);
void store_shared_bytes(unsigned to, const void* from, int bytes);
void async_copy(unsigned to, const void* from, int bytes, int valid);
void async_commit();
void async_wait(int pending);

// Every lane of the warp brings its argument; the last one's arrival lets `operation` work on all 32 at once.
void collective(void (*operation)(void** arguments), void* argument);
void barrier(int id, int threads);
void block_barrier();

struct Product { float* d; uint4 a; unsigned b0, b1; };
template <class Number>
void multiply_matrices(void** lanes);
struct MatrixAccess { unsigned at; unsigned* r; int count; bool transposed; };
void load_matrices(void** lanes);
void store_matrices(void** lanes);
struct Transposition { unsigned in, out; };
void transpose(void** lanes);

void sine_cosine_pi(float x, float& sine, float& cosine);

// ---- 16-bit numbers

inline float float_of_bits(unsigned x) { float f; memcpy(&f, &x, 4); return f; }
inline unsigned bits_of_float(float f) { unsigned x; memcpy(&x, &f, 4); return x; }
struct HalfTable {
  float value[65536];
  HalfTable();
};
extern const HalfTable half_table;
inline float half_to_float(unsigned h) { return half_table.value[h & 0xffff]; }
inline unsigned float_to_half(float f) {  // to nearest, ties to even
  unsigned x = bits_of_float(f);
  const unsigned sign = x >> 16 & 0x8000u;
  x &= 0x7fffffffu;
  if (x > 0x7f800000u) return sign | 0x7fffu;
  if (x >= 0x47800000u) return sign | 0x7c00u;
  if (x < 0x38800000u) {  // subnormal: adding 0.5 leaves the rounded fraction in the last bits
    return sign | (bits_of_float(float_of_bits(x) + 0.5f) - 0x3f000000u);
  }
  x += 0xc8000fffu + (x >> 13 & 1);
  return sign | x >> 13;
}
inline unsigned float_to_bfloat(float f) {
  unsigned x = bits_of_float(f);
  if ((x & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;
  return (x + 0x7fffu + (x >> 16 & 1)) >> 16;
}

}  // namespace emulator

namespace ptx {

struct Fp16 {};
struct Bf16 {};

DEVICE unsigned thread() { return unsigned(emulator::position.thread); }
DEVICE unsigned block_x() { return emulator::position.block[0]; }
DEVICE unsigned block_y() { return emulator::position.block[1]; }
DEVICE unsigned blocks_y() { return emulator::position.grid[1]; }

DEVICE void block_barrier() { emulator::block_barrier(); }
DEVICE void warp_barrier() { emulator::collective([](void**) {}, nullptr); }
namespace detail {
template <class T> struct Exchange { T in, out; int lane; };
template <class T>
inline void exchange(void** lanes) {
  for (int i = 0; i < 32; i++) {
    auto* e = static_cast<Exchange<T>*>(lanes[i]);
    e->out = static_cast<Exchange<T>*>(lanes[e->lane & 31])->in;
  }
}
template <class T>
inline T shuffle(T x, int lane) {
  Exchange<T> e{x, x, lane};
  emulator::collective(exchange<T>, &e);
  return e.out;
}
}  // namespace detail
DEVICE float shuffle_xor(float x, int mask) { return detail::shuffle(x, int(thread() % 32) ^ mask); }
DEVICE unsigned shuffle_xor(unsigned x, int mask) { return detail::shuffle(x, int(thread() % 32) ^ mask); }
DEVICE int count_bits(unsigned x) { return __builtin_popcount(x); }
DEVICE unsigned maximum_over_warp(unsigned x) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const unsigned other = shuffle_xor(x, mask);
    x = x > other ? x : other;
  }
  return x;
}
DEVICE void prefetch(const void*) {}
DEVICE unsigned opaque(unsigned x) { return x; }
DEVICE int opaque(int x) { return x; }
template <class T>
DEVICE T* opaque(T* x) { return x; }

DEVICE unsigned shared_base() { return 0; }
template <class T>
DEVICE void load_shared(unsigned at, T& v) { emulator::load_shared_bytes(at, &v, sizeof v); }
template <class T>
DEVICE void store_shared(unsigned at, T v) { emulator::store_shared_bytes(at, &v, sizeof v); }

template <int BYTES>
DEVICE void async_copy(unsigned to, const void* from, int valid = BYTES) { emulator::async_copy(to, from, BYTES, valid); }
DEVICE void async_commit() { emulator::async_commit(); }
template <int PENDING>
DEVICE void async_wait() { emulator::async_wait(PENDING); }

DEVICE unsigned pack(Fp16, float low, float high) {
  return emulator::float_to_half(low) | emulator::float_to_half(high) << 16;
}
DEVICE unsigned pack(Bf16, float low, float high) {
  return emulator::float_to_bfloat(low) | emulator::float_to_bfloat(high) << 16;
}
DEVICE float2 unpack(Fp16, unsigned x) { return {emulator::half_to_float(x), emulator::half_to_float(x >> 16)}; }
DEVICE float2 unpack(Bf16, unsigned x) { return {emulator::float_of_bits(x << 16), emulator::float_of_bits(x & 0xffff0000u)}; }
template <class Number>
DEVICE unsigned multiply(Number n, unsigned a, unsigned b) {
  const float2 x = unpack(n, a), y = unpack(n, b);
  return pack(n, x.x * y.x, x.y * y.y);
}
// The sum of an exact product and a third 16-bit number is rounded to float on its way: a double rounding that the
// device does not make, too seldom to matter.
template <class Number>
DEVICE unsigned multiply_add(Number n, unsigned a, unsigned b, unsigned c) {
  const float2 x = unpack(n, a), y = unpack(n, b), z = unpack(n, c);
  return pack(n, fmaf(x.x, y.x, z.x), fmaf(x.y, y.y, z.y));
}
DEVICE unsigned negative(Fp16, unsigned a) { return a ^ 0x80008000u; }
template <class Number>
DEVICE unsigned maximum(Number n, unsigned a, unsigned b) {
  const float2 x = unpack(n, a), y = unpack(n, b);
  return pack(n, fmaxf(x.x, y.x), fmaxf(x.y, y.y));
}
DEVICE unsigned permute_bytes(unsigned a, unsigned b, unsigned selector) {
  const uint64_t both = uint64_t(b) << 32 | a;
  unsigned v = 0;
  for (int i = 0; i < 4; i++) v |= unsigned(both >> (selector >> 4 * i & 7) * 8 & 255) << 8 * i;
  return v;
}
DEVICE void sine_cosine_pi(float x, float& sine, float& cosine) { emulator::sine_cosine_pi(x, sine, cosine); }
DEVICE void rough_sine_cosine_pi(float x, float& sine, float& cosine) {  // as wrong as the instruction may be
  const float error = emulator::bits_of_float(x) & 1 ? 0x1p-21f : -0x1p-21f;
  emulator::sine_cosine_pi(x, sine, cosine);
  sine += error, cosine -= error;
}
DEVICE float as_float(unsigned x) { return emulator::float_of_bits(x); }
DEVICE unsigned as_unsigned(float x) { return emulator::bits_of_float(x); }

template <class Number>
DEVICE void mma(Number, float (&d)[4], uint4 a, unsigned b0, unsigned b1) {
  emulator::Product p{d, a, b0, b1};
  emulator::collective(emulator::multiply_matrices<Number>, &p);
}
template <bool TRANSPOSED, int COUNT>
DEVICE void load_matrix(unsigned (&r)[COUNT], unsigned at) {
  emulator::MatrixAccess m{at, r, COUNT, TRANSPOSED};
  emulator::collective(emulator::load_matrices, &m);
}
constexpr bool stores_matrices = true;
DEVICE void store_matrix(unsigned at, unsigned r0, unsigned r1, unsigned r2, unsigned r3) {
  unsigned r[4] = {r0, r1, r2, r3};
  emulator::MatrixAccess m{at, r, 4, false};
  emulator::collective(emulator::store_matrices, &m);
}
DEVICE unsigned transpose_matrix(unsigned x) {
  emulator::Transposition t{x, 0};
  emulator::collective(emulator::transpose, &t);
  return t.out;
}

}  // namespace ptx
