// The machine behind emulator.h: a block's fibers, its memory and the counters. Compiled once and linked to each kernel.
#include "emulator.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

extern "C" void kernel(const void* arguments);  // that this is linked to

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

struct PendingCopy { unsigned to; const char* from; int bytes, before, valid; int group; };
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
  const void* arguments;
  Counters counters;
  std::string failure;
};
static Machine machine;
Position position;

static void leave() { machine.lanes[position.thread].context.switch_to(machine.scheduler); }
static void fail(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (machine.failure.empty()) {
    char where[128];
    snprintf(where, sizeof where, " (block %u %u %u, thread %d)", position.block[0], position.block[1], position.block[2],
             position.thread);
    machine.failure = std::string(text) + where;
  }
  machine.lanes[position.thread].state = State::done;
  leave();
}
static void fiber_entry() {
  kernel(machine.arguments);
  Lane& lane = machine.lanes[position.thread];
  lane.state = State::done;
  lane.context.switch_to(machine.scheduler);
  abort();
}

// ---- memory

static void log_access(const void* site, uint64_t address, int bytes, AccessKind kind) {
  machine.accesses[position.thread / 32].push_back({site, address, bytes, position.thread % 32, kind});
}
static Region* region_of(const void* at, int bytes, bool writes) {
  const char* p = static_cast<const char*>(at);
  for (Region& r : machine.regions)
    if (p >= r.begin && p + bytes <= r.end) {
      if (writes && !r.writable) break;
      return &r;
    }
  return nullptr;
}
static void mark(Region& r, const void* at, int bytes, bool writes) {
  std::vector<uint8_t>& seen = writes ? r.written : r.read;
  int64_t& count = writes ? machine.counters.device_sectors_written : machine.counters.device_sectors_read;
  const size_t first = reinterpret_cast<uintptr_t>(at) / 32 - reinterpret_cast<uintptr_t>(r.begin) / 32;
  const size_t last = (reinterpret_cast<uintptr_t>(at) + bytes - 1) / 32 - reinterpret_cast<uintptr_t>(r.begin) / 32;
  for (size_t s = first; s <= last; s++)
    if (!seen[s]) seen[s] = 1, count++;
}
static void check_device(const void* at, int bytes, bool writes) {
  if (reinterpret_cast<uintptr_t>(at) % bytes) fail("a %d-byte access of device memory is not aligned", bytes);
  Region* r = region_of(at, bytes, writes);
  if (!r) fail("a %d-byte %s of device memory lies outside every array given", bytes, writes ? "store" : "load");
  mark(*r, at, bytes, writes);
}
void load_device(const void* from, void* to, int bytes) {
  check_device(from, bytes, false);
  log_access(__builtin_return_address(0), reinterpret_cast<uintptr_t>(from), bytes, device_load);
  memcpy(to, from, bytes);
}
void store_device(void* to, const void* from, int bytes) {
  check_device(to, bytes, true);
  log_access(__builtin_return_address(0), reinterpret_cast<uintptr_t>(to), bytes, device_store);
  memcpy(to, from, bytes);
}
static void check_shared(unsigned at, int bytes) {
  if (at % bytes) fail("a %d-byte access of shared memory at %u is not aligned", bytes, at);
  if (at + uint64_t(bytes) > machine.shared.size())
    fail("an access of shared memory at %u lies past its %zu bytes", at, machine.shared.size());
}
void load_shared_bytes(unsigned from, void* to, int bytes) {
  check_shared(from, bytes);
  log_access(__builtin_return_address(0), from, bytes, shared_load);
  memcpy(to, &machine.shared[from], bytes);
}
void store_shared_bytes(unsigned to, const void* from, int bytes) {
  check_shared(to, bytes);
  log_access(__builtin_return_address(0), to, bytes, shared_store);
  memcpy(&machine.shared[to], from, bytes);
}

