"""What a host does to run the single-precision kernels: tables, specialisations, launches. Here, on the emulator."""

from __future__ import annotations

from dataclasses import dataclass

import harness
import numpy as np


@dataclass(frozen=True)
class Shape:
    """``single::Shape``: the factors of the M complex points that a row of up to 2 M samples is folded to."""

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

    def shared_bytes(self, cells: str) -> int:
        planes = self.threads * self.n3 // (self.n2 * self.n3)
        return planes * self.n2 * (self.n3 + 1) * (8 if cells == "whole" else 4)

    def __str__(self) -> str:
        return f"single::Shape<{self.n1}, {self.n2}, {self.n3}>"


SHAPES = {
    shape.points: shape
    for shape in (
        Shape(1, 8, 16), Shape(1, 16, 16), Shape(1, 16, 32), Shape(1, 32, 32),
        Shape(16, 8, 16), Shape(16, 16, 16), Shape(16, 16, 32), Shape(32, 16, 32),
    )
}  # fmt: skip


def tables(shape: Shape) -> np.ndarray:
    """The twists of every stage, as csrc/single_tables.cuh lays them out."""
    n1, n2, n3, points = shape.n1, shape.n2, shape.n3, shape.points
    k1 = np.arange(n1)[:, None]
    columns = n2 * n3 if n1 > 1 else n3

    def section(radix: int, turns: np.ndarray) -> list[np.ndarray]:
        """Powers c^(4^j) below c^radix of c = e^(-2 pi i turns)."""
        powers = [4**j for j in range(8) if 4**j < radix]
        return [np.exp(-2j * np.pi * power * turns.ravel()) for power in powers]

    return np.concatenate(
        (section(n2, (k1 - 0.25) / (n1 * n2)) if n1 > 1 else [])
        + section(n3, (k1 + n1 * np.arange(n2) - 0.25) / points)
        + section(n2, -np.arange(n3) / (n2 * n3))
        + (section(n1, -np.arange(columns) / points) if n1 > 1 else [])
        + [np.exp(-2j * np.pi * np.arange(columns) / (4 * points))]
    ).astype(np.complex64)


@dataclass(frozen=True)
class Filter:
    """How taps become lags; see ``FilterArguments``."""

    offset: int = 0
    direction: int = 1
    circular: bool = False


class Engine:
    """One size on the emulator, with one memory for all its arrays."""

    def __init__(self, shape: Shape, seed: int, cells: str = "whole"):
        self.shape, self.seed, self.cells = shape, seed, cells
        self.device = harness.Device()
        self.tables = self.device.put(tables(shape))
        self.counters = None

    def _launch(self, header, kernel, arguments, grid, shared_bytes, struct="Arguments"):
        library = harness.build(header, kernel, struct)
        self.counters = self.device.launch(library, arguments, grid, self.shape.threads, shared_bytes, self.seed)

    def _filter_arguments(self, shape, lag: Filter, length: int, out_length: int, **fields):
        items, filters, taps = shape
        return harness.FilterArguments(
            tables=harness.address(self.tables), tap_strides=harness.Strides(filters * taps, taps), filters=filters,
            taps=taps, length=length, out_length=out_length, offset=lag.offset, direction=lag.direction,
            circular=lag.circular, **fields,
        )  # fmt: skip

    def _filter_launch(self, kernel, arguments, shape):
        grid = (-(-shape[1] // self.shape.rows), shape[0])
        self._launch(
            "single_filter.cuh", f"single::{kernel}<{self.shape}, single::Cells::{self.cells}>", arguments, grid,
            self.shape.shared_bytes(self.cells), "FilterArguments",
        )  # fmt: skip

    def spectrum(self, k, d=None, lag=None, *, length: int, out_length: int):
        """Spectra of k (items, filters, taps), in the kernel's order."""
        taps = self.device.put(k)
        skip = None if d is None else self.device.put(d)
        spectrum = self.device.empty((*k.shape[:2], self.shape.points), np.complex64)
        arguments = self._filter_arguments(
            k.shape, lag or Filter(), length, out_length, k=harness.address(taps), d=harness.address(skip),
            spectrum=harness.address(spectrum),
        )  # fmt: skip
        self._filter_launch("filter_spectrum", arguments, k.shape)
        return spectrum

    def convolve(self, u, spectrum, pre=None, post=None, *, out_length=None, rows_per_block=None, extent="padded"):
        """y (batch, channels, out_length); u, pre and post may be views with gaps between their rows."""
        batch, channels, length = u.shape
        out_length = length if out_length is None else out_length
        items, filters, _ = spectrum.shape
        y = self.device.empty((batch, channels, out_length), np.float32)
        rows_per_block = rows_per_block or batch
        arguments = harness.Arguments(
            u=harness.address(u), pre_gate=harness.address(pre), post_gate=harness.address(post), y=harness.address(y),
            spectrum=harness.address(spectrum), tables=harness.address(self.tables), u_strides=strides(u),
            pre_strides=strides(pre), post_strides=strides(post), y_strides=strides(y),
            filter_strides=harness.Strides(filters if items > 1 else 0, 1), channels_per_filter=channels // filters,
            batch=batch, channels=channels, length=length, out_length=out_length, rows_per_block=rows_per_block,
        )  # fmt: skip
        gates = f"Switches<{int(pre is not None)}, {int(post is not None)}, false>"
        kernel = f"single::convolve<{self.shape}, single::Cells::{self.cells}, single::Extent::{extent}, {gates}>"
        self._launch(
            "single_forward.cuh", kernel, arguments, (channels, -(-batch // rows_per_block)),
            self.shape.shared_bytes(self.cells),
        )  # fmt: skip
        return y


def strides(array) -> harness.Strides:
    """Of a (batch, channel, time) array, in elements."""
    return harness.Strides() if array is None else harness.Strides(*(s // array.itemsize for s in array.strides[:2]))


def reference(u, k, d=None, pre=None, post=None, lag=None, *, out_length=None):
    """The same in float64: u (batch, channels, length), k (items, filters, taps), d (items, filters)."""
    lag = lag or Filter()
    length = u.shape[-1]
    out_length = length if out_length is None else out_length
    x = u.astype(np.float64) if pre is None else u.astype(np.float64) * pre
    repeat = u.shape[1] // k.shape[1]
    h = np.repeat(k.astype(np.float64), repeat, axis=1)[..., :: lag.direction]
    lowest = -lag.offset if lag.direction > 0 else lag.offset - (h.shape[-1] - 1)  # the lag of h's first tap
    if lag.circular:
        folded = np.zeros((*h.shape[:2], length))
        np.add.at(folded, (..., (np.arange(h.shape[-1]) + lowest) % length), h)
        y = np.fft.irfft(np.fft.rfft(x) * np.fft.rfft(folded), length)
    else:
        size = 1 << int(length + h.shape[-1] - 1).bit_length()
        full = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(h, size), size)  # full[i] is y[i + lowest]
        y = np.zeros((*x.shape[:2], out_length))
        first, last = max(0, lowest), min(out_length, lowest + length + h.shape[-1] - 1)
        if last > first:
            y[..., first:last] = full[..., first - lowest : last - lowest]
    if d is not None:
        overlap = min(length, out_length)
        y[..., :overlap] += np.repeat(d, repeat, axis=1)[..., None] * x[..., :overlap]
    return y if post is None else y * post
