"""`longconv room`: boxes and halls as files that apply takes."""

import io
import json

import numpy as np
import soundfile

from longconv_audio.filters import shoebox, statistical_hall
from tests.cli.running import fail_each, read, run_each, succeed

BOX = ("room", "--size", "6x4x3", "--source", "1,1,1.5", "--receiver", "4,2,1.5")


def test_a_box_and_a_hall(tmp_path):
    walls = ("--absorption", "0.3", "--absorption", "floor:125=0.1,1k=0.5")
    first, second, piped = run_each(
        [
            (
                *BOX,
                "--receiver",
                "4,2.2,1.5",
                *walls,
                "--seconds",
                "0.1",
                "-o",
                "box.wav",
                "--subtype",
                "DOUBLE",
                "--json",
            ),
            ("room", "--t60", "500=0.5,2k=0.3", "--predelay", "10", "--rate", "16000", "-o", "hall.npy"),
            (*BOX, "--max-order", "0", "--highpass", "0", "-o", "-"),
        ],
        cwd=tmp_path,
    )
    assert (first.code, second.code, piped.code) == (0, 0, 0), (first.stderr, second.stderr, piped.stderr)
    absorption = dict.fromkeys(("west", "east", "south", "north", "ceiling"), 0.3) | {"floor": {125: 0.1, 1000: 0.5}}
    receivers = [(4, 2, 1.5), (4, 2.2, 1.5)]
    wanted = shoebox((6, 4, 3), (1, 1, 1.5), receivers, 48_000, absorption=absorption, seconds=0.1)
    assert np.array_equal(read(tmp_path / "box.wav"), wanted)
    report = json.loads(first.stdout)
    assert report["channels"] == 2
    assert abs(report["latency_ms"] - 1000 * np.sqrt(10) / 343) < 0.01
    assert 0.2 < report["eyring_t60"]["1k"] < 0.5
    hall = statistical_hall({500: 0.5, 2000: 0.3}, 16_000, predelay=0.01)
    assert np.array_equal(np.load(tmp_path / "hall.npy"), hall)
    assert "latency 160 samples (10 ms)" in second.stderr
    direct, rate = soundfile.read(io.BytesIO(piped.stdout))
    assert rate == 48_000
    assert abs(direct.sum() - 1 / np.sqrt(10)) < 1e-4


def test_apply_takes_a_room(tmp_path):
    succeed(*BOX, "--seconds", "0.05", "-o", "box.wav", cwd=tmp_path)
    soundfile.write(tmp_path / "click.wav", np.eye(1, 100)[0], 48_000, subtype="FLOAT")
    succeed("apply", "click.wav", "box.wav", "-o", "wet.wav", cwd=tmp_path)
    assert np.abs(read(tmp_path / "wet.wav")[:, :2400] - read(tmp_path / "box.wav")).max() < 1e-6


def test_refusals(tmp_path):
    refused = [
        ("pass one of the two", ("room",)),
        ("pass one of the two", (*BOX, "--t60", "1")),
        ("--source is for a box", ("room", "--t60", "1", "--source", "1,1,1")),
        ("--seed is for a hall", (*BOX, "--seed", "3")),
        ("needs a --source", ("room", "--size", "6x4x3")),
        ("not inside the room", (*BOX, "--source", "1,1,9")),
        ("6,4,3", (*BOX, "--source", "1;1;2")),
        ("no wall door", (*BOX, "--absorption", "door:0.2")),
        ("had a value before", (*BOX, "--absorption", "0.1", "--absorption", "0.2")),
        ("absorption 2: expected 0 to 1", (*BOX, "--absorption", "2")),
        ("--rate 0", (*BOX, "--rate", "0")),
        ("--t60 'soon'", ("room", "--t60", "soon")),
    ]
    lines = fail_each(2, [(*arguments, "-o", "x.wav") for _, arguments in refused], cwd=tmp_path)
    for (words, _), line in zip(refused, lines, strict=True):
        assert words in line
