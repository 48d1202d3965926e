"""FIR equalisers: filters whose magnitude follows a curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from .curves import Curve
from .design import PHASES, check_choice
from .orders import check_rate, check_taps
from .phase import minimum_phase_of_magnitude, mixed_latency, mixed_phase_of_magnitude
from .spectra import frequency_response

# Where a filter's length is chosen: the error that is aimed at, and the lengths that are tried.
_AIM_DB = 0.1
_SHORTEST, _LONGEST = 1023, (1 << 18) - 1

# An equaliser is held to its curve where that is within so much of its largest level, and above 20 Hz.
_DEPTH_DB = 60.0
_LOWEST_HZ = 20.0

# The grid that a curve is sampled on: as fine as this, and finer than the filter. It is measured on one that is finer
# yet, which sees what a corner of the curve does between the points.
_FINER, _LEAST_POINTS = 4, 1 << 16
_MEASURED = 4


@dataclass(frozen=True)
class CurveReport:
    """How closely a filter follows a curve.

    Args:
        error_db: the largest difference from 20 Hz to half the sample rate, where the curve is within 60 dB of its
            largest level.
        error_hz: where that is.
        peak_db, peak_hz: the curve's largest level and where that is.
    """

    error_db: float
    error_hz: float
    peak_db: float
    peak_hz: float


def equalizer(
    curve: Curve, samplerate: float, *, taps: int | None = None, phase: str = "linear", mix: float = 0.5
) -> np.ndarray:
    """A filter whose magnitude follows a curve.

    Args:
        curve: as `read_curve` gives it.
        samplerate: in hertz.
        taps: None takes the shortest of 1023, 2047, ... 262143 that follows the curve within 0.1 dB, or the last.
        phase: "linear" (latency (taps - 1) / 2; of an even number of taps the last is 0), "minimum" or "mixed", as
            `mixed_phase` explains it.
        mix: of mixed phase, 0 (minimum) to 1 (linear).

    Returns:
        float64, (taps,).

    Raises:
        OptionError: arguments that make no filter; a curve beyond half the sample rate.

    Frequency sampling: the curve's impulse response on a fine grid, cut to length with a fade at the ends.
    """
    check_rate(samplerate)
    check_choice("phase", phase, PHASES)
    mixed_latency(mix, 1)
    if taps is not None:
        check_taps(taps)
        return _equalizer(curve, samplerate, taps, phase, mix)
    taps = _SHORTEST
    while True:
        h = _equalizer(curve, samplerate, taps, phase, mix)
        if taps >= _LONGEST or measure_curve(h, curve, samplerate).error_db <= _AIM_DB:
            return h
        taps = 2 * taps + 1


def equalizer_latency(taps: int, phase: str, mix: float) -> int:
    """Where time zero stands in an equaliser, in samples."""
    if phase == "mixed":
        return mixed_latency(mix, taps)
    return (taps - 1) // 2 if phase == "linear" else 0


def measure_curve(h: np.ndarray, curve: Curve, samplerate: float) -> CurveReport:
    """Compares a filter's magnitude with a curve.

    Args:
        h: (taps,).
        curve: what it is to follow.
        samplerate: in hertz.
    """
    points = scipy.fft.next_fast_len(max(_FINER * len(h), _MEASURED * _LEAST_POINTS), real=True)
    frequencies, response = frequency_response(h, samplerate, points)
    wanted = curve.levels(frequencies, samplerate)
    found = 20 * np.log10(np.maximum(np.abs(response), 1e-15))
    held = (frequencies >= min(_LOWEST_HZ, samplerate / 8)) & (wanted >= wanted.max() - _DEPTH_DB)
    error = np.where(held, np.abs(found - wanted), 0.0)
    worst, peak = int(error.argmax()), int(wanted.argmax())
    return CurveReport(float(error[worst]), float(frequencies[worst]), float(wanted[peak]), float(frequencies[peak]))


def _equalizer(curve: Curve, samplerate: float, taps: int, phase: str, mix: float) -> np.ndarray:
    points = 2 * scipy.fft.next_fast_len(max(_FINER * taps, _LEAST_POINTS) // 2, real=True)
    levels = curve.levels(scipy.fft.rfftfreq(points, 1 / samplerate), samplerate)
    magnitude = 10 ** (levels / 20)
    origin = equalizer_latency(taps, phase, mix)
    if phase == "linear":
        around = scipy.fft.irfft(magnitude, points)
        h = np.concatenate([around[points - origin :], around[: origin + 1], np.zeros(1 - taps % 2)])
    elif phase == "minimum":
        h = minimum_phase_of_magnitude(magnitude, taps)
    else:
        h = mixed_phase_of_magnitude(magnitude, taps, mix)
    return h * _fades(taps, origin)


def _fades(taps: int, origin: int) -> np.ndarray:
    """Half cosines over the outer halves on both sides of time zero: a cut would ripple over all frequencies."""
    n = np.arange(taps) - origin
    reach = np.where(n < 0, origin, taps - 2 + taps % 2 - origin) + 1
    beyond = np.clip(2 * np.abs(n) / reach - 1, 0.0, 1.0)
    return 0.5 + 0.5 * np.cos(np.pi * beyond)
