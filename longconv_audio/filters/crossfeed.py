"""Crossfeed: on headphones, each ear hears a little of the other channel, low frequencies late and soft."""

from __future__ import annotations

import math

import numpy as np

from longconv_audio.errors import OptionError
from longconv_audio.levels import from_db, to_db

# Cutoff in hertz and feed in dB: the presets of Bauer stereophonic-to-binaural DSP (libbs2b 3.1.0, bs2b.h).
PRESETS = {"default": (700.0, 4.5), "cmoy": (700.0, 6.0), "jmeier": (650.0, 9.5)}

# The ranges there, in the same units.
CUTOFFS, FEEDS = (300.0, 2000.0), (1.0, 15.0)
# The taps end where the slower of the exponentials has fallen by 200 dB.
END_DB = 200.0


def bauer_crossfeed(samplerate: float, cutoff: float = 700.0, feed: float = 4.5) -> np.ndarray:
    """The filters of a crossfeed: a lowpass of order 1 to the other ear, and a high shelf of order 1 to the same.

    At low frequencies the other ear hears a channel `feed` dB softer and, at the defaults, 0.27 ms later; high
    frequencies stay where they are. The level is such that mono keeps its own at low frequencies; at high ones it
    comes out softer, by what `mono_drop_db` says, and in between by less. No frequency of any stereo sound gets louder.

    Args:
        samplerate: in hertz.
        cutoff: of the lowpass in hertz, 300 to 2000.
        feed: level between the ears at low frequencies in dB, 1 to 15.

    Returns:
        (4, taps): from left to left, left to right, right to left, right to right, as `--ir-channels true-stereo`
        takes them.

    Raises:
        OptionError: a number out of its range.

    Source: B. B. Bauer, "Stereophonic earphones and binaural loudspeakers", JAES 9(2), 1961; the levels and the
    shelf's cutoff as in libbs2b by B. Mikhaylov.

    >>> left = bauer_crossfeed(48000)[:2].sum(axis=-1)
    >>> round(20 * math.log10(left[0] / left[1]), 3)
    4.5
    """
    _check(samplerate, cutoff, feed)
    low, high, scale = _levels(feed)
    upper = cutoff * 2 ** ((to_db(low) - to_db(1 - high)) / 12)
    slower = math.exp(-2 * math.pi * min(cutoff, upper) / samplerate)
    taps = math.ceil(END_DB / -to_db(slower)) + 1
    across, same = (_lowpass(f, samplerate, taps) for f in (cutoff, upper))
    across *= scale * low
    same *= -scale * (1 - high)
    same[0] += scale
    return np.stack([same, across, across, same])


def mono_drop_db(feed: float) -> float:
    """By how much a sound in both channels comes out softer at high frequencies than at low ones.

    Args:
        feed: as for `bauer_crossfeed`.

    >>> round(mono_drop_db(4.5), 2)
    1.81
    """
    return -to_db(_levels(feed)[2])


def _levels(feed: float) -> tuple[float, float, float]:
    """Gains at low frequencies to the other ear and to the same, before the scale that keeps mono's level."""
    low, high = from_db(-5 / 6 * feed - 3), from_db(feed / 6 - 3)
    return low, high, 1 / (low + high)


def _lowpass(cutoff: float, samplerate: float, taps: int) -> np.ndarray:
    pole = math.exp(-2 * math.pi * cutoff / samplerate)
    return (1 - pole) * pole ** np.arange(taps)


def _check(samplerate: float, cutoff: float, feed: float) -> None:
    if not CUTOFFS[0] <= cutoff <= CUTOFFS[1]:
        raise OptionError(f"--cutoff {cutoff:g}: expected {CUTOFFS[0]:g} to {CUTOFFS[1]:g} Hz")
    if not FEEDS[0] <= feed <= FEEDS[1]:
        raise OptionError(f"--feed {feed:g}: expected {FEEDS[0]:g} to {FEEDS[1]:g} dB")
    if not 2 * CUTOFFS[1] < samplerate <= 1e7:
        raise OptionError(f"a crossfeed at {samplerate:g} Hz: expected a sample rate above {2 * CUTOFFS[1]:g} Hz")
