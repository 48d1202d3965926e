"""The transforms that a device has kernels for, by precision: their sizes and factors."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from math import prod

from ..engines.cuda.gpus import Gpu
from ..engines.cuda.half_kernels import HALF_FACTORS, HalfShape
from ..engines.cuda.outer_kernels import OUTER_FACTORS, OuterShape
from ..engines.cuda.single_kernels import SINGLE_FACTORS, SingleShape

# Of a point of a plane or a spectrum.
POINT_BYTES = {"half": 4, "single": 8}
_LARGEST = 1 << 28  # points: kernels count samples of a window in 32 bits


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
    """

    shapes: tuple[OuterShape, ...]
    row: Row

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
def transforms(precision: str, gpu: Gpu, backward: bool = False) -> tuple[Transform, ...]:
    """Every transform of a precision, whatever is to be convolved: the same list for every length.

    What three passes reach is not done in five.
    """
    rows = _half_rows(gpu, backward) if precision == "half" else _single_rows(gpu)
    outer = [shape for shape in (OuterShape(*factors) for factors in OUTER_FACTORS) if shape.fits(gpu)]
    found = [Transform((), row) for row in rows]
    found += [Transform((shape,), row) for row in rows for shape in outer]
    found += [Transform((outer[-1], shape), rows[-1]) for shape in outer]
    return tuple(t for t in found if t.points <= _LARGEST)


def _half_rows(gpu: Gpu, backward: bool) -> list[Row]:
    shapes = ((factors, HalfShape(*factors, "fp16")) for factors in HALF_FACTORS)
    fitting = (f for f, s in shapes if (s.backward_keep(gpu) if backward else s.forward_keep(gpu)) is not None)
    return [_row(factors) for factors in fitting]


def _single_rows(gpu: Gpu) -> list[Row]:
    shapes = ((factors, SingleShape(*factors)) for factors in SINGLE_FACTORS)
    return [_row(f) for f, s in shapes if s.shared_bytes(s.cells(gpu)) <= gpu.shared_per_block]


def _row(factors: tuple[int, ...]) -> Row:
    return Row(tuple(factor for factor in factors if factor > 1), prod(factors))
