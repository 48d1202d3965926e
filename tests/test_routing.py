import itertools

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from longconv_audio.errors import MismatchError, OptionError
from longconv_audio.routing import (
    FilterMatrix,
    Path,
    cascade,
    dense,
    fast_length,
    from_array,
    parse_order,
    route,
    scale,
    transform,
)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def error(actual, expected):
    """Largest difference, relative to the largest expected value, which must not be 0."""
    peak = np.abs(expected).max()
    assert peak > 0
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / peak


def random_matrix(inputs, outputs, taps, seed, origin=0):
    return from_array(noise(outputs, inputs, taps, seed=seed), origin=origin)


class TestRoute:
    @pytest.mark.parametrize("mode", ["auto", "mono"])
    def test_mono_is_shared(self, mode):
        taps = noise(1, 50)
        matrix = route(taps, 64, mode, origin=3)
        assert [(p.output, p.input) for p in matrix.paths] == [(c, c) for c in range(64)]
        assert all(p.taps is matrix.paths[0].taps for p in matrix.paths)
        assert np.array_equal(matrix.paths[63].taps, taps[0])
        assert (matrix.inputs, matrix.outputs, matrix.taps, matrix.origin) == (64, 64, 50, 3)

    def test_one_axis_is_mono(self):
        assert np.array_equal(route(np.arange(1.0, 4), 2).paths[1].taps, [1, 2, 3])

    @pytest.mark.parametrize("channels", [1, 2, 4, 6])
    @pytest.mark.parametrize("mode", ["auto", "parallel"])
    def test_parallel(self, channels, mode):
        taps = noise(channels, 20)
        h = dense(route(taps, channels, mode))
        assert h.shape == (channels, channels, 20)
        for o, i in itertools.product(range(channels), repeat=2):
            assert np.array_equal(h[o, i], taps[o] if o == i else np.zeros(20))

    @pytest.mark.parametrize("order", [*map(",".join, itertools.permutations(["LL", "LR", "RL", "RR"]))])
    def test_true_stereo_in_every_order(self, order):
        taps = noise(4, 10)
        h = dense(route(taps, 2, "true-stereo", order))
        for c, name in enumerate(order.split(",")):
            assert np.array_equal(h["LR".index(name[1]), "LR".index(name[0])], taps[c])

    def test_left_to_right_lands_on_the_right(self):
        taps = np.zeros((4, 1))
        taps[1] = 1  # LR
        h = dense(route(taps, 2, "true-stereo"))[..., 0]
        assert np.array_equal(h @ [1, 0], [0, 1])
        assert np.array_equal(h @ [0, 1], [0, 0])

    @pytest.mark.parametrize("order", ["", "LL", "LL,LR,RL", "LL,LR,RL,RL", "LL,LR,RL,RR,RR", "ll;lr;rl;rr"])
    def test_bad_orders(self, order):
        with pytest.raises(OptionError, match="--ir-order"):
            route(np.ones((4, 2)), 2, "true-stereo", order)

    def test_order_is_lenient_about_case_and_blanks(self):
        assert parse_order(" ll, lr ,rl,RR") == ((0, 0), (0, 1), (1, 0), (1, 1))

    @pytest.mark.parametrize(
        ("channels", "inputs", "mode", "says"),
        [
            (4, 2, "auto", "pass --ir-channels true-stereo"),
            (4, 2, "parallel", "pass --ir-channels true-stereo"),
            (2, 2, "mono", "pass --ir-channels parallel"),
            (1, 2, "parallel", "pass --ir-channels mono"),
            (2, 1, "auto", "matrix.toml"),
            (6, 1, "auto", "matrix.toml"),
            (2, 6, "auto", "matrix file"),
            (2, 2, "true-stereo", "needs 4 and 2"),
            (4, 4, "true-stereo", "needs 4 and 2"),
            (1, 2, "true-stereo", "needs 4 and 2"),
        ],
    )
    def test_misfits(self, channels, inputs, mode, says):
        with pytest.raises(MismatchError) as caught:
            route(np.ones((channels, 8)), inputs, mode)
        message = str(caught.value)
        assert says in message
        assert str(channels) in message
        assert "\n" not in message
        assert "--ir-channels matrix" not in message  # beside the IR it would be refused

    def test_unknown_mode(self):
        with pytest.raises(OptionError, match="surround"):
            route(np.ones((1, 8)), 2, "surround")

    def test_advice_is_toml_that_does_it(self, tmp_path):
        from longconv_audio.audio_io.matrix import read_matrix

        ir = noise(2, 16)
        with pytest.raises(MismatchError) as caught:
            route(ir, 1)
        assert "longconv apply in.wav matrix.toml -o out.wav" in str(caught.value)
        text = str(caught.value).partition("holds: ")[2]
        (tmp_path / "matrix.toml").write_text(text.replace("ir.wav", "ir.npy"))
        for channel in range(2):
            assert f"channel={channel + 1}" in text
        np.save(tmp_path / "ir.npy", ir)
        matrix = read_matrix(tmp_path / "matrix.toml", samplerate=48000)
        assert error(dense(matrix), ir[:, None]) == 0


