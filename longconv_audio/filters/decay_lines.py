"""The straight line of a decay in dB, fitted by likelihood to as much of it as there is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .decay import decay_of, energy_decay_curve

# What is fitted reaches so far up from the noise.
SPAN_DB = 35.0
# The last of it, where decays of two rates would show, as in coupled rooms; and how many standard errors count.
LATE_DB, CERTAIN = 18.0, 3.0
# Where there is no noise, it ends so far below the whole: deeper, a band holds what its filter rings on.
DEEPEST_DB = 65.0
# Intervals for each 10 dB of the decay.
INTERVALS = 6
ROUNDS = 30


@dataclass(frozen=True)
class Line:
    """A decay of mean square `level * exp(-rate * (sample - start))` in noise.

    Args:
        start: the sample that the decay begins at.
        level: mean square there.
        rate: in nepers of power a sample.
        noise: the noise's mean square, 0 where the response ends before it is met.
        knee: the sample where the line meets the noise, or where the response ends.
        last: the mean square of the last tenth of the response.
    """

    start: int
    level: float
    rate: float
    noise: float
    knee: int
    last: float

    def done(self, least: float) -> bool:
        """Whether the response itself comes down to a mean square at its end."""
        return self.last <= least

    def power(self, samples: np.ndarray) -> np.ndarray:
        """The mean square of the decay alone at each sample; ahead of its start, what it has there."""
        return self.level * np.exp(-self.rate * np.maximum(samples - self.start, 0))

    def above_noise(self, level_db: float) -> int:
        """The sample where it is so far above its power at the knee, not before its start."""
        return max(self.start, self.knee - _samples(level_db, self.rate))


def fit_line(h: np.ndarray, samplerate: float, start: int, deepest_db: float | None = None) -> Line | None:
    """The line of one band's decay; None where it cannot be told from the noise.

    Args:
        h: (taps,), of one band.
        samplerate: in hertz.
        start: where the decay begins.
        deepest_db: where there is no noise, the knee is where the line has fallen by this much; None: the end.

    The line is that of the last 35 dB above the noise, or of the last 18 where these fall at another rate, by more than
    chance has it: the decay that goes on below the noise. The noise is that of `decay_of`.

    The power of an interval of Gaussian noise has a gamma distribution about its mean: level and rate are the ones of
    greatest likelihood, found by Fisher scoring (P. McCullagh, J. A. Nelder, "Generalized Linear Models").
    """
    found = decay_of(h, samplerate, start)
    if found.t60 is None:
        return None
    noise = 10 ** (found.noise_db / 10)
    level, rate = 10 ** (found.level_db / 10), 6 * math.log(10) / (found.t60 * samplerate)
    if noise:
        first, last = max(found.knee - _samples(SPAN_DB, rate), start), len(h)
    else:
        curve = energy_decay_curve(h[start:])
        last = int(np.argmax(curve <= -DEEPEST_DB))
        first = int(np.argmax(curve <= curve[last] + SPAN_DB)) if math.isfinite(curve[last]) else 0
        if last - first < 2:
            return None
        rate = -np.polyfit(np.arange(first, last), curve[first:last], 1)[0] * math.log(10) / 10
        first, last = start + first, start + last
        if not rate > 0:
            return None
        level = np.mean(h[first:last] ** 2) * math.exp(rate * ((first + last) / 2 - start))
    level, rate, _ = _most_likely(h[first:last] ** 2, level, rate, noise, first - start)
    if noise and rate > 0 and level > noise:
        first = max(start + _samples(10 * math.log10(level / noise) - LATE_DB, rate), start)
        late_level, late_rate, error = _most_likely(h[first:] ** 2, level, rate, noise, first - start)
        if late_rate > 0 and abs(late_rate - rate) > CERTAIN * error:
            level, rate = late_level, late_rate
    # A line that begins far above the largest sample, or less than 10 dB above the noise, is a chance of that noise.
    if not (rate > 0 and 10 * noise <= level <= 100 * np.max(h[start:] ** 2)):
        return None
    if noise:
        knee = start + math.ceil(math.log(max(level / noise, 1.0)) / rate)
    else:
        knee = len(h) if deepest_db is None else start + _samples(deepest_db, rate)
    return Line(start, level, rate, noise, min(knee, len(h)), float(np.mean(h[-max(len(h) // 10, 1) :] ** 2)))


def _samples(fall_db: float, rate: float) -> int:
    return round(fall_db * math.log(10) / 10 / rate)


def _most_likely(energy: np.ndarray, level: float, rate: float, noise: float, first: int) -> tuple[float, float, float]:
    """The decay whose energy from sample `first` on is given.

    Returns:
        its level at sample 0, its rate, and the rate's standard error. The estimates that were given, and an error
        without end, where there is too little.
    """
    width = max(1, min(_samples(10, rate) // INTERVALS, len(energy) // INTERVALS))
    count = len(energy) // width
    if count < INTERVALS:
        return level, rate, math.inf
    power = energy[: count * width].reshape(count, width).mean(axis=1)
    middles = first + (np.arange(count) + 0.5) * width - 0.5
    # Centred, so that level and rate are told apart well.
    centre = middles.mean()
    logarithm = math.log(level) - rate * centre
    for _ in range(ROUNDS):
        decay = np.exp(np.clip(logarithm - rate * (middles - centre), -700, 700))
        mean = decay + noise
        slopes = np.stack([decay / mean, -(middles - centre) * decay / mean], axis=1)
        step, *_ = np.linalg.lstsq(slopes, power / mean - 1, rcond=None)
        most = np.abs(step @ slopes.T).max(initial=0.0)
        step /= max(most, 1.0)
        logarithm, rate = logarithm + step[0], rate + step[1]
        if most < 1e-9:
            break
    spread = np.mean((power / mean - 1) ** 2)
    error = math.sqrt(spread * np.linalg.pinv(slopes.T @ slopes)[1, 1])
    return math.exp(min(logarithm + rate * centre, 700)), rate, error
