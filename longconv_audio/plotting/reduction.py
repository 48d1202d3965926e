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


def log_columns(frequencies: np.ndarray, values: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest value in each of some columns of a log frequency axis.

    A column that covers several bins has the extremes of these, so that no peak or notch is lost at the top of the
    axis; one that lies between bins is interpolated at its middle.

    Args:
        frequencies: (bins,), at least 2, rising, in hertz.
        values: (..., bins); NaN is left out where there is anything else.
        edges: (columns + 1,), rising, in hertz.

    Returns:
        (minima, maxima), each (..., columns).
    """
    middles = np.sqrt(edges[:-1] * edges[1:])
    position = np.interp(middles, frequencies, np.arange(frequencies.size))
    below = np.minimum(position.astype(int), frequencies.size - 2)
    part = position - below
    between = (1 - part) * values[..., below] + part * values[..., below + 1]
    first, last = np.searchsorted(frequencies, edges[:-1]), np.searchsorted(frequencies, edges[1:])
    several = np.flatnonzero(last - first > 1)
    if not several.size:
        return between, between.copy()
    # Each pair of places is a column and what lies between it and the next, which is not looked at.
    places = np.stack([first[several], last[several]], axis=-1).ravel()
    padded = np.concatenate([values, np.full((*values.shape[:-1], 1), np.nan)], axis=-1)
    low, high = between, between.copy()
    low[..., several] = np.fmin.reduceat(padded, places, axis=-1)[..., ::2]
    high[..., several] = np.fmax.reduceat(padded, places, axis=-1)[..., ::2]
    return low, high
