"""Octave and third-octave bands, and a filter split into them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

from longconv_audio.errors import OptionError

# IEC 61260-1: the octave is ten to the power of three tenths.
OCTAVE = 10.0**0.3
NOMINAL = (10, 12.5, 16, 20, 25, 31.5, 40, 50, 63, 80)


@dataclass(frozen=True)
class Band:
    """A band of 1/fraction octave.

    Args:
        centre: its exact middle in hertz.
        low, high: its edges in hertz.
        name: its nominal middle as it is written on instruments, "31.5", "1k", "12.5k".
    """

    centre: float
    low: float
    high: float
    name: str


def octave_bands(fraction: int = 1, lowest: float = 20.0, highest: float = 20_000.0) -> list[Band]:
    """The bands of 1/fraction octave whose nominal middles lie from lowest to highest.

    Args:
        fraction: 1 for octaves, 3 for third octaves.
        lowest, highest: in hertz.

    Source: IEC 61260-1:2014, base-ten system, 1 kHz as reference.

    >>> [band.name for band in octave_bands(1, 100, 9000)]
    ['125', '250', '500', '1k', '2k', '4k', '8k']
    """
    if fraction not in (1, 3):
        raise OptionError(f"bands of 1/{fraction} octave: expected 1 (octaves) or 3 (third octaves)")
    half = OCTAVE ** (0.5 / fraction)
    bands = []
    for index in range(-30, 21):
        third = index if fraction == 3 else 3 * index
        centre = 1000 * 10 ** (third / 10)
        nominal = NOMINAL[third % 10] * 10.0 ** (third // 10 + 2)
        if not lowest <= nominal <= highest:
            continue
        name = f"{nominal / 1000:g}k" if nominal >= 1000 else f"{nominal:g}"
        bands.append(Band(centre, centre / half, centre * half, name))
    return bands


def split_octaves(h: np.ndarray, samplerate: float, bands: list[Band], overlap: float = 1.0) -> np.ndarray:
    """A signal as a sum of bands, split with zero phase.

    The lowest band has everything below it, too, and the highest everything above: the bands add up to h.

    Args:
        h: (..., taps).
        samplerate: in hertz.
        bands: neighbours in rising order, at least one; those whose lower edge is above half the sample rate come out
            as zeros.
        overlap: of neighbours, as `octave_weights` has it.

    Returns:
        (bands, ..., taps). What the split of an impulse spreads beyond the ends of h is left out; beside each band's
        edge it dies away within a few periods of that edge.
    """
    h = np.asarray(h, dtype=np.float64)
    # As much again on both sides, so that what rings beyond one end does not come back at the other.
    size = scipy.fft.next_fast_len(2 * h.shape[-1], real=True)
    spectrum = scipy.fft.rfft(h, size)
    frequencies = scipy.fft.rfftfreq(size, 1 / samplerate)
    parts = np.empty((len(bands), *h.shape))
    for part, weights in zip(parts, octave_weights(frequencies, bands, overlap), strict=True):
        part[...] = scipy.fft.irfft(spectrum * weights, size)[..., : h.shape[-1]]
    return parts


def octave_weights(frequencies: np.ndarray, bands: list[Band], overlap: float = 1.0) -> np.ndarray:
    """How much of each band there is at each frequency: they add up to 1.

    Neighbours pass into each other as squared cosines of log frequency, from middle to middle (J. Antoni, "Orthogonal-
    like fractional-octave-band filters", JASA 127(2), 2010, whose overlap is as wide as the bands here).

    Args:
        frequencies: (bins,), in hertz.
        bands: neighbours in rising order, at least one.
        overlap: how far neighbours pass into each other, about the edge between them: 1 from middle to middle, less
            for steeper edges that ring longer.

    Returns:
        (bands, bins).
    """
    logarithm = np.log(np.maximum(frequencies, 1e-9))
    # risen[i]: of the step from band i - 1 to band i.
    risen = np.ones((len(bands) + 1, len(frequencies)))
    risen[-1] = 0
    for i in range(1, len(bands)):
        below, above = math.log(bands[i - 1].centre), math.log(bands[i].centre)
        part = np.clip((logarithm - 0.5 * (below + above)) / (overlap * (above - below)) + 0.5, 0, 1)
        risen[i] = np.sin(0.5 * np.pi * part) ** 2
    return risen[:-1] - risen[1:]
