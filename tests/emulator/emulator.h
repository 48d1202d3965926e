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
#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

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

namespace emulator {

struct Counters {
  int64_t device_sectors_read;      // distinct 32-byte sectors, each counted once a launch: what DRAM has to deliver
  int64_t device_sectors_written;
  int64_t load_sectors;             // sectors of each warp-wide access, summed: what the L1 cache has to deliver
  int64_t load_sectors_ideal;       // the same bytes, packed
  int64_t store_sectors;
  int64_t store_sectors_ideal;
  int64_t wavefronts;               // of shared memory
  int64_t wavefronts_ideal;         // the same words without bank conflicts
  int64_t tensor_instructions;
  int64_t barriers;                 // a warp's arrival at a block or named barrier counts 1
  int64_t longest_chain;            // most warp-wide steps of one warp between two barriers
};

struct Region { const char* begin; const char* end; bool writable; std::vector<uint8_t> read, written; };

// ---- fibers

#if defined(__x86_64__)
extern "C" void emulator_switch(void** save, void* load);
asm(R"(
.text
.p2align 4
.local emulator_switch
.type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch, .-emulator_switch
)");
struct Context {
  void* stack_pointer = nullptr;
  void prepare(char* stack, size_t bytes, void (*entry)()) {
    uintptr_t top = (reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t(15);
    void** at = reinterpret_cast<void**>(top);
    *--at = nullptr;  // so that the stack is aligned inside `entry` as after a call
    *--at = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; i++) *--at = nullptr;
    stack_pointer = at;
  }
  void switch_to(Context& other) { emulator_switch(&stack_pointer, other.stack_pointer); }
};
#else
struct Context {
  ucontext_t context;
  void prepare(char* stack, size_t bytes, void (*entry)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = bytes;
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
  }
  void switch_to(Context& other) { swapcontext(&context, &other.context); }
};
#endif

enum class State { ready, at_operation, at_barrier, done };

struct PendingCopy { unsigned to; const char* from; int bytes, valid; int group; };
struct Lane {
  Context context;
  State state = State::done;
  void (*operation)(void** arguments) = nullptr;  // what the lane waits for, with its arguments on its own stack
  void* argument = nullptr;
  std::vector<PendingCopy> copies;
  int group = 0;  // of the asynchronous copies issued now
};
struct Access { const void* site; uint64_t address; int bytes; int lane; int kind; };
enum AccessKind { shared_load, shared_store, device_load, device_store };

constexpr size_t stack_bytes = 32768;
struct Machine {
  std::vector<Lane> lanes;
  std::unique_ptr<char[]> stacks;
  size_t stacks_held = 0;
  std::vector<std::vector<Access>> accesses;  // of each warp since its last operation
  std::vector<int64_t> chain;
  int barrier_arrived[16];
  std::vector<int> barrier_waiting[16];
  std::vector<unsigned char> shared;
  std::vector<Region> regions;
  std::mt19937 random;
  Context scheduler;
  int current = 0;
  unsigned block[3], grid[3];
  std::function<void()> body;
  Counters counters;
  std::string failure;
};
inline Machine machine;

inline void leave() { machine.lanes[machine.current].context.switch_to(machine.scheduler); }
inline void fail(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (machine.failure.empty()) {
    char where[128];
    snprintf(where, sizeof where, " (block %u %u %u, thread %d)", machine.block[0], machine.block[1], machine.block[2],
             machine.current);
    machine.failure = std::string(text) + where;
  }
  machine.lanes[machine.current].state = State::done;
  leave();
}
inline void fiber_entry() {
  machine.body();
  Lane& lane = machine.lanes[machine.current];
  lane.state = State::done;
  lane.context.switch_to(machine.scheduler);
  abort();
}

// ---- memory

inline void log_access(const void* site, uint64_t address, int bytes, AccessKind kind) {
  machine.accesses[machine.current / 32].push_back({site, address, bytes, machine.current % 32, kind});
}
inline Region* region_of(const void* at, int bytes, bool writes) {
  const char* p = static_cast<const char*>(at);
  for (Region& r : machine.regions)
    if (p >= r.begin && p + bytes <= r.end) {
      if (writes && !r.writable) break;
      return &r;
    }
  return nullptr;
}
inline void mark(Region& r, const void* at, int bytes, bool writes) {
  std::vector<uint8_t>& seen = writes ? r.written : r.read;
  int64_t& count = writes ? machine.counters.device_sectors_written : machine.counters.device_sectors_read;
  const size_t first = reinterpret_cast<uintptr_t>(at) / 32 - reinterpret_cast<uintptr_t>(r.begin) / 32;
  const size_t last = (reinterpret_cast<uintptr_t>(at) + bytes - 1) / 32 - reinterpret_cast<uintptr_t>(r.begin) / 32;
  for (size_t s = first; s <= last; s++)
    if (!seen[s]) seen[s] = 1, count++;
}
inline void check_device(const void* at, int bytes, bool writes) {
  if (reinterpret_cast<uintptr_t>(at) % bytes) fail("a %d-byte access of device memory is not aligned", bytes);
  Region* r = region_of(at, bytes, writes);
  if (!r) fail("a %d-byte %s of device memory lies outside every array given", bytes, writes ? "store" : "load");
  mark(*r, at, bytes, writes);
}
__attribute__((noinline)) inline void load_device(const void* from, void* to, int bytes) {
  check_device(from, bytes, false);
  log_access(__builtin_return_address(0), reinterpret_cast<uintptr_t>(from), bytes, device_load);
  memcpy(to, from, bytes);
}
__attribute__((noinline)) inline void store_device(void* to, const void* from, int bytes) {
  check_device(to, bytes, true);
  log_access(__builtin_return_address(0), reinterpret_cast<uintptr_t>(to), bytes, device_store);
  memcpy(to, from, bytes);
}
inline void check_shared(unsigned at, int bytes) {
  if (at % bytes) fail("a %d-byte access of shared memory at %u is not aligned", bytes, at);
  if (at + uint64_t(bytes) > machine.shared.size())
    fail("an access of shared memory at %u lies past its %zu bytes", at, machine.shared.size());
}
__attribute__((noinline)) inline void load_shared_bytes(unsigned from, void* to, int bytes) {
  check_shared(from, bytes);
  log_access(__builtin_return_address(0), from, bytes, shared_load);
  memcpy(to, &machine.shared[from], bytes);
}
__attribute__((noinline)) inline void store_shared_bytes(unsigned to, const void* from, int bytes) {
  check_shared(to, bytes);
  log_access(__builtin_return_address(0), to, bytes, shared_store);
  memcpy(&machine.shared[to], from, bytes);
}

// Wavefronts of one warp-wide access: a 16-byte access goes a quarter warp at a time, an 8-byte one half a warp.
inline void count_wavefronts(const unsigned* address, int lanes, int bytes) {
  const int together = bytes == 16 ? 8 : bytes == 8 ? 16 : 32;
  for (int first = 0; first < lanes; first += together) {
    std::vector<unsigned> words[32];
    int most = 0, distinct = 0;
    for (int i = first; i < std::min(lanes, first + together); i++)
      for (int b = 0; b < std::max(1, bytes / 4); b++) {
        const unsigned word = address[i] / 4 + b;
        std::vector<unsigned>& bank = words[word % 32];
        if (std::find(bank.begin(), bank.end(), word) == bank.end()) {
          bank.push_back(word);
          distinct++;
          most = std::max(most, int(bank.size()));
        }
      }
    machine.counters.wavefronts += most;
    machine.counters.wavefronts_ideal += (distinct + 31) / 32;
  }
}
inline void count_sectors(const std::vector<Access*>& access) {
  std::vector<uint64_t> sectors;
  int64_t bytes = 0;
  uint64_t previous = ~uint64_t(0);
  for (const Access* a : access) {
    if (a->address != previous) bytes += a->bytes;
    previous = a->address;
    for (uint64_t s = a->address / 32; s <= (a->address + a->bytes - 1) / 32; s++) sectors.push_back(s);
  }
  std::sort(sectors.begin(), sectors.end());
  const int64_t n = std::unique(sectors.begin(), sectors.end()) - sectors.begin();
  const bool load = access[0]->kind == device_load;
  (load ? machine.counters.load_sectors : machine.counters.store_sectors) += n;
  (load ? machine.counters.load_sectors_ideal : machine.counters.store_sectors_ideal) += std::min(n, (bytes + 31) / 32);
}
// Puts the lanes' accesses since the warp's last operation together again: the n-th of each lane at one place in the code
// is one warp-wide access.
inline void flush_accesses(int warp) {
  std::vector<Access>& log = machine.accesses[warp];
  if (log.empty()) return;
  struct Place { const void* site; int ordinal; bool operator==(const Place& o) const { return site == o.site && ordinal == o.ordinal; } };
  struct Hash { size_t operator()(const Place& p) const { return reinterpret_cast<size_t>(p.site) * 31 + p.ordinal * 2654435761u; } };
  static std::unordered_map<Place, int, Hash> index;
  static std::unordered_map<const void*, std::pair<int, int>> seen;  // site: lane, how often
  static std::vector<std::vector<Access*>> groups;
  index.clear(), seen.clear();
  int used = 0;
  for (Access& a : log) {
    auto& [lane, times] = seen.try_emplace(a.site, -1, 0).first->second;
    if (lane != a.lane) lane = a.lane, times = 0;
    auto [at, fresh] = index.try_emplace(Place{a.site, times++}, used);
    if (fresh) {
      if (used++ == int(groups.size())) groups.emplace_back();
      groups[at->second].clear();
    }
    groups[at->second].push_back(&a);
  }
  for (int i = 0; i < used; i++) {
    std::vector<Access*>& g = groups[i];
    if (g[0]->kind <= shared_store) {
      unsigned address[32];
      for (size_t l = 0; l < g.size(); l++) address[l] = unsigned(g[l]->address);
      count_wavefronts(address, int(g.size()), g[0]->bytes);
    } else {
      count_sectors(g);
    }
  }
  machine.chain[warp] += used;
  log.clear();
}

// ---- warp-wide operations and barriers

// Every lane of the warp brings its argument; the last one's arrival lets `operation` work on all 32 at once.
inline void collective(void (*operation)(void**), void* argument) {
  Lane& lane = machine.lanes[machine.current];
  lane.operation = operation;
  lane.argument = argument;
  lane.state = State::at_operation;
  leave();
}
inline void barrier(int id, int threads) {
  if (id < 0 || id > 15 || threads % 32 || threads > int(machine.lanes.size()))
    fail("barrier %d of %d threads cannot be", id, threads);
  Lane& lane = machine.lanes[machine.current];
  lane.state = State::at_barrier;
  machine.barrier_waiting[id].push_back(machine.current);
  if (machine.current % 32 == 0) machine.counters.barriers++;
  if (++machine.barrier_arrived[id] == threads) {
    for (int i : machine.barrier_waiting[id]) {
      machine.lanes[i].state = State::ready;
      machine.counters.longest_chain = std::max(machine.counters.longest_chain, machine.chain[i / 32]);
      machine.chain[i / 32] = 0;
    }
    machine.barrier_waiting[id].clear();
    machine.barrier_arrived[id] = 0;
  }
  leave();
}
// Runs each lane of the warp to its next operation, then the operation. False where the warp could not move.
inline bool step_warp(int warp) {
  bool moved = false;
  const bool downwards = machine.random() & 1;
  for (int i = 0; i < 32; i++) {
    const int lane = warp * 32 + (downwards ? 31 - i : i);
    if (machine.lanes[lane].state != State::ready) continue;
    moved = true;
    machine.current = lane;
    machine.scheduler.switch_to(machine.lanes[lane].context);
    if (!machine.failure.empty()) return true;
  }
  flush_accesses(warp);
  void* arguments[32];
  auto operation = machine.lanes[warp * 32].operation;
  for (int i = 0; i < 32; i++) {
    const Lane& lane = machine.lanes[warp * 32 + i];
    if (lane.state != State::at_operation || lane.operation != operation) return moved;
    arguments[i] = lane.argument;
  }
  for (int i = 0; i < 32; i++) machine.lanes[warp * 32 + i].state = State::ready;
  machine.current = warp * 32;
  machine.chain[warp]++;
  operation(arguments);
  return true;
}
inline void run_block(int threads, size_t shared_bytes) {
  Machine& m = machine;
  m.shared.assign(shared_bytes, 0xff);  // all ones are a NaN in every format used
  m.lanes.assign(threads, Lane());
  if (m.stacks_held < stack_bytes * threads) {
    m.stacks_held = stack_bytes * threads;
    m.stacks.reset(new char[m.stacks_held]);
  }
  for (int i = 0; i < threads; i++) {
    m.lanes[i].context.prepare(m.stacks.get() + i * stack_bytes, stack_bytes, fiber_entry);
    m.lanes[i].state = State::ready;
  }
  const int warps = threads / 32;
  m.accesses.assign(warps, {});
  m.chain.assign(warps, 0);
  for (int i = 0; i < 16; i++) m.barrier_arrived[i] = 0, m.barrier_waiting[i].clear();
  std::vector<int> alive(warps);
  for (int w = 0; w < warps; w++) alive[w] = w;
  int idle = 0;
  while (!alive.empty()) {
    const int at = m.random() % alive.size(), warp = alive[at];
    const int burst = m.random() % 4 == 0 ? 400 : 1;
    bool moved = false;
    for (int s = 0; s < burst && step_warp(warp); s++) {
      moved = true;
      if (!m.failure.empty()) return;
    }
    bool finished = true;
    for (int i = 0; i < 32; i++) finished &= m.lanes[warp * 32 + i].state == State::done;
    if (finished) {
      m.counters.longest_chain = std::max(m.counters.longest_chain, m.chain[warp]);
      for (int i = 0; i < 32; i++)
        for (const PendingCopy& c : m.lanes[warp * 32 + i].copies)
          if (c.bytes) { m.current = warp * 32 + i; m.failure = "a thread ended with an asynchronous copy under way"; return; }
      alive.erase(alive.begin() + at);
      idle = 0;
    } else if (moved) {
      idle = 0;
    } else if (++idle > 64 * warps) {
      // Drawn at random that often, every warp has had its turn: nobody can move.
      m.failure = "deadlock: a barrier that not all threads reach, or lanes of one warp at different operations";
      return;
    }
  }
}
inline void begin(const Region* regions, int count, unsigned seed) {
  machine.regions.assign(regions, regions + count);
  for (Region& r : machine.regions) {
    const size_t sectors = (r.end - r.begin) / 32 + 2;
    r.read.assign(sectors, 0);
    r.written.assign(sectors, 0);
  }
  machine.counters = Counters();
  machine.failure.clear();
  machine.random.seed(seed);
}
// Runs a grid, its blocks one after the other in random order.
inline void launch(const unsigned (&grid)[3], int threads, size_t shared_bytes, std::function<void()> body) {
  machine.body = std::move(body);
  std::copy(grid, grid + 3, machine.grid);
  std::vector<unsigned> order(size_t(grid[0]) * grid[1] * grid[2]);
  for (size_t i = 0; i < order.size(); i++) order[i] = unsigned(i);
  std::shuffle(order.begin(), order.end(), machine.random);
  for (unsigned i : order) {
    machine.block[0] = i % grid[0];
    machine.block[1] = i / grid[0] % grid[1];
    machine.block[2] = i / grid[0] / grid[1];
    run_block(threads, shared_bytes);
    if (!machine.failure.empty()) return;
  }
}

// ---- 16-bit numbers

inline float float_of_bits(unsigned x) { float f; memcpy(&f, &x, 4); return f; }
inline unsigned bits_of_float(float f) { unsigned x; memcpy(&x, &f, 4); return x; }
inline float half_to_float_slowly(unsigned h) {
  const unsigned sign = (h & 0x8000u) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
  if (exponent == 31) return float_of_bits(sign | 0x7f800000u | fraction << 13);
  if (exponent) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
  return (sign ? -1.f : 1.f) * std::ldexp(float(fraction), -24);
}
struct HalfTable {
  std::vector<float> value;
  HalfTable() : value(65536) { for (unsigned i = 0; i < 65536; i++) value[i] = half_to_float_slowly(i); }
};
inline const HalfTable half_table;
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

struct Matrices { float a[16][16], b[16][8]; };

}  // namespace emulator

