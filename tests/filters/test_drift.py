"""Clocks that differ: by how much, and recordings on the other's clock."""

import re

import numpy as np
import pytest
import scipy.signal

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
    found = deconvolve(y + 1e-4 * rng.standard_normal(len(y)), RATE, sweep, drift="compactness")
    assert found.drift_by == "compactness"
    assert abs(found.drift_ppm - 100) < 0.05
    assert error_db(found, room) < -45
    # What is left is a delay of a few thousandths of a sample, which the start of a sweep does not fix any better.
    assert min(error_db(found, room, delay=delay) for delay in np.linspace(-0.005, 0.005, 21)) < -60
    assert error_db(deconvolve(y, RATE, sweep, drift="none"), room) > -10
    # It is said, and taken out only where that is asked for.
    found = deconvolve(y, RATE, sweep)
    assert found.drift_ppm is None
    (said,) = re.findall(r"looks like about \+(\d+) ppm, and nothing was taken out", " ".join(found.warnings))
    assert abs(int(said) - 100) <= 10
    # Equal clocks: nothing is made up.
    for drift in ("auto", "compactness"):
        found = deconvolve(played(sweep, room), RATE, sweep, drift=drift)
        assert found.drift_ppm is None
        assert not any("drift" in text for text in found.warnings)


@pytest.mark.parametrize("repeats", [1, 2])
def test_the_ways_of_a_crossover_are_no_drift(repeats):
    # Fourth order after Linkwitz and Riley: an all-pass that delays what is low.
    impulse = np.eye(1, RATE // 4)[0]
    ways = [scipy.signal.butter(2, 1000, way, fs=RATE, output="sos") for way in ("lowpass", "highpass")]
    h = sum(scipy.signal.sosfilt(np.concatenate([way, way]), impulse) for way in ways)
    sweep = Sweep(RATE, start=14, end=7000, seconds=3, after=0.7, repeats=repeats)
    found = deconvolve(played(sweep, h), RATE, sweep)
    # The direct sound, by which it is placed, is a few samples late.
    delay = scipy.signal.correlate(found.taps[0], h).argmax() - (len(h) - 1) - found.lead
    assert error_db(found, h, delay=delay) < -60
    assert not found.drift_ppm
    assert sum("drift of clocks from the loudspeaker's" in warning for warning in found.warnings) == 2 - repeats


def test_resampling_to_the_players_clock():
    t = np.arange(40_000)
    for ppm in (300, -20):
        tone = np.sin(2 * np.pi * 0.3 * t / (1 + ppm * 1e-6))
        found = on_players_clock(tone[None], ppm * 1e-6)[0, 1000:38_000]
        assert np.abs(found - np.sin(2 * np.pi * 0.3 * t[1000:38_000])).max() < 1e-4
