"""Frequency responses, and their smoothing over fractions of an octave."""

from __future__ import annotations

import numpy as np
import scipy.fft


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
        raise ValueError(f"points={points} of a filter of {h.shape[-1]} taps: expected at least as many")
    return scipy.fft.rfftfreq(points, 1 / samplerate), scipy.fft.rfft(h, points)


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
    if not fraction > 0:
        raise ValueError(f"smoothing over 1/{fraction} octave: expected a number above 0, such as 6")
    power = np.asarray(magnitude, dtype=np.float64) ** 2
    # The difference of two sums may come out below 0 by their rounding.
    return np.sqrt(np.maximum(average_octaves(power, fraction), 0.0))


def average_octaves(values: np.ndarray, fraction: float) -> np.ndarray:
    """The mean over a window of constant relative width about each frequency.

    Args:
        values: (..., bins), real or complex, at frequencies evenly spaced from 0.
        fraction: as for `smooth_octaves`, and so are the windows.

    Returns:
        (..., bins).
    """
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
