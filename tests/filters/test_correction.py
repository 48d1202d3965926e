"""Inverses of systems that are known, and what is reported of them."""

import numpy as np
import pytest
import scipy.signal

from longconv_audio.errors import OptionError
from longconv_audio.filters import invert

RATE = 48_000


def peaking(frequency, gain, q):
    """A bell of the Audio EQ Cookbook (R. Bristow-Johnson), as numerator and denominator."""
    amplitude, w = 10 ** (gain / 40), 2 * np.pi * frequency / RATE
    alpha = np.sin(w) / (2 * q)
    return (
        [1 + alpha * amplitude, -2 * np.cos(w), 1 - alpha * amplitude],
        [1 + alpha / amplitude, -2 * np.cos(w), 1 - alpha / amplitude],
    )


def chain(*bells, length=24_000):
    """The impulse response of bells in series: of minimum phase."""
    h = np.zeros(length)
    h[0] = 1
    for bell in bells:
        h = scipy.signal.lfilter(*peaking(*bell), h)
    return h


def allpass(h, frequency, q):
    w = 2 * np.pi * frequency / RATE
    alpha = np.sin(w) / (2 * q)
    b = np.array([1 - alpha, -2 * np.cos(w), 1 + alpha])
    return scipy.signal.lfilter(b, b[::-1], h)


def deviation(h, correction, low=20, high=20_000):
    """The spread of the corrected response in dB about its middle, by a transform of the convolution itself."""
    y = scipy.signal.fftconvolve(h, correction)
    levels = 20 * np.log10(np.abs(np.fft.rfft(y)))
    frequencies = np.fft.rfftfreq(len(y), 1 / RATE)
    levels = levels[(frequencies >= low) & (frequencies <= high)]
    return (levels.max() - levels.min()) / 2


class Tilt:
    """A target that falls by 1 dB an octave."""

    def levels(self, frequencies, samplerate):
        return -np.log2(np.maximum(frequencies, 1.0) / 1000)


SPEAKER = chain((60, 10, 2), (200, -10, 2), (1000, 8, 3), (5000, -10, 1), (12_000, 6, 2))


@pytest.mark.parametrize("phase", ["minimum", "linear", "mixed"])
def test_a_minimum_phase_system_comes_out_flat(phase):
    correction, report = invert(SPEAKER, RATE, smoothing=None, max_boost=20, phase=phase)
    assert deviation(SPEAKER, correction) < 0.1
    assert report.before.max_db > 8
    assert report.after.max_db < 0.1
    assert report.after.smoothed_max_db < 0.1
    # The level of pink noise stays, and outside the range there is nothing left of the correction.
    assert abs(report.level_db) < 0.1
    frequencies, response = scipy.signal.freqz(correction, worN=1 << 16, fs=RATE)
    assert np.abs(20 * np.log10(np.abs(response[(frequencies > 0) & (frequencies < 5)]))).max() < 0.3


def test_smoothing_leaves_what_is_narrower_than_its_window():
    # A sixth of an octave against bells of an octave's width and less: measured, 0.3 dB are left of 10.
    correction, report = invert(SPEAKER, RATE, max_boost=20)
    assert 0.1 < deviation(SPEAKER, correction) < 0.5
    assert report.after.smoothed_rms_db < 0.1


def test_mixed_phase_comes_out_as_a_delayed_pulse():
    h = allpass(allpass(SPEAKER, 80, 1), 2000, 0.7)
    correction, report = invert(
        h, RATE, smoothing=None, max_boost=20, phase="mixed", range=(0, RATE / 2), pre_ringing=0
    )
    y = scipy.signal.fftconvolve(h, correction)
    assert report.latency_samples == np.abs(y).argmax() == len(correction) // 2
    rest = np.sum(y**2) - y.max() ** 2
    assert 0 <= rest < 1e-8 * y.max() ** 2
    # Minimum phase makes the same magnitude, and no pulse.
    y = scipy.signal.fftconvolve(h, invert(h, RATE, smoothing=None, max_boost=20)[0])
    assert np.sum(y**2) - np.abs(y).max() ** 2 > 1e-2 * np.abs(y).max() ** 2


