"""Long data brought down to about as many points as a picture has pixels."""

from __future__ import annotations

import numpy as np


def envelope(x: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest sample in each of `columns` parts of equal length.

    A waveform drawn from these shows every peak, which one drawn from every so many samples does not.

    Args:
        x: (..., samples).
        columns: number of parts; where there are fewer samples, one part a sample.

    Returns:
        (minima, maxima), each (..., min(columns, samples)).
    """
    x = np.asarray(x)
    columns = min(columns, x.shape[-1])
    if columns == 0:
        return x[..., :0], x[..., :0]
    starts = np.arange(columns) * x.shape[-1] // columns
    return np.minimum.reduceat(x, starts, axis=-1), np.maximum.reduceat(x, starts, axis=-1)
