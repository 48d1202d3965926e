"""Bytes and operations of each algorithm, in closed form, pass by pass.

A row of M complex points is the fold of 2 M real samples (csrc/single_rows.cuh). Forward it takes two transforms of M
points, one there and one back; backward three, of u, of dy and of du, and one more for y where there is a gate behind
it. With L samples in and L' out, s bytes a sample, p a point of a plane or a spectrum, and the factors Ni of M:

- A pass in 16-bit products takes 8 M sum(Ni) operations a transform: the terms 16 N Ni of equation 2 of FlashFFTConv
  (Fu et al., arXiv 2311.05908) for one there and one back. The outermost DFT has real input, or gives real output, and
  takes half; a last factor of 32 stops one radix-2 step early and takes 16; no factor takes fewer than a tensor
  instruction's 16.
- A pass in float32 takes radix-2 butterflies of 6 multiply-adds: 6 M log2(M) operations a transform, and 6 M for each
  product of spectra. So do outer DFTs, in either precision.
- Fused, the inputs and results cross device memory once, and the filters' spectra. Each level of outer DFTs adds a
  writing and a reading of all M points on the way there, and as much on the way back.
- Where zero blocks of the spectrum are skipped, the last factor's DFTs shrink, and the filters' spectra.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from ..engines.cuda.outer_kernels import OuterShape
from .kernels import POINT_BYTES, Transform
from .plans import Convolution

SAMPLE_BYTES = {"half": 2, "single": 4, "double": 8}
_DTYPE_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
_TAP_BYTES, _SUM_BYTES = 4, 8  # taps are float32, sums of spectra complex64
# Blocks of a backward pass, of which each sums up spectra of its own (engines/cuda/plans.py).
_SUMMING = 256
_TENSOR = 16
# Bytes of shared memory a point and transform: exchanges between factors, and in half precision operands of tensor
# instructions too (184 wavefronts a row forward at 1K points of two factors, 1280 at 4K of three, as the emulator
# counts).
_SHARED_HALF, _SHARED_SINGLE = 6, 16


@dataclass(frozen=True)
class Tiling:
    """How rows are cut: `count` tiles a row, `hop` output samples from one to the next."""

    count: int
    hop: int


@dataclass(frozen=True)
class Pass:
    """What one kernel does, all of its launches together.

    Args:
        name: of the step.
        device_bytes: that device memory moves.
        cache_bytes: that the second-level cache moves.
        shared_bytes: that shared memory moves.
        flops: in units of the kind `unit`: "tensor", "fma" or "double".
        pieces: that multiprocessors are given, each to one; the last may be a part of one; 0 where all share in all.
        at_once: pieces in one launch, where there are so many.
        launches: kernels started.
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


def convolution_passes(c: Convolution, t: Transform, tiling: Tiling, group: int, missed: float) -> list[Pass]:
    """Every pass of a convolution by kernels.

    Args:
        group: tiles whose planes are in memory at a time.
        missed: of what passes read and write of these, the share that the second-level cache has no room for.
    """
    return [*_casts(c), *_spectrum_passes(c, t), *_row_passes(c, t, tiling, group, missed), *_gradient_passes(c, t)]


def planes_bytes(c: Convolution, t: Transform, group: int) -> int:
    """Of the planes of so many tiles between the passes: none where one block does all of it."""
    return group * _planes(c) * t.points * POINT_BYTES[c.precision] if t.outer else 0


def memory_bytes(c: Convolution, t: Transform, group: int) -> int:
    """Device memory of a call: inputs, results, spectra, sums and planes."""
    spectra = c.spectra * t.points * POINT_BYTES[c.precision]
    sums = _sums(c) * t.points * _SUM_BYTES if c.backward else 0
    return tensor_bytes(c) + spectra + sums + planes_bytes(c, t, group)


def tensor_bytes(c: Convolution) -> int:
    """Inputs and results, in their own type and in the kernels' where that is another, and taps."""
    here, there = _DTYPE_BYTES[c.dtype], SAMPLE_BYTES[c.precision]
    taps = c.spectra * c.taps * _TAP_BYTES * (2 if c.backward else 1)
    return _io_samples(c, c.length) * (here + (there if here != there else 0)) + taps


def transforms_of_row(c: Convolution) -> int:
    """Of each row."""
    return 3 + c.post_gate if c.backward else 2


def _casts(c: Convolution) -> list[Pass]:
    """Rows of another type than the kernels' are copied first, and results after."""
    here, there = _DTYPE_BYTES[c.dtype], SAMPLE_BYTES[c.precision]
    if here == there:
        return []
    moved = _io_samples(c, c.length) * (here + there)
    tensors = 4 + 3 * (c.pre_gate + c.post_gate) if c.backward else 2 + c.pre_gate + c.post_gate
    return [Pass("cast", moved, moved, 0, 0, "fma", 0, 0, tensors)]


def _spectrum_passes(c: Convolution, t: Transform) -> list[Pass]:
    if c.prepared:
        return []
    crossings = 2 * len(t.outer) * t.points * _SUM_BYTES
    moved = c.spectra * (c.taps * _TAP_BYTES + crossings + t.points * POINT_BYTES[c.precision])
    return [_filter_pass("spectra", c, t, moved, c.spectra)]


def _gradient_passes(c: Convolution, t: Transform) -> list[Pass]:
    """The sums of the filters' gradients, and their way back to taps."""
    if not c.backward:
        return []
    crossings = 2 * len(t.outer) * t.points * _SUM_BYTES
    moved = 2 * _sums(c) * t.points * _SUM_BYTES + c.spectra * (crossings + c.taps * _TAP_BYTES)
    return [_filter_pass("taps' gradients", c, t, moved, c.spectra)]