class TestFromArray:
    def test_shapes(self):
        h = noise(3, 2, 7)
        assert np.array_equal(dense(from_array(h)), h)
        assert np.array_equal(dense(from_array(h, 2, origin=4)), h)
        assert from_array(h, origin=4).origin == 4
        assert np.array_equal(dense(from_array(h[0]))[1, 1], h[0, 1])
        shared = from_array(h[0, 0], 5)
        assert shared.inputs == 5
        assert len({id(p.taps) for p in shared.paths}) == 1
        assert np.array_equal(dense(from_array(h[0, :1], 3)), dense(from_array(h[0, 0], 3)))

    def test_types(self):
        assert from_array(np.arange(3, dtype=np.int16)).paths[0].taps.dtype == np.float64
        strided = noise(2, 20)[:, ::2]
        assert np.array_equal(from_array(strided).paths[1].taps, strided[1])

    def test_silent_pairs_have_no_path(self):
        h = np.zeros((2, 2, 5))
        h[0, 1, 3] = 1
        assert [(p.output, p.input) for p in from_array(h).paths] == [(0, 1)]
        silent = from_array(np.zeros((2, 2, 5)))
        assert silent.taps == 5

    def test_refusals(self):
        with pytest.raises(MismatchError):
            from_array(np.ones((2, 5)), 3)
        with pytest.raises(MismatchError):
            from_array(np.ones((3, 2, 5)), 3)
        for bad in (np.ones(3, complex), np.ones((1, 1, 1, 1)), np.float64(1), np.array(["a"])):
            with pytest.raises(OptionError):
                from_array(bad)


