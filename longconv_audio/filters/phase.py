"""Filters of minimum phase: the least delay that a magnitude response allows."""

from __future__ import annotations

import numpy as np
import scipy.fft

from longconv_audio.errors import OptionError

# Magnitudes below the largest by more than this are raised to it before the logarithm: -200 dB.
FLOOR = 1e-10


def minimum_phase(h: np.ndarray, taps: int | None = None) -> np.ndarray:
    """The minimum-phase filter with the magnitude response of another.

    Args:
        h: (taps,) or (channels, taps); each channel by itself.
        taps: length of the result; None keeps that of h.

    Returns:
        float64, (taps,) or (channels, taps). Zeros of h on the unit circle keep about -200 dB.

    Raises:
        OptionError: no taps, or a channel of zeros.

    The homomorphic method (A. V. Oppenheim, R. W. Schafer, "Discrete-Time Signal Processing", chapter on the complex
    cepstrum).

    >>> minimum_phase(np.array([0.25, 1.0])).round(9)
    array([1.  , 0.25])
    """
    h = np.asarray(h, dtype=np.float64)
    length = h.shape[-1]
    if length == 0 or not np.abs(h).max(axis=-1).all():
        raise OptionError(f"minimum phase of taps of shape {h.shape}: each channel must have a tap other than 0")
    magnitude = np.abs(scipy.fft.rfft(h, _points(length)))
    return minimum_phase_of_magnitude(magnitude, length if taps is None else taps)


def minimum_phase_of_magnitude(magnitude: np.ndarray, taps: int) -> np.ndarray:
    """The minimum-phase filter with a given magnitude response.

    Args:
        magnitude: (..., N / 2 + 1), linear, at N / 2 + 1 evenly spaced frequencies from 0 Hz to half the sample rate.
            What the response's logarithm does between them is lost: N should be several times the length in which
            the filter dies away.
        taps: length of the result, N at the most; what a longer filter would have behind is cut off.

    Returns:
        float64, (..., taps).
    """
    magnitude = np.asarray(magnitude, dtype=np.float64)
    size = 2 * (magnitude.shape[-1] - 1)
    if not 0 < taps <= size:
        raise OptionError(f"taps={taps} of a magnitude at {magnitude.shape[-1]} frequencies: expected 1 to {size}")
    floor = FLOOR * magnitude.max(axis=-1, keepdims=True)
    cepstrum = scipy.fft.irfft(np.log(np.maximum(magnitude, floor)), size)
    # The part before time zero is folded onto the one behind.
    cepstrum[..., 1 : size // 2] *= 2
    cepstrum[..., size // 2 + 1 :] = 0
    return scipy.fft.irfft(np.exp(scipy.fft.rfft(cepstrum, size)), size)[..., :taps]


def _points(length: int) -> int:
    """Of the transform: the cepstrum of a zero close to the circle is long, and wraps round in a short one."""
    return scipy.fft.next_fast_len(max(8 * length, 4096) + 1 & ~1, real=True)
