"""What a plan is, for kernels of every precision: which kernels, and how rows are dealt to blocks."""

from __future__ import annotations

from dataclasses import dataclass, field

from .gpus import Gpu

# The y axis of a grid ends here, the x axis at 2^31 - 1.
GRID_Y = 65535
# Blocks that a launch has at most for each that can be resident.
WAVES = 8
_LOADING = 2
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
        least_points: of the transform, where a spectrum of so many, or a mask, is there already.
        sparse: whether there is a mask.
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
    sparse: bool = False


@dataclass(frozen=True)
class Plan:
    """How a call is carried out.

    Args:
        rows: the fused convolution, forward or backward.
        spectrum: the kernel that makes the filters' spectra, `filters_per_block` a block.
        tables: the kernel that makes the tables, or None where the host does.
        tables_bytes: their size.
        factors: of the transform; `points` is their product.
        filter_factors: of that of the filters, which is in single precision.
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
    filter_factors: tuple[int, int, int]
    rows_per_block: int
    filters_per_block: int
    point_bytes: int
    gradient: Kernel | None = None
    scratch_bytes: int = 0
    points: int = field(init=False)

    def __post_init__(self) -> None:
        n1, n2, n3 = self.factors
        object.__setattr__(self, "points", n1 * n2 * n3)


def switches(pre_gate: bool, post_gate: bool, aligned: bool = False, sparse: bool = False) -> str:
    flags = (pre_gate, post_gate, aligned, *([True] if sparse else []))
    return f"Switches<{', '.join(str(flag).lower() for flag in flags)}>"


def rows_per_sum(sizes: Sizes, at_once: int) -> int:
    """The rows whose spectra a block sums up: so few that a device is busy where channels are few."""
    if sizes.filter_per_item:
        return 1
    chunks = min(max(SUMS // max(sizes.channels, 1), 1), sizes.batch)
    rows = -(-sizes.batch // chunks)
    return -(-rows // at_once) * at_once


def rows_per_block(sizes: Sizes, gpu: Gpu, resident: int, at_once: int) -> int:
    """So many rows a block that the device is busy to the end, and that what a block loads once serves many of them.

    The cost of a cut is taken to be that of its waves of `resident` blocks a multiprocessor, each as long as its rows
    and, for what a block loads, as `_LOADING` rows.
    """
    slots, channels = resident * gpu.multiprocessors, max(sizes.channels, 1)
    best = None
    for chunks in range(1, min(max(sizes.batch // at_once, 1), WAVES * slots // channels + 1, GRID_Y) + 1):
        rows = -(-sizes.batch // (chunks * at_once)) * at_once
        blocks = channels * -(-sizes.batch // rows)
        cost = -(-blocks // slots) * (rows + _LOADING)
        if best is None or cost < best[0]:
            best = cost, rows
    least = -(-max(sizes.batch, 1) // (GRID_Y * at_once)) * at_once  # a grid ends there
    return max(best[1], least)
