"""The energy decay curve of a picture."""

import numpy as np
import pytest

from longconv_audio.plotting.decays import decay_curve

RATE = 8000


def test_an_exponential_is_a_line_without_a_cut():
    time = np.arange(2 * RATE) / RATE
    curve = decay_curve(10 ** (-3 * time / 0.5), RATE)
    assert curve.cut is None
    assert curve.freed is None
    assert curve.t60 == pytest.approx(0.5, rel=1e-3)
    early = curve.times < 1
    assert np.abs(curve.whole + 60 * curve.times / 0.5)[early].max() < 0.01
    assert curve.times.size <= 2000


def test_noise_is_cut_where_it_meets_the_decay(rng):
    time = np.arange(2 * RATE) / RATE
    h = rng.standard_normal(time.size) * 10 ** (-3 * time / 0.5) + 1e-2 * rng.standard_normal(time.size)
    curve = decay_curve(h, RATE)
    # 60 dB in half a second: 40 dB in a third.
    assert curve.cut[0] == pytest.approx(1 / 3, abs=0.05)
    assert curve.cut[1] == pytest.approx(-40, abs=4)
    before = curve.times < 0.25
    assert np.abs(curve.freed + 60 * curve.times / 0.5)[before].max() < 1.5
    assert np.all(curve.freed[curve.times > curve.cut[0]] == -np.inf)
    assert curve.whole[np.searchsorted(curve.times, 1.0)] > -35


@pytest.mark.parametrize("h", [np.ones(1), np.zeros(5)])
def test_what_does_not_decay(h):
    curve = decay_curve(h, RATE)
    assert curve.times.size == h.size
    assert curve.t60 is None
    assert curve.cut is None