class TestCascade:
    @pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 500), (20, 33), (33, 33), (257, 4001), (5000, 40)])
    def test_against_scipy(self, k1, k2):
        first, second = random_matrix(2, 3, k1, 1, origin=4), random_matrix(3, 2, k2, 2, origin=7)
        both = cascade(first, second)
        assert (both.inputs, both.outputs, both.origin, both.taps) == (2, 2, 11, k1 + k2 - 1)
        expected = np.zeros((2, 2, k1 + k2 - 1))
        for o, m, i in itertools.product(range(2), range(3), range(2)):
            expected[o, i] += scipy.signal.convolve(dense(first)[m, i], dense(second)[o, m], method="direct")
        assert error(dense(both), expected) < 1e-14

    @settings(deadline=None, max_examples=40)
    @given(
        st.lists(st.integers(1, 4), min_size=4, max_size=4),
        st.lists(st.integers(1, 120), min_size=3, max_size=3),
        st.integers(0, 1000),
    )
    def test_associative(self, channels, taps, seed):
        a, b, c = (
            random_matrix(i, o, k, seed + n, origin=n)
            for n, (i, o, k) in enumerate(zip(channels, channels[1:], taps, strict=False))
        )
        left, right = cascade(cascade(a, b), c), cascade(a, cascade(b, c))
        assert left.origin == right.origin == 3
        assert error(dense(left), dense(right)) < 1e-12

    def test_filters_of_several_lengths(self):
        first = FilterMatrix(1, 2, (Path(0, 0, noise(300, seed=1)), Path(1, 0, noise(5, seed=2))))
        second = FilterMatrix(2, 1, (Path(0, 0, noise(50, seed=3)), Path(0, 1, noise(700, seed=4))))
        expected = np.zeros(5 + 700 - 1)
        for a, b in zip(first.paths, second.paths, strict=True):
            term = np.convolve(a.taps, b.taps)
            expected[: len(term)] += term
        assert error(dense(cascade(first, second))[0, 0], expected) < 1e-14

    def test_shared_filters_stay_shared(self, monkeypatch):
        transforms = []
        rfft = np.fft.rfft
        monkeypatch.setattr(np.fft, "rfft", lambda *args: transforms.append(1) or rfft(*args))
        both = cascade(route(noise(1, 100, seed=1), 64), route(noise(1, 90, seed=2), 64))
        assert len(transforms) == 2
        assert len(both.paths) == 64
        assert len({id(p.taps) for p in both.paths}) == 1
        expected = np.convolve(noise(1, 100, seed=1)[0], noise(1, 90, seed=2)[0])
        assert error(both.paths[9].taps, expected) < 1e-14

    def test_mono_after_true_stereo(self):
        first, second = route(noise(4, 40), 2, "true-stereo"), route(noise(1, 50, seed=9), 2)
        expected = scipy.signal.convolve(dense(first), second.paths[0].taps[None, None], method="direct")
        assert error(dense(cascade(first, second)), expected) < 1e-14

    def test_a_unit_impulse_changes_nothing(self):
        first = random_matrix(2, 2, 1000, 5)
        assert np.array_equal(dense(cascade(first, route(np.ones((1, 1)), 2))), dense(first))

    def test_channels_that_do_not_fit(self):
        with pytest.raises(MismatchError, match=r"gives 3 channels .* takes 2"):
            cascade(random_matrix(2, 3, 5, 0), random_matrix(2, 2, 5, 0))

    def test_no_way_through(self):
        first = FilterMatrix(2, 2, (Path(0, 0, np.ones(4)),))
        second = FilterMatrix(2, 2, (Path(1, 1, np.ones(4)),))
        assert cascade(first, second).paths == ()


def test_scale_keeps_sharing():
    matrix = route(noise(1, 9), 3)
    louder = scale(matrix, 2.5)
    assert np.array_equal(louder.paths[2].taps, 2.5 * noise(1, 9)[0])
    assert len({id(p.taps) for p in louder.paths}) == 1
    assert np.array_equal(matrix.paths[0].taps, noise(1, 9)[0])
    assert scale(matrix, 1.0) is matrix


def test_transform_calls_once_for_each_array():
    calls = []
    matrix = transform(route(np.ones((1, 3)), 8), lambda taps: calls.append(1) or taps + 1)
    assert len(calls) == 1
    assert np.array_equal(matrix.paths[7].taps, [2, 2, 2])


def test_dense_adds_paths_up_and_pads():
    matrix = FilterMatrix(1, 1, (Path(0, 0, np.array([1.0, 2])), Path(0, 0, np.array([10.0]))))
    assert np.array_equal(dense(matrix), [[[11, 2]]])


@given(st.integers(1, 10**7))
def test_fast_length(n):
    length = fast_length(n)
    assert n <= length < 2 * n + 1
    for prime in (2, 3, 5):
        while length % prime == 0:
            length //= prime
    assert length == 1


def test_fast_length_is_the_smallest():
    from scipy.fft import next_fast_len

    for n in range(1, 500):
        assert fast_length(n) == next_fast_len(n, real=True)
