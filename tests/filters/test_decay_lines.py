"""The line of a decay: of one that is known, in noise that is known."""

import math

import numpy as np
import pytest

from longconv_audio.filters.decay_lines import fit_line

RATE = 48_000


def decaying(rng, t60, noise, seconds=1.5):
    time = np.arange(round(seconds * RATE)) / RATE
    return rng.standard_normal(time.size) * 10 ** (-3 * time / t60) + noise * rng.standard_normal(time.size)


def test_level_rate_noise_and_knee(rng):
    line = fit_line(decaying(rng, 0.6, 1e-2), RATE, 0)
    assert 6 * math.log(10) / (line.rate * RATE) == pytest.approx(0.6, rel=0.02)
    assert 10 * math.log10(line.level) == pytest.approx(0, abs=0.5)
    assert line.noise == pytest.approx(1e-4, rel=0.05)
    # 40 dB above the noise: the knee is where 40 of 60 dB have gone.
    assert line.knee == pytest.approx(0.6 * 40 / 60 * RATE, rel=0.02)
    assert line.above_noise(20) == pytest.approx(0.5 * line.knee, rel=0.02)
    assert line.power(np.array([line.knee]))[0] == pytest.approx(line.noise, rel=1e-3)
    assert not line.done(5e-5)
    assert line.done(2e-4)


def test_of_two_decays_the_later(rng):
    # Coupled rooms: 0.5 s, and from -30 dB on 2 s, down to noise at -60 dB.
    time = np.arange(3 * RATE) / RATE
    power = 10 ** (-6 * time / 0.5) + 1e-3 * 10 ** (-6 * time / 2.0)
    h = rng.standard_normal(time.size) * np.sqrt(power) + 1e-3 * rng.standard_normal(time.size)
    line = fit_line(h, RATE, 0)
    assert 6 * math.log(10) / (line.rate * RATE) == pytest.approx(2.0, rel=0.1)
    assert line.knee == pytest.approx(RATE, rel=0.05)


def test_without_noise(rng):
    h = decaying(rng, 0.6, 0)
    line = fit_line(h, RATE, 0)
    assert line.noise == 0
    assert line.knee == h.size
    assert 6 * math.log(10) / (line.rate * RATE) == pytest.approx(0.6, rel=0.02)
    assert fit_line(h, RATE, 0, deepest_db=30).knee == pytest.approx(0.3 * RATE, rel=0.02)


def test_of_an_exact_exponential():
    time = np.arange(RATE) / RATE
    line = fit_line(10 ** (-3 * time / 0.5), RATE, 0)
    assert 6 * math.log(10) / (line.rate * RATE) == pytest.approx(0.5, rel=1e-3)
    assert line.level == pytest.approx(1, rel=1e-2)


def test_noise_has_none():
    for seed in range(10):
        assert fit_line(np.random.default_rng(seed).standard_normal(RATE), RATE, 0) is None
