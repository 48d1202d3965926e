"""Stages at a lower rate inside a sequence: the pooling, and the U-Net around it, of SaShiMi.

Goel et al. 2022, "It's Raw! Audio Generation with State-Space Models", arXiv 2202.09729. A coarse step is made of
`pool` samples, and is known when the last of them is. What comes back up is therefore one coarse step late, and no
output depends on a later input.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from . import streaming
from .streaming import Streamable


class DownPool(Streamable):
    """Makes one time step of every `pool` ones, all their channels going through one linear map.

    Args:
        in_channels, out_channels: of the input and the output.
        pool: by which the rate is lowered.

    Samples behind the last whole group are left out: L of them give `L // pool`.

    >>> DownPool(2, 6, 4)(torch.randn(3, 2, 11)).shape
    torch.Size([3, 6, 2])
    """

    def __init__(self, in_channels: int, out_channels: int, pool: int, *, device=None, dtype=None):
        super().__init__()
        self.pool = _checked(pool)
        self.conv = nn.Conv1d(in_channels, out_channels, pool, stride=pool, device=device, dtype=dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = x.shape[-1] // self.pool * self.pool
        if not whole:  # of which torch makes no convolution
            return F.conv1d(F.pad(x, (0, self.pool - x.shape[-1])), self.conv.weight, stride=self.pool)[..., :0]
        return self.conv(x[..., :whole])

    def _pooled(self, x):
        """What `forward` gives for a short block, for which a linear map takes less time than a convolution."""
        groups = x.unflatten(-1, (-1, self.pool)).transpose(1, 2).flatten(2)  # (B, groups, C pool)
        return F.linear(groups, self.conv.weight.flatten(1), self.conv.bias).mT

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        """The samples of the group under way, and how many they are."""
        made = self.conv.weight.new_zeros(batch, self.conv.in_channels, self.pool - 1, device=device, dtype=dtype)
        return {"samples": made, "phase": torch.zeros(batch, dtype=torch.int64)}

    def stream(self, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
        """The groups that become whole: none, or several."""
        return self.stream_at(block, state, phase_of(state["phase"]))

    def stream_at(self, block: torch.Tensor, state: dict, phase: int) -> tuple[torch.Tensor, dict]:
        """`stream` where the phase has been read already."""
        samples = state["samples"]
        length = phase + block.shape[-1]
        rest = length % self.pool
        with torch.no_grad():
            if length < self.pool:
                samples[..., phase:length] = block
                y = block.new_empty(block.shape[0], self.conv.out_channels, 0)
            else:
                x = torch.cat([samples[..., :phase].to(block.dtype), block], -1) if phase else block
                y = self._pooled(x[..., : length - rest])
                if rest:
                    samples[..., :rest] = x[..., length - rest :]
            if rest != phase:
                state["phase"].fill_(rest)
        return y, state


class UpPool(Streamable):
    """Makes `pool` time steps of every one by a linear map, one coarse step late: the first `pool` of them are zero.

    Args:
        in_channels, out_channels: of the input and the output.
        pool: by which the rate is raised.

    >>> UpPool(6, 2, 4)(torch.randn(3, 6, 2)).shape
    torch.Size([3, 2, 8])
    """

    def __init__(self, in_channels: int, out_channels: int, pool: int, *, device=None, dtype=None):
        super().__init__()
        self.pool = _checked(pool)
        self.conv = nn.ConvTranspose1d(in_channels, out_channels, pool, stride=pool, device=device, dtype=dtype)

    def forward(self, x: torch.Tensor, length: int | None = None) -> torch.Tensor:
        """`(B, in, M)` to `(B, out, length)`: by default `M pool` samples, and up to a group more."""
        length = x.shape[-1] * self.pool if length is None else length
        return F.pad(self._expand(x), (self.pool, 0))[..., :length]

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        """The group that comes next."""
        weight = self.conv.weight
        return {"group": weight.new_zeros(batch, weight.shape[1], self.pool, device=device, dtype=dtype)}

    def stream(self, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
        return self.stream_at(block, state, 0, block.shape[-1] * self.pool)

    def stream_at(self, block: torch.Tensor, state: dict, phase: int, length: int) -> tuple[torch.Tensor, dict]:
        """The next `length` samples, of which `phase` of the present group have been given before."""
        group = state["group"]
        if not block.shape[-1]:
            return group[..., phase : phase + length].to(block.dtype, copy=True), state
        with torch.no_grad():
            groups = torch.cat([group.to(block.dtype), self._expand(block)], -1)
            group.copy_(groups[..., -self.pool :])
        return groups[..., phase : phase + length], state

    def _expand(self, x):
        if not x.shape[-1]:
            return x.new_zeros(x.shape[0], self.conv.out_channels, 0)
        return self.conv(x)


class UNetStage(Streamable):
    """x + up(inner(down(x))): modules that run at a lower rate with more channels, and a bypass. Causal if `inner` is.

    Args:
        inner: any module from `(B, expand channels, M)` to the same shape, such as blocks and further stages.
        channels: of the input and the output.
        pool: by which the rate is lowered; any length can be given, whether a multiple or not.
        expand: how many times as many channels are inside.

    >>> stage = UNetStage(nn.Identity(), 3, pool=4)
    >>> stage(torch.randn(2, 3, 10)).shape
    torch.Size([2, 3, 10])
    """

    def __init__(self, inner: nn.Module, channels: int, pool: int = 4, expand: int = 2, *, device=None, dtype=None):
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        self.down = DownPool(channels, expand * channels, pool, **factory)
        self.inner = inner
        self.up = UpPool(expand * channels, channels, pool, **factory)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        coarse = self.down(x)
        if coarse.shape[-1]:
            coarse = self.inner(coarse)
        return x + self.up(coarse, x.shape[-1])

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        parts = {"down": self.down, "inner": self.inner, "up": self.up}
        return {name: streaming.init_state(part, batch, device=device, dtype=dtype) for name, part in parts.items()}

    @torch.no_grad()
    def stream(self, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
        phase = phase_of(state["down"]["phase"])
        coarse, state["down"] = self.down.stream_at(block, state["down"], phase)
        if coarse.shape[-1]:
            coarse, state["inner"] = streaming.stream(self.inner, coarse, state["inner"])
        fine, state["up"] = self.up.stream_at(coarse, state["up"], phase, block.shape[-1])
        return block + fine, state


def phase_of(phases: torch.Tensor) -> int:
    """The samples that each group under way has, given for each batch item.

    Raises:
        ValueError: where items differ, as they may when states were joined that had come to different places.
    """
    first, *others = phases.tolist() or [0]
    if any(other != first for other in others):
        raise ValueError(
            f"phase is {phases.tolist()}, of a batch whose items stand at different places within a pooling group; "
            "expected one phase: stream those items in batches of their own"
        )
    return first


def _checked(pool: int) -> int:
    if not isinstance(pool, int) or pool < 1:
        raise ValueError(f"pool is {pool!r}; expected a whole number of samples, at least 1")
    return pool
