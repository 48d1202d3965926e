"""Bytes and operations of rows that no block holds, or that are cut into tiles: pass by pass, as the engine makes them.

With the sizes of `work`, and T tiles of M points:

- Between passes lie planes, of p bytes a point. Each level of outer DFTs writes T M points on the way there and reads
  them on the way back; the convolution of the rows within blocks reads and writes them once. Planes of a group are
  walked together, and of these a second-level cache keeps few.
- An outer DFT of R points takes radix-2 butterflies, 6 M log2(R) operations a tile, in either precision.
- Tiles that blocks convolve themselves are in single precision alone.
- Where a window sees all of a row, gradients take the planes of u and dy once. Where it does not, the input's gradient
  is a convolution of its own, backwards, the post gate's one more, and the taps' take tiles of u and dy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log2

from ..engines.cuda.long_cuts import Lags, LongPlan
from ..engines.cuda.outer_kernels import OuterShape
from ..engines.cuda.plans import GRID_Y
from .kernels import POINT_BYTES, Transform, transform_of
from .plans import Convolution
from .work import (
    BACKWARD,
    SAMPLE_BYTES,
    SUM_BYTES,
    TAP_BYTES,
    Pass,
    casts,
    gradient_pass,
    rows_pass,
    spectrum_pass,
    tensor_bytes,
)

# Bytes of shared memory a point, where an outer DFT has two factors.
_SHARED = 16
# How much longer than its bytes say the way back takes: in two factors; to tiles, whose results begin anywhere in a
# line; and with 32 points in a thread, whose registers leave room for few blocks.
_BACK_TWO, _BACK_TILES, _BACK_SLOW = 1.15, 1.15, 1.45
_SLOW = 32
# The same of the way there, where planes in 16 bits get scales.
_SCALING = 1.2
# Of the second-level cache, what planes can rely on (benchmarks/kernel_roofline.py).
_CACHE_SHARE = 0.39


@dataclass(frozen=True)
class LongRows:
    """A convolution, and how it is cut: what the passes are counted from.

    Args:
        c: what is convolved.
        lags: which samples the filters join.
        cut: of c's rows.
        cache_bytes: of the device's second-level cache.
    """

    c: Convolution
    lags: Lags
    cut: LongPlan
    cache_bytes: int

    @property
    def transform(self) -> Transform:
        return transform_of(self.cut.outer, self.cut.inner, self.cut.precision)

    @property
    def whole(self) -> bool:
        """Whether one window sees all of a row."""
        return self.lags.samples <= 2 * self.cut.points

    @property
    def tiles(self) -> int:
        return self.c.rows * self.cut.tiles

    @property
    def group(self) -> int:
        """Tiles whose planes are in memory at a time; all of them, where there are none."""
        return min(self.cut.windows, self.tiles) if self.cut.outer else self.tiles

    @property
    def rows_at_once(self) -> int:
        """Of a group, the tiles of one channel: those that share spectra, and sums."""
        return min(self.c.batch * self.cut.tiles, self.group, GRID_Y)

    @property
    def sample(self) -> int:
        """Bytes of a sample as kernels take it."""
        return SAMPLE_BYTES[self.c.precision if self.cut.outer else "single"]

    @property
    def point(self) -> int:
        return POINT_BYTES[self.cut.precision]

    def seen(self, length: int) -> int:
        """Samples of a row that its tiles read, with their overlaps."""
        return length + (self.cut.tiles - 1) * (2 * self.cut.points - self.cut.hop)

    @property
    def missed(self) -> float:
        """Of planes, the share that the cache has no room for, where lines leave it in no particular order."""
        planes = self.group * self.cut.points * self.point * (2 if self.c.backward else 1)
        return max(0.0, 1 - _CACHE_SHARE * self.cache_bytes / planes)


def long_passes(rows: LongRows) -> list[Pass]:
    """Every pass of a convolution, or of its gradients."""
    return [*_casts(rows), *(_gradients(rows) if rows.c.backward else _convolution(rows, rows.c.prepared))]


def long_memory(rows: LongRows) -> int:
    """Device memory of the same: inputs, results, and what a group takes: spectra, planes and sums."""
    c, points = rows.c, rows.cut.points
    if not rows.cut.outer:
        sums = rows.c.channels * SUM_BYTES * points if c.backward else 0
        return tensor_bytes(c, rows.sample) + c.spectra * points * rows.point + sums
    filters = c.spectra if c.prepared else -(-rows.group // rows.rows_at_once)
    of_filters = filters * points * (rows.point + 8 * min(len(rows.cut.outer), 2))
    room = rows.group * points * rows.point * min(len(rows.cut.outer), 2)
    sums = rows.group // rows.rows_at_once * points * SUM_BYTES if c.backward else 0
    return tensor_bytes(c, rows.sample) + of_filters + room * (2 if c.backward else 1) + sums


def _casts(rows: LongRows) -> list[Pass]:
    c = rows.c
    if c.backward:
        samples = c.rows * (2 * (1 + c.pre_gate) * c.length + (1 + 2 * c.post_gate) * c.out_length)
        return casts(c, rows.sample, samples, 4 + 3 * (c.pre_gate + c.post_gate))
    samples = c.rows * ((1 + c.pre_gate) * c.length + (1 + c.post_gate) * c.out_length)
    return casts(c, rows.sample, samples, 2 + c.pre_gate + c.post_gate)


def _gradients(rows: LongRows) -> Iterator[Pass]:
    c, made = rows.c, 1 + rows.c.pre_gate
    if rows.whole and rows.cut.outer:
        yield from _sums(rows)
        yield from _back(rows, made * c.length, 2 * c.pre_gate * c.length)
        if c.post_gate:
            yield _inner(rows)
            yield from _back(rows, c.out_length, c.out_length)
        return
    back = replace(c, length=c.out_length, out_length=c.length, pre_gate=c.post_gate, post_gate=c.pre_gate)
    yield from _convolution(replace(rows, c=replace(back, backward=False)), False, made)
    yield from _sums(rows)
    if c.post_gate:
        yield from _convolution(replace(rows, c=replace(c, backward=False)), c.prepared)


def _convolution(rows: LongRows, prepared: bool, results: int = 1) -> Iterator[Pass]:
    """Of rows through filters to one or two results, which both take gates where the result has one."""
    c, cut, t = rows.c, rows.cut, rows.transform
    if not prepared:
        yield spectrum_pass(c, t, c.spectra)
    read, written = (1 + c.pre_gate) * rows.seen(c.length), c.out_length
    if not cut.outer:
        moved = c.rows * (read + (1 + c.post_gate) * written) * rows.sample
        made = rows_pass("tiles", t, rows.tiles, rows.group, *_with_spectra(rows, moved), 2, 1)
        yield from [made] * results
        return
    yield from _there(rows, read)
    yield _inner(rows)
    yield from _back(rows, results * written, results * c.post_gate * written)


def _sums(rows: LongRows) -> Iterator[Pass]:
    """The gradients of the taps; and of the input's planes, where there are some."""
    c, t = rows.c, rows.transform
    if not c.prepared and rows.cut.outer:
        yield spectrum_pass(c, t, c.spectra)
    read = (1 + c.pre_gate) * rows.seen(c.length), (1 + c.post_gate) * c.out_length
    if not rows.cut.outer:
        moved = c.rows * sum(read) * rows.sample
        made = rows_pass("tiles", t, rows.tiles, rows.group, moved, moved, 2, 1)
        sums = filters = c.channels
    else:
        for samples in read:
            yield from _there(rows, samples)
        sums = filters = max(rows.tiles // rows.rows_at_once, c.spectra)
        made = _inner(rows, sums * SUM_BYTES * rows.cut.points, planes=3, transforms=3, products=2)
    yield replace(made, factor=BACKWARD)
    yield gradient_pass(c, t, sums, filters)
    yield _collected(c, filters if rows.cut.outer else 0)


def _collected(c: Convolution, parts: int) -> Pass:
    """The taps' gradients: zeros, to which so many parts are added, and a copy in the form of the filters."""
    moved = c.taps * TAP_BYTES * (3 * c.spectra + 3 * parts)
    return Pass("taps' sums", moved, moved, 0, 0, "fma", 0, 0, 3)


def _there(rows: LongRows, read: int) -> Iterator[Pass]:
    """Outer DFTs: so many samples of each row to planes."""
    shapes = rows.transform.shapes
    made = _outer("outer DFT", rows, shapes[0], 1, rows.c.rows * read * rows.sample)
    yield replace(made, factor=_SCALING if rows.cut.precision == "half" else 1.0)
    for shape in shapes[1:]:
        yield _outer("outer DFT", rows, shape, 2, 0)


def _back(rows: LongRows, written: int, read: int) -> Iterator[Pass]:
    """Outer DFTs back: planes to so many samples of each row, which others are read for."""
    shapes = rows.transform.shapes
    for shape in shapes[:0:-1]:
        yield _outer("outer inverse", rows, shape, 2, 0)
    made = _outer("outer inverse", rows, shapes[0], 1, rows.c.rows * (written + read) * rows.sample)
    slow = (_BACK_SLOW if shapes[0].r2 >= _SLOW else 1.0) * (_BACK_TWO if shapes[0].r1 > 1 else 1.0)
    yield replace(made, factor=slow * (1.0 if rows.whole else _BACK_TILES))


def _outer(name: str, rows: LongRows, shape: OuterShape, crossings: int, samples: int) -> Pass:
    """Outer DFTs of one level, which write or read planes, or both, and so many bytes of samples."""
    points = rows.tiles * rows.cut.points
    shared = points * _SHARED * (shape.r1 > 1)
    of_tile = rows.cut.points / (shape.size * shape.columns)
    launches = -(-rows.tiles // rows.group)
    bytes_moved = _crossing(rows, crossings, samples)
    flops = points * int(6 * log2(shape.size))
    return Pass(name, *bytes_moved, shared, flops, "fma", rows.tiles * of_tile, rows.group * of_tile, launches)


def _inner(rows: LongRows, more: int = 0, planes: int = 2, transforms: int = 2, products: int = 1) -> Pass:
    """Convolutions within blocks, of planes: so many read and written, and so many bytes more."""
    moved = _crossing(rows, planes, _with_spectra(rows, more)[0])
    return rows_pass("rows", rows.transform, rows.tiles, rows.group, *moved, transforms, products)


def _crossing(rows: LongRows, planes: int, more: int) -> tuple[int, int]:
    """Bytes of device memory, and of the cache."""
    moved = planes * rows.tiles * rows.cut.points * rows.point
    return more + int(rows.missed * moved), more + moved


def _with_spectra(rows: LongRows, moved: int) -> tuple[int, int]:
    moved += rows.c.spectra * rows.cut.points * rows.point
    return moved, moved
