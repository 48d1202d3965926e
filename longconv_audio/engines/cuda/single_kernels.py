"""The kernels of csrc/single_*.cuh: their sizes, threads and shared memory, and the plans that are made of them.

Rows are of any lengths whose linear convolution has at most twice as many samples as the transform has points.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from .errors import NoKernelError
from .gpus import Gpu
from .plans import RESERVED, Kernel, Plan, Sizes, rows_per_block, rows_per_sum, switches

# N1, N2, N3 of csrc/single_shape.cuh, by points.
SINGLE_FACTORS = (
    (1, 8, 16), (1, 16, 16), (1, 16, 32), (1, 32, 32), (16, 8, 16), (16, 16, 16), (16, 16, 32), (32, 16, 32),
)  # fmt: skip
# Tiles whose spectra are summed one after the other, of any number: each sum is rounded.
_TILES_PER_SUM = 256
EXTENTS = ("whole", "padded", "doubled", "tiled")


def plan_forward(sizes: Sizes, gpu: Gpu) -> Plan:
    """See `specialisations.plan`."""
    shape = _shape_for(sizes, gpu)
    forward = shape.forward(gpu, _extent(shape, sizes), sizes.pre_gate, sizes.post_gate)
    rows = shape.rows if sizes.filter_per_item else rows_per_block(sizes, gpu, forward.blocks, shape.rows)
    return _plan_of(shape, gpu, forward, rows)


def plan_backward(sizes: Sizes, gpu: Gpu, filter_gradient: bool) -> Plan:
    """See `specialisations.plan_backward`."""
    shape = _shape_for(sizes, gpu)
    kernel = shape.backward(gpu, _extent(shape, sizes), sizes.pre_gate, sizes.post_gate, filter_gradient)
    return _backward_plan_of(shape, gpu, kernel, rows_per_sum(sizes, shape.rows))


@functools.lru_cache(maxsize=1024)
def plan_tiles(points: int, sizes: Sizes, gpu: Gpu) -> Plan:
    """The convolution of tiles of longer rows, `sizes.batch` of them, through so many points each."""
    shape = _shape_of(points)
    forward = shape.forward(gpu, "tiled", sizes.pre_gate, sizes.post_gate)
    return _plan_of(shape, gpu, forward, rows_per_block(sizes, gpu, forward.blocks, shape.rows))


@functools.lru_cache(maxsize=1024)
def plan_tiles_backward(points: int, sizes: Sizes, gpu: Gpu) -> Plan:
    """The filters' gradients of the same."""
    shape = _shape_of(points)
    kernel = shape.backward(gpu, "tiled", sizes.pre_gate, sizes.post_gate, True)
    rows = min(rows_per_sum(sizes, shape.rows), max(_TILES_PER_SUM, shape.rows))
    return _backward_plan_of(shape, gpu, kernel, rows)


@functools.lru_cache(maxsize=1024)
def plan_planes(points: int, rows: int, channels: int, gpu: Gpu) -> Plan:
    """The convolution of rows of so many complex points each: of the planes of longer rows."""
    shape = _shape_of(points)
    forward = shape.forward(gpu, "doubled", False, False)
    dealt = rows_per_block(Sizes("fp32", 2 * points, 2 * points, rows, channels), gpu, forward.blocks, shape.rows)
    return _plan_of(shape, gpu, forward, dealt)


@functools.lru_cache(maxsize=1024)
def plan_planes_backward(points: int, rows: int, channels: int, gpu: Gpu, filter_gradient: bool) -> Plan:
    """The same of their gradients."""
    shape = _shape_of(points)
    kernel = shape.backward(gpu, "doubled", False, False, filter_gradient)
    dealt = rows_per_sum(Sizes("fp32", 2 * points, 2 * points, rows, channels), shape.rows)
    return _backward_plan_of(shape, gpu, kernel, dealt)


def planes_points(gpu: Gpu) -> tuple[int, ...]:
    """The sizes that `plan_planes` and `plan_planes_backward` have on a device, ascending."""
    shapes = [SingleShape(*factors) for factors in SINGLE_FACTORS]
    return tuple(s.points for s in shapes if s.shared_bytes(s.cells(gpu)) <= gpu.shared_per_block)


def all_kernels(gpu: Gpu) -> Iterator[Kernel]:
    """Every specialisation that a call on the device may ask for, once."""
    gates = list(product((False, True), repeat=2))
    for factors in SINGLE_FACTORS:
        shape = SingleShape(*factors)
        yield shape.spectrum(gpu)
        yield shape.gradient(gpu)
        for extent, (pre, post) in product(EXTENTS, gates):
            yield shape.forward(gpu, extent, pre, post)
            for filter_gradient in (True,) if extent == "tiled" else (True, False):
                yield shape.backward(gpu, extent, pre, post, filter_gradient)


