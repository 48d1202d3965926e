"""Through real pipes, with ffmpeg, SoX and libsndfile at the other end."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from longconv_audio.audio_io import AudioReader, AudioWriter
from longconv_audio.errors import UnreadableError

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
needs_sox = pytest.mark.skipif(not shutil.which("sox"), reason="SoX is not installed")

PASS_ON = """
import sys
from longconv_audio.audio_io import AudioReader, AudioWriter
with AudioReader("-") as audio:
    options = dict(samplerate=audio.samplerate, channels=audio.channels, subtype=sys.argv[1])
    options["format"] = sys.argv[2]
    if sys.argv[3] == "known":
        options["frames"] = audio.frames
    with AudioWriter("-", **options) as out:
        while (block := audio.read(3000)).shape[1]:
            out.write(block)
    print(audio.format, audio.warnings, file=sys.stderr)
"""


def noise(channels, frames=20_001):
    return np.random.default_rng(0).integers(-32768, 32768, (channels, frames)) / 32768


def pass_on(data, subtype="PCM_16", format="WAV", length="unknown"):
    command = [sys.executable, "-c", PASS_ON, subtype, format, length]
    done = subprocess.run(command, input=data, capture_output=True, env=ENVIRONMENT, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout, done.stderr.decode().strip()


def wav_of(x, subtype="PCM_16", frames=None):
    memory = io.BytesIO()
    memory.seekable = lambda: False
    with AudioWriter(memory, samplerate=48000, channels=len(x), subtype=subtype, frames=frames) as out:
        out.write(x)
    return memory.getvalue()


def ints(raw, channels):
    return np.frombuffer(raw, "<i2").reshape(-1, channels).T / 32768


CASES = pytest.mark.parametrize("frames", [None, 20_001], ids=["streamed", "known"])
CHANNELS = pytest.mark.parametrize("channels", [1, 2, 4])
SUBTYPES = pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])


@needs_ffmpeg
@CASES
@CHANNELS
@SUBTYPES
def test_ffmpeg_reads_our_pipe(frames, channels, subtype):
    command = ["ffmpeg", "-v", "error", "-i", "-", "-f", "s16le", "-"]
    done = subprocess.run(command, input=wav_of(noise(channels), subtype, frames), capture_output=True, timeout=30)
    assert done.returncode == 0
    assert np.array_equal(ints(done.stdout, channels), noise(channels))


@needs_sox
@CASES
@CHANNELS
@SUBTYPES
def test_sox_reads_our_pipe(frames, channels, subtype):
    command = ["sox", "-D", "-t", "wav", "-", "-b", "16", "-e", "signed", "-t", "raw", "-"]
    done = subprocess.run(command, input=wav_of(noise(channels), subtype, frames), capture_output=True, timeout=30)
    assert done.returncode == 0
    assert np.array_equal(ints(done.stdout, channels), noise(channels))


@CASES
@CHANNELS
@SUBTYPES
def test_libsndfile_reads_our_pipe(frames, channels, subtype):
    data = wav_of(noise(channels), subtype, frames)
    assert np.array_equal(soundfile.read(io.BytesIO(data), always_2d=True)[0].T, noise(channels))


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le", "pcm_f64le", "pcm_mulaw"])
@pytest.mark.parametrize("container", ["wav", "au", "aiff", "flac"])
def test_we_read_ffmpegs_pipe(codec, container):
    source = ["-f", "f64le", "-ar", "48000", "-ac", "2", "-i", "-"]
    big = codec.replace("le", "be") if container in ("au", "aiff") else codec
    kind = [] if container == "flac" else ["-c:a", big]
    command = ["ffmpeg", "-v", "error", *source, *kind, "-f", container, "-"]
    done = subprocess.run(command, input=noise(2).T.tobytes(), capture_output=True, timeout=30)
    if done.returncode or not done.stdout:
        pytest.skip("ffmpeg does not write this to a pipe")
    out, said = pass_on(done.stdout, "DOUBLE")
    with AudioReader(io.BytesIO(out), dtype="float64") as audio:
        x = audio.read()
    assert x.shape == (2, 20_001)
    assert np.abs(x - noise(2)).max() < (0.04 if codec in ("pcm_u8", "pcm_mulaw") else 1e-7)
    if container == "wav":
        assert said == "WAV []"


@needs_ffmpeg
@pytest.mark.parametrize("container", ["w64", "caf"])
def test_what_libsndfile_cannot_read_from_a_pipe_is_refused(container):
    source = ["-f", "f64le", "-ar", "48000", "-ac", "2", "-i", "-"]
    command = ["ffmpeg", "-v", "error", *source, "-c:a", "pcm_f32le", "-f", container, "-"]
    done = subprocess.run(command, input=noise(2).T.tobytes(), capture_output=True, timeout=30)
    if done.returncode:
        pytest.skip("ffmpeg does not write this to a pipe")
    with pytest.raises(UnreadableError) as caught:
        AudioReader(io.BytesIO(done.stdout))
    assert "\n" not in str(caught.value)


def test_a_terminal_is_no_place_for_audio():
    pty = pytest.importorskip("pty")
    ends = pty.openpty()
    code = "from longconv_audio.audio_io import *; {}"
    for call, words in (
        ("AudioReader('-')", b"standard input is a terminal"),
        ("AudioWriter('-', samplerate=1, channels=1)", b"standard output is a terminal"),
    ):
        command = [sys.executable, "-c", code.format(call)]
        done = subprocess.run(
            command, stdin=ends[1], stdout=ends[1], stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=30
        )
        assert words in done.stderr
    for end in ends:
        os.close(end)


@needs_sox
@pytest.mark.parametrize("form", [["-b", "16"], ["-b", "24"], ["-e", "float", "-b", "32"]])
def test_we_read_soxs_pipe(form):
    # SoX only knows the length of a pipe by reading to its end, and says 0x7FFFF000 bytes.
    source = ["-t", "raw", "-r", "48000", "-c", "2", "-e", "signed", "-b", "16", "-"]
    raw = (noise(2) * 32768).astype("<i2").T.tobytes()
    command = f"sox -D {' '.join(source)} {' '.join(form)} -t wav - | cat"
    done = subprocess.run(command, input=raw, shell=True, capture_output=True, timeout=30)
    out, said = pass_on(done.stdout, "PCM_16")
    with AudioReader(io.BytesIO(out), dtype="float64") as audio:
        assert np.array_equal(audio.read(), noise(2))
    assert said == "WAV []"


@pytest.mark.parametrize("length", ["known", "unknown"])
def test_flac_in_and_flac_out(length):
    memory = io.BytesIO()
    soundfile.write(memory, noise(2).T, 48000, format="FLAC", subtype="PCM_16")
    out, said = pass_on(memory.getvalue(), "PCM_16", "FLAC", length)
    assert said == "FLAC []"
    assert np.array_equal(soundfile.read(io.BytesIO(out))[0].T, noise(2))


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc here")
def test_memory_does_not_depend_on_the_length():
    # 40 s and 400 s of stereo float through both pipes: the peak must not follow.
    # (The peak of getrusage is no use here: a child inherits its parent's.)
    program = PASS_ON + "\nprint(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr)"
    peaks = []
    for seconds in (40, 400):
        data = wav_of(np.tile(noise(2, 48000), (1, seconds)).astype(np.float32), "FLOAT")
        command = [sys.executable, "-c", program, "FLOAT", "WAV", "unknown"]
        done = subprocess.run(command, input=data, capture_output=True, env=ENVIRONMENT, timeout=60)
        # The header is the same and so are the samples.
        assert done.stdout == data
        peaks.append(int(done.stderr.split()[-1]))
    assert peaks[1] < 1.1 * peaks[0]
