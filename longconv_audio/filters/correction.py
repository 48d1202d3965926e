"""Corrections of rooms and loudspeakers: the inverse of a measured response, where that can be trusted."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft

from longconv_audio.errors import OptionError
from longconv_audio.levels import from_db, to_db

from .excess_phase import excess_phase, mixed_phase
from .phase import minimum_phase_of_magnitude
from .prediction import Correction, decibels, in_range, pre_ringing_level, predict
from .spectra import smooth_octaves

PHASES = ("minimum", "linear", "mixed")
CHANNELS = ("each", "common")

# The limit on boost bends the gain over the last this many dB below it, rather than cutting it off.
KNEE_DB = 3.0
# By so much the response of the finished filter may pass the limit, which a cut to few taps can make it do.
LIMIT_SLACK_DB = 0.1
# The regularisation outside the range: from this many dB at the edge to that many so many octaves away. Against the
# power of a response whose mean is 0 dB, the first changes nothing and the second leaves a gain of 1.
REGULARISATION_DB, REGULARISATION_OCTAVES = (-60.0, 40.0), 0.5
# The share of the taps over which what is cut off fades.
FADE = 1 / 8
LARGEST_BOOST_DB = 60.0


def invert(
    h: np.ndarray,
    samplerate: float,
    *,
    taps: int = 32_768,
    target=None,
    max_boost: float = 12.0,
    smoothing: float | None = 6.0,
    range: tuple[float, float] | None = None,
    phase: str = "minimum",
    pre_ringing: float = -30.0,
    pre_ringing_time: float = 0.005,
    channels: str = "each",
) -> tuple[np.ndarray, Correction]:
    """A filter that brings a measured response to a target.

    The correction minimises |M C - T|^2 + beta |C - 1|^2 at every frequency, with M the smoothed magnitude response,
    T the target and C the correction, all real: beta is 0 inside the range and rises over half an octave outside, so
    that the correction passes to a gain of 1 where nothing is to be corrected. Before that, boosts are limited; gains
    up to 3 dB below the limit stay as they are. The target is placed where pink noise in the range keeps its level,
    but for what the limit takes away.

    Args:
        h: impulse responses, (taps,) or (channels, taps).
        samplerate: in hertz.
        taps: of the correction.
        target: has `levels(frequencies, samplerate)`, which gives dB at (bins,) frequencies: a `Curve`. None is flat.
        max_boost: the largest gain of the correction in dB, 0 to 60; the result's is at most 0.1 dB above.
        smoothing: of the response before it is inverted, over 1/smoothing octave; None for none. What is narrower
            than that is not corrected: the mean over the window comes out at the target, and the rest stays.
        range: lowest and highest frequency in hertz that are corrected, 0 and half the sample rate at the outmost.
            None is 20 Hz to 20 kHz, or to 0.45 of the sample rate if that is less.
        phase: "minimum": no latency, and right for what is itself of minimum phase (most resonances of loudspeakers
            and rooms). "linear": the magnitude alone, phase left as it is. "mixed": the excess phase is corrected,
            too, inside the range and as far as the limit on pre-ringing allows.
        pre_ringing: for "mixed", the most energy in dB, against that of the whole correction, that may arrive more
            than `pre_ringing_time` ahead of the latency.
        pre_ringing_time: in seconds.
        channels: "each" has a correction of its own, with a level of its own: differences of level between channels
            stay. "common": one for all, of their mean power.

    Returns:
        the correction, float64, with the axes of h (one channel where it is common), and a report. The latency is 0 for
        minimum phase, half the taps for linear, and for mixed half the taps or what pre-ringing leaves of them. The
        polarity stays what it is.

    Raises:
        OptionError: an option that makes no sense, or a silent channel.

    Regularisation after O. Kirkeby and P. A. Nelson, "Digital filter design for inversion problems in sound
    reproduction", J. Audio Eng. Soc. 47(7/8), 1999, with the pull towards a gain of 1 instead of 0.

    >>> peak = np.array([1.0, 0.5])
    >>> correction, report = invert(peak, 48_000, taps=4096, smoothing=None)
    >>> report.after.max_db < 0.1 < report.before.max_db
    True
    """
    low, high = _range(range, samplerate)
    _check(taps, max_boost, smoothing, phase, pre_ringing, pre_ringing_time, channels)
    h = np.asarray(h, dtype=np.float64)
    rows = np.atleast_2d(h)
    _check_response(rows)
    size = 2 * scipy.fft.next_fast_len(max(4 * taps, rows.shape[-1] + taps, 4096), real=True)
    frequencies = scipy.fft.rfftfreq(size, 1 / samplerate)
    response = scipy.fft.rfft(rows, size)
    goal = np.zeros(len(frequencies)) if target is None else np.asarray(target.levels(frequencies, samplerate))
    weights = in_range(frequencies, low, high)
    if not weights.any():
        raise OptionError(f"range {low:g} to {high:g} Hz: too narrow for {taps} taps at {samplerate:g} Hz")

    measured = np.abs(response)
    if channels == "common":
        measured = np.sqrt(np.mean(measured**2, axis=0, keepdims=True))
    if smoothing:
        measured = smooth_octaves(frequencies, measured, smoothing)
    gain = _gain(decibels(measured), goal, frequencies, weights, (low, high), max_boost)
    latency = 0
    if phase == "minimum":
        made = _faded(minimum_phase_of_magnitude(gain, taps), FADE)
    elif phase == "linear":
        latency = taps // 2
        made = np.roll(scipy.fft.irfft(gain, size), latency, axis=-1)[..., :taps]
        made = _faded(_faded(made, FADE)[..., ::-1], FADE)[..., ::-1]
    else:
        excess = excess_phase(response, smoothing, channels == "common")
        inside = 1 / (1 + _regularisation(frequencies, low, high))
        before = round(pre_ringing_time * samplerate)
        made, latency = mixed_phase(excess * inside + (1 - inside), gain, taps, from_db(pre_ringing) ** 2, before)
        made = _faded(made, FADE)
    # A little of the limit is lost where the filter is shorter than its gain asks for.
    largest = to_db(float(np.abs(scipy.fft.rfft(made, size)).max()))
    made *= from_db(min(0.0, max_boost + LIMIT_SLACK_DB - largest))
    report = predict(
        frequencies,
        response,
        scipy.fft.rfft(made, size),
        goal,
        (low, high),
        smoothing=smoothing or 6.0,
        phase=phase,
        latency=latency,
        samplerate=samplerate,
        pre_ringing_db=pre_ringing_level(made, latency, round(pre_ringing_time * samplerate)),
        pre_ringing_time=pre_ringing_time,
    )
    return made[0] if h.ndim == 1 else made, report


def _gain(
    measured: np.ndarray,
    goal: np.ndarray,
    frequencies: np.ndarray,
    weights: np.ndarray,
    range: tuple[float, float],
    max_boost: float,
) -> np.ndarray:
    """The correction's linear gain, (channels, bins), of responses and a target in dB."""
    # Of pink noise, against that of a response which is the target itself.
    anchor = 10 * np.log10(10 ** (measured / 10) @ weights / (10 ** (goal / 10) @ weights))[..., None]
    wanted = _limited(goal + anchor - measured, max_boost)
    power = 10 ** ((measured - anchor) / 10)
    beta = _regularisation(frequencies, *range)
    return (power * from_db(wanted) + beta) / (power + beta)


