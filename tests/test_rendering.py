"""Applying a filter to a file from Python: block boundaries, lengths, and what is left after failures."""

import itertools
import math
import os
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from longconv_audio import backends, rendering
from longconv_audio.audio_io import AudioReader, AudioWriter
from longconv_audio.audio_io import wav_header as headers
from longconv_audio.duration import Duration
from longconv_audio.errors import ClippedError, MismatchError, NonFiniteError, OptionError, UnwritableError
from longconv_audio.filter_chain import FilterSettings
from longconv_audio.rendering import Rendering, RenderSettings
from tests.measures import snr

RATE = 48_000


@pytest.fixture
def folder(tmp_path, rng, monkeypatch):
    """A stereo input of 5000 frames and an IR of 700 taps, its peak at 123; small blocks make for many of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rendering, "_BLOCK_BYTES", 4 * 2 * 333)
    h = 0.03 * rng.standard_normal((2, 700))
    h[1, 123] = 0.9
    save("in.wav", 0.1 * rng.standard_normal((2, 5000)))
    save("ir.wav", h)
    return tmp_path


def save(name, x, **options):
    with AudioWriter(name, samplerate=RATE, channels=len(x), **{"subtype": "DOUBLE", **options}) as writer:
        writer.write(np.asarray(x))


def load(name) -> np.ndarray:
    with AudioReader(name, dtype="float64") as reader:
        return reader.read()


def render(filters=None, progress=None, source="in.wav", irs=("ir.wav",), target="out.wav", **settings):
    return Rendering(source, list(irs), target, FilterSettings(**(filters or {})), RenderSettings(**settings)).run(
        progress
    )


def whole() -> np.ndarray:
    return fftconvolve(load("in.wav"), load("ir.wav"), axes=1)


@pytest.mark.parametrize(
    ("align", "tail", "predelay", "block_size"),
    list(
        itertools.product(
            ["causal", "peak"],
            ["full", "none", Duration.of_samples(50), Duration.of_samples(9000)],
            [0.0, 5.0],
            [256, 16384],
        ),
    ),
)
def test_lengths_and_places(folder, align, tail, predelay, block_size):
    """Every alignment, tail and delay, with transforms far shorter and longer than blocks and filter."""
    report = render({"align": align, "predelay": predelay}, tail=tail, block_size=block_size)
    delay, lead = round(predelay * 48), 123 if align == "peak" else 0
    full = 5000 + 699 + delay - lead
    frames = {"full": max(full, 5000), "none": 5000}.get(tail) if isinstance(tail, str) else 5000 + tail.samples(RATE)
    late = np.concatenate([np.zeros((2, delay)), whole(), np.zeros((2, 9000))], axis=1)
    assert report.frames_out == frames
    assert snr(load("out.wav"), late[:, lead : lead + frames]) >= 280


class TestDevices:
    """The engine for a GPU, on torch's CPU."""

    @pytest.fixture(autouse=True)
    def gpu(self, monkeypatch):
        def find(device, option):
            return None if device == "cpu" else torch.device("cpu")

        monkeypatch.setattr(backends, "find_gpu", find)

    @pytest.mark.parametrize("align", ["causal", "peak"])
    @pytest.mark.parametrize("tail", ["full", "none", Duration.of_samples(50), Duration.of_samples(9000)])
    @pytest.mark.parametrize("block_size", [None, 256, 2000])
    def test_lengths_and_places(self, folder, align, tail, block_size):
        report = render({"align": align}, tail=tail, block_size=block_size, device="cuda")
        lead = 123 if align == "peak" else 0
        late = np.concatenate([whole(), np.zeros((2, 9000))], axis=1)
        assert snr(load("out.wav"), late[:, lead : lead + report.frames_out]) >= 280
        assert "on the device" in report.plan

    @pytest.mark.parametrize("clip", ["scale", "limit"])
    def test_single_precision_and_levels(self, folder, clip):
        render(clip=clip, subtype="FLOAT", device="cuda", block_size=1500)
        assert snr(load("out.wav"), whole()) >= 130

    @pytest.mark.parametrize("frames", [0, 1, 333])
    def test_short_inputs(self, folder, rng, frames):
        x = 0.1 * rng.standard_normal((2, frames))
        save("short.wav", x)
        assert render(source="short.wav", device="cuda").frames_in == frames
        y = load("out.wav")
        if frames:
            assert snr(y, fftconvolve(x, load("ir.wav"), axes=1)) >= 280
        assert y.shape[1] == (frames + 699 if frames else 0)

    def test_a_length_that_only_the_end_tells(self, folder):
        save("in.aiff", load("in.wav"), subtype="PCM_24")
        render(source="in.aiff", device="cuda", subtype="DOUBLE", block_size=1500)
        assert snr(load("out.wav"), fftconvolve(load("in.aiff"), load("ir.wav"), axes=1)) >= 280

    def test_a_failure_leaves_nothing(self, folder):
        x = load("in.wav")
        x[0, 4000] = np.inf
        save("bad.wav", x)
        with pytest.raises(NonFiniteError, match="sample 4000 of channel 1"):
            render(source="bad.wav", device="cuda", block_size=1500)
        assert not os.path.exists("out.wav")

    def test_auto_takes_a_gpu_where_it_pays(self, folder, monkeypatch):
        def with_device(pays):
            monkeypatch.setattr(rendering, "gpu_pays", lambda *_: pays)
            plan = render(overwrite=True).plan
            assert snr(load("out.wav"), whole()) >= 280
            return "on the device" in plan

        assert [with_device(False), with_device(True)] == [False, True]

        def none(device, option):
            if device != "cpu":
                raise OptionError("none that torch can use")

        monkeypatch.setattr(backends, "find_gpu", none)
        assert not with_device(True)

    def test_a_block_size_that_takes_long_is_known(self, folder):
        def slowdown(size):
            made = Rendering(
                "in.wav", ["ir.wav"], "o.wav", FilterSettings(), RenderSettings(block_size=size, device="cuda")
            )
            made.close()
            return made.slowdown

        assert slowdown(2) > 100
        assert slowdown(None) == 1 <= slowdown(6000) < 2


