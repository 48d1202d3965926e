"""Levels in decibels, peaks, clipping, and the limiter against its definition in plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longconv_audio.levels import (
    FULL_SCALE,
    LOOKAHEAD_SECONDS,
    RELEASE_SECONDS,
    Limiter,
    _sliding_least,
    count_clipped,
    from_db,
    peak,
    to_db,
)

RATE = 4000


def limited(x, pieces=None, rate=RATE, ceiling=1.0):
    """The whole signal through a limiter, in pieces of the given lengths."""
    limiter = Limiter(len(x), rate, ceiling)
    parts, start = [], 0
    for n in [*(pieces or []), x.shape[1]]:
        parts.append(limiter.process(x[:, start : start + n]))
        start += n
    return np.concatenate([*parts, limiter.flush()], axis=1), limiter


def by_definition(x, rate=RATE, ceiling=1.0):
    """Every step as the words have it: what each sample needs, decay, the least ahead, a smoothed approach."""
    ahead = round(LOOKAHEAD_SECONDS * rate)
    n = x.shape[1]
    loudest = np.abs(x).max(axis=0)
    needed = np.array([1 - ceiling / high if high > FULL_SCALE else 0.0 for high in loudest])
    needed = np.concatenate([needed, np.zeros(2 * ahead)])
    held = np.zeros(len(needed))
    for k in range(len(needed)):
        before = held[k - 1] * math.exp(-1 / (RELEASE_SECONDS * rate)) if k else 0.0
        held[k] = max(needed[k], before)
    gains = np.concatenate([np.ones(ahead), 1 - held])  # gains[k + ahead] is what sample k needs
    window = np.hanning(ahead + 3)[1:-1]
    window /= window.sum()
    least = [gains[m : m + ahead + 1].min() for m in range(n + ahead)]
    gain = np.array([np.dot(window, least[k : k + ahead + 1]) for k in range(n)])
    return x * gain, gain


def bursts(rng, channels=2, frames=3000):
    x = 0.4 * rng.standard_normal((channels, frames))
    x[:, 500:520] *= 9
    x[0, 1500] = -7
    x[-1, frames - 1] = 5
    x[-1, 0] = 3
    return x


def test_decibels():
    assert to_db(0.5) == pytest.approx(-6.0206, abs=1e-4)
    assert to_db(0) == -math.inf
    assert from_db(-math.inf) == 0
    assert from_db(to_db(0.123)) == pytest.approx(0.123)


def test_peak():
    assert peak(np.array([[0.5, -2.0], [1.0, 0.0]])) == 2.0
    assert peak(np.array([[0.5, 3.0]])) == 3.0
    assert peak(np.zeros((2, 0))) == 0
    assert math.isnan(peak(np.array([[1.0, math.nan]])))


def test_what_counts_as_clipped():
    x = np.array([[1.0, -1.0, 1 + 1e-7, 1.001], [-1.001, 0.0, 2.0, 0.5]], np.float32)
    assert count_clipped(x) == 3
    assert count_clipped(np.zeros((2, 0))) == 0


@pytest.mark.parametrize(("count", "width"), [(1, 1), (10, 1), (10, 10), (101, 7), (64, 8)])
def test_sliding_least(rng, count, width):
    x = rng.standard_normal(count)
    expected = [x[k : k + width].min() for k in range(count - width + 1)]
    np.testing.assert_array_equal(_sliding_least(x, width), expected)


class TestLimiter:
    @pytest.mark.parametrize("ceiling", [1.0, 1 - 2.0**-15])
    def test_is_what_it_is_defined_to_be(self, rng, ceiling):
        x = bursts(rng)
        y, limiter = limited(x, ceiling=ceiling)
        expected, gain = by_definition(x, ceiling=ceiling)
        np.testing.assert_allclose(y, expected, atol=1e-12)
        assert limiter.lowest_gain == pytest.approx(gain.min())
        assert limiter.limited == np.count_nonzero(gain < 1 - 1e-9)
        assert 0.9 < np.abs(y).max() <= ceiling

    @settings(max_examples=30, deadline=None)
    @given(pieces=st.lists(st.integers(0, 900), max_size=8), seed=st.integers(0, 9))
    def test_any_split_is_the_whole(self, pieces, seed):
        x = bursts(np.random.default_rng(seed), frames=2000)
        np.testing.assert_allclose(limited(x, pieces)[0], limited(x)[0], atol=1e-12)

    @settings(max_examples=50, deadline=None)
    @given(
        rate=st.sampled_from([1, 100, 8000, 48000]),
        frames=st.integers(0, 700),
        loudness=st.floats(0.01, 1e6),
        dtype=st.sampled_from([np.float32, np.float64]),
    )
    def test_nothing_leaves_beyond_the_ceiling(self, rate, frames, loudness, dtype):
        x = (loudness * np.random.default_rng(frames).standard_normal((3, frames))).astype(dtype)
        y, _ = limited(x, [frames // 3], rate)
        assert y.shape == x.shape
        assert np.isfinite(y).all()
        assert (np.abs(y) <= 1).all()
        assert not frames or np.abs(y).max() > 0.1 * min(np.abs(x).max(), 1)

    def test_what_stays_within_is_not_touched(self, rng):
        x = np.clip(0.3 * rng.standard_normal((2, 3000)), -1, 1)
        y, limiter = limited(x)
        np.testing.assert_allclose(y, x, atol=1e-14)
        assert (limiter.limited, limiter.lowest_gain) == (0, pytest.approx(1))

    def test_full_scale_above_the_ceiling_is_not_touched(self, rng):
        x = np.clip(0.3 * rng.standard_normal((2, 3000)), -1, 1)
        x[0, 1000], x[1, 2000] = -1.0, 1.0
        y, limiter = limited(x, ceiling=1 - 2.0**-15)
        np.testing.assert_allclose(y, x, atol=1e-14)
        assert limiter.limited == 0

    def test_the_balance_of_the_channels_stays(self, rng):
        x = bursts(rng, channels=3)
        y, _ = limited(x)
        sounding = np.abs(x).min(axis=0) > 0.01
        gains = y[:, sounding] / x[:, sounding]
        np.testing.assert_allclose(gains, np.broadcast_to(gains[:1], gains.shape), rtol=1e-9)
        assert 0 < gains.min() < 0.3

    def test_turns_down_ahead_of_the_peak_and_recovers(self):
        x = np.full((1, 2 * RATE), 0.5)
        x[0, RATE] = 4.0
        gain = limited(x)[0] / x
        ahead = round(LOOKAHEAD_SECONDS * RATE)
        np.testing.assert_allclose(gain[0, : RATE - ahead], 1, atol=1e-12)
        assert gain[0, RATE] == pytest.approx(0.25)
        assert (np.diff(gain[0, RATE - ahead : RATE + 1]) < 1e-12).all()
        assert (np.diff(gain[0, RATE + ahead :]) > -1e-12).all()
        # After one release time 1 / e of the reduction is left, but for the look-ahead's smoothing.
        assert 1 - gain[0, RATE + round(RELEASE_SECONDS * RATE)] == pytest.approx(0.75 / math.e, rel=0.05)
        assert gain[0, -1] > 0.9999
