"""A launcher that runs kernels in the emulator on torch's CPU tensors: all of the engine but the driver's calls."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from longconv_audio.engines.cuda.arguments import Arguments, FilterArguments
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.cuda.launch import check_grid

sys.path.insert(0, str(Path(__file__).parents[2] / "emulator"))
import harness

WRITTEN = {"y", "du", "dpre_gate", "dpost_gate", "dspectrum", "scratch", "scale", "dk", "dd"}


class EmulatedLauncher:
    """Has what `long_conv.convolve` wants of a launcher. Only memory that the arguments speak of may be accessed."""

    device = "cpu"

    def __init__(self, arch: str = "sm_90a", seed: int = 1):
        self.gpu, self.seed = KNOWN[arch], seed
        self.launches = []
        self._tables = {}

    def tables(self, key, make):
        if key not in self._tables:
            self._tables[key] = make()
        return self._tables[key]

    def launch(self, kernel, arguments, grid) -> None:
        check_grid(kernel, grid)
        self.launches.append((kernel, grid))
        regions = [(at, size, name in WRITTEN) for name, at, size in self._memory(kernel, arguments)]
        device = harness.Device()
        device._regions.extend(regions)
        given = {"Arguments": "Arguments", "FilterArguments": "FilterArguments"}.get(kernel.struct, "")
        library = harness.build(kernel.header, kernel.name, given)
        device.launch(library, arguments, grid, kernel.threads, kernel.shared_bytes, self.seed)

    def _memory(self, kernel, a):
        """(name, address, bytes) of all that the kernel may touch."""
        n1, n2, n3 = map(int, re.search(r"<(\d+), (\d+), (\d+)>", kernel.name).groups())
        points, half = n1 * n2 * n3, kernel.header.startswith("half")
        sample, point = (2, 4) if half else (4, 8)
        if isinstance(a, Arguments):
            yield from self._rows(a, sample)
            filters = 1 + (a.batch - 1) * a.filter_strides.batch + (a.channels - 1) // a.channels_per_filter
            yield "spectrum (read)", a.spectrum, filters * points * point
            if a.spectrum_scale:
                yield "spectrum_scale", a.spectrum_scale, filters * 4
            if a.dspectrum:
                chunks = -(-a.batch // a.rows_per_block)
                yield "dspectrum", a.dspectrum, a.channels * chunks * points * 8
                if a.scratch:
                    yield "scratch", a.scratch, a.channels * chunks * points * point
        elif isinstance(a, FilterArguments) and a.dk:
            items = a.chunks // a.chunks_per_filter
            yield "dk", a.dk, items * a.filters * a.taps * 4
            if a.dd:
                yield "dd", a.dd, items * a.filters * 4
            yield "sums", a.dspectrum, a.filters * a.channels_per_filter * a.chunks * points * 8
        elif isinstance(a, FilterArguments):
            yield "k", a.k, ((a.filters - 1) * a.tap_strides.channel + a.taps) * 4
            yield "y", a.spectrum, a.filters * points * point
            if a.d:
                yield "skips", a.d, a.filters * 4
            if a.scale:
                yield "scale", a.scale, a.filters * 4
        else:
            yield "y", a.tables, 1 << 20
            return
        for table in self._tables.values():
            yield "tables", table.data_ptr(), table.numel() * table.element_size()

    @staticmethod
    def _rows(a, sample: int):
        for name, strides, length in (
            ("u", "u", a.length), ("pre_gate", "pre", a.length), ("post_gate", "post", a.out_length),
            ("y", "y", a.out_length), ("dy", "dy", a.out_length), ("du", "du", a.length),
            ("dpre_gate", "dpre", a.length), ("dpost_gate", "dpost", a.out_length),
        ):  # fmt: skip
            at, steps = getattr(a, name), getattr(a, f"{strides}_strides")
            if at:
                last = (a.batch - 1) * steps.batch + (a.channels - 1) * steps.channel + length
                yield name, at, last * sample
