"""Bytes and operations of rows that blocks convolve whole, in closed form; what passes have in common (`long_work`).

A row of M complex points is the fold of 2 M real samples (csrc/single_rows.cuh). Forward it takes two transforms of M
points, one there and one back; backward three, of u, of dy and of du, and one more for y where there is a gate behind
it. With L samples in and L' out, s bytes a sample, p a point of a plane or a spectrum, and the factors Ni of M:

- A pass in 16-bit products takes 8 M sum(Ni) operations a transform: the terms 16 N Ni of equation 2 of FlashFFTConv
  (Fu et al., arXiv 2311.05908) for one there and one back. The outermost DFT has real input, or gives real output, and
  takes half; a last factor of 32 stops one radix-2 step early and takes 16; no factor takes fewer than a tensor
  instruction's 16.
- A pass in float32 takes radix-2 butterflies of 6 multiply-adds: 6 M log2(M) operations a transform, and 6 M for each
  product of spectra. So do outer DFTs, in either precision.
- Fused, the inputs and results cross device memory once, and the filters' spectra.
- Where units of a half-precision row's spectrum are skipped, so are all of its DFTs but the outermost, and the filters'
  spectra.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log2

from .kernels import POINT_BYTES, Transform
from .plans import Convolution

SAMPLE_BYTES = {"half": 2, "single": 4, "double": 8}
_DTYPE_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
TAP_BYTES, SUM_BYTES = 4, 8  # taps are float32, sums of spectra complex64
# Blocks of a backward pass, of which each sums up spectra of its own (engines/cuda/plans.py).
_SUMMING = 256
_TENSOR = 16
# Bytes of shared memory a point and transform: exchanges between factors, and in half precision operands of tensor
# instructions too (184 wavefronts a row forward at 1K points of two factors, 1280 at 4K of three, as the emulator
# counts).
_SHARED_HALF, _SHARED_SINGLE = 6, 16
# Sums and recomputation make a backward pass so much longer than its transforms and bytes say.
BACKWARD = 1.4
# The same of filters' transforms with outer DFTs: their taps come at any offset, one at a time.
_OUTER_TAPS = 1.4
# Of the operations that are skipped, as many as are lost: the steps of a row that is not skipped wait for each other.
_LOST = 0.3


@dataclass(frozen=True)
class Pass:
    """What one kernel does, all of its launches together.

    Args:
        name: of the step.
        device_bytes: that device memory moves.
        cache_bytes: that the second-level cache moves.
        shared_bytes: that shared memory moves.
        flops: in units of the kind `unit`: "tensor", the same of complex rows "planes", "fma" or "double".
        pieces: that multiprocessors are given, each to one; the last may be a part of one; 0 where all share in all.
        at_once: pieces in one launch, where there are so many.
        launches: kernels started.
        factor: how much longer it takes than all of this says.
        lost: operations not done, for which the time is gone nevertheless.
    """

    name: str
    device_bytes: int
    cache_bytes: int
    shared_bytes: int
    flops: int
    unit: str
    pieces: float
    at_once: float
    launches: int
    factor: float = 1.0
    lost: int = 0


def fused_passes(c: Convolution, t: Transform) -> list[Pass]:
    """Of rows that a block convolves whole."""
    tensors = 4 + 3 * (c.pre_gate + c.post_gate) if c.backward else 2 + c.pre_gate + c.post_gate
    passes = casts(c, SAMPLE_BYTES[c.precision], _io_samples(c), tensors)
    if not c.prepared:
        passes.append(spectrum_pass(c, t, c.spectra))
    spectra = int(c.spectra * t.points * POINT_BYTES[c.precision] * (1 - _skipped(c)))
    moved = _io_samples(c) * SAMPLE_BYTES[c.precision] + spectra
    transforms, products = (3 + c.post_gate, 2 + c.post_gate) if c.backward else (2, 1)
    passes.append(rows_pass("fused", t, c.rows, c.rows, moved, moved, transforms, products, skipped=_skipped(c)))
    if not c.backward:
        return passes
    passes[-1] = replace(passes[-1], factor=BACKWARD)
    return [*passes, gradient_pass(c, t, 2 * _sums(c), c.spectra)]


def fused_memory(c: Convolution, t: Transform) -> int:
    """Device memory of the same: inputs, results, spectra and sums."""
    sums = _sums(c) * t.points * SUM_BYTES if c.backward else 0
    return tensor_bytes(c, SAMPLE_BYTES[c.precision]) + c.spectra * t.points * POINT_BYTES[c.precision] + sums


def tensor_bytes(c: Convolution, sample: int) -> int:
    """Inputs and results, in their own type and in the kernels' of so many bytes where that is another, and taps."""
    here = _DTYPE_BYTES[c.dtype]
    taps = c.spectra * c.taps * TAP_BYTES * (2 if c.backward else 1)
    return _io_samples(c) * (here + (sample if here != sample else 0)) + taps