// A copy of 16 bytes may begin before its array, as long as it ends inside: a device has the whole of them, whatever they
// are. Here they are NaNs.
void async_copy(unsigned to, const void* from, int bytes, int valid) {
  check_shared(to, bytes);
  memset(&machine.shared[to], 0xff, bytes);
  log_access(__builtin_return_address(0), to, bytes, shared_store);
  const char* p = static_cast<const char*>(from);
  int before = 0;
  if (valid) {
    if (reinterpret_cast<uintptr_t>(p) % bytes) fail("an asynchronous copy of %d bytes is not aligned", bytes);
    Region* r = region_of(p + valid - 1, 1, false);
    if (!r) fail("an asynchronous copy of %d bytes ends outside every array given", valid);
    before = p < r->begin ? int(r->begin - p) : 0;
    mark(*r, p + before, valid - before, false);
    log_access(__builtin_return_address(0), reinterpret_cast<uintptr_t>(p), valid, device_load);
  }
  Lane& lane = machine.lanes[position.thread];
  lane.copies.push_back({to, p, bytes, before, valid, lane.group});
}
void async_commit() { machine.lanes[position.thread].group++; }
void async_wait(int pending) {
  Lane& lane = machine.lanes[position.thread];
  std::vector<PendingCopy> left;
  for (const PendingCopy& c : lane.copies) {
    if (c.group >= lane.group - pending) { left.push_back(c); continue; }
    memset(&machine.shared[c.to + c.before], 0, c.bytes - c.before);
    memcpy(&machine.shared[c.to + c.before], c.from + c.before, c.valid - c.before);
  }
  lane.copies = std::move(left);
}

