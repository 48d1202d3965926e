"""Decays that are known, under noise that is known: continued, and made longer and shorter."""

import numpy as np
import pytest
import scipy.signal

from longconv_audio.errors import OptionError
from longconv_audio.filters import extend, octave_bands, reshape_decay, split_octaves
from longconv_audio.filters.decay import energy_decay_curve

RATE = 48_000
DELAY = 1000


def decay(rng, t60=1.0, seconds=2.0, channels=1):
    """Gaussian noise that decays from sample `DELAY` on."""
    time = np.arange(round(seconds * RATE)) / RATE
    h = rng.standard_normal((channels, time.size)) * 10 ** (-3 * time / t60)
    return np.pad(h, ((0, 0), (DELAY, 0)))


def t60_of(h, first=-5.0, last=-35.0):
    """From the slope of the energy decay curve between two levels."""
    curve = energy_decay_curve(h)
    where = np.flatnonzero((curve <= first) & (curve >= last))
    return -60 / np.polyfit(where / RATE, curve[where], 1)[0]


def by_band(h, *limits, lowest=250):
    """In the octaves from the lowest to 8 kHz; those at the ends hold what is beyond them."""
    bands = octave_bands(1, 63, 16_000)
    parts = split_octaves(h, RATE, bands)
    return np.array([t60_of(part, *limits) for part, band in zip(parts, bands, strict=True) if band.high > lowest][:-1])


