"""Equalisers follow their curves."""

import io

import numpy as np
import pytest
import scipy.signal

from longconv_audio.errors import OptionError
from longconv_audio.filters.curves import Curve, read_curve
from longconv_audio.filters.equalization import equalizer, equalizer_latency, measure_curve

RATE = 48_000
POINTS = Curve.of_points([20, 63, 100, 1000, 10_000, 20_000], [5, 0, -6, 0, 3, -3])
BANDS = read_curve(
    io.BytesIO(b"Preamp: -3 dB\nFilter 1: ON PK Fc 63 Hz Gain -5 dB Q 4.32\nFilter 2: ON HSC Fc 8 kHz Gain -4 dB Q 0.7")
)


def levels(h, frequencies):
    n = np.arange(len(h))
    response = np.array([np.exp(-2j * np.pi * f / RATE * n) @ h for f in frequencies])
    return 20 * np.log10(np.abs(response))


@pytest.mark.parametrize("curve", [POINTS, BANDS])
@pytest.mark.parametrize("phase", ["linear", "minimum", "mixed"])
def test_within_a_tenth_of_a_decibel(curve, phase):
    h = equalizer(curve, RATE, phase=phase)
    assert len(h) in (1023, 2047, 4095, 8191, 16_383)
    report = measure_curve(h, curve, RATE)
    assert report.error_db < 0.1
    # By hand, at frequencies of no grid.
    frequencies = np.geomspace(20, 23_999, 300)
    error = np.abs(levels(h, frequencies) - curve.levels(frequencies, RATE))
    assert error.max() < 0.1
    assert error.max() == pytest.approx(report.error_db, abs=0.03)


def test_linear_phase_is_symmetric():
    odd = equalizer(POINTS, RATE, taps=4095)
    assert np.abs(odd - odd[::-1]).max() < 1e-15
    even = equalizer(POINTS, RATE, taps=4096)
    assert even[-1] == 0
    assert np.abs(even[:-1] - odd).max() < 1e-6
    assert odd.argmax() == even.argmax() == equalizer_latency(4096, "linear", 0.5) == 2047


def test_minimum_phase_is_that_of_the_section_itself():
    """A peaking section is of minimum phase: the filter must be its impulse response."""
    curve = read_curve(io.BytesIO(b"Filter 1: ON PK Fc 1000 Hz Gain 6 dB Q 2"))
    a, alpha, c = 10 ** (6 / 40), np.sin(2 * np.pi / 48) / 4, np.cos(2 * np.pi / 48)
    section = [1 + alpha * a, -2 * c, 1 - alpha * a], [1 + alpha / a, -2 * c, 1 - alpha / a]
    closed = scipy.signal.lfilter(*section, np.eye(1, 8191)[0])
    assert np.abs(equalizer(curve, RATE, taps=8191, phase="minimum") - closed).max() < 1e-9


def test_mixed_phase_rings_less_ahead_than_linear():
    linear, mixed, minimum = (equalizer(BANDS, RATE, taps=16_383, phase=p) for p in ("linear", "mixed", "minimum"))

    def ahead(h):
        return np.sum(h[: np.abs(h).argmax() - 10] ** 2)

    assert ahead(linear) > 2 * ahead(mixed) > 0
    assert np.abs(minimum).argmax() == 0
    assert np.abs(mixed).argmax() == equalizer_latency(16_383, "mixed", 0.5) == round(0.5**0.5 * 8191)
    bare = equalizer(BANDS, RATE, taps=16_383, phase="mixed", mix=0)
    assert np.abs(bare - minimum).max() < 1e-12


def test_what_is_too_sharp_is_measured():
    notch = read_curve(io.BytesIO(b"Filter 1: ON PK Fc 30 Hz Gain -15 dB Q 20"))
    report = measure_curve(equalizer(notch, RATE, taps=1023), notch, RATE)
    assert report.error_db > 5
    assert 20 <= report.error_hz < 40
    assert (report.peak_db, report.error_db < 15.1) == (pytest.approx(0, abs=0.01), True)


def test_refusals():
    for options, message in (
        ({"taps": 2}, "taps=2"),
        ({"taps": 10**9}, "taps=1000000000"),
        ({"phase": "maximum"}, "phase=maximum"),
        ({"phase": "mixed", "mix": -0.1}, "mix=-0.1"),
    ):
        with pytest.raises(OptionError, match=message):
            equalizer(POINTS, RATE, **options)
    with pytest.raises(OptionError, match="samplerate"):
        equalizer(POINTS, 0)
    with pytest.raises(OptionError, match="at or above half the sample rate"):
        equalizer(Curve.of_points([20_000, 30_000], [0, 1]), 32_000)
