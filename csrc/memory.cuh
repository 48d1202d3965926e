// Every access to device and shared memory goes through these names, so that the emulator can check and count it.
//
// Device memory by typed pointer, shared memory by 32-bit address (`shared_base()` plus an offset in bytes).
// T is unsigned, float, uint2, float2, uint4 or float4, aligned to its size; device memory also takes 16-bit integers.
#pragma once
#include "ptx.cuh"

namespace memory {

using ptx::shared_base;

#if defined(__CUDACC__)
// Memory that no kernel of this launch writes.
template <class T>
DEVICE T load(const T* from) { return __ldg(from); }
// The same, where it stands in the source: the compiler does not put it off.
template <class T>
DEVICE T load_now(const T* from) { return ptx::load_now(from); }
// Memory that this thread may itself have written.
template <class T>
DEVICE T load_own(const T* from) { return *from; }
template <class T>
DEVICE void store(T* to, T value) { *to = value; }
#else
template <class T>
DEVICE T load(const T* from) {
  T value;
  emulator::load_device(from, &value, sizeof(T));
  return value;
}
template <class T>
DEVICE T load_now(const T* from) { return load(from); }
template <class T>
DEVICE T load_own(const T* from) { return load(from); }
template <class T>
DEVICE void store(T* to, T value) { emulator::store_device(to, &value, sizeof(T)); }
#endif

// Zeros, and no access, where the condition fails.
template <class T>
DEVICE T load_if(bool condition, const T* from) { return condition ? load(from) : T{}; }
template <class T>
DEVICE void store_if(bool condition, T* to, T value) {
  if (condition) store(to, value);
}

template <class T>
DEVICE T load_shared(unsigned from) {
  T value;
  ptx::load_shared(from, value);
  return value;
}
template <class T>
DEVICE void store_shared(unsigned to, T value) { ptx::store_shared(to, value); }

// `bytes` (a multiple of 16, both ends aligned) from device to shared memory by all `threads`; commit, wait and barrier
// are the caller's.
DEVICE void async_copy_block(unsigned to, const void* from, unsigned bytes, unsigned threads) {
  for (unsigned i = ptx::thread() * 16; i < bytes; i += threads * 16)
    ptx::async_copy<16>(to + i, static_cast<const char*>(from) + i);
}

}  // namespace memory
