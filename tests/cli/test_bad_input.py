"""What bad input gets: an exit code, one line, and no file that was not there before."""

import ctypes
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import termios
import time

import numpy as np
import pytest
import soundfile

from tests.cli.running import (
    LONGCONV,
    RATE,
    Result,
    convolve,
    decaying,
    default_signals,
    fail,
    fail_each,
    failed,
    interleaved,
    listing,
    noise,
    read,
    rf64_header,
    started,
    succeed,
    wait_for,
    wav_header,
    write,
)
from tests.measures import snr


@pytest.fixture
def folder(tmp_path, rng):
    """A stereo input, a stereo IR, and a file that stands in the output's way."""
    write(tmp_path / "in.wav", 0.1 * noise(rng, 2, 5000))
    write(tmp_path / "ir.wav", decaying(rng, 2, 700))
    (tmp_path / "old.wav").write_bytes(b"what stood here before")
    return tmp_path


def refused(code, *args, cwd, **options) -> str:
    """Fails where the output would replace a file; returns the line."""
    return fail(code, "apply", *args, "-o", "old.wav", "-y", cwd=cwd, **options)


def whole(folder) -> np.ndarray:
    return convolve(read(folder / "in.wav"), read(folder / "ir.wav"))


class TestUnreadable:
    @pytest.mark.parametrize(
        ("name", "contents", "words"),
        [
            ("missing.wav", None, "no such file"),
            ("empty.wav", b"", "empty"),
            ("garbage.wav", bytes(range(256)) * 40, "not an audio file"),
            ("text.wav", b"this is no audio\n" * 100, "not an audio file"),
            ("cut4.wav", wav_header(80000)[:4], ""),
            ("cut12.wav", wav_header(80000)[:12], "cut short"),
            ("cut30.wav", wav_header(80000)[:30], "cut short"),
            ("cut43.wav", wav_header(80000)[:43], "cut short"),
            ("song.m4a", b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(500), "ffmpeg -i song.m4a song.wav"),
        ],
    )
    def test_as_input_and_as_ir(self, folder, name, contents, words):
        if contents is not None:
            (folder / name).write_bytes(contents)
        commands = [
            ("apply", name, "ir.wav", "-o", "old.wav", "-y"),
            ("apply", "in.wav", name, "-o", "new.wav"),
        ]
        for line in fail_each(3, commands, cwd=folder):
            assert name in line
            assert words in line

    def test_a_folder(self, folder):
        (folder / "sub").mkdir()
        assert "sub: is a folder" in refused(3, "sub", "ir.wav", cwd=folder)
        assert "sub: is a folder" in fail(3, "apply", "in.wav", "sub", "-o", "new.wav", cwd=folder)

    def test_a_real_m4a(self, folder):
        if not shutil.which("ffmpeg"):
            pytest.skip("ffmpeg is not installed")
        command = ["ffmpeg", "-v", "error", "-i", "in.wav", "-c:a", "aac", "real.m4a"]
        subprocess.run(command, cwd=folder, check=True, timeout=30)
        assert "convert it first: ffmpeg -i real.m4a real.wav" in refused(3, "real.m4a", "ir.wav", cwd=folder)

    def test_on_standard_input(self, folder):
        line = refused(3, "-", "ir.wav", cwd=folder, stdin=b"")
        assert "standard input: is empty" in line
        assert "standard input" in refused(3, "-", "ir.wav", cwd=folder, stdin=b"no audio at all" * 99)


