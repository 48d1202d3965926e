"""Random gain, and noise at a random level."""

from __future__ import annotations

import torch

from .random_transforms import Generators, RandomTransform, check_range, normal, uniform


class RandomGain(RandomTransform):
    """Multiplies each item by a gain drawn uniformly in dB. Nothing is clipped.

    Args:
        min_gain_db, max_gain_db: the range in dB.
        p: the probability for an item.
    """

    def __init__(self, min_gain_db: float = -18.0, max_gain_db: float = 6.0, p: float = 1.0):
        super().__init__(p)
        check_range("gain", min_gain_db, max_gain_db, "dB")
        self.min_gain_db, self.max_gain_db = min_gain_db, max_gain_db

    def transform(self, x: torch.Tensor, generator: Generators) -> torch.Tensor:
        level = uniform(self.min_gain_db, self.max_gain_db, len(x), generator)
        return x * (10 ** (level / 20)).to(x).view(-1, 1, 1)


class RandomNoise(RandomTransform):
    """Adds white noise to each item, at a signal-to-noise ratio drawn uniformly in dB.

    The ratio is that of the mean squares over the item, all channels and samples, padding included. Silence stays
    silent.

    Args:
        min_snr_db, max_snr_db: the range in dB.
        p: the probability for an item.
    """

    def __init__(self, min_snr_db: float = 3.0, max_snr_db: float = 30.0, p: float = 1.0):
        super().__init__(p)
        check_range("signal-to-noise ratio", min_snr_db, max_snr_db, "dB")
        self.min_snr_db, self.max_snr_db = min_snr_db, max_snr_db

    def transform(self, x: torch.Tensor, generator: Generators) -> torch.Tensor:
        ratio = uniform(self.min_snr_db, self.max_snr_db, len(x), generator)
        noise = normal(tuple(x.shape[1:]), len(x), generator, device=x.device, dtype=torch.float32)
        scale = (10 ** (-ratio / 20)).to(x.device, torch.float32).view(-1, 1, 1)
        return (x + noise * (scale * _rms(x) / _rms(noise))).to(x.dtype)


def _rms(x: torch.Tensor) -> torch.Tensor:
    """The root mean square of each item, (batch, 1, 1), 0 where there are no samples. Squares of halves overflow."""
    energy = x.float().square().sum((1, 2), keepdim=True)
    return (energy / max(x[0].numel(), 1)).sqrt()
