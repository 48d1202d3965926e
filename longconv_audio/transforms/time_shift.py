"""Shifts in time."""

from __future__ import annotations

import math

import torch

from longconv_audio.errors import OptionError

from .random_transforms import Generators, RandomTransform, uniform


class RandomTimeShift(RandomTransform):
    """Moves each item in time by a whole number of samples, drawn uniformly. What moves in is silence.

    Args:
        max_shift: the furthest, forth and back, in seconds.
        sample_rate: hertz.
        p: the probability for an item.
    """

    def __init__(self, max_shift: float, sample_rate: int, p: float = 1.0):
        super().__init__(p)
        if not 0 <= max_shift < math.inf or sample_rate < 1:
            raise OptionError(f"max_shift {max_shift} s at {sample_rate} Hz: expected seconds of 0 or more, and a rate")
        self.max_shift, self.sample_rate = max_shift, sample_rate

    def transform(self, x: torch.Tensor, generator: Generators) -> torch.Tensor:
        most = round(self.max_shift * self.sample_rate)
        shift = uniform(-most, most + 1, len(x), generator).floor().long().to(x.device)
        source = torch.arange(x.shape[-1], device=x.device) - shift.view(-1, 1, 1)  # (B 1 L)
        inside = (source >= 0) & (source < x.shape[-1])
        if not x.shape[-1]:
            return x
        moved = x.gather(2, source.clamp(0, x.shape[-1] - 1).expand_as(x))
        return moved.where(inside, 0)
