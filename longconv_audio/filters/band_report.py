"""What a filter of bands achieves, measured from its taps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

from longconv_audio.levels import to_db

from .orders import BandDesign
from .spectra import frequency_response, response_at

# Frequencies a tap: lobes are 1 / taps wide, and the largest value at so many points is within 0.2 dB of their top.
_FINER = 8


@dataclass(frozen=True)
class BandReport:
    """What a filter does to its bands.

    Args:
        passband_ripple_db: the largest deviation from 0 dB over the passbands; None where the transitions leave none.
        stopband_db: the least attenuation over the stopbands; None where the transitions leave none.
        edges_hz: where the response is -6 dB, nearest to each edge asked for; None where it nowhere is.
        transition_hz: the width between passband and stopband that these are measured beside, as designed.
    """

    passband_ripple_db: float | None
    stopband_db: float | None
    edges_hz: tuple[float | None, ...]
    transition_hz: float


def measure_bands(h: np.ndarray, design: BandDesign) -> BandReport:
    """Measures a filter against what it was designed for.

    Args:
        h: (taps,).
        design: its bands.
    """
    points = scipy.fft.next_fast_len(max(_FINER * len(h), 1 << 14), real=True)
    frequencies, response = frequency_response(h, design.samplerate, points)
    magnitude = np.abs(response)
    step = frequencies[1]

    def within(bands: list[tuple[float, float]]) -> np.ndarray:
        parts = [magnitude[math.ceil(low / step) : int(high / step) + 1] for low, high in bands]
        ends = response_at(h, design.samplerate, [end for band in bands for end in band])
        return np.concatenate([np.abs(ends), *parts])

    passed, stopped = within(design.passbands), within(design.stopbands)
    return BandReport(
        passband_ripple_db=max(abs(to_db(passed.max())), abs(to_db(passed.min()))) if passed.size else None,
        stopband_db=-to_db(stopped.max()) if stopped.size else None,
        edges_hz=tuple(_crossing(magnitude, edge / step, step) for edge in design.edges),
        transition_hz=design.transition,
    )


def _crossing(magnitude: np.ndarray, near: float, step: float) -> float | None:
    """The frequency nearest to a place among the bins where a magnitude passes a half."""
    above = magnitude >= 0.5
    changes = np.flatnonzero(above[1:] != above[:-1])
    if not changes.size:
        return None
    bin = changes[np.abs(changes + 0.5 - near).argmin()]
    low, high = magnitude[bin], magnitude[bin + 1]
    return float((bin + (0.5 - low) / (high - low)) * step)
