"""IRs, matrix files and settings become one matrix of filters: against numpy's convolutions."""

import numpy as np
import pytest

from longconv_audio.duration import Duration
from longconv_audio.errors import MismatchError, OptionError, UnreadableError
from longconv_audio.filter_chain import FilterSettings, read_filter
from longconv_audio.routing import dense

RATE = 48_000


@pytest.fixture
def irs(tmp_path, rng):
    """Arrays on disk, by name: mono, stereo and four channels; those of (paths, taps)."""
    arrays = {
        "mono": rng.standard_normal(40),
        "stereo": rng.standard_normal((2, 60)),
        "four": rng.standard_normal((4, 50)),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    return {name: str(tmp_path / f"{name}.npy") for name in arrays}, arrays


def chained(irs, *names, inputs=2, **settings):
    chain = read_filter([irs[0][name] for name in names], RATE, inputs, FilterSettings(**settings))
    return dense(chain.matrix), chain


def diagonal(h, inputs=2):
    h = np.broadcast_to(h, (inputs, np.shape(h)[-1]))
    return np.eye(inputs)[:, :, None] * h[:, None, :]


def test_one_ir(irs):
    h, chain = chained(irs, "stereo")
    np.testing.assert_array_equal(h, diagonal(irs[1]["stereo"]))
    assert (chain.normalisation_db, chain.notes, chain.matrix.origin) == (0, [], 0)


def test_series(irs):
    h, _ = chained(irs, "stereo", "mono", "stereo")
    rows = [np.convolve(np.convolve(row, irs[1]["mono"]), row) for row in irs[1]["stereo"]]
    np.testing.assert_allclose(h, diagonal(rows), atol=1e-12)
    assert h.any()


def test_true_stereo_then_mono(irs):
    h, _ = chained(irs, "four", channels="true-stereo", order="LL,RL,LR,RR")
    four = irs[1]["four"]
    np.testing.assert_array_equal(h, [[four[0], four[1]], [four[2], four[3]]])


def test_matrix_files(irs, tmp_path):
    (tmp_path / "up.toml").write_text("[[path]]\ninput = 1\noutput = 2\nfile = 'mono.npy'\ngain = 2.0\n")
    path = str(tmp_path / "up.toml")
    expected = np.zeros((2, 1, 40))
    expected[1, 0] = 2 * irs[1]["mono"]
    for chain in (
        read_filter([path], RATE, 1, FilterSettings()),
        read_filter([], RATE, 1, FilterSettings(channels=path)),
    ):
        np.testing.assert_array_equal(dense(chain.matrix), expected)
    # The matrix first, then the IR with as many channels as it gives.
    chain = read_filter([path, irs[0]["stereo"]], RATE, 1, FilterSettings())
    np.testing.assert_allclose(
        dense(chain.matrix)[1, 0], np.convolve(2 * irs[1]["mono"], irs[1]["stereo"][1]), atol=1e-12
    )


def test_a_matrix_file_for_the_channels_stands_alone(irs, tmp_path):
    """Beside the IR that it names it would be convolved with that IR a second time."""
    (tmp_path / "up.toml").write_text("[[path]]\ninput = 1\noutput = 2\nfile = 'mono.npy'\n")
    with pytest.raises(OptionError, match=r"up\.toml stands beside .*stereo\.npy.* among the IRs"):
        read_filter([irs[0]["stereo"]], RATE, 1, FilterSettings(channels=str(tmp_path / "up.toml")))


@pytest.mark.parametrize("name", ["MAT.TOML", "mat.Conf"])
def test_suffixes_in_any_case(irs, tmp_path, name):
    (tmp_path / name).write_text("[[path]]\ninput = 1\noutput = 1\nfile = 'mono.npy'\n")
    path = str(tmp_path / name)
    for chain in (
        read_filter([path], RATE, 1, FilterSettings()),
        read_filter([], RATE, 1, FilterSettings(channels=path)),
    ):
        np.testing.assert_array_equal(dense(chain.matrix)[0, 0], irs[1]["mono"])


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"mix": 0.5}, "dry -6.0 dB, wet -6.0 dB"),
        ({"mix": 0.0}, "dry +0.0 dB, wet -inf dB"),
        ({"dry": -0.01, "wet": -9.0}, "dry +0.0 dB, wet -9.0 dB"),
        ({"wet": 3.0}, "dry -inf dB, wet +3.0 dB"),
    ],
)
def test_dry_and_wet_are_said_in_db(irs, settings, note):
    assert chained(irs, "stereo", **settings)[1].notes == [note]


