"""From the sizes of a call to the kernels that carry it out: pure functions, no device and no tensor.

A row of M complex points is the fold of 2 M real samples (csrc/single_rows.cuh). The half-precision kernels take rows
of up to M samples, in and out; those in single precision any lengths whose linear convolution has at most 2 M.
What is said here of threads and bytes is said in csrc/ too, where the compiler needs it; the tests compare the two.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from .errors import NoKernelError
from .gpus import Gpu

# The y axis of a grid ends here, the x axis at 2^31 - 1.
GRID_Y = 65535
# Blocks that a launch should have for each that can be resident: enough that the last ones to finish cost little.
WAVES = 4
# Blocks of a backward pass, whose number decides the order of sums and therefore may not depend on the device.
SUMS = 256
# Shared memory that the driver takes of each block's.
RESERVED = 1024


@dataclass(frozen=True)
class Kernel:
    """One specialisation.

    Args:
        header: the file of csrc/ it is in.
        name: its name with its template arguments, as a C++ expression.
        threads: of a block.
        blocks: that shall be resident on a multiprocessor, which the compiler spares registers for.
        shared_bytes: dynamic shared memory of a block.
        struct: the type of its one argument.
    """

    header: str
    name: str
    threads: int
    blocks: int
    shared_bytes: int
    struct: str = "Arguments"


@dataclass(frozen=True)
class Sizes:
    """What of a call decides its kernels.

    Args:
        number: the type of the samples: "fp16", "bf16" or "fp32".
        length, out_length: samples of a row, in and out.
        batch, channels: rows.
        filter_per_item: each batch item has filters of its own.
        pre_gate, post_gate: whether there is one.
        aligned: every row starts on 16 bytes and is a multiple of 16 bytes long.
        least_points: of the transform, where a spectrum of so many is there already.
    """

    number: str
    length: int
    out_length: int
    batch: int = 1
    channels: int = 1
    filter_per_item: bool = False
    pre_gate: bool = False
    post_gate: bool = False
    aligned: bool = True
    least_points: int = 0


@dataclass(frozen=True)
class Plan:
    """How a call is carried out.

    Args:
        rows: the fused convolution, forward or backward.
        spectrum: the kernel that makes the filters' spectra, `filters_per_block` a block.
        tables: the kernel that makes the tables, or None where the host does.
        tables_bytes: their size.
        factors: of the transform; `points` is their product.
        rows_per_block: batch items that a block walks.
        point_bytes: of a point of a spectrum.
        gradient: backward, the kernel that makes the taps' gradients of the spectra's.
        scratch_bytes: backward, of a block, in device memory.
    """

    rows: Kernel
    spectrum: Kernel
    tables: Kernel | None
    tables_bytes: int
    factors: tuple[int, int, int]
    rows_per_block: int
    filters_per_block: int
    point_bytes: int
    gradient: Kernel | None = None
    scratch_bytes: int = 0
    points: int = field(init=False)

    def __post_init__(self) -> None:
        n1, n2, n3 = self.factors
        object.__setattr__(self, "points", n1 * n2 * n3)


@functools.lru_cache(maxsize=4096)
def plan(sizes: Sizes, gpu: Gpu) -> Plan:
    """The kernels of a call on a device, and how its rows are dealt to blocks.

    Raises:
        NoKernelError: where its rows are too long for one block of the device.
    """
    return _plan_single(sizes, gpu) if sizes.number == "fp32" else _plan_half(sizes, gpu)


@functools.lru_cache(maxsize=4096)
def plan_backward(sizes: Sizes, gpu: Gpu, filter_gradient: bool = True) -> Plan:
    """The same of its gradients. How the batch is cut, and so the order of sums, depends on the sizes alone.

    Raises:
        NoKernelError: as `plan`; in half precision for rows that single precision has kernels for.
    """
    make = _plan_backward_single if sizes.number == "fp32" else _plan_backward_half
    return make(sizes, gpu, filter_gradient)


def all_kernels(gpu: Gpu) -> Iterator[Kernel]:
    """Every specialisation that a call on the device may ask for, once."""
    gates = list(product((False, True), repeat=2))
    for factors in HALF_FACTORS:
        shapes = [HalfShape(*factors, number) for number in ("fp16", "bf16")]
        if shapes[0].groups(gpu) is None or shapes[0].spectrum().shared_bytes > gpu.shared_per_block:
            continue
        backward = shapes[0].resident(gpu) is not None
        yield shapes[0].spectrum()
        if backward:
            yield shapes[0].gradient()
        for shape in shapes:
            yield shape.tables()
            for (pre, post), aligned in product(gates, (True, False)):
                yield shape.forward(gpu, pre, post, aligned)
                if backward:
                    yield shape.backward(gpu, pre, post, aligned)
    for factors in SINGLE_FACTORS:
        shape = SingleShape(*factors)
        yield shape.spectrum(gpu)
        yield shape.gradient(gpu)
        for extent, (pre, post) in product(EXTENTS, gates):
            yield shape.forward(gpu, extent, pre, post)
            for filter_gradient in (True, False):
                yield shape.backward(gpu, extent, pre, post, filter_gradient)


# ---- half precision

# N1, P, Q of csrc/half_layout.cuh, by points: N1 = 1 is a row in one warp.
HALF_FACTORS = ((1, 16, 16), (1, 16, 32), (1, 32, 32), (16, 16, 16), (16, 16, 32), (32, 16, 32))
_NUMBERS = {"fp16": "Fp16", "bf16": "Bf16"}


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
        common = f"{_NUMBERS[self.number]}, {self.factors}, {_switches(pre_gate, post_gate, aligned)}"
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
        common = f"{_NUMBERS[self.number]}, {self.factors}, {_switches(pre_gate, post_gate, aligned)}"
        shared = self.backward_bytes(resident)
        if self.n1 == 1:
            return Kernel("half.cuh", f"half_backward_warp<{common}>", 4 * 32, 1, shared)
        name = f"half_backward_group<{common}, {str(resident).lower()}>"
        return Kernel("half.cuh", name, 8 * 32, 2 if self.points <= 4096 else 1, shared)

    def gradient(self) -> Kernel:
        return dataclasses.replace(self.spectrum(), name=f"half_filter_gradient<{self.factors}>")

    def spectrum(self) -> Kernel:
        threads = min(max(self.points // 4, 64), 512)
        shared = self.points * 8 + 32 * 4
        return Kernel("half.cuh", f"half_filter_spectrum<{self.factors}>", threads, 1, shared, "FilterArguments")

    def tables(self) -> Kernel:
        name = f"half_tables<{_NUMBERS[self.number]}, {self.factors}>"
        return Kernel("half.cuh", name, 128, 1, 0, "TableArguments")


def _plan_half(sizes: Sizes, gpu: Gpu) -> Plan:
    shape = _half_shape(sizes, gpu, lambda s: s.groups(gpu) is not None)
    forward = shape.forward(gpu, sizes.pre_gate, sizes.post_gate, sizes.aligned)
    at_once = 4 if shape.n1 == 1 else shape.groups(gpu)
    rows = 1 if sizes.filter_per_item else _rows_per_block(sizes, gpu, forward.blocks, at_once)
    return _of_half(shape, forward, rows)


def _plan_backward_half(sizes: Sizes, gpu: Gpu, filter_gradient: bool) -> Plan:
    shape = _half_shape(sizes, gpu, lambda s: s.resident(gpu) is not None)
    kernel = shape.backward(gpu, sizes.pre_gate, sizes.post_gate, sizes.aligned)
    made = _of_half(shape, kernel, _rows_per_sum(sizes, 4 if shape.n1 == 1 else 1))
    return dataclasses.replace(
        made, gradient=shape.gradient(), scratch_bytes=0 if shape.resident(gpu) else shape.points * 4
    )


def _half_shape(sizes: Sizes, gpu: Gpu, fits) -> HalfShape:
    """The smallest transform that takes the rows."""
    shapes = [HalfShape(*factors, sizes.number) for factors in HALF_FACTORS]
    longest = max(sizes.length, sizes.out_length)
    fitting = [s for s in shapes if fits(s) and s.spectrum().shared_bytes <= gpu.shared_per_block]
    found = next((s for s in fitting if s.points >= max(longest, sizes.least_points)), None)
    if found is None:
        raise NoKernelError(
            f"rows of {longest} samples do not fit one block of {gpu.arch} in half precision, "
            f"{fitting[-1].points} do: use engine=None or engine='torch'"
        )
    return found


def _of_half(shape: HalfShape, kernel: Kernel, rows: int) -> Plan:
    factors = (shape.n1, shape.p, shape.q)
    return Plan(kernel, shape.spectrum(), shape.tables(), shape.tables_bytes, factors, rows, 1, point_bytes=4)


# ---- single precision

# N1, N2, N3 of csrc/single_shape.cuh, by points.
SINGLE_FACTORS = (
    (1, 8, 16), (1, 16, 16), (1, 16, 32), (1, 32, 32), (16, 8, 16), (16, 16, 16), (16, 16, 32), (32, 16, 32),
)  # fmt: skip
EXTENTS = ("whole", "padded", "doubled")


@dataclass(frozen=True)
class SingleShape:
    """The kernels of csrc/single_*.cuh for one size."""

    n1: int
    n2: int
    n3: int

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
        rest = f", single::Extent::{extent}, {_switches(pre_gate, post_gate)}"
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
            f"{_switches(pre_gate, post_gate)}, single::Keep::{keep}, {str(filter_gradient).lower()}>"
        )
        return Kernel("single_backward.cuh", name, self.threads, blocks, shared)

    def gradient(self, gpu: Gpu) -> Kernel:
        return self._kernel(gpu, "single_filter.cuh", "filter_gradient", struct="FilterArguments")

    def spectrum(self, gpu: Gpu) -> Kernel:
        return self._kernel(gpu, "single_filter.cuh", "filter_spectrum", struct="FilterArguments")


def _plan_single(sizes: Sizes, gpu: Gpu) -> Plan:
    shape = _single_shape(sizes, gpu)
    forward = shape.forward(gpu, _extent(shape, sizes), sizes.pre_gate, sizes.post_gate)
    rows = shape.rows if sizes.filter_per_item else _rows_per_block(sizes, gpu, forward.blocks, shape.rows)
    return _of_single(shape, gpu, forward, rows)


def _plan_backward_single(sizes: Sizes, gpu: Gpu, filter_gradient: bool) -> Plan:
    shape = _single_shape(sizes, gpu)
    kernel = shape.backward(gpu, _extent(shape, sizes), sizes.pre_gate, sizes.post_gate, filter_gradient)
    made = _of_single(shape, gpu, kernel, _rows_per_sum(sizes, shape.rows))
    scratch = 0 if shape.kept(gpu)[1] == "in_shared" else shape.points * 8
    return dataclasses.replace(made, gradient=shape.gradient(gpu), scratch_bytes=scratch)


def _single_shape(sizes: Sizes, gpu: Gpu) -> SingleShape:
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


def _of_single(shape: SingleShape, gpu: Gpu, kernel: Kernel, rows: int) -> Plan:
    factors = (shape.n1, shape.n2, shape.n3)
    return Plan(kernel, shape.spectrum(gpu), None, 0, factors, rows, shape.rows, point_bytes=8)


# ---- both


def _switches(pre_gate: bool, post_gate: bool, aligned: bool = False) -> str:
    return "Switches<{}, {}, {}>".format(*(str(flag).lower() for flag in (pre_gate, post_gate, aligned)))


def _rows_per_sum(sizes: Sizes, at_once: int) -> int:
    """The rows whose spectra a block sums up: so few that a device is busy where channels are few."""
    if sizes.filter_per_item:
        return 1
    chunks = min(max(SUMS // max(sizes.channels, 1), 1), sizes.batch)
    rows = -(-sizes.batch // chunks)
    return -(-rows // at_once) * at_once


def _rows_per_block(sizes: Sizes, gpu: Gpu, resident: int, at_once: int) -> int:
    """As many rows a block as leave the device enough blocks, so that what a block loads once serves many."""
    blocks = WAVES * resident * gpu.multiprocessors
    chunks = min(max(-(-blocks // max(sizes.channels, 1)), 1), GRID_Y)
    rows = max(-(-sizes.batch // chunks), 1)
    return -(-rows // at_once) * at_once
