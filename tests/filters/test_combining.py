"""Filters in series, taken apart, joined and mixed: against sums written out."""

import numpy as np
import pytest

from longconv_audio.errors import MismatchError, OptionError
from longconv_audio.filters import combine, join, mix, split


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
