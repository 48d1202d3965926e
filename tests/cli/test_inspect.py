"""`longconv inspect` as people and scripts call it."""

import json

import numpy as np
import pytest

from tests.cli.running import RATE, fail_each, run_each, succeed, write

T60 = 0.8


@pytest.fixture
def folder(tmp_path):
    t = np.arange(RATE) / RATE
    h = 0.5 * np.sin(2 * np.pi * 1000 * t) * 10 ** (-3 * t / T60)
    h = np.concatenate([np.zeros(960), h])
    write(tmp_path / "ir.wav", np.stack([h, np.roll(h, 480)]))
    np.save(tmp_path / "ir.npy", h)
    write(
        tmp_path / "tone.wav", np.tile(10 ** (-23 / 20) * np.sin(2 * np.pi * 997 * np.arange(4 * RATE) / RATE), (2, 1))
    )
    write(tmp_path / "silence.wav", np.zeros(5000))
    write(tmp_path / "nan.wav", np.array([0.0, np.nan]))
    return tmp_path


def test_an_impulse_response(folder):
    words, third, array = run_each(
        [
            ["inspect", "ir.wav"],
            ["inspect", "ir.wav", "--bands", "third", "--channel", 2, "--json"],
            ["inspect", "ir.npy", "--rate", RATE, "--json"],
        ],
        cwd=folder,
    )
    assert words.stderr == third.stderr == array.stderr == ""
    text = words.stdout.decode()
    assert text.startswith("ir.wav: impulse response, 2 channels, 1.02 s (48960 samples) at 48000 Hz\n")
    row = next(line.split() for line in text.splitlines() if line.split()[:1] == ["1k"])
    assert row[1:4] == ["0.80", "0.80", "0.80"]
    found = json.loads(third.stdout)
    assert found["by_channel"][1]["onset_sample"] - found["by_channel"][0]["onset_sample"] == 480
    (band,) = (band for band in found["room_by_channel"][1]["bands"] if band["band"] == "1k")
    assert abs(band["t30"] / T60 - 1) < 0.01
    assert len(found["room"]["bands"]) == 27
    assert json.loads(array.stdout)["kind"] == "ir"


def test_recordings_and_pipes(folder):
    tone = succeed("inspect", "-", "--json", cwd=folder, stdin=(folder / "tone.wav").read_bytes())
    found = json.loads(tone.stdout)
    assert (found["input"], found["kind"], found["room"]) == ("standard input", "recording", None)
    assert abs(found["loudness"]["integrated"] + 23) < 0.02
    words, silence = run_each([["inspect", "tone.wav"], ["inspect", "silence.wav"]], cwd=folder)
    assert "integrated loudness: -23.0 LUFS" in words.stdout.decode()
    assert "--as ir" in words.stdout.decode()
    assert "silence" in silence.stdout.decode()


def test_refusals(folder):
    usage = fail_each(
        2,
        [
            ["inspect", "ir.npy"],
            ["inspect", "ir.wav", "--rate", 48000],
            ["inspect", "ir.wav", "--channel", "1,3"],
            ["inspect", "tone.wav", "--channel", 1],
        ],
        cwd=folder,
    )
    for line, words in zip(usage, ["--rate 48000", ".npy and .txt", "has 2", "--as ir"], strict=True):
        assert words in line
    assert "nan.wav: NaN at channel 1" in fail_each(5, [["inspect", "nan.wav"]], cwd=folder)[0]
    write(folder / "empty.wav", np.zeros((1, 0)))
    none, empty = fail_each(3, [["inspect", "none.wav"], ["inspect", "empty.wav"]], cwd=folder)
    assert "no such file" in none
    assert "empty.wav: holds 0 samples" in empty
