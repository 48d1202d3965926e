import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from longconv_audio.errors import MismatchError, OptionError
from longconv_audio.routing import FilterMatrix, Path, dense, from_array, route
from longconv_audio.shaping import align_peak, delay, fade_out, mix, normalisation_gain, resample, trim


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def apply(matrix, x):
    """What the matrix does to a signal, by FilterMatrix's definition, from time 0 on and as long as x."""
    y = np.zeros((matrix.outputs, x.shape[1]))
    for path in matrix.paths:
        full = np.convolve(x[path.input], path.taps)
        part = full[matrix.origin : matrix.origin + x.shape[1]]
        y[path.output, : len(part)] += part
    return y


def distinct(matrix):
    return len({id(path.taps) for path in matrix.paths})


def test_trim():
    taps = noise(2, 20)
    assert np.array_equal(trim(taps, 3), taps[:, 3:])
    assert np.array_equal(trim(taps, 3, 5), taps[:, 3:8])
    assert np.array_equal(trim(taps, 15, 100), taps[:, 15:])
    assert trim(taps, 30).shape == (2, 0)
    with pytest.raises(OptionError):
        trim(taps, -1)
    with pytest.raises(OptionError):
        trim(taps, 0, -2)


class TestFadeOut:
    def test_half_cosine(self):
        ones = np.ones((2, 50))
        faded = fade_out(ones, 9)
        assert np.array_equal(faded[:, :41], ones[:, :41])
        # scipy's symmetric Hann window of 21 points falls from 1 at its middle over the same half cosine.
        assert np.allclose(faded[0, 41:], scipy.signal.windows.hann(21)[11:20], rtol=0, atol=1e-15)
        assert np.array_equal(ones, np.ones((2, 50)))

    def test_longer_than_the_taps(self):
        assert np.array_equal(fade_out(np.ones((1, 5)), 20)[0], fade_out(np.ones((1, 20)), 20)[0, 15:])

    def test_nothing_to_do(self):
        taps = noise(1, 5)
        assert fade_out(taps, 0) is taps
        assert fade_out(np.zeros((2, 0)), 4).shape == (2, 0)
        with pytest.raises(OptionError):
            fade_out(taps, -1)


RATES = [
    (44100, 48000),
    (48000, 44100),
    (96000, 48000),
    (48000, 96000),
    (8000, 768000),
    (768000, 8000),
    (44100, 44101),
    (11025, 192000),
    (1, 48),
]


class TestResample:
    @pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
    @pytest.mark.parametrize("index", [0, 1, 199])
    def test_a_delta_keeps_gain_and_delay(self, rate_in, rate_out, index):
        taps = np.zeros((1, 200))
        taps[0, index] = 1
        resampled, origin = resample(taps, rate_in, rate_out)
        assert isinstance(origin, int)
        lower = min(rate_in, rate_out) / 2
        frequencies = np.linspace(0, 0.9 * lower, 300)
        # H(f) by the definition, with time zero at the origin; the delta's own response is a pure delay.
        times = (np.arange(resampled.shape[1]) - origin) / rate_out
        response = np.exp(-2j * np.pi * frequencies[:, None] * times) @ resampled[0]
        response *= np.exp(2j * np.pi * frequencies * index / rate_in)
        assert np.abs(20 * np.log10(np.abs(response))).max() < 0.01
        # Phase left over, as time: under 1e-4 of a sample of the lower rate.
        late = np.angle(response[1:]) / (2 * np.pi * frequencies[1:])
        assert np.abs(late).max() * min(rate_in, rate_out) < 1e-4

    @pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
    def test_nothing_of_the_ringing_is_cut(self, rate_in, rate_out):
        resampled, _ = resample(np.ones((1, 1)), rate_in, rate_out)
        magnitudes = np.abs(resampled[0]) / np.abs(resampled).max()
        assert magnitudes[0] < 1e-9
        assert magnitudes[-1] < 1e-9

    def test_noise_against_the_exact_spectrum(self):
        taps = noise(2, 3000)
        resampled, origin = resample(taps, 48000, 44100)
        frequencies = np.linspace(0, 0.9 * 22050, 200)

        def response(h, rate, zero):
            return h @ np.exp(-2j * np.pi * frequencies * (np.arange(h.shape[1])[:, None] - zero) / rate)

        expected = response(taps, 48000, 0)
        assert np.abs(response(resampled, 44100, origin) - expected).max() / np.abs(expected).max() < 1e-3

    def test_nothing_to_do(self):
        taps = noise(2, 10)
        same, origin = resample(taps, 48000, 48000)
        assert same is taps
        assert origin == 0
        assert resample(np.zeros((2, 0)), 48000, 44100)[0].shape == (2, 0)

    @pytest.mark.parametrize(("rate_in", "rate_out"), [(0, 48000), (48000, -1), (1, 768000), (768000, 1)])
    def test_refusals(self, rate_in, rate_out):
        with pytest.raises(OptionError):
            resample(np.ones((1, 4)), rate_in, rate_out)


