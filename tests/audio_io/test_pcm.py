"""Sample encodings against numpy written the long way, and against libsndfile."""

import io
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from longconv_audio.audio_io import pcm

FORMATS = list(pcm.RAW_FORMATS.items())
IDS = list(pcm.RAW_FORMATS)


def noise(channels, frames, dtype="float64", seed=1, top=1.0):
    return np.random.default_rng(seed).uniform(-top, top, (channels, frames)).astype(dtype)


@pytest.mark.parametrize(("name", "fmt"), FORMATS, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [1, 2, 3, 64])
def test_decode_is_what_libsndfile_reads(name, fmt, dtype, channels):
    x = noise(channels, 1500, dtype)
    raw = bytes(pcm.encode(x, fmt))
    expected, _ = soundfile.read(
        io.BytesIO(raw),
        samplerate=48000,
        channels=channels,
        format="RAW",
        subtype=fmt.subtype,
        endian="LITTLE" if fmt.order == "<" else "BIG",
        dtype=dtype,
        always_2d=True,
    )
    out = pcm.decode(raw, fmt, np.empty((channels, 1500), dtype))
    assert np.array_equal(out, expected.T)
    assert np.abs(out - x).max() <= (2.0**-7 if fmt.bits == 8 else 2.0**-15)


@pytest.mark.parametrize(("name", "fmt"), FORMATS, ids=IDS)
def test_any_bytes_survive_decode_and_encode(name, fmt):
    channels, frames = 3, 40_000
    if fmt.is_float:
        raw = noise(frames, channels).astype(f"{fmt.order}f{fmt.width}").tobytes()
    else:
        raw = np.random.default_rng(2).bytes(channels * frames * fmt.width)
    out = pcm.decode(raw, fmt, np.empty((channels, frames)))
    assert np.abs(out).max() > 0.5
    assert bytes(pcm.encode(out, fmt)) == raw


@pytest.mark.parametrize("name", ["s16le", "s24be", "f32le"])
def test_float32_is_enough_for_24_bits(name):
    fmt = pcm.RAW_FORMATS[name]
    raw = bytes(pcm.encode(noise(2, 5000), fmt))
    assert bytes(pcm.encode(pcm.decode(raw, fmt, np.empty((2, 5000), np.float32)), fmt)) == raw


def test_encode_takes_views_and_reuses_a_buffer():
    x = noise(2, 2000)[:, ::2]
    buffer = bytearray(2 * 1000 * 3 + 7)
    for name in ("s24le", "s16be", "u8"):
        fmt = pcm.RAW_FORMATS[name]
        view = pcm.encode(x, fmt, None, buffer)
        assert bytes(view) == bytes(pcm.encode(x.copy(), fmt))
        assert len(view) == 2000 * fmt.width
    assert len(pcm.encode(np.empty((2, 0)), fmt)) == 0


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quantise_rounds_half_to_even_and_saturates(bits, dtype):
    scale = 2.0 ** (bits - 1)
    levels = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 3.25, -3.75])
    x = np.array([[*(levels / scale), 1.0, -1.0, 7.0, -7.0, np.inf, -np.inf, np.nan]], dtype)
    top = 2 ** (bits - 1) - 1
    expected = [0, 2, 2, 0, -2, 3, -4, top, -top - 1, top, -top - 1, top, -top - 1, 0]
    assert pcm.quantise(x, bits).tolist() == [expected]


def test_float64_reaches_every_level_of_32_bits():
    levels = np.random.default_rng(3).integers(-(2**31), 2**31, (2, 5000))
    assert np.array_equal(pcm.quantise(levels / 2.0**31, 32), levels)


@given(cuts=st.lists(st.integers(0, 300), max_size=6), bits=st.sampled_from([8, 16, 24]))
def test_dither_does_not_depend_on_the_blocks(cuts, bits):
    x = noise(3, 300, seed=4)
    whole = pcm.quantise(x, bits, pcm.dither_source())
    edges = [0, *sorted(cuts), 300]
    source = pcm.dither_source()
    parts = [pcm.quantise(x[:, a:b], bits, source) for a, b in pairwise(edges)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
    assert np.abs(whole).max() > 2 ** (bits - 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dither_is_triangular_and_two_levels_wide(dtype):
    # A quarter of a level, which rounding alone would lose: dither keeps it on average, with the variance that
    # theory gives: 1/4 level^2 in all (TPDF 1/6 and rounding 1/12), whatever the signal is.
    x = np.full((1, 400_000), 0.25 / 2**15, dtype)
    levels = pcm.quantise(x, 16, pcm.dither_source())
    assert set(np.unique(levels)) == {-1, 0, 1}
    assert abs(levels.mean() - 0.25) < 0.005
    assert abs(levels.var() - 0.25) < 0.005


def test_only_known_formats():
    with pytest.raises(ValueError, match="VORBIS"):
        pcm.SampleFormat("VORBIS")
