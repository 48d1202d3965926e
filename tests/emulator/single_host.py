"""What a host does to run the single-precision kernels: tables, specialisations, launches. Here, on the emulator."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
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
        """What the exchange of a forward pass takes."""
        planes = self.threads * self.n3 // (self.n2 * self.n3)
        return planes * self.n2 * (self.n3 + 1) * (8 if cells == "whole" else 4)

    def backward_bytes(self, cells: str, keep: str) -> int:
        spectra = {"in_shared": 2, "sums_in_shared": 1, "in_device": 0}[keep]
        return -(-self.shared_bytes(cells) // 16) * 16 + spectra * self.threads * self.n3 * 8

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


@dataclass(frozen=True)
class Kernel:
    """A specialisation: the header it is in, its name for the compiler, and what it is handed."""

    header: str
    name: str
    arguments: str = "Arguments"

    def build(self):
        return harness.build(self.header, self.name, self.arguments)


def convolve(shape, cells="whole", extent="padded", pre=False, post=False) -> Kernel:
    options = f"single::Cells::{cells}, single::Extent::{extent}, {switches(pre, post)}"
    return Kernel("single_forward.cuh", f"single::convolve<{shape}, {options}>")


def convolve_backward(
    shape, cells="whole", extent="padded", pre=False, post=False, keep="in_shared", filter_gradient=True
) -> Kernel:
    options = f"single::Cells::{cells}, single::Extent::{extent}, {switches(pre, post)}, single::Keep::{keep}"
    name = f"single::convolve_backward<{shape}, {options}, {str(filter_gradient).lower()}>"
    return Kernel("single_backward.cuh", name)


def filter_spectrum(shape, cells="whole") -> Kernel:
    return Kernel("single_filter.cuh", f"single::filter_spectrum<{shape}, single::Cells::{cells}>", "FilterArguments")


def filter_gradient(shape, cells="whole") -> Kernel:
    return Kernel("single_filter.cuh", f"single::filter_gradient<{shape}, single::Cells::{cells}>", "FilterArguments")


def switches(pre: bool, post: bool) -> str:
    return f"Switches<{str(bool(pre)).lower()}, {str(bool(post)).lower()}, false>"


def build_together(*kernels: Kernel) -> None:
    """Several specialisations, as many at a time as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(Kernel.build, kernels))