class TestNormalisation:
    matrix = from_array(0.3 * noise(2, 3, 1000))

    def levelled(self, kind):
        return normalisation_gain(self.matrix, kind) * dense(self.matrix)

    def test_none(self):
        assert normalisation_gain(self.matrix, "none") == 1

    def test_peak(self):
        assert np.abs(self.levelled("peak")).max() == pytest.approx(1, rel=1e-14)

    def test_l2(self):
        assert np.square(self.levelled("l2")).sum(axis=-1).max() == pytest.approx(1, rel=1e-13)

    def test_l1_is_what_cannot_clip(self):
        h = self.levelled("l1")
        assert np.abs(h).sum(axis=(1, 2)).max() == pytest.approx(1, rel=1e-13)
        # The worst input within full scale: the signs of the taps of the louder output, reversed.
        worst = np.abs(h).sum(axis=(1, 2)).argmax()
        x = np.sign(h[worst, :, ::-1])
        assert sum(np.convolve(x[i], h[worst, i])[999] for i in range(3)) == pytest.approx(1, rel=1e-13)

    def test_magnitude(self):
        h = self.levelled("magnitude")
        largest = max(np.abs(scipy.signal.freqz(row, worN=50000)[1]).max() for row in h.reshape(6, -1))
        assert largest == pytest.approx(1, rel=0.01)

    def test_magnitude_between_the_bins(self):
        # A cosine right between two bins of an unpadded transform.
        h = np.cos(2 * np.pi * 10.5 / 256 * np.arange(256))
        exact = np.abs(scipy.signal.freqz(h, worN=1 << 16)[1]).max()
        assert 1 / normalisation_gain(from_array(h), "magnitude") == pytest.approx(exact, rel=0.01)

    def test_long_ones_get_a_coarser_grid(self, monkeypatch):
        monkeypatch.setattr("longconv_audio.shaping.FINE_GRID_TAPS", 100)
        assert normalisation_gain(from_array(np.ones(200)), "magnitude") == pytest.approx(1 / 200)

    def test_paths_between_the_same_channels_count_as_one(self):
        matrix = FilterMatrix(1, 1, (Path(0, 0, np.array([1.0, 0, 2])), Path(0, 0, np.array([3.0]))))
        assert normalisation_gain(matrix, "peak") == 0.25
        assert normalisation_gain(matrix, "l1") == pytest.approx(1 / 6)

    @pytest.mark.parametrize("size", [1e-200, 1e200])
    def test_extremes(self, size):
        assert normalisation_gain(from_array(np.array([3, 4]) * size), "l2") == pytest.approx(0.2 / size)

    @pytest.mark.parametrize("kind", ["peak", "l1", "l2", "magnitude"])
    def test_silence(self, kind):
        with pytest.raises(OptionError, match="every tap"):
            normalisation_gain(route(np.zeros((1, 9)), 2), kind)
        assert normalisation_gain(route(np.zeros((1, 9)), 2), "none") == 1

    def test_unknown(self):
        with pytest.raises(OptionError, match="rms"):
            normalisation_gain(self.matrix, "rms")


