import io

import numpy as np
import pytest
import soundfile

from longconv_audio import shaping
from longconv_audio.audio_io.impulse import read_ir
from longconv_audio.duration import Duration
from longconv_audio.errors import MismatchError, NonFiniteError, OptionError, UnreadableError


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.fixture
def ir(tmp_path):
    """A stereo IR of a second at 48 kHz, in a file of doubles."""
    taps = noise(2, 48000)
    soundfile.write(tmp_path / "ir.wav", taps.T, 48000, subtype="DOUBLE")
    return tmp_path / "ir.wav", taps


def message(caught):
    text = str(caught.value)
    assert text
    assert "\n" not in text
    return text


def test_as_it_is(ir):
    path, taps = ir
    found = read_ir(path)
    assert np.array_equal(found.taps, taps)
    assert found.taps.dtype == np.float64
    assert (found.samplerate, found.native_samplerate, found.origin) == (48000, 48000, 0)
    assert found.name == str(path)
    assert found.notes == []


def test_16_bit_is_full_scale_one(tmp_path):
    soundfile.write(tmp_path / "ir.wav", np.array([0.5, -0.25]), 8000, subtype="PCM_16")
    assert np.array_equal(read_ir(tmp_path / "ir.wav").taps, [[0.5, -0.25]])


def test_from_a_file_object(ir):
    path, taps = ir
    assert np.array_equal(read_ir(io.BytesIO(path.read_bytes())).taps, taps)


@pytest.mark.parametrize(
    ("offset", "length", "kept"),
    [
        (0.25, None, slice(12000, None)),
        ("100s", "50s", slice(100, 150)),
        ("10ms", 0.5, slice(480, 24480)),
        (Duration.of_samples(7), "1s", slice(7, 8)),
        (0, "1:00", slice(None)),
    ],
)
def test_a_part(ir, offset, length, kept):
    path, taps = ir
    found = read_ir(path, offset=offset, length=length)
    assert np.array_equal(found.taps, taps[:, kept])
    assert len(found.notes) == (length == "1:00")


def test_fade_out_lies_at_the_end_of_what_is_kept(ir):
    path, taps = ir
    found = read_ir(path, offset="10s", length="1000s", fade_out="100s").taps
    assert np.array_equal(found, shaping.fade_out(taps[:, 10:1010], 100))
    assert np.array_equal(found[:, :900], taps[:, 10:910])
    assert np.abs(found[:, -1]).max() < 1e-3


def test_resampled_after_the_cut(ir):
    path, taps = ir
    found = read_ir(path, samplerate=44100, offset="100s", length="2000s", fade_out="20s")
    expected, origin = shaping.resample(shaping.fade_out(taps[:, 100:2100], 20), 48000, 44100)
    assert np.array_equal(found.taps, expected)
    assert np.abs(expected).max() > 1
    assert (found.origin, found.samplerate, found.native_samplerate) == (origin, 44100, 48000)
    assert found.notes == [f"{path}: resampled from 48000 to 44100 Hz"]


def test_another_rate_refused(ir):
    path, _ = ir
    with pytest.raises(MismatchError) as caught:
        read_ir(path, samplerate=44100, rate="error")
    text = message(caught)
    assert all(word in text for word in (str(path), "48000", "44100", "--ir-rate resample"))
    assert np.abs(read_ir(path, samplerate=48000, rate="error").taps).max() > 1


def test_rates_too_far_apart(tmp_path):
    soundfile.write(tmp_path / "slow.wav", noise(10), 1, subtype="DOUBLE")
    with pytest.raises(MismatchError, match=r"slow\.wav"):
        read_ir(tmp_path / "slow.wav", samplerate=768000)


