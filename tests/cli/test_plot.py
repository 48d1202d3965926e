"""`longconv plot`, as people run it."""

import json

import numpy as np
import pytest
from longconv_audio.cli.plot import plot

from longconv_audio.errors import OptionError
from tests.cli.running import fail_each, run_each, write
from tests.plotting.files import png

FEW = ("--show", "magnitude")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("plot")
    rng = np.random.default_rng(5)
    decay = 10 ** (-3 * np.arange(4000) / 3000)
    write(place / "room.wav", 0.1 * rng.standard_normal((2, 4000)) * decay, 16_000)
    write(place / "other.wav", 0.1 * rng.standard_normal(3000), 48_000)
    np.save(place / "taps.npy", np.ones(9) / 9)
    (place / "old.png").write_bytes(b"old")
    return place


def test_pictures(folder):
    room = (folder / "room.wav").read_bytes()
    both = (
        "plot",
        "room.wav",
        "other.wav",
        "-o",
        "both.png",
        "--show",
        "magnitude,waveform",
        "--channel",
        "1",
        "--json",
        "-q",
    )
    results = run_each(
        [
            (*both, "--smoothing", "1/6", "--range", "50:5000", "--size", "900x700"),
            (
                "plot",
                "-",
                "-o",
                "-",
                "--format",
                "svg",
                *FEW,
                "--start",
                "20ms",
                "--seconds",
                "0.1",
                "--smoothing",
                "none",
            ),
            ("plot", "taps.npy", "-o", "old.png", "-y", "--rate", "48000", *FEW, "--title", "Nine taps"),
        ],
        cwd=folder,
        stdin=room,
    )
    assert [result.code for result in results] == [0, 0, 0], [result.stderr for result in results]
    report, piped, titled = results
    assert report.stderr == ""
    found = json.loads(report.stdout)
    assert png(folder / "both.png")[0] == (found["width"], found["height"]) == (900, 700)
    assert found["kinds"] == ["magnitude", "waveform"]
    assert (found["band"], found["smoothing"], found["warnings"]) == ([50, 5000], 6, [])
    sounds = [(sound["name"], sound["samplerate"], sound["channels"]) for sound in found["sounds"]]
    assert sounds == [("room.wav", 16_000, 1), ("other.wav", 48_000, 1)]
    assert piped.stdout.startswith(b"<?xml")
    assert piped.stdout.rstrip().endswith(b"</svg>")
    assert piped.lines == ["standard output: 1600 x 1000 SVG, magnitude"]
    assert png(folder / "old.png")[0] == (1600, 1000)
    assert titled.lines == ["old.png: 1600 x 1000 PNG, magnitude"]


def test_refusals(folder):
    (folder / "there.png").write_bytes(b"there")
    usage = [
        (("room.wav",), "pass -o FILE"),
        (("room.wav", "-o", "x.png", "--start", "1"), "--start of 16000 samples"),
        (("room.wav", "-o", "x.png", "--channel", "3"), "--channel 3: room.wav has 2"),
        (("taps.npy", "-o", "x.png"), "pass --rate"),
    ]
    for line, (_, message) in zip(fail_each(2, [("plot", *args) for args, _ in usage], cwd=folder), usage, strict=True):
        assert message in line
    (exists,) = fail_each(8, [("plot", "room.wav", "-o", "there.png")], cwd=folder)
    assert "pass -y" in exists


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smoothing": "0"}, "--smoothing 0: expected a part of an octave"),
        ({"smoothing": "1/0"}, "--smoothing 1/0"),
        ({"range": "20"}, "--range 20: expected two frequencies"),
        ({"range": "1.2.3:50"}, "--range 1.2.3:50"),
        ({"size": "1e3"}, "--size 1e3: expected width and height"),
        ({"channel": ["0"]}, "--channel 0: expected numbers from 1"),
        ({"channel": ["1,2,3", "4", "5"]}, "--channel 1,2,3,4,5: expected up to four"),
        ({"rate": 0}, "--rate 0: expected at least 1 hertz"),
        ({"other": "-"}, "both standard input"),
        ({"output": "-", "json": True}, "--json and -o -"),
        ({"output": "x.bmp"}, "expected png, svg, pdf"),
        ({"seconds": "-1"}, "cannot be negative"),
    ],
)
def test_options_are_checked_before_anything_is_read(options, message):
    with pytest.raises(OptionError, match=message):
        plot(**{"input": "-", "output": "x.png", **options})
