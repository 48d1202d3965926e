// What the host hands to a kernel, and what it fixes when it compiles one.
//
// Only sizes, strides and pointers arrive at run time; every choice that changes the code is a template parameter.
// The CUDA engine mirrors these structs field by field.
#pragma once
#include "ptx.cuh"

using Index = long long;  // offsets into device memory: 4M samples times 1,024 rows do not fit 32 bits

// Element strides of a tensor (batch, channel, time) whose time axis is dense. A stride of 0 broadcasts.
struct Strides {
  Index batch, channel;
};

// One call of a fused convolution, forward or backward, in any precision.
//
//   x = u pre_gate,  y = post_gate (x * k),     y[n] = sum_m x[m] k[n - m + offset]
//
// Which lag a tap stands at (offset, circular, correlation) and the skip term d (a tap at lag 0) are all matters of the
// filter's spectrum: see FilterArguments. The kernel of a convolution knows none of them.
//
// A block walks `rows_per_block` batch items of one channel: block_x is the channel, block_y the chunk of the batch.
// Where every batch item has a filter of its own, rows_per_block is 1.
struct Arguments {
  const void* u;
  const void* pre_gate;   // like u, or unused
  const void* post_gate;  // like y, or unused
  void* y;                // not written by a backward kernel
  const void* spectrum;   // filters in the kernel's own order, `filter_strides` apart
  const float* spectrum_scale;  // what the inverse transform multiplies by, one a filter, as many strides apart as filters
  const void* tables;     // DFT matrices and twiddles

  // backward only
  const void* dy;         // like y
  void* du;               // like u, dense
  void* dpre_gate;
  void* dpost_gate;       // like y, dense
  float2* dspectrum;      // (channel, chunk, points): sums over the chunk's rows, each written by its block alone
  void* scratch;          // what does not fit shared memory, a piece of its own for each block

  Strides u_strides, pre_strides, post_strides, y_strides, dy_strides, du_strides, dpre_strides, dpost_strides;
  Strides filter_strides;  // in filters: batch is 0 unless each item has its own
  int channels_per_filter;
  int planes;      // rows of complex points that a channel of a long row has (outer_rows.cuh), each with its filter; else 1
  int batch, channels;  // rows
  int length;      // of u and pre_gate
  int out_length;  // of y and post_gate
  int tiles, hop, lead;  // of a batch item, where rows are tiles (single_rows.cuh): samples from one to the next, and before it
  int rows_per_block;
  unsigned zero;  // always 0, which the compiler cannot know: added to an address, it keeps a load inside its loop
  const unsigned char* mask;  // SPARSE only: of each bin, in natural order, whether it is kept
};

// Filter taps to spectrum, and the spectrum's gradient back to taps.
//
// Tap j stands at lag direction (j - offset); in a circular filter lags are taken modulo `length`. Lags that no output
// can see (|lag| >= the longer of the two lengths) are passed over, so that K may exceed what the FFT could hold.
struct FilterArguments {
  const float* k;       // (filters, taps), `tap_strides` apart: batch for the filter axis of items, channel for filters
  const float* d;       // one a filter, added at lag 0, or null
  void* spectrum;
  float* scale;
  const void* tables;   // as in Arguments, where the spectrum is made by the same stages

  // gradient only
  const float2* dspectrum;  // (channel, chunk, points)
  float* dk;                // like k, dense
  float* dd;                // one a filter, or null

  Strides tap_strides;
  int filters;              // of one batch item
  int taps;
  int length, out_length;
  int offset;
  int direction;            // 1 convolves, -1 correlates
  int circular;             // 0 or 1
  int channels_per_filter;  // whose sums make one filter's gradient,
  int planes;               // as in Arguments: filters are those of planes
  int chunks_per_filter;    // and how many chunks of each
  int chunks;               // in all
  const unsigned char* mask;  // the bins that are kept, as in Arguments, or null for all
};

// One pass of the outermost DFT of long rows, from samples to planes or back: see outer_rows.cuh. Block_y is a row of the
// launch, which begins with number `first_row` of all, tile by tile of each batch item.
struct OuterArguments {
  void* samples;           // rows: read forward, written inverse; of a filter, its taps
  const void* gate;        // what they are multiplied by, or null
  void* second;            // inverse: the same rows times another gate, or null
  const void* second_gate;
  void* planes;            // (rows, channels, R, 2, I), float; or in half precision (rows, channels, R, I), words
  float* tile_scales;      // forward, in half precision: (rows, channels, I / 32), as in PlaneArguments
  const float* row_scales;  // inverse, in half precision: (rows, channels, R)

