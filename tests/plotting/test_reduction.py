"""Columns of a log frequency axis."""

import itertools

import numpy as np

from longconv_audio.plotting.reduction import log_columns


def test_columns_have_the_extremes_of_their_bins(rng):
    frequencies = np.arange(2001.0)
    values = rng.standard_normal((2, 2001))
    edges = np.geomspace(20, 2000, 60)
    low, high = log_columns(frequencies, values, edges)
    assert low.shape == high.shape == (2, 59)
    for column, (first, last) in enumerate(itertools.pairwise(edges)):
        inside = (frequencies >= first) & (frequencies < last)
        if inside.sum() > 1:
            assert np.array_equal(low[:, column], values[:, inside].min(-1))
            assert np.array_equal(high[:, column], values[:, inside].max(-1))


def test_columns_between_bins_are_interpolated():
    frequencies = 100.0 * np.arange(11)
    low, high = log_columns(frequencies, 3 * frequencies, np.geomspace(110, 190, 30))
    assert np.allclose(low, 3 * np.sqrt(np.geomspace(110, 190, 30)[:-1] * np.geomspace(110, 190, 30)[1:]))
    assert np.array_equal(low, high)


def test_nan_counts_only_where_there_is_nothing_else():
    values = np.array([np.nan] * 6 + [1.0, np.nan, 3.0, np.nan, np.nan])
    low, high = log_columns(np.arange(11.0), values, np.array([2.0, 5.0, 10.0]))
    assert np.isnan(low[0])
    assert (low[1], high[1]) == (1, 3)
