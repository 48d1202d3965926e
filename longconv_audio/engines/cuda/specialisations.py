"""From the sizes of a call to the kernels that carry it out: pure functions, no device and no tensor.

A row of M complex points is the fold of 2 M real samples (csrc/single_rows.cuh). The half-precision kernels take rows
of up to M samples, in and out; those in single precision any lengths whose linear convolution has at most 2 M.
What is said here of threads and bytes is said in csrc/ too, where the compiler needs it; the tests compare the two.
"""

from __future__ import annotations

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
        forward: the fused convolution.
        spectrum: the kernel that makes the filters' spectra, `filters_per_block` a block.
        tables: the kernel that makes the tables, or None where the host does.
        tables_bytes: their size.
        factors: of the transform; `points` is their product.
        rows_per_block: batch items that a block walks.
        point_bytes: of a point of a spectrum.
    """

    forward: Kernel
    spectrum: Kernel
    tables: Kernel | None
    tables_bytes: int
    factors: tuple[int, int, int]
    rows_per_block: int
    filters_per_block: int
    point_bytes: int
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


def all_kernels(gpu: Gpu) -> Iterator[Kernel]:
    """Every specialisation that a call on the device may ask for, once."""
    gates = list(product((False, True), repeat=2))
    for factors in HALF_FACTORS:
        half = {number: HalfShape(*factors, number) for number in ("fp16", "bf16")}
        if half["fp16"].groups(gpu) is None:
            continue
        yield half["fp16"].spectrum()
        for number, shape in half.items():
            yield shape.tables()
            for (pre, post), aligned in product(gates, (True, False)):
                yield shape.forward(gpu, pre, post, aligned)
    for factors in SINGLE_FACTORS:
        shape = SingleShape(*factors)
        yield shape.spectrum(gpu)
        for extent, (pre, post) in product(EXTENTS, gates):
            yield shape.forward(gpu, extent, pre, post)


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
        switches = "Switches<{}, {}, {}>".format(*(str(flag).lower() for flag in (pre_gate, post_gate, aligned)))
        common = f"{_NUMBERS[self.number]}, {self.factors}, {switches}"
        name = f"half_forward_warp<{common}>" if self.n1 == 1 else f"half_forward_group<{common}, {groups}>"
        threads = 4 * 32 if self.n1 == 1 else 8 * 32 * groups
        return Kernel("half.cuh", name, threads, self.blocks(aligned), self.shared_bytes(groups))

    def spectrum(self) -> Kernel:
        threads = min(max(self.points // 4, 64), 512)
        shared = self.points * 8 + 32 * 4
        return Kernel("half.cuh", f"half_filter_spectrum<{self.factors}>", threads, 1, shared, "FilterArguments")

    def tables(self) -> Kernel:
        name = f"half_tables<{_NUMBERS[self.number]}, {self.factors}>"
        return Kernel("half.cuh", name, 128, 1, 0, "TableArguments")


def _plan_half(sizes: Sizes, gpu: Gpu) -> Plan:
    shapes = [HalfShape(*factors, sizes.number) for factors in HALF_FACTORS]
    longest = max(sizes.length, sizes.out_length)
    fitting = [s for s in shapes if s.groups(gpu) and s.spectrum().shared_bytes <= gpu.shared_per_block]
    shape = next((s for s in fitting if s.points >= max(longest, sizes.least_points)), None)
    if shape is None:
        raise NoKernelError(
            f"rows of {longest} samples do not fit one block of {gpu.arch} in half precision, "
            f"{fitting[-1].points} do: use engine=None or engine='torch'"
        )
    forward = shape.forward(gpu, sizes.pre_gate, sizes.post_gate, sizes.aligned)
    at_once = 4 if shape.n1 == 1 else shape.groups(gpu)
    return Plan(
        forward, shape.spectrum(), shape.tables(), shape.tables_bytes, (shape.n1, shape.p, shape.q),
        1 if sizes.filter_per_item else _rows_per_block(sizes, gpu, forward.blocks, at_once),
        filters_per_block=1, point_bytes=4,
    )  # fmt: skip


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
        # Its accesses are of single samples: alignment decides nothing.
        switches = "Switches<{}, {}, false>".format(*(str(flag).lower() for flag in (pre_gate, post_gate)))
        return self._kernel(gpu, "single_forward.cuh", "convolve", f", single::Extent::{extent}, {switches}")

    def spectrum(self, gpu: Gpu) -> Kernel:
        return self._kernel(gpu, "single_filter.cuh", "filter_spectrum", struct="FilterArguments")


def _plan_single(sizes: Sizes, gpu: Gpu) -> Plan:
    length, out_length = sizes.length, sizes.out_length
    shapes = [SingleShape(*factors) for factors in SINGLE_FACTORS]
    fitting = [s for s in shapes if s.shared_bytes(s.cells(gpu)) <= gpu.shared_per_block]
    # As many lags as an output can see: the others would alias.
    shape = next((s for s in fitting if 2 * s.points >= max(length + out_length - 1, 2 * sizes.least_points)), None)
    if shape is None:
        raise NoKernelError(
            f"rows of {length} samples in and {out_length} out do not fit one block of {gpu.arch} in single precision, "
            f"{fitting[-1].points} in and out do: use engine=None or engine='torch'"
        )
    longest = max(length, out_length)
    extent = "doubled" if longest > shape.points else "padded"
    if length == out_length == shape.points:
        extent = "whole"
    forward = shape.forward(gpu, extent, sizes.pre_gate, sizes.post_gate)
    rows = shape.rows if sizes.filter_per_item else _rows_per_block(sizes, gpu, forward.blocks, shape.rows)
    return Plan(
        forward, shape.spectrum(gpu), None, 0, (shape.n1, shape.n2, shape.n3), rows,
        filters_per_block=shape.rows, point_bytes=8,
    )  # fmt: skip


def _rows_per_block(sizes: Sizes, gpu: Gpu, resident: int, at_once: int) -> int:
    """As many rows a block as leave the device enough blocks, so that what a block loads once serves many."""
    blocks = WAVES * resident * gpu.multiprocessors
    chunks = min(max(-(-blocks // max(sizes.channels, 1)), 1), GRID_Y)
    rows = max(-(-sizes.batch // chunks), 1)
    return -(-rows // at_once) * at_once
