"""Clocks that differ: by how much, and recordings on the other's clock."""

import numpy as np
import pytest

from longconv_audio.filters import Sweep, deconvolve
from longconv_audio.filters.drift import on_players_clock
from tests.filters.measuring import RATE, decay, drifted, error_db, played


@pytest.fixture
def room(rng):
    return decay(rng)


@pytest.mark.parametrize("ppm", [100.0, -43.0])
def test_drift_between_repeats_is_found_and_taken_out(room, ppm):
    sweep = Sweep(RATE, start=14, end=7000, seconds=3, after=0.7, before=0.2, repeats=2)
    y = drifted(played(sweep, room), ppm * 1e-6)
    assert error_db(deconvolve(y, RATE, sweep, drift="none"), room) > -10
    found = deconvolve(y, RATE, sweep)
    assert found.drift_by == "repeats"
    assert abs(found.drift_ppm - ppm) < 1e-3
    assert error_db(found, room) < -60
    assert error_db(deconvolve(y, RATE, sweep, drift=ppm), room) < -60


def test_drift_within_one_sweep(room, rng):
    sweep = Sweep(RATE, start=14, end=7000, seconds=6, after=0.7)
    y = drifted(played(sweep, room), 100e-6)
    found = deconvolve(y + 1e-4 * rng.standard_normal(len(y)), RATE, sweep)
    assert found.drift_by == "compactness"
    assert abs(found.drift_ppm - 100) < 0.05
    assert error_db(found, room) < -45
    # What is left is a delay of a few thousandths of a sample, which the start of a sweep does not fix any better.
    assert min(error_db(found, room, delay=delay) for delay in np.linspace(-0.005, 0.005, 21)) < -60
    assert error_db(deconvolve(y, RATE, sweep, drift="none"), room) > -10
    # Equal clocks, and a signal whose schedule is not known: nothing is made up.
    assert deconvolve(played(sweep, room), RATE, sweep).drift_ppm is None


def test_resampling_to_the_players_clock():
    t = np.arange(40_000)
    for ppm in (300, -20):
        tone = np.sin(2 * np.pi * 0.3 * t / (1 + ppm * 1e-6))
        found = on_players_clock(tone[None], ppm * 1e-6)[0, 1000:38_000]
        assert np.abs(found - np.sin(2 * np.pi * 0.3 * t[1000:38_000])).max() < 1e-4
