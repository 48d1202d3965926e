"""Minimum phase: the same magnitude, the least delay."""

import numpy as np
import pytest
import scipy.signal
import scipy.special

from longconv_audio.filters import minimum_phase
from longconv_audio.filters.phase import (
    minimum_phase_of_magnitude,
    mixed_latency,
    mixed_phase,
    mixed_phase_of_magnitude,
)


def decaying(rng, *shape):
    return rng.standard_normal(shape) * np.exp(-np.arange(shape[-1]) / (shape[-1] / 10))


def test_a_minimum_phase_filter_is_itself(rng):
    # Zeros inside the circle, by construction.
    zeros = 0.95 * rng.random(6) * np.exp(1j * np.pi * rng.random(6))
    h = np.real(np.poly(np.concatenate([zeros, zeros.conj()])))
    assert np.abs(minimum_phase(h) - h).max() < 1e-12
    assert np.abs(minimum_phase(h[::-1]) - h).max() < 1e-12


@pytest.mark.parametrize("taps", [31, 200, 5000])
def test_is_scipys(taps, rng):
    h = decaying(rng, taps)
    theirs = scipy.signal.minimum_phase(h, n_fft=max(8 * taps, 4096), half=False)
    assert np.linalg.norm(minimum_phase(h) - theirs) < 1e-4 * np.linalg.norm(h)


def test_long_filters_keep_their_magnitude(rng):
    h = decaying(rng, 2, 200_000)
    found = minimum_phase(h)
    assert found.shape == h.shape
    wanted = np.abs(np.fft.rfft(h, 1 << 19))
    error = np.abs(np.fft.rfft(found, 1 << 19)) - wanted
    assert np.linalg.norm(error) < 1e-3 * np.linalg.norm(wanted)
    # No filter of this magnitude has more of its energy early.
    assert (np.cumsum(found**2, -1) >= np.cumsum(h**2, -1) - 1e-5 * np.sum(h**2, -1, keepdims=True)).all()


def test_a_mix_of_phases_between_two_known_ones(rng):
    """Of (1 + a / z) of minimum phase the share of mix goes before time zero: (1 + a z)^(mix / 2) in each direction."""
    n = np.arange(400)
    a, mix, size = 0.7, 0.4, 4096
    magnitude = np.abs(np.fft.rfft([1, a], size))
    found = mixed_phase_of_magnitude(magnitude, 801, mix)
    at = mixed_latency(mix, 801)
    before = np.array([scipy.special.binom(mix / 2, k) * a**k for k in n])
    after = np.array([scipy.special.binom(1 - mix / 2, k) * a**k for k in n])
    closed = np.convolve(before[::-1], after)[399 - 200 : 399 + 200]
    assert np.abs(found[at - 200 : at + 200] - closed).max() < 1e-12
    h = decaying(rng, 2, 3000)
    assert np.abs(mixed_phase(h, 0.0) - minimum_phase(h)).max() < 1e-15
    # Without delay, and so in the middle, at the other end; twice as long, for what a random phase does not need.
    wanted = np.abs(np.fft.rfft(h, 1 << 16))
    flat = mixed_phase(h, 1.0, 24_001)
    assert np.abs(flat - flat[:, ::-1]).max() < 1e-3 * np.abs(flat).max()
    error = np.abs(np.fft.rfft(flat, 1 << 16)) - wanted
    assert np.linalg.norm(error) < 0.03 * np.linalg.norm(wanted)


def test_a_floor_lets_go_of_zeros():
    """Those on the circle cost the magnitude beside them; the closed form has them where they were."""
    h = np.convolve([1.0, 0.0, 1.0], [1.0, 0.5])
    assert np.abs(minimum_phase(h) - h).max() < 1e-2
    floored = np.abs(np.fft.rfft(minimum_phase(h, 64, floor_db=-40), 4096))
    assert 20 * np.log10(floored.min() / floored.max()) == pytest.approx(-40, abs=1)


def test_refusals():
    with pytest.raises(ValueError, match=r"mix=1\.1: expected 0"):
        mixed_phase(np.ones(5), 1.1)
    for h in (np.zeros(0), np.zeros(5), np.array([[1.0, 0.0], [0.0, 0.0]])):
        with pytest.raises(ValueError, match="each channel"):
            minimum_phase(h)
    with pytest.raises(ValueError, match="expected 1 to 16"):
        minimum_phase_of_magnitude(np.ones(9), 17)
