"""Impulse responses of rooms that nobody measured."""

from __future__ import annotations

import math

import torch

from longconv_audio.errors import OptionError

from .random_transforms import Generators, check_range, normal, uniform


class SyntheticRooms:
    """Draws impulse responses: a direct sound of 1 at tap 0, and a tail of noise that decays exponentially.

    The model is Moorer's ("About this reverberation business", Computer Music Journal 3(2), 1979): the late part of a
    room's response is like white Gaussian noise under an exponential envelope.

    Args:
        sample_rate: hertz.
        min_t60, max_t60: reverberation times in seconds, drawn uniformly. The filters are as long as the longest.
        min_direct_db, max_direct_db: energy of the direct sound over that of the tail in dB, drawn uniformly.
        max_delay: of the tail behind the direct sound, in seconds, drawn uniformly from 0.

    >>> rooms = SyntheticRooms(16_000, max_t60=0.5)
    >>> rooms(3, torch.Generator().manual_seed(0)).shape
    torch.Size([3, 8000])
    """

    def __init__(
        self,
        sample_rate: int,
        min_t60: float = 0.2,
        max_t60: float = 1.0,
        min_direct_db: float = -3.0,
        max_direct_db: float = 12.0,
        max_delay: float = 0.02,
    ):
        check_range("t60", min_t60, max_t60, "seconds")
        check_range("direct sound", min_direct_db, max_direct_db, "dB")
        self.taps = math.ceil(max_t60 * sample_rate)
        if not min_t60 > 0 or not 0 <= max_delay * sample_rate < self.taps - 1:
            raise OptionError(
                f"rooms of t60 {min_t60} s and more, with tails delayed by up to {max_delay} s, in filters of "
                f"{max_t60} s at {sample_rate} Hz: expected a t60 above 0, and delays within the filter"
            )
        self.sample_rate, self.t60, self.max_delay = sample_rate, (min_t60, max_t60), max_delay
        self.direct_db = (min_direct_db, max_direct_db)

    def __call__(self, batch: int, generator: Generators = None, device="cpu") -> torch.Tensor:
        """Filters `(batch, taps)` in float32."""
        t60, direct = uniform(*self.t60, batch, generator), uniform(*self.direct_db, batch, generator)
        delay = uniform(0, self.max_delay, batch, generator) * self.sample_rate
        t60, direct, delay = (value.to(device, torch.float32).unsqueeze(1) for value in (t60, direct, delay))
        time = torch.arange(self.taps, device=device) - delay.floor()  # (B K)
        noise = normal((self.taps,), batch, generator, device=torch.device(device), dtype=torch.float32)
        envelope = torch.exp(-3 * math.log(10) / (t60 * self.sample_rate) * time).where(time >= 0, 0)
        tail = noise * envelope
        tail[:, 0] = 0  # the direct sound's
        filters = tail * 10 ** (-direct / 20) / tail.norm(dim=1, keepdim=True)
        filters[:, 0] = 1
        return filters
