"""The README's tour, line by line, through a room that is known."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from longconv_audio import filters, read_ir
from tests.cli.running import read, succeed, write

README = Path(__file__).parents[2] / "README.md"
RATE = 48_000


def blocks():
    """The commands of the tour, and of the room that stands in for a real one."""
    text = README.read_text().split("A tour: measure a room")[1]
    return [
        [shlex.split(line, comments=True) for line in block.splitlines()]
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)[:2]
    ]


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    """The folder after the tour."""
    folder = tmp_path_factory.mktemp("tour")
    (sweep, *rest), room = blocks()
    write(folder / "music.wav", 0.1 * np.random.default_rng(3).standard_normal((2, RATE)))
    for command in [sweep, *room, *rest]:
        assert command[0] == "longconv"
        succeed(*command[1:], cwd=folder)
    return folder


def test_the_measured_room_is_the_room(tour):
    truth, found = read(tour / "box.wav")[0], read(tour / "room.wav")[0]
    size = 1 << 18
    frequencies = np.fft.rfftfreq(size, 1 / RATE)
    band = (frequencies > 25) & (frequencies < 20_000)
    wanted = np.abs(np.fft.rfft(truth, size)) * 10 ** (-12 / 20)
    error = np.abs(np.fft.rfft(found, size)) - wanted
    assert np.linalg.norm(error[band]) < 1e-3 * np.linalg.norm(wanted[band])


def test_its_decay_is_the_rooms(tour):
    report = json.loads(succeed("inspect", "room.wav", "--json", cwd=tour).stdout)
    (truth,) = filters.room_parameters(read(tour / "box.wav"), RATE)
    assert abs(report["room"]["mid"]["t30"] / truth.mid["t30"] - 1) < 0.02


def test_what_was_predicted_is_what_is_heard(tour):
    before, after = (read_ir(tour / name).taps[0] for name in ("room.wav", "corrected.wav"))
    deviations = []
    for h in (before, after):
        frequencies, response = filters.frequency_response(h, RATE, 1 << 18)
        magnitudes = filters.smooth_octaves(frequencies, np.abs(response), 6)
        heard = np.interp(np.geomspace(200, 16_000, 500), frequencies, magnitudes)
        deviations.append(np.std(20 * np.log10(heard)))
    assert deviations[1] < 0.5 * deviations[0]


def test_pictures(tour):
    for name in ("room.png", "corrected.png"):
        assert (tour / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_music(tour):
    music, heard = read(tour / "music.wav"), read(tour / "music-for-this-room.wav")
    assert heard.shape[0] == 2
    assert heard.shape[1] > music.shape[1]
    assert 0.03 < heard.std() < 0.3
