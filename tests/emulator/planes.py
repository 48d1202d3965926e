"""Convolutions of complex rows by csrc/half_planes.cuh, in the emulator or on a GPU; and in complex128."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from emulated import EmulatedLauncher

from longconv_audio.engines.cuda import half_planes
from longconv_audio.engines.cuda.arguments import FilterArguments, PlaneArguments, Strides, TableArguments
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.cuda.tables import single_tables


@dataclass
class Planes:
    """Rows as the outer transform leaves them, and filters.

    Args:
        x: complex (batch, sources, planes, points); the planes of a source have their scales in common.
        k: complex (filters, planes, points), sources being a multiple of filters; or as many for each batch item.
        levels: (batch, sources, tiles), exponents: tiles of x are held at 2^levels, and multiplied by it here.
        in_place: what comes out is written over x.
        gap: words between two rows.
        arch, seed, folder: as of `Convolution`.
        on: a GPU's launcher, in place of the emulator's.
    """

    x: np.ndarray
    k: np.ndarray
    levels: np.ndarray
    in_place: bool = False
    gap: int = 0
    arch: str = "sm_90a"
    seed: int = 0
    folder: Path = harness.CSRC
    on: Any = None

    def __post_init__(self) -> None:
        if self.on is None:
            self.on = EmulatedLauncher(self.arch, self.seed, self.folder)
            self.on.gpu = dataclasses.replace(KNOWN[self.arch], multiprocessors=1)
        self.shape = half_planes.plane_shape(self.points)
        self.words, self.scales = self.held(self.x, self.levels)
        self.k = self.k.astype(np.complex64)  # as the kernel that makes spectra takes them
        if self.k.ndim == 3:
            self.k = self.k[None]

    @property
    def points(self) -> int:
        return self.x.shape[-1]

    @property
    def channels(self) -> int:
        return self.x.shape[1] * self.x.shape[2]

    @property
    def per_item(self) -> bool:
        return len(self.k) > 1

    def held(self, x: np.ndarray, levels: np.ndarray):
        """Rows of words with a gap behind each, and scales."""
        batch = x.shape[0]
        words = torch.zeros(batch, self.channels, self.points + self.gap, dtype=torch.int32, device=self.on.device)
        words[..., : self.points] = pairs(x.reshape(batch, self.channels, -1)).to(self.on.device)
        return words, torch.from_numpy(np.exp2(levels)).float().to(self.on.device)

    def values(self, words: torch.Tensor, levels: np.ndarray) -> np.ndarray:
        """What held words stand for."""
        x = points_of(words[..., : self.points]).reshape(self.x.shape)
        return x * np.repeat(np.exp2(levels), 32, -1)[:, :, None]

    def forward(self) -> np.ndarray:
        kernel = half_planes.planes_forward(self.points, self.on.gpu)
        y = self.words if self.in_place else torch.empty_like(self.words)
        out_scale = self.empty(*self.words.shape[:2])
        a = self.arguments()
        a.y, a.out_scale = y.data_ptr(), out_scale.data_ptr()
        a.rows_per_block = half_planes.forward_rows(self.points, self.on.gpu, a.batch, a.channels, self.per_item)
        self._launch(kernel, a)
        return self.scaled(y, out_scale)

    def expected(self) -> np.ndarray:
        return self.convolved(self.values(self.words, self.levels), self.k)

    def gradients(self, g: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """dx, and the filters' gradients, from planes like x."""
        kernel = half_planes.planes_backward(self.points, self.on.gpu)
        words, scales = self.held(g, levels)
        dx = words if self.in_place else torch.empty_like(words)
        dx_scale = self.empty(*words.shape[:2])
        a = self.arguments()
        a.g, a.g_scale, a.dx, a.dx_scale = (t.data_ptr() for t in (words, scales, dx, dx_scale))
        a.rows_per_block = half_planes.backward_rows(self.points, a.batch, a.channels, self.per_item)
        chunks = -(-a.batch // a.rows_per_block)
        sums = self.empty(self.channels, chunks, self.points, 2)
        scratch = self.empty(self.channels * chunks * half_planes.scratch_bytes(self.points, self.on.gpu) // 4)
        a.dspectrum, a.scratch = sums.data_ptr(), scratch.data_ptr() if len(scratch) else None
        self._launch(kernel, a)
        return self.scaled(dx, dx_scale), self._of_filters(sums)

    def expected_gradients(self, g: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, g = self.values(self.words, self.levels), self.values(self.held(g, levels)[0], levels)
        dk = untwisted(twisted(x).conj() * twisted(g))
        _, filters, planes, points = self.k.shape
        dk = dk.reshape(len(dk), filters, -1, planes, points).sum(2)  # of all sources of a filter
        return self.convolved(g, self.k, conjugate=True), dk if self.per_item else dk.sum(0, keepdims=True)

    def _of_filters(self, sums: torch.Tensor) -> np.ndarray:
        """The gradients of taps."""
        chunks, items = sums.shape[1], len(self.k)
        dk = self.empty(*self.k.shape[:3], 2, self.points)
        a = self.filter_arguments(dspectrum=sums.data_ptr(), dk=dk.data_ptr())
        a.filters, a.chunks, a.chunks_per_filter = a.filters // items, chunks, chunks // items
        a.channels_per_filter = self.channels // a.filters
        self.on.launch(self.shape.gradient(self.on.gpu), a, (-(-a.filters // self.shape.of_filters.rows), items))
        real, imaginary = np.moveaxis(dk.double().cpu().numpy(), 3, 0)
        return real + 1j * imaginary

    def convolved(self, x: np.ndarray, k: np.ndarray, conjugate: bool = False) -> np.ndarray:
        """T^-1 (K T x), or T^-1 (conj K T x): products modulo z^points - i, or their adjoint."""
        spectra = twisted(np.repeat(k, x.shape[1] // k.shape[1], 1))
        return untwisted((spectra.conj() if conjugate else spectra) * twisted(x))

    def scaled(self, words: torch.Tensor, scale: torch.Tensor) -> np.ndarray:
        y = points_of(words[..., : self.points]) * scale.double().cpu().numpy()[..., None]
        return y.reshape(self.x.shape)

    def arguments(self) -> PlaneArguments:
        """All but what is written, after launches that make tables and spectra."""
        batch, sources, planes, _ = self.x.shape
        filters = self.k.shape[1]
        self.spectra, self.spectrum_scales = self._spectra()
        return PlaneArguments(
            u=self.words.data_ptr(), in_scale=self.scales.data_ptr(), spectrum=self.spectra.data_ptr(),
            spectrum_scale=self.spectrum_scales.data_ptr(), tables=self._tables(),
            strides=Strides(*self.words.stride()[:2]),
            filter_strides=Strides(filters * planes if self.per_item else 0, 1),
            channels_per_filter=sources // filters, planes_per_row=planes, batch=batch, channels=self.channels,
        )  # fmt: skip

    def taps(self) -> torch.Tensor:
        """The fold's real ones: real parts, then imaginary parts."""
        k = self.k.reshape(-1, self.points)
        return torch.from_numpy(np.concatenate([k.real, k.imag], -1)).to(self.on.device)

    def filter_arguments(self, **fields) -> FilterArguments:
        taps = 2 * self.points
        return FilterArguments(
            tables=self._single_tables(), tap_strides=Strides(0, taps), filters=int(np.prod(self.k.shape[:3])),
            taps=taps, length=1, out_length=taps, direction=1, planes=1, **fields,
        )  # fmt: skip

    def _spectra(self):
        taps = self.taps()
        spectra = self.empty(taps.shape[0], self.points)
        scales = self.empty(taps.shape[0])
        made = self.filter_arguments(k=taps.data_ptr(), spectrum=spectra.data_ptr(), scale=scales.data_ptr())
        self.on.launch(self.shape.spectrum(self.on.gpu), made, (-(-len(taps) // self.shape.of_filters.rows), 1))
        return spectra, scales

    def _tables(self) -> int:
        def make():
            made = self.empty(self.shape.tables_bytes // 4)
            self.on.launch(self.shape.tables(), TableArguments(made.data_ptr()), (-(-len(made) // 128), 1))
            return made

        return self.on.tables(("planes", self.points), make).data_ptr()

    def _single_tables(self) -> int:
        factors = self.shape.of_filters.factors
        made = self.on.tables(("single", factors), lambda: torch.from_numpy(single_tables(*factors)).to(self.on.device))
        return made.data_ptr()

    def empty(self, *shape: int) -> torch.Tensor:
        """Of words of 32 bits."""
        return torch.empty(shape, device=self.on.device)

    @property
    def counters(self):
        """Of the planes' own launch, in the emulator."""
        return [counters for kernel, _, counters in self.on.counted if "planes" in kernel.name][-1]

    def _launch(self, kernel, a: PlaneArguments) -> None:
        self.on.launch(kernel, a, (a.channels, -(-a.batch // a.rows_per_block)))


def pairs(x: np.ndarray) -> torch.Tensor:
    """Complex numbers as words of two float16."""
    halves = np.stack([x.real, x.imag], -1).astype(np.float16)
    return torch.from_numpy(halves.view(np.int32)[..., 0])


def points_of(words: torch.Tensor) -> np.ndarray:
    halves = words.contiguous().cpu().numpy().view(np.float16).astype(np.float64)
    return halves[..., ::2] + 1j * halves[..., 1::2]


def twisted(x: np.ndarray) -> np.ndarray:
    """X[k] = sum_n x[n] W^(n (k - 1/4))."""
    n = x.shape[-1]
    return np.fft.fft(x * np.exp(0.5j * np.pi * np.arange(n) / n))


def untwisted(x: np.ndarray) -> np.ndarray:
    n = x.shape[-1]
    return np.fft.ifft(x) * np.exp(-0.5j * np.pi * np.arange(n) / n)


def white(normal, *shape) -> np.ndarray:
    """Complex noise whose parts stay below 2^4, which is what a plane's do."""
    return np.clip(4 * normal(*shape), -15.9, 15.9) + 1j * np.clip(4 * normal(*shape), -15.9, 15.9)


def decaying(normal, *shape) -> np.ndarray:
    points = shape[-1]
    return (normal(*shape) + 1j * normal(*shape)) * np.exp(-5 * np.arange(points) / points)
