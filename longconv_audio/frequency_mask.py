"""Masks over a filter's spectrum, in the blocks that the fused kernels can pass over.

T is the transform of the fused kernels: M complex points modulo z^M - i (see `reference`). Its bin k is the frequency
(k - 1/4) / M cycles a sample, negative ones being the upper half. k = k1 + N1 k2 with M = N1 N2, and the first step of
a transform takes the k1 apart. A *unit* is one k1 or a few neighbouring ones, a *band* a sixteenth of the spectrum, M /
16 neighbouring bins. A block of a mask is what a unit and a band have in common. In half precision a unit without any
kept band costs nothing; what else is masked is zero, and costs what it did. Of 32 units, where those that are kept are
all among the first 16 or all among the last, half of the first step and of the last is saved too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

BANDS = 16
LEAST_POINTS = 256
# Of each size that kernels have in half precision, by points: residues k1 of a bin, and how many of them are a unit. As
# in csrc/half_layout.cuh, where a transform of one warp has its rows of 16 for units.
_UNITS = {256: (1, 1), 512: (1, 1), 1024: (32, 16), 2048: (16, 2), 4096: (16, 1), 8192: (16, 1), 16384: (32, 1)}


@dataclass(frozen=True, eq=False)
class FrequencyMask:
    """Which blocks of a spectrum a convolution keeps.

    Args:
        points: M, a power of two, at least 256; rows have up to as many samples, in and out.
        blocks: `(units, 16)` bool, true for those that are kept; `FrequencyMask.units(points)` is the number of units.
        added: bins that are kept because they share a block with one that was asked for.

    Raises:
        TypeError: where blocks is no tensor of bool.
        ValueError: for a number of points that there is no grid for, and blocks of another shape than it.

    `bins` is the same by bin, `(M,)`. Masks of float or of a gradient are none: what is learned is the filter.

    >>> mask = FrequencyMask(4096, torch.arange(16)[:, None].expand(16, 16) < 4)
    >>> mask.zeros, mask.skipped
    (0.75, 0.75)
    """

    points: int
    blocks: torch.Tensor
    added: int = 0
    bins: torch.Tensor = field(init=False, repr=False)

    def __post_init__(self):
        shape = (self.units(self.points), BANDS)
        if not isinstance(self.blocks, torch.Tensor) or self.blocks.dtype != torch.bool:
            kind = getattr(self.blocks, "dtype", type(self.blocks).__name__)
            raise TypeError(f"blocks is of {kind}; expected a torch tensor of bool")
        if tuple(self.blocks.shape) != shape:
            raise ValueError(
                f"blocks has shape {tuple(self.blocks.shape)}; expected {shape}, the units and bands of {self.points} "
                "points"
            )
        object.__setattr__(self, "bins", self.blocks.flatten()[block_of_bins(self.points).to(self.blocks.device)])

    def __repr__(self) -> str:
        return f"FrequencyMask({self.points} points, {self.zeros:.0%} zero, {self.skipped:.0%} skipped)"

    @staticmethod
    def units(points: int) -> int:
        """How many units a spectrum of so many points has."""
        residues, together = _grid(points)
        return residues // together

    @classmethod
    def from_bins(cls, kept: torch.Tensor) -> FrequencyMask:
        """The mask of all blocks that have a bin to be kept; `added` says how many bins come with them.

        Args:
            kept: `(M,)` bool.
        """
        if not isinstance(kept, torch.Tensor) or kept.dtype != torch.bool:
            raise TypeError(
                f"kept is of {getattr(kept, 'dtype', type(kept).__name__)}; expected a torch tensor of bool"
            )
        if kept.ndim != 1:
            raise ValueError(f"kept has shape {tuple(kept.shape)}; expected (bins,)")
        points = kept.shape[0]
        blocks = torch.zeros(cls.units(points) * BANDS, dtype=torch.bool, device=kept.device)
        blocks[block_of_bins(points).to(kept.device)[kept]] = True
        mask = cls(points, blocks.view(-1, BANDS))
        return cls(points, mask.blocks, int((mask.bins & ~kept).sum()))

    @classmethod
    def from_frequencies(cls, kept: torch.Tensor, points: int) -> FrequencyMask:
        """The same of frequencies: a bin is kept where one of the two frequencies next to it is.

        Args:
            kept: `(n,)` bool, at n frequencies evenly from 0 to half the sample rate, as `torch.fft.rfftfreq` has them.
            points: M.
        """
        if not isinstance(kept, torch.Tensor) or kept.dtype != torch.bool or kept.ndim != 1 or len(kept) < 2:
            raise ValueError(f"kept is {_described(kept)}; expected at least two frequencies in a tensor of bool")
        at = bin_frequencies(points).abs() * (2 * (len(kept) - 1))
        cpu = kept.cpu()
        return cls.from_bins((cpu[at.floor().long()] | cpu[at.ceil().long()]).to(kept.device))

    @property
    def device(self) -> torch.device:
        """Where the mask is, which must be where the signals are."""
        return self.blocks.device

    @property
    def zeros(self) -> float:
        """The share of blocks, and so of bins, that are not kept."""
        return 1 - float(self.blocks.double().mean())

    @property
    def skipped(self) -> float:
        """The share of units of which no block is kept: those that the kernels in half precision pass over."""
        return 1 - float(self.blocks.any(1).double().mean())

    def to(self, device) -> FrequencyMask:
        """The same for signals on another device."""
        return FrequencyMask(self.points, self.blocks.to(device), self.added)


def bin_frequencies(points: int) -> torch.Tensor:
    """The frequency of each bin of a mask of so many points, in cycles a sample, -1/2 to 1/2: `(M,)`, float64."""
    frequency = (torch.arange(points, dtype=torch.float64) - 0.25) / points
    return torch.where(frequency < 0.5, frequency, frequency - 1)


def _grid(points: int) -> tuple[int, int]:
    """The residues of a bin by which a transform of so many points is taken apart, and how many are a unit."""
    if isinstance(points, bool) or not isinstance(points, int) or points < LEAST_POINTS or points & (points - 1):
        raise ValueError(f"points is {points}; expected a power of two, at least {LEAST_POINTS}")
    return _UNITS.get(points, (32, 1))


def block_of_bins(points: int) -> torch.Tensor:
    """The number of the block that each bin of a mask of so many points is in: units one after another, by band."""
    residues, together = _grid(points)
    k = torch.arange(points)
    return k % residues // together * BANDS + k // (points // BANDS)


def _described(value) -> str:
    return f"of {value.dtype}, {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