class TestCutShort:
    """Less data than the header says: what is there is used, with a warning; under --strict nothing is."""

    def test_wav(self, folder):
        data = (folder / "in.wav").read_bytes()
        (folder / "cut.wav").write_bytes(data[: -8 * 1234])
        result = succeed("apply", "cut.wav", "ir.wav", "-o", "new.wav", cwd=folder)
        (warning,) = (line for line in result.lines if "warning" in line)
        assert "5000" in warning
        assert "3766" in warning
        expected = convolve(read(folder / "in.wav")[:, :3766], read(folder / "ir.wav"))
        assert snr(read(folder / "new.wav"), expected) >= 130
        line = refused(3, "cut.wav", "ir.wav", "--strict", cwd=folder)
        assert "5000" in line
        assert "3766" in line

    def test_wav_on_a_pipe(self, folder):
        data = (folder / "in.wav").read_bytes()[: -8 * 1234]
        result = succeed("apply", "-", "ir.wav", "-o", "new.wav", cwd=folder, stdin=data)
        assert any("5000" in line and "3766" in line and "warning" in line for line in result.lines)
        assert read(folder / "new.wav").shape == (2, 3766 + 699)
        refused(3, "-", "ir.wav", "--strict", cwd=folder, stdin=data)

    @pytest.mark.parametrize(("suffix", "subtype"), [("flac", "PCM_16"), ("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III")])
    def test_compressed(self, folder, rng, suffix, subtype):
        x = 0.1 * noise(rng, 2, 60_000)
        write(folder / f"whole.{suffix}", x, subtype=subtype)
        data = (folder / f"whole.{suffix}").read_bytes()
        (folder / f"cut.{suffix}").write_bytes(data[: len(data) * 6 // 10])
        result = succeed("apply", f"cut.{suffix}", "ir.wav", "-o", "new.wav", "--subtype", "FLOAT", cwd=folder)
        assert any("warning" in line and f"cut.{suffix}" in line for line in result.lines), result.stderr
        decoded = read(folder / f"whole.{suffix}")
        frames = read(folder / "new.wav").shape[1] - 699
        assert 25_000 < frames < 45_000
        # Lossy codecs decode the block at the cut differently, and the IR carries that on.
        compared = frames - 3000
        expected = convolve(decoded[:, :compared], read(folder / "ir.wav"))[:, :compared]
        assert snr(read(folder / "new.wav")[:, :compared], expected) >= 130
        assert f"cut.{suffix}" in refused(3, f"cut.{suffix}", "ir.wav", "--strict", cwd=folder)

    def test_an_ir(self, folder):
        data = (folder / "ir.wav").read_bytes()
        (folder / "cut.wav").write_bytes(data[: -8 * 100])
        result = succeed("apply", "in.wav", "cut.wav", "-o", "new.wav", cwd=folder)
        assert any("700" in line and "600" in line for line in result.lines)
        assert read(folder / "new.wav").shape == (2, 5599)
        assert "cut.wav" in refused(3, "in.wav", "cut.wav", "--strict", cwd=folder)


class TestSizesThatSayNothing:
    @pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
    def test_samples_behind_them_are_processed(self, folder, size):
        data = wav_header(size) + interleaved(read(folder / "in.wav"))
        (folder / "open.wav").write_bytes(data)
        expected = whole(folder)
        succeed("apply", "open.wav", "ir.wav", "-o", "new.wav", cwd=folder)
        assert snr(read(folder / "new.wav"), expected) >= 130
        succeed("apply", "-", "ir.wav", "-o", "piped.wav", cwd=folder, stdin=data)
        assert snr(read(folder / "piped.wav"), expected) >= 130

    def test_header_only(self, folder):
        (folder / "none.wav").write_bytes(wav_header(0))
        succeed("apply", "none.wav", "ir.wav", "-o", "new.wav", cwd=folder)
        assert soundfile.info(folder / "new.wav").frames == 0
        assert soundfile.info(folder / "new.wav").channels == 2
        succeed("apply", "-", "ir.wav", "-o", "piped.wav", cwd=folder, stdin=wav_header(0))
        assert soundfile.info(folder / "piped.wav").frames == 0
        options = ("--align", "peak", "--predelay", "5", "--tail", "1")
        for clip in ("scale", "limit"):
            succeed("apply", "none.wav", "ir.wav", "-o", f"{clip}.wav", "--clip", clip, *options, cwd=folder)
            assert soundfile.info(folder / f"{clip}.wav").frames == 0


class TestNotFinite:
    @pytest.mark.parametrize(
        ("value", "word", "channel", "frame"),
        [(np.nan, "nan", 1, 0), (np.inf, "inf", 2, 4999), (-np.inf, "-inf", 1, 345_678)],
    )
    def test_in_the_input(self, folder, rng, value, word, channel, frame):
        x = 0.1 * noise(rng, 2, max(frame + 50, 5000))
        x[channel - 1, frame] = value
        if frame + 10 < x.shape[1]:
            x[0, frame + 10] = -value  # the first one counts, and a second of the other sign changes nothing
        write(folder / "bad.wav", x)
        commands = [
            ("apply", "bad.wav", "ir.wav", "-o", "old.wav", "-y"),
            ("apply", "bad.wav", "ir.wav", "-o", "scaled.wav", "--clip", "scale"),
            ("apply", "bad.wav", "ir.wav", "-o", "limited.wav", "--clip", "limit"),
        ]
        for line in fail_each(5, commands, cwd=folder):
            assert f"sample {frame} of channel {channel} is {word}:" in line
            assert "bad.wav" in line

    def test_counted_from_the_files_start(self, folder, rng):
        x = 0.1 * noise(rng, 2, 5000)
        x[1, 3210] = np.nan
        write(folder / "bad.wav", x)
        line = fail(5, "apply", "bad.wav", "ir.wav", "-o", "new.wav", "--start", "3000s", cwd=folder)
        assert "sample 3210 of channel 2" in line
        succeed("apply", "bad.wav", "ir.wav", "-o", "new.wav", "--start", "3211s", cwd=folder)

    def test_in_an_ir(self, folder, rng):
        h = decaying(rng, 2, 700)
        h[1, 123] = np.nan
        write(folder / "bad.wav", h)
        line = refused(5, "in.wav", "bad.wav", cwd=folder)
        assert "bad.wav" in line
        assert "channel 2" in line
        assert "sample 123" in line

    def test_out_of_the_range_of_single_precision(self, folder, rng):
        write(folder / "huge.wav", noise(rng, 2, 5000) * np.float32(1e35))
        for clip in ("warn", "scale", "limit"):
            options = ("--gain", "100", "--precision", "single", "--clip", clip)
            line = fail(5, "apply", "huge.wav", "ir.wav", "-o", "new.wav", *options, cwd=folder)
            assert "--precision double" in line
        options = ("--gain", "100", "--precision", "double", "--subtype", "DOUBLE")
        succeed("apply", "huge.wav", "ir.wav", "-o", "new.wav", *options, cwd=folder)
        expected = convolve(read(folder / "huge.wav"), read(folder / "ir.wav")) * 1e5
        assert snr(read(folder / "new.wav") / 1e40, expected / 1e40) >= 280


class TestImpulseResponses:
    def test_zeros(self, folder):
        write(folder / "zeros.wav", np.zeros((1, 100)))
        result = succeed("apply", "in.wav", "zeros.wav", "-o", "new.wav", cwd=folder)
        assert any("zeros.wav" in line and "silence" in line for line in result.lines)
        assert read(folder / "new.wav").shape == (2, 5099)
        assert not read(folder / "new.wav").any()
        succeed("apply", "in.wav", "zeros.wav", "-o", "dry.wav", "--dry", "0", cwd=folder)
        assert snr(read(folder / "dry.wav")[:, :5000], read(folder / "in.wav")) >= 130
        assert "every tap" in refused(2, "in.wav", "zeros.wav", "--normalize", "peak", cwd=folder)

    def test_one_sample(self, folder):
        write(folder / "one.wav", [-0.75])
        succeed("apply", "in.wav", "one.wav", "-o", "new.wav", cwd=folder)
        assert snr(read(folder / "new.wav"), -0.75 * read(folder / "in.wav")) >= 130

    def test_no_samples(self, folder):
        (folder / "none.wav").write_bytes(wav_header(0))
        assert "none.wav: the IR has 0 samples" in refused(3, "in.wav", "none.wav", cwd=folder)
        np.save(folder / "none.npy", np.zeros((1, 0)))
        assert "none.npy" in refused(3, "in.wav", "none.npy", cwd=folder)

    def test_none_given(self, folder):
        assert "no IR was given" in refused(2, "in.wav", cwd=folder)

    def test_another_rate(self, folder, rng):
        h = decaying(rng, 2, 700)
        write(folder / "ir44.wav", h, rate=44_100)
        line = refused(4, "in.wav", "ir44.wav", "--ir-rate", "error", cwd=folder)
        assert "44100" in line
        assert "48000" in line
        result = succeed("apply", "in.wav", "ir44.wav", "-o", "new.wav", cwd=folder)
        assert any("resampled from 44100 to 48000 Hz" in line for line in result.lines)
        assert np.abs(read(folder / "new.wav")).max() > 0.05

    def test_twice_from_standard_input(self, folder):
        data = (folder / "in.wav").read_bytes()
        assert "standard input" in refused(2, "-", "-", cwd=folder, stdin=data)


class TestChannels:
    @pytest.mark.parametrize(
        ("inputs", "taps", "options", "words"),
        [
            (2, 4, (), "--ir-channels true-stereo"),
            (2, 3, (), "the IR has 3 channels and the input 2"),
            (1, 2, (), "the IR has 2 channels and the input 1"),
            (6, 2, (), "the IR has 2 channels and the input 6"),
            (2, 2, ("--ir-channels", "mono"), "mono takes 1"),
            (2, 1, ("--ir-channels", "parallel"), "--ir-channels mono"),
            (2, 2, ("--ir-channels", "true-stereo"), "true-stereo needs 4 and 2"),
            (1, 4, ("--ir-channels", "true-stereo"), "true-stereo needs 4 and 2"),
        ],
    )
    def test_misfits(self, tmp_path, rng, inputs, taps, options, words):
        write(tmp_path / "in.wav", 0.1 * noise(rng, inputs, 500))
        write(tmp_path / "ir.wav", decaying(rng, taps, 50))
        assert words in fail(4, "apply", "in.wav", "ir.wav", "-o", "new.wav", *options, cwd=tmp_path)

    def test_matrices(self, folder, rng):
        write(folder / "three.wav", 0.1 * noise(rng, 3, 500))
        paths = "[[path]]\ninput = {}\noutput = {}\nfile = 'ir.wav'\n"
        (folder / "to3.toml").write_text("".join(paths.format(1 + o % 2, o + 1) for o in range(3)))
        assert "to3.toml takes 2 channels and gets 3" in refused(4, "three.wav", "to3.toml", cwd=folder)
        assert "2 to 3 channels" in refused(4, "in.wav", "to3.toml", "--mix", "0.5", cwd=folder)
        # In series: 2 to 3 channels, then an IR with 2.
        assert "3" in refused(4, "in.wav", "to3.toml", "ir.wav", cwd=folder)


class TestOutputs:
    def test_the_input_itself(self, folder):
        assert "in.wav: is the input itself" in fail(8, "apply", "in.wav", "ir.wav", "-o", "in.wav", cwd=folder)
        (folder / "link.wav").symlink_to("in.wav")
        assert "the input itself" in fail(8, "apply", "in.wav", "ir.wav", "-o", "link.wav", cwd=folder)
        expected = whole(folder)
        succeed("apply", "in.wav", "ir.wav", "-o", "in.wav", "-y", cwd=folder)
        assert snr(read(folder / "in.wav"), expected) >= 130

    def test_exists(self, folder):
        line = fail(8, "apply", "in.wav", "ir.wav", "-o", "old.wav", cwd=folder)
        assert "old.wav: exists" in line
        assert "-y" in line
        assert "old.wav: exists" in fail(8, "apply", "in.wav", "ir.wav", "-o", "old.wav", "-n", cwd=folder)

    def test_folders(self, folder):
        assert "no folder" in fail(8, "apply", "in.wav", "ir.wav", "-o", "away/new.wav", cwd=folder)
        (folder / "sub").mkdir()
        assert "is a folder" in fail(8, "apply", "in.wav", "ir.wav", "-o", "sub", "-y", cwd=folder)
        assert "is a folder" in fail(8, "apply", "in.wav", "ir.wav", "-o", "sub/", "-y", cwd=folder)

    def test_not_writable(self, folder):
        sub = folder / "sub"
        sub.mkdir()
        (sub / "old.wav").write_bytes(b"what stood here before")
        sub.chmod(0o555)
        try:
            for name, options in (
                ("sub/new.wav", ("-n",)),
                ("sub/old.wav", ("-y",)),
                ("sub/new.wav", ("--clip", "scale")),
            ):
                line = fail(8, "apply", "in.wav", "ir.wav", "-o", name, *options, cwd=folder, **_bound_by_permissions())
                assert name in line
                assert "permission denied" in line
        finally:
            sub.chmod(0o755)
        (folder / "old.wav").chmod(0o444)
        line = fail(8, "apply", "in.wav", "ir.wav", "-o", "old.wav", "-y", cwd=folder, **_bound_by_permissions())
        assert "write-protected" in line

    def test_options_without_sense(self, folder):
        cases = [
            ("new.xyz", (), "suffix"),
            ("new.m4a", (), "ffmpeg"),
            ("new.wav", ("--format", "NOPE"), "NOPE"),
            ("new.flac", ("--subtype", "FLOAT"), "FLAC cannot hold FLOAT"),
            ("new.wav", ("--mix", "1.5"), "--mix 1.5"),
            ("new.wav", ("--mix", "0.5", "--dry", "0"), "--mix"),
            ("new.wav", ("--gain", "nan"), "--gain nan"),
            ("new.wav", ("--predelay", "-1"), "--predelay -1"),
            ("new.wav", ("--predelay", "1e300"), "--predelay 1e+300"),
            ("new.wav", ("--tail", "soon"), "soon"),
            ("new.wav", ("--start", "9"), "beyond the end"),
            ("new.wav", ("--ir-offset", "700s"), "--ir-offset"),
            ("new.wav", ("--ir-channels", "stereo"), "--ir-channels stereo"),
            ("new.wav", ("--ir-channels", "true-stereo", "--ir-order", "LL,LR"), "--ir-order"),
            ("new.wav", ("--block-size", "1"), "--block-size 1"),
            ("new.wav", ("--block-size", "1000000000"), "--block-size 1000000000"),
            ("new.wav", ("--device", "cuda:99"), "--device cuda:99: "),
            ("new.wav", ("--device", "gpu"), "--device gpu: expected cpu, cuda"),
            ("new.wav", ("--rate", "48000"), "--raw-format"),
            ("new.wav", ("--clip", "maybe"), "maybe"),
            ("new.wav", ("--nonsense",), "--nonsense"),
            ("-", ("--json",), "--json"),
        ]
        commands = [("apply", "in.wav", "ir.wav", "-o", name, *options) for name, options, _ in cases]
        for line, (_, _, words) in zip(fail_each(2, commands, cwd=folder), cases, strict=True):
            assert words in line


class TestNames:
    def test_empty(self, folder):
        for names in (("", "ir.wav"), ("in.wav", "")):
            assert "an empty name" in fail(2, "apply", *names, "-o", "new.wav", cwd=folder)

    def test_that_begin_with_a_dash(self, folder):
        line = fail(2, "apply", "-x.wav", "ir.wav", "-o", "new.wav", cwd=folder)
        assert "a name that begins with - goes behind --, or as ./-x.wav" in line
        assert "./-x.wav" not in fail(2, "apply", "in.wav", "ir.wav", "-o", "new.wav", "--nonsense", cwd=folder)
        (folder / "in.wav").rename(folder / "-x.wav")
        succeed("apply", "./-x.wav", "ir.wav", "-o", "new.wav", cwd=folder)
        succeed("apply", "-o", "other.wav", "--", "-x.wav", "ir.wav", cwd=folder)


class TestDiskFull:
    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("wav", ()),
            ("wav", ("--clip", "scale")),
            ("flac", ("--subtype", "PCM_24")),
            ("raw", ("--raw-format", "f32le")),
        ],
    )
    def test_by_a_limit_on_file_sizes(self, folder, rng, name, options):
        write(folder / "long.wav", 0.1 * noise(rng, 2, 200_000))
        limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))}
        (folder / f"old.{name}").write_bytes(b"what stood here before")
        for target in (f"new.{name}", f"old.{name}"):
            line = fail(8, "apply", "long.wav", "ir.wav", "-o", target, "-y", *options, cwd=folder, **limit)
            assert "larger" in line or "too large" in line, line

    @pytest.mark.parametrize("options", [(), ("--clip", "scale")])
    def test_on_a_small_disk(self, folder, rng, options):
        disk = folder / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], capture_output=True)
        if mounted.returncode:
            pytest.skip("a disk can only be mounted by root")
        try:
            samples = 0.1 * noise(rng, 2, 200_000)
            write(folder / "long.wav", samples)
            (disk / "old.wav").write_bytes(b"what stood here before")
            raw = ("--raw-format", "f32le", "--rate", "48000", "--channels", "2")
            for name in ("new.wav", "old.wav"):
                to = ("ir.wav", "-o", f"disk/{name}", "-y", *options)
                assert "bytes free" in fail(8, "apply", "long.wav", *to, cwd=folder)
                # From a pipe nobody knows the length beforehand, and the disk fills up on the way.
                piped = samples.T.astype("<f4").tobytes()
                line = fail(8, "apply", "-", *to, *raw, cwd=folder, stdin=piped)
                assert "the disk is full" in line or "No space left" in line
        finally:
            subprocess.run(["umount", str(disk)], check=True)


