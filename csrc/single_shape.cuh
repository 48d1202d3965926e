// Sizes of a single-precision convolution, and which thread holds which of its points when.
//
// A row of M = N1 N2 N3 complex points lies as a cube: point n = (n1 N2 + n2) N3 + n3, frequency k = k1 + N1 (k2 + N2
// k3). The forward transform contracts n1 to k1, n2 to k2, n3 to k3 in this order and the inverse the other way round,
// each as columns of Radix points that one thread holds. A plane is what one k1 holds, N2 N3 points. After the first
// exchange every warp keeps whole planes, so the inner two digits never need a barrier of the block. N1 = 1 makes the
// plane the row: several rows a warp, and no barrier at all.
#pragma once

#include "ptx.cuh"

namespace single {

template <int N1_, int N2_, int N3_>
struct Shape {
  static constexpr int N1 = N1_, N2 = N2_, N3 = N3_;
  static constexpr int points = N1 * N2 * N3;
  static constexpr int held = N3;  // points in a thread's registers: the largest digit is the last
  static constexpr int threads = N1 > 1 ? points / held : 128;
  static constexpr int rows = threads * held / points;  // rows a block works on at a time

  // In shared memory a run of N3 points is followed by an empty cell. With N3 of 16 or 32 each of the three views below
  // then meets every bank once, in cells of eight bytes and, for planes of 16 x 32, in cells of four too.
  static constexpr int run = N3 + 1;
  static constexpr int plane = N2 * run;
  static constexpr int cells = threads * held / (N2 * N3) * plane;

  static constexpr int first_digit = N1 > 1 ? 1 : 2;  // the digit of time that is contracted first
  static constexpr int first_radix = N1 > 1 ? N1 : N2;
  static constexpr int first_columns = points / first_radix;  // of a row

  static_assert(N1 <= N3 && N2 <= N3, "registers for the last digit's columns hold the others' too");
  static_assert(32 * held % (N2 * N3) == 0, "a warp holds whole planes");
  static_assert(32 % N3 == 0 && 32 % N2 == 0, "columns 32 apart differ in their plane only");

  // What bounds the registers: 128 of them where a thread holds 32 points, 80 where it holds 16.
  static constexpr int blocks_per_multiprocessor = (held == 32 ? 512 : 768) / threads;
};

// The points as columns along one digit. A block has columns * threads of them; thread t holds column(t), and further
// ones column_step apart: register r is point r % radix of column r / radix.
template <class S, int DIGIT>
struct View {
  static constexpr int radix = DIGIT == 1 ? S::N1 : DIGIT == 2 ? S::N2 : S::N3;
  static constexpr int columns = S::held / radix;
  static constexpr int column_step = DIGIT == 1 ? S::threads : 32;
  static constexpr int cell_step = DIGIT == 1 ? S::plane : DIGIT == 2 ? S::run : 1;

  DEVICE constexpr int column(int thread) {
    return DIGIT == 1 ? thread : thread / 32 * (32 * columns) + thread % 32;
  }

  // The shared cell of a column's first point. Columns are (n2, n3) of a row, (plane, n3) or (plane, k2) of a block.
  DEVICE constexpr int cell(int column) {
    return DIGIT == 1   ? column / S::N3 * S::run + column % S::N3
           : DIGIT == 2 ? column / S::N3 * S::plane + column % S::N3
                        : column / S::N2 * S::plane + column % S::N2 * S::run;
  }

  // Cell of register r, counted from the thread's first cell: a constant.
  DEVICE constexpr int offset(int r) {
    return cell(r / radix * column_step) + r % radix * cell_step;
  }
};

}  // namespace single