@pytest.mark.parametrize("frames", [0, 1, 2, 332, 333, 334, 666])
@pytest.mark.parametrize("clip", ["warn", "scale", "limit"])
def test_short_inputs(folder, rng, frames, clip):
    x = 0.1 * rng.standard_normal((2, frames))
    save("short.wav", x)
    report = render({"align": "peak"}, source="short.wav", clip=clip)
    y = load("out.wav")
    assert report.frames_in == frames
    if not frames:
        assert y.shape == (2, 0)
        return
    assert snr(y, fftconvolve(x, load("ir.wav"), axes=1)[:, 123:]) >= 280


@pytest.mark.parametrize(("start", "duration"), [(0, 1000), (400, None), (400, 333), (4999, 10), (5000, None), (0, 0)])
def test_start_and_duration(folder, start, duration):
    samples = Duration.of_samples
    report = render(start=samples(start), duration=None if duration is None else samples(duration))
    part = load("in.wav")[:, start : None if duration is None else start + duration]
    assert report.frames_in == part.shape[1]
    y = load("out.wav")
    if part.shape[1]:
        assert snr(y, fftconvolve(part, load("ir.wav"), axes=1)) >= 280
    else:
        assert y.shape == (2, 0)


def test_a_pipe_that_does_not_say_its_length(folder):
    os.mkfifo("pipe")
    data = open("in.wav", "rb").read()  # noqa: SIM115
    header = bytearray(data[: data.index(b"data") + 8])
    header[-4:] = b"\xff" * 4
    if os.fork() == 0:
        with open("pipe", "wb") as pipe:
            pipe.write(header + data[len(header) :])
        os._exit(0)
    made = Rendering("pipe", ["ir.wav"], "out.wav", FilterSettings(), RenderSettings())
    assert (made.frames_in, made.frames_out, made.report.bytes_out) == (None, None, None)
    report = made.run()
    os.wait()
    assert (report.frames_in, report.frames_out, report.bytes_out) == (5000, 5699, 5699 * 16)
    assert snr(load("out.wav"), whole()) >= 280


@pytest.mark.parametrize("name", ["in.flac", "in.aiff"])
def test_a_length_that_is_only_declared(folder, name):
    save(name, load("in.wav"), subtype="PCM_24")
    made = Rendering(name, ["ir.wav"], "out.wav", FilterSettings(), RenderSettings())
    assert (made.frames_in, made.frames_out) == (None, None)
    assert (made.report.frames_in, made.report.frames_out, made.report.bytes_out) == (5000, 5699, 5699 * 6)
    note = f"{name} declares 5000 frames; only reading can confirm them"
    assert note in made.report.notes
    report = made.run()
    assert (report.frames_in, report.frames_out) == (5000, 5699)
    assert note not in report.notes


@pytest.mark.parametrize(("channels", "mask", "expected"), [(2, 0x600, 0x600), (1, 0x100, None)])
def test_the_speakers_stay_where_the_channels_do(folder, channels, mask, expected):
    save("masked.wav", np.ones((channels, 10)), channel_mask=mask)
    paths = "".join(f"[[path]]\ninput = {channels}\noutput = {n}\ndirect = true\n" for n in (1, 2))
    (folder / "matrix.toml").write_text(paths)
    report = render(source="masked.wav", irs=["matrix.toml"])
    assert (report.channels_in, report.channels_out) == (channels, 2)
    with AudioReader("out.wav") as reader:
        assert reader.channel_mask == expected


