"""Recordings that were clipped on their way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Equal samples in a row at the extreme: two happen by themselves.
RUN = 3

# Of the extreme: what a converter's rounding spreads.
TOLERANCE = 1e-6

# In steps of the sample format, or in tolerances: a smooth peak that is flat for 3 samples falls by fewer beside them.
STEPS = 10


@dataclass(frozen=True)
class Clipping:
    """Clipped samples of a channel.

    Args:
        channel: from 1.
        samples: how many stand in flat tops.
        first_seconds: where the first is.
        level: the magnitude they stand at; 1 is full scale.
    """

    channel: int
    samples: int
    first_seconds: float
    level: float


def find_clipping(recording: np.ndarray, samplerate: float) -> list[Clipping]:
    """Finds flat tops: runs of 3 samples or more at full scale, or at a largest value below it.

    A top counts where the signal falls off beside it by more than a rounded smooth peak would: low tones in 16 bits
    have flat tops, too. What was filtered or resampled after clipping is not found.

    Args:
        recording: (channels, samples).
        samplerate: in hertz.

    Returns:
        one item for each channel that has any.
    """
    found = []
    for number, x in enumerate(np.atleast_2d(recording), 1):
        clipped = np.zeros(len(x), dtype=bool)
        for y in (x, -x):
            clipped |= _flat_tops(y)
        if clipped.any():
            first = int(clipped.argmax())
            found.append(Clipping(number, int(clipped.sum()), first / samplerate, float(abs(x[first]))))
    return found


def _flat_tops(x: np.ndarray) -> np.ndarray:
    marks = np.zeros(len(x), dtype=bool)
    extreme = x.max(initial=0.0)
    if not extreme > 0:
        return marks
    at = np.concatenate([[False], x >= extreme * (1 - TOLERANCE), [False]])
    edges = np.flatnonzero(at[1:] != at[:-1])
    begins, ends = edges[::2], edges[1::2]  # of each run; ends are one behind
    long = ends - begins >= RUN
    begins, ends = begins[long], ends[long]
    if not len(begins):
        return marks
    beside = np.minimum(x[np.maximum(begins - 1, 0)], x[np.minimum(ends, len(x) - 1)])
    steep = extreme - beside > STEPS * max(_step(x), TOLERANCE * extreme)
    for begin, end in zip(begins[steep], ends[steep], strict=True):
        marks[begin:end] = True
    return marks


def _step(x: np.ndarray) -> float:
    """The smallest distance between two samples in a row that differ: that of the sample format, or less."""
    distances = np.abs(np.diff(x))
    return float(distances[distances > 0].min(initial=np.inf))
