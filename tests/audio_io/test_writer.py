"""Writing: levels and bits as they were, and a file under its name only when it is whole."""

import gzip
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from longconv_audio.audio_io import AudioReader, AudioWriter, RawLayout, encoders, pcm, wav, wav_header
from longconv_audio.errors import MismatchError, OptionError, UnwritableError

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def noise(channels=2, frames=5000, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (channels, frames))


def write(target, x, cuts=(0, 1, 4096), rate=48000, **options):
    options.setdefault("channels", len(x))
    with AudioWriter(target, samplerate=rate, **options) as out:
        edges = [0, *(min(cut, x.shape[1]) for cut in cuts), x.shape[1]]
        for a, b in pairwise(edges):
            out.write(x[:, a:b])
    assert out.frames_written == x.shape[1]
    return out


def read(source, **options):
    with AudioReader(source, dtype="float64", strict=True, **options) as audio:
        return audio.read()


class Pipe(io.RawIOBase):
    """A file object that cannot seek and takes a few bytes at a time."""

    def __init__(self):
        self.taken = bytearray()

    def writable(self):
        return True

    def write(self, data):
        part = memoryview(data)[:1000]
        self.taken += part
        return len(part)


EXACT = [
    ("wav", "PCM_16"),
    ("wav", "PCM_24"),
    ("wav", "PCM_32"),
    ("wav", "PCM_U8"),
    ("rf64", "PCM_24"),
    ("flac", "PCM_16"),
    ("flac", "PCM_24"),
    ("flac", "PCM_S8"),
    ("aiff", "PCM_16"),
    ("aiff", "PCM_U8"),
    ("aiff", "PCM_32"),
    ("caf", "ALAC_16"),
    ("caf", "PCM_24"),
    ("w64", "PCM_24"),
    ("au", "PCM_16"),
]
BITS = {"PCM_U8": 8, "PCM_S8": 8, "ALAC_16": 16}


@pytest.mark.parametrize(("suffix", "subtype"), EXACT)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_integers_are_bit_exact(tmp_path, suffix, subtype, channels):
    path = tmp_path / f"x.{suffix}"
    bits = BITS.get(subtype) or int(subtype[-2:])
    # libsndfile makes the number even of mono AIFF samples of one byte.
    frames = 5000 if (suffix, bits) == ("aiff", 8) else 5001
    levels = np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (channels, frames))
    write(path, levels / 2.0 ** (bits - 1), subtype=subtype)
    ints, rate = soundfile.read(path, dtype="int32", always_2d=True)
    assert rate == 48000
    assert np.array_equal(ints.T >> (32 - bits), levels)
    assert np.array_equal(read(path), levels / 2.0 ** (bits - 1))
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", ["wav", "rf64", "aiff", "caf", "w64", "au"])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_floating_point_is_exact(tmp_path, suffix, subtype):
    path = tmp_path / f"x.{suffix}"
    x = noise(3) * 3
    if subtype == "FLOAT":
        x = x.astype(np.float32)
    write(path, x, subtype=subtype)
    assert np.array_equal(read(path), x)
    assert np.array_equal(soundfile.read(path)[0].T, x)


KINDS = [("wav", "FLOAT"), ("wav", "PCM_24"), ("flac", "PCM_24"), ("ogg", None)]


@pytest.mark.parametrize(("suffix", "subtype"), KINDS)
def test_pipes_and_file_objects_get_the_same_samples(tmp_path, suffix, subtype):
    path, memory, pipe = tmp_path / f"x.{suffix}", io.BytesIO(), Pipe()
    write(path, noise(), subtype=subtype)
    format = {"wav": "WAV", "flac": "FLAC", "ogg": "OGG"}[suffix]
    memory.write(b"before")
    write(memory, noise(), subtype=subtype, format=format)
    write(pipe, noise(), subtype=subtype, format=format)
    expected = read(path)
    assert np.abs(expected).max() > 0.5
    assert np.array_equal(read(io.BytesIO(memory.getvalue()[6:])), expected)
    assert np.array_equal(read(io.BytesIO(bytes(pipe.taken))) if format != "WAV" else piped(pipe), expected)


def piped(pipe):
    with AudioReader(io.BytesIO(bytes(pipe.taken)), dtype="float64") as audio:
        return audio.read()


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "PCM_U8"])
def test_known_length_on_a_pipe(subtype):
    pipe = Pipe()
    write(pipe, noise(1, 4999), subtype=subtype, frames=4999)
    assert np.abs(read(io.BytesIO(bytes(pipe.taken))) - noise(1, 4999)).max() < 2.0**-6
    assert len(pipe.taken) % 2 == 0
    with pytest.raises(UnwritableError, match="promised 10 frames and 9 were written"):
        write(Pipe(), noise(1, 9), subtype=subtype, frames=10)


