"""Reading: every block equals what libsndfile reads, and every damaged file ends in one clear line."""

import glob
import gzip
import io
import os
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import scipy
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from longconv_audio.audio_io import AudioReader, RawLayout, containers, decoders, pcm, reader, source, wav_header
from longconv_audio.errors import OptionError, UnreadableError

ROOT = Path(__file__).parents[2]
TORTURE = sorted(glob.glob(os.path.join(os.path.dirname(scipy.__file__), "io", "tests", "data", "*.wav")))


def noise(channels=2, frames=5000, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (channels, frames))


def wav_bytes(x, subtype="PCM_16", **options):
    fmt = pcm.SampleFormat(subtype)
    header = wav_header.build_header(fmt, 48000, len(x), x.shape[1], **options)
    return header, bytes(pcm.encode(x, fmt))


def blocks_of(audio, sizes):
    """Everything in `audio`, read in blocks of these sizes in turn."""
    blocks, at = [], 0
    while True:
        block = audio.read(sizes[at % len(sizes)])
        if block.shape[1] < sizes[at % len(sizes)]:
            break
        blocks.append(block)
        at += 1
    assert audio.read(10).shape == (audio.channels, 0)
    return np.concatenate([*blocks, block], axis=1)


class Pipe(io.RawIOBase):
    """A file object that cannot seek and gives a few bytes at a time."""

    def __init__(self, data, step=1000):
        self.inner, self.step = io.BytesIO(data), step

    def readable(self):
        return True

    def readinto(self, view):
        return self.inner.readinto(memoryview(view)[: self.step])


def as_path(tmp_path, data, name="x.wav"):
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


SOURCES = {"file": as_path, "memory": lambda _, data: io.BytesIO(data), "pipe": lambda _, data: Pipe(data)}


@pytest.fixture(params=list(SOURCES))
def feed(request, tmp_path):
    """Turns bytes into something to read them from."""
    return lambda data: SOURCES[request.param](tmp_path, data)


@pytest.mark.skipif(not TORTURE, reason="this scipy has no test files")
@pytest.mark.parametrize("path", TORTURE, ids=os.path.basename)
@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torture_set(path, piped, dtype):
    data = Path(path).read_bytes()
    try:
        expected, rate = soundfile.read(path, dtype=dtype, always_2d=True)
    except soundfile.LibsndfileError:
        with pytest.raises(UnreadableError) as caught:
            AudioReader(Pipe(data) if piped else path)
        assert "\n" not in str(caught.value)
        return
    with AudioReader(Pipe(data) if piped else path, dtype=dtype) as audio:
        x = blocks_of(audio, [7, 1, 300])
        assert np.array_equal(x, expected.T)
        assert audio.samplerate == rate
        assert bool(audio.warnings) == ("early-eof" in path)
    assert np.abs(x).max() > 0