def test_pre_ringing_stays_below_its_limit_at_any_polarity():
    h = -allpass(SPEAKER, 80, 1)
    for limit, seconds in ((-30.0, 0.005), (-50.0, 0.005), (-30.0, 0.002)):
        correction, report = invert(
            h, RATE, smoothing=None, max_boost=20, phase="mixed", pre_ringing=limit, pre_ringing_time=seconds
        )
        assert report.pre_ringing_ms == pytest.approx(1000 * seconds)
        early = correction[: report.latency_samples - round(seconds * RATE)]
        assert report.pre_ringing_db == pytest.approx(10 * np.log10(np.sum(early**2) / np.sum(correction**2)))
        assert limit - 20 < report.pre_ringing_db <= limit
        assert deviation(h, correction) < 0.1
        assert correction[report.latency_samples] > 0


@pytest.mark.parametrize("phase", ["minimum", "linear", "mixed"])
def test_a_deep_notch_is_boosted_to_the_limit_and_no_further(phase):
    h = np.zeros(500)
    h[[0, 240]] = 1  # zeros on the unit circle: 100 Hz, 300 Hz, ...
    for most in (0.0, 6.0):
        correction, report = invert(h, RATE, smoothing=None, max_boost=most, phase=phase)
        gain = 20 * np.log10(np.abs(np.fft.rfft(correction, 1 << 19)).max())
        assert most - 1 < gain < most + 0.15
        assert report.largest_boost_db <= most + 0.1 + 1e-9
    assert report.before.max_db > 60