class TestArrays:
    def test_the_rate_is_the_inputs(self, tmp_path):
        np.save(tmp_path / "ir.npy", noise(3, 100))
        found = read_ir(tmp_path / "ir.npy", samplerate=44100, offset=10 / 44100)
        assert np.array_equal(found.taps, noise(3, 100)[:, 10:])
        assert (found.samplerate, found.native_samplerate, found.origin) == (44100, None, 0)

    def test_one_axis_and_single_precision(self, tmp_path):
        np.save(tmp_path / "ir.npy", noise(100).astype(np.float32))
        found = read_ir(tmp_path / "ir.npy")
        assert found.taps.dtype == np.float64
        assert np.array_equal(found.taps, noise(1, 100).astype(np.float32))
        assert found.samplerate is None

    def test_seconds_without_a_rate(self, tmp_path):
        np.save(tmp_path / "ir.npy", noise(100))
        assert read_ir(tmp_path / "ir.npy", offset="5s").taps.shape == (1, 95)
        with pytest.raises(OptionError, match="no sample rate"):
            read_ir(tmp_path / "ir.npy", offset=0.5)

    @pytest.mark.parametrize(
        "array", [np.ones(3, complex), np.ones((2, 2, 2)), np.array(["a"]), np.float64(3), np.ones((48000, 2))]
    )
    def test_what_is_no_ir(self, tmp_path, array):
        np.save(tmp_path / "ir.npy", array)
        with pytest.raises(UnreadableError) as caught:
            read_ir(tmp_path / "ir.npy")
        assert "expected" in message(caught)

    @pytest.mark.parametrize("contents", [b"", b"garbage", b"\x93NUMPY\x01\x00v\x00{'descr'"])
    def test_garbage(self, tmp_path, contents):
        (tmp_path / "ir.npy").write_bytes(contents)
        with pytest.raises(UnreadableError) as caught:
            read_ir(tmp_path / "ir.npy")
        assert "ir.npy" in message(caught)

    def test_pickles_are_not_run(self, tmp_path):
        np.save(tmp_path / "ir.npy", np.array([print], dtype=object), allow_pickle=True)
        with pytest.raises(UnreadableError):
            read_ir(tmp_path / "ir.npy")

    def test_missing_or_a_folder(self, tmp_path):
        (tmp_path / "folder.npy").mkdir()
        for name in ("missing.npy", "folder.npy"):
            with pytest.raises(UnreadableError, match=name):
                read_ir(tmp_path / name)


class TestBad:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("kind", ["wav", "npy"])
    def test_not_finite(self, tmp_path, value, kind):
        taps = noise(2, 3000)
        taps[1, 1234] = taps[0, 2000] = value
        path = tmp_path / f"ir.{kind}"
        if kind == "npy":
            np.save(path, taps)
        else:
            soundfile.write(path, taps.T, 48000, subtype="DOUBLE")
        with pytest.raises(NonFiniteError) as caught:
            read_ir(path, offset="1000s")
        text = message(caught)
        assert str(path) in text
        assert "channel 2 (of 2), sample 1234" in text
        assert ("NaN" in text) == np.isnan(value)
        # Outside the part in use it does no harm.
        assert np.array_equal(read_ir(path, length="1234s").taps, noise(2, 3000)[:, :1234])

    def test_silence_is_a_note(self, tmp_path):
        soundfile.write(tmp_path / "ir.wav", np.zeros((100, 2)), 48000)
        found = read_ir(tmp_path / "ir.wav")
        assert found.taps.shape == (2, 100)
        assert len(found.notes) == 1
        assert "zero" in found.notes[0]

    @pytest.mark.parametrize("kind", ["wav", "npy"])
    def test_no_samples(self, tmp_path, kind):
        path = tmp_path / f"ir.{kind}"
        if kind == "npy":
            np.save(path, np.zeros((2, 0)))
        else:
            soundfile.write(path, np.zeros((0, 2)), 48000)
        for options in ({}, {"offset": "5s"}, {"length": "5s"}):
            with pytest.raises(UnreadableError, match="0 samples"):
                read_ir(path, **options)

    def test_nothing_left(self, ir):
        with pytest.raises(OptionError) as caught:
            read_ir(ir[0], offset="48000s")
        assert "48000" in message(caught)
        with pytest.raises(OptionError, match="--ir-length 0"):
            read_ir(ir[0], length=0)

    def test_options(self, ir):
        for options in ({"rate": "maybe"}, {"offset": -1}, {"length": "x"}, {"fade_out": "1.5s"}):
            with pytest.raises(OptionError):
                read_ir(ir[0], **options)

    def test_missing_or_garbage(self, tmp_path):
        (tmp_path / "garbage.wav").write_bytes(b"RIFF of another kind" * 20)
        for name in ("missing.wav", "garbage.wav"):
            with pytest.raises(UnreadableError) as caught:
                read_ir(tmp_path / name)
            assert name in message(caught)

    def test_cut_short(self, ir):
        path, taps = ir
        path.write_bytes(path.read_bytes()[: -16 * 1000])
        found = read_ir(path)
        assert np.array_equal(found.taps, taps[:, :47000])
        assert len(found.notes) == 1
        assert str(path) in found.notes[0]
        with pytest.raises(UnreadableError):
            read_ir(path, strict=True)
