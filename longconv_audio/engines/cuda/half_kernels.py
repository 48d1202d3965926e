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
from .plans import RESERVED, Kernel, Plan, Sizes, rows_per_block, rows_per_sum, switches
from .single_kernels import SingleShape

# N1, P, Q of csrc/half_layout.cuh, by points: N1 = 1 is a row in one warp.
HALF_FACTORS = (
    (1, 16, 16), (1, 16, 32), (1, 32, 32), (16, 8, 16), (16, 16, 16), (16, 16, 32), (32, 16, 32),
)  # fmt: skip
_NUMBERS = {"fp16": "Fp16", "bf16": "Bf16"}


def plan_forward(sizes: Sizes, gpu: Gpu) -> Plan:
    """See `specialisations.plan`."""
    shape = _shape_for(sizes, gpu, lambda s: s.forward_keep(gpu) is not None)
    forward = shape.forward(gpu, sizes.pre_gate, sizes.post_gate, sizes.aligned, _skips(shape, sizes))
    at_once = 4 if shape.n1 == 1 else 1
    resident = max(min(forward.blocks, gpu.shared_per_multiprocessor // (forward.shared_bytes + RESERVED)), 1)
    rows = 1 if sizes.filter_per_item else rows_per_block(sizes, gpu, resident, at_once)
    return _plan_of(shape, gpu, forward, rows)


def plan_backward(sizes: Sizes, gpu: Gpu, filter_gradient: bool) -> Plan:
    """See `specialisations.plan_backward`."""
    shape = _shape_for(sizes, gpu, lambda s: s.backward_keep(gpu) is not None)
    kernel = shape.backward(gpu, sizes.pre_gate, sizes.post_gate, sizes.aligned, _skips(shape, sizes))
    made = _plan_of(shape, gpu, kernel, rows_per_sum(sizes, 4 if shape.n1 == 1 else 1))
    scratch = 0 if shape.backward_keep(gpu) == "in_shared" else shape.points * 4
    return dataclasses.replace(made, gradient=shape.gradient(gpu), scratch_bytes=scratch)


def all_kernels(gpu: Gpu) -> Iterator[Kernel]:
    """Every specialisation that a call on the device may ask for, once."""
    gates = list(product((False, True), repeat=2))
    for factors in HALF_FACTORS:
        shapes = [HalfShape(*factors, number) for number in _NUMBERS]
        if shapes[0].forward_keep(gpu) is None:
            continue
        backward = shapes[0].backward_keep(gpu) is not None
        yield shapes[0].tables()
        yield shapes[0].spectrum(gpu)
        if backward:
            yield shapes[0].gradient(gpu)
        for shape in shapes:
            ways = [(True, False), (False, False), *([(True, True)] if shape.skips else [])]
            for (pre, post), (aligned, sparse) in product(gates, ways):
                yield shape.forward(gpu, pre, post, aligned, sparse)
                if backward:
                    yield shape.backward(gpu, pre, post, aligned, sparse)


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
    def warps(self) -> int:
        """Of a block of the forward kernel: each with a row, or all with one."""
        return 4 if self.points <= 2048 else 8 if self.points <= 8192 else 16

    @property
    def backward_warps(self) -> int:
        return 4 if self.points <= 2048 else 8 if self.points <= 4096 else 16

    @property
    def tables_bytes(self) -> int:
        """`Tables<F>::bytes`: matrices, the fold's twiddles, the inner twiddles, the outer ones twice and by column."""
        rows = max(self.p, 16)
        inner = rows * rows * 4 + 1024 + 64 + rows * self.q * 4
        return inner + (self.n1**2 * 4 + 2 * self.n1 * self.p * 8 + self.n1 * self.q * 4 if self.n1 > 1 else 0)

    def input_bytes(self, gated: bool, aligned: bool) -> int:
        """`StagedInput::bytes`: a row, and its gate, on their way in."""
        return (2 if gated else 1) * (self.points * 2 + (0 if aligned else 128))

    def forward_bytes(self, keep: str, gated: bool, aligned: bool) -> int:
        """A row on its way, the exchange, tables, and the filter's spectrum where it is kept."""
        if self.n1 == 1:
            return 4 * self.input_bytes(gated, aligned) + self.tables_bytes + self.points * 4
        spectrum = self.points * 4 if keep == "in_shared" else 0
        return self.points * 4 + self.input_bytes(gated, aligned) + self.tables_bytes + self.warps * 4 + spectrum

    def forward_keep(self, gpu: Gpu) -> str | None:
        """Whether the filter's spectrum is kept in shared memory or read again; None where nothing fits."""
        ways = ("in_shared",) if self.n1 == 1 else ("in_shared", "in_device")
        return next((way for way in ways if self.forward_bytes(way, True, False) <= gpu.shared_per_block), None)

    def blocks(self, aligned: bool, keep: str) -> int:
        if self.points <= 256:
            return 8 if aligned else 5
        if self.n1 == 1:
            return 4 if aligned else 3
        return {2048: 5, 4096: 3, 8192: 2 if keep == "in_shared" else 1}.get(self.points, 1)

    @property
    def skips(self) -> bool:
        """Whether there is more than one unit of inner transforms, so that a mask may leave one out."""
        return self.points > 512

    def forward(self, gpu: Gpu, pre_gate: bool, post_gate: bool, aligned: bool, sparse: bool = False) -> Kernel:
        keep = self.forward_keep(gpu) or "in_device"
        common = f"{_NUMBERS[self.number]}, {self.factors}, {switches(pre_gate, post_gate, aligned, sparse)}"
        resident = str(keep == "in_shared").lower()
        name = f"half_forward_warp<{common}>" if self.n1 == 1 else f"half_forward_group<{common}, {resident}>"
        of_mask = 16 if sparse and self.n1 > 1 else 0
        shared = self.forward_bytes(keep, pre_gate, aligned) + of_mask
        return Kernel("half.cuh", name, 32 * self.warps, self.blocks(aligned, keep), shared)

    def backward_bytes(self, keep: str, gated: bool, aligned: bool) -> int:
        """The same with sums of the filter's gradient in fp32, and the spectra of filter and row where they are kept.

        Rows come by themselves or, "in_exchange", through the room of the exchange.
        """
        sums, row = self.points * 8, self.input_bytes(gated, aligned)
        if self.n1 == 1:
            return self.tables_bytes + self.points * 4 + 4 * (row + sums)
        kept = self.points * 8 if keep == "in_shared" else 0
        exchange = max(self.points * 4, row) if keep == "in_exchange" else self.points * 4 + row
        return exchange + self.tables_bytes + self.backward_warps * 4 + 16 + kept + sums

    def backward_keep(self, gpu: Gpu) -> str | None:
        """Where the backward pass keeps spectra and rows on their way, or None where nothing fits."""
        ways = (
            ("in_shared",) if self.n1 == 1 else ("in_shared", "in_device", "in_exchange")[: 3 if self.n1 == 32 else 2]
        )
        return next((way for way in ways if self.backward_bytes(way, True, False) <= gpu.shared_per_block), None)

    def backward(self, gpu: Gpu, pre_gate: bool, post_gate: bool, aligned: bool, sparse: bool = False) -> Kernel:
        keep = self.backward_keep(gpu) or "in_device"
        common = f"{_NUMBERS[self.number]}, {self.factors}, {switches(pre_gate, post_gate, aligned, sparse)}"
        shared = self.backward_bytes(keep, pre_gate or post_gate, aligned)
        if self.n1 == 1:
            blocks = 4 if self.points <= 256 else 3 if aligned or self.points <= 512 else 2
            return Kernel("half.cuh", f"half_backward_warp<{common}>", 4 * 32, blocks, shared)
        blocks = {2048: 3, 4096: 2}.get(self.points, 1)
        name = f"half_backward_group<{common}, Keep::{keep}>"
        return Kernel("half.cuh", name, 32 * self.backward_warps, blocks, shared)

    @property
    def of_filters(self) -> SingleShape:
        """`FilterShape<F>`: their spectra are made in single precision."""
        return SingleShape(self.n1, self.p, self.q)

    def gradient(self, gpu: Gpu) -> Kernel:
        return self._of_filters(gpu, "half_filter_gradient")

    def spectrum(self, gpu: Gpu) -> Kernel:
        return self._of_filters(gpu, "half_filter_spectrum")

    def _of_filters(self, gpu: Gpu, function: str) -> Kernel:
        name = f"{function}<{self.factors}, single::Cells::{self.of_filters.cells(gpu)}>"
        return dataclasses.replace(self.of_filters.spectrum(gpu), header="half.cuh", name=name)

    def tables(self) -> Kernel:
        return Kernel("half.cuh", f"half_tables<{self.factors}>", 128, 1, 0, "TableArguments")


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


def _skips(shape: HalfShape, sizes: Sizes) -> bool:
    """Whether units that a mask leaves out are passed over. Of rows off their alignment they are zeros like others."""
    return sizes.sparse and sizes.aligned and shape.skips


def _plan_of(shape: HalfShape, gpu: Gpu, kernel: Kernel, rows: int) -> Plan:
    filters = shape.of_filters
    return Plan(
        kernel, shape.spectrum(gpu), shape.tables(), shape.tables_bytes, (shape.n1, shape.p, shape.q),
        filters.factors, rows, filters.rows, point_bytes=4,
    )  # fmt: skip