@dataclass(frozen=True)
class SingleShape:
    """The kernels of csrc/single_*.cuh for one size."""

    n1: int
    n2: int
    n3: int

    @property
    def factors(self) -> tuple[int, int, int]:
        return self.n1, self.n2, self.n3

    @property
    def points(self) -> int:
        return self.n1 * self.n2 * self.n3

    @property
    def threads(self) -> int:
        return self.points // self.n3 if self.n1 > 1 else 128

    @property
    def rows(self) -> int:
        """Rows that a block works on at a time."""
        return self.threads * self.n3 // self.points

    @property
    def blocks(self) -> int:
        return (512 if self.n3 == 32 else 768) // self.threads

    def shared_bytes(self, cells: str) -> int:
        """Each run of N3 points has an empty cell behind it."""
        return self.threads * (self.n3 + 1) * (8 if cells == "whole" else 4)

    def cells(self, gpu: Gpu) -> str:
        """Points change hands whole where that leaves room for all blocks the registers have room for."""
        whole = self.shared_bytes("whole")
        together = self.blocks * (whole + RESERVED) <= gpu.shared_per_multiprocessor
        return "whole" if together and whole <= gpu.shared_per_block else "halved"

    def __str__(self) -> str:
        return f"single::Shape<{self.n1}, {self.n2}, {self.n3}>"

    def _kernel(self, gpu: Gpu, header: str, function: str, rest: str = "", struct: str = "Arguments") -> Kernel:
        cells = self.cells(gpu)
        name = f"single::{function}<{self}, single::Cells::{cells}{rest}>"
        return Kernel(header, name, self.threads, self.blocks, self.shared_bytes(cells), struct)

    def forward(self, gpu: Gpu, extent: str, pre_gate: bool, post_gate: bool) -> Kernel:
        rest = f", single::Extent::{extent}, {switches(pre_gate, post_gate)}"
        return self._kernel(gpu, "single_forward.cuh", "convolve", rest)

    def backward_bytes(self, cells: str, keep: str) -> int:
        """The exchange, and of the spectrum of x and the sums of the filter's those that are kept beside it."""
        kept = {"in_shared": 2, "sums_in_shared": 1, "in_device": 0}[keep]
        return -(-self.shared_bytes(cells) // 16) * 16 + kept * self.threads * self.n3 * 8

    def kept(self, gpu: Gpu) -> tuple[str, str]:
        """Cells and what is kept in shared memory: as much of it as the device has room for."""
        ways = product(("in_shared", "sums_in_shared", "in_device"), ("whole", "halved"))
        return next((cells, keep) for keep, cells in ways if self.backward_bytes(cells, keep) <= gpu.shared_per_block)

    def backward(self, gpu: Gpu, extent: str, pre_gate: bool, post_gate: bool, filter_gradient: bool) -> Kernel:
        cells, keep = self.kept(gpu)
        shared = self.backward_bytes(cells, keep)
        room = (227 if cells == "whole" else 163) * 1024
        blocks = min(max(room // (shared + RESERVED), 1), self.blocks)
        name = (
            f"single::convolve_backward<{self}, single::Cells::{cells}, single::Extent::{extent}, "
            f"{switches(pre_gate, post_gate)}, single::Keep::{keep}, {str(filter_gradient).lower()}>"
        )
        return Kernel("single_backward.cuh", name, self.threads, blocks, shared)

    def gradient(self, gpu: Gpu) -> Kernel:
        return self._kernel(gpu, "single_filter.cuh", "filter_gradient", struct="FilterArguments")

    def spectrum(self, gpu: Gpu) -> Kernel:
        return self._kernel(gpu, "single_filter.cuh", "filter_spectrum", struct="FilterArguments")


def _shape_for(sizes: Sizes, gpu: Gpu) -> SingleShape:
    """The smallest transform that takes the rows: with as many lags as an output can see, for others would alias."""
    shapes = [SingleShape(*factors) for factors in SINGLE_FACTORS]
    fitting = [s for s in shapes if s.shared_bytes(s.cells(gpu)) <= gpu.shared_per_block]
    lags = max(sizes.length + sizes.out_length - 1, 2 * sizes.least_points)
    found = next((s for s in fitting if 2 * s.points >= lags), None)
    if found is None:
        raise NoKernelError(
            f"rows of {sizes.length} samples in and {sizes.out_length} out do not fit one block of {gpu.arch} in "
            f"single precision, {fitting[-1].points} in and out do: use engine=None or engine='torch'"
        )
    return found


def _extent(shape: SingleShape, sizes: Sizes) -> str:
    if sizes.length == sizes.out_length == shape.points:
        return "whole"
    return "doubled" if max(sizes.length, sizes.out_length) > shape.points else "padded"


def _plan_of(shape: SingleShape, gpu: Gpu, kernel: Kernel, rows: int) -> Plan:
    factors = shape.factors
    return Plan(kernel, shape.spectrum(gpu), None, 0, factors, factors, rows, shape.rows, point_bytes=8)


def _backward_plan_of(shape: SingleShape, gpu: Gpu, kernel: Kernel, rows: int) -> Plan:
    scratch = 0 if shape.kept(gpu)[1] == "in_shared" else shape.points * 8
    made = _plan_of(shape, gpu, kernel, rows)
    return dataclasses.replace(made, gradient=shape.gradient(gpu), scratch_bytes=scratch)


def _shape_of(points: int) -> SingleShape:
    return next(s for s in (SingleShape(*factors) for factors in SINGLE_FACTORS) if s.points == points)
