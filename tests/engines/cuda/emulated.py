"""A launcher that runs kernels in the emulator on torch's CPU tensors: all of the engine but the driver's calls."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import harness

from longconv_audio.engines.cuda.arguments import Arguments, FilterArguments, OuterArguments, PlaneArguments
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.cuda.launch import check_grid
from longconv_audio.engines.cuda.specialisations import HalfShape


class EmulatedLauncher:
    """Has what the engine's passes want of a launcher. Only memory that the arguments speak of may be accessed."""

    device = "cpu"
    rates = None  # those published of a device with the same limits

    def __init__(self, arch: str = "sm_90a", seed: int = 1, folder: Path = harness.CSRC):
        self.gpu, self.seed, self.folder = KNOWN[arch], seed, folder
        self.launches = []  # (kernel, grid)
        self.counted = []  # (kernel, its arguments' bytes, counters)
        self._tables = {}

    def tables(self, key, make):
        if key not in self._tables:
            self._tables[key] = make().clone()  # where torch puts it: no sector begins within a number
        return self._tables[key]

    def load(self, kernel) -> None:
        """Kernels are built when they are launched."""

    def made_tables(self):
        return self._tables.values()

    def launch(self, kernel, arguments, grid) -> None:
        """On copies with nothing beside them; what is written, and not read before, starts as NaNs."""
        check_grid(kernel, grid)
        self.launches.append((kernel, grid))
        device, given, written = harness.Device(), type(arguments).from_buffer_copy(arguments), []
        memory = list(self._memory(kernel, arguments, grid))
        changed = {at for _, at, _, writes in memory if writes}
        places, sizes = {}, {}
        for _, at, size, _ in memory:
            sizes[at] = max(size, sizes.get(at, 0))
        for name, at, size, writes in memory:
            if at not in places:
                places[at] = device.move(at, sizes[at], at in changed)
                written += [(at, places[at])] if at in changed else []
            # What is read where it is written; and rows of which a launch writes some of the tiles.
            kept = kernel.struct == "OuterArguments" and name not in ("planes", "tile_scales")
            if at in changed and (kept or not writes):
                ctypes.memmove(places[at].ctypes.data, at, size)
            setattr(given, name, places[at].ctypes.data)
        struct = kernel.struct if kernel.struct in ("Arguments", "FilterArguments", "OuterArguments") else ""
        library = harness.build(kernel.header, kernel.name, struct, folder=self.folder)
        counters = device.launch(library, given, grid, kernel.threads, kernel.shared_bytes, self.seed)
        self.counted.append((kernel, bytes(arguments), counters))
        for at, held in written:
            ctypes.memmove(at, held.ctypes.data, held.nbytes)

    def _memory(self, kernel, a, grid):
        """(name, address, bytes, whether it is written) of all that the kernel may touch."""
        if isinstance(a, OuterArguments):
            yield from self._outer(kernel, a, grid[1])
            return
        n1, n2, n3 = factors_of(kernel.name)
        points, half = n1 * n2 * n3, kernel.header.startswith("half")
        sample, point = (2, 4) if half else (4, 8)
        if isinstance(a, Arguments):
            yield from self._rows(a, sample)
            of_item = ((a.channels // a.planes - 1) // a.channels_per_filter + 1) * a.planes
            filters = of_item + (a.batch // max(a.tiles, 1) - 1) * a.filter_strides.batch
            chunks = -(-a.batch // a.rows_per_block)
            found = [
                ("spectrum", filters * points * point, False), ("spectrum_scale", filters * 4, False),
                ("dspectrum", a.channels * chunks * points * 8, True),
                ("scratch", a.channels * chunks * points * point, True), ("mask", points, False),
            ]  # fmt: skip
        elif isinstance(a, PlaneArguments):
            found = self._planes(a, points)
        elif isinstance(a, FilterArguments) and (a.dk or a.dd):
            of_items = a.chunks // a.chunks_per_filter * a.filters
            sums = a.filters * a.channels_per_filter * a.chunks * points * 8
            found = [("dk", of_items * a.taps * 4, True), ("dd", of_items * 4, True), ("dspectrum", sums, False)]
            found.append(("mask", points, False))
        elif isinstance(a, FilterArguments):
            taps = (a.filters - 1) * a.tap_strides.channel + a.taps
            found = [
                ("k", taps * 4, False), ("d", a.filters * 4, False), ("spectrum", a.filters * points * point, True),
                ("scale", a.filters * 4, True), ("mask", points, False),
            ]  # fmt: skip
        else:
            yield "tables", a.tables, HalfShape(n1, n2, n3, "fp16").tables_bytes, True
            return
        yield from ((name, at, size, writes) for name, size, writes in found if (at := getattr(a, name)))
        for table in self._tables.values():
            if table.data_ptr() == a.tables:
                yield "tables", a.tables, table.numel() * table.element_size(), False

    @staticmethod
    def _outer(kernel, a, rows: int):
        r1, r2 = map(int, re.search(r"Shape<(\d+), (\d+)>", kernel.name).groups())
        inverse, filters = "inverse" in kernel.name, "filter" in kernel.name
        sample = 4 if filters or "Fp32" in kernel.name else 2
        items = (a.first_row + rows - 1) // a.tiles + 1
        for name, strides, writes in (
            ("samples", "strides", inverse), ("gate", "gate_strides", False),
            ("second", "second_strides", True), ("second_gate", "second_gate_strides", False),
        ):  # fmt: skip
            at, steps = getattr(a, name), getattr(a, strides)
            if at:
                last = (items - 1) * steps.batch + (a.channels - 1) * steps.channel + a.length
                yield name, at, last * sample, writes
        half = "Planes::half" in kernel.name
        yield "planes", a.planes, rows * a.channels * r1 * r2 * a.points * (4 if half else 8), not inverse
        if half and inverse:
            yield "row_scales", a.row_scales, rows * a.channels * r1 * r2 * 4, False
        elif half:
            yield "tile_scales", a.tile_scales, rows * a.channels * a.points // 32 * 4, True

    @staticmethod
    def _planes(a, points: int):
        rows, chunks = a.batch * a.channels, -(-a.batch // a.rows_per_block)
        planes = ((a.batch - 1) * a.strides.batch + (a.channels - 1) * a.strides.channel + points) * 4
        scales = rows // a.planes_per_row * points // 32 * 4
        channels = a.channels // a.planes_per_row // a.channels_per_filter * a.planes_per_row
        filters = channels + (a.batch - 1) * a.filter_strides.batch
        sums = a.channels * chunks * points
        yield from (
            ("u", planes, False), ("g", planes, False), ("y", planes, True), ("dx", planes, True),
            ("in_scale", scales, False), ("g_scale", scales, False), ("out_scale", rows * 4, True),
            ("dx_scale", rows * 4, True), ("spectrum", filters * points * 4, False),
            ("spectrum_scale", filters * 4, False), ("dspectrum", sums * 8, True), ("scratch", sums * 4, True),
        )  # fmt: skip

    @staticmethod
    def _rows(a, sample: int):
        for name, strides, length, writes in (
            ("u", "u", a.length, False), ("pre_gate", "pre", a.length, False),
            ("post_gate", "post", a.out_length, False), ("y", "y", a.out_length, True),
            ("dy", "dy", a.out_length, False), ("du", "du", a.length, True),
            ("dpre_gate", "dpre", a.length, True), ("dpost_gate", "dpost", a.out_length, True),
        ):  # fmt: skip
            at, steps = getattr(a, name), getattr(a, f"{strides}_strides")
            if at:
                last = (a.batch // max(a.tiles, 1) - 1) * steps.batch + (a.channels - 1) * steps.channel + length
                yield name, at, last * sample, writes


def factors_of(name: str) -> tuple[int, int, int]:
    """Of the transform that a kernel of this name makes."""
    n1, n2, n3 = map(int, re.search(r"<(\d+), (\d+), (\d+)>", name).groups())
    return n1, n2, n3
