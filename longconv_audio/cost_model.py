"""What transforms and products cost on a CPU, as a formula, and which transform sizes are worth asking for."""

from __future__ import annotations

import math

# Measured with scipy's FFT on one core of an AMD EPYC (Zen 4): nanoseconds per point and log2(points) of a real
# FFT, alone and in a vector of rows, and nanoseconds per byte of a complex multiply-accumulate. Only their
# ratios decide.
_SCALAR_FFT = {4: 0.27, 8: 0.29}
_VECTOR_FFT = {4: 0.115, 8: 0.195}
VECTOR_ROWS = {4: 4, 8: 2}
MULTIPLY_ADD = 0.12
CALL = 1500.0
_MONARCH = 1.15
_IN_CACHE, _NEAR_CACHE, _SPILLING = 5_000_000, 8_500_000, 6_500_000


def fft_nanoseconds(n: int, rows: int, itemsize: int) -> float:
    """Predicted time of `rows` real FFTs of n points on one core, transformed in one call."""
    vector_rows = VECTOR_ROWS[itemsize]
    vectors, alone = divmod(rows, vector_rows)
    work = vectors * vector_rows * _VECTOR_FFT[itemsize] * _spill(vector_rows * n * itemsize)
    work += alone * _SCALAR_FFT[itemsize] * _spill(n * itemsize)
    return CALL + work * n * math.log2(max(n, 2))


def monarch_nanoseconds(factors: tuple[int, int], itemsize: int) -> float:
    """Predicted time of one convolution through a two-step transform and back, on one core.

    Its steps have the operations of a transform forth and one back; their passes over memory cost a little more,
    and there are three products on half the points.
    """
    n = factors[0] * factors[1]
    return 2 * CALL + n * (_MONARCH * 2 * _VECTOR_FFT[itemsize] * math.log2(n) + 3 * itemsize * MULTIPLY_ADD)


def monarch_factors(least: int, most: int) -> list[tuple[int, int]]:
    """Pairs (N1, N2) for a two-step transform of `least` to `most` points, by ascending product.

    N1 transforms run down columns, so their length is kept to what the cache holds; N2 is smooth, and no multiple
    of 256, for columns at such a distance fall on top of each other in the cache.

    >>> monarch_factors(1_000_000, 1_030_000)
    [(512, 2000)]
    """
    pairs = [(rows, n) for rows in (256, 512, 1024) for n in fast_sizes(2 * rows, 5 * rows) if n % 256]
    return sorted((pair for pair in pairs if least <= pair[0] * pair[1] <= most), key=lambda pair: pair[0] * pair[1])


def _spill(size: int) -> float:
    """How much slower a transform becomes whose rows take `size` bytes and leave the cache."""
    if size <= _IN_CACHE:
        return 1.0
    return 1.15 if size <= _NEAR_CACHE else min(size / _SPILLING, 4.0)


def fast_sizes(least: int, most: int) -> list[int]:
    """Even transform sizes of the form 2^a 3^b 5^c from `least` to `most`, ascending; never empty.

    >>> fast_sizes(1000, 1100)
    [1000, 1024, 1080]
    """
    sizes = set()
    for fives in range(4):
        for threes in range(4):
            n = 2 * 3**threes * 5**fives
            n <<= max(math.ceil(math.log2(least / n)), 0) if least > n else 0
            while n <= most:
                if n >= least:
                    sizes.add(n)
                n *= 2
    return sorted(sizes) or [1 << math.ceil(math.log2(max(least, 2)))]
