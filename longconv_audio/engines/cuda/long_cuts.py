"""How rows that are too long for one block can be cut: pure functions, no device and no tensor.

A row of M = R I complex points goes through the R-point transforms of csrc/outer_*.cuh, the fused convolution of R rows
of I points, and the transforms back: three passes over memory, two more for every further outer factor. A filter much
shorter than the row lets the row be cut into tiles that overlap (overlap-save, Stockham 1966), each with a transform of
its own. Tile t is the 2M samples from `lead` before sample t hop on; of its response hop samples are free of wrapping.
Every size of transform has one factorisation. Which size is best is the planner's to say: see `long_plans`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from math import prod

from . import half_planes
from .gpus import Gpu
from .outer_kernels import OUTER_FACTORS, OuterShape
from .single_kernels import planes_points

# Bytes of the planes of a group, of 8 a point. Groups that stay in a second-level cache are no faster on an H200: what
# they save of its memory they lose at the beginning and the end of each launch.
GROUP = 256 << 20
LARGEST = 1 << 28  # points: kernels count samples of a window in 32 bits
MOST_SAMPLES = 2**31 - 2 * LARGEST - 1  # of a row, beyond whose end a window may reach
# Larger outer transforms take longer, for their registers leave room for fewer blocks: only where nothing else will do.
_MOST_OUTER = 128, 256, 512
_SMALLEST_INNER = 4096  # points of the rows that planes have, where there is a choice: others are no faster


@dataclass(frozen=True)
class Lags:
    """Which samples a filter joins.

    Args:
        length, out_length: of a row, in and out.
        taps: of the filter.
        offset: the tap that joins an output with the input sample of its own number.
        direction: 1: tap j joins output n with input n - (j - offset); -1: with input n + (j - offset).
    """

    length: int
    out_length: int
    taps: int
    offset: int
    direction: int

    @property
    def latest(self) -> int:
        """The furthest that an output looks back, at least 0."""
        return max(self.taps - 1 - self.offset if self.direction > 0 else self.offset, 0)

    @property
    def earliest(self) -> int:
        """The furthest that it looks ahead, at least 0."""
        return max(self.offset if self.direction > 0 else self.taps - 1 - self.offset, 0)

    @property
    def seen(self) -> tuple[int, int]:
        """How far an output looks back and ahead."""
        return self.latest, self.earliest

    @property
    def samples(self) -> int:
        """Of a circle on which no output meets an input that it should not."""
        return max(self.length + self.latest, self.out_length + self.earliest)

    @property
    def reversed(self) -> Lags:
        """Of the way back: from an output's gradient to the input's."""
        return Lags(self.out_length, self.length, self.taps, self.offset, -self.direction)


@dataclass(frozen=True)
class LongPlan:
    """How rows are cut.

    Args:
        outer: the outer transforms, the first of them first; none where blocks convolve tiles themselves.
        inner: points of the rows that blocks convolve.
        tiles: of a row; 1 where one window sees all of it.
        hop, lead: samples from one tile to the next, and those before it that it sees.
        precision: of the inner pass and its planes, "single" or "half".
    """

    outer: tuple[OuterShape, ...]
    inner: int
    tiles: int
    hop: int
    lead: int
    precision: str = "single"

    @property
    def points(self) -> int:
        return prod(shape.size for shape in self.outer) * self.inner

    @property
    def planes(self) -> int:
        """Rows of `inner` points that a window becomes."""
        return self.points // self.inner

    @property
    def windows(self) -> int:
        """In the planes of one group."""
        return max(GROUP // (self.points * 8), 1)


def cuts(lags: Lags, gpu: Gpu, precision: str, points: int = 0) -> list[LongPlan]:
    """Every way to cut such rows, by transforms from the shortest on; or the one with so many points, if not 0."""
    if max(lags.length, lags.out_length) > MOST_SAMPLES:
        return []
    made = (cut(lags, size, gpu, precision) for size in sizes(gpu) if points in (0, size))
    return [plan for plan in made if plan is not None]


def cut(lags: Lags, points: int, gpu: Gpu, precision: str) -> LongPlan | None:
    """The way with transforms of so many points, or None where they are too short for the filter."""
    outer, inner, used = transform(points, gpu, precision)
    if not outer and precision == "half":  # blocks convolve tiles in single precision, which rows would be copied to
        return None
    if lags.samples <= 2 * points:
        return LongPlan(outer, inner, 1, lags.out_length, 0, used)
    hop = 2 * points - lags.latest - lags.earliest
    return LongPlan(outer, inner, -(-lags.out_length // hop), hop, lags.latest, used) if hop > points // 4 else None


def transform(points: int, gpu: Gpu, precision: str) -> tuple[tuple[OuterShape, ...], int, str]:
    """Outer shapes, inner points, and the precision of what is between the passes.

    That is half with one outer shape alone, and with inner rows that fit a block.
    """
    outer, inner = factors(points, gpu, precision)
    if precision == "single" or (len(outer) == 1 and inner in half_planes.planes_points(gpu)):
        return outer, inner, precision
    return *factors(points, gpu, "single"), "single"


def sizes(gpu: Gpu) -> list[int]:
    """Points of all transforms that there are."""
    blocks = planes_points(gpu)
    return [*blocks, *(1 << bits for bits in range(blocks[-1].bit_length(), LARGEST.bit_length()))]


@functools.lru_cache(maxsize=256)
def factors(points: int, gpu: Gpu, precision: str) -> tuple[tuple[OuterShape, ...], int]:
    """Outer shapes and inner points: few passes, fast ones where there is a choice, and short inner rows."""
    if points in planes_points(gpu):
        return (), points
    blocks = planes_points(gpu) if precision == "single" else half_planes.planes_points(gpu)
    shapes = [shape for shape in (OuterShape(*pair) for pair in OUTER_FACTORS) if shape.fits(gpu)]
    by_size = {shape.size: shape for shape in shapes}
    for most in _MOST_OUTER:
        for inner in blocks:
            outer = by_size.get(points // inner)
            if inner >= min(_SMALLEST_INNER, blocks[-1]) and outer is not None and outer.size <= most:
                return (outer,), inner
    largest = max((shape for shape in shapes if shape.size <= _MOST_OUTER[1]), key=lambda shape: shape.size)
    outer, inner = factors(points // largest.size, gpu, precision)
    return (largest, *outer), inner
