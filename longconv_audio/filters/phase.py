"""Phases for a magnitude response: minimum, with the least delay it allows, and between minimum and linear."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft

from longconv_audio.errors import OptionError

# Magnitudes below the largest by more than this are raised to it before the logarithm: -200 dB.
FLOOR = 1e-10

# Taps from which the cepstrum is computed on a coarser grid.
_LONG = 1 << 18


def minimum_phase(h: np.ndarray, taps: int | None = None) -> np.ndarray:
    """The minimum-phase filter with the magnitude response of another.

    Args:
        h: (taps,) or (channels, taps); each channel by itself.
        taps: length of the result; None keeps that of h.

    Returns:
        float64, (taps,) or (channels, taps). Zeros of h on the unit circle keep about -200 dB.

    Raises:
        ValueError: no taps, or a channel of zeros.

    The homomorphic method (A. V. Oppenheim, R. W. Schafer, "Discrete-Time Signal Processing", chapter on the complex
    cepstrum).

    >>> minimum_phase(np.array([0.25, 1.0])).round(9)
    array([1.  , 0.25])
    """
    h = np.asarray(h, dtype=np.float64)
    return minimum_phase_of_magnitude(_magnitude(h), h.shape[-1] if taps is None else taps)


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
    return _of_magnitude(magnitude, taps, 0.0, 0)


def mixed_phase(h: np.ndarray, mix: float, taps: int | None = None) -> np.ndarray:
    """A filter with the magnitude response of another and a phase between minimum and linear.

    Args:
        h: (taps,) or (channels, taps); each channel by itself.
        mix: as `mixed_phase_of_magnitude` takes it.
        taps: length of the result; None keeps that of h.

    Returns:
        float64, (taps,) or (channels, taps); time zero stands at `mixed_latency(mix, taps)`.

    Raises:
        ValueError: no taps, or a channel of zeros; a mix outside 0 to 1.
    """
    h = np.asarray(h, dtype=np.float64)
    return mixed_phase_of_magnitude(_magnitude(h), h.shape[-1] if taps is None else taps, mix)


def mixed_phase_of_magnitude(magnitude: np.ndarray, taps: int, mix: float) -> np.ndarray:
    """The filter with a given magnitude response and a phase between minimum and linear.

    The logarithm of its response is (1 - mix) times that of the minimum-phase filter and mix times that of the one
    without phase: what rings before the main tap is what a linear-phase filter with the magnitude to the power of mix
    has there, so that pre-ringing and delay grow with mix.

    Args:
        magnitude: as `minimum_phase_of_magnitude` takes it.
        taps: length of the result. What would ring beyond either end is cut off, which costs a deep stopband some of
            its depth.
        mix: 0 is minimum phase, 1 linear.

    Returns:
        float64, (..., taps); time zero stands at `mixed_latency(mix, taps)`.
    """
    return _of_magnitude(magnitude, taps, mix, mixed_latency(mix, taps))


def mixed_latency(mix: float, taps: int) -> int:
    """Where time zero stands in a mixed-phase filter.

    The middle of a linear-phase filter is taken forward by the root of mix: for sharp low-pass filters, by that much
    there is room enough for what rings before it.

    >>> mixed_latency(0.25, 1001)
    250
    """
    if not 0 <= mix <= 1:
        raise OptionError(f"mix={mix:g}: expected 0 (minimum phase) to 1 (linear)")
    return round(math.sqrt(mix) * (taps - 1) / 2)


def _of_magnitude(magnitude: np.ndarray, taps: int, mix: float, origin: int) -> np.ndarray:
    magnitude = np.asarray(magnitude, dtype=np.float64)
    size = 2 * (magnitude.shape[-1] - 1)
    if not 0 < taps <= size:
        raise ValueError(f"taps={taps} of a magnitude at {magnitude.shape[-1]} frequencies: expected 1 to {size}")
    floor = FLOOR * magnitude.max(axis=-1, keepdims=True)
    cepstrum = scipy.fft.irfft(np.log(np.maximum(magnitude, floor)), size)
    # Of the part before time zero, all but the share of mix is folded onto the one behind.
    cepstrum[..., 1 : size // 2] *= 2 - mix
    cepstrum[..., size // 2 + 1 :] *= mix
    h = scipy.fft.irfft(np.exp(scipy.fft.rfft(cepstrum, size)), size)
    if not origin:
        return h[..., :taps]
    return np.concatenate([h[..., size - origin :], h[..., : taps - origin]], axis=-1)


def _magnitude(h: np.ndarray) -> np.ndarray:
    """On a grid that is fine enough for the cepstrum."""
    if h.shape[-1] == 0 or not np.abs(h).max(axis=-1).all():
        raise OptionError(f"the phase of taps of shape {h.shape}: each channel must have a tap other than 0")
    return np.abs(scipy.fft.rfft(h, _points(h.shape[-1])))


def _points(length: int) -> int:
    """Of the transform: the cepstrum of a zero close to the circle is long, and wraps round in a short one.

    A zero on the circle, as in a stopband, costs the magnitude beside it some hundredths of a dB at four times the
    length, and the more points the less; of long filters that is left for speed.
    """
    finer = 8 if length <= _LONG else 4
    # Even, so that one of the frequencies is half the sample rate.
    return 2 * scipy.fft.next_fast_len(max(finer * length // 2, 2048), real=True)