def test_file_objects_that_cannot_go_back(tmp_path):
    with gzip.open(tmp_path / "x.gz", "wb") as file:
        write(file, noise(), subtype="DOUBLE")
    with gzip.open(tmp_path / "x.gz") as file, AudioReader(file, dtype="float64") as audio:
        assert np.array_equal(audio.read(), noise())
    with tempfile.NamedTemporaryFile() as file:
        write(file, noise(), subtype="DOUBLE")
        assert np.array_equal(read(file.name), noise())


@pytest.mark.parametrize("name", list(pcm.RAW_FORMATS))
def test_raw(tmp_path, name):
    layout = RawLayout(name, 48000, 2)
    write(tmp_path / "x.bin", noise(), raw=layout)
    assert (tmp_path / "x.bin").read_bytes() == bytes(pcm.encode(noise(), pcm.RAW_FORMATS[name]))
    assert np.abs(read(tmp_path / "x.bin", raw=layout) - noise()).max() < 2.0**-6


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_dither_is_the_same_for_all_blocks_and_runs(tmp_path, suffix):
    write(tmp_path / f"a.{suffix}", noise() * 0.5, subtype="PCM_16", dither="tpdf")
    write(tmp_path / f"b.{suffix}", noise() * 0.5, cuts=(17, 900), subtype="PCM_16", dither="tpdf")
    a, b = read(tmp_path / f"a.{suffix}"), read(tmp_path / f"b.{suffix}")
    assert np.array_equal(a, b)
    error = (a - noise() * 0.5) * 2**15
    assert 0.4 < error.std() < 0.6
    assert np.abs(error).max() < 1.51


def test_tags_and_chunks(tmp_path):
    tags = {"title": "Höhle", "artist": "someone", "album": ""}
    write(tmp_path / "x.wav", noise(), tags=tags, chunks=[("bext", b"abc"), ("cue ", b"1234")])
    with AudioReader(tmp_path / "x.wav") as audio:
        assert audio.tags == {"title": "Höhle", "artist": "someone"}
        assert [name for name, _ in audio.chunks] == ["bext", "cue ", "LIST"]
        kept = audio.chunks
    assert soundfile.SoundFile(tmp_path / "x.wav").copy_metadata() == {"title": "Höhle", "artist": "someone"}
    write(tmp_path / "y.wav", noise(), tags={"title": "other"}, chunks=kept)
    with AudioReader(tmp_path / "y.wav") as audio:
        assert (audio.tags["title"], audio.chunks) == ("Höhle", kept)
    out = write(tmp_path / "x.flac", noise(), tags=tags, chunks=kept)
    assert "bext, cue" in out.warnings[0]
    assert "LIST" not in out.warnings[0]
    with AudioReader(tmp_path / "x.flac") as audio:
        assert audio.tags == {"title": "Höhle", "artist": "someone"}
    assert "title" in write(tmp_path / "x.au", noise(), tags=tags).warnings[0]


def test_channel_mask(tmp_path):
    write(tmp_path / "x.wav", noise(6), channel_mask=0x60F)
    with AudioReader(tmp_path / "x.wav") as audio:
        assert audio.channel_mask == 0x60F
        assert np.abs(audio.read()).max() > 0.9


def test_wav_turns_into_rf64(tmp_path, monkeypatch):
    write(tmp_path / "small.wav", noise(), subtype="DOUBLE")
    monkeypatch.setattr(wav_header, "RIFF_LIMIT", 80_000)
    write(tmp_path / "large.wav", noise(), subtype="DOUBLE")
    small, large = ((tmp_path / f"{name}.wav").read_bytes() for name in ("small", "large"))
    assert (small[:4], large[:4]) == (b"RIFF", b"RF64")
    assert len(small) == len(large)
    assert wav.parse_header(io.BytesIO(large)).data_bytes == 80_000
    for name in ("small", "large"):
        assert np.array_equal(read(tmp_path / f"{name}.wav"), noise())
        assert np.array_equal(soundfile.read(tmp_path / f"{name}.wav")[0].T, noise())
    pipe = Pipe()
    write(pipe, noise(), subtype="DOUBLE", frames=5000)
    assert pipe.taken[:4] == b"RF64"
    assert np.array_equal(read(io.BytesIO(bytes(pipe.taken))), noise())