@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        ("FLAC", "PCM_16"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
        ("AIFF", "PCM_24"),
        ("CAF", "ALAC_16"),
        ("W64", "FLOAT"),
        ("AU", "DOUBLE"),
        ("WAV", "ULAW"),
        ("WAV", "IMA_ADPCM"),
    ],
)
def test_formats_by_libsndfile(feed, format, subtype):
    memory = io.BytesIO()
    soundfile.write(memory, noise(frames=30_000).T * 0.5, 48000, format=format, subtype=subtype)
    memory.seek(0)
    expected, _ = soundfile.read(memory, dtype="float32")
    with AudioReader(feed(memory.getvalue())) as audio:
        assert (audio.format, audio.subtype, audio.channels) == (format, subtype, 2)
        x = blocks_of(audio, [1000, 77, 9000])
        assert audio.warnings == []
    assert np.array_equal(x, expected.T)
    assert np.abs(x).max() > 0.1
    with AudioReader(feed(memory.getvalue())) as audio:
        assert audio.skip(1234) == 1234
        assert np.array_equal(audio.read(), expected.T[:, 1234:])
        assert audio.skip(5) == 0


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("options", [{}, {"rf64": True}])
def test_wav_from_anywhere(feed, subtype, options):
    x = noise(3, 400_000 // 8)
    header, data = wav_bytes(x, subtype, **options)
    with AudioReader(feed(header + data), dtype="float64", strict=True) as audio:
        assert (audio.frames, audio.format, audio.subtype) == (50_000, "WAV", subtype)
        y = blocks_of(audio, [1, 4096, 333])
    assert np.abs(x - y).max() <= 2.0**-7
    assert np.array_equal(y, pcm.decode(data, pcm.SampleFormat(subtype), np.empty_like(x)))


def test_read_into_a_given_array_and_skip(feed):
    header, data = wav_bytes(noise(), "DOUBLE")
    with AudioReader(feed(header + data), dtype="float64") as audio:
        out = np.zeros((2, 700))
        assert audio.skip(300) == 300
        assert np.shares_memory(audio.read(out=out), out)
        assert np.array_equal(out, noise()[:, 300:1000])
        assert audio.read(50, out=out).shape == (2, 50)
        assert audio.read(0).shape == (2, 0)
        assert np.array_equal(audio.read(-1), noise()[:, 1050:])
        assert audio.skip(10) == 0


def test_a_long_pipe_of_unknown_length(monkeypatch):
    monkeypatch.setattr(reader, "_STEP_SAMPLES", 3000)
    header = wav_header.build_header(pcm.SampleFormat("DOUBLE"), 48000, 2, None)
    with AudioReader(Pipe(header + wav_bytes(noise(), "DOUBLE")[1]), dtype="float64") as audio:
        assert audio.frames is None
        assert np.array_equal(audio.read(), noise())
        assert audio.warnings == []


@pytest.mark.parametrize("name", list(pcm.RAW_FORMATS))
def test_raw(feed, name):
    raw = pcm.encode(noise(), pcm.RAW_FORMATS[name])
    with AudioReader(feed(bytes(raw)), raw=RawLayout(name, 96000, 2)) as audio:
        assert (audio.format, audio.samplerate, audio.subtype) == ("RAW", 96000, pcm.RAW_FORMATS[name].subtype)
        y = blocks_of(audio, [999])
    assert np.abs(y - noise()).max() <= 2.0**-7
    with pytest.raises(OptionError, match="f32le"):
        RawLayout("f33", 48000, 1)
    with pytest.raises(OptionError, match="0 Hz"):
        RawLayout("u8", 0, 1)


def test_metadata(feed):
    x = noise()
    front = [("bext", b"front"), wav_header.info_chunk({"title": "Höhle", "date": "2024"})]
    header, data = wav_bytes(x, chunks=front)
    behind = struct.pack("<4sI", b"cue ", 4) + b"1234" + struct.pack("<4sI", b"junk", 0)
    with AudioReader(feed(header + data + behind)) as audio:
        assert audio.tags == {"title": "Höhle", "date": "2024"}
        audio.read()
        assert [name for name, _ in audio.chunks] == ["bext", "LIST", "cue "]
        assert audio.warnings == []


def expect(feed, data, words, count, raw=None):
    """`data` is read with a warning that has `words`, and refused when strict; returns the samples."""
    with pytest.raises(UnreadableError, match=words) as caught, AudioReader(feed(data), raw=raw, strict=True) as audio:
        audio.read()
    assert "\n" not in str(caught.value)
    with AudioReader(feed(data), raw=raw, dtype="float64") as audio:
        x = audio.read()
        assert len(audio.warnings) == 1, audio.warnings
        assert words in audio.warnings[0].replace("\\", "")
        assert x.shape[1] == count
        assert np.abs(x).max() > 0.1
    return x


def test_wav_shorter_than_declared(feed):
    header, data = wav_bytes(noise(), "DOUBLE")
    x = expect(feed, header + data[: 16 * 3000], "declares 5000 frames and 3000 are there", 3000)
    assert np.array_equal(x, noise()[:, :3000])


def test_wav_that_ends_in_a_frame(feed):
    header = wav_header.build_header(pcm.SampleFormat("FLOAT"), 48000, 2, None)
    data = wav_bytes(noise(), "FLOAT")[1]
    if isinstance(feed(b""), Pipe):
        expect(feed, header + data[:-3], "last 5 bytes were dropped", 4999)
    exact = bytearray(wav_bytes(noise(), "FLOAT")[0])
    exact[-4:] = struct.pack("<I", len(data) - 3)
    expect(feed, bytes(exact) + data[:-3], "last 5 bytes were dropped", 4999)
    expect(feed, data[:-3], "last 5 bytes were dropped", 4999, raw=RawLayout("f32le", 48000, 2))


def test_a_crashed_recorder(feed):
    header, data = wav_bytes(noise(), "DOUBLE")
    for riff_size in (0, len(header) - 8):
        crashed = header[:4] + struct.pack("<I", riff_size) + header[8:-4] + bytes(4)
        x = expect(feed, crashed + data, "declares 0 bytes of samples, as a crashed recorder leaves it", 5000)
        assert np.array_equal(x, noise())


def test_streamed_header_in_a_file(feed):
    header = wav_header.build_header(pcm.SampleFormat("DOUBLE"), 48000, 2, None)
    data = header + wav_bytes(noise(), "DOUBLE")[1]
    if isinstance(feed(b""), Pipe):
        with AudioReader(feed(data), strict=True, dtype="float64") as audio:
            assert np.array_equal(audio.read(), noise())
    else:
        assert np.array_equal(expect(feed, data, "leaves the length open", 5000), noise())


def test_no_frames(feed):
    header, _ = wav_bytes(noise(2, 0))
    info = struct.pack("<4sI", b"bext", 4) + b"abcd"
    longer = header[:4] + struct.pack("<I", len(header) - 8 + len(info)) + header[8:] + info
    for data in (header, longer):
        with AudioReader(feed(data), strict=True) as audio:
            assert audio.frames == 0
            assert audio.read(100).shape == (2, 0)
            assert audio.read().shape == (2, 0)


def sparse(path, header, length, at, data):
    """A file of `length` bytes that holds `header`, zeros, and `data` at offset `at`."""
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(length)
        file.seek(at)
        file.write(data)
    return str(path)


def test_rf64_beyond_4_gib(tmp_path):
    frames = 3 << 30
    header = wav_header.build_header(pcm.SampleFormat("PCM_16"), 48000, 1, frames)
    assert header[:4] == b"RF64"
    raw = bytes(pcm.encode(noise(1, 100), pcm.SampleFormat("PCM_16")))
    length = len(header) + 2 * frames
    path = sparse(tmp_path / "big.wav", header, length, length - 200, raw)
    with AudioReader(path, strict=True) as audio:
        assert audio.frames == frames
        assert audio.skip(frames - 100) == frames - 100
        x = audio.read()
    assert np.abs(x - noise(1, 100)).max() < 2.0**-15


def test_riff_whose_sizes_ran_over(tmp_path):
    frames = (1 << 31) + 1000
    header = bytearray(wav_header.build_header(pcm.SampleFormat("PCM_16"), 48000, 1, 1000))
    raw = bytes(pcm.encode(noise(1, 100), pcm.SampleFormat("PCM_16")))
    length = len(header) + 2 * frames
    path = sparse(tmp_path / "big.wav", header, length, length - 200, raw)
    with AudioReader(path) as audio:
        assert audio.frames == frames
        assert "run over" in audio.warnings[0]
        audio.skip(frames - 100)
        assert np.abs(audio.read() - noise(1, 100)).max() < 2.0**-15


@pytest.mark.parametrize("data_bytes", [0x7FFF0000, 0x7FFFF000, 0x80000000, 0xFFFFFF00])
def test_a_size_like_a_streams_in_a_file_that_ends_where_it_says(tmp_path, data_bytes):
    frames = data_bytes // 2
    header = wav_header.build_header(pcm.SampleFormat("PCM_16"), 48000, 1, frames)
    behind = struct.pack("<4sI", b"bext", 4) + b"abcd"
    header = header[:4] + struct.pack("<I", len(header) - 8 + data_bytes + len(behind)) + header[8:]
    end = len(header) + data_bytes
    path = sparse(tmp_path / "big.wav", header, end + len(behind), end, behind)
    with AudioReader(path, strict=True) as audio:
        assert (audio.frames, audio.frames_certain, audio.chunks) == (frames, True, [("bext", b"abcd")])
    os.truncate(path, end - 100)
    with AudioReader(path) as audio:
        assert audio.frames == frames - 50
        assert "leaves the length open" in audio.warnings[0]


@pytest.mark.parametrize("rate", [1, 44100, 768000])
def test_rates_and_many_channels(feed, rate):
    x = noise(64, 50)
    header = wav_header.build_header(pcm.SampleFormat("DOUBLE"), rate, 64, 50)
    with AudioReader(feed(header + bytes(pcm.encode(x, pcm.SampleFormat("DOUBLE")))), dtype="float64") as audio:
        assert (audio.samplerate, audio.channels) == (rate, 64)
        assert np.array_equal(audio.read(), x)


def compressed(format, seconds=4):
    memory = io.BytesIO()
    soundfile.write(memory, noise(frames=48000 * seconds).T * 0.5, 48000, format=format)
    return memory.getvalue()


@pytest.mark.parametrize(
    ("format", "words"),
    [
        ("FLAC", "decoding failed after"),
        ("OGG", "no last page"),
        ("MP3", "declares 192000 frames"),
        ("AIFF", "the header declares"),
        ("AU", "the header declares"),
        ("W64", "the header declares"),
    ],
)
def test_truncated(feed, format, words):
    data = compressed(format)
    whole, _ = soundfile.read(io.BytesIO(data))
    cut = data[: len(data) * 6 // 10]
    with pytest.raises(UnreadableError, match=words), AudioReader(feed(cut), strict=True) as audio:
        audio.read()
    with AudioReader(feed(cut), dtype="float64") as audio:
        x = audio.read()
        assert any(words in line for line in audio.warnings), audio.warnings
    # Nearly all that is there is read: nothing of what came before the cut is lost.
    assert 0.55 * 192000 < x.shape[1] < 0.65 * 192000
    assert np.array_equal(x[:, :100_000], whole.T[:, :100_000])


def test_ogg_that_lost_a_part_of_its_last_page(tmp_path):
    data = compressed("OGG", 1)
    assert containers.ogg_is_complete(io.BytesIO(data))
    assert not containers.ogg_is_complete(io.BytesIO(data[:-1]))
    with AudioReader(as_path(tmp_path, data[:-1], "x.ogg")) as audio:
        assert audio.warnings


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "M4A/MP4"),
        (b"\x1a\x45\xdf\xa3" + bytes(20), "Matroska"),
        (b"\xff\xf1\x50\x80" + bytes(20), "AAC"),
    ],
)
def test_what_must_be_converted(tmp_path, head, words):
    path = as_path(tmp_path, head + bytes(500), "a song.m4a")
    with pytest.raises(UnreadableError, match=words) as caught:
        AudioReader(path)
    assert f"ffmpeg -i '{path}' 'a song.wav'" in str(caught.value)
    with pytest.raises(UnreadableError, match=r"ffmpeg -i input\.\w+ input\.wav"):
        AudioReader(Pipe(head + bytes(500)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"garbage" * 500, "not an audio file"),
        (b"RIFF", "cut short"),
        (wav_bytes(noise())[0][:40], "cut short"),
        (b"RIFF\0\0\0\0AVI LIST", "not a WAV file"),
        (b"fLaC" + bytes(5), "not an audio file"),
        (bytes(1), "not an audio file"),
    ],
)
def test_unreadable(feed, data, words):
    with pytest.raises(UnreadableError, match=words) as caught:
        AudioReader(feed(data))
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(UnreadableError, match="no such file"):
        AudioReader(tmp_path / "absent.wav")
    with pytest.raises(UnreadableError, match="is a folder"):
        AudioReader(tmp_path)
    with pytest.raises(OptionError, match="binary"):
        AudioReader(io.StringIO("text"))
    with pytest.raises(OptionError, match="not an input"):
        AudioReader(None)
    with pytest.raises(OptionError, match="float32 or float64"):
        AudioReader(io.BytesIO(b""), dtype="int16")


