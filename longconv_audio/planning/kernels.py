"""The transforms that a device has kernels for, by precision: their sizes and factors."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from math import prod

from ..engines.cuda.gpus import Gpu
from ..engines.cuda.half_kernels import HALF_FACTORS, HalfShape
from ..engines.cuda.single_kernels import SINGLE_FACTORS, SingleShape

# Of a point of a plane or a spectrum.
POINT_BYTES = {"half": 4, "single": 8}
# Outer DFTs: up to `_IN_REGISTERS` points in one step, more in two, through shared memory.
_OUTER = tuple(2**i for i in range(1, 11))
_IN_REGISTERS = 32


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
        outer: the outer DFTs' points, the first one being the outermost; none where a row is all.
        row: the inner convolution.
    """

    outer: tuple[int, ...]
    row: Row

    @property
    def points(self) -> int:
        return self.row.points * prod(self.outer)

    @property
    def factors(self) -> tuple[int, ...]:
        return (*(step for points in self.outer for step in steps(points)), *self.row.factors)


def steps(points: int) -> tuple[int, ...]:
    """The factors of an outer DFT.

    >>> steps(32), steps(128)
    ((32,), (16, 8))
    """
    if points <= _IN_REGISTERS:
        return (points,)
    bits = points.bit_length() - 1
    return 1 << -(-bits // 2), 1 << bits // 2


@functools.lru_cache(maxsize=64)
def transforms(precision: str, gpu: Gpu, backward: bool = False) -> tuple[Transform, ...]:
    """Every transform of a precision, whatever is to be convolved: the same list for every length.

    What three passes reach is not done in five.
    """
    rows = _half_rows(gpu, backward) if precision == "half" else _single_rows(gpu)
    found = [Transform((), row) for row in rows]
    found += [Transform((points,), row) for row in rows for points in _OUTER]
    found += [Transform((points, _OUTER[-1]), rows[-1]) for points in _OUTER]
    return tuple(found)


def _half_rows(gpu: Gpu, backward: bool) -> list[Row]:
    shapes = ((factors, HalfShape(*factors, "fp16")) for factors in HALF_FACTORS)
    fitting = (f for f, s in shapes if (s.backward_keep(gpu) if backward else s.forward_keep(gpu)) is not None)
    return [_row(factors) for factors in fitting]


def _single_rows(gpu: Gpu) -> list[Row]:
    shapes = ((factors, SingleShape(*factors)) for factors in SINGLE_FACTORS)
    return [_row(f) for f, s in shapes if s.shared_bytes(s.cells(gpu)) <= gpu.shared_per_block]


def _row(factors: tuple[int, ...]) -> Row:
    return Row(tuple(factor for factor in factors if factor > 1), prod(factors))
