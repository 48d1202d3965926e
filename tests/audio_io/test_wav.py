"""WAV headers: what is written is read, by us and by libsndfile, and no bytes at all upset the parser."""

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from longconv_audio.audio_io import pcm, wav, wav_header
from longconv_audio.errors import OptionError, UnreadableError

SUBTYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"]


class Pipe:
    """Bytes that come in dribbles and never seek."""

    def __init__(self, data, step=5):
        self.data, self.step = memoryview(data), step

    def read(self, count):
        part = bytes(self.data[: min(count, self.step)])
        self.data = self.data[len(part) :]
        return part


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("channels", [1, 2, 6, 64])
@pytest.mark.parametrize("options", [{}, {"reserve": True}, {"rf64": True}, {"extensible": True}])
def test_header_round_trip(subtype, channels, options):
    fmt = pcm.SampleFormat(subtype)
    info = wav_header.info_chunk({"title": "Söng", "artist": "someone"})
    header = wav_header.build_header(fmt, 96000, channels, 100, chunks=[info], **options)
    x = np.random.default_rng(0).uniform(-1, 1, (channels, 100))
    data = bytes(pcm.encode(x, fmt))
    parsed = wav.parse_header(Pipe(header + data))
    assert (parsed.fmt, parsed.samplerate, parsed.channels) == (fmt, 96000, channels)
    assert (parsed.data_offset, parsed.data_bytes) == (len(header), len(data))
    assert parsed.riff_end == len(header) + len(data)
    assert wav_header.info_tags(parsed.chunks) == {"title": "Söng", "artist": "someone"}
    read, rate = soundfile.read(io.BytesIO(header + data), always_2d=True)
    assert rate == 96000
    assert np.array_equal(read.T, pcm.decode(data, fmt, np.empty((channels, 100))))


@pytest.mark.parametrize("frames", [0, 7, 2**31, 2**33])
def test_the_reserved_header_has_one_length(frames):
    fmt = pcm.SampleFormat("FLOAT")
    header = wav_header.build_header(fmt, 48000, 2, frames, reserve=True)
    assert len(header) == len(wav_header.build_header(fmt, 48000, 2, None, reserve=True))
    parsed = wav.parse_header(Pipe(header))
    large = frames * 8 > 2**32
    assert header[:4] == (b"RF64" if large else b"RIFF")
    assert (b"ds64" in header) == large
    assert (b"JUNK" in header) != large
    assert parsed.data_bytes == (frames * 8 or None)
    assert parsed.riff_end == len(header) + frames * 8


def test_the_largest_riff_and_the_smallest_rf64():
    fmt = pcm.SampleFormat("PCM_16")
    overhead = len(wav_header.build_header(fmt, 48000, 1, 1)) - 8
    most = (0xFFFFFFFF - overhead) // 2
    riff, rf64 = (wav_header.build_header(fmt, 48000, 1, frames) for frames in (most, most + 1))
    assert (riff[:4], rf64[:4]) == (b"RIFF", b"RF64")
    assert struct.unpack("<I", riff[4:8])[0] == overhead + 2 * most
    sizes = struct.unpack("<QQQ", rf64[20:44])
    assert sizes == (len(rf64) - 8 + 2 * (most + 1), 2 * (most + 1), most + 1)


def test_unknown_length_is_declared_as_ffmpeg_does():
    header = wav_header.build_header(pcm.SampleFormat("FLOAT"), 48000, 2, None)
    assert header[4:8] == header[-4:] == b"\xff\xff\xff\xff"
    parsed = wav.parse_header(Pipe(header))
    assert (parsed.data_bytes, parsed.open_end, parsed.riff_end) == (None, "streaming", None)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "zero"),
        (0xFFFFFFFF, "streaming"),
        (0xFFFFFFDB, "streaming"),
        (0x7FFFEFFC, "streaming"),
        (0x7FFFF000 - 36, "streaming"),
        (0x80000000, "streaming"),
        (1000, ""),
    ],
)
def test_sizes_that_say_nothing(size, expected):
    header = bytearray(wav_header.build_header(pcm.SampleFormat("PCM_16"), 48000, 1, 10))
    header[-4:] = struct.pack("<I", size)
    parsed = wav.parse_header(Pipe(header))
    assert parsed.open_end == expected
    assert parsed.data_bytes == (None if expected else size)


def test_masks_are_kept():
    header = wav_header.build_header(pcm.SampleFormat("PCM_16"), 48000, 6, 10, channel_mask=0x60F)
    assert wav.parse_header(Pipe(header)).channel_mask == 0x60F
    stereo = wav_header.build_header(pcm.SampleFormat("PCM_16"), 48000, 2, 10, channel_mask=0x3)
    assert wav.parse_header(Pipe(stereo)).channel_mask is None
    sides = wav_header.build_header(pcm.SampleFormat("PCM_16"), 48000, 2, 10, channel_mask=0x600)
    assert wav.parse_header(Pipe(sides)).channel_mask == 0x600


@pytest.mark.parametrize(("channels", "rate"), [(0, 48000), (2, 0)])
def test_no_channels_or_no_rate(channels, rate):
    header = bytearray(wav_header.build_header(pcm.SampleFormat("PCM_16"), 48000, 2, 10))
    header[22:28] = struct.pack("<HI", channels, rate)
    with pytest.raises(UnreadableError, match=r"header says .*0"):
        wav.parse_header(Pipe(header))


@pytest.mark.parametrize(("channels", "rate"), [(0, 48000), (40000, 48000), (1, 0), (1, 2**32)])
def test_what_no_wav_holds(channels, rate):
    with pytest.raises(OptionError, match=r"do(es)? not fit in a WAV"):
        wav_header.build_header(pcm.SampleFormat("PCM_16"), rate, channels, 10)


def test_every_cut_is_unreadable():
    header = wav_header.build_header(pcm.SampleFormat("PCM_24"), 48000, 4, 10, reserve=True, chunks=[("bext", b"abc")])
    for length in range(len(header)):
        with pytest.raises(UnreadableError, match=r"cut short"):
            wav.parse_header(Pipe(header[:length]))


HEADERS = [
    wav_header.build_header(pcm.SampleFormat(subtype), 44100, channels, frames, chunks=[("bext", b"abc")], **options)
    for subtype, channels, frames, options in [
        ("PCM_16", 2, 50, {}),
        ("FLOAT", 6, 50, {"reserve": True}),
        ("PCM_24", 1, None, {"rf64": True}),
    ]
]


@settings(max_examples=400, deadline=None)
@given(
    which=st.integers(0, len(HEADERS) - 1),
    edits=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 400),
)
def test_mutated_headers_are_read_or_refused(which, edits, cut):
    data = bytearray(HEADERS[which] + bytes(range(1, 200)))
    for place, value in edits:
        data[place % len(data)] = value
    try:
        parsed = wav.parse_header(Pipe(data[: len(data) - cut % len(data)], step=64))
    except UnreadableError:
        return
    assert parsed.channels > 0
    assert parsed.samplerate > 0
    assert 0 < parsed.data_offset <= len(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_bytes_behind_the_samples_are_parsed_or_left(data):
    whole = struct.pack("<4sI", b"bext", 3) + b"abc\0" + data
    assert wav.parse_chunks(whole)[0] == ("bext", b"abc")
    wav_header.info_tags([("LIST", b"INFO" + data)])
