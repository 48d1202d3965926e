"""Impulse responses out of recordings, against the responses that the recordings were made with."""

import math

import numpy as np
import pytest
import scipy.fft
import scipy.signal

from longconv_audio.errors import MismatchError, NonFiniteError, OptionError, UnreadableError
from longconv_audio.filters import Sweep, deconvolve, excitation_of
from tests.filters.measuring import RATE, SWEEP, decay, error_db, played


@pytest.fixture
def room(rng):
    return decay(rng)


def test_a_wire_has_a_gain_of_one():
    found = deconvolve(SWEEP.signal(), RATE, SWEEP)
    assert found.taps.shape[0] == 1
    assert found.latency == found.lead == int(found.taps[0].argmax())
    assert math.isclose(found.found_seconds, 0.2)
    assert error_db(found, np.ones(1)) < -60
    frequencies = np.fft.rfftfreq(found.taps.shape[1], 1 / RATE)
    gains = 20 * np.log10(np.abs(np.fft.rfft(found.taps[0])))
    assert np.abs(gains[(frequencies > 60) & (frequencies < 7000)]).max() < 0.03
    assert gains[frequencies > 7900].max() < -30
    assert found.drift_ppm is None
    (warning,) = found.warnings
    assert "distortion was not measured: the sweep is too short" in warning
    assert found.distortion is None
    assert found.noise_db == [None]


@pytest.mark.parametrize(("start", "end"), [(30, 7600), (200, 7600), (96, 3838)])
def test_narrower_sweeps_are_a_wire_within_their_band(start, end):
    found = deconvolve((sweep := Sweep(RATE, start=start, end=end, seconds=2, after=0.5)).signal(), RATE, sweep)
    assert error_db(found, np.ones(1)) < -60


