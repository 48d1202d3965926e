"""Phases for a magnitude response: minimum, with the least delay it allows, and between minimum and linear."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft

from longconv_audio.errors import OptionError

# Magnitudes are raised to this, in dB below the largest, before the logarithm.
FLOOR_DB = -200.0

# Taps from which the cepstrum is computed on a coarser grid.
_LONG = 1 << 18


def minimum_phase(h: np.ndarray, taps: int | None = None, floor_db: float = FLOOR_DB) -> np.ndarray:
    """The minimum-phase filter with the magnitude response of another.

    Args:
        h: (taps,) or (channels, taps); each channel by itself.
        taps: length of the result; None keeps that of h.
        floor_db: zeros of h on the unit circle keep about so much, in dB below the largest magnitude. The higher, the
            closer all the rest comes: at 20 dB beneath a stopband, ten times closer in the passband beside it.

    Returns:
        float64, (taps,) or (channels, taps).

    Raises:
        OptionError: no taps, or a channel of zeros.

    The homomorphic method (A. V. Oppenheim, R. W. Schafer, "Discrete-Time Signal Processing", chapter on the complex
    cepstrum).

    >>> minimum_phase(np.array([0.25, 1.0])).round(9)
    array([1.  , 0.25])
    """
    h = np.asarray(h, dtype=np.float64)
    taps = h.shape[-1] if taps is None else taps
    return minimum_phase_of_magnitude(_magnitude(h, taps), taps, floor_db)


def minimum_phase_of_magnitude(magnitude: np.ndarray, taps: int, floor_db: float = FLOOR_DB) -> np.ndarray:
    """The minimum-phase filter with a given magnitude response.

    Args:
        magnitude: (..., N / 2 + 1), linear, at N / 2 + 1 evenly spaced frequencies from 0 Hz to half the sample rate.
            What the response's logarithm does between them is lost: N should be several times the length in which
            the filter dies away.
        taps: length of the result, N at the most; what a longer filter would have behind is cut off.
        floor_db: as for `minimum_phase`.

    Returns:
        float64, (..., taps).
    """
    return _of_magnitude(magnitude, taps, 0.0, 0, floor_db)


def mixed_phase(h: np.ndarray, mix: float, taps: int | None = None, floor_db: float = FLOOR_DB) -> np.ndarray:
    """A filter with the magnitude response of another and a phase between minimum and linear.

    Args:
        h: (taps,) or (channels, taps); each channel by itself.
        mix: as `mixed_phase_of_magnitude` takes it.
        taps: length of the result; None keeps that of h.
        floor_db: as for `minimum_phase`.

    Returns:
        float64, (taps,) or (channels, taps); time zero stands at `mixed_latency(mix, taps)`.

    Raises:
        OptionError: no taps, or a channel of zeros; a mix outside 0 to 1.
    """
    h = np.asarray(h, dtype=np.float64)
    taps = h.shape[-1] if taps is None else taps
    return mixed_phase_of_magnitude(_magnitude(h, taps), taps, mix, floor_db)


def mixed_phase_of_magnitude(magnitude: np.ndarray, taps: int, mix: float, floor_db: float = FLOOR_DB) -> np.ndarray:
    """The filter with a given magnitude response and a phase between minimum and linear.

    The logarithm of its response is (1 - mix) times that of the minimum-phase filter and mix times that of the one
    without phase: what rings before the main tap is what a linear-phase filter with the magnitude to the power of mix
    has there, so that pre-ringing and delay grow with mix.

    Args:
        magnitude: as `minimum_phase_of_magnitude` takes it.
        taps: length of the result. What would ring beyond either end is cut off, which costs a deep stopband some of
            its depth.
        mix: 0 is minimum phase, 1 linear.
        floor_db: as for `minimum_phase`.

    Returns:
        float64, (..., taps); time zero stands at `mixed_latency(mix, taps)`.
    """
    return _of_magnitude(magnitude, taps, mix, mixed_latency(mix, taps), floor_db)


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


def _of_magnitude(magnitude: np.ndarray, taps: int, mix: float, origin: int, floor_db: float) -> np.ndarray:
    magnitude = np.asarray(magnitude, dtype=np.float64)
    size = 2 * (magnitude.shape[-1] - 1)
    if not 0 < taps <= size:
        raise OptionError(f"taps={taps} of a magnitude at {magnitude.shape[-1]} frequencies: expected 1 to {size}")
    floor = 10 ** (floor_db / 20) * magnitude.max(axis=-1, keepdims=True)
    # Beneath a corner the cepstrum would be longer than beneath this curve.
    cepstrum = scipy.fft.irfft(0.5 * np.log(magnitude * magnitude + floor * floor), size)
    # Of the part before time zero, all but the share of mix is folded onto the one behind.
    cepstrum[..., 1 : size // 2] *= 2 - mix
    cepstrum[..., size // 2 + 1 :] *= mix
    h = scipy.fft.irfft(np.exp(scipy.fft.rfft(cepstrum, size)), size)
    if not origin:
        return h[..., :taps]
    return np.concatenate([h[..., size - origin :], h[..., : taps - origin]], axis=-1)


def _magnitude(h: np.ndarray, taps: int) -> np.ndarray:
    """On a grid that is fine enough for the cepstrum, and for a filter of so many taps."""
    if h.shape[-1] == 0 or not np.abs(h).max(axis=-1).all():
        raise OptionError(f"the phase of taps of shape {h.shape}: each channel must have a tap other than 0")
    return np.abs(scipy.fft.rfft(h, _points(max(h.shape[-1], taps))))


def _points(length: int) -> int:
    """Of the transform: the cepstrum of a zero close to the circle is long, and wraps round in a short one.

    The more points, the closer a magnitude beside zeros on the circle, as in a stopband; of long filters some of that
    is left for speed. Five points a tap do better by sharp low-pass filters than four or six, which meet their evenly
    spaced zeros again and again.
    """
    finer = 8 if length <= _LONG else 5
    # Even, so that one of the frequencies is half the sample rate.
    return 2 * scipy.fft.next_fast_len(max(finer * length // 2, 2048), real=True)