def test_progress(folder, rng):
    save("long.wav", 0.1 * rng.standard_normal((2, 200_000)))
    done = []
    render(progress=done.append, source="long.wav", block_size=2048)
    assert done == sorted(done)
    assert len(set(done)) >= 3
    assert done[-1] == 200_699
    assert snr(load("out.wav"), fftconvolve(load("long.wav"), load("ir.wav"), axes=1)) >= 280


def test_the_report(folder):
    report = render({"gain": -6.0}, subtype="FLOAT")
    assert report.frames_out == 5699
    assert report.bytes_out == 5699 * 8
    assert report.peak_dbfs == pytest.approx(20 * math.log10(np.abs(load("out.wav")).max()), abs=1e-5)
    assert report.speed == pytest.approx(report.frames_out / RATE / report.seconds)
    assert (report.gain_db, report.clipped, report.taps, report.precision) == (-6.0, 0, 700, "single")


@pytest.mark.parametrize(
    ("subtype", "precision"), [("PCM_16", "single"), ("FLOAT", "single"), ("PCM_24", "double"), ("DOUBLE", "double")]
)
def test_precision_follows_the_output(folder, subtype, precision):
    assert render(subtype=subtype).precision == precision


class TestFailures:
    """Whatever fails leaves the folder as it was."""

    @pytest.fixture(autouse=True)
    def unchanged(self, folder):
        yield
        assert sorted(os.listdir()) == ["in.wav", "ir.wav"]

    def test_in_the_middle(self):
        x = load("in.wav")
        x[1, 3456] = np.nan
        save("bad.wav", x)
        for clip in ("warn", "scale", "limit"):
            with pytest.raises(NonFiniteError, match="sample 3456 of channel 2 is nan"):
                render(source="bad.wav", clip=clip)
        os.unlink("bad.wav")

    @pytest.mark.parametrize("clip", ["warn", "scale", "limit"])
    def test_in_the_progress_function(self, clip):
        save("long.wav", np.full((2, 200_000), 0.01))

        def stop(frames):
            if frames > 50_000:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            render(progress=stop, source="long.wav", block_size=2048, clip=clip)
        os.unlink("long.wav")

    def test_clipping_is_found_where_it_is(self):
        loud = whole() * 10
        frame, channel = np.argwhere(np.abs(loud.T) > 1)[0]
        with pytest.raises(ClippedError, match=f"sample {frame} of channel {channel + 1} reaches"):
            render({"gain": 20.0}, clip="error", subtype="PCM_24")

    def test_before_anything_is_opened(self):
        with pytest.raises(UnwritableError, match="is the input itself"):
            render(target="in.wav")
        with pytest.raises(UnwritableError, match="no folder"):
            render(target="away/out.wav")
        with pytest.raises(OptionError, match="beyond the end"):
            render(start=Duration.of_samples(5001))
        save("three.wav", np.ones((3, 5)))
        with pytest.raises(MismatchError, match="input 2"):
            render(irs=["three.wav"])
        os.unlink("three.wav")
        with pytest.raises(OptionError, match="named twice"):
            render(source="-", irs=["-"])

    def test_closed_without_a_run(self):
        made = Rendering("in.wav", ["ir.wav"], "out.wav", FilterSettings(), RenderSettings())
        assert (made.frames_in, made.frames_out) == (5000, 5699)
        made.close()

    @pytest.mark.parametrize("target", ["out.flac", "out.mp3", "out.aiff"])
    def test_what_the_format_cannot_hold_before_the_run(self, target):
        channels = 2000 if target == "out.aiff" else 12
        save("many.wav", np.ones((channels, 5)))
        save("mono.wav", np.ones((1, 5)))
        with pytest.raises(OptionError, match=f"{target}: .* cannot hold {channels} channels at 48000 Hz"):
            Rendering("many.wav", ["mono.wav"], target, FilterSettings(), RenderSettings())
        os.unlink("many.wav")
        os.unlink("mono.wav")

    def test_a_rate_that_the_format_cannot_hold_before_the_run(self):
        for name in ("slow.wav", "slow_ir.wav"):
            with AudioWriter(name, samplerate=44_100, channels=1) as writer:
                writer.write(np.ones((1, 5)))
        with pytest.raises(OptionError, match=r"out\.opus: OGG OPUS cannot hold 1 channels at 44100 Hz"):
            Rendering("slow.wav", ["slow_ir.wav"], "out.opus", FilterSettings(), RenderSettings())
        os.unlink("slow.wav")
        os.unlink("slow_ir.wav")

    @pytest.mark.parametrize(
        ("settings", "needed"),
        [({}, 5699 * 16), ({"subtype": "PCM_16"}, 5699 * 4), ({"clip": "scale"}, 5699 * 32)],
    )
    def test_a_disk_without_room(self, monkeypatch, settings, needed):
        disk = SimpleNamespace(total=1 << 40, free=needed - 1)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: disk)
        words = f"needs {needed} bytes and .* has {needed - 1} bytes free"
        made = Rendering("in.wav", ["ir.wav"], "out.wav", FilterSettings(), RenderSettings(**settings))
        assert re.search(words, made.report.warnings[-1])  # what a dry run would say
        with pytest.raises(UnwritableError, match=words):
            made.run()
        for enough, target in ((needed, "out.wav"), (needed - 1, "/dev/null")):
            disk.free = enough
            options = RenderSettings(format="WAV", **settings)
            Rendering("in.wav", ["ir.wav"], target, FilterSettings(), options).close()

    def test_a_tail_of_days(self):
        Rendering("in.wav", ["ir.wav"], "out.flac", FilterSettings(), RenderSettings(tail=Duration.of(86400))).close()
        for tail in (Duration.of(86401), Duration.of_samples(86401 * RATE)):
            with pytest.raises(OptionError, match=f"--tail {tail}: expected at most 24 hours"):
                render(tail=tail)

    @pytest.mark.parametrize(
        "settings",
        [
            {"clip": "maybe"},
            {"nonfinite": "keep"},
            {"dither": "noise"},
            {"metadata": "some"},
            {"precision": "half"},
            {"block_size": 1},
            {"rate": 48000},
            {"channels": 2},
        ],
    )
    def test_settings_without_sense(self, settings):
        with pytest.raises(OptionError, match=next(iter(settings)).replace("_", "-")):
            RenderSettings(**settings)