def test_a_suffix_says_nothing(tmp_path):
    header, data = wav_bytes(noise())
    for format, contents in (("WAV", header + data), ("FLAC", compressed("FLAC", 1))):
        with AudioReader(as_path(tmp_path, contents, "x.raw")) as audio:
            assert audio.format == format
            assert np.abs(audio.read()).max() > 0.4


def test_a_file_object_that_stands_for_another(tmp_path):
    # Its descriptor leads to the compressed bytes.
    for format in ("WAV", "FLAC"):
        memory = io.BytesIO()
        soundfile.write(memory, noise().T, 48000, format=format, subtype="PCM_16")
        path = as_path(tmp_path, gzip.compress(memory.getvalue()), "x.gz")
        with gzip.open(path) as file, AudioReader(file, dtype="float64") as audio:
            assert audio.format == format
            assert np.abs(audio.read() - noise()).max() < 2.0**-15


def test_mp3_in_two_threads_leaves_standard_error_where_it_was(tmp_path):
    (tmp_path / "x.mp3").write_bytes(compressed("MP3", seconds=2))
    before, counts = os.fstat(2), []

    def read():
        for _ in range(10):
            with AudioReader(tmp_path / "x.mp3") as audio:
                counts.append(sum(iter(lambda: audio.read(100).shape[1], 0)))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == 40
    assert len(set(counts)) == 1
    assert os.path.samestat(os.fstat(2), before)


