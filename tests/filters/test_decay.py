"""Onsets, energy decay curves, and decays with their noise floor, of signals whose decay is known."""

import numpy as np
import pytest
import scipy.signal

from longconv_audio.errors import OptionError
from longconv_audio.filters import energy_decay_curve
from longconv_audio.filters.decay import decay_of, energy_to_come, onset

RATE = 48_000


def fall(t60, seconds=2.0, rate=RATE):
    return 10 ** (-3 * np.arange(round(seconds * rate)) / rate / t60)


def tone(t60, seconds=2.0, rate=RATE, frequency=1000.0):
    return np.cos(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate) * fall(t60, seconds, rate)


class TestOnset:
    def test_leading_silence_and_a_weak_start(self):
        h = np.zeros((2, 5000))
        h[0, 1000:], h[0, 1200], h[1, 1234] = 0.09, -0.11, 1.0
        assert onset(h) == 1200
        assert onset(h, -30) == 1000
        assert onset(h[1]) == 1234

    def test_refusals(self):
        with pytest.raises(OptionError, match="silence"):
            onset(np.zeros(9))
        with pytest.raises(OptionError, match="0 or less"):
            onset(np.ones(9), 3.0)


class TestClean:
    @pytest.mark.parametrize("t60", [0.05, 0.3, 1.0, 3.0])
    def test_a_decaying_tone(self, t60):
        found = decay_of(np.concatenate([np.zeros(700), tone(t60)]), RATE)
        assert found.onset == 700
        assert abs(found.t60 / t60 - 1) < 0.005
        assert abs(found.level_db - 10 * np.log10(0.5)) < 0.5
        # A decay is not its own noise.
        assert found.noise_db == -np.inf
        assert found.knee == 700 + 2 * RATE
        assert abs(found.range_db / (120 / t60) - 1) < 0.01

    @pytest.mark.parametrize("rate", [8000, 44_100, 96_000])
    def test_any_rate(self, rate):
        assert abs(decay_of(tone(0.7, rate=rate), rate).t60 / 0.7 - 1) < 0.005

    def test_a_fade_and_padding_at_the_end(self):
        h = tone(0.6, 1.5)
        h[-9600:] *= np.linspace(1, 0, 9600)
        assert abs(decay_of(np.concatenate([h, np.zeros(90_000)]), RATE).t60 / 0.6 - 1) < 0.01

    def test_the_late_one_of_two_decays(self):
        assert abs(decay_of(tone(0.2) + 0.05 * tone(1.5), RATE).t60 / 1.5 - 1) < 0.02


class TestNoise:
    @pytest.mark.parametrize("distance", [35.0, 60.0])
    @pytest.mark.parametrize("t60", [0.2, 1.0])
    def test_line_noise_and_knee(self, t60, distance, rng):
        noise = 10 ** (-distance / 20)
        runs = [decay_of(n[0] * fall(t60) + noise * n[1], RATE) for n in rng.standard_normal((8, 2, 2 * RATE))]
        assert abs(np.mean([run.t60 for run in runs]) / t60 - 1) < 0.02
        assert abs(np.mean([run.level_db for run in runs])) < 0.5
        assert all(abs(run.noise_db + distance) < 0.2 for run in runs)
        assert abs(np.mean([run.knee for run in runs]) / (t60 * RATE * distance / 60) - 1) < 0.02

    def test_a_response_cut_off_above_narrow_noise(self):
        # Made by a program and played in a room with noise: 60 dB of decay, and from there 40 dB down to the noise,
        # whose fluctuations are what lies less than 30 dB above it.
        t = np.arange(3 * 48_000) / 48_000
        rng = np.random.default_rng(9)
        h = rng.standard_normal(len(t)) * 10 ** (-3 * t / 0.7) * (t < 0.73) + 1e-5 * rng.standard_normal(len(t))
        octave = scipy.signal.butter(3, [125 / 2**0.5, 125 * 2**0.5], "bandpass", fs=48_000, output="sos")
        found = decay_of(scipy.signal.sosfiltfilt(octave, h), 48_000)
        assert abs(found.t60 / 0.7 - 1) < 0.3

    def test_what_has_no_decay(self, rng):
        cases = {
            "silence": np.zeros(100),
            "less than 10 dB": rng.standard_normal(RATE),
            "less than 10 dB to": tone(1e9),
            "less": np.ones(1),
            "too fast": np.concatenate([[1.0], np.zeros(999), [0.01]]),
        }
        for reason, h in cases.items():
            found = decay_of(h, RATE)
            assert found.t60 is None
            assert found.level_db is None
            assert reason in found.reason
        with pytest.raises(OptionError, match="one channel"):
            decay_of(np.ones((2, 50)), RATE)


class TestEnergyDecayCurve:
    def test_noise_is_taken_out(self, rng):
        # 30 dB under the start is where the noise is; the curve follows the decay to the knee all the same.
        h = rng.standard_normal(2 * RATE) * fall(1.0) + 10 ** (-40 / 20) * rng.standard_normal(2 * RATE)
        found = decay_of(h, RATE)
        curve = energy_decay_curve(h, found)
        line = -60 * np.arange(2 * RATE) / RATE
        assert np.abs(curve - line)[: int(0.9 * found.knee)].max() < 0.6
        assert energy_decay_curve(h)[found.knee] > line[found.knee] + 5
        assert np.isneginf(curve[found.knee :]).all()

    def test_what_is_cut_off_is_put_back(self):
        h = fall(1.0, 0.5) * np.where(np.arange(24_000) % 2, 1, -1)
        curve = energy_decay_curve(h, decay_of(h, RATE))
        assert np.abs(curve + 60 * np.arange(24_000) / RATE).max() < 0.05
        assert energy_to_come(h)[-1] == h[-1] ** 2