class TestBrokenPipes:
    def test_a_reader_that_goes(self, folder, rng):
        write(folder / "long.wav", 0.1 * noise(rng, 2, 300_000))
        before = listing(folder)
        with started("apply", "long.wav", "ir.wav", "-o", "-", cwd=folder, stdout=subprocess.PIPE) as process:
            assert len(process.stdout.read(1000)) == 1000
            process.stdout.close()
            stderr = process.stderr.read().decode()
            code = process.wait(timeout=20)
        line = failed(Result(code, b"", stderr, before, listing(folder)), 8)
        assert "the program that reads the pipe has gone" in line

    def test_in_a_shell(self, folder, rng):
        write(folder / "long.wav", 0.1 * noise(rng, 2, 300_000))
        command = f"{' '.join(LONGCONV)} apply long.wav ir.wav -o - | head -c 1000 | wc -c; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, timeout=30)
        assert done.stdout.split() == [b"1000", b"8"]
        assert len(done.stderr.splitlines()) == 1

    def test_nobody_reads_the_report(self, folder):
        read_end, write_end = os.pipe()
        os.close(read_end)
        done = subprocess.run(
            [*LONGCONV, "apply", "in.wav", "ir.wav", "-o", "new.wav", "--json", "-q"],
            cwd=folder,
            stdout=write_end,
            stderr=subprocess.PIPE,
            timeout=30,
        )
        os.close(write_end)
        assert done.returncode == 8
        assert len(done.stderr.splitlines()) == 1
        assert snr(read(folder / "new.wav"), whole(folder)) >= 130