@pytest.mark.parametrize(
    ("settings", "dry", "wet"),
    [
        ({"mix": 0.25}, 0.75, 0.25),
        ({"mix": 0.0}, 1, 0),
        ({"mix": 1.0}, 0, 1),
        ({"dry": -20.0}, 0.1, 1),
        ({"wet": -20.0}, 0, 0.1),
        ({"dry": 0.0, "wet": -40.0}, 1, 0.01),
        ({"dry": -np.inf, "wet": 0.0}, 0, 1),
        ({}, 0, 1),
    ],
)
def test_dry_and_wet(irs, settings, dry, wet):
    h, _ = chained(irs, "stereo", gain=-20.0, **settings)
    expected = wet * irs[1]["stereo"]
    expected[:, 0] += dry
    np.testing.assert_allclose(h, diagonal(0.1 * expected), atol=1e-15)


def test_normalized_in_series_then_mixed(irs):
    h, chain = chained(irs, "stereo", "mono", normalize="peak", dry=0.0)
    rows = np.array([np.convolve(row, irs[1]["mono"]) for row in irs[1]["stereo"]])
    size = np.abs(rows).max()
    expected = rows / size
    expected[:, 0] += 1
    np.testing.assert_allclose(h, diagonal(expected), atol=1e-13)
    assert chain.normalisation_db == pytest.approx(-20 * np.log10(size))


def test_aligned_then_delayed_then_mixed(irs):
    stereo = irs[1]["stereo"]
    peak = int(np.abs(stereo).max(axis=0).argmax())
    assert peak > 5
    for milliseconds, delay in ((0, 0), (3 / 48, 3), (2.0, 96)):
        h, chain = chained(irs, "stereo", align="peak", predelay=milliseconds, dry=0.0)
        front = max(delay - peak, 0)  # what does not fit in front of the peak
        origin = max(peak - delay, 0)
        assert chain.matrix.origin == origin
        expected = np.zeros((2, front + 60))
        expected[:, front:] = stereo
        expected[:, origin] += 1
        np.testing.assert_allclose(h, diagonal(expected), atol=1e-15)


def test_a_part_of_the_ir(irs):
    samples = Duration.of_samples
    h, _ = chained(irs, "stereo", offset=samples(10), length=samples(20), fade_out=samples(4))
    expected = irs[1]["stereo"][:, 10:30].copy()
    expected[:, -4:] *= np.cos(np.pi / 2 * np.arange(1, 5) / 5) ** 2
    np.testing.assert_allclose(h, diagonal(expected), atol=1e-15)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mix": 0.5, "dry": 0.0}, "--mix"),
        ({"mix": -0.1}, "--mix -0.1"),
        ({"mix": np.nan}, "--mix nan"),
        ({"predelay": -1.0}, "--predelay"),
        ({"predelay": np.nan}, "--predelay"),
        ({"gain": np.nan}, "--gain"),
        ({"wet": 1e9}, "--wet"),
        ({"align": "centre"}, "--align centre"),
        ({"channels": "quad"}, "--ir-channels quad"),
        ({"normalize": "loud"}, "--normalize loud"),
        ({"order": "LL"}, "--ir-order"),
        ({"predelay": np.inf}, "inf"),
        ({"predelay": 1e300}, r"--predelay 1e\+300: expected \d+ ms at most"),
        ({"predelay": 5.7e6}, r"--predelay 5\.7e\+06: expected 5592405 ms at most"),
    ],
)
def test_settings_without_sense(irs, settings, words):
    with pytest.raises(OptionError, match=words):
        chained(irs, "stereo", **settings)


def test_what_does_not_fit(irs, tmp_path):
    with pytest.raises(MismatchError, match="true-stereo"):
        chained(irs, "four")
    with pytest.raises(MismatchError, match="2 channels and the input 3"):
        chained(irs, "stereo", inputs=3)
    with pytest.raises(OptionError, match="no IR was given"):
        chained(irs)
    with pytest.raises(UnreadableError, match="no such file"):
        read_filter([str(tmp_path / "none.npy")], RATE, 2, FilterSettings())


@pytest.mark.parametrize(
    "settings",
    [{"offset": Duration.of(0.1)}, {"length": Duration.of_samples(5)}, {"fade_out": Duration.of_samples(5)}],
)
def test_options_for_an_ir_do_not_reach_into_a_matrix_file(tmp_path, settings):
    file = tmp_path / "swap.toml"
    file.write_text("[[path]]\ninput = 1\noutput = 2\ndirect = true\n[[path]]\ninput = 2\noutput = 1\ndirect = true\n")
    with pytest.raises(OptionError, match=r"swap\.toml"):
        read_filter([str(file)], RATE, 2, FilterSettings(**settings))
