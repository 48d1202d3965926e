"""`longconv sweep` and `longconv deconvolve`: files and pipes, reports, refusals."""

import json

import numpy as np
import pytest
import soundfile

from longconv_audio.filters import Sweep
from tests.cli.running import convolve, failed, read, run_each, succeed, write

RATE = 16_000
SWEEP = Sweep(RATE, start=30, end=7000, seconds=3, after=0.4, channels=2)


def ok(result):
    assert result.code == 0, result.stderr
    return result


@pytest.fixture
def measured(tmp_path, rng):
    """A sweep by the command, what two microphones record of it, and the responses LL, LR, RL, RR."""
    succeed(
        *("sweep", "-o", "sweep.wav", "--rate", RATE, "--start", 30, "--end", 7000, "--seconds", 3),
        *("--after", "400ms", "--channels", 2), cwd=tmp_path,
    )  # fmt: skip
    responses = np.zeros((4, 300))
    responses[:, 0] = 0.5, 0.25, -0.3, 0.4
    responses[:, 40:] = 0.01 * rng.standard_normal((4, 260))
    x = read(tmp_path / "sweep.wav")
    left = convolve(x[:1], responses[0]) + convolve(x[1:], responses[2])
    right = convolve(x[:1], responses[1]) + convolve(x[1:], responses[3])
    write(tmp_path / "rec.wav", np.concatenate([left, right]), RATE)
    return tmp_path, responses


def test_there_and_back(measured):
    folder, responses = measured
    assert soundfile.info(folder / "sweep.wav").subtype == "PCM_24"
    assert np.abs(read(folder / "sweep.wav") - SWEEP.signal()).max() < 2**-23
    write(folder / "stereo.wav", np.eye(2)[:, :1] * np.ones(1), RATE)
    arguments = ("deconvolve", "rec.wav", "sweep.wav")
    report, piped = run_each(
        [
            (*arguments, "-o", "ir.wav", "--harmonics-output", "harmonics.wav", "--json"),
            ("deconvolve", "-", "sweep.wav", "-o", "-", "--length", "4000s", "--lead", "50ms"),
        ],
        cwd=folder,
        stdin=(folder / "rec.wav").read_bytes(),
    )
    values = json.loads(ok(report).stdout)
    assert (values["channels"], values["played"], values["recorded"], values["repeats"]) == (4, 2, 2, 1)
    assert values["latency_samples"] == values["lead"]
    assert len(values["distortion"]) == 4
    assert values["drift_ppm"] is None
    taps = read(folder / "ir.wav")
    for found, h in zip(taps, responses, strict=True):
        assert int(np.abs(found).argmax()) == values["lead"]
        # The band is 0.87 of half the rate wide, and an impulse that much lower.
        assert np.isclose(found[values["lead"]], h[0] * 0.87, rtol=0.05)
    assert len(read(folder / "harmonics.wav")) == 16
    (folder / "pipe.wav").write_bytes(ok(piped).stdout)
    short = read(folder / "pipe.wav")
    assert short.shape == (4, 4000)
    assert np.abs(short[:, 800:] - taps[:, values["lead"] :][:, :3200]).max() < 1e-6
    assert "direct sound found at 0.5000 s; 2 played and 2 recorded channels" in piped.stderr
    applied = succeed(
        *("apply", "stereo.wav", "ir.wav", "-o", "wet.wav", "--ir-channels", "true-stereo"), cwd=folder
    )  # fmt: skip
    assert applied.code == 0
    wet = read(folder / "wet.wav")  # an impulse on the left: LL and LR
    assert np.abs(wet[:, : taps.shape[1]] - taps[:2]).max() < 1e-6


def test_sweep_in_a_pipe_and_clipping(tmp_path):
    pipe, report = run_each(
        [
            ("sweep", "-o", "-", "--seconds", "0.8", "--subtype", "FLOAT", "--repeats", 2),
            ("sweep", "-o", "s.flac", "--seconds", "0.8", "--repeats", 2, "--json"),
        ],
        cwd=tmp_path,
    )
    (tmp_path / "sweep.wav").write_bytes(ok(pipe).stdout)
    values = json.loads(ok(report).stdout)
    assert (values["repeats"], values["samplerate"]) == (2, 48_000)
    assert 19 < values["band"][0] < 21
    x = read(tmp_path / "sweep.wav")
    assert x.shape[1] == values["frames"]
    write(tmp_path / "clipped.wav", np.clip(1.5 * x, -0.6, 0.6))
    for name in ("sweep.wav", "s.flac"):
        found = succeed("deconvolve", "clipped.wav", name, "-o", f"{name}.npy", cwd=tmp_path)
        assert "warning: the recording is clipped: channel 1" in found.stderr
        assert "2 repeats averaged" in found.stderr


def test_refusals(measured):
    folder, _ = measured
    x = read(folder / "rec.wav")
    write(folder / "fast.wav", x, 48_000)
    write(folder / "nan.wav", np.where(np.arange(x.shape[1]) == 9, np.nan, x), RATE)
    write(folder / "one.wav", SWEEP.signal(), RATE)
    cases = [
        (2, "sweep from 14 to 4 Hz", "sweep", "--end", 4, "-o", "new.wav"),
        (2, "duration 'soon'", "sweep", "--seconds", "soon", "-o", "new.wav"),
        (8, "exists", "sweep", "-o", "rec.wav"),
        # Before any work: what came through a pipe would be lost.
        (8, "rec.wav: exists", "deconvolve", "nan.wav", "sweep.wav", "-o", "rec.wav"),
        (8, "rec.wav: exists", "deconvolve", "nan.wav", "sweep.wav", "-o", "new.wav", "--harmonics-output", "rec.wav"),
        (2, "both -", "deconvolve", "-", "-", "-o", "new.wav"),
        (3, "2 channels that sound", "deconvolve", "rec.wav", "one.wav", "-o", "new.wav"),
        (4, "48000 Hz and the sweep at 16000 Hz", "deconvolve", "fast.wav", "sweep.wav", "-o", "new.wav"),
        (5, "sample 9", "deconvolve", "nan.wav", "sweep.wav", "-o", "new.wav"),
    ]
    results = run_each([command for _, _, *command in cases], cwd=folder)
    for (code, words, *_), result in zip(cases, results, strict=True):
        assert words in failed(result, code)
