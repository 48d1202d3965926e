"""What is found in signals that were made for it, in one piece and in blocks."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from longconv_audio.errors import NonFiniteError, OptionError
from longconv_audio.filters import inspect
from longconv_audio.filters.inspection import inspect_blocks

RATE = 48_000


def decaying(rng, channels, taps, t60=0.4):
    return rng.standard_normal((channels, taps)) * 10 ** (-3 * np.arange(taps) / RATE / t60)


class TestImpulseResponse:
    def test_two_taps(self):
        h = np.zeros((2, 6000))
        h[0, 300], h[0, 301] = 0.5, -0.25
        h[1, 400] = -1.0
        found = inspect(h, RATE)
        assert (found.kind, found.channels, found.samples, found.seconds) == ("ir", 2, 6000, 0.125)
        one, other, every = *found.by_channel, found.overall
        assert np.isclose(one.peak_dbfs, 20 * np.log10(0.5))
        assert (one.peak_sample, one.onset_sample, one.leading_silence_samples) == (300, 300, 300)
        assert np.isclose(one.peak_seconds, 300 / RATE)
        assert np.isclose(one.dc, 0.25 / 6000)
        assert np.isclose(one.l1_db, 20 * np.log10(0.75))
        assert np.isclose(one.l2_db, 10 * np.log10(0.3125))
        # The two cancel at 0 Hz and add up at half the rate.
        assert np.isclose(one.max_gain_db, 20 * np.log10(0.75))
        assert one.max_gain_hz == RATE / 2
        assert (other.max_gain_db, other.max_gain_hz, other.onset_sample) == (0, 0, 400)
        assert (every.peak_dbfs, every.peak_sample, every.onset_sample, every.max_gain_db) == (0, 400, 300, 0)
        assert every.leading_silence_samples == 300
        assert found.loudness is None
        assert one.noise_dbpeak is None

    def test_noise_and_decay(self, rng):
        h = decaying(rng, 2, RATE)
        h[0] += 1e-3 * rng.standard_normal(RATE)
        found = inspect(h, RATE)
        assert abs(found.by_channel[0].noise_dbpeak - 20 * np.log10(1e-3 / np.abs(h[0]).max())) < 0.5
        assert found.by_channel[1].noise_dbpeak is None
        assert found.by_channel[0].decays
        assert found.overall.decays
        assert len(found.room_by_channel) == 2
        assert abs(found.room.mid["edt"] / 0.4 - 1) < 0.3
        json.dumps(asdict(found), allow_nan=False)

    def test_what_does_not_decay_is_said(self, rng):
        found = inspect(rng.standard_normal(RATE), RATE, "ir")
        assert found.overall.decays is False
        assert "less than 10 dB" in found.overall.why_not
        assert found.overall.noise_dbpeak is None
        assert found.room.mid["t30"] is None
        json.dumps(asdict(found), allow_nan=False)

    def test_silence_in_one_channel_and_in_all(self):
        h = np.zeros((2, 100))
        h[1, 0] = 1.0
        found = inspect(h, 8000)
        assert [report.silent for report in found.by_channel] == [True, False]
        assert (found.overall.silent, found.overall.onset_sample) == (False, 0)
        assert found.by_channel[0].peak_dbfs is None
        found = inspect(np.zeros((2, 100)), 8000)
        assert found.overall.silent
        assert found.overall.max_gain_db is None
        assert found.overall.leading_silence_samples == 100
        json.dumps(asdict(found), allow_nan=False)


class TestRecording:
    def test_blocks_give_what_the_whole_gives(self, rng):
        x = 0.1 * rng.standard_normal((2, 200_000))
        x[:, :500] = 0
        x[0, 1000:1010], x[0, 4095:4098], x[0, 9000], x[1, 5000:5002], x[1, 7] = 1.0, -1.0, 1.0, 1.0, 1e-9
        whole = inspect(x, RATE)
        assert whole.kind == "recording"
        # Ten and three of one value in a row; neither one sample nor two are clipped.
        assert [report.clipped_samples for report in whole.by_channel] == [13, 0]
        assert [report.leading_silence_samples for report in whole.by_channel] == [500, 7]
        assert whole.overall.onset_sample is None
        assert whole.room is None
        for size in (1, 4096, 33_333):
            part = x[:, : 12_000 if size == 1 else None]
            found = inspect_blocks((part[:, i : i + size] for i in range(0, part.shape[1], size)), RATE)
            expected = inspect(part, RATE, "recording")
            for one, other in zip(found.by_channel, expected.by_channel, strict=True):
                for name, value in asdict(other).items():
                    measured = getattr(one, name)
                    assert measured == value or measured == pytest.approx(value, rel=1e-9), name

    def test_quietest_part(self, rng):
        x = 0.1 * rng.standard_normal(5 * RATE)
        x[2 * RATE : 3 * RATE] *= 0.01
        noise = inspect(x, RATE).overall.noise_dbpeak
        assert abs(noise - 20 * np.log10(1e-3 / np.abs(x).max())) < 1

    def test_root_mean_square(self):
        x = np.stack([np.full(RATE, 0.5), np.full(RATE, -0.1)])
        found = inspect(x, RATE, "recording")
        levels = [report.rms_dbfs for report in (*found.by_channel, found.overall)]
        assert levels == pytest.approx([20 * np.log10(0.5), -20, 10 * np.log10(0.13)])
        assert (found.by_channel[1].dc, found.overall.dc) == (pytest.approx(-0.1), pytest.approx(0.5))

    def test_loudness(self):
        pytest.importorskip("pyloudnorm")
        x = 10 ** (-23 / 20) * np.sin(2 * np.pi * 997 * np.arange(4 * RATE) / RATE)
        assert abs(inspect(np.stack([x, x]), RATE).loudness.integrated + 23) < 0.02

    def test_beyond_full_scale(self):
        x = np.sin(np.arange(RATE) / 3.0)
        x[500] = 1.5
        found = inspect(x, RATE).overall
        assert (found.samples_beyond_full_scale, found.clipped_samples, found.peak_sample) == (1, 0, 500)


def test_what_kind_it_is(rng):
    taps = 2 * RATE
    cases = {
        "ir": [
            decaying(rng, 1, taps, 2.0),
            np.concatenate([np.zeros((1, taps)), decaying(rng, 1, taps)], axis=1),
            np.sinc((np.arange(taps) - RATE) / 20)[None] * np.hanning(taps),
            rng.standard_normal((1, 1000)),
        ],
        "recording": [rng.standard_normal((1, taps)), np.sin(np.arange(taps) / 9.0)[None]],
    }
    for kind, signals in cases.items():
        for x in signals:
            assert inspect(x, RATE).kind == kind
    assert inspect_blocks([decaying(rng, 1, taps)], RATE).kind == "recording"


def test_refusals():
    x = np.zeros((2, 50))
    x[1, 20] = np.nan
    with pytest.raises(NonFiniteError, match=r"the input: NaN at channel 2 \(of 2\), sample 20"):
        inspect(x, RATE)
    x[1, 20] = np.inf
    with pytest.raises(NonFiniteError, match=r"x\.wav: infinity at channel 2 .* sample 70"):
        inspect_blocks([np.ones((2, 50)), x], RATE, "x.wav")
    with pytest.raises(OptionError, match="1 or more"):
        inspect(np.zeros((2, 0)), RATE)
    with pytest.raises(OptionError, match="expected auto, ir, recording"):
        inspect(np.ones(4), RATE, "music")
    with pytest.raises(OptionError, match="no samples"):
        inspect_blocks([], RATE)
