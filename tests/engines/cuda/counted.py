"""What the kernels of a large call do, counted by the emulator on a few of its rows.

Counts are straight lines in the number of rows: a block has its constants, each row the same. So one turn of a block,
and two of them, tell what any number of rows does, with the plan of the large call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

import emulated
import torch

from longconv_audio.engines.cuda import backward_pass, forward_pass
from longconv_audio.engines.cuda.gpus import KNOWN, Gpu
from longconv_audio.engines.cuda.specialisations import Kernel
from longconv_audio.engines.selection import Call

LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384)
BATCH, CHANNELS = 64, 768  # of the call that the measured times are of
SECTOR = 32  # bytes
H200 = dataclasses.replace(KNOWN["sm_90a"], multiprocessors=132)


@dataclass(frozen=True)
class Work:
    """A causal convolution of rows of `length` samples with as many taps, or its gradients.

    Args:
        dtype: of the rows.
        gated: both gates are there.
        direction: "forward" or "backward".
    """

    dtype: torch.dtype
    length: int
    gated: bool
    direction: str

    @property
    def planes(self) -> int:
        """Arrays of the size of u that have to move: each input once, each output once."""
        return {"forward": (2, 4), "backward": (3, 7)}[self.direction][self.gated]

    @property
    def row_bytes(self) -> int:
        """That have to move for each row."""
        return self.planes * self.length * self.dtype.itemsize

    @property
    def filter_bytes(self) -> int:
        """That have to move for each filter: its taps and, backward, their gradient."""
        return self.length * 4 * (1 if self.direction == "forward" else 2)

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return f"{name}-{self.length}-{'gated' if self.gated else 'plain'}-{self.direction}"


def every_work(*dtypes: torch.dtype, lengths=LENGTHS) -> Iterator[Work]:
    for dtype in dtypes:
        for length in lengths:
            for gated in (True, False):
                for direction in ("forward", "backward"):
                    yield Work(dtype, length, gated, direction)


@dataclass(frozen=True)
class Launch:
    """One kernel of a call.

    Args:
        kernel: which.
        blocks, blocks_per_channel: that the whole call launches.
        turns: of each block; with the rows that it works on in one of them.
        of_block, of_turn: what each block counts but for its turns, and each turn.
        arguments: as the kernel gets them, for one turn and for two.
        tables: sectors of the tables that it reads.
        of_rows: whether it walks rows; else it makes a filter's spectrum or its gradient.
    """

    kernel: Kernel
    blocks: int
    blocks_per_channel: int
    turns: float
    rows_at_once: int
    of_block: dict[str, float]
    of_turn: dict[str, float]
    arguments: tuple[bytes, bytes]
    tables: float
    of_rows: bool

    def total(self, name: str) -> float:
        """Of a counter, over all blocks."""
        return self.blocks * (self.of_block[name] + self.turns * self.of_turn[name])

    def distinct_bytes(self, name: str) -> float:
        """Of a counter of distinct sectors: all blocks have the tables in common, those of a channel its spectrum."""
        channels = self.blocks // self.blocks_per_channel
        tables = self.tables if name == "device_sectors_read" else 0
        of_channel = channels * (self.of_block[name] - tables)
        return SECTOR * (tables + of_channel + self.blocks * self.turns * self.of_turn[name])


def count(work: Work, gpu: Gpu = H200, batch: int = BATCH, channels: int = CHANNELS) -> list[Launch]:
    """The launches of a call, but for the tables: they are made once for all calls."""
    chosen = []

    def of_large_call(name, make):
        def planned(sizes, *rest):
            chosen.append(make(dataclasses.replace(sizes, batch=batch, channels=channels), *rest))
            return chosen[-1]

        return mock.patch.object(name, make.__name__, planned)

    _forget()
    with of_large_call(forward_pass, forward_pass.plan), of_large_call(backward_pass, backward_pass.plan_backward):
        one = _run(work, gpu, 1)
        rows = _rows_at_once(chosen[-1].rows)
        one = one if rows == 1 else _run(work, gpu, rows)
        two = _run(work, gpu, 2 * rows)
    _forget()
    per_channel = -(-batch // chosen[-1].rows_per_block)
    tables = sum(t.numel() * t.element_size() for t in one.made_tables()) / SECTOR
    launches = []
    for first, second in zip(one.counted, two.counted, strict=True):
        kernel = first[0]
        shared = {"tables": 0 if "half_filter" in kernel.name else tables}
        if kernel == chosen[-1].rows:
            shared |= {"of_rows": True, "turns": batch / per_channel / rows, "rows_at_once": rows}
            launches.append(_launch(first, second, channels, per_channel, **shared))
        elif "half_tables" not in kernel.name:
            shared |= {"of_rows": False, "turns": 0, "rows_at_once": 1}
            launches.append(_launch(first, second, channels, 1, **shared))
    return launches


def _forget() -> None:
    """The host keeps what it has planned, and these plans are none that it would make."""
    forward_pass.forward_of.cache_clear()
    backward_pass.backward_of.cache_clear()


def _launch(one, two, channels: int, per_channel: int, *, of_rows: bool, **others) -> Launch:
    (kernel, arguments, a), (_, more_arguments, b) = one, two
    names = [name for name, _ in a._fields_]
    of_turn = {name: getattr(b, name) - getattr(a, name) if of_rows else 0 for name in names}
    of_block = {name: getattr(a, name) - of_turn[name] for name in names}
    return Launch(
        kernel, channels * per_channel, per_channel, of_block=of_block, of_turn=of_turn,
        arguments=(arguments, more_arguments), of_rows=of_rows, **others,
    )  # fmt: skip


def _rows_at_once(kernel: Kernel) -> int:
    """Rows that a block works on in one turn."""
    if "single::" in kernel.name:
        n1, n2, n3 = emulated.factors_of(kernel.name)
        return kernel.threads * n3 // (n1 * n2 * n3)
    return kernel.threads // 32 if "_warp<" in kernel.name else 1


def _run(work: Work, gpu: Gpu, batch: int) -> emulated.EmulatedLauncher:
    """One channel's launches."""
    on = emulated.EmulatedLauncher(gpu.arch)
    on.gpu = gpu
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randn(batch, 1, work.length, generator=generator).to(work.dtype) for _ in range(4)]
    k = torch.randn(1, work.length, generator=generator)
    call = Call("causal", 0, False, "single" if work.dtype == torch.float32 else "half")
    u, dy, *gates = rows if work.gated else (*rows[:2], None, None)
    if work.direction == "forward":
        forward_pass.convolve(on, call, u, k, None, None, *gates)
    else:
        needs = (True, True, False, work.gated, work.gated)
        backward_pass.gradients(on, call, needs, dy, u, k, None, None, *gates)
    return on
