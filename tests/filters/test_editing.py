"""An impulse response cut, levelled, resampled, faded."""

import numpy as np
import pytest

from longconv_audio.errors import OptionError
from longconv_audio.filters import fade, normalize, resample, trim

RATE = 48_000


def decaying(rng, t60=0.5, seconds=1.5, delay=2000, noise=0.0):
    """Noise from sample `delay` on that decays, in noise that does not; its first sample is the peak."""
    time = np.arange(round(seconds * RATE)) / RATE
    h = np.concatenate([np.zeros(delay), rng.standard_normal(time.size) * 10 ** (-3 * time / t60)])
    h[delay] = 6.0
    return h + noise * rng.standard_normal(h.size)


class TestTrim:
    def test_onset_with_preroll_and_length(self, rng):
        h = decaying(rng)
        taps, cut = trim(h, RATE, preroll="1ms", length=0.25)
        assert cut.onset == 2000
        assert cut.start == 1952
        assert np.array_equal(taps, h[1952 : 1952 + 12_000])
        taps, cut = trim(np.stack([np.roll(h, 500), h]), RATE, threshold_db=None, length="700s")
        assert taps.shape == (2, 700)
        assert cut.onset is None
        assert cut.start == 0

    def test_ends_where_the_decay_meets_the_noise(self, rng):
        # White noise 40 dB below the decay's start: it is met after 40 / 60 of the reverberation time, in every band.
        h = decaying(rng, noise=1e-2)
        _, cut = trim(h, RATE, noise=True)
        assert cut.end == cut.knee == pytest.approx(2000 + RATE * 0.5 * 40 / 60, rel=0.12)
        clean = decaying(rng)
        _, cut = trim(clean, RATE, noise=True)
        assert cut.knee is None
        assert cut.end == clean.size

    def test_ends_at_a_level(self):
        h = 0.5 ** np.arange(100.0)
        assert trim(h, RATE, end_db=-60.0)[0].size == 10  # 0.5 ** 9 is -54.2 dB

    def test_refusals(self):
        for options in ({"end_db": 3.0}, {"length": 0}, {"threshold_db": 6.0}):
            with pytest.raises(OptionError):
                trim(np.ones(10), RATE, **options)
        with pytest.raises(OptionError, match="silence"):
            trim(np.zeros(10), RATE)


def test_normalize(rng):
    h = rng.standard_normal((2, 500)) * [[1.0], [0.3]]
    sizes = {
        "peak": lambda taps: np.abs(taps).max(),
        "l1": lambda taps: np.abs(taps).sum(axis=1).max(),
        "l2": lambda taps: np.sqrt((taps**2).sum(axis=1).max()),
        "magnitude": lambda taps: np.abs(np.fft.rfft(taps, 1 << 16)).max(),
    }
    for kind, size in sizes.items():
        taps, gain = normalize(h, kind, -6.0)
        assert size(taps) == pytest.approx(10 ** (-6 / 20), rel=1e-3)
        assert np.allclose(taps, h * 10 ** (gain / 20), rtol=1e-12)
    assert normalize(h[0])[0].shape == (500,)
    for level in (np.nan, 5000.0):
        with pytest.raises(OptionError, match="300"):
            normalize(h, "peak", level)
    for bad in ("none", "loud"):
        with pytest.raises(OptionError):
            normalize(h, bad)
    with pytest.raises(OptionError, match="every tap"):
        normalize(np.zeros(5))


def test_resample_keeps_the_gain_and_says_the_delay(rng):
    h = np.hanning(400)  # nothing near half the sample rate
    taps, origin = resample(h, 48_000, 96_000)
    assert taps.sum() == pytest.approx(h.sum(), rel=1e-6)
    assert np.allclose(2 * taps[origin : origin + 800 : 2], h, atol=1e-6)
    assert resample(h[None], 48_000, 44_100)[0].ndim == 2


def test_fade():
    faded = fade(np.ones((2, 100)), 10, 20)
    assert (faded[:, 10:80] == 1).all()
    assert np.allclose(faded[:, 9::-1], np.cos(0.5 * np.pi * np.arange(1, 11) / 11) ** 2)
    assert np.allclose(faded[:, 80:], np.cos(0.5 * np.pi * np.arange(1, 21) / 21) ** 2)
    assert fade(np.ones(5), 0, 2).shape == (5,)
    with pytest.raises(OptionError):
        fade(np.ones(5), -1)


def test_the_noise_takes_over_where_the_last_channel_meets_it(rng):
    time = np.arange(48_000) / 24_000
    decays = np.stack([10 ** (-3 * time / t60) * rng.standard_normal(time.size) for t60 in (0.5, 1.0)])
    noisy = decays + 1e-2 * rng.standard_normal(decays.shape)
    # 40 dB take two thirds of the reverberation time; the last octave's estimate is some per cent late.
    assert trim(noisy, 24_000, noise=True)[1].knee / 24_000 == pytest.approx(2 / 3, rel=0.15)
    assert trim(noisy[0], 24_000, noise=True)[1].knee / 24_000 == pytest.approx(1 / 3, rel=0.15)
    # Where one channel has no noise, there is no place at which it takes over.
    assert trim(np.stack([noisy[0], decays[1]]), 24_000, noise=True)[1].knee is None