class TestLevels:
    def test_scaled(self, folder):
        report = render({"gain": 20.0}, clip="scale", subtype="PCM_32")
        loud = whole() * 10
        gain = (1 - 2**-31) / np.abs(loud).max()
        assert np.abs(load("out.wav") - gain * loud).max() < 2**-30
        assert report.gain_db == pytest.approx(20 + 20 * math.log10(gain))
        assert report.peak_dbfs == pytest.approx(0, abs=1e-6)

    def test_limited_across_blocks(self, folder):
        report = render({"gain": 20.0}, clip="limit", subtype="DOUBLE")
        loud, y = whole() * 10, load("out.wav")
        assert y.shape == loud.shape
        assert 0.9 < np.abs(y).max() <= 1
        assert report.limited > 0
        gain = y[:, np.abs(loud).min(axis=0) > 0.1] / loud[:, np.abs(loud).min(axis=0) > 0.1]
        np.testing.assert_allclose(gain[0], gain[1], rtol=1e-9)
        assert 0 < gain.min() < gain.max() <= 1 + 1e-12

    @pytest.mark.parametrize("clip", ["warn", "scale", "limit"])
    def test_the_lowest_code_is_legal(self, folder, rng, clip):
        x = np.round(rng.uniform(-0.5, 0.5, (2, 5000)) * 32768) / 32768
        x[1, 1234] = -1.0
        save("low.wav", x, subtype="PCM_16")
        save("unit.wav", np.ones((1, 1)))
        report = render(source="low.wav", irs=["unit.wav"], clip=clip, dither="none")
        np.testing.assert_array_equal(load("out.wav"), x)
        assert (report.gain_db, report.limited, report.clipped) == (0, 0, 0)

    def test_clipped_samples_are_counted_over_all_blocks(self, folder):
        report = render({"gain": 20.0}, subtype="PCM_16", dither="none")
        assert report.clipped == np.count_nonzero(np.abs(whole() * 10) > 1) > 10
        assert any("were clipped" in line for line in report.warnings)


class TestMetadata:
    def test_places_stay_only_where_samples_do(self, folder):
        cue = bytes(4)
        save("cued.wav", load("in.wav"), chunks=[("cue ", cue), ("bext", b"b" * 602)])
        for start, expected in ((None, ["cue ", "bext"]), (Duration.of_samples(100), ["bext"])):
            render(source="cued.wav", start=start, overwrite=True)
            with AudioReader("out.wav") as reader:
                assert [name for name, _ in reader.chunks] == expected
        render(source="cued.wav", metadata="drop", overwrite=True)
        with AudioReader("out.wav") as reader:
            assert reader.chunks == []
        assert snr(load("out.wav"), whole()) >= 280


def test_beyond_4_gib_is_said_and_done(folder, monkeypatch):
    monkeypatch.setattr(headers, "RIFF_LIMIT", 50_000)
    monkeypatch.setattr(rendering, "RIFF_LIMIT", 50_000)
    report = render()
    assert any("RF64" in line for line in report.notes)
    assert (folder / "out.wav").read_bytes()[:4] == b"RF64"
    assert snr(load("out.wav"), whole()) >= 280
