"""Bytes and operations of a convolution by torch.fft, where there is no kernel for it."""

from __future__ import annotations

from math import log2

from .plans import Convolution
from .work import SAMPLE_BYTES, Pass, tensor_bytes, transforms_of_row

# Passes over memory: a real transform of cuFFT takes one more for each 2^9 points. With that, what an H200 took for
# rows of 512 to 16384 samples (README.md) is within 20 % of what comes out.
_CUFFT_POINTS_LOG2 = 9
_LAUNCHES = 8
# Of copies in memory at a time (engines/torch_rows.py).
_WORKSPACE = 1 << 30


def torch_passes(c: Convolution, points: int) -> list[Pass]:
    """What torch.fft does with transforms of so many real points: gate, pad, transform, multiply, transform, crop."""
    size = max(SAMPLE_BYTES[c.precision], 4)
    transforms = 2 * -(-int(log2(points)) // _CUFFT_POINTS_LOG2) * 2 * points
    samples = 3 * c.length * c.pre_gate + c.length + points + transforms + 2 * points + (2 + c.post_gate) * c.out_length
    moved = c.rows * samples * size * transforms_of_row(c) // 2
    made = 0 if c.prepared else c.spectra * (c.taps + transforms // 2 + points) * size
    flops = int(2.5 * points * log2(points)) * (c.rows * transforms_of_row(c) + (0 if c.prepared else c.spectra))
    unit = "double" if c.precision == "double" else "fma"
    return [Pass("torch.fft", moved + made, moved + made, 0, flops, unit, 0, 0, _LAUNCHES)]


def torch_memory(c: Convolution, points: int) -> int:
    """Device memory of the same: rows are taken so many at a time that their copies stay below a limit."""
    size = max(SAMPLE_BYTES[c.precision], 4)
    row = 4 * points * size
    return (
        tensor_bytes(c, SAMPLE_BYTES[c.precision]) + c.spectra * points * size + max(min(c.rows * row, _WORKSPACE), row)
    )
