"""Levels in decibels, clipping, and a limiter."""

from __future__ import annotations

import math

import numpy as np

from .functional import oaconvolve

# Beyond full scale by this much is clipped; less is the rounding of single precision.
FULL_SCALE = 1.0 + 1e-6

LOOKAHEAD_SECONDS = 0.005
RELEASE_SECONDS = 0.1


def to_db(gain: float) -> float:
    """A linear gain in dB; minus infinity for 0.

    >>> to_db(10.0)
    20.0
    """
    return 20 * math.log10(gain) if gain > 0 else -math.inf


def from_db(level: float) -> float:
    """A level in dB as a linear gain.

    >>> from_db(-20.0)
    0.1
    """
    return 10.0 ** (level / 20)


def peak(x: np.ndarray) -> float:
    """The largest magnitude, 0 for no samples; NaN where one is NaN."""
    return float(max(x.max(), -x.min())) if x.size else 0.0


def count_clipped(x: np.ndarray) -> int:
    """The samples beyond full scale."""
    return int(np.count_nonzero(np.abs(x) > FULL_SCALE))


class Limiter:
    """Turns the gain down ahead of every peak beyond full scale, the same for all channels, and lets it recover.

    What is beyond full scale leaves at the ceiling or below it: the gain is a weighted mean, over the look-ahead, of
    gains that each hold that sample there. It recovers exponentially. A sample within full scale asks for nothing,
    even between the ceiling and full scale.

    Args:
        channels: of the signal.
        samplerate: hertz.
        ceiling: the magnitude that peaks are turned down to.

    Attributes:
        lowest_gain: the deepest reduction so far, linear.
        limited: samples turned down so far, counted in frames.
    """

    def __init__(self, channels: int, samplerate: int, ceiling: float = 1.0):
        self._ahead = max(round(LOOKAHEAD_SECONDS * samplerate), 1)
        self._recovery = 1 / (RELEASE_SECONDS * samplerate)
        self._ceiling = ceiling
        window = np.hanning(self._ahead + 3)[1:-1]
        self._window = window / window.sum()
        self._waiting = np.zeros((channels, 0))
        # The required gain, recovery included, of the look-ahead behind the waiting samples.
        self._required = np.ones(self._ahead)
        self._debt = -np.inf  # log of the reduction that the last sample still asks for
        self.lowest_gain, self.limited = 1.0, 0

    def process(self, x: np.ndarray) -> np.ndarray:
        """Takes `(channels, n)`; returns what no later sample can turn down any more."""
        return self._advance(x)

    def flush(self) -> np.ndarray:
        """The samples held back, at the end of the signal."""
        return self._advance(np.zeros((len(self._waiting), self._ahead)))

    def _advance(self, x: np.ndarray) -> np.ndarray:
        samples = np.concatenate([self._waiting, x], axis=1)
        self._required = np.concatenate([self._required, self._recovering(x)])
        ready = max(samples.shape[1] - self._ahead, 0)
        self._waiting = samples[:, ready:]
        if not ready:
            return samples[:, :0]
        # required[j] belongs to sample j - ahead; the least over a window from j reaches to sample j.
        least = _sliding_least(self._required, self._ahead + 1)[: ready + self._ahead]
        gain = np.minimum(oaconvolve(least, self._window, mode="valid"), 1.0)[:ready]
        self._required = self._required[ready:]
        self.lowest_gain = min(self.lowest_gain, float(gain.min()))
        self.limited += int(np.count_nonzero(gain < 1 - 1e-9))
        samples = samples[:, :ready]
        # Rounding may leave a sample a hair above.
        bound = np.where(np.abs(samples) > FULL_SCALE, self._ceiling, 1.0)
        return np.clip(samples * gain, -bound, bound).astype(x.dtype, copy=False)

    def _recovering(self, x: np.ndarray) -> np.ndarray:
        """The gain each sample needs, or what recovers from the samples before, whichever is less.

        The reduction decays as exp(-recovery * n): the largest of all decaying reductions is a running maximum of
        their logarithms once the decay is taken out.
        """
        magnitude = np.abs(x).max(axis=0) if len(x) else np.zeros(x.shape[1])
        reduction = np.where(magnitude > FULL_SCALE, 1 - self._ceiling / np.maximum(magnitude, 1.0), 0.0)
        n = np.arange(1, len(reduction) + 1)
        with np.errstate(divide="ignore"):
            logs = np.log(reduction)
        logs = np.maximum.accumulate(np.concatenate([[self._debt], logs + self._recovery * n]))[1:] - self._recovery * n
        if len(logs):
            self._debt = logs[-1]
        return 1 - np.exp(logs)


def _sliding_least(x: np.ndarray, width: int) -> np.ndarray:
    """The least of each `width` values in a row (van Herk 1992): two running minima over blocks of the width."""
    count = len(x) - width + 1
    blocks = np.concatenate([x, np.full(-len(x) % width, np.inf)]).reshape(-1, width)
    forth = np.minimum.accumulate(blocks, axis=1).reshape(-1)
    back = np.minimum.accumulate(blocks[:, ::-1], axis=1)[:, ::-1].reshape(-1)
    return np.minimum(back[:count], forth[width - 1 : width - 1 + count])
