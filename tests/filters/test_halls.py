"""Statistical halls: they decay by band as asked."""

import numpy as np
import pytest
from scipy import signal

from longconv_audio.errors import OptionError
from longconv_audio.filters.air import air_absorption
from longconv_audio.filters.band_values import parse_values, values_at
from longconv_audio.filters.bands import octave_bands
from longconv_audio.filters.halls import statistical_hall

RATE = 24_000
T60 = {500: 1.8, 1000: 1.6, 4000: 1.1}


def t30(h, band):
    """By the backward integral, filtered from behind so that the filter's own ringing stays out of the decay."""
    sos = signal.butter(4, [band.low, band.high], "bandpass", fs=RATE, output="sos")
    energy = np.cumsum(signal.sosfilt(sos, h[::-1]) ** 2)[::-1]
    level = 10 * np.log10(energy / energy[0])
    part = np.nonzero((level < -5) & (level > -35))[0]
    return -60 / np.polyfit(part / RATE, level[part], 1)[0]


def test_each_octave_decays_as_asked():
    hall = statistical_hall(T60, RATE, channels=2)
    assert hall.shape == (2, 1.25 * 1.8 * RATE)
    for band in octave_bands(1, 250, 8000):
        (wanted,) = values_at(T60, np.array([band.centre]))
        for channel in hall:
            assert t30(channel, band) == pytest.approx(wanted, rel=0.05)


def test_the_level_of_a_band_does_not_wander():
    # Of 90 Hz of noise, parts of 0.2 s would differ by a decibel and a half.
    hall = statistical_hall(1.0, RATE, 3.0, channels=4)
    (band,) = octave_bands(1, 125, 125)
    sos = signal.butter(4, [band.low, band.high], "bandpass", fs=RATE, output="sos")
    even = signal.sosfiltfilt(sos, hall * 10 ** (3 * np.arange(hall.shape[1]) / RATE))[:, RATE // 5 : -RATE // 5]
    power = np.mean(even.reshape(4, -1, RATE // 5) ** 2, axis=-1)
    assert np.std(10 * np.log10(power), axis=1).max() < 1.0


def test_levels_delay_and_seed():
    hall = statistical_hall(0.5, RATE, 0.8, channels=3, predelay=0.02, seed=7)
    assert hall.shape == (3, 0.82 * RATE)
    assert np.sum(hall**2, axis=1) == pytest.approx(1)
    assert not hall[:, :480].any()
    assert (np.abs(hall[:, 480:500]).max(axis=1) > 1e-3).all()
    assert np.array_equal(hall, statistical_hall(0.5, RATE, 0.8, channels=3, predelay=0.02, seed=7))
    # Independent: of noise that is about 0.11 s long in effect, some 1/sqrt(1700) is left by chance.
    assert np.abs(hall @ hall.T - np.eye(3)).max() < 0.1
    assert np.abs(hall - statistical_hall(0.5, RATE, 0.8, channels=3, predelay=0.02)).max() > 0.01


def test_the_air_is_that_of_the_standard():
    # ISO 9613-1, table 1: 20 degrees, 50 % (dB a kilometre at exact midband frequencies).
    exact = 1000 * 10 ** (0.3 * np.array([-3, 0, 2, 3]))
    assert 1000 * air_absorption(exact, 50) == pytest.approx([0.441, 4.66, 29.4, 104], rel=0.01)


@pytest.mark.parametrize("text", ["", "x", "500=", "500=1=2", "500=1,,1k=2", "500=0.1,0.5k=0.2"])
def test_texts_that_are_no_numbers_by_band(text):
    with pytest.raises(OptionError, match="--t60"):
        parse_values(text, "--t60")


REFUSALS = [
    ("--t60 0", {"t60": 0}),
    ("--t60 -1 at 500 Hz", {"t60": {500: -1}}),
    ("--channels", {"channels": 0}),
    ("--seconds", {"seconds": 0}),
    ("--seconds", {"seconds": 1e9}),
    ("--predelay", {"predelay": -0.1}),
    ("sample rate", {"samplerate": 0}),
    ("too much", {"channels": 1000, "seconds": 50}),
]


@pytest.mark.parametrize(("words", "given"), REFUSALS)
def test_refusals(words, given):
    with pytest.raises(OptionError, match=words):
        statistical_hall(**({"t60": T60, "samplerate": RATE} | given))