def test_beside_a_notch_the_rest_comes_out_flat():
    h = np.zeros(500)
    h[[0, 240]] = 1
    correction, _ = invert(h, RATE, smoothing=None, max_boost=6)
    hertz = np.arange(RATE // 2 + 1)
    before = 2 * np.abs(np.cos(np.pi * hertz * 240 / RATE))
    # Of a mean power of 2, boosts up to 3 dB below the limit stay as they are.
    inside = (before > np.sqrt(2) * 10 ** (-2.5 / 20)) & (hertz > 30) & (hertz < 19_000)
    levels = 20 * np.log10(np.abs(np.fft.rfft(np.convolve(h, correction), RATE))[inside])
    assert levels.max() - levels.min() < 0.02
    assert abs(levels.mean() - 10 * np.log10(2)) < 0.3


def test_the_level_is_that_of_pink_noise():
    correction, report = invert(SPEAKER, RATE, max_boost=0)
    frequencies = np.fft.rfftfreq(1 << 17, 1 / RATE)
    inside = (frequencies >= 20) & (frequencies <= 20_000)
    before, after = (
        10 * np.log10(np.sum(np.abs(np.fft.rfft(h, 1 << 17))[inside] ** 2 / frequencies[inside]))
        for h in (SPEAKER, np.convolve(SPEAKER, correction))
    )
    assert report.level_db < -1
    assert report.level_db == pytest.approx(after - before, abs=0.02)


def test_the_report_is_of_what_was_made():
    correction, report = invert(SPEAKER, RATE, max_boost=20, smoothing=None, phase="linear", target=Tilt())
    frequencies = np.fft.rfftfreq(1 << 18, 1 / RATE)
    inside = (frequencies >= 20) & (frequencies <= 20_000)
    weights = 1 / frequencies[inside] / np.sum(1 / frequencies[inside])
    before, gain = (20 * np.log10(np.abs(np.fft.rfft(h, 1 << 18)))[inside] for h in (SPEAKER, correction))
    deviation = before - Tilt().levels(frequencies[inside], RATE)
    deviation -= weights @ deviation
    assert report.before.rms_db == pytest.approx(np.sqrt(weights @ deviation**2), abs=0.02)
    assert report.before.max_db == pytest.approx(np.abs(deviation).max(), abs=0.05)
    assert report.largest_cut_db == pytest.approx(gain.min(), abs=0.01)
    assert report.largest_cut_hz == pytest.approx(frequencies[inside][gain.argmin()], rel=0.01)
    assert report.largest_boost_db == pytest.approx(gain.max(), abs=0.01)
    assert report.latency_ms == pytest.approx(1000 * len(correction) / 2 / RATE)
    for point in report.curves[3:-3:6]:
        near = np.abs(np.log2(frequencies[inside] / point.frequency)) < 1 / 6
        assert point.correction_db[0] == pytest.approx(10 * np.log10(np.mean(10 ** (gain[near] / 10))), abs=0.1)


def test_linear_phase_is_symmetric_about_its_latency():
    correction, report = invert(SPEAKER, RATE, taps=4096, max_boost=20, phase="linear")
    assert report.latency_samples == 2048
    assert np.allclose(correction[2049:], correction[2047:0:-1], atol=1e-5)


def test_a_common_correction_is_of_the_mean_power():
    pair = np.stack([SPEAKER, 3 * chain((300, 6, 1))])
    correction, _ = invert(pair, RATE, max_boost=20, smoothing=None, channels="common")
    y = np.fft.rfft([np.convolve(h, correction[0]) for h in pair], 1 << 17)
    both = np.sqrt(np.mean(np.abs(y) ** 2, axis=0))
    levels = 20 * np.log10(both[round(25 / RATE * (1 << 17)) : round(19_000 / RATE * (1 << 17))])
    assert levels.max() - levels.min() < 0.2


def test_a_target_is_met():
    _, report = invert(SPEAKER, RATE, smoothing=None, max_boost=20, target=Tilt())
    assert report.after.max_db < 0.1
    levels = {round(point.frequency): point.after_db[0] for point in report.curves}
    assert levels[126] - levels[7943] == pytest.approx(np.log2(7943 / 126), abs=0.1)
    assert len(report.curves) == 30  # third octaves from 20 Hz, whose exact middle is 19.95 Hz and outside, to 20 kHz


def test_channels():
    other = 2 * chain((300, 6, 1))
    pair = np.stack([SPEAKER, other])
    each, report = invert(pair, RATE, max_boost=20, taps=8192)
    assert each.shape == (2, 8192)
    assert np.allclose(each[0], invert(SPEAKER, RATE, max_boost=20, taps=8192)[0], atol=1e-12)
    assert len(report.curves[0].after_db) == 2
    common, report = invert(np.stack([SPEAKER, SPEAKER]), RATE, max_boost=20, taps=8192, channels="common")
    assert common.shape == (1, 8192)
    assert np.allclose(common[0], each[0], atol=1e-12)


def test_few_taps_do_not_pass_the_limit():
    correction, _ = invert(SPEAKER, RATE, taps=64, max_boost=3, smoothing=None)
    assert correction.shape == (64,)
    assert 20 * np.log10(np.abs(np.fft.rfft(correction, 8192)).max()) < 3.15


@pytest.mark.parametrize(
    ("h", "options", "words"),
    [
        (np.zeros(100), {}, "channel 1 is silent"),
        (np.array([[1.0], [0.0]]), {}, "channel 2 is silent"),
        (np.array([1.0, np.nan]), {}, "NaN"),
        (np.zeros((2, 0)), {}, "shape"),
        (np.ones(1), {"range": (200, 100)}, "lower frequency first"),
        (np.ones(1), {"range": (-1, 100)}, "lower frequency first"),
        (np.ones(1), {"range": (20, 24_001)}, "half the sample rate"),
        (np.ones(1), {"range": (100.0, 100.1)}, "too narrow"),
        (np.ones(1), {"max_boost": -1}, "0 to 60"),
        (np.ones(1), {"smoothing": 0.0}, "above 0"),
        (np.ones(1), {"phase": "maximum"}, "minimum, linear or mixed"),
        (np.ones(1), {"pre_ringing": 3}, "0 or less"),
        (np.ones(1), {"pre_ringing_time": -3}, "0 or more"),
        (np.ones(1), {"channels": "all"}, "each or common"),
        (np.ones(1), {"taps": 0}, "1 or more"),
    ],
)
def test_refusals(h, options, words):
    with pytest.raises(OptionError, match=words):
        invert(h, RATE, **options)