  Strides strides, gate_strides, second_strides, second_gate_strides;
  int points;              // I
  int channels;
  int length;              // of a row of samples, or the taps of a filter
  int first_row, tiles;
  int hop, lead;           // samples from one tile to the next, and those before it that it sees
  int span;                // samples of a tile that count: read forward, written inverse
  int offset, direction;   // of a filter, as in FilterArguments
};

// The inner convolutions of long rows, forward or backward, in half precision.
//
// A plane row is a row of M complex points, a word each: real part in the low half, imaginary part in the high half, both
// fp16. Every `planes_per_row` channels are the inner rows of one channel of the long transform and have their scales in
// common: the points of tile t of 32, of parts below 2^4, stand for `in_scale[(item, channel / planes_per_row), t]` times
// themselves. A scale is a power of two of 2^-126 to 2^126, or 0. What comes out stands for `out_scale[item, channel]`
// times itself.
//
// A block walks rows as in Arguments. Rows may be written over those they come of.
struct PlaneArguments {
  const void* u;          // what x = u pre_gate became in the outer transform
  void* y;                // forward only
  const void* spectrum;   // as in Arguments
  const float* spectrum_scale;
  const void* tables;
  const float* in_scale;  // of u
  float* out_scale;       // of y

  // backward only
  const void* g;          // what z = dy post_gate became
  const float* g_scale;
  void* dx;               // T^-1 (conj K T g)
  float* dx_scale;
  float2* dspectrum;      // (filter, channel of it, chunk, points): sums of conj(T x) T g
  void* scratch;

  Strides strides;         // of u, y, g and dx, in points; rows start on 16 bytes
  Strides filter_strides;  // in filters: batch is 0 unless each item has its own
  int channels_per_filter;  // of the long transform's channels
  int planes_per_row;
  int batch, channels;
  int rows_per_block;
  unsigned zero;  // as in Arguments
};

// One call of a short depthwise convolution, or of its gradient, which is one too:
//
//   y = side (x pre_gate * k + bias),     y[n] = sum_j k[j] x[n + shift - lead - j]
//
// `side` is y's gate, or the rows with which a kernel of gradients multiplies: see the kernels.
struct ShortArguments {
  const void* x;
  const void* pre_gate;  // like x, or unused
  const void* side;      // like y, or unused
  void* y;
  const float* k;        // time dense: (filters, taps); channels last: (taps, channels), in the order of lags
  const float* bias;     // one a channel, or null
  float* sums;           // of gradients, one piece a chunk

  Strides x_strides, pre_strides, side_strides, y_strides;  // channels last: `channel` is the step of time
  int channels_per_filter;
  int batch, channels;
  int length;      // of x and pre_gate
  int out_length;  // of y and side
  int taps;
  int reversed;    // 0 or 1: k is read backwards
  int shift, lead;
  int first;       // where in the time of x the first tile of a row begins
  int tiles;       // of a row
  int tiles_per_chunk, chunks;  // of a channel's tiles, over all batch items
  int chunks_together;          // that stand before the next channel's
};

// From the sums of chunks to the gradients of taps and bias.
struct ShortSumArguments {
  const float* sums;
  float* dk;     // (filters, taps), dense, or null
  float* dbias;  // (channels), or null
  Index chunk_step, channel_step, slot_step;  // of sums
  int chunks, channels, channels_per_filter, filters, taps;
  int reversed;
  int first_slot, bias_slot;
  int lanes;     // that make one sum, a power of two
};

// One normalisation over channels, or its gradient: tensors (batch, channels, length), dense.
struct NormArguments {
  const void* x;
  const void* dy;       // backward only
  void* result;         // y; backward, x's gradient
  const float* weight;
  const float* bias;    // forward only
  float* sums;          // backward: of the weight's and the bias' gradients, one of each a channel and block
  int channels, length;
  int tiles;            // of a batch item
  int all_tiles, tiles_per_block;  // backward
  float eps;
};

// The switches that every convolution kernel has, whatever its precision.
//
// ALIGNED: each row starts on 16 bytes and its length is a multiple of 16 bytes, so that a vector access never needs a
// look at the end of the row inside it.
// SPARSE: there is a mask, and units of which nothing is kept are passed over.
template <bool PRE_GATE, bool POST_GATE, bool ALIGNED, bool SPARSE = false>
struct Switches {
  static constexpr bool pre_gate = PRE_GATE;
  static constexpr bool post_gate = POST_GATE;
  static constexpr bool aligned = ALIGNED;
  static constexpr bool sparse = SPARSE;
};