def test_the_last_to_leave_the_hush_gives_standard_error_back():
    before, hush = os.fstat(2), decoders._Hush()
    hush.__enter__()
    hush.__enter__()
    hush.__exit__()
    assert os.path.samestat(os.fstat(2), os.stat(os.devnull))
    hush.__exit__()
    assert os.path.samestat(os.fstat(2), before)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_mp3_without_a_length(tmp_path):
    for rate, warnings in (("-q:a", 1), ("-b:a", 0)):
        path = str(tmp_path / "x.mp3")
        source = ["-f", "lavfi", "-i", "sine=d=3:r=44100", rate, "4" if rate == "-q:a" else "128k"]
        command = ["ffmpeg", "-v", "error", "-y", *source, "-write_xing", "0", path]
        if subprocess.run(command).returncode:
            pytest.skip("this ffmpeg writes no MP3")
        with AudioReader(path) as audio:
            assert audio.frames is None
            assert np.abs(audio.read()).max() > 0.05
            assert len(audio.warnings) == warnings


def test_a_foreign_wav_with_a_header_too_long_for_a_pipe(monkeypatch):
    memory = io.BytesIO()
    soundfile.write(memory, noise().T, 8000, format="WAV", subtype="ULAW")
    data = memory.getvalue()
    long = data[:12] + struct.pack("<4sI", b"JUNK", 5000) + bytes(5000) + data[12:]
    with AudioReader(Pipe(long)) as audio:
        assert np.abs(audio.read() - noise()).max() < 0.03
    monkeypatch.setattr(source, "_MEMORY_BYTES", 4000)
    with pytest.raises(UnreadableError, match="save it to a file first"):
        AudioReader(Pipe(long))


