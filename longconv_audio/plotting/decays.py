"""The energy decay curve, as it is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from longconv_audio.filters.decay import decay_of, energy_decay_curve


@dataclass(frozen=True)
class DecayCurve:
    """An energy decay curve with Lundeby's cut.

    Args:
        times: (points,), in seconds from the first tap.
        whole: (points,), backward integration of all that is there, in dB of its energy.
        freed: (points,), the same without the noise, to the cut; -inf behind it. None where no noise ends the decay.
        cut: where the decay meets the noise, (seconds, dB); None likewise.
        t60: of the late decay, in seconds; None where there is no line.
    """

    times: np.ndarray
    whole: np.ndarray
    freed: np.ndarray | None
    cut: tuple[float, float] | None
    t60: float | None


def decay_curve(h: np.ndarray, samplerate: int, points: int = 2000) -> DecayCurve:
    """The energy decay curve of one channel.

    Args:
        h: (taps,).
        samplerate: in hertz.
        points: of the curve; every tap where there are fewer.
    """
    decay = decay_of(h, samplerate)
    places = np.unique(np.linspace(0, h.size - 1, points).astype(int))
    times, whole = places / samplerate, energy_decay_curve(h)[places]
    if decay.t60 is None or not np.isfinite(decay.noise_db):
        return DecayCurve(times, whole, None, None, decay.t60)
    freed = energy_decay_curve(h, decay)
    last = max(decay.knee - 1, 0)
    return DecayCurve(times, whole, freed[places], (last / samplerate, float(freed[last])), decay.t60)