def _limited(gain: np.ndarray, most: float) -> np.ndarray:
    """Gains in dB that come close to `most`, and never pass it."""
    knee = max(min(KNEE_DB, most), 0.1)
    above = np.maximum(gain - (most - knee), 0.0)
    return np.minimum(gain, most - knee) + knee * np.tanh(above / knee)


def _regularisation(frequencies: np.ndarray, low: float, high: float) -> np.ndarray:
    """Beta at each frequency, against the power of a response of 0 dB."""
    tiny = 1e-9
    outside = np.zeros(len(frequencies))
    if low > 0:
        outside = np.maximum(outside, np.log2(low / np.maximum(frequencies, tiny)))
    outside = np.maximum(outside, np.log2(np.maximum(frequencies, tiny) / high))
    start, end = REGULARISATION_DB
    level = start + (end - start) * np.minimum(outside / REGULARISATION_OCTAVES, 1.0)
    return np.where(outside > 0, 10 ** (level / 10), 0.0)


def _faded(taps: np.ndarray, share: float) -> np.ndarray:
    """With the last share of the taps under half a cosine."""
    count = int(share * taps.shape[-1])
    faded = taps.copy()
    faded[..., taps.shape[-1] - count :] *= np.cos(0.5 * np.pi * np.arange(1, count + 1) / (count + 1)) ** 2
    return faded


def _range(given: tuple[float, float] | None, samplerate: float) -> tuple[float, float]:
    if not (math.isfinite(samplerate) and samplerate > 0):
        raise OptionError(f"sample rate {samplerate} Hz: expected a number above 0")
    if given is None:
        return 20.0, min(20_000.0, 0.45 * samplerate)
    low, high = given
    if not 0 <= low < high:
        raise OptionError(f"range {low:g}:{high:g}: expected the lower frequency first, 0 Hz or more, as in 20:20000")
    if high > samplerate / 2:
        raise OptionError(
            f"range {low:g}:{high:g}: ends above {samplerate / 2:g} Hz, half the sample rate: the response says "
            "nothing there; lower the end"
        )
    return float(low), float(high)


def _check(taps, max_boost, smoothing, phase, pre_ringing, pre_ringing_time, channels) -> None:
    if taps < 1:
        raise OptionError(f"correction of {taps} taps: expected 1 or more")
    if not 0 <= max_boost <= LARGEST_BOOST_DB:
        raise OptionError(f"largest boost {max_boost} dB: expected 0 to {LARGEST_BOOST_DB:g}")
    if smoothing is not None and not (math.isfinite(smoothing) and smoothing > 0):
        raise OptionError(f"smoothing over 1/{smoothing} octave: expected a number above 0, such as 6, or none")
    if phase not in PHASES:
        raise OptionError(f"phase {phase!r}: expected {', '.join(PHASES[:-1])} or {PHASES[-1]}")
    if not (math.isfinite(pre_ringing) and pre_ringing <= 0):
        raise OptionError(f"pre-ringing of {pre_ringing} dB: expected 0 or less, such as -30")
    if not (math.isfinite(pre_ringing_time) and pre_ringing_time >= 0):
        raise OptionError(f"pre-ringing ahead of {pre_ringing_time} s: expected 0 or more")
    if channels not in CHANNELS:
        raise OptionError(f"channels {channels!r}: expected {' or '.join(CHANNELS)}")


def _check_response(rows: np.ndarray) -> None:
    if rows.ndim != 2 or rows.size == 0:
        raise OptionError(f"impulse response of shape {rows.shape}: expected (taps,) or (channels, taps)")
    for channel, row in enumerate(rows):
        if not np.isfinite(row).all():
            raise OptionError(f"channel {channel + 1} has NaN or infinity: there is no inverse")
        if not row.any():
            raise OptionError(f"channel {channel + 1} is silent: there is no inverse; leave it out or measure again")
