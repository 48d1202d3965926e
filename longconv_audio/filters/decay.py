"""How an impulse response dies away: its onset, the energy still to come, and where the noise takes over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from longconv_audio.errors import OptionError

# Lundeby's method leaves these to the user, within the ranges that the paper gives.
FIRST_INTERVAL = 0.03  # seconds over which the energy is averaged at first
INTERVALS = 3  # for each 10 dB of the decay, after that
MARGIN_DB = 10.0  # between the noise and what counts as decay, and after the knee, where only noise is left
LATE_DB = 20.0  # how much of the decay, above that margin, the line is fitted to
NOISE_PART = 0.1  # of the response, its end: where the noise is measured at the least
ROUNDS = 8

# Below the peak: what is weaker than this is no noise of a recording, and a decay that reaches it has come to its end.
DEEPEST_DB = 100.0

# A line that begins higher than the strongest interval by more has a single fluctuation for its decay.
LINE_ABOVE_DB = 60.0

# Fewer averages than this make no line.
FEWEST = 4


@dataclass(frozen=True)
class Decay:
    """A decay as a straight line in dB that ends in noise of constant level.

    Args:
        onset: the sample that the line begins at.
        level_db: the line's mean square there, in dB; None where there is no line.
        t60: the time in seconds in which the line falls by 60 dB; None where there is no line.
        noise_db: mean square of the noise in dB; -inf where the decay goes on to the end of the response, or to more
            than 100 dB below its peak.
        knee: the sample where the line meets the noise, or the response's end.
        range_db: by how much the line falls from the onset to the knee; None where there is no line.
        reason: why there is no line; None where there is one.
    """

    onset: int
    level_db: float | None
    t60: float | None
    noise_db: float
    knee: int
    range_db: float | None
    reason: str | None = None


def decay_of(h: np.ndarray, samplerate: float, start: int | None = None) -> Decay:
    """The decay of one band of an impulse response, and the noise that ends it.

    The line is that of the late decay, the last dB above the noise: the one that goes on below it.

    Args:
        h: (taps,), of one band: decays at several rates make no straight line.
        samplerate: in hertz.
        start: the sample to begin at; None is the onset of h.

    Source: A. Lundeby, T. E. Vigran, H. Bietz, M. Vorlaender, "Uncertainties of Measurements in Room Acoustics",
    Acustica 81, 1995. The noise is subtracted before the line is fitted, as in W. T. Chu, "Comparison of reverberation
    measurements using Schroeder's impulse method and decay-curve averaging method", JASA 63(5), 1978.

    >>> t = np.arange(48000) / 48000
    >>> found = decay_of(np.cos(6000 * t) * 10 ** (-3 * t / 0.8), 48000)
    >>> round(found.t60, 3), found.noise_db
    (0.8, -inf)
    """
    h = np.asarray(h, dtype=np.float64)
    if h.ndim != 1:
        raise OptionError(f"the decay of taps of shape {h.shape}: expected one channel, (taps,)")
    sounding = np.flatnonzero(h)
    if start is None:
        start = onset(h) if sounding.size else 0
    # Zeros at the end are padding: as noise they would be none at all.
    end = int(sounding[-1]) + 1 if sounding.size else 0
    if end <= start:
        return Decay(start, None, None, -np.inf, start, None, "silence")
    energy = h[start:end] ** 2
    total = np.concatenate([[0.0], np.cumsum(energy)])
    line, noise, knee, reason = _lundeby(total, samplerate)
    noise_db = 10 * np.log10(noise) if noise > 0 else -np.inf
    if line is None:
        return Decay(start, None, None, float(noise_db), end, None, reason)
    level, slope = line
    return Decay(start, level, -60 / (slope * samplerate), float(noise_db), start + knee, -slope * knee)


def onset(h: np.ndarray, threshold_db: float = -20.0) -> int:
    """The sample where an impulse response begins: the first within some dB of its peak.

    Args:
        h: (taps,), or (channels, taps), whose first onset it is.
        threshold_db: level re the largest magnitude of all channels.

    Raises:
        OptionError: silence, or a threshold above 0 dB.

    Source: ISO 3382-1:2009, which has the direct sound begin where the level is first 20 dB below the peak.

    >>> onset(np.array([0.0, 0.001, 0.2, 1.0]))
    2
    """
    magnitude = np.abs(np.atleast_2d(h)).max(axis=0, initial=0.0)
    peak = magnitude.max(initial=0.0)
    if not peak > 0:
        raise OptionError("the onset of silence: expected an impulse response with a sample other than 0")
    if not threshold_db <= 0:
        raise OptionError(f"an onset threshold of {threshold_db} dB re peak: expected 0 or less, such as -20")
    return int(np.argmax(magnitude >= peak * 10 ** (threshold_db / 20)))


def energy_decay_curve(h: np.ndarray, decay: Decay | None = None) -> np.ndarray:
    """How much of an impulse response's energy is still to come, in dB of the whole.

    Backward integration: M. R. Schroeder, "New Method of Measuring Reverberation Time", JASA 37(3), 1965.

    Args:
        h: (taps,), or (channels, taps), whose energies are added.
        decay: of h (taps,), to free the curve of its noise: that is subtracted, the integration begins at the knee, and
            the energy that the line has beyond it is added. None, or one without a line, leaves the curve as it is.

    Returns:
        (taps,): 0 dB at the start, -inf from where nothing follows: the knee, or the last sample other than 0.

    The correction is the one found best by M. Guski and M. Vorlaender, "Comparison of Noise Compensation Methods for
    Room Acoustic Impulse Response Evaluations", Acta Acustica united with Acustica 100(2), 2014.
    """
    remaining = energy_to_come(h, decay)
    remaining /= remaining[:1] + (remaining[:1] == 0)
    curve = np.full(remaining.shape, -np.inf)
    np.log10(remaining, out=curve, where=remaining > 0)
    return 10 * curve


def energy_to_come(h: np.ndarray, decay: Decay | None = None) -> np.ndarray:
    """The energy from each sample on, (taps,), as `energy_decay_curve` has it, linear."""
    energy = np.sum(np.abs(np.atleast_2d(h)) ** 2, axis=0, dtype=np.float64)  # (taps,)
    beyond = 0.0
    if decay is not None and decay.t60 is not None:
        energy[: decay.knee] -= 10 ** (decay.noise_db / 10)
        energy[decay.knee :] = 0.0
        beyond = energy_beyond(decay)
    remaining = np.cumsum(energy[::-1])[::-1]
    if beyond:
        remaining[: decay.knee] += beyond
        # Of noise less its mean, a sum over few samples may come out below 0.
        np.maximum(remaining, 0.0, out=remaining)
    return remaining


def energy_beyond(decay: Decay) -> float:
    """The energy of a decay's line from its knee on: a geometric series."""
    fall = decay.range_db / max(decay.knee - decay.onset, 1)  # dB a sample
    return 10 ** ((decay.level_db - decay.range_db) / 10) / -np.expm1(-fall * np.log(10) / 10)