def test_a_room_is_itself_to_below_60_db(room):
    y = played(SWEEP, room)
    found = deconvolve(y, RATE, SWEEP)
    assert error_db(found, room) < -60
    # More of the ringing ahead leaves less error: what is left is no fault within the band.
    assert error_db(deconvolve(y, RATE, SWEEP, lead=RATE // 2), room) < -75
    assert -60 < error_db(deconvolve(y, RATE, SWEEP, method="inverse-filter"), room) < -40
    # Found wherever the sweep begins in the recording.
    for shift in (-1500, 12_345):
        moved = y[-shift:] if shift < 0 else np.pad(y, (shift, 0))
        assert error_db(deconvolve(moved, RATE, SWEEP), room) < -60
    # Its own latency is kept where both files start together.
    late = deconvolve(np.pad(y, (321, 0)), RATE, SWEEP, align="start", lead=1000, length=9000)
    assert (late.lead, late.latency, late.taps.shape) == (1000, 1321, (1, 9000))
    assert int(late.taps[0].argmax()) == 1321


def test_the_direct_sound_counts_and_not_a_louder_reflection(rng):
    # Reflections from floor and ceiling together, and from all walls, outdo the direct sound in symmetric rooms.
    h = np.zeros(1500)
    h[[0, 160, 900]] = 0.3, 0.55, 0.8
    y = np.pad(played(SWEEP, h), (700, 0))
    for noise in (0.0, 1e-2):
        found = deconvolve(y + noise * rng.standard_normal(len(y)), RATE, SWEEP, drift="none")
        assert found.latency == found.lead
        assert error_db(found, h) < (-30 if noise else -60)


def test_the_ringing_of_the_band_is_no_noise():
    sweep = Sweep(RATE, start=100, end=6000, seconds=3, after=0.7)
    (snr,) = deconvolve(sweep.signal(), RATE, sweep).snr_db
    assert 80 < snr < 200


@pytest.mark.parametrize("level", [-20, -50])
def test_noise_comes_out_as_theory_has_it(room, rng, level):
    sweep = Sweep(RATE, start=14, end=7600, seconds=6, after=0.7)
    y = played(sweep, room)
    sigma = 10 ** (level / 20) * np.sqrt(np.mean(y**2))
    found = deconvolve(y + sigma * rng.standard_normal(len(y)), RATE, sweep, drift="none", lead=RATE // 4)
    # By stationary phase |X|^2 = A^2 L fs^2 / (4 f); the variance of each tap is sigma^2 times the mean of 1 / |X|^2.
    low, high = found.band
    amplitude = 10 ** (sweep.level / 20)
    variance = sigma**2 * 4 * (high**2 - low**2) / (amplitude**2 * sweep.rate_seconds * RATE**3)
    expected = 10 * np.log10(variance * found.taps.shape[1] / np.sum(room**2))
    assert abs(error_db(found, room) - expected) < 1
    assert abs(found.noise_db[0] - 10 * np.log10(variance)) < 1.5
    energy = np.sum(found.taps**2) / (variance * found.taps.shape[1])
    assert abs(found.snr_db[0] - 10 * np.log10(energy)) < 1.5


def test_repeats_gain_3_db_per_doubling(room, rng):
    errors = []
    for repeats in (1, 2, 4):
        sweep = Sweep(RATE, start=50, end=7600, seconds=1.5, after=0.6, before=0.1, repeats=repeats)
        y = played(sweep, room)
        found = deconvolve(y + 1e-2 * rng.standard_normal(len(y)), RATE, sweep, drift="none", length=RATE // 2)
        assert found.repeats == repeats
        errors.append(error_db(found, room))
    assert -3.5 < errors[1] - errors[0] < -2.5
    assert -3.5 < errors[2] - errors[1] < -2.5


def test_channels_in_turn(room, rng):
    sweep = Sweep(RATE, start=60, end=7000, seconds=1, after=0.7, before=0.1, repeats=2, channels=2)
    left = [room, np.concatenate([np.zeros(9), 0.5 * room])]
    right = [np.concatenate([np.zeros(5), -0.25 * room]), np.concatenate([np.zeros(2), 0.8 * room])]
    y = [played(sweep, *pair) for pair in zip(left, right, strict=True)]
    length = min(map(len, y))
    found = deconvolve(np.stack([row[:length] for row in y]), RATE, sweep)
    assert (found.taps.shape[0], found.played, found.recorded, found.repeats) == (4, 2, 2, 2)
    for number, h in enumerate((left[0], left[1], right[0], right[1])):  # LL, LR, RL, RR
        assert error_db(found, h, number) < -55
    # Cut in the last repeat of the second channel: the first repeat stands alone.
    cut = deconvolve(y[0][: length - RATE - 12_000], RATE, sweep)
    assert "the last 1 of 4" in cut.warnings[0]
    assert cut.repeats == 1
    assert error_db(cut, left[0], 0) < -55
    assert error_db(cut, right[0], 1) < -55
    with pytest.raises(MismatchError, match="channel 2 of 2"):
        deconvolve(y[0][: length - 2 * RATE - 30_000], RATE, sweep)


def test_any_signal_will_do(room, rng):
    noise = rng.standard_normal(2 * RATE)
    once = np.concatenate([noise, np.zeros(RATE)])
    y = scipy.signal.fftconvolve(np.tile(once, 2), room)
    found = deconvolve(y, RATE, excitation_of(once, RATE, repeats=2), lead=RATE // 2)
    assert found.distortion is None
    assert found.repeats == 2
    assert error_db(found, room) < -55
    foreign = excitation_of(SWEEP.signal(), RATE)
    assert error_db(deconvolve(played(SWEEP, room), RATE, foreign), room) < -50


def test_refusals(rng):
    y = SWEEP.signal()
    for recording, rate, options, error, words in (
        (y, 48_000, {}, MismatchError, "the recording is at 48000 Hz and the sweep at 16000 Hz"),
        (y[:, :20_000], RATE, {}, MismatchError, "shorter than one sweep"),
        (np.zeros((1, 70_000)), RATE, {}, UnreadableError, "silent"),
        (np.where(np.arange(y.shape[1]) == 77, np.nan, y), RATE, {}, NonFiniteError, "channel 1, sample 77"),
        (rng.standard_normal((2, 70_000)), RATE, {}, MismatchError, "not found"),
        (y, RATE, {"method": "guess"}, OptionError, "--method guess"),
        (y, RATE, {"align": "end"}, OptionError, "--align end"),
        (y, RATE, {"lead": -1}, OptionError, "--lead"),
        (y, RATE, {"length": 10}, OptionError, "--length"),
        (y, RATE, {"drift": "fast"}, OptionError, "--drift fast"),
        (y, RATE, {"drift": math.nan}, OptionError, "--drift nan"),
        (y, RATE, {"orders": 99}, OptionError, "--harmonics 99"),
    ):
        with pytest.raises(error, match=words):
            deconvolve(recording, rate, SWEEP, **options)
    with pytest.raises(OptionError, match="not known to be an exponential sweep"):
        deconvolve(y, RATE, excitation_of(y, RATE), method="inverse-filter")
    silent = deconvolve(np.concatenate([y, 0 * y]), RATE, SWEEP, orders=1)
    assert silent.warnings == ["response 2 (played channel 1, recorded channel 2) is silent"]
    late = deconvolve(y[:, 5000:], RATE, SWEEP, orders=1)
    assert "begins 0.113 s after the first sweep does" in late.warnings[0]
    long = Sweep(RATE, seconds=6)
    noisy = np.concatenate([long.signal(), 0.01 * rng.standard_normal((1, long.frames))])
    found = deconvolve(noisy + 1e-5 * rng.standard_normal(noisy.shape), RATE, long)
    assert found.warnings == ["response 2 (played channel 1, recorded channel 2) is no more than noise"]
    assert all(band.thd_percent is None for band in found.distortion[1].bands if band.noise_percent > 30)
    other = Sweep(RATE, seconds=4.5)
    found = deconvolve(long.signal() + 1e-4 * rng.standard_normal((1, long.frames)), RATE, other)
    assert "no more than noise" in found.warnings[-1] or "was this sweep, and no other" in found.warnings[-1]
    # What is in the places of harmonics is none of them.
    assert found.distortion is None or all((one.thd_percent or 0) < 100 for one in found.distortion)
    short = deconvolve(y[:, : y.shape[1] - round(0.65 * RATE)], RATE, SWEEP)
    assert "lacks high frequencies" in short.warnings[0]
