"""Convolutions by the package's own host code, with the emulator in place of a GPU; and the same in float64."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import harness
import numpy as np
import torch
from emulated import EmulatedLauncher

from longconv_audio.arguments import broadcast, default_precision
from longconv_audio.engines import torch_long_conv
from longconv_audio.engines.cuda import backward_pass, forward_pass, spectra
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.selection import Call

NAMES = ("u", "k", "d", "pre_gate", "post_gate")


@dataclass
class Convolution:
    """One call of the engine.

    Args:
        u: (batch or 1, channels or 1, samples), rounded to `dtype`, as the gates are.
        k: (filters, taps) or (batch, filters, taps).
        pre_gate, post_gate, d: as of `long_conv`.
        shift: samples that u is moved off its alignment.
        mask: of the spectrum's bins, or None.
        prepared_for: samples for which the spectrum is made beforehand, where they are more than u's.
        arch: of the device whose kernels are taken: one of few multiprocessors, so that blocks have several rows.
        seed: of the order of execution.
        folder: where the kernels' source is.
    """

    u: np.ndarray
    k: np.ndarray
    pre_gate: np.ndarray | None = None
    post_gate: np.ndarray | None = None
    d: np.ndarray | None = None
    dtype: torch.dtype = torch.float32
    mode: str = "causal"
    offset: int = 0
    correlate: bool = False
    shift: int = 0
    mask: torch.Tensor | None = None
    prepared_for: int = 0
    arch: str = "sm_90a"
    seed: int = 0
    folder: Path = harness.CSRC

    def __post_init__(self) -> None:
        self.on = EmulatedLauncher(self.arch, self.seed, self.folder)
        self.on.gpu = dataclasses.replace(KNOWN[self.arch], multiprocessors=1)
        tensors = [self._tensor(name) for name in NAMES]
        tensors[0] = _shifted(tensors[0], self.shift)
        self.tensors = dict(zip(NAMES, broadcast(*tensors, self.mode), strict=True))
        self.precision = default_precision(self.dtype)

    def _tensor(self, name: str) -> torch.Tensor | None:
        value = getattr(self, name)
        dtype = torch.float32 if name in ("k", "d") else self.dtype
        return None if value is None else torch.from_numpy(np.asarray(value)).to(dtype)

    def forward(self) -> np.ndarray:
        u, k, *rest = self.tensors.values()
        spectrum = None
        if self.prepared_for:
            spectrum = spectra.prepare_spectrum(self.on, self._call(self.precision), k, self.prepared_for, self.mask)
        y = forward_pass.convolve(self.on, self._call(self.precision), u, k, spectrum, *rest, self.mask)
        return y.double().numpy()

    def expected(self) -> np.ndarray:
        u, k, *rest = self._wide()
        return torch_long_conv.forward(self._call("double"), u, k, None, *rest, self.mask).numpy()

    def gradients(self, dy: np.ndarray, without: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
        """By the name of what they are gradients of."""
        call, needs = self._call(self.precision), self._needs(without)
        u, k, *rest = self.tensors.values()
        return _named(backward_pass.gradients(self.on, call, needs, self.rounded(dy), u, k, None, *rest, self.mask))

    def expected_gradients(self, dy: np.ndarray, without: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
        u, k, *rest = self._wide()
        arguments = self._needs(without), self.rounded(dy).double(), u, k, None, *rest, self.mask
        return _named(torch_long_conv.backward(self._call("double"), *arguments))

    def rounded(self, x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(x).to(self.dtype)

    def launch(self, name: str):
        """The last launch of a kernel of this name: the kernel, its grid and its counters."""
        of_all = zip(self.on.launches, self.on.counted, strict=True)
        return [(kernel, grid, counters) for (kernel, grid), (_, _, counters) in of_all if name in kernel.name][-1]

    def table_bytes(self, kind: str) -> int:
        """Of the tables of the one size there is: "half" or "single"."""
        (table,) = (table for (of, _), table in self.on._tables.items() if of == kind)
        return table.numel() * table.element_size()

    def _call(self, precision: str) -> Call:
        return Call(self.mode, self.offset, self.correlate, precision)

    def _needs(self, without: tuple[str, ...]) -> list[bool]:
        return [t is not None and name not in without for name, t in self.tensors.items()]

    def _wide(self) -> list[torch.Tensor | None]:
        return [None if t is None else t.double() for t in self.tensors.values()]


def decibel(signal, noise) -> float:
    """Of one energy over the other; NaN, which no bound holds for, where there is one in either."""
    signal, noise = np.sum(np.square(signal)), np.sum(np.square(noise))
    return np.inf if noise == 0 else float(10 * np.log10(signal / noise))


def snr(got, wanted) -> float:
    assert got.shape == wanted.shape
    return decibel(wanted, got - wanted)


def assert_rows(got, wanted, least: float, least_of_a_row: float | None = None) -> None:
    """All together and each row, so that a loud one cannot hide what is wrong with a quiet one."""
    reached = snr(got, wanted)
    assert reached >= least, f"{reached:.1f} dB"
    for row in np.ndindex(got.shape[:-1]):
        if wanted[row].any():
            reached = snr(got[row], wanted[row])
            assert reached >= (least_of_a_row or least), f"{row}: {reached:.1f} dB"
        else:
            assert not got[row].any(), row


def _shifted(t: torch.Tensor, samples: int) -> torch.Tensor:
    room = t.new_empty(*t.shape[:2], t.shape[2] + 64)
    return room[..., samples : samples + t.shape[2]].copy_(t) if samples else t


def _named(gradients) -> dict[str, np.ndarray]:
    return {name: t.double().numpy() for name, t in zip(NAMES, gradients, strict=True) if t is not None}
