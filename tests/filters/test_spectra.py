"""Responses, smoothing, bands, and the summary of a filter."""

import itertools

import numpy as np
import pytest

from longconv_audio.filters import frequency_response, octave_bands, smooth_octaves, split_octaves, summarize
from longconv_audio.filters.bands import octave_weights
from longconv_audio.filters.spectra import mean_over_octaves, peak_gain, response_at


def test_response_of_two_taps():
    frequencies, response = frequency_response(np.array([1.0, 1.0]), 8000, 8)
    assert frequencies.tolist() == [0, 1000, 2000, 3000, 4000]
    assert (
        np.abs(response - 2 * np.cos(np.pi * frequencies / 8000) * np.exp(-1j * np.pi * frequencies / 8000)).max()
        < 1e-15
    )
    with pytest.raises(ValueError, match="at least as many"):
        frequency_response(np.ones(9), 8000, 8)


def test_smoothing_is_the_mean_power_of_a_window(rng):
    frequencies = np.arange(4001.0)
    magnitude = 1 + np.abs(rng.standard_normal((2, 4001)))
    found = smooth_octaves(frequencies, magnitude, 3)
    fine = np.repeat(magnitude**2, 1000, axis=-1)  # piecewise constant, a thousand pieces a bin
    for bin in (1, 10, 500, 3000):
        low, high = (bin * 2 ** (s / 6) + 0.5 for s in (-1, 1))
        if high - low < 1:
            low, high = bin, bin + 1
        expected = np.sqrt(fine[:, round(1000 * low) : round(1000 * high)].mean(-1))
        assert np.abs(found[:, bin] / expected - 1).max() < 2e-3
    assert np.abs(smooth_octaves(frequencies, np.full(4001, 3.0), 6) - 3).max() < 1e-9


def test_bands_have_their_names_and_meet():
    octaves = octave_bands(1, 20, 20_000)
    assert [b.name for b in octaves] == ["31.5", "63", "125", "250", "500", "1k", "2k", "4k", "8k", "16k"]
    thirds = octave_bands(3, 20, 20_000)
    assert len(thirds) == 31
    assert [b.name for b in thirds[::5]] == ["20", "63", "200", "630", "2k", "6.3k", "20k"]
    for bands in (octaves, thirds):
        for one, other in itertools.pairwise(bands):
            assert np.isclose(one.high, other.low, rtol=1e-12)
        assert all(
            abs(float(b.name.replace("k", "")) * (1000 if "k" in b.name else 1) / b.centre - 1) < 0.02 for b in bands
        )


def test_parts_add_up_and_hold_their_octave(rng):
    bands = octave_bands(1, 63, 16_000)
    h = rng.standard_normal((2, 9000))
    parts = split_octaves(h, 48_000, bands)
    assert parts.shape == (9, 2, 9000)
    assert np.abs(parts.sum(0) - h).max() < 1e-12
    t = np.arange(48_000) / 48_000
    for i, band in enumerate(bands):
        levels = np.linalg.norm(
            split_octaves(np.sin(2 * np.pi * band.centre * t) * np.hanning(48_000), 48_000, bands), axis=-1
        )
        assert levels[i] > 0.999 * np.linalg.norm(levels)


def test_summary():
    h = np.zeros((2, 100))
    h[1, 30] = -2.0
    found = summarize(h, 50_000)
    assert (found.channels, found.taps, found.latency_samples, found.latency_ms, found.seconds) == (
        2,
        100,
        30,
        0.6,
        0.002,
    )
    assert np.isclose(found.peak_gain_db, 20 * np.log10(2))
    assert summarize(h, 50_000, 12.5).latency_samples == 12.5


@pytest.mark.parametrize("taps", [1, 2, 3, 101, 1000, 4999])
@pytest.mark.parametrize("part", [0.1, 0.25, 0.4])
def test_the_largest_gain_lies_between_the_points_of_a_grid(taps, part):
    # A tone, whose response is a lobe as narrow as so many taps have.
    frequency = (taps // 8 + part) / (4 * taps)
    h = np.stack([np.zeros(taps), np.cos(2 * np.pi * frequency * np.arange(taps) + part)])
    dense = np.linspace(max(frequency - 1 / taps, 0), min(frequency + 1 / taps, 0.5), 4001)
    magnitude = np.abs(response_at(h[1], 1.0, dense))
    gain, found = peak_gain(h, 1.0)
    assert abs(20 * np.log10(gain / magnitude.max())) < 0.05
    assert abs(20 * np.log10(np.abs(response_at(h[1], 1.0, [found]))[0] / magnitude.max())) < 0.05
    assert summarize(1e-200 * h, 1).peak_gain_db == pytest.approx(20 * np.log10(gain) - 4000)
    assert peak_gain(0 * h, 1.0) == (0, 0)


def test_the_mean_over_octaves_keeps_phase(rng):
    values = rng.standard_normal(2001) + 1j * rng.standard_normal(2001)
    found = mean_over_octaves(values, 6)
    assert np.allclose(found.real, mean_over_octaves(values.real, 6), atol=1e-12)
    assert np.allclose(found.imag, mean_over_octaves(values.imag, 6), atol=1e-12)
    # An arrival later than the window is long is averaged away, the sooner the higher the frequency.
    late = np.abs(mean_over_octaves(np.exp(-2j * np.pi * np.arange(2001) / 50), 6))
    assert late[20] > 0.9
    assert late[1000] < 0.2


def test_bands_that_overlap_less():
    bands = octave_bands(1, 250, 4000)
    frequencies = np.linspace(0, 8000, 4001)
    weights = octave_weights(frequencies, bands, 1 / 3)
    assert np.abs(weights.sum(axis=0) - 1).max() < 1e-12
    for band, weight in zip(bands[1:-1], weights[1:-1], strict=True):
        assert (weight[(frequencies > 1.13 * band.low) & (frequencies < band.high / 1.13)] == 1).all()
        assert (weight[(frequencies < band.low / 1.13) | (frequencies > 1.13 * band.high)] == 0).all()
        assert weight[np.abs(frequencies - band.low).argmin()] == pytest.approx(0.5, abs=0.02)
