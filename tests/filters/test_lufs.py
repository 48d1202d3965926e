"""Loudness of signals whose loudness the standards state."""

import sys

import numpy as np
import pytest

from longconv_audio.filters import loudness
from longconv_audio.filters.lufs import LoudnessMeter

pytest.importorskip("pyloudnorm")


def sine(level, seconds, rate=48_000, channels=2):
    t = np.arange(round(seconds * rate)) / rate
    return np.tile(10 ** (level / 20) * np.sin(2 * np.pi * 997 * t), (channels, 1))


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_a_sine_in_stereo_reads_its_level(rate):
    # EBU Tech 3341, case 1; a single channel is 3 dB less.
    assert abs(loudness(sine(-23, 5, rate), rate).integrated + 23) < 0.02
    assert abs(loudness(sine(-23, 5, rate, 1)[0], rate).integrated + 26.01) < 0.02
    assert abs(loudness(sine(-23, 5, rate), rate).range) < 0.05


def test_quiet_parts_are_gated():
    # EBU Tech 3341, case 3.
    x = np.concatenate([sine(-36, 10), sine(-23, 60), sine(-36, 10)], axis=1)
    assert abs(loudness(x, 48_000).integrated + 23) < 0.1


def test_range():
    # EBU Tech 3342, case 1.
    x = np.concatenate([sine(-20, 20), sine(-30, 20)], axis=1)
    assert abs(loudness(x, 48_000).range - 10) < 1


def test_range_is_from_a_tenth_to_a_twentieth_below_the_top():
    # Short-term blocks of 3 s: eight in a hundred are soft, which is below the tenth; eight more are loud.
    parts = [sine(level, seconds, 8000, 1) for level, seconds in ((-35, 16), (-25, 168), (-20, 16))]
    assert abs(loudness(np.concatenate(parts, axis=1), 8000).range - 5) < 0.2


def test_surround_channels_weigh_more_and_the_lfe_nothing():
    six = np.zeros((6, 48_000 * 2))
    six[3] = sine(0, 2)[0]
    assert loudness(six, 48_000).integrated is None
    six[4] = sine(-23, 2)[0]
    assert abs(loudness(six, 48_000).integrated - (-26.01 + 10 * np.log10(1.41))) < 0.03


@pytest.mark.parametrize("rate", [48_000, 11_025])
def test_blocks_give_what_the_whole_gives(rate, rng):
    import pyloudnorm

    x = 0.1 * rng.standard_normal((2, round(47.31 * rate))) * np.linspace(0.1, 1, round(47.31 * rate))
    meter = LoudnessMeter(2, rate)
    for start in range(0, x.shape[1], 77_777):
        meter.process(x[:, start : start + 77_777])
    theirs = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(x.T)
    assert abs(meter.result().integrated - theirs) < 0.01


def test_a_rate_too_low_for_the_weighting():
    found = loudness(sine(-23, 5, 3000), 3000)
    assert (found.integrated, found.range) == (None, None)
    assert "at 3000 Hz" in found.missing["integrated"]
    assert abs(loudness(sine(-23, 5, 4000), 4000).integrated + 23) < 0.3


def test_what_has_none(monkeypatch):
    found = loudness(sine(-23, 0.39), 48_000)
    assert (found.integrated, found.range) == (None, None)
    assert found.missing == {"integrated": "shorter than 0.4 s", "range": "shorter than 3 s"}
    assert "louder than -70" in loudness(np.zeros((2, 200_000)), 48_000).missing["range"]
    assert "4 channels" in loudness(np.zeros((4, 48_000)), 48_000).missing["integrated"]
    assert loudness(np.zeros((2, 0)), 48_000).integrated is None
    monkeypatch.setitem(sys.modules, "pyloudnorm", None)
    assert "pip install 'longconv-audio[loudness]'" in loudness(sine(-23, 5), 48_000).missing["integrated"]
