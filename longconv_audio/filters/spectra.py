"""Frequency responses, and their smoothing over fractions of an octave."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.fft

from longconv_audio.errors import OptionError

# Points a tap of the grid that the largest gain is looked for on: a parabola through three of them is within 0.05 dB of
# the top between.
PEAK_POINTS = 4


def frequency_response(h: np.ndarray, samplerate: float, points: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The frequency response of a filter.

    Args:
        h: (..., taps).
        samplerate: in hertz.
        points: of the transform, at least the taps; None takes the next length that is fast.

    Returns:
        frequencies (points // 2 + 1,), in hertz, and the complex response (..., points // 2 + 1).
    """
    h = np.asarray(h, dtype=np.float64)
    if points is None:
        points = scipy.fft.next_fast_len(h.shape[-1], real=True)
    if points < h.shape[-1]:
        raise OptionError(f"points={points} of a filter of {h.shape[-1]} taps: expected at least as many")
    return scipy.fft.rfftfreq(points, 1 / samplerate), scipy.fft.rfft(h, points)


def response_at(h: np.ndarray, samplerate: float, frequencies: Iterable[float]) -> np.ndarray:
    """The complex response of a filter at a few frequencies, those of no grid.

    Args:
        h: (taps,).
        samplerate: in hertz.
        frequencies: in hertz.

    >>> response_at(np.array([0.5, 0.5]), 48_000, [0, 12_000]).round(9).tolist()
    [(1+0j), (0.5-0.5j)]
    """
    n = np.arange(len(h))
    # Whole turns are taken out while they are exact.
    return np.array([np.exp(-2j * np.pi * (n * (frequency / samplerate) % 1.0)) @ h for frequency in frequencies])


def peak_gain(h: np.ndarray, samplerate: float) -> tuple[float, float]:
    """The largest gain of a filter: by how much a sine can get louder.

    Args:
        h: (taps,), or (channels, taps), of which the channel with the most counts.
        samplerate: in hertz.

    Returns:
        linear, and its frequency in hertz: the lowest of several. 0 at 0 Hz for silence.

    >>> peak_gain(np.array([0.5, -0.5]), 48_000)
    (1.0, 24000.0)
    """
    peaks = [peak_of_magnitude(magnitude_for_peak(row), samplerate) for row in np.atleast_2d(h)]
    return max(peaks, key=lambda peak: peak[0])


def magnitude_for_peak(h: np.ndarray, taps: int | None = None) -> np.ndarray:
    """The magnitude response of a filter (taps,) on the grid that `peak_of_magnitude` needs.

    Args:
        h: (taps,).
        taps: of the longest of several filters that are to share the grid; None for h's own.
    """
    # Even, so that one of the frequencies is half the sample rate.
    size = 2 * scipy.fft.next_fast_len(PEAK_POINTS * (taps or len(h)) // 2, real=True)
    return np.abs(scipy.fft.rfft(h, size))


def peak_of_magnitude(magnitude: np.ndarray, samplerate: float) -> tuple[float, float]:
    """The top of a magnitude response between its frequencies.

    Args:
        magnitude: (bins,), linear, at evenly spaced frequencies from 0 Hz to half the sample rate.
        samplerate: in hertz.

    Returns:
        linear, and in hertz: of the parabola through the largest power and its neighbours.
    """
    largest = float(magnitude.max())
    if not largest > 0:
        return largest, 0.0
    # The lowest of several that differ by rounding only.
    at, last = int(np.argmax(magnitude >= largest * (1 - 1e-9))), len(magnitude) - 1
    # Beyond 0 Hz and half the sample rate the response stands mirrored.
    below, top, above = (magnitude[[abs(at - 1), at, last - abs(last - at - 1)]] / largest) ** 2
    bend = below - 2 * top + above
    shift = float(np.clip(0.5 * (below - above) / bend, -0.5, 0.5)) if bend < 0 else 0.0
    power = top - 0.25 * (below - above) * shift
    return largest * float(np.sqrt(power)), (at + shift) * samplerate / (2 * last)


def smooth_octaves(frequencies: np.ndarray, magnitude: np.ndarray, fraction: float) -> np.ndarray:
    """The root of the mean power over a window of constant relative width about each frequency.

    Args:
        frequencies: (bins,), evenly spaced from 0, in hertz.
        magnitude: (..., bins), linear.
        fraction: the window is 1/fraction octave wide: 3 for third octaves.

    Returns:
        (..., bins). Windows reach over parts of bins, so that there is no step where they grow by one; the ends count
        as going on at 0 Hz and at the last frequency with what stands there.
    """
    power = mean_over_octaves(np.asarray(magnitude, dtype=np.float64) ** 2, fraction)
    # The difference of two sums may come out below 0 by their rounding.
    return np.sqrt(np.maximum(power, 0.0))


def mean_over_octaves(values: np.ndarray, fraction: float) -> np.ndarray:
    """The mean over a window of constant relative width about each frequency: of power, or of a complex response.

    Args:
        values: (..., bins), real or complex, at frequencies evenly spaced from 0.
        fraction: the window is 1/fraction octave wide.

    Returns:
        (..., bins), over the windows of `smooth_octaves`.
    """
    if not fraction > 0:
        raise OptionError(f"smoothing over 1/{fraction} octave: expected a number above 0, such as 6")
    bins = values.shape[-1]
    # Integrals from the first bin's lower edge to every bin's upper one; between edges they are straight lines.
    integral = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    index = np.arange(bins, dtype=np.float64)
    reach = 2.0 ** (0.5 / fraction)
    # At least a bin wide: no less is known.
    low, high = np.minimum(index / reach, index - 0.5) + 0.5, np.maximum(index * reach, index + 0.5) + 0.5
    low, high = np.maximum(low, 0.0), np.minimum(high, float(bins))

    def at(edge: np.ndarray) -> np.ndarray:
        below = np.minimum(edge.astype(np.int64), bins - 1)
        return integral[..., below] + (edge - below) * values[..., below]

    return (at(high) - at(low)) / (high - low)