MUTABLE = [
    b"".join(wav_bytes(noise(frames=60), "PCM_24", chunks=[("bext", b"abc")])),
    b"".join(wav_bytes(noise(frames=60), "FLOAT", rf64=True, chunks=[wav_header.info_chunk({"title": "x"})])),
]


@settings(max_examples=300, deadline=None)
@given(
    which=st.integers(0, len(MUTABLE) - 1),
    edits=st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 500),
    kind=st.sampled_from([io.BytesIO, Pipe]),
)
def test_mutated_files_are_read_or_refused(which, edits, cut, kind):
    data = bytearray(MUTABLE[which])
    for place, value in edits:
        data[place % len(data)] = value
    try:
        audio = AudioReader(kind(bytes(data[: len(data) - cut % len(data)])))
    except UnreadableError:
        return
    with audio:
        block = audio.read(30)
        rest = audio.read()
        assert block.shape[0] == rest.shape[0] == audio.channels
        assert rest.shape[1] == 0 or block.shape[1] == 30
        assert all("\n" not in line for line in audio.warnings)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_named_pipe(tmp_path):
    header, data = wav_bytes(noise(), "DOUBLE")
    path, whole = str(tmp_path / "fifo"), as_path(tmp_path, header + data)
    os.mkfifo(path)
    with subprocess.Popen(["cp", whole, path]), AudioReader(path, dtype="float64") as audio:
        assert not audio.frames_certain
        assert np.array_equal(audio.read(), noise())


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, longconv_audio.audio_io as a; a.AudioReader; a.AudioWriter; "
        "print([m for m in ('soundfile', 'scipy', 'soxr', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_precision_can_change_between_blocks(rng, tmp_path):
    x = rng.standard_normal((1000, 2)) / 8
    soundfile.write(tmp_path / "x.aiff", x, 48000, subtype="DOUBLE", format="AIFF")
    with AudioReader(tmp_path / "x.aiff") as reader:
        assert reader.read(500).dtype == np.float32
        reader.dtype = np.dtype("float64")
        np.testing.assert_array_equal(reader.read(500), x[500:].T)
