"""Runs the half-precision kernels in the emulator on one convolution, as the host of the engine would."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from pathlib import Path

import harness
import numpy as np
from harness import Arguments, Counters, Device, FilterArguments, Strides, address
from single_host import Shape
from single_host import tables as single_tables

# Complex points: the factors of its kernels. A row of L samples takes the first that is not smaller.
FACTORS = {
    256: (1, 16, 16),
    512: (1, 16, 32),
    1024: (1, 32, 32),
    4096: (16, 16, 16),
    8192: (16, 16, 32),
    16384: (32, 16, 32),
}


def points_for(length: int) -> int:
    return next(points for points in FACTORS if points >= length)


@dataclass
class Convolution:
    """One call: ``u`` (B or 1, H or 1, L), ``k`` (filters, K) or (B, filters, K), gates like u and y, or None."""

    u: np.ndarray
    k: np.ndarray
    pre_gate: np.ndarray | None = None
    post_gate: np.ndarray | None = None
    d: np.ndarray | None = None
    dtype: str = "fp16"
    out_length: int | None = None
    offset: int = 0
    direction: int = 1
    circular: bool = False
    rows_per_block: int = 64
    points: int | None = None
    groups: int = 1
    cells: str = "whole"
    shift: int = 0  # bytes that every row tensor is moved off its alignment
    seed: int = 0
    folder: Path = harness.CSRC  # where the kernels' source is
    counters: dict[str, Counters] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.length = self.u.shape[-1]
        self.out_length = self.out_length or self.length
        self.points = self.points or points_for(max(self.length, self.out_length))
        self.factors = "Factors<{}, {}, {}>".format(*FACTORS[self.points])
        self.number = {"fp16": "Fp16", "bf16": "Bf16"}[self.dtype]
        gate_shapes = [g.shape for g in (self.pre_gate, self.post_gate) if g is not None]
        leading = np.broadcast_shapes(self.u.shape[:2], *[s[:2] for s in gate_shapes])
        if leading[1] == 1:
            leading = (leading[0], self.k.shape[-2])
        if self.k.ndim == 3:
            leading = np.broadcast_shapes(leading, (self.k.shape[0], 1))
            self.rows_per_block = 1
        self.batch, self.channels = leading
        self.rows_per_block = min(self.rows_per_block, self.batch)
        self.chunks = -(-self.batch // self.rows_per_block)
        self.u, self.pre_gate, self.post_gate = (self.rounded(x) for x in (self.u, self.pre_gate, self.post_gate))
        self.k = self.k.astype(np.float32)
        self.device = Device()
        self.aligned = self.shift == 0 and self.length % 8 == 0 and self.out_length % 8 == 0
        self.filters = self.k.shape[-2]
        n1, p, q = FACTORS[self.points]
        self.filter_shape = Shape(n1 * p // min(p, 32), min(p, 32), q)
        self.filter_tables = self.device.put(single_tables(self.filter_shape))

    # ---- numbers

    def bits(self, x: np.ndarray) -> np.ndarray:
        return x.astype(np.float16).view(np.uint16) if self.dtype == "fp16" else harness.to_bfloat(x)

    def values(self, bits: np.ndarray) -> np.ndarray:
        bits = np.ascontiguousarray(bits)
        return (bits.view(np.float16) if self.dtype == "fp16" else harness.from_bfloat(bits)).astype(np.float64)

    def rounded(self, x: np.ndarray | None) -> np.ndarray | None:
        return None if x is None else self.values(self.bits(x))

    # ---- the oracle

    def taps_by_lag(self) -> np.ndarray:
        """``k`` (items, filters, 2 N - 1) by lag from 1 - N on, N the longer length; with d."""
        n = max(self.length, self.out_length)
        k = self.k.astype(np.float64).reshape(-1, self.filters, self.k.shape[-1])
        by_lag = np.zeros((*k.shape[:2], 2 * n - 1))
        for tap in range(k.shape[-1]):
            lag = self.direction * (tap - self.offset)
            lags = range(lag % self.length - self.length, n, self.length) if self.circular else [lag]
            for p in lags:
                if abs(p) < n:
                    by_lag[..., p + n - 1] += k[..., tap]
        if self.d is not None:
            by_lag[..., n - 1] += self.d
        return by_lag

    def expected(self) -> np.ndarray:
        n = max(self.length, self.out_length)
        x = self.u if self.pre_gate is None else self.u * self.pre_gate
        k = np.repeat(self.taps_by_lag(), self.channels // self.filters, axis=1)
        size = 4 * n
        product = np.fft.rfft(x, size) * np.fft.rfft(k, size)
        y = np.fft.irfft(product, size)[..., n - 1 : n - 1 + self.out_length]
        y = np.broadcast_to(y, (self.batch, self.channels, self.out_length))
        return y if self.post_gate is None else y * self.post_gate

    # ---- the kernels

    def place(self, x: np.ndarray | None) -> tuple[int | None, Strides]:
        """A row tensor on the device, and its strides: 0 along an axis of 1."""
        if x is None:
            return None, Strides()
        held = self.device.put(self.bits(x), shift=self.shift)
        return held.ctypes.data, Strides(
            *[s // 2 if n > 1 else 0 for s, n in zip(held.strides, x.shape[:2], strict=False)]
        )

    def build(self, backward: bool) -> None:
        """One library with all that this convolution needs, and the constants of its launches."""
        common = f"{self.number}, {self.factors}, {self.switches()}"
        shape = f"{self.factors}, {self.switches()}"
        resident = "true" if self.points <= 8192 else "false"
        if backward and self.points <= 1024:
            kernel, form = f"half_backward_warp<{common}>", f"WarpBackward<{shape}>"
        elif backward:
            kernel, form = f"half_backward_group<{common}, {resident}>", f"GroupBackward<{shape}, {resident}>"
        elif self.points <= 1024:
            kernel, form = f"half_forward_warp<{common}>", f"WarpForward<{shape}>"
        else:
            kernel, form = f"half_forward_group<{common}, {self.groups}>", f"GroupForward<{shape}, {self.groups}>"
        of_filter = f"{self.factors}, single::Cells::{self.cells}"
        kernels = (f"half_tables<{self.number}, {self.factors}>", f"half_filter_spectrum<{of_filter}>", kernel)
        if backward:
            kernels += (f"half_filter_gradient<{of_filter}>",)
        expressions = (f"Tables<{self.factors}>::bytes", f"{form}::threads", f"{form}::shared_bytes")
        self.library = harness.build("half.cuh", kernels, facts=expressions, folder=self.folder)
        self.table_bytes, *self.row_launch = harness.facts(self.library, len(expressions))

    def launch(self, name: str, which: int, arguments, grid: tuple[int, ...], threads: int, shared_bytes: int) -> None:
        self.counters[name] = self.device.launch(self.library, arguments, grid, threads, shared_bytes, self.seed, which)

    def make_tables(self) -> np.ndarray:
        words = self.table_bytes // 4
        tables = self.device.empty((words,), np.uint32)
        self.launch("tables", 0, ctypes.c_void_p(tables.ctypes.data), (-(-words // 128),), 128, 0)
        return tables

    def filter_arguments(self) -> FilterArguments:
        k = self.device.put(self.k)
        d = None if self.d is None else self.device.put(self.d.astype(np.float32))
        items = self.k.shape[0] if self.k.ndim == 3 else 1
        self.spectrum = self.device.empty((items * self.filters, self.points), np.uint32)
        self.scale = self.device.empty((items * self.filters,), np.float32)
        taps = self.k.shape[-1]
        return FilterArguments(
            k=address(k), d=address(d), spectrum=address(self.spectrum), scale=address(self.scale),
            tables=address(self.filter_tables), tap_strides=Strides(taps * self.filters, taps), filters=self.filters,
            taps=taps, length=self.length, out_length=self.out_length, offset=self.offset, direction=self.direction,
            circular=int(self.circular), channels_per_filter=self.channels // self.filters,
        )  # fmt: skip

    def launch_filters(self, name: str, which: int, arguments: FilterArguments) -> None:
        shape, items = self.filter_shape, self.k.shape[0] if self.k.ndim == 3 else 1
        grid = (-(-self.filters // shape.rows), items)
        self.launch(name, which, arguments, grid, shape.threads, shape.shared_bytes(self.cells))

    def arguments(self, backward: bool = False) -> Arguments:
        self.build(backward)
        tables = self.make_tables()
        self.launch_filters("spectrum", 1, self.filter_arguments())
        a = Arguments(
            tables=address(tables), spectrum=address(self.spectrum), spectrum_scale=address(self.scale),
            filter_strides=Strides(self.filters if self.k.ndim == 3 else 0, 1),
            channels_per_filter=self.channels // self.filters, batch=self.batch, channels=self.channels,
            length=self.length, out_length=self.out_length, rows_per_block=self.rows_per_block,
        )  # fmt: skip
        a.u, a.u_strides = self.place(self.u)
        a.pre_gate, a.pre_strides = self.place(self.pre_gate)
        a.post_gate, a.post_strides = self.place(self.post_gate)
        return a

    def switches(self) -> str:
        flags = (self.pre_gate is not None, self.post_gate is not None, self.aligned)
        return "Switches<{}, {}, {}>".format(*("true" if f else "false" for f in flags))

    def forward(self) -> np.ndarray:
        a = self.arguments()
        y = self.device.empty((self.batch, self.channels, self.out_length), np.uint16, shift=self.shift)
        a.y, a.y_strides = address(y), Strides(self.channels * self.out_length, self.out_length)
        self.launch("forward", 2, a, (self.channels, self.chunks), *self.row_launch)
        return self.values(y)

    def backward(self, dy: np.ndarray) -> dict[str, np.ndarray]:
        """Gradients by name, of the shapes the kernels write: dense (B, H, length), and (items, filters, taps)."""
        a = self.arguments(backward=True)
        a.dy, a.dy_strides = self.place(self.rounded(dy))
        dense = {"du": self.length}
        if self.pre_gate is not None:
            dense["dpre_gate"] = self.length
        if self.post_gate is not None:
            dense["dpost_gate"] = self.out_length
        held = {}
        for name, length in dense.items():
            held[name] = self.device.empty((self.batch, self.channels, length), np.uint16, shift=self.shift)
            setattr(a, name, address(held[name]))
            strides = "du_strides" if name == "du" else name.replace("_gate", "_strides")
            setattr(a, strides, Strides(self.channels * length, length))
        sums = self.device.empty((self.channels, self.chunks, self.points), np.complex64)
        scratch = self.device.empty((self.channels, self.chunks, self.points), np.uint32)
        a.dspectrum, a.scratch = address(sums), address(scratch)
        self.launch("backward", 2, a, (self.channels, self.chunks), *self.row_launch)

        items = self.k.shape[0] if self.k.ndim == 3 else 1
        dk = self.device.empty((items, self.filters, self.k.shape[-1]), np.float32)
        dd = None if self.d is None else self.device.empty((items, self.filters), np.float32)
        f = self.filter_arguments()
        f.dspectrum, f.dk, f.dd, f.chunks = address(sums), address(dk), address(dd), self.chunks
        f.chunks_per_filter = self.chunks // items
        self.launch_filters("gradient", 3, f)
        got = {name: self.values(x) for name, x in held.items()} | {"dk": dk.astype(np.float64)}
        return got if dd is None else got | {"dd": dd.sum(0).astype(np.float64)}

    def expected_gradients(self, dy: np.ndarray) -> dict[str, np.ndarray]:
        """The same in float64."""
        dy = self.rounded(dy)
        n = max(self.length, self.out_length)
        size = 4 * n
        full = (self.batch, self.channels)
        u, k = self.u, np.repeat(self.taps_by_lag(), self.channels // self.filters, axis=1)
        one = np.ones((1, 1, 1))
        pre = one if self.pre_gate is None else self.pre_gate
        post = one if self.post_gate is None else self.post_gate
        x, z = np.broadcast_to(u * pre, (*full, self.length)), np.broadcast_to(dy * post, (*full, self.out_length))
        spectrum_k, spectrum_x, spectrum_z = (np.fft.rfft(v, size) for v in (k, x, z))
        # k starts at lag 1 - n: what multiplies by its conjugate comes out n - 1 samples early.
        dx = np.roll(np.fft.irfft(np.conj(spectrum_k) * spectrum_z, size), n - 1, -1)[..., : self.length]
        y = np.fft.irfft(spectrum_k * spectrum_x, size)[..., n - 1 : n - 1 + self.out_length]
        by_lag = np.roll(np.fft.irfft(np.conj(spectrum_x) * spectrum_z, size), n - 1, -1)[..., : 2 * n - 1]
        by_lag = by_lag.reshape(self.batch, self.filters, -1, 2 * n - 1).sum(2)
        if self.k.ndim == 2:
            by_lag = by_lag.sum(0, keepdims=True)
        dk = np.zeros((*by_lag.shape[:2], self.k.shape[-1]))
        for tap in range(self.k.shape[-1]):
            lag = self.direction * (tap - self.offset)
            for p in range(lag % self.length - self.length, n, self.length) if self.circular else [lag]:
                if abs(p) < n:
                    dk[..., tap] += by_lag[..., p + n - 1]
        expected = {"du": dx * pre, "dk": dk}
        if self.pre_gate is not None:
            expected["dpre_gate"] = dx * u
        if self.post_gate is not None:
            expected["dpost_gate"] = y * dy
        if self.d is not None:
            expected["dd"] = by_lag[..., n - 1].sum(0)
        return expected


def snr(got: np.ndarray, wanted: np.ndarray) -> float:
    """Signal-to-noise ratio in dB; minus infinity where a NaN or Inf came out."""
    if not np.isfinite(got).all():
        return -np.inf
    return 10 * np.log10((wanted**2).sum() / max(((got - wanted) ** 2).sum(), 1e-300))