class TestStandardStreams:
    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
    @pytest.mark.parametrize(
        "arguments",
        [["--version"], ["--help"], ["apply", "in.wav", "ir.wav", "-o", "new.wav", "--json", "-q"]],
        ids=["version", "help", "json"],
    )
    def test_a_full_disk_behind_standard_output(self, folder, arguments):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([*LONGCONV, *arguments], cwd=folder, stdout=full, stderr=subprocess.PIPE, timeout=30)
        assert done.returncode == 8
        assert done.stderr.decode() == "longconv: standard output: No space left on device\n"

    @pytest.mark.parametrize("source", ["in.wav", "missing.wav"])
    def test_standard_error_closed(self, folder, source):
        command = f"{' '.join(LONGCONV)} apply {source} ir.wav -o new.wav --progress on 2>&-"
        done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, timeout=30)
        assert (done.returncode, done.stdout) == (0 if source == "in.wav" else 3, b"")
        if not done.returncode:
            assert snr(read(folder / "new.wav"), whole(folder)) >= 130

    def test_standard_output_closed(self, folder):
        for options, code in (("", 0), ("--json", 8)):
            command = f"{' '.join(LONGCONV)} apply in.wav ir.wav -o new.wav -y {options} >&-"
            done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, timeout=30)
            assert done.returncode == code
            assert b"Traceback" not in done.stderr


