"""`longconv apply` between real programs, with ffmpeg and SoX at either end."""

import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.cli.running import LONGCONV, RATE, convolve, decaying, interleaved, noise, read, succeed, wav_header, write
from tests.measures import snr

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
needs_sox = pytest.mark.skipif(not shutil.which("sox"), reason="SoX is not installed")

L, K = 30_000, 4000
FFMPEG = ["ffmpeg", "-v", "error", "-nostdin"]


@pytest.fixture
def folder(tmp_path, rng):
    write(tmp_path / "in.wav", 0.1 * noise(rng, 2, L))
    write(tmp_path / "ir.wav", decaying(rng, 2, K))
    return tmp_path


def expected(folder) -> np.ndarray:
    return convolve(read(folder / "in.wav"), read(folder / "ir.wav"))


def chain(folder, *commands) -> bytes:
    """Runs programs as a shell does between `|`; every one of them must end well. What the last one writes."""
    running, feed = [], subprocess.DEVNULL
    for command in commands:
        process = subprocess.Popen(
            list(map(str, command)), cwd=folder, stdin=feed, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        if running:
            feed.close()
        feed = process.stdout
        running.append(process)
    result = running[-1].communicate(timeout=60)[0]
    for process in running[:-1]:
        process.wait(timeout=60)
    words = [process.stderr.read() if not process.stderr.closed else b"" for process in running]
    for process in running:
        process.stderr.close()
    assert [process.returncode for process in running] == [0] * len(running), words
    return result


def apply(*options):
    return [*LONGCONV, "apply", "-", "ir.wav", "-o", "-", *options]


class TestFfmpeg:
    pytestmark = needs_ffmpeg

    @pytest.mark.parametrize(("codec", "least"), [("pcm_f32le", 130), ("pcm_s16le", 60), ("pcm_s24le", 110)])
    def test_on_both_sides(self, folder, codec, least):
        raw = chain(
            folder,
            [*FFMPEG, "-i", "in.wav", "-c:a", codec, "-f", "wav", "-"],
            apply(),
            [*FFMPEG, "-i", "-", "-f", "f64le", "-"],
        )
        y = np.frombuffer(raw).reshape(-1, 2).T
        assert snr(y, expected(folder)) >= least

    def test_raw_floats_on_both_sides(self, folder):
        raw = chain(
            folder,
            [*FFMPEG, "-i", "in.wav", "-f", "f32le", "-"],
            apply("--raw-format", "f32le", "--rate", RATE, "--channels", 2),
            [*FFMPEG, "-f", "f32le", "-ar", RATE, "-ac", 2, "-i", "-", "-f", "f64le", "-"],
        )
        assert snr(np.frombuffer(raw).reshape(-1, 2).T, expected(folder)) >= 130

    def test_flac_in(self, folder):
        flac = [*FFMPEG, "-i", "in.wav", "-sample_fmt", "s32", "-c:a", "flac", "-f", "flac", "-"]
        raw = chain(folder, flac, apply(), [*FFMPEG, "-i", "-", "-f", "f64le", "-"])
        assert snr(np.frombuffer(raw).reshape(-1, 2).T, expected(folder)) >= 110


class TestSox:
    pytestmark = needs_sox

    def test_on_both_sides(self, folder):
        sox_in = ["sox", "in.wav", "-e", "floating-point", "-b", "32", "-t", "wav", "-"]
        sox_out = ["sox", "-t", "wav", "-", "-t", "f64", "-"]
        # SoX holds samples as integers of 32 bits, and warns of lengths that are left open.
        y = np.frombuffer(chain(folder, sox_in, apply(), sox_out)).reshape(-1, 2).T
        assert snr(y, expected(folder)) >= 130

    def test_sox_play_style_16_bits(self, folder):
        sox_in = ["sox", "-D", "in.wav", "-b", "16", "-t", "wav", "-"]
        y = np.frombuffer(chain(folder, sox_in, apply(), ["sox", "-t", "wav", "-", "-t", "f64", "-"]))
        assert snr(y.reshape(-1, 2).T, expected(folder)) >= 60


class TestFormats:
    @pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16", "PCM_24"])
    @pytest.mark.parametrize("known", [True, False], ids=["known-length", "open-length"])
    def test_libsndfile_reads_our_stream(self, folder, subtype, known):
        data = (folder / "in.wav").read_bytes()
        if known:
            done = succeed("apply", "in.wav", "ir.wav", "-o", "-", "--subtype", subtype, cwd=folder)
        else:
            data = wav_header(0xFFFFFFFF) + interleaved(read(folder / "in.wav"))
            done = succeed("apply", "-", "ir.wav", "-o", "-", "--subtype", subtype, cwd=folder, stdin=data)
        y, rate = soundfile.read(io.BytesIO(done.stdout), always_2d=True)
        assert rate == RATE
        assert snr(y.T, expected(folder)) >= {"FLOAT": 130, "PCM_16": 60, "PCM_24": 110}[subtype]

    def test_flac_in_and_out(self, folder):
        write(folder / "in.flac", read(folder / "in.wav"), subtype="PCM_24")
        data = (folder / "in.flac").read_bytes()
        done = succeed("apply", "-", "ir.wav", "-o", "-", "--format", "FLAC", cwd=folder, stdin=data)
        y = soundfile.read(io.BytesIO(done.stdout), always_2d=True)[0].T
        assert snr(y, expected(folder)) >= 110

    @pytest.mark.parametrize(("name", "dtype", "least"), [("f32le", "<f4", 130), ("s16be", ">i2", 60)])
    def test_raw(self, folder, name, dtype, least):
        x = read(folder / "in.wav")
        scale = 1 if dtype[1] == "f" else 32768
        stdin = interleaved(x if scale == 1 else np.rint(x * scale), dtype)
        options = ("--raw-format", name, "--rate", RATE, "--channels", 2)
        done = succeed("apply", "-", "ir.wav", "-o", "-", *options, cwd=folder, stdin=stdin)
        y = np.frombuffer(done.stdout, dtype).reshape(-1, 2).T / scale
        assert snr(y, expected(folder)) >= least
        # A WAV into raw samples, and raw samples into a WAV.
        done = succeed("apply", "in.wav", "ir.wav", "-o", "-", "--raw-format", name, cwd=folder)
        assert snr(np.frombuffer(done.stdout, dtype).reshape(-1, 2).T / scale, expected(folder)) >= least
        succeed("apply", "-", "ir.wav", "-o", "out.wav", *options, cwd=folder, stdin=stdin)
        assert snr(read(folder / "out.wav"), expected(folder)) >= least

    def test_a_file_behind_standard_output(self, folder):
        with open(folder / "out.wav", "wb") as file:
            command = [*LONGCONV, "apply", "in.wav", "ir.wav", "-o", "-", "-q"]
            subprocess.run(command, cwd=folder, stdout=file, check=True, timeout=30)
        assert snr(read(folder / "out.wav"), expected(folder)) >= 130

    def test_an_ir_from_standard_input(self, folder):
        data = (folder / "ir.wav").read_bytes()
        succeed("apply", "in.wav", "-", "-o", "out.wav", cwd=folder, stdin=data)
        assert snr(read(folder / "out.wav"), expected(folder)) >= 130

    def test_clip_scale_between_pipes(self, folder):
        data = (folder / "in.wav").read_bytes()
        done = succeed("apply", "-", "ir.wav", "-o", "-", "--clip", "scale", "--gain", "40", cwd=folder, stdin=data)
        y = soundfile.read(io.BytesIO(done.stdout), always_2d=True)[0].T
        loud = expected(folder)
        assert snr(y, loud / np.abs(loud).max()) >= 130


def test_memory_does_not_grow_with_the_length(folder):
    """The largest memory of a run over ten times as much from a pipe is the same."""
    # The parent's own peak would count for a child that it forks, so another program starts it.
    script = (
        "import resource, subprocess, sys\n"
        "feed = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=subprocess.PIPE)\n"
        "subprocess.run(sys.argv[2:], stdin=feed.stdout, stdout=subprocess.DEVNULL, check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    feeder = (
        "import sys; sys.stdout.buffer.write({!r}); block = bytes(range(200)) * 5000\n"
        "for _ in range({}): sys.stdout.buffer.write(block)\n"
    )
    peaks = []
    for megabytes in (20, 200):
        header = wav_header(0xFFFFFFFF, width=2, tag=1)
        command = [sys.executable, "-c", script, feeder.format(header, megabytes), *apply("-q")]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=60)
        peaks.append(int(done.stdout) * (1 if sys.platform == "darwin" else 1024))
    assert peaks[1] < 1.1 * peaks[0], peaks
    assert peaks[1] < 200e6