@pytest.mark.parametrize("suffix", ["aiff", "au"])
def test_formats_that_end_at_4_gib(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(encoders, "SMALL_LIMIT", 15_000)
    with pytest.raises(UnwritableError, match="at most 4 GiB"):
        write(tmp_path / f"x.{suffix}", noise(), subtype="PCM_16")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("x.flac", {"subtype": "FLOAT"}, "FLAC cannot hold FLOAT: pass one of PCM_S8, PCM_16, PCM_24"),
        ("x.wav", {"subtype": "VORBIS"}, "WAV cannot hold VORBIS"),
        ("x.mp3", {"rate": 96000}, "MP3 MPEG_LAYER_III cannot hold 2 channels at 96000 Hz"),
        ("x.opus", {"rate": 44100}, "Opus only supports"),
        ("x.ogg", {"rate": 768000}, "at most 255 channels and 200000 Hz"),
        ("x.xyz", {}, "does not say the format"),
        ("x.m4a", {}, "convert it with ffmpeg"),
        ("x.raw", {}, "--raw-format"),
        ("x.wav", {"format": "XYZ"}, "'XYZ' is unknown"),
        ("x.wav", {"dither": "blue"}, "pass none or tpdf"),
        ("x.wav", {"rate": 0}, "1 or more"),
    ],
)
def test_what_cannot_be(tmp_path, name, options, words):
    with pytest.raises(OptionError, match=words) as caught:
        write(tmp_path / name, noise(), **options)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_shapes_that_do_not_fit(tmp_path):
    with pytest.raises(MismatchError, match=r"\(2, n\)"):
        write(tmp_path / "x.wav", noise(3), channels=2)
    with pytest.raises(MismatchError, match="must agree"):
        write(tmp_path / "x.bin", noise(), raw=RawLayout("u8", 44100, 2))
    assert os.listdir(tmp_path) == []


def test_samples_of_a_type_that_does_not_fit(tmp_path):
    with pytest.raises(TypeError, match=r"samples of int16: float32 or float64 .* was expected"):
        write(tmp_path / "x.wav", (noise() * 32767).astype(np.int16))
    with pytest.raises(TypeError, match="complex128"):
        write(tmp_path / "x.wav", noise() * 1j)
    with pytest.raises(TypeError, match=r"not builtins\.list"), AudioWriter("-", samplerate=1, channels=1) as out:
        out.write([[0.0]])
    assert os.listdir(tmp_path) == []


def test_a_tensor_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"not torch\.Tensor: pass x\.detach\(\)\.cpu\(\)\.numpy\(\)"):
        write(tmp_path / "x.wav", torch.zeros(2, 10))
    assert os.listdir(tmp_path) == []


def test_names_in_lower_case(tmp_path):
    out = write(tmp_path / "x", noise(), format="flac", subtype="pcm_24")
    assert (out.format, out.subtype) == ("FLAC", "PCM_24")
    assert soundfile.info(tmp_path / "x").subtype == "PCM_24"


def fail_midway(path):
    with AudioWriter(path, samplerate=1, channels=2, overwrite=True) as out:
        out.write(noise())
        assert path.read_bytes() == b"precious"
        raise ZeroDivisionError


def test_existing_files(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(b"precious")
    path.chmod(0o640)
    with pytest.raises(UnwritableError, match="pass -y/--overwrite"):
        write(path, noise())
    with pytest.raises(ZeroDivisionError):
        fail_midway(path)
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["x.wav"]
    link = tmp_path / "link.wav"
    link.symlink_to(path)
    write(link, noise(), overwrite=True, subtype="DOUBLE")
    assert link.is_symlink()
    assert np.array_equal(read(path), noise())
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    out = AudioWriter(tmp_path / "x.wav", samplerate=48000, channels=2)
    out.write(noise())
    (tmp_path / "x.wav").write_bytes(b"precious")
    with pytest.raises(UnwritableError, match="exists"):
        out.close()
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"precious"]


def test_no_place(tmp_path):
    with pytest.raises(UnwritableError, match=r"the folder .* does not exist"):
        write(tmp_path / "absent" / "x.wav", noise())
    with pytest.raises(UnwritableError, match="is a folder"):
        write(tmp_path, noise(), format="WAV")
    with pytest.raises(UnwritableError, match="cannot be written"):
        write("/proc/x.wav", noise())
    with pytest.raises(OptionError, match="not an output"):
        write(3, noise())


