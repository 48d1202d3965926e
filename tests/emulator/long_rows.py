"""Long convolutions by the package's own host code on the emulator, cut as a test wants them; and in float64."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from unittest import mock

import harness
import torch
from emulated import EmulatedLauncher

from longconv_audio.arguments import broadcast
from longconv_audio.engines import torch_long_conv
from longconv_audio.engines.cuda import long_cuts, long_pass, long_plans
from longconv_audio.engines.cuda.outer_kernels import OuterShape
from longconv_audio.engines.selection import Call

NAMES = ("u", "k", "d", "pre_gate", "post_gate")


@dataclass
class LongRows:
    """One call.

    Args:
        outer: the factors of each outer transform.
        inner: points of the rows that blocks convolve.
        tensors: u, k, d, pre_gate, post_gate, as of `long_conv`, float32; those that are missing are None.
        group: bytes of the planes of a group.
        others: as of `convolution.Convolution`.
    """

    outer: tuple[tuple[int, int], ...]
    inner: int
    tensors: dict
    mode: str = "causal"
    offset: int = 0
    correlate: bool = False
    dtype: torch.dtype = torch.float32
    group: int = 1 << 20
    seed: int = 0
    folder: Path = harness.CSRC

    def __post_init__(self) -> None:
        self.on = EmulatedLauncher(seed=self.seed, folder=self.folder)
        given = [self.tensors.get(name) for name in NAMES]
        given = [t if t is None or name in "kd" else t.to(self.dtype) for name, t in zip(NAMES, given, strict=True)]
        self.given = broadcast(*given, self.mode)
        self.call = Call(self.mode, self.offset, self.correlate, "single" if self.dtype == torch.float32 else "half")

    def forward(self, prepared_for: int = 0) -> torch.Tensor:
        u, k, *rest = self.given
        with self._cut():
            spectrum = long_pass.prepare_spectrum(self.on, self.call, k, prepared_for) if prepared_for else None
            return long_pass.convolve(self.on, self.call, u, k, spectrum, *rest)

    def expected(self) -> torch.Tensor:
        u, k, *rest = self._wide()
        return torch_long_conv.forward(self.call._replace(precision="double"), u, k, None, *rest)

    def gradients(self, dy: torch.Tensor, prepared_for: int = 0) -> dict[str, torch.Tensor]:
        u, k, *rest = self.given
        dy = dy.to(self.dtype)
        with self._cut():
            spectrum = long_pass.prepare_spectrum(self.on, self.call, k, prepared_for) if prepared_for else None
            return _named(long_pass.gradients(self.on, self.call, self._needs(), dy, u, k, spectrum, *rest))

    def expected_gradients(self, dy: torch.Tensor) -> dict[str, torch.Tensor]:
        u, k, *rest = self._wide()
        call = self.call._replace(precision="double")
        dy = dy.to(self.dtype).double()
        return _named(torch_long_conv.backward(call, self._needs(), dy, u, k, None, *rest))

    @contextlib.contextmanager
    def _cut(self):
        shapes = tuple(OuterShape(*factors) for factors in self.outer)
        points = self.inner * prod(shape.size for shape in shapes)
        long_plans.plan_long.cache_clear()
        with (
            mock.patch.object(long_cuts, "sizes", return_value=[points]),
            mock.patch.object(long_cuts, "factors", return_value=(shapes, self.inner)),
            mock.patch.object(long_cuts, "GROUP", self.group),
        ):
            yield
        long_plans.plan_long.cache_clear()

    def _needs(self) -> list[bool]:
        return [t is not None for t in self.given]

    def _wide(self) -> list[torch.Tensor | None]:
        return [None if t is None else t.double() for t in self.given]


def _named(gradients) -> dict[str, torch.Tensor]:
    return {name: g for name, g in zip(NAMES, gradients, strict=True) if g is not None}