def transforms_of_row(c: Convolution) -> int:
    """Of each row, where it is convolved whole."""
    return 3 + c.post_gate if c.backward else 2


def casts(c: Convolution, sample: int, samples: int, tensors: int) -> list[Pass]:
    """Rows of another type than the kernels', of so many bytes, are copied first, and results after."""
    here = _DTYPE_BYTES[c.dtype]
    moved = samples * (here + sample)
    return [] if here == sample else [Pass("cast", moved, moved, 0, 0, "fma", 0, 0, tensors)]


def spectrum_pass(c: Convolution, t: Transform, count: int) -> Pass:
    """The spectra of so many filters, of their taps."""
    moved = count * (c.taps * TAP_BYTES + _crossings(t) + t.points * POINT_BYTES[t.precision])
    made = _filter_pass("spectra", t, moved, count)
    return replace(made, factor=_OUTER_TAPS) if t.outer else made


def gradient_pass(c: Convolution, t: Transform, sums: int, count: int) -> Pass:
    """So many sums of spectra, written or read, to make the gradients of so many filters' taps."""
    moved = sums * t.points * SUM_BYTES + count * (_crossings(t) + c.taps * TAP_BYTES)
    return _filter_pass("taps' gradients", t, moved, count)


def rows_pass(
    name: str, t: Transform, tiles: int, group: int, device: int, cache: int, transforms: int, products: int,
    skipped: float = 0.0,
) -> Pass:  # fmt: skip
    """Convolutions within blocks, of `tiles` tiles, `group` a launch: so many transforms and products of each."""
    of_tile, points, factors = t.points // t.row.points, t.row.points, t.row.factors
    rows, lost = tiles * of_tile, 0
    if t.precision == "half":
        widths = [max(factor, _TENSOR) for factor in factors]
        widths[-1] = _TENSOR  # the last factor, 16 or 32, costs 16
        real = 0 if t.outer else widths[0] // 2
        spared = int(8 * points * rows * transforms * skipped * sum(widths[1:]))
        flops = 8 * points * rows * transforms * (sum(widths) - real) - spared
        lost = int(_LOST * spared)
        shared = int(rows * transforms * points * _SHARED_HALF * (len(factors) - skipped * (len(factors) - 1)))
        unit = "planes" if t.outer else "tensor"
    else:
        flops = int(6 * points * rows * (transforms * log2(points) + products))
        shared = rows * transforms * points * _SHARED_SINGLE * (len(factors) - 1)
        unit = "fma"
    return Pass(name, device, cache, shared, flops, unit, rows, group * of_tile, -(-tiles // max(group, 1)), lost=lost)


def _filter_pass(name: str, t: Transform, moved: int, count: int) -> Pass:
    flops = count * int(6 * t.points * log2(t.points))
    shared = count * t.points * _SHARED_SINGLE * (len(t.factors) - 1)
    pieces = count * t.points // t.row.points
    return Pass(name, moved, moved, shared, flops, "fma", pieces, pieces, 1 + len(t.outer))


def _crossings(t: Transform) -> int:
    """Bytes between the passes of a filter's transform."""
    return 2 * len(t.outer) * t.points * SUM_BYTES


def _skipped(c: Convolution) -> float:
    """Units are passed over in half precision alone."""
    return c.sparsity if c.precision == "half" else 0.0


def _io_samples(c: Convolution) -> int:
    """Samples of all inputs and results."""
    if c.backward:
        return c.rows * (2 * (1 + c.pre_gate) * c.length + (1 + 2 * c.post_gate) * c.out_length)
    return c.rows * ((1 + c.pre_gate) * c.length + (1 + c.post_gate) * c.out_length)


def _sums(c: Convolution) -> int:
    """Partial sums of filters' gradients."""
    if c.filter_per_item:
        return c.rows
    return c.channels * min(c.batch, -(-_SUMMING // c.channels))
