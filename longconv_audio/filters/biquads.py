"""The magnitude responses of parametric equaliser bands: second-order sections after the Audio EQ Cookbook."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from longconv_audio.errors import OptionError

# What the logarithm of a zero is taken to be: a notch's middle, a low-pass at half the sample rate.
LEAST_DB = -200.0

SHELVES = ("low shelf", "high shelf")
KINDS = ("peaking", "low-pass", "high-pass", "band-pass", "notch", *SHELVES)


@dataclass(frozen=True)
class Biquad:
    """A band of a parametric equaliser.

    Args:
        kind: one of KINDS.
        frequency: its middle, or the cutoff, in hertz; of a shelf where half its gain in dB is reached.
        q: its quality factor; of a shelf that of the Cookbook's Q, not its slope S. None where octaves say it.
        gain_db: of peaking bands and shelves; the others have none.
        where: what messages call it.
        octaves: its bandwidth, that the section has at any sample rate.
    """

    kind: str
    frequency: float
    q: float | None
    gain_db: float = 0.0
    where: str = "a filter"
    octaves: float | None = None

    def levels(self, frequencies: np.ndarray, samplerate: float) -> np.ndarray:
        """Its response in dB, no less than LEAST_DB.

        Args:
            frequencies: (bins,), from 0 to half the sample rate, in hertz.
            samplerate: that the section runs at, in hertz.

        Raises:
            OptionError: its frequency is not below half the sample rate.

        The bilinear transform of an analogue prototype H(s), warped so that its frequency stays (R. Bristow-Johnson,
        "Audio EQ Cookbook"): on the unit circle s is j tan(w / 2) / tan(w0 / 2).
        """
        if not 0 < self.frequency < samplerate / 2:
            raise OptionError(
                f"{self.where}: {self.frequency:g} Hz is not below half the sample rate, {samplerate / 2:g} Hz: "
                "use a higher rate, or take the line out"
            )
        half = np.pi * np.asarray(frequencies, dtype=np.float64) / samplerate
        middle = np.pi * self.frequency / samplerate
        q = self.q if self.octaves is None else bandwidth_q(self.octaves, 2 * middle)
        # Sines and cosines where the tangents would be infinite at half the sample rate.
        s, c = np.sin(half) * math.cos(middle), np.cos(half) * math.sin(middle)
        above, below = (
            (one * c * c - square * s * s) ** 2 + (linear * s * c) ** 2 for square, linear, one in self._prototype(q)
        )
        with np.errstate(divide="ignore"):
            return np.maximum(10 * np.log10(above / below), LEAST_DB)

    def _prototype(self, q: float) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """The coefficients of s squared, s and 1 above and below the line."""
        poles = (1.0, 1 / q, 1.0)
        if self.kind == "low-pass":
            return (0.0, 0.0, 1.0), poles
        if self.kind == "high-pass":
            return (1.0, 0.0, 0.0), poles
        if self.kind == "band-pass":
            return (0.0, 1 / q, 0.0), poles
        if self.kind == "notch":
            return (1.0, 0.0, 1.0), poles
        a = 10 ** (self.gain_db / 40)
        if self.kind == "peaking":
            return (1.0, a / q, 1.0), (1.0, 1 / (a * q), 1.0)
        linear = math.sqrt(a) / q
        less, more = (1.0, linear, a), (a, linear, 1.0)
        if self.kind == "low shelf":
            return tuple(a * part for part in less), more
        return tuple(a * part for part in more), less


def shelf_q(slope: float, gain_db: float) -> float:
    """The quality factor of a shelf of slope S: at 1 as steep as it can be without overshoot (Audio EQ Cookbook)."""
    a = 10 ** (gain_db / 40)
    return 1 / math.sqrt((a + 1 / a) * (1 / slope - 1) + 2)


def bandwidth_q(octaves: float, middle: float) -> float:
    """The quality factor of a section whose band is this many octaves wide (Audio EQ Cookbook).

    Args:
        octaves: between half the gain in dB of a peaking band, between -3 dB of the others.
        middle: in radians a sample: the bilinear transform makes bands near half the sample rate narrower.

    >>> round(bandwidth_q(1.0, 1e-3), 4)
    1.4142
    """
    # No band is wider than the exponential's range.
    return 1 / (2 * math.sinh(min(math.log(2) / 2 * octaves * middle / math.sin(middle), 100.0)))