class Engine:
    """One size on the emulator, with one memory for all its arrays."""

    def __init__(self, shape: Shape, seed: int, cells: str = "whole"):
        self.shape, self.seed, self.cells = shape, seed, cells
        self.device = harness.Device()
        self.tables = self.device.put(tables(shape))
        self.counters = None

    def _launch(self, kernel: Kernel, arguments, grid, shared_bytes):
        self.counters = self.device.launch(kernel.build(), arguments, grid, self.shape.threads, shared_bytes, self.seed)

    def _filter_arguments(self, shape, lag: Filter, length: int, out_length: int, **fields):
        _, filters, taps = shape
        return harness.FilterArguments(
            tables=harness.address(self.tables), tap_strides=harness.Strides(filters * taps, taps), filters=filters,
            taps=taps, length=length, out_length=out_length, offset=lag.offset, direction=lag.direction,
            circular=lag.circular, **fields,
        )  # fmt: skip

    def _filter_launch(self, kernel: Kernel, arguments, shape):
        grid = (-(-shape[1] // self.shape.rows), shape[0])
        self._launch(kernel, arguments, grid, self.shape.shared_bytes(self.cells))

    def spectrum(self, k, d=None, lag=None, *, length: int, out_length: int):
        """Spectra of k (items, filters, taps), in the kernel's order."""
        taps = self.device.put(k)
        skip = None if d is None else self.device.put(d)
        spectrum = self.device.empty((*k.shape[:2], self.shape.points), np.complex64)
        arguments = self._filter_arguments(
            k.shape, lag or Filter(), length, out_length, k=harness.address(taps), d=harness.address(skip),
            spectrum=harness.address(spectrum),
        )  # fmt: skip
        self._filter_launch(filter_spectrum(self.shape, self.cells), arguments, k.shape)
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
        kernel = convolve(self.shape, self.cells, extent, pre is not None, post is not None)
        self._launch(kernel, arguments, (channels, -(-batch // rows_per_block)), self.shape.shared_bytes(self.cells))
        return y

    def gradients(
        self, u, spectrum, dy, pre=None, post=None, *, rows_per_block=None, extent="padded", keep="in_shared",
        filter_gradient=True,
    ):  # fmt: skip
        """du, dpre, dpost (None where there is no gate) and the sums of their spectra (channel, chunk, points)."""
        batch, channels, length = u.shape
        items, filters, _ = spectrum.shape
        rows_per_block = rows_per_block or batch
        chunks = -(-batch // rows_per_block)
        du = self.device.empty(u.shape, np.float32)
        dpre = None if pre is None else self.device.empty(u.shape, np.float32)
        dpost = None if post is None else self.device.empty(dy.shape, np.float32)
        sums = self.device.empty((channels, chunks, self.shape.points), np.complex64) if filter_gradient else None
        scratch = None
        if keep != "in_shared":
            scratch = self.device.empty((channels, chunks, self.shape.points), np.complex64)
        arguments = harness.Arguments(
            u=harness.address(u), pre_gate=harness.address(pre), post_gate=harness.address(post),
            spectrum=harness.address(spectrum), tables=harness.address(self.tables), dy=harness.address(dy),
            du=harness.address(du), dpre_gate=harness.address(dpre), dpost_gate=harness.address(dpost),
            dspectrum=harness.address(sums), scratch=harness.address(scratch), u_strides=strides(u),
            pre_strides=strides(pre), post_strides=strides(post), dy_strides=strides(dy), du_strides=strides(du),
            dpre_strides=strides(dpre), dpost_strides=strides(dpost),
            filter_strides=harness.Strides(filters if items > 1 else 0, 1), channels_per_filter=channels // filters,
            batch=batch, channels=channels, length=length, out_length=dy.shape[2], rows_per_block=rows_per_block,
        )  # fmt: skip
        options = (self.cells, extent, pre is not None, post is not None, keep, filter_gradient)
        shared_bytes = self.shape.backward_bytes(self.cells, keep)
        self._launch(convolve_backward(self.shape, *options), arguments, (channels, chunks), shared_bytes)
        return du, dpre, dpost, sums

    def filter_gradient(self, sums, k, *, lag=None, skip=False, length: int, out_length: int):
        """dk, and dd where the skip term is there, from the sums that ``gradients`` gives."""
        channels, chunks, _ = sums.shape
        items, filters, _ = k.shape
        dk = self.device.empty(k.shape, np.float32)
        dd = self.device.empty(k.shape[:2], np.float32) if skip else None
        arguments = self._filter_arguments(
            k.shape, lag or Filter(), length, out_length, dspectrum=harness.address(sums), dk=harness.address(dk),
            dd=harness.address(dd), channels_per_filter=channels // filters, chunks_per_filter=chunks // items,
            chunks=chunks,
        )  # fmt: skip
        self._filter_launch(filter_gradient(self.shape, self.cells), arguments, k.shape)
        return dk, dd


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


def reference_gradients(u, k, dy, d=None, pre=None, post=None, lag=None):
    """The gradients of sum(y dy) by u, k, d and the gates, in float64."""
    lag = lag or Filter()
    u, k, dy = (np.asarray(a, np.float64) for a in (u, k, dy))
    x = u if pre is None else u * pre
    s = reference(x, k, d, lag=lag, out_length=dy.shape[-1])
    g = dy if post is None else dy * post
    repeat = u.shape[1] // k.shape[1]

    # x is correlated with the filter: its lags the other way round.
    dx = reference(g, k, d, lag=Filter(lag.offset, -lag.direction, lag.circular), out_length=u.shape[-1])

    # Every lag's gradient, then the taps that stand there.
    length, out_length = u.shape[-1], dy.shape[-1]
    size = 1 << int(length + out_length).bit_length()
    by_lag = np.fft.irfft(np.conj(np.fft.rfft(x, size)) * np.fft.rfft(g, size), size)
    lags = lag.direction * (np.arange(k.shape[-1]) - lag.offset)
    if lag.circular:
        dk = by_lag[..., lags % length] + np.where(lags % length > 0, by_lag[..., lags % length - length], 0.0)
    else:
        dk = np.where((lags < out_length) & (lags > -length), by_lag[..., lags % size], 0.0)

    def to_filter(gradient):
        gradient = gradient.reshape(u.shape[0], k.shape[1], repeat, *gradient.shape[2:]).sum(2)
        return gradient if k.shape[0] > 1 else gradient.sum(0, keepdims=True)

    return {
        "du": dx if pre is None else dx * pre,
        "dk": to_filter(dk),
        "dd": None if d is None else to_filter(by_lag[..., 0]),
        "dpre": None if pre is None else dx * u,
        "dpost": None if post is None else dy * s,
    }
