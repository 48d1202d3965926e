"""`longconv ir`: files in, files out, and what is said of them."""

import json

import numpy as np
import pytest

from tests.cli.running import RATE, convolve, fail_each, read, run_each, write


@pytest.fixture
def folder(tmp_path, rng):
    """A room, 60 dB above its noise, other responses, and one in the output's way."""
    time = np.arange(RATE) / RATE
    h = rng.standard_normal((2, RATE)) * 10 ** (-3 * time / 0.6)
    h = np.pad(h, ((0, 0), (1000, 0)))
    h[:, 1000] = 4.0
    write(tmp_path / "room.wav", h + 1e-3 * rng.standard_normal(h.shape))
    write(tmp_path / "mono.wav", rng.standard_normal(300))
    write(tmp_path / "other.wav", rng.standard_normal((2, 400)))
    write(tmp_path / "slow.wav", rng.standard_normal((2, 400)), 44_100)
    np.save(tmp_path / "array.npy", rng.standard_normal((2, 50)))
    return tmp_path


def done(folder, *commands, **options):
    results = run_each([("ir", *command) for command in commands], cwd=folder, **options)
    for result in results:
        assert result.code == 0, result.stderr
    return results


def test_one(folder):
    trimmed, levelled, resampled, minimum, _ = done(
        folder,
        ("trim", "room.wav", "-o", "trimmed.wav", "--preroll", "48s", "--fade-out", "10ms", "--json"),
        ("normalize", "array.npy", "--rate", RATE, "-o", "level.npy", "--kind", "l1", "--level", "-6"),
        ("resample", "other.wav", "-o", "fast.wav", "--rate", 96_000, "--json"),
        ("minphase", "-", "-o", "-", "-q"),
        ("trim", "room.wav", "-o", "whole.npy", "--onset", "none", "--end", "none"),
        stdin=(folder / "other.wav").read_bytes(),
    )
    report = json.loads(trimmed.stdout)
    assert report["trim"]["start"] == 952
    assert report["trim"]["end"] == pytest.approx(1000 + 0.6 * RATE, rel=0.1)
    assert np.array_equal(read(folder / "trimmed.wav")[:, :20_000], read(folder / "room.wav")[:, 952:20_952])
    assert np.load(folder / "whole.npy").shape == (2, RATE + 1000)
    assert np.abs(np.load(folder / "level.npy")).sum(axis=1).max() == pytest.approx(10 ** (-6 / 20))
    assert "l1 set to -6 dB" in levelled.stderr
    assert json.loads(resampled.stdout)["origin"] > 0
    assert read(folder / "fast.wav").sum() == pytest.approx(read(folder / "other.wav").sum(), rel=0.02)
    (folder / "minimum.wav").write_bytes(minimum.stdout)
    assert read(folder / "minimum.wav").shape == (2, 400)
    assert minimum.stderr == ""


def test_several(folder):
    combined, mixed, joined = done(
        folder,
        ("combine", "mono.wav", "other.wav", "array.npy", "-o", "series.npy"),
        ("mix", "other.wav", "slow.wav", "-o", "mixed.npy", "--gain", "-20", "--gain", "0", "--delay", 1, "--delay", 0),
        ("join", "other.wav", "room.wav", "-o", "four.wav"),
    )
    wanted = convolve(convolve(read(folder / "other.wav"), read(folder / "mono.wav")[0]), np.load(folder / "array.npy"))
    assert np.abs(np.load(folder / "series.npy") - wanted).max() < 1e-9 * np.abs(wanted).max()
    assert "mono.wav: 1 channel, 300 taps" in combined.stderr
    assert "resampled from 44100 to 48000" in mixed.stderr
    assert "4 channels" in joined.stderr
    (result,) = done(folder, ("split", "four.wav", "-o", "left.wav", "-o", "right.wav", "--json"))
    assert [part["channels"] for part in json.loads(result.stdout)["outputs"]] == [2, 2]
    assert np.array_equal(read(folder / "right.wav"), read(folder / "room.wav"))
    assert np.array_equal(read(folder / "left.wav")[:, :400], read(folder / "other.wav"))


def test_tails(folder):
    extended, faded = done(
        folder,
        ("extend", "room.wav", "-o", "long.wav", "--json"),
        ("fade", "room.wav", "-o", "dry.wav", "--t60", "1k=0.4,2k=0.4", "--fade-out", "20ms", "--json"),
    )
    bands = {band["band"]: band for band in json.loads(extended.stdout)["bands"]}
    assert bands["4k"]["t60"] == pytest.approx(0.6, rel=0.05)
    assert "octave 4k: T60 0." in extended.stderr
    late = read(folder / "long.wav")[:, 43_000:45_000]
    assert 0 < np.sqrt(np.mean(late**2)) < 3e-4  # where there was noise of 1e-3
    bands = {band["band"]: band for band in json.loads(faded.stdout)["bands"]}
    assert bands["2k"]["new_t60"] == pytest.approx(0.4)
    assert np.abs(read(folder / "dry.wav")[:, -1]).max() < 1e-5


def test_refusals(folder):
    usage = {
        ("trim", "room.wav", "-o", "x.wav", "--end", "soon"): "noise, none or a number",
        ("resample", "array.npy", "-o", "x.wav", "--rate", 44_100): "pass it with --input-rate",
        ("resample", "room.wav", "-o", "x.wav"): "no rate: expected",
        ("fade", "room.wav", "-o", "x.wav"): "nothing to do",
        ("fade", "room.wav", "-o", "x.wav", "--t60", "1k=fast"): "band=seconds",
        ("mix", "other.wav", "other.wav", "-o", "x.wav", "--gain", 3): "once for each",
        ("split", "room.wav", "-o", "x.wav", "-o", "x.wav"): "a file for each part",
    }
    lines = fail_each(2, [("ir", *command) for command in usage], cwd=folder)
    for line, words in zip(lines, usage.values(), strict=True):
        assert words in line
    (line,) = fail_each(
        4, [("ir", "combine", "other.wav", "slow.wav", "-o", "x.wav", "--ir-rate", "error")], cwd=folder
    )
    assert "44100 Hz" in line
