"""The cumulative spectral decay against closed forms."""

import numpy as np
import pytest

from longconv_audio.plotting.waterfalls import LONGEST_SECONDS, waterfall

RATE = 16000
EDGES = np.geomspace(100, 8000, 51)


def test_an_exponential_falls_at_its_rate_at_all_frequencies():
    time = np.arange(RATE) / RATE
    h = np.stack([10 ** (-3 * time / 0.2)] * 2)
    found = waterfall(h, RATE, EDGES, slices=11)
    assert np.allclose(found.times, np.arange(11) * 0.1 * (2 / 3) * 0.2, atol=1e-4)
    assert found.levels.shape == (11, 50)
    assert found.levels[0].max() == 0
    # From the second on, each slice is the one before a tenth of 40 dB later.
    assert np.abs(np.diff(found.levels[1:], axis=0) + 4).max() < 0.2


def test_a_resonance_outlasts_the_rest():
    time = np.arange(RATE) / RATE
    h = np.exp(-time / 0.02) * np.sin(2 * np.pi * 1000 * time)
    h[0] = 5.0
    found = waterfall(h[None], RATE, EDGES, smoothing=12, span=0.05, slices=6)
    assert found.frequencies[found.levels[-1].argmax()] == pytest.approx(1000, rel=0.06)
    # 20 ms is 8.7 dB.
    assert found.levels[5].max() - found.levels[3].max() == pytest.approx(-8.686, abs=0.3)
    assert found.levels[0].min() - found.levels[1].min() > 10


def test_time_zero_is_the_largest_tap_and_the_span_follows_the_decay():
    time = np.arange(2 * RATE) / RATE
    h = np.concatenate([np.zeros(300), 10 ** (-3 * time / 0.3)])[None]
    found = waterfall(h, RATE, EDGES)
    assert found.times[-1] == pytest.approx(0.2, abs=0.001)  # 40 dB of 60 in 0.3 s
    assert np.allclose(found.levels, waterfall(h[:, 300:], RATE, EDGES).levels, atol=1e-6)


def test_short_silent_and_endless(rng):
    one = waterfall(np.ones((1, 1)), RATE, EDGES)
    assert np.allclose(one.levels[0], 0)
    assert one.levels[-1].max() < -100
    assert np.all(waterfall(np.zeros((2, 9)), RATE, EDGES).levels == -200)
    endless = waterfall(rng.standard_normal((1, 12 * 1000)), 1000, np.geomspace(5, 500, 20), slices=4)
    assert endless.times[-1] <= LONGEST_SECONDS
    assert np.all(np.isfinite(endless.levels))