// Wavefronts of one warp-wide access: a 16-byte access goes a quarter warp at a time, an 8-byte one half a warp.
static void count_wavefronts(const unsigned* address, int lanes, int bytes) {
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
static void count_sectors(const std::vector<Access*>& access) {
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
static void flush_accesses(int warp) {
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
void collective(void (*operation)(void**), void* argument) {
  Lane& lane = machine.lanes[position.thread];
  lane.operation = operation;
  lane.argument = argument;
  lane.state = State::at_operation;
  leave();
}
void barrier(int id, int threads) {
  if (id < 0 || id > 15 || threads % 32 || threads > int(machine.lanes.size()))
    fail("barrier %d of %d threads cannot be", id, threads);
  Lane& lane = machine.lanes[position.thread];
  lane.state = State::at_barrier;
  machine.barrier_waiting[id].push_back(position.thread);
  if (position.thread % 32 == 0) machine.counters.barriers++;
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
void block_barrier() { barrier(0, int(machine.lanes.size())); }

// Runs each lane of the warp to its next operation, then the operation. False where the warp could not move.
static bool step_warp(int warp) {
  bool moved = false;
  const bool downwards = machine.random() & 1;
  for (int i = 0; i < 32; i++) {
    const int lane = warp * 32 + (downwards ? 31 - i : i);
    if (machine.lanes[lane].state != State::ready) continue;
    moved = true;
    position.thread = lane;
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
  position.thread = warp * 32;
  machine.chain[warp]++;
  operation(arguments);
  return true;
}
static void run_block(int threads, size_t shared_bytes) {
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
          if (c.bytes) { position.thread = warp * 32 + i; m.failure = "a thread ended with an asynchronous copy under way"; return; }
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
static void begin(void** begins, const size_t* bytes, const int* writable, int regions, unsigned seed) {
  machine.regions.clear();
  for (int i = 0; i < regions; i++) {
    const char* begin = static_cast<const char*>(begins[i]);
    const std::vector<uint8_t> unseen(bytes[i] / 32 + 2, 0);
    machine.regions.push_back({begin, begin + bytes[i], writable[i] != 0, unseen, unseen});
  }
  machine.counters = Counters();
  machine.failure.clear();
  machine.random.seed(seed);
}
// Runs a grid, its blocks one after the other in random order.
static void launch(const unsigned* grid, int threads, size_t shared_bytes) {
  std::copy(grid, grid + 3, position.grid);
  std::vector<unsigned> order(size_t(grid[0]) * grid[1] * grid[2]);
  for (size_t i = 0; i < order.size(); i++) order[i] = unsigned(i);
  std::shuffle(order.begin(), order.end(), machine.random);
  for (unsigned i : order) {
    position.block[0] = i % grid[0];
    position.block[1] = i / grid[0] % grid[1];
    position.block[2] = i / grid[0] / grid[1];
    run_block(threads, shared_bytes);
    if (!machine.failure.empty()) return;
  }
}

// ---- tensor cores

template <class Number>
void multiply_matrices(void** lanes) {
  struct { float a[16][16], b[16][8]; } m;
  auto put = [](float* to, unsigned pair) { const float2 v = ptx::unpack(Number(), pair); to[0] = v.x; to[1] = v.y; };
  for (int l = 0; l < 32; l++) {
    const Product& p = *static_cast<Product*>(lanes[l]);
    const int g = l / 4, t = l % 4;
    put(&m.a[g][2 * t], p.a.x);
    put(&m.a[g + 8][2 * t], p.a.y);
    put(&m.a[g][2 * t + 8], p.a.z);
    put(&m.a[g + 8][2 * t + 8], p.a.w);
    const float2 low = ptx::unpack(Number(), p.b0), high = ptx::unpack(Number(), p.b1);
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
  machine.counters.tensor_instructions++;
}
template void multiply_matrices<ptx::Fp16>(void**);
template void multiply_matrices<ptx::Bf16>(void**);
static void check_rows(void** lanes, int count, unsigned* address) {
  for (int i = 0; i < 8 * count; i++) {
    address[i] = static_cast<MatrixAccess*>(lanes[i])->at;
    if (address[i] % 16 || address[i] + 16 > machine.shared.size()) {
      machine.failure = "a matrix row lies outside shared memory or is not aligned to 16 bytes";
      address[i] = 0;
    }
  }
  if (machine.failure.empty()) count_wavefronts(address, 8 * count, 16);
}
void load_matrices(void** lanes) {
  const MatrixAccess& first = *static_cast<MatrixAccess*>(lanes[0]);
  unsigned address[32];
  check_rows(lanes, first.count, address);
  if (!machine.failure.empty()) return;
  for (int l = 0; l < 32; l++)
    for (int i = 0; i < first.count; i++) {
      auto element = [&](int row, int column) {
        uint16_t v;
        memcpy(&v, &machine.shared[address[i * 8 + row] + 2 * column], 2);
        return unsigned(v);
      };
      const int g = l / 4, t = l % 4;
      static_cast<MatrixAccess*>(lanes[l])->r[i] =
          first.transposed ? element(2 * t, g) | element(2 * t + 1, g) << 16 : element(g, 2 * t) | element(g, 2 * t + 1) << 16;
    }
}
void store_matrices(void** lanes) {
  unsigned address[32];
  check_rows(lanes, 4, address);
  if (!machine.failure.empty()) return;
  for (int l = 0; l < 32; l++)
    for (int i = 0; i < 4; i++)
      memcpy(&machine.shared[address[i * 8 + l / 4] + 4 * (l % 4)], &static_cast<MatrixAccess*>(lanes[l])->r[i], 4);
}
void transpose(void** lanes) {
  for (int l = 0; l < 32; l++) {
    auto element = [&](int row, int column) {
      return static_cast<Transposition*>(lanes[row * 4 + column / 2])->in >> 16 * (column % 2) & 0xffffu;
    };
    const int g = l / 4, t = l % 4;
    static_cast<Transposition*>(lanes[l])->out = element(2 * t, g) | element(2 * t + 1, g) << 16;
  }
}

// ---- numbers

static float half_to_float_slowly(unsigned h) {
  const unsigned sign = (h & 0x8000u) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
  if (exponent == 31) return float_of_bits(sign | 0x7f800000u | fraction << 13);
  if (exponent) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
  return (sign ? -1.f : 1.f) * std::ldexp(float(fraction), -24);
}
HalfTable::HalfTable() { for (unsigned i = 0; i < 65536; i++) value[i] = half_to_float_slowly(i); }
const HalfTable half_table;
void sine_cosine_pi(float x, float& sine, float& cosine) {
  sine = float(std::sin(M_PI * x));
  cosine = float(std::cos(M_PI * x));
}

}  // namespace emulator

// Runs a grid of the kernel. Returns what stopped it, or nothing.
extern "C" const char* run(const void* arguments, const unsigned* grid, int threads, size_t shared_bytes, void** begins,
                           const size_t* bytes, const int* writable, int regions, unsigned seed,
                           emulator::Counters* counters) {
  using namespace emulator;
  machine.arguments = arguments;
  begin(begins, bytes, writable, regions, seed);
  launch(grid, threads, shared_bytes);
  *counters = machine.counters;
  return machine.failure.c_str();
}
