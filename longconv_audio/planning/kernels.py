"""The transforms that a device has kernels for, by precision: their sizes and factors."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from math import prod

from ..engines.cuda import long_cuts
from ..engines.cuda.gpus import Gpu
from ..engines.cuda.half_kernels import HALF_FACTORS, HalfShape
from ..engines.cuda.outer_kernels import OuterShape
from ..engines.cuda.single_kernels import SINGLE_FACTORS, SingleShape

# Of a point of a plane or a spectrum.
POINT_BYTES = {"half": 4, "single": 8}


@dataclass(frozen=True)
class Row:
    """A convolution of a row within one block.

    Args:
        factors: of the transform, none of them 1.
        points: their product M.
    """

    factors: tuple[int, ...]
    points: int


@dataclass(frozen=True)
class Transform:
    """Outer DFTs and, of the points between them, rows within blocks.

    Args:
        shapes: of the outer DFTs, the first one being the outermost; none where a row is all.
        row: the inner convolution.
        precision: of the inner convolution, and of what crosses memory before and after it.
    """

    shapes: tuple[OuterShape, ...]
    row: Row
    precision: str

    @property
    def outer(self) -> tuple[int, ...]:
        """The outer DFTs' points."""
        return tuple(shape.size for shape in self.shapes)

    @property
    def points(self) -> int:
        return self.row.points * prod(self.outer)

    @property
    def factors(self) -> tuple[int, ...]:
        outer = (n for shape in self.shapes for n in (shape.r1, shape.r2) if n > 1)
        return (*outer, *self.row.factors)


@functools.lru_cache(maxsize=64)
def fused_transforms(precision: str, gpu: Gpu, backward: bool = False) -> tuple[Transform, ...]:
    """Those of whole rows within a block."""
    rows = _half_rows(gpu, backward) if precision == "half" else _single_rows(gpu)
    return tuple(Transform((), row, precision) for row in rows)


@functools.lru_cache(maxsize=64)
def long_transforms(precision: str, gpu: Gpu) -> tuple[Transform, ...]:
    """Those of longer rows and of tiles, one for each size; in half precision none that a block holds by itself."""
    found = (transform_of(*long_cuts.transform(points, gpu, precision)) for points in long_cuts.sizes(gpu))
    return tuple(t for t in found if t.shapes or precision == "single")


@functools.lru_cache(maxsize=512)
def transform_of(outer: tuple[OuterShape, ...], inner: int, precision: str) -> Transform:
    """The transform with these outer shapes and so many points between them."""
    known = HALF_FACTORS if precision == "half" else SINGLE_FACTORS
    return Transform(outer, next(row for row in map(_row, known) if row.points == inner), precision)


def _half_rows(gpu: Gpu, backward: bool) -> list[Row]:
    shapes = ((factors, HalfShape(*factors, "fp16")) for factors in HALF_FACTORS)
    fitting = (f for f, s in shapes if (s.backward_keep(gpu) if backward else s.forward_keep(gpu)) is not None)
    return [_row(factors) for factors in fitting]


def _single_rows(gpu: Gpu) -> list[Row]:
    shapes = ((factors, SingleShape(*factors)) for factors in SINGLE_FACTORS)
    return [_row(f) for f, s in shapes if s.shared_bytes(s.cells(gpu)) <= gpu.shared_per_block]


def _row(factors: tuple[int, ...]) -> Row:
    return Row(tuple(factor for factor in factors if factor > 1), prod(factors))