def test_devices_are_written_into():
    write("/dev/null", noise())
    assert not os.path.isfile("/dev/null")


def test_the_end(tmp_path):
    out = write(tmp_path / "x.wav", noise())
    out.close()
    out.abort()
    assert read(tmp_path / "x.wav").shape == (2, 5000)
    with pytest.raises(UnwritableError, match="closed"):
        out.write(noise())


@pytest.mark.parametrize("suffix", ["wav", "rf64", "flac", "ogg", "aiff", "caf", "w64", "au"])
def test_no_frames(tmp_path, suffix):
    path = tmp_path / f"empty.{suffix}"
    write(path, noise(2, 0))
    with AudioReader(path, strict=True) as audio:
        assert (audio.samplerate, audio.channels) == (48000, 2)
        assert audio.read().shape == (2, 0)
    if suffix == "flac" and shutil.which("flac"):
        assert subprocess.run(["flac", "-t", "-s", path]).returncode == 0


@pytest.mark.parametrize("suffix", ["opus", "mp3"])
def test_formats_that_cannot_hold_no_frames(tmp_path, suffix):
    with pytest.raises(UnwritableError, match="cannot hold 0 frames"):
        write(tmp_path / f"empty.{suffix}", noise(2, 0))
    assert os.listdir(tmp_path) == []


PROGRAM = """
import sys, numpy as np
from longconv_audio.audio_io import AudioWriter
from longconv_audio.errors import UnwritableError
x = np.random.default_rng(0).uniform(-1, 1, (2, 50_000)).astype("f4")
try:
    with AudioWriter(sys.argv[1], samplerate=48000, channels=2, overwrite=True, **eval(sys.argv[2])) as out:
        for i in range(int(sys.argv[3])):
            out.write(x)
            print("block", i, file=sys.stderr, flush=True)
except UnwritableError as error:
    sys.exit("refused: " + str(error))
"""


def program(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], env=ENVIRONMENT, stderr=subprocess.PIPE, **options
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [("x.wav", {}), ("x.wav", {"subtype": "PCM_24"}), ("x.flac", {}), ("x.aiff", {}), ("x.ogg", {}), ("x.caf", {})],
)
def test_disk_full(tmp_path, name, options):
    (tmp_path / name).write_bytes(b"precious")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

    running = program(tmp_path / name, options, 60, preexec_fn=limit)
    _, errors = running.communicate(timeout=30)
    last = errors.decode().strip().splitlines()[-1]
    assert running.returncode == 1
    assert last.startswith(f"refused: {tmp_path / name}: writing failed after")
    assert last.endswith("frames: the file is larger than the system allows")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"precious"]


@pytest.mark.parametrize("options", [{}, {"format": "FLAC"}, {"frames": 50_000 * 200}])
def test_broken_pipe(options):
    running = program("-", options, 200 if "frames" in options else 20, stdout=subprocess.PIPE)
    assert running.stdout.read(4) in (b"RIFF", b"fLaC")
    running.stdout.close()
    errors = running.stderr.read().decode().strip().splitlines()
    assert running.wait(timeout=30) == 1
    assert errors[-1].startswith("refused: standard output: writing failed after")
    assert errors[-1].endswith("the program that reads the pipe has gone")
    running.stderr.close()


@pytest.mark.parametrize("name", ["x.wav", "x.flac"])
def test_sigkill_leaves_nothing_under_the_name(tmp_path, name):
    running = program(tmp_path / name, {}, 1_000_000)
    for _ in range(5):
        assert running.stderr.readline().startswith(b"block")
    time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait(timeout=30)
    running.stderr.close()
    assert not (tmp_path / name).exists()
    (part,) = tmp_path.iterdir()
    assert part.name.startswith(f".{name}.{running.pid}")
    if name == "x.wav":
        with AudioReader(part) as audio:
            assert audio.frames >= 4 * 50_000
            assert np.abs(audio.read(1000)).max() > 0.9


def test_standard_output_into_a_file(tmp_path):
    for mode, warnings in (("wb", 0), ("ab", 1)):
        with open(tmp_path / f"{mode}.wav", mode) as file:
            running = program("-", {}, 2, stdout=file)
            assert running.wait(timeout=30) == 0
            running.stderr.close()
        # What is only appended to cannot have its header completed.
        with AudioReader(tmp_path / f"{mode}.wav") as audio:
            assert audio.read().shape == (2, 100_000)
            assert len(audio.warnings) == warnings
