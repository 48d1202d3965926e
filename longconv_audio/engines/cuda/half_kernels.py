"""The kernels of csrc/half.cuh: their sizes, threads and shared memory, and the plans that are made of them.

Rows have up to as many samples, in and out, as the transform has points.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from .errors import NoKernelError
from .gpus import Gpu
from .plans import Kernel, Plan, Sizes, rows_per_block, rows_per_sum, switches
from .single_kernels import SingleShape

# N1, P, Q of csrc/half_layout.cuh, by points: N1 = 1 is a row in one warp.
HALF_FACTORS = ((1, 16, 16), (1, 16, 32), (1, 32, 32), (16, 16, 16), (16, 16, 32), (32, 16, 32))
_NUMBERS = {"fp16": "Fp16", "bf16": "Bf16"}


def plan_forward(sizes: Sizes, gpu: Gpu) -> Plan:
    """See `specialisations.plan`."""
    shape = _shape_for(sizes, gpu, lambda s: s.groups(gpu) is not None)
    forward = shape.forward(gpu, sizes.pre_gate, sizes.post_gate, sizes.aligned)
    at_once = 4 if shape.n1 == 1 else shape.groups(gpu)
    rows = 1 if sizes.filter_per_item else rows_per_block(sizes, gpu, forward.blocks, at_once)
    return _plan_of(shape, gpu, forward, rows)


def plan_backward(sizes: Sizes, gpu: Gpu, filter_gradient: bool) -> Plan:
    """See `specialisations.plan_backward`."""
    shape = _shape_for(sizes, gpu, lambda s: s.resident(gpu) is not None)
    kernel = shape.backward(gpu, sizes.pre_gate, sizes.post_gate, sizes.aligned)
    made = _plan_of(shape, gpu, kernel, rows_per_sum(sizes, 4 if shape.n1 == 1 else 1))
    scratch = 0 if shape.resident(gpu) else shape.points * 4
    return dataclasses.replace(made, gradient=shape.gradient(gpu), scratch_bytes=scratch)


def all_kernels(gpu: Gpu) -> Iterator[Kernel]:
    """Every specialisation that a call on the device may ask for, once."""
    gates = list(product((False, True), repeat=2))
    for factors in HALF_FACTORS:
        shapes = [HalfShape(*factors, number) for number in _NUMBERS]
        if shapes[0].groups(gpu) is None:
            continue
        backward = shapes[0].resident(gpu) is not None
        yield shapes[0].spectrum(gpu)
        if backward:
            yield shapes[0].gradient(gpu)
        for shape in shapes:
            yield shape.tables()
            for (pre, post), aligned in product(gates, (True, False)):
                yield shape.forward(gpu, pre, post, aligned)
                if backward:
                    yield shape.backward(gpu, pre, post, aligned)


@dataclass(frozen=True)
class HalfShape:
    """The kernels of csrc/half.cuh for one size."""

    n1: int
    p: int
    q: int
    number: str

    @property
    def points(self) -> int:
        return self.n1 * self.p * self.q

    @property
    def factors(self) -> str:
        return f"Factors<{self.n1}, {self.p}, {self.q}>"

    @property
    def tables_bytes(self) -> int:
        """`Tables<F>::bytes`: matrices, the fold's twiddles, the inner twiddles, the outer ones twice and by column."""
        inner = self.p * self.p * 4 + 1024 + 64 + self.p * self.q * 4
        return inner + (self.n1**2 * 4 + 2 * self.n1 * self.p * 8 + self.n1 * self.q * 4 if self.n1 > 1 else 0)

    def shared_bytes(self, groups: int) -> int:
        """Tables and the filter's spectrum; and a row for each group of warps, with the peaks of two rows."""
        constants = self.tables_bytes + self.points * 4
        return constants if self.n1 == 1 else constants + groups * (self.points * 4 + 2 * 8 * 4)

    def groups(self, gpu: Gpu) -> int | None:
        """Groups of warps a block, or None where not even one fits.

        Where one block fills a multiprocessor, two groups let one load while the other computes.
        """
        wanted = (2, 1) if self.n1 > 1 and self.blocks(True) == 1 else (1,)
        return next((groups for groups in wanted if self.shared_bytes(groups) <= gpu.shared_per_block), None)

    def blocks(self, aligned: bool) -> int:
        if self.n1 == 1:
            return 4 if aligned else 3
        if self.points <= 4096:
            return 3 if aligned else 2
        return 2 if self.points <= 8192 else 1

    def forward(self, gpu: Gpu, pre_gate: bool, post_gate: bool, aligned: bool) -> Kernel:
        groups = self.groups(gpu) or 1
        common = f"{_NUMBERS[self.number]}, {self.factors}, {switches(pre_gate, post_gate, aligned)}"
        name = f"half_forward_warp<{common}>" if self.n1 == 1 else f"half_forward_group<{common}, {groups}>"
        threads = 4 * 32 if self.n1 == 1 else 8 * 32 * groups
        return Kernel("half.cuh", name, threads, self.blocks(aligned), self.shared_bytes(groups))

    def backward_bytes(self, resident: bool) -> int:
        """Sums of the filter's gradient in fp32, and spectra of the filter and of x, where these are resident."""
        if self.n1 == 1:
            return self.tables_bytes + self.points * 4 + 4 * (self.points * 4 + self.points * 8)
        spectra = 2 * self.points * 4 if resident else 0
        return self.tables_bytes + spectra + self.points * 4 + 2 * (2 * 8 * 4) + self.points * 8

    def resident(self, gpu: Gpu) -> bool | None:
        """Whether the spectra stay in shared memory in the backward pass, or None where nothing fits."""
        ways = (True,) if self.n1 == 1 else (True, False)
        return next((way for way in ways if self.backward_bytes(way) <= gpu.shared_per_block), None)

    def backward(self, gpu: Gpu, pre_gate: bool, post_gate: bool, aligned: bool) -> Kernel:
        resident = bool(self.resident(gpu))
        common = f"{_NUMBERS[self.number]}, {self.factors}, {switches(pre_gate, post_gate, aligned)}"
        shared = self.backward_bytes(resident)
        if self.n1 == 1:
            return Kernel("half.cuh", f"half_backward_warp<{common}>", 4 * 32, 1, shared)
        name = f"half_backward_group<{common}, {str(resident).lower()}>"
        return Kernel("half.cuh", name, 8 * 32, 2 if self.points <= 4096 else 1, shared)

    @property
    def of_filters(self) -> SingleShape:
        """`FilterShape<F>`: their spectra are made in single precision."""
        n2 = min(self.p, 32)
        return SingleShape(self.n1 * self.p // n2, n2, self.q)

    def gradient(self, gpu: Gpu) -> Kernel:
        return self._of_filters(gpu, "half_filter_gradient")

    def spectrum(self, gpu: Gpu) -> Kernel:
        return self._of_filters(gpu, "half_filter_spectrum")

    def _of_filters(self, gpu: Gpu, function: str) -> Kernel:
        name = f"{function}<{self.factors}, single::Cells::{self.of_filters.cells(gpu)}>"
        return dataclasses.replace(self.of_filters.spectrum(gpu), header="half.cuh", name=name)

    def tables(self) -> Kernel:
        name = f"half_tables<{_NUMBERS[self.number]}, {self.factors}>"
        return Kernel("half.cuh", name, 128, 1, 0, "TableArguments")


def _shape_for(sizes: Sizes, gpu: Gpu, fits) -> HalfShape:
    """The smallest transform that takes the rows."""
    shapes = [HalfShape(*factors, sizes.number) for factors in HALF_FACTORS]
    longest = max(sizes.length, sizes.out_length)
    fitting = [s for s in shapes if fits(s)]
    found = next((s for s in fitting if s.points >= max(longest, sizes.least_points)), None)
    if found is None:
        raise NoKernelError(
            f"rows of {longest} samples do not fit one block of {gpu.arch} in half precision, "
            f"{fitting[-1].points} do: use engine=None or engine='torch'"
        )
    return found


def _plan_of(shape: HalfShape, gpu: Gpu, kernel: Kernel, rows: int) -> Plan:
    filters = shape.of_filters
    return Plan(
        kernel, shape.spectrum(gpu), shape.tables(), shape.tables_bytes, (shape.n1, shape.p, shape.q),
        filters.factors, rows, filters.rows, point_bytes=4,
    )  # fmt: skip