namespace ptx {

struct Fp16 {};
struct Bf16 {};

DEVICE unsigned thread() { return unsigned(emulator::machine.current); }
DEVICE unsigned block_x() { return emulator::machine.block[0]; }
DEVICE unsigned block_y() { return emulator::machine.block[1]; }
DEVICE unsigned block_z() { return emulator::machine.block[2]; }
DEVICE unsigned blocks_x() { return emulator::machine.grid[0]; }
DEVICE unsigned blocks_y() { return emulator::machine.grid[1]; }

DEVICE void block_barrier() { emulator::barrier(0, int(emulator::machine.lanes.size())); }
DEVICE void named_barrier(int id, int threads) { emulator::barrier(id, threads); }
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
DEVICE float shuffle(float x, int lane) { return detail::shuffle(x, lane); }
DEVICE unsigned maximum_over_warp(unsigned x) {
  for (int mask = 16; mask > 0; mask /= 2) x = std::max(x, shuffle_xor(x, mask));
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
DEVICE void async_copy(unsigned to, const void* from, int valid = BYTES) {
  emulator::check_shared(to, BYTES);
  memset(&emulator::machine.shared[to], 0xff, BYTES);
  emulator::log_access(__builtin_return_address(0), to, BYTES, emulator::shared_store);
  if (valid) emulator::check_device(from, valid, false);
  emulator::Lane& lane = emulator::machine.lanes[emulator::machine.current];
  lane.copies.push_back({to, static_cast<const char*>(from), BYTES, valid, lane.group});
}
DEVICE void async_commit() { emulator::machine.lanes[emulator::machine.current].group++; }
template <int PENDING>
DEVICE void async_wait() {
  emulator::Lane& lane = emulator::machine.lanes[emulator::machine.current];
  std::vector<emulator::PendingCopy> left;
  for (const emulator::PendingCopy& c : lane.copies) {
    if (c.group >= lane.group - PENDING) { left.push_back(c); continue; }
    memset(&emulator::machine.shared[c.to], 0, c.bytes);
    memcpy(&emulator::machine.shared[c.to], c.from, c.valid);
  }
  lane.copies = std::move(left);
}

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
  return pack(n, std::fmaf(x.x, y.x, z.x), std::fmaf(x.y, y.y, z.y));
}
DEVICE unsigned negative(Fp16, unsigned a) { return a ^ 0x80008000u; }
template <class Number>
DEVICE unsigned maximum(Number n, unsigned a, unsigned b) {
  const float2 x = unpack(n, a), y = unpack(n, b);
  return pack(n, std::fmax(x.x, y.x), std::fmax(x.y, y.y));
}
DEVICE unsigned permute_bytes(unsigned a, unsigned b, unsigned selector) {
  const uint64_t both = uint64_t(b) << 32 | a;
  unsigned v = 0;
  for (int i = 0; i < 4; i++) v |= unsigned(both >> (selector >> 4 * i & 7) * 8 & 255) << 8 * i;
  return v;
}
DEVICE void sine_cosine_pi(float x, float& sine, float& cosine) {
  sine = float(std::sin(M_PI * x));
  cosine = float(std::cos(M_PI * x));
}
DEVICE float as_float(unsigned x) { return emulator::float_of_bits(x); }
DEVICE unsigned as_unsigned(float x) { return emulator::bits_of_float(x); }

namespace detail {
struct Product { float* d; uint4 a; unsigned b0, b1; };
template <class Number>
inline void multiply_matrices(void** lanes) {
  emulator::Matrices m;
  auto put = [](float* to, unsigned pair) { const float2 v = unpack(Number(), pair); to[0] = v.x; to[1] = v.y; };
  for (int l = 0; l < 32; l++) {
    const Product& p = *static_cast<Product*>(lanes[l]);
    const int g = l / 4, t = l % 4;
    put(&m.a[g][2 * t], p.a.x);
    put(&m.a[g + 8][2 * t], p.a.y);
    put(&m.a[g][2 * t + 8], p.a.z);
    put(&m.a[g + 8][2 * t + 8], p.a.w);
    const float2 low = unpack(Number(), p.b0), high = unpack(Number(), p.b1);
    m.b[2 * t][g] = low.x, m.b[2 * t + 1][g] = low.y;
    m.b[2 * t + 8][g] = high.x, m.b[2 * t + 9][g] = high.y;
  }
  float d[16][8] = {};
  for (int r = 0; r < 16; r++)
    for (int k = 0; k < 16; k++)
      for (int c = 0; c < 8; c++) d[r][c] += m.a[r][k] * m.b[k][c];
  for (int l = 0; l < 32; l++) {
    float* to = static_cast<Product*>(lanes[l])->d;
    const int g = l / 4, t = l % 4;
    to[0] += d[g][2 * t], to[1] += d[g][2 * t + 1], to[2] += d[g + 8][2 * t], to[3] += d[g + 8][2 * t + 1];
  }
  emulator::machine.counters.tensor_instructions++;
}
struct MatrixAccess { unsigned at; unsigned* r; int count; };
inline void check_rows(void** lanes, int count, unsigned* address) {
  for (int i = 0; i < 8 * count; i++) {
    address[i] = static_cast<MatrixAccess*>(lanes[i])->at;
    if (address[i] % 16 || address[i] + 16 > emulator::machine.shared.size()) {
      emulator::machine.failure = "a matrix row lies outside shared memory or is not aligned to 16 bytes";
      address[i] = 0;
    }
  }
  if (emulator::machine.failure.empty()) emulator::count_wavefronts(address, 8 * count, 16);
}
template <int COUNT, bool TRANSPOSED>
inline void load_matrices(void** lanes) {
  unsigned address[32];
  check_rows(lanes, COUNT, address);
  if (!emulator::machine.failure.empty()) return;
  for (int l = 0; l < 32; l++)
    for (int i = 0; i < COUNT; i++) {
      auto element = [&](int row, int column) {
        uint16_t v;
        memcpy(&v, &emulator::machine.shared[address[i * 8 + row] + 2 * column], 2);
        return unsigned(v);
      };
      const int g = l / 4, t = l % 4;
      static_cast<MatrixAccess*>(lanes[l])->r[i] = TRANSPOSED ? element(2 * t, g) | element(2 * t + 1, g) << 16
                                                              : element(g, 2 * t) | element(g, 2 * t + 1) << 16;
    }
}
inline void store_matrices(void** lanes) {
  unsigned address[32];
  check_rows(lanes, 4, address);
  if (!emulator::machine.failure.empty()) return;
  for (int l = 0; l < 32; l++)
    for (int i = 0; i < 4; i++)
      memcpy(&emulator::machine.shared[address[i * 8 + l / 4] + 4 * (l % 4)], &static_cast<MatrixAccess*>(lanes[l])->r[i], 4);
}
struct Transposition { unsigned in, out; };
inline void transpose(void** lanes) {
  for (int l = 0; l < 32; l++) {
    auto element = [&](int row, int column) {
      return static_cast<Transposition*>(lanes[row * 4 + column / 2])->in >> 16 * (column % 2) & 0xffffu;
    };
    const int g = l / 4, t = l % 4;
    static_cast<Transposition*>(lanes[l])->out = element(2 * t, g) | element(2 * t + 1, g) << 16;
  }
}
}  // namespace detail

template <class Number>
DEVICE void mma(Number, float (&d)[4], uint4 a, unsigned b0, unsigned b1) {
  detail::Product p{d, a, b0, b1};
  emulator::collective(detail::multiply_matrices<Number>, &p);
}
template <bool TRANSPOSED, int COUNT>
DEVICE void load_matrix(unsigned (&r)[COUNT], unsigned at) {
  detail::MatrixAccess m{at, r, COUNT};
  emulator::collective(detail::load_matrices<COUNT, TRANSPOSED>, &m);
}
DEVICE void store_matrix(unsigned at, unsigned r0, unsigned r1, unsigned r2, unsigned r3) {
  unsigned r[4] = {r0, r1, r2, r3};
  detail::MatrixAccess m{at, r, 4};
  emulator::collective(detail::store_matrices, &m);
}
DEVICE unsigned transpose_matrix(unsigned x) {
  detail::Transposition t{x, 0};
  emulator::collective(detail::transpose, &t);
  return t.out;
}

}  // namespace ptx
