"""Crossfeed: the recursion that it comes from, mono, and the two ears."""

import numpy as np
import pytest
from scipy.signal import lfilter

from longconv_audio.errors import OptionError
from longconv_audio.filters.crossfeed import PRESETS, bauer_crossfeed, mono_drop_db
from longconv_audio.filters.spectra import frequency_response


def recursion(x, rate, cutoff, feed):
    """Bauer's circuit sample by sample, x (2, n): a lowpass, a shelf, each of one pole, and their sum's scale."""
    low, high = 10 ** ((-feed * 5 / 6 - 3) / 20), 1 - 10 ** ((feed / 6 - 3) / 20)
    upper = cutoff * 2 ** (20 * np.log10(low / high) / 12)
    p, q = np.exp(-2 * np.pi * np.array([cutoff, upper]) / rate)
    across = lfilter([low * (1 - p)], [1, -p], x)
    same = lfilter([1 - high * (1 - q), -q], [1, -q], x)
    return (same + across[::-1]) / (1 - high + low)


@pytest.mark.parametrize(("preset", "rate"), [("default", 48_000), ("cmoy", 44_100), ("jmeier", 192_000)])
def test_is_the_recursion(preset, rate, rng):
    x = rng.standard_normal((2, 4000))
    ll, lr, rl, rr = bauer_crossfeed(rate, *PRESETS[preset])
    found = np.stack([np.convolve(x[0], ll) + np.convolve(x[1], rl), np.convolve(x[0], lr) + np.convolve(x[1], rr)])
    wanted = recursion(x, rate, *PRESETS[preset])
    assert np.abs(found[:, :4000] - wanted).max() < 1e-9
    assert np.abs(wanted).max() > 1


@pytest.mark.parametrize("preset", PRESETS)
def test_mono_stays_flat_within_what_is_said(preset):
    cutoff, feed = PRESETS[preset]
    ll, lr, *_ = bauer_crossfeed(48_000, cutoff, feed)
    _, response = frequency_response(ll + lr, 48_000, 8192)
    level = 20 * np.log10(np.abs(response))
    assert abs(level[0]) < 1e-9
    assert level.max() < 1e-9
    assert level.min() > -mono_drop_db(feed)
    assert level[-1] == pytest.approx(-mono_drop_db(feed), abs=0.2)
    assert 1 < mono_drop_db(feed) < 2


def test_the_other_ear_is_softer_and_later():
    ll, lr, rl, rr = bauer_crossfeed(48_000)
    assert np.array_equal(ll, rr)
    assert np.array_equal(lr, rl)
    n = np.arange(len(ll))
    assert 20 * np.log10(ll.sum() / lr.sum()) == pytest.approx(4.5)
    late = (n @ lr / lr.sum() - n @ ll / ll.sum()) / 48  # group delays at 0 Hz
    assert late == pytest.approx(0.27, abs=0.02)


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("--cutoff 100", {"cutoff": 100}),
        ("--cutoff nan", {"cutoff": np.nan}),
        ("--feed 0", {"feed": 0}),
        ("--feed 20", {"feed": 20}),
        ("sample rate", {"samplerate": 3000}),
    ],
)
def test_refusals(words, given):
    with pytest.raises(OptionError, match=words):
        bauer_crossfeed(**({"samplerate": 48_000} | given))