def _filter_pass(name: str, c: Convolution, t: Transform, moved: int, count: int) -> Pass:
    flops = count * int(6 * t.points * log2(t.points))
    shared = count * t.points * _SHARED_SINGLE * (len(t.factors) - 1)
    pieces = count * t.points // t.row.points
    return Pass(name, moved, moved, shared, flops, "fma", pieces, pieces, 1 + len(t.outer))


def _row_passes(c: Convolution, t: Transform, tiling: Tiling, group: int, missed: float) -> list[Pass]:
    """Outer DFTs, rows within blocks, and outer DFTs back."""
    tiles = c.rows * tiling.count
    size = SAMPLE_BYTES[c.precision]
    read = c.length + (tiling.count - 1) * (c.taps - 1)
    spectra = int(c.spectra * t.points * POINT_BYTES[c.precision] * (1 - c.sparsity))
    if not t.outer:
        moved = _io_samples(c, read) * size + spectra
        return [_rows("fused", c, t, tiles, tiles, moved, moved)]
    plane = tiles * t.points * POINT_BYTES[c.precision]
    there, back = (2 if c.backward else 1), _planes(c) - (1 if c.backward else 0)
    first, last = _ends(c, read)

    def crossing(planes: int, more: int) -> tuple[int, int]:
        """Of device memory, and of the cache."""
        return more + int(missed * planes * plane), more + planes * plane

    passes = [_outer("outer DFT", t.shapes[0], t, tiles, group, there, *crossing(there, first * size))]
    passes += [_outer("outer DFT", s, t, tiles, group, there, *crossing(2 * there, 0)) for s in t.shapes[1:]]
    passes.append(_rows("rows", c, t, tiles, group, *crossing(there + back, spectra)))
    passes += [_outer("outer inverse", s, t, tiles, group, back, *crossing(2 * back, 0)) for s in t.shapes[:0:-1]]
    passes.append(_outer("outer inverse", t.shapes[0], t, tiles, group, back, *crossing(back, last * size)))
    return passes


def _rows(name: str, c: Convolution, t: Transform, tiles: int, group: int, device: int, cache: int) -> Pass:
    """Convolutions within blocks, of `tiles` tiles, `group` a launch."""
    of_tile = t.points // t.row.points
    rows = tiles * of_tile
    transforms, points = rows * transforms_of_row(c), t.row.points
    if c.precision == "half":
        widths = [max(factor, _TENSOR) for factor in t.row.factors]
        widths[-1] = _TENSOR  # the last factor, 16 or 32, costs 16
        real = 0 if t.outer else widths[0] // 2
        flops = int(8 * points * transforms * (sum(widths) - real - c.sparsity * widths[-1]))
        shared = transforms * points * _SHARED_HALF * len(t.row.factors)
        unit = "tensor"
    else:
        steps = log2(points) - c.sparsity * log2(t.row.factors[-1])
        flops = int(6 * points * (transforms * steps + rows * _products(c)))
        shared = transforms * points * _SHARED_SINGLE * (len(t.row.factors) - 1)
        unit = "fma"
    return Pass(name, device, cache, shared, flops, unit, rows, group * of_tile, -(-tiles // group))


def _outer(
    name: str, s: OuterShape, t: Transform, tiles: int, group: int, planes: int, device: int, cache: int
) -> Pass:
    """Outer DFTs of one level, of `planes` planes a tile, `group` tiles a launch."""
    points = tiles * planes * t.points
    shared = points * _SHARED_SINGLE * (s.r1 > 1)
    pieces, at_once = (m * planes * t.points / (s.size * s.columns) for m in (tiles, group))
    flops = points * int(6 * log2(s.size))
    return Pass(name, device, cache, shared, flops, "fma", pieces, at_once, -(-tiles // group))


def _products(c: Convolution) -> int:
    """Of spectra: with the filter's, and of u's with dy's."""
    return 2 + c.post_gate if c.backward else 1


def _planes(c: Convolution) -> int:
    """Planes of M points between the passes: backward u's and dy's, one of which becomes du's, and perhaps y's."""
    return 2 + c.post_gate if c.backward else 1


def _io_samples(c: Convolution, read: int) -> int:
    """Samples of all inputs and results, of which u's and its gate's are read with their overlaps."""
    if c.backward:
        return c.rows * ((1 + c.pre_gate) * (read + c.length) + (1 + 2 * c.post_gate) * c.out_length)
    return c.rows * ((1 + c.pre_gate) * read + (1 + c.post_gate) * c.out_length)


def _ends(c: Convolution, read: int) -> tuple[int, int]:
    """The same of the first and of the last of several passes: backward, gradients of gates take inputs again."""
    first = (1 + c.pre_gate) * read
    if not c.backward:
        return c.rows * first, c.rows * (1 + c.post_gate) * c.out_length
    again = 2 * c.pre_gate * c.length + c.post_gate * c.out_length
    written = (1 + c.pre_gate) * c.length + c.post_gate * c.out_length
    return c.rows * (first + (1 + c.post_gate) * c.out_length), c.rows * (again + written)


def _sums(c: Convolution) -> int:
    """Partial sums of filters' gradients."""
    if c.filter_per_item:
        return c.rows
    return c.channels * min(c.batch, -(-_SUMMING // c.channels))
