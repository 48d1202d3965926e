// Roots of unity as literals.
//
// NVRTC does not fold a series summed in double precision at compile time for every architecture: on sm_100 and sm_120
// thousands of double-precision instructions stayed in the kernels. A table of literals indexed by constants always
// folds.
#pragma once

#include "fft_complex.cuh"

namespace fft {

// The finest angle a constant twiddle needs: a radix-32 transform twisted by a quarter of a bin, 4 * 32 steps a circle.
constexpr int circle = 128;

DEVICE constexpr float quarter_wave(int step) {  // cos(2 pi step / circle), 0 <= step <= circle / 4
  constexpr float cosines[circle / 4 + 1] = {
    1.0f, 0.99879545f, 0.9951847f, 0.9891765f, 0.98078525f, 0.97003126f,
    0.95694035f, 0.94154406f, 0.9238795f, 0.9039893f, 0.8819213f, 0.8577286f,
    0.8314696f, 0.8032075f, 0.77301043f, 0.7409511f, 0.70710677f, 0.671559f,
    0.6343933f, 0.5956993f, 0.55557024f, 0.51410276f, 0.47139674f, 0.42755508f,
    0.38268343f, 0.33688986f, 0.29028466f, 0.24298018f, 0.19509032f, 0.14673047f,
    0.09801714f, 0.049067676f, 0.0f,
  };
  return cosines[step];
}

DEVICE constexpr float cosine(int step) {  // of any step, by the symmetries of the circle
  const int turn = step & (circle - 1);
  const int half = turn <= circle / 2 ? turn : circle - turn;
  return half <= circle / 4 ? quarter_wave(half) : -quarter_wave(circle / 2 - half);
}

// e^(2 pi i numerator / denominator); the denominator divides circle, and both are constants once loops are unrolled.
DEVICE constexpr Complex root(int numerator, int denominator) {
  const int step = numerator * (circle / denominator);
  return {cosine(step), cosine(step - circle / 4)};
}

}  // namespace fft
