"""Minimum phase: the same magnitude, the least delay."""

import numpy as np
import pytest
import scipy.signal

from longconv_audio.filters import minimum_phase
from longconv_audio.filters.phase import minimum_phase_of_magnitude


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


def test_refusals():
    for h in (np.zeros(0), np.zeros(5), np.array([[1.0, 0.0], [0.0, 0.0]])):
        with pytest.raises(ValueError, match="each channel"):
            minimum_phase(h)
    with pytest.raises(ValueError, match="expected 1 to 16"):
        minimum_phase_of_magnitude(np.ones(9), 17)
