"""Sweeps: what they are made of, and what a file says of them."""

import io
import math

import numpy as np
import pytest

from longconv_audio.audio_io import AudioWriter
from longconv_audio.errors import NonFiniteError, OptionError, UnreadableError
from longconv_audio.filters import Sweep, excitation_of, read_sweep
from longconv_audio.filters.sweeps import exponential_sweep


def instantaneous(x, samplerate):
    """Frequency between rising zero crossings, and where."""
    at = np.flatnonzero((x[:-1] < 0) & (x[1:] >= 0))
    at = at + x[at] / (x[at] - x[at + 1])
    return samplerate / np.diff(at), 0.5 * (at[1:] + at[:-1]) / samplerate


def test_frequency_rises_exponentially():
    sweep = Sweep(48_000, start=100, end=10_000, seconds=2, fade_in=0, fade_out=0, level=0)
    x = sweep.excitation().signal
    found, when = instantaneous(x, 48_000)
    expected = 100 * np.exp(when / sweep.rate_seconds)
    # A period's mean frequency is the middle's up to a part in 24 L^2 f^2, which at 100 Hz is 2e-6.
    low = found < 1000
    assert low.sum() > 100
    assert np.abs(found / expected - 1)[low].max() < 1e-3
    assert np.isclose(100 * math.exp(len(x) / 48_000 / sweep.rate_seconds), 10_000, rtol=1e-4)
    assert abs(len(x) / 48_000 - 2) < math.log(100) / 100
    assert x[0] == 0
    assert np.isclose(np.abs(x).max(), 1, atol=1e-6)


def test_harmonics_are_delayed_copies():
    sweep = Sweep(48_000, start=50, end=6000, seconds=3, fade_in=0, fade_out=0, level=0)
    rate = sweep.rate_seconds
    assert np.isclose(50 * rate, round(50 * rate), atol=1e-12)
    t = np.arange(48_000) / 48_000
    for order in (2, 3):
        later = np.sin(2 * np.pi * 50 * rate * np.exp((t + rate * math.log(order)) / rate))
        harmonic = np.sin(order * 2 * np.pi * 50 * rate * np.exp(t / rate))
        assert np.abs(later - harmonic).max() < 1e-9
        assert np.abs(harmonic).max() > 0.99


def test_schedule_levels_and_fades():
    sweep = Sweep(
        8000, start=100, end=3000, seconds=1, level=-20, fade_in=0.1, fade_out=0.05, before=0.25, after=0.5, repeats=2,
        channels=3,
    )  # fmt: skip
    x = sweep.signal()
    once = sweep.excitation()
    assert x.shape == (3, 2000 + 6 * sweep.period)
    assert once.starts.tolist() == [[2000 + (2 * c + r) * sweep.period for r in range(2)] for c in range(3)]
    assert np.isclose(np.abs(x).max(), 0.1, rtol=1e-3)
    assert not x[:, :2000].any()
    for channel, row in enumerate(x):
        for start in once.starts[channel]:
            assert np.array_equal(row[start : start + sweep.sweep_frames], once.signal)
        others = np.delete(x, channel, 0)[:, once.starts[channel, 0] : once.starts[channel, 1] + sweep.period]
        assert not others.any()
    plain = 0.1 * exponential_sweep(8000, 100, sweep.rate_seconds, sweep.sweep_frames)
    faded = np.flatnonzero(np.abs(once.signal - plain) > 1e-12)
    assert faded.min() < 5
    gap = np.flatnonzero(np.diff(faded) > 1000)
    assert len(gap) == 1
    assert abs(faded[gap[0]] - 800) < 8
    assert np.array_equal(Sweep(8000, seconds=1).signal(), Sweep(8000, seconds=1).signal())


def test_refusals():
    for change, words in (
        ({"start": 0}, "start frequency 0"),
        ({"start": 5000, "end": 4000}, "expected a rising one"),
        ({"end": 24_001}, "half the sample rate"),
        ({"end": math.nan}, "expected a rising one"),
        ({"seconds": 0}, "sweep of 0"),
        ({"seconds": 0.1}, "too fast"),
        ({"seconds": 1e9}, "at most"),
        ({"level": 1}, "level 1"),
        ({"repeats": 0}, "repeats 0"),
        ({"channels": 2.0}, "channels 2.0"),
        ({"fade_in": 9, "fade_out": 2}, "to fit in"),
        ({"before": -1}, "before -1"),
        ({"samplerate": 0}, "sweep at 0 Hz"),
    ):
        with pytest.raises(OptionError, match=words):
            Sweep(**change)


def written(x, rate, subtype="PCM_24", **tags):
    file = io.BytesIO()
    with AudioWriter(file, samplerate=rate, channels=len(x), subtype=subtype, tags=tags) as writer:
        writer.write(x)
    file.seek(0)
    return file


def test_a_file_says_what_it_is():
    sweep = Sweep(8000, seconds=1, repeats=2, channels=2, after=0.1)
    found, notes = read_sweep(written(sweep.signal(), 8000, comment=sweep.tag()))
    assert notes == []
    assert np.array_equal(found.signal, sweep.excitation().signal)
    assert (found.repeats, found.channels, found.period) == (2, 2, sweep.period)
    # A level that was changed since: the samples count, which are one pass here.
    sweep = Sweep(8000, seconds=1)
    found, notes = read_sweep(written(0.5 * sweep.signal(), 8000, comment=sweep.tag()))
    assert "edited" in notes[0]
    assert np.isclose(np.abs(found.signal).max(), 0.25, atol=0.01)
    assert Sweep.of_tag("longconv sweep {]") is None
    assert Sweep.of_tag("longconv sweep {}") == Sweep()
    assert Sweep.of_tag('longconv sweep {"nonsense": 1}') is None


def test_sweeps_by_other_tools():
    x = exponential_sweep(8000, 60, 0.4, round(8000 * 0.4 * math.log(50)))  # to 3000 Hz
    padded = np.concatenate([np.zeros(100), x, np.zeros(500)])
    found = excitation_of(padded, 8000, repeats=3)
    assert (found.repeats, found.period, found.rate_seconds) == (3, len(padded), None)
    assert 30 < found.band[0] < 70
    assert 2800 < found.band[1] < 3600
    found = excitation_of(padded, 8000, start=60, end=3000)
    assert np.isclose(found.rate_seconds, 0.4, rtol=1e-3)
    assert found.band == (60, 3000)
    assert np.array_equal(excitation_of(np.stack([padded, padded]), 8000).signal, x[1:-1] if x[-1] == 0 else x[1:])
    t = np.arange(8000) / 8000
    assert excitation_of(np.sin(np.pi * 3000 * t**2), 8000, start=60, end=3000).rate_seconds is None
    for samples, options, error, words in (
        (np.zeros(100), {}, UnreadableError, "silence"),
        (np.eye(2), {}, UnreadableError, "2 channels that sound, and differ"),
        (padded, {"repeats": 0}, OptionError, "--repeats 0"),
        (padded, {"start": 3000, "end": 60}, OptionError, "--start below --end"),
        (padded, {"end": 5000}, OptionError, "half the sample rate"),
    ):
        with pytest.raises(error, match=words):
            excitation_of(samples, 8000, **options)
    with pytest.raises(NonFiniteError, match="NaN"):
        read_sweep(written(np.array([[0.1, np.nan]]), 8000, "FLOAT"))
    with pytest.raises(OptionError, match="--start nan"):
        read_sweep(written(x[None], 8000), start=math.nan)
