"""What a correction will do to the response that it was made for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .bands import octave_bands
from .spectra import smooth_octaves

# No logarithm of 0.
_LEAST = 1e-10


@dataclass(frozen=True)
class Deviation:
    """How far responses are from the target over the range, their mean level set to the target's, in dB.

    Args:
        max_db: the largest deviation, up or down, of any channel.
        rms_db: the root of the mean square over log frequency and channels.
        smoothed_max_db, smoothed_rms_db: the same of the smoothed responses.
    """

    max_db: float
    rms_db: float
    smoothed_max_db: float
    smoothed_rms_db: float


@dataclass(frozen=True)
class ThirdOctave:
    """The curves about one third-octave band's middle, as means of power over a third of an octave.

    Args:
        frequency: its exact middle in hertz.
        target_db: the target.
        before_db, after_db: each channel's response against the target's level, uncorrected and corrected.
        correction_db: each correction's gain.
    """

    frequency: float
    target_db: float
    before_db: tuple[float, ...]
    after_db: tuple[float, ...]
    correction_db: tuple[float, ...]


@dataclass(frozen=True)
class Correction:
    """What a correction does.

    Args:
        phase: "minimum", "linear" or "mixed".
        low_hz, high_hz: the range.
        smoothing: deviations are smoothed over 1/smoothing octave.
        before, after: the deviation from the target, uncorrected and corrected.
        largest_boost_db, largest_boost_hz: the correction's largest gain, and where it is.
        largest_cut_db, largest_cut_hz: its least gain inside the range.
        level_db: by how much pink noise in the range gets louder, the mean of all channels.
        latency_samples, latency_ms: by how much the corrected sound is later.
        pre_ringing_db: the energy more than `pre_ringing_ms` ahead of the latency, against the whole; None where
            there is none.
        curves: the third octaves inside the range.
    """

    phase: str
    low_hz: float
    high_hz: float
    smoothing: float
    before: Deviation
    after: Deviation
    largest_boost_db: float
    largest_boost_hz: float
    largest_cut_db: float
    largest_cut_hz: float
    level_db: float
    latency_samples: int
    latency_ms: float
    pre_ringing_db: float | None
    pre_ringing_ms: float
    curves: tuple[ThirdOctave, ...]


def predict(
    frequencies: np.ndarray,
    response: np.ndarray,
    correction: np.ndarray,
    target: np.ndarray,
    range: tuple[float, float],
    *,
    smoothing: float,
    phase: str,
    latency: int,
    samplerate: float,
    pre_ringing_db: float | None,
    pre_ringing_time: float,
) -> Correction:
    """The report on a correction.

    Args:
        frequencies: (bins,), evenly spaced from 0.
        response: complex, (channels, bins).
        correction: complex, (channels or 1, bins).
        target: in dB, (bins,).
        range: in hertz.
        smoothing: of the smoothed deviations, over 1/smoothing octave.
        phase, latency, samplerate, pre_ringing_db, pre_ringing_time: as the report has them, times in seconds.
    """
    weights = in_range(frequencies, *range)
    inside = weights > 0
    before, gain = np.abs(response), np.abs(correction)
    after = before * gain
    gain_db = decibels(gain)
    boost = np.unravel_index(gain_db.argmax(), gain_db.shape)
    cut = np.unravel_index(np.where(inside, gain_db, np.inf).argmin(), gain_db.shape)
    levels = [10 * np.log10(np.sum(power * weights, axis=-1)) for power in (before**2, after**2)]
    return Correction(
        phase=phase,
        low_hz=range[0],
        high_hz=range[1],
        smoothing=smoothing,
        before=_deviation(frequencies, before, target, weights, smoothing),
        after=_deviation(frequencies, after, target, weights, smoothing),
        largest_boost_db=float(gain_db[boost]),
        largest_boost_hz=float(frequencies[boost[1]]),
        largest_cut_db=float(gain_db[cut]),
        largest_cut_hz=float(frequencies[cut[1]]),
        level_db=float(np.mean(levels[1] - levels[0])),
        latency_samples=latency,
        latency_ms=1000 * latency / samplerate,
        pre_ringing_db=pre_ringing_db,
        pre_ringing_ms=1000 * pre_ringing_time,
        curves=_curves(frequencies, before, after, gain, target, weights, range),
    )


def in_range(frequencies: np.ndarray, low: float, high: float) -> np.ndarray:
    """Weights that make a mean over log frequency inside a range: they add up to 1, or are all 0 with no bin inside."""
    inside = (frequencies >= low) & (frequencies <= high) & (frequencies > 0)
    weights = np.where(inside, 1 / np.maximum(frequencies, _LEAST), 0.0)
    return weights / max(weights.sum(), _LEAST)


def pre_ringing_power(taps: np.ndarray, latency: int, before: int) -> float:
    """The largest share of a channel's energy that comes more than `before` samples ahead of the latency."""
    early = np.sum(taps[..., : max(latency - before, 0)] ** 2, axis=-1)
    return float(np.max(early / np.sum(taps**2, axis=-1)))


def pre_ringing_level(taps: np.ndarray, latency: int, before: int) -> float | None:
    """`pre_ringing_power` in dB; None where there is none."""
    power = pre_ringing_power(taps, latency, before)
    return 10 * math.log10(power) if power > 0 else None


def _deviation(
    frequencies: np.ndarray, magnitude: np.ndarray, target: np.ndarray, weights: np.ndarray, smoothing: float
) -> Deviation:
    found = []
    for curve in (magnitude, smooth_octaves(frequencies, magnitude, smoothing)):
        levels = _against(curve, target, weights)
        found += [
            float(np.abs(levels[..., weights > 0]).max()),
            float(np.sqrt(np.mean(np.sum(levels**2 * weights, axis=-1)))),
        ]
    return Deviation(*found)


def _curves(
    frequencies: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    gain: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    range: tuple[float, float],
) -> tuple[ThirdOctave, ...]:
    bands = [band for band in octave_bands(3, 1.0, 1e5) if range[0] <= band.centre <= range[1]]
    places = np.searchsorted(frequencies, [band.centre for band in bands]).clip(0, len(frequencies) - 1)
    before, after, gain = (smooth_octaves(frequencies, curve, 3) for curve in (before, after, gain))
    before, after = (_against(curve, target, weights) + target for curve in (before, after))
    gain = decibels(gain)
    return tuple(
        ThirdOctave(
            frequency=band.centre,
            target_db=float(target[place]),
            before_db=tuple(before[:, place].tolist()),
            after_db=tuple(after[:, place].tolist()),
            correction_db=tuple(gain[:, place].tolist()),
        )
        for band, place in zip(bands, places, strict=True)
    )


def _against(magnitude: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Levels against the target, in dB, with a mean of 0 inside the range."""
    levels = decibels(magnitude) - target
    return levels - np.sum(levels * weights, axis=-1, keepdims=True)


def decibels(magnitude: np.ndarray) -> np.ndarray:
    """Linear magnitudes in dB, none lower than -200."""
    return 20 * np.log10(np.maximum(magnitude, _LEAST))
