"""The decay of an impulse response, as it is drawn."""

from __future__ import annotations

import numpy as np


def energy_decay_curve(h: np.ndarray) -> np.ndarray:
    """How much of an impulse response's energy is still to come, in dB of the whole.

    Backward integration: M. R. Schroeder, "New Method of Measuring Reverberation Time", JASA 37(3), 1965.

    Args:
        h: (taps,), or (channels, taps), whose energies are added.

    Returns:
        (taps,): 0 dB at the start, -inf from where only zeros follow.
    """
    energy = np.sum(np.abs(np.atleast_2d(h)) ** 2, axis=0, dtype=np.float64)  # (taps,)
    remaining = np.cumsum(energy[::-1])[::-1]
    curve = np.full(remaining.shape, -np.inf)
    np.log10(remaining / (remaining[:1] + (remaining[:1] == 0)), out=curve, where=remaining > 0)
    return 10 * curve