class TestSignals:
    """The output appears whole or not at all, whatever ends the program."""

    @pytest.fixture
    def long(self, folder):
        """An hour of silence that takes no room on the disk, and a long IR."""
        frames = 3600 * RATE
        with open(folder / "long.wav", "wb") as file:
            file.write(wav_header(frames * 8))
            file.truncate(44 + frames * 8)
        return folder

    @pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="the system does not tell what a process wrote")
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize(("clip", "target"), [("warn", "new.wav"), ("warn", "old.wav"), ("scale", "new.wav")])
    def test_amid_a_long_file(self, long, number, clip, target):
        before = listing(long)
        with started("apply", "long.wav", "ir.wav", "-o", target, "-y", "--clip", clip, cwd=long) as process:
            wait_for(lambda: _bytes_written(process.pid) > 10_000_000)
            assert interrupted(process, number)
        assert listing(long) == before

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    @pytest.mark.parametrize("given", [b"RIFF", wav_header(0xFFFFFFFF) + bytes(8000)], ids=["header", "samples"])
    def test_at_a_pipe_that_stops(self, folder, number, given):
        before = listing(folder)
        with started("apply", "-", "ir.wav", "-o", "new.wav", cwd=folder, stdin=subprocess.PIPE) as process:
            process.stdin.write(given)
            process.stdin.flush()
            if len(given) > 44:
                wait_for(lambda: (folder / f".new.wav.{process.pid}.part").exists())
            wait_for(lambda: not _bytes_in(process.stdin))
            assert interrupted(process, number)
        assert listing(folder) == before

    def test_amid_the_imports(self):
        script = (
            "import os, signal, sys\n"
            "class Sender:\n"
            "    def find_spec(self, name, *more):\n"
            "        if name == 'typer': os.kill(os.getpid(), signal.SIGINT)\n"
            "sys.meta_path.insert(0, Sender())\n"
            "from longconv_audio.cli import main\n"
        )
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, preexec_fn=default_signals, timeout=30)
        assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"longconv: interrupted\n")

    def test_importing_the_command_line_leaves_ctrl_c_to_python(self):
        script = (
            "import signal, longconv_audio.cli\nassert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        )
        subprocess.run([sys.executable, "-c", script], check=True, preexec_fn=default_signals, timeout=30)

    def test_tests_do_not_inherit_an_ignored_ctrl_c(self, folder):
        kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with started("apply", "-", "ir.wav", "-o", "new.wav", cwd=folder, stdin=subprocess.PIPE) as process:
                process.stdin.write(b"RIFF")
                process.stdin.flush()
                wait_for(lambda: not _bytes_in(process.stdin))
                assert interrupted(process, signal.SIGINT)
        finally:
            signal.signal(signal.SIGINT, kept)

    @pytest.mark.parametrize("pause", [0, 0.001, 0.1])
    def test_twice(self, folder, pause):
        """Programs that start programs pass Ctrl-C on, which the terminal has sent already."""
        before = listing(folder)
        with started("apply", "-", "ir.wav", "-o", "new.wav", cwd=folder, stdin=subprocess.PIPE) as process:
            process.stdin.write(wav_header(0xFFFFFFFF) + bytes(8000))
            process.stdin.flush()
            wait_for(lambda: (folder / f".new.wav.{process.pid}.part").exists())
            process.send_signal(signal.SIGINT)
            time.sleep(pause)
            assert interrupted(process, signal.SIGINT)
        assert listing(folder) == before

    def test_kill_at_random_moments(self, folder, rng):
        write(folder / "long.wav", 0.1 * noise(rng, 2, 1_500_000))
        succeed("apply", "long.wav", "ir.wav", "-o", "whole.wav", cwd=folder)
        finished = (folder / "whole.wav").read_bytes()
        old = (folder / "old.wav").read_bytes()
        killed = 0
        for delay in rng.uniform(0, 0.06, 8):
            with started("apply", "long.wav", "ir.wav", "-o", "old.wav", "-y", cwd=folder) as process:
                part = folder / f".old.wav.{process.pid}.part"
                wait_for(lambda part=part, process=process: part.exists() or process.poll() is not None)
                try:
                    process.wait(timeout=delay)
                except subprocess.TimeoutExpired:
                    process.kill()
                    killed += 1
                process.wait(timeout=20)
            assert (folder / "old.wav").read_bytes() in (old, finished)
        assert killed >= 3  # that many were truly ended while they wrote


class TestExtremes:
    def test_24_hours_are_planned_at_once(self, folder):
        frames = 24 * 3600 * RATE
        with open(folder / "day.wav", "wb") as file:
            file.write(rf64_header(frames))
            file.truncate(80 + frames * 8)
        for _ in range(5):  # the best of them: other programs may be at work
            began = time.perf_counter()
            result = succeed("apply", "day.wav", "ir.wav", "-o", "new.wav", "--dry-run", cwd=folder)
            if (seconds := time.perf_counter() - began) < 1.5:
                break
        assert seconds < 1.5
        assert result.after == result.before
        assert f"{frames} frames" in result.stderr
        assert "24:00:00" in result.stderr
        assert "RF64" in result.stderr  # more than 4 GiB: said before it is done

    def test_beyond_4_gib_a_wav_is_an_rf64(self, folder, monkeypatch, capsys):
        from longconv_audio import cli
        from longconv_audio.audio_io import wav_header as headers

        monkeypatch.setattr(headers, "RIFF_LIMIT", 30_000)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        with pytest.raises(SystemExit) as end:
            cli.main(["apply", "in.wav", "ir.wav", "-o", "new.wav"])
        assert end.value.code == 0
        assert (folder / "new.wav").read_bytes()[:4] == b"RF64"
        assert soundfile.info(folder / "new.wav").format == "RF64"
        assert snr(read(folder / "new.wav"), whole(folder)) >= 130

    @pytest.mark.parametrize("rate", [1, 768_000])
    def test_rates(self, tmp_path, rng, rate):
        x, h = 0.1 * noise(rng, 2, 3000), decaying(rng, 1, 100)
        write(tmp_path / "in.wav", x, rate=rate)
        write(tmp_path / "ir.wav", h, rate=rate)
        for clip in ("warn", "limit"):
            succeed("apply", "in.wav", "ir.wav", "-o", f"{clip}.wav", "--clip", clip, cwd=tmp_path)
            assert soundfile.info(tmp_path / f"{clip}.wav").samplerate == rate
            assert read(tmp_path / f"{clip}.wav").shape == (2, 3099)
        assert snr(read(tmp_path / "warn.wav"), convolve(x, h)) >= 130
        write(tmp_path / "ir48.wav", h)
        line = fail(4, "apply", "in.wav", "ir48.wav", "-o", "new.wav", cwd=tmp_path) if rate == 1 else ""
        assert rate > 1 or "factor of 1000" in line

    def test_64_channels(self, tmp_path, rng):
        x, h = 0.1 * noise(rng, 64, 3000), decaying(rng, 64, 100)
        write(tmp_path / "in.wav", x)
        write(tmp_path / "ir.wav", h)
        succeed("apply", "in.wav", "ir.wav", "-o", "new.wav", cwd=tmp_path)
        assert snr(read(tmp_path / "new.wav"), convolve(x, h)) >= 130


def _bound_by_permissions() -> dict:
    """Options for a run that permissions hold even where the user is root."""
    drop = getattr(ctypes.CDLL(None), "prctl", None)
    if os.geteuid() == 0 and drop is None:
        pytest.skip("permissions do not hold root")
    # PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, for the program that is started next.
    return {"preexec_fn": lambda: [drop(24, capability) for capability in (1, 2)]} if os.geteuid() == 0 else {}


def interrupted(process, number) -> bool:
    """Sends the signal and checks the code and what is said."""
    process.send_signal(number)
    code = process.wait(timeout=20)
    said = process.stderr.read().decode()
    return (code, said) == (128 + number, "longconv: interrupted\n" if number == signal.SIGINT else "")


def _bytes_written(pid) -> int:
    try:
        with open(f"/proc/{pid}/io") as file:
            return int(dict(line.split(": ") for line in file)["wchar"])
    except OSError:
        return 0


def _bytes_in(pipe) -> int:
    """What was written into a pipe and not read yet."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
