// Rounds of an all-to-all exchange among the blocks of a thread-block cluster, each block's points in its shared memory.
//
// A transposition between an outer and an inner DFT: block `rank` has one chunk of points for each block of its cluster
// and takes chunk `rank` of each of them. It is in place, as where the points fill shared memory: all go through
// registers, with one cluster barrier when everyone has loaded and one when everyone has stored.
#pragma once

// A thread's COUNT pieces, evenly from all SIZE blocks: `move` gets the place at home, that in the other block and the
// piece's number. Piece e of the one is piece STRIDE e, modulo the chunk, of the other: an odd stride is free of bank
// conflicts, and one prime to the chunk meets every piece of it.
template <int SIZE, int THREADS, int COUNT, int STRIDE, class Piece, class Move>
__device__ void for_each_piece(Piece* own, unsigned rank, const Move& move) {
  static_assert(COUNT % SIZE == 0, "a thread has pieces from every block");
  constexpr unsigned each = COUNT / SIZE, chunk = THREADS * each, step = THREADS * STRIDE % chunk;
  // What the compiler cannot see through: it would keep the addresses of all pieces, which take more registers than the
  // pieces themselves, from one round to the next.
  const unsigned thread = __shfl_sync(~0u, threadIdx.x, threadIdx.x % 32);
#pragma unroll
  for (unsigned block = 0; block < SIZE; ++block) {
    const unsigned other = (rank + block) % SIZE;  // each block begins with another
    Piece* there = own;
    if (SIZE > 1) there = static_cast<Piece*>(__cluster_map_shared_rank(own, other));
    there += rank * chunk;
    unsigned at = thread * STRIDE % chunk;
#pragma unroll
    for (unsigned e = 0; e < each; ++e) {
      move(own[other * chunk + e * THREADS + thread], there[at], block * each + e);
      at = min(at + step, at + step - chunk);  // the second is huge where it is below zero
    }
  }
}

template <int SIZE>
__device__ void wait_for_cluster() {
  if (SIZE == 1) return __syncthreads();
  __cluster_barrier_arrive();
  __cluster_barrier_wait();
}

constexpr int RESIDENT_THREADS = 768;  // of a multiprocessor, each with 64 words of points in registers

// COUNT pieces of a thread make up a block's shared memory. Every word begins as its number within the cluster, and
// `result` is what they are in the end, block after block.
template <class Piece, int SIZE, int THREADS, int COUNT, int STRIDE, bool WRITES>
__global__ void __launch_bounds__(THREADS, RESIDENT_THREADS / THREADS) exchange(unsigned* result, int rounds) {
  constexpr unsigned words = THREADS * COUNT * sizeof(Piece) / 4;
  extern __shared__ uint4 memory[];
  unsigned* const own_words = reinterpret_cast<unsigned*>(memory);
  Piece* const own = reinterpret_cast<Piece*>(memory);
  const unsigned rank = SIZE == 1 ? 0 : __clusterRelativeBlockRank();
  for (unsigned i = threadIdx.x; i < words; i += THREADS) own_words[i] = rank * words + i;
  wait_for_cluster<SIZE>();
#pragma unroll 1
  for (int round = 0; round < rounds; ++round) {
    Piece held[COUNT];
    for_each_piece<SIZE, THREADS, COUNT, STRIDE>(own, rank, [&](Piece& here, Piece& there, int n) {
      held[n] = WRITES ? here : there;
    });
    wait_for_cluster<SIZE>();
    for_each_piece<SIZE, THREADS, COUNT, STRIDE>(own, rank, [&](Piece& here, Piece& there, int n) {
      (WRITES ? there : here) = held[n];
    });
    wait_for_cluster<SIZE>();
  }
  for (unsigned i = threadIdx.x; i < words; i += THREADS) result[blockIdx.x * words + i] = own_words[i];
}
