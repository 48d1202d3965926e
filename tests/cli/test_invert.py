"""`longconv invert`: a loudspeaker that is known, corrected and applied."""

import json

import numpy as np
import pytest
import scipy.signal

from tests.cli.running import RATE, fail_each, read, run_each, succeed, write


@pytest.fixture
def folder(tmp_path):
    """A loudspeaker with a resonance of 9 dB, and what a target is and is not."""
    amplitude, w = 10 ** (9 / 40), 2 * np.pi * 400 / RATE
    alpha = np.sin(w) / 4
    b = [1 + alpha * amplitude, -2 * np.cos(w), 1 - alpha * amplitude]
    a = [1 + alpha / amplitude, -2 * np.cos(w), 1 - alpha / amplitude]
    h = scipy.signal.lfilter(b, a, np.eye(1, 9600)[0])
    write(tmp_path / "ir.wav", np.stack([h, h]))
    np.save(tmp_path / "ir.npy", h)
    write(tmp_path / "silence.wav", np.zeros(100))
    (tmp_path / "tilt.csv").write_text("20,3\n20000,-3\n")
    (tmp_path / "one.csv").write_text("20,3\n")
    return tmp_path


def test_corrected_it_is_flat(folder):
    result = succeed("invert", "ir.wav", "-o", "c.wav", "--smoothing", "none", "--json", cwd=folder)
    report = json.loads(result.stdout)
    assert report["correction"]["before"]["max_db"] > 6
    assert report["correction"]["after"]["max_db"] < 0.1
    assert report["latency_samples"] == 0
    assert report["correction"]["pre_ringing_db"] is None
    assert {len(point["after_db"]) for point in report["correction"]["curves"]} == {2}
    assert any(line.startswith("before: ") for line in result.lines)
    correction = read(folder / "c.wav")
    assert correction.shape == (2, 32_768)
    y = scipy.signal.fftconvolve(read(folder / "ir.wav")[0], correction[0])
    frequencies, levels = np.fft.rfftfreq(len(y), 1 / RATE), 20 * np.log10(np.abs(np.fft.rfft(y)))
    assert np.ptp(levels[(frequencies >= 20) & (frequencies <= 20_000)]) < 0.2


def test_pipes_targets_and_phases(folder):
    mixed = (
        "--phase",
        "mixed",
        "--target",
        "tilt.csv",
        "--channels",
        "common",
        "--range",
        "50:15000",
        "--taps",
        "4000",
    )
    (folder / "falling.csv").write_text("30000,-9\n1000,0\n100,3\n")
    pipe, array, falling = run_each(
        [
            ("invert", "-", "-o", "-", *mixed, "-q"),
            ("invert", "ir.npy", "--rate", RATE, "-o", "c.npy", "--phase", "linear", "--pre-ringing", "-120"),
            ("invert", "ir.wav", "-o", "f.wav", "--target", "falling.csv", "--taps", "4000"),
        ],
        cwd=folder,
        stdin=(folder / "ir.wav").read_bytes(),
    )
    assert pipe.code == array.code == 0
    assert falling.lines[0] == "longconv: warning: falling.csv: the frequencies do not rise: sorted"
    assert "falling.csv: 1 point above half the sample rate" in falling.lines[1]
    assert pipe.stderr == ""
    assert array.lines[0].startswith("longconv: warning: pre-ringing")
    (folder / "pipe.wav").write_bytes(pipe.stdout)
    assert read(folder / "pipe.wav").shape == (1, 4000)
    assert np.load(folder / "c.npy").shape == (1, 32_768)


def test_refusals(folder):
    write(folder / "old.wav", np.ones(2))
    usage = fail_each(
        2,
        [
            ("invert", "ir.wav"),
            ("invert", "ir.npy", "-o", "c.wav"),
            ("invert", "ir.wav", "-o", "c.wav", "--smoothing", "some"),
            ("invert", "silence.wav", "-o", "c.wav"),
        ],
        cwd=folder,
    )
    for line, words in zip(usage, ("-o FILE", "--rate", "1/6", "silent"), strict=True):
        assert words in line
    assert "two or more" in fail_each(3, [("invert", "ir.wav", "-o", "c.wav", "--target", "one.csv")], cwd=folder)[0]
    assert "exists" in fail_each(8, [("invert", "ir.wav", "-o", "old.wav")], cwd=folder)[0]


def test_what_does_not_decay_is_said(folder, rng):
    write(folder / "noise.wav", 0.1 * rng.standard_normal((1, 2 * RATE)))
    result = succeed("invert", "noise.wav", "-o", "c.npy", "--taps", "1024", cwd=folder)
    assert "noise.wav: its energy does not come soon after its onset: is it an impulse response?" in result.stderr