class TestExtend:
    def test_a_decay_goes_on_below_its_noise(self, rng):
        clean = decay(rng, channels=2)
        clean[1] = 0.6 * clean[0] + 0.8 * clean[1]
        noisy = clean + 10 ** (-50 / 20) * rng.standard_normal(clean.shape)
        extended, bands = extend(noisy, RATE)
        # T30 is that of the same decay without noise, and the continuation has the true slope.
        assert np.abs(by_band(extended) / by_band(clean) - 1).max() < 0.02
        assert np.abs(by_band(extended, -55, -85) - 1).max() < 0.1
        assert np.abs(by_band(extended, -55, -85, lowest=1000) - 1).max() < 0.04
        # From the peak down to -90 dB the wideband curve is a straight line.
        curve = energy_decay_curve(extended)
        places = np.arange(0, round(1.5 * RATE), 500)
        assert np.abs(curve[DELAY + places] + 60 * places / RATE).max() < 1.0
        # What was well above the noise is what it was.
        first = int(np.flatnonzero((extended != noisy[:, : extended.shape[1]]).any(axis=0))[0])
        assert DELAY + 0.45 * RATE < first < DELAY + 0.75 * RATE
        late = extended[:, RATE : RATE + 24_000]
        assert np.corrcoef(late)[0, 1] == pytest.approx(0.6, abs=0.05)
        found = {tail.band: tail for tail in bands}
        assert found["1k"].t60 == found["1k"].new_t60 == pytest.approx(1.0, rel=0.05)
        assert found["1k"].knee == pytest.approx(DELAY / RATE + 50 / 60, rel=0.05)

    def test_the_spectrum_within_a_band_goes_on(self, rng):
        # The upper third of the octave at 1 kHz is louder than the lower one.
        h = decay(rng, seconds=1.5)[0]
        h = 0.2 * h + scipy.signal.sosfilt(scipy.signal.butter(4, 1000, "highpass", fs=RATE, output="sos"), h)
        extended, _ = extend(h + 1e-3 * rng.standard_normal(h.size), RATE)

        def tilt(part):
            power = np.abs(np.fft.rfft(part * np.hanning(part.size), RATE)) ** 2
            return 10 * np.log10(power[1130:1400].mean() / power[720:880].mean())

        early, late = tilt(extended[DELAY : DELAY + RATE // 2]), tilt(extended[DELAY + RATE :])
        assert early > 8
        assert abs(late - early) < 2.5

    def test_by_seed_and_by_length(self, rng):
        h = decay(rng, 0.5)[0]
        h += 1e-3 * rng.standard_normal(h.size)
        first, again, other = (extend(h, RATE, seconds=1.0, seed=seed)[0] for seed in (1, 1, 2))
        assert first.shape == (RATE,)
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
        assert np.array_equal(first[:10_000], other[:10_000])

    def test_what_ends_by_itself_stays(self, rng):
        h = decay(rng, 0.5)
        assert np.array_equal(extend(h, RATE)[0], h)

    def test_what_was_cut_short_goes_on(self, rng):
        h = decay(rng, 1.0, 0.8)[0]
        extended, _ = extend(h, RATE)
        assert extended.size > 1.5 * RATE
        curve = energy_decay_curve(extended)
        places = np.arange(0, round(1.5 * RATE), 500)
        assert np.abs(curve[DELAY + places] + 60 * places / RATE).max() < 1.0

    def test_a_band_of_mere_noise_dies_away_with_its_neighbour(self, rng):
        # Nothing but noise below 350 Hz.
        h = decay(rng)[0]
        parts = split_octaves(h, RATE, octave_bands(1, 250, 500), 1 / 3)
        h = parts[1] + 0.01 * rng.standard_normal(h.size)
        extended, bands = extend(h, RATE)
        assert bands[0].t60 is None
        assert bands[0].new_t60 is None
        low = split_octaves(extended, RATE, octave_bands(1, 63, 500), 1 / 3)[0]
        assert np.sum(low[-4800:] ** 2) < 1e-4 * np.sum(low[4800:9600] ** 2)

    def test_refusals(self, rng):
        with pytest.raises(OptionError, match="silence"):
            extend(np.zeros(1000), RATE)
        for seed in range(8):
            with pytest.raises(OptionError, match="no decay"):
                extend(np.random.default_rng(seed).standard_normal(RATE), RATE)
        for options, words in (({"level_db": 3.0}, "below 0"), ({"seconds": -1.0}, "more than 0")):
            with pytest.raises(OptionError, match=words):
                extend(decay(rng, 0.3, 0.5), RATE, **options)
        with pytest.raises(OptionError, match="too low"):
            extend(decay(rng, 0.3, 0.5), 100)


def test_single_taps_and_bursts_are_refused_or_stay_finite(rng):
    """What is no room: impulses, a few taps, decays as fast as a band's filter."""
    impulse = np.zeros(5000)
    impulse[2500] = 1.0
    sparse = rng.standard_normal((2, 30_000)) * (rng.random((2, 30_000)) < 0.001)
    burst = rng.standard_normal((2, 5000)) * np.exp(-np.arange(5000) / 3.0)
    silent = np.stack([np.zeros(30_000), rng.standard_normal(30_000) * np.exp(-np.arange(30_000) / 4000)])
    finite = 0
    for h in (impulse, np.stack([impulse, 1e-20 * impulse]), sparse, burst, silent, 1e-20 * silent):
        for change in (extend, lambda h, rate: reshape_decay(h, rate, scale=0.4), _twice_as_long):
            try:
                result, _ = change(h, RATE)
            except OptionError:
                continue
            finite += 1
            assert np.isfinite(result).all()
            assert np.abs(result).max() < 10 * np.abs(h).max()
    assert finite > 6


def _twice_as_long(h, rate):
    return reshape_decay(h, rate, scale=2.0)


class TestReshapeDecay:
    @pytest.mark.parametrize(("wanted", "noise"), [(0.7, 0.0), (0.7, 1e-3), (2.0, 1e-3)])
    def test_all_bands(self, rng, wanted, noise):
        h = decay(rng)[0]
        h += noise * rng.standard_normal(h.size)
        reshaped, bands = reshape_decay(h, RATE, t60=wanted)
        assert np.abs(by_band(reshaped) / wanted - 1).max() < 0.04
        assert bands[4].new_t60 == pytest.approx(wanted)
        # The noise was not raised: the decay goes on to where it would stand, and below. Over 25 dB of noise in an
        # octave, the time found scatters by some percent.
        assert np.abs(by_band(reshaped, -50, -75, lowest=1000) / wanted - 1).max() < 0.15
        reshaped, again = reshape_decay(h, RATE, scale=wanted)
        times = np.array([wanted * tail.t60 for tail in again[2:8]])
        assert np.abs(by_band(reshaped) / times - 1).max() < 0.04
        # Ahead of the onset there is nothing but what the bands' filters ring there.
        assert np.abs(reshaped[: DELAY - 480]).max() < 0.01

    def test_one_band(self, rng):
        h = decay(rng)[0]
        reshaped, bands = reshape_decay(h, RATE, t60={"1k": 0.5})
        times = {tail.band: tail for tail in bands}
        assert times["1k"].new_t60 == pytest.approx(0.5)
        assert times["4k"].t60 == times["4k"].new_t60
        # By a band that holds nothing of its neighbours.
        sharp = split_octaves(reshaped, RATE, octave_bands(3, 315, 3150), 1 / 3)
        assert t60_of(sharp[5]) == pytest.approx(0.5, rel=0.1)
        assert t60_of(sharp[9]) == pytest.approx(1.0, rel=0.1)

    def test_refusals(self, rng):
        h = decay(rng, 0.3, 0.6)
        for options, words in (
            ({}, "either"),
            ({"t60": 1.0, "scale": 1.0}, "either"),
            ({"scale": 0.0}, "above 0"),
            ({"t60": -1.0}, "more than 0"),
            ({"t60": {"333": 1.0}}, "expected octaves"),
            ({"t60": 100.0}, "longer than 120 s"),
        ):
            with pytest.raises(OptionError, match=words):
                reshape_decay(h, RATE, **options)