class TestAlign:
    def test_one_index_for_all(self):
        h = 0.1 * noise(2, 2, 50).clip(-1, 1)
        h[1, 0, 33] = -5
        matrix = align_peak(from_array(h))
        assert matrix.origin == 33
        assert np.array_equal(dense(matrix), h)

    def test_the_first_of_equal_peaks(self):
        h = np.zeros((2, 9))
        h[0, 7] = h[1, 4] = h[1, 8] = 1
        assert align_peak(from_array(h)).origin == 4
        assert align_peak(from_array(h[::-1])).origin == 4

    def test_takes_the_leading_delay_out(self):
        ir = np.zeros(100)
        ir[40] = 1
        x = noise(1, 300)
        assert np.array_equal(apply(align_peak(from_array(ir)), x), x)

    def test_silence(self):
        assert align_peak(from_array(np.zeros(9), origin=3)).origin == 3


class TestDelay:
    @settings(deadline=None, max_examples=60)
    @given(st.integers(0, 40), st.integers(0, 90), st.integers(1, 60))
    def test_exact_to_the_sample(self, origin, samples, taps):
        # Whole numbers, so that the order of summation does not show.
        matrix = from_array(np.round(100 * noise(2, taps, seed=taps)), origin=origin)
        x = np.zeros((2, 400))
        x[:, 100:200] = np.round(100 * noise(2, 100))
        later = apply(delay(matrix, samples), x)
        before = apply(matrix, x)
        assert np.abs(before).max() > 0
        assert np.array_equal(later[:, samples:], before[:, : 400 - samples])

    def test_shares_and_does_not_pad_more_than_needed(self):
        matrix = delay(route(noise(1, 20), 8, origin=5), 12)
        assert distinct(matrix) == 1
        assert (matrix.taps, matrix.origin) == (27, 0)
        assert delay(route(noise(1, 20), 8, origin=5), 3).taps == 20

    def test_negative(self):
        with pytest.raises(OptionError):
            delay(route(noise(1, 20), 1), -1)


class TestMix:
    @pytest.mark.parametrize("origin", [0, 5, 19, 60])
    @pytest.mark.parametrize("predelay", [0, 3, 50])
    @pytest.mark.parametrize("kind", ["mono", "true-stereo", "crossed"])
    def test_dry_stays_in_time(self, origin, predelay, kind):
        if kind == "crossed":
            matrix = FilterMatrix(2, 2, (Path(0, 1, noise(20)), Path(1, 0, noise(20, seed=1))), origin)
        else:
            matrix = route(noise(1 if kind == "mono" else 4, 20), 2, kind, origin=origin)
        x = np.zeros((2, 300))
        x[:, 80:150] = noise(2, 70)
        mixed = apply(mix(delay(matrix, predelay), 0.7, -0.4), x)
        wet = apply(matrix, x)
        expected = 0.7 * x
        expected[:, predelay:] -= 0.4 * wet[:, : 300 - predelay]
        assert np.abs(wet).max() > 0
        assert np.abs(mixed - expected).max() < 1e-13 * np.abs(expected).max()

    def test_dry_alone_is_the_input(self):
        x = noise(3, 100)
        matrix = align_peak(route(noise(1, 30), 3))
        assert np.array_equal(apply(mix(matrix, 1, 0), x), x)

    def test_paths_between_the_same_channels(self):
        path = Path(0, 0, noise(9))
        x = noise(1, 50)
        expected = x + 2 * apply(FilterMatrix(1, 1, (path,)), x)
        assert np.allclose(apply(mix(FilterMatrix(1, 1, (path, path)), 1, 1), x), expected, rtol=0, atol=1e-13)

    def test_sharing(self):
        matrix = route(noise(1, 20), 64)
        assert distinct(mix(matrix, 0.5, 0.5)) == 1
        assert distinct(mix(matrix, 0, 0.5)) == 1
        assert mix(matrix, 0, 1) is matrix
        taps = matrix.paths[0].taps
        everywhere = FilterMatrix(4, 4, tuple(Path(o, i, taps) for o in range(4) for i in range(4)))
        assert distinct(mix(everywhere, 1, 1)) == 2
        assert np.array_equal(taps, noise(1, 20)[0])

    def test_dry_needs_equal_channels(self):
        matrix = from_array(noise(3, 2, 5))
        with pytest.raises(MismatchError, match="from 2 to 3 channels"):
            mix(matrix, 0.1, 1)
        assert np.array_equal(dense(mix(matrix, 0, 2)), 2 * dense(matrix))