def _lundeby(total: np.ndarray, samplerate: float) -> tuple[tuple[float, float] | None, float, int, str | None]:
    """The line (dB at the first sample, dB a sample), the noise's mean square, the knee; or why there is no line.

    Args:
        total: (taps + 1,): the energy before each sample.
    """
    length = len(total) - 1
    window = max(1, round(NOISE_PART * length))
    width = max(1, min(round(FIRST_INTERVAL * samplerate), length // 50))
    # `floor` is where the line's use ends: at the noise, or at the response's end where there is none.
    noise = _mean(total, length - window, length)
    peak = np.diff(total[::width]).max() / width
    depth = peak * 10 ** (-DEEPEST_DB / 10)
    floor = max(noise, depth)
    if peak < floor * 10 ** (MARGIN_DB / 10):
        return None, noise, length, f"it falls by less than {MARGIN_DB:g} dB to its noise or end"
    knee, most, highest = None, np.inf, 10 * np.log10(peak) + LINE_ABOVE_DB
    for _ in range(ROUNDS):
        line = _fit_in_shorter(total, width, noise, floor * 10 ** (MARGIN_DB / 10), most)
        # The late decay is a cut above the noise: all of the decay, then.
        if line is None or line[0] > highest or line[1] >= 0:
            line = _fit_in_shorter(total, width, noise, floor * 10 ** (MARGIN_DB / 10), np.inf)
        if line is None or line[0] > highest:
            return None, noise, length, "it falls too fast, or too little, for a line to be fitted"
        level, slope = line
        if not slope < 0:
            return None, noise, length, "it does not decay"
        before, knee = knee, (10 * np.log10(floor) - level) / slope
        # Where the line comes down to the "noise" only in the window that this was measured in, it was the decay.
        if noise <= depth or knee > length - window:
            noise, knee = 0.0, float(length)
            floor = max(10 ** ((level + slope * length) / 10), depth)
        elif knee <= 0:
            return None, noise, length, "it begins at the level of its noise"
        else:
            noise = floor = _mean(total, min(round(knee - MARGIN_DB / slope), length - window), length)
        if before is not None and abs(knee - before) < 1e-3 * length:
            break
        width = max(1, min(round(-10 / slope / INTERVALS), length // FEWEST))
        most = floor * 10 ** ((MARGIN_DB + LATE_DB) / 10)
    return line, noise, min(round(knee), length), None


def _fit_in_shorter(total: np.ndarray, width: int, noise: float, least: float, most: float):
    """`_fit` over intervals as long as `width`, or the longest shorter ones of which there are enough."""
    line = _fit(total, width, noise, least, most)
    while line is None and width > 1:
        width //= 2
        line = _fit(total, width, noise, least, most)
    return line


def _fit(total: np.ndarray, width: int, noise: float, least: float, most: float) -> tuple[float, float] | None:
    """A line through the levels of intervals, from where they stay below `most` until they come to `least`.

    Returns:
        dB at the first sample, dB a sample; None where there are too few intervals.
    """
    edges = np.arange(0, len(total), width)
    power = np.diff(total[edges]) / width
    peak = int(power.argmax())
    fallen = np.flatnonzero(power[peak:] <= least)
    last = peak + int(fallen[0]) if fallen.size else len(power)
    above = np.flatnonzero(power[peak:last] > most)
    first = peak + int(above[-1]) + 1 if above.size else peak
    used = np.arange(first, last)
    used = used[power[used] > noise]
    if len(used) < FEWEST:
        return None
    middles = (used + 0.5) * width - 0.5
    slope = float(np.polyfit(middles, 10 * np.log10(power[used] - noise), 1)[0])
    # The mean of logarithms lies below the logarithm of the mean, by an unknown amount: the level is the one that has
    # the energy of the part.
    begin, stop = int(edges[first]), int(edges[last])
    energy = total[stop] - total[begin] - noise * (stop - begin)
    ratio = slope * np.log(10) / 10
    if not energy > 0:
        return None
    # Of a geometric series that begins with 1 at `begin`, so that it cannot overflow.
    series = np.expm1(ratio * (stop - begin)) / np.expm1(ratio) if ratio else stop - begin
    return float(10 * np.log10(energy / series) - slope * begin), slope


def _mean(total: np.ndarray, start: int, stop: int) -> float:
    return max(float(total[stop] - total[start]), 0.0) / (stop - start)
