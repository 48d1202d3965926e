"""Impulse responses cut, levelled, put in series, taken apart, mixed: against sums written out."""

import numpy as np
import pytest

from longconv_audio.errors import MismatchError, OptionError
from longconv_audio.filters import combine, fade, join, mix, normalize, resample, split, trim

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


class TestCombine:
    def test_channels_in_parallel_and_mono(self, rng):
        a, b, c = rng.standard_normal((2, 90)), rng.standard_normal(50), rng.standard_normal((2, 7))
        found = combine([a, b, c])
        wanted = [np.convolve(np.convolve(a[i], b), c[i]) for i in (0, 1)]
        assert np.abs(found - wanted).max() < 1e-12 * np.abs(wanted).max() * 100
        assert combine([b]).shape == (1, 50)

    def test_true_stereo(self, rng):
        first, second, equalizer = (
            rng.standard_normal((4, 60)),
            rng.standard_normal((4, 40)),
            rng.standard_normal((2, 9)),
        )
        found = combine([first, second, equalizer], order="LL,RL,LR,RR")
        a, b = (dict(zip(("LL", "RL", "LR", "RR"), h, strict=True)) for h in (first, second))
        for row, (i, o) in zip(found, ("LL", "RL", "LR", "RR"), strict=True):
            through = sum(np.convolve(a[i + k], b[k + o]) for k in "LR")
            wanted = np.convolve(through, equalizer["LR".index(o)])
            assert np.abs(row - wanted).max() < 1e-10 * np.abs(wanted).max()

    def test_what_does_not_fit(self):
        with pytest.raises(MismatchError, match="2 and 3"):
            combine([np.ones((2, 4)), np.ones((3, 4))])
        with pytest.raises(MismatchError, match="--true-stereo"):
            combine([np.ones((2, 4)), np.ones((4, 4))])
        with pytest.raises(MismatchError, match="expected 4"):
            combine([np.ones((2, 4)), np.ones((2, 4))], order="LL,LR,RL,RR")
        with pytest.raises(OptionError, match="at least one"):
            combine([])
        with pytest.raises(OptionError, match="shape"):
            combine([np.zeros((2, 0))])


def test_split_and_join(rng):
    h = rng.standard_normal((4, 30))
    for order in ("LL,LR,RL,RR", "RR,LL,LR,RL"):
        left, right = split(h, 2, order)
        names = order.split(",")
        assert np.array_equal(left, h[[names.index("LL"), names.index("LR")]])
        assert np.array_equal(right, h[[names.index("RL"), names.index("RR")]])
        assert np.array_equal(join([left, right], order), h)
    assert [part.shape for part in split(h, 4)] == [(1, 30)] * 4
    joined = join([h[0], h[1:3, :10]])
    assert joined.shape == (3, 30)
    assert np.array_equal(joined[1, :10], h[1, :10])
    assert not joined[1:, 10:].any()
    with pytest.raises(MismatchError, match="divides"):
        split(h, 3)


def test_mix(rng):
    a, b = rng.standard_normal((2, 10)), rng.standard_normal((2, 4))
    found = mix([a, b], [-6.0, 3.0], [2, 11])
    assert found.shape == (2, 15)
    assert np.allclose(found[:, 2:11], 10 ** (-6 / 20) * a[:, :9], rtol=1e-12)
    assert np.allclose(found[:, 12:], 10 ** (3 / 20) * b[:, 1:], rtol=1e-12)
    assert np.allclose(found[:, 11], 10 ** (-6 / 20) * a[:, 9] + 10 ** (3 / 20) * b[:, 0], rtol=1e-12)
    with pytest.raises(MismatchError, match="ir join"):
        mix([a, b[:1]], [0, 0], [0, 0])
    with pytest.raises(OptionError, match="one of each"):
        mix([a, b], [0], [0, 0])
    with pytest.raises(OptionError, match="0 or more"):
        mix([a, b], [0, 0], [0, -1])


def test_fade():
    faded = fade(np.ones((2, 100)), 10, 20)
    assert (faded[:, 10:80] == 1).all()
    assert np.allclose(faded[:, 9::-1], np.cos(0.5 * np.pi * np.arange(1, 11) / 11) ** 2)
    assert np.allclose(faded[:, 80:], np.cos(0.5 * np.pi * np.arange(1, 21) / 21) ** 2)
    assert fade(np.ones(5), 0, 2).shape == (5,)
    with pytest.raises(OptionError):
        fade(np.ones(5), -1)
