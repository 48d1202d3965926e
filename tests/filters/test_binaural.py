"""Loudspeakers on headphones: which channel comes from where, and how loud."""

import numpy as np
import pytest

from longconv_audio.errors import MismatchError, OptionError
from longconv_audio.filters.binaural import (
    LAYOUTS,
    largest_gain,
    layout_of,
    pairs_of_hesuvi,
    read_loudspeakers,
    virtual_loudspeakers,
)
from longconv_audio.filters.hrir import hrir_at
from longconv_audio.filters.sofa import read_sofa
from longconv_audio.routing import dense, route
from tests.cli.running import write
from tests.filters.sofa_files import RATE, write_sphere

# A HeSuVi file of 14 channels whose channel c has the one tap c + 1 at sample c: its order, written out once more.
EARS = {"FL": (1, 2), "SL": (3, 4), "BL": (5, 6), "FC": (7, 14), "FR": (9, 8), "SR": (11, 10), "BR": (13, 12)}


def numbered(channels=14):
    taps = np.zeros((channels, 20))
    for channel, row in enumerate(taps):
        row[channel] = channel + 1
    return taps


def test_hesuvis_channels():
    pairs = pairs_of_hesuvi(numbered())
    assert {name: tuple(pair.max(axis=1)) for name, pair in pairs.items()} == EARS
    matrix = virtual_loudspeakers(pairs, "7.1", lfe=None)
    h = dense(matrix)
    assert h.shape == (2, 8, 20)
    for channel, speaker in enumerate(["FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"]):
        assert tuple(h[:, channel].max(axis=1)) == EARS.get(speaker, (0, 0))


def test_seven_channels_are_mirrored():
    pairs = pairs_of_hesuvi(numbered(7))
    for left, right in (("FL", "FR"), ("SL", "SR"), ("BL", "BR"), ("FC", "FC")):
        assert np.array_equal(pairs[left], pairs[right][::-1])
    assert tuple(pairs["FR"].max(axis=1)) == (2, 1)


def test_low_frequency_effects_come_with_the_centre():
    pairs = pairs_of_hesuvi(numbered())
    h = dense(virtual_loudspeakers(pairs, "5.1", lfe=-6.0))[:, 3]
    assert np.array_equal(h[0], h[1])
    # The centre's two taps of 7 at sample 6 and 14 at 13: the mean energy, the mean moment.
    wanted = 10 ** (-6 / 20) * np.sqrt((7**2 + 14**2) / 2)
    assert np.nonzero(h[0])[0].tolist() == [10]
    assert h[0, 10] == pytest.approx(wanted)


def test_sofa_layouts_stand_where_the_standards_have_them(tmp_path):
    write_sphere(tmp_path / "ears.sofa")
    sofa = read_sofa(tmp_path / "ears.sofa")
    for layout, azimuths in {"mono": [0], "stereo": [30, -30], "7.1": [30, -30, 0, None, 135, -135, 90, -90]}.items():
        matrix, rate = read_loudspeakers(tmp_path / "ears.sofa", layout)
        assert rate == RATE
        assert matrix.origin == 0
        h = dense(matrix)
        for channel, azimuth in enumerate(azimuths):
            if azimuth is not None:
                pair = hrir_at(sofa, azimuth, interpolate=True).taps
                assert np.array_equal(h[:, channel, : pair.shape[1]], pair)
    # 110 degrees was not measured: interpolated, or 105 or 120.
    between, nearest = (
        dense(read_loudspeakers(tmp_path / "ears.sofa", "5.1", interpolate=i)[0]) for i in (True, False)
    )
    assert np.array_equal(nearest[:, 4], hrir_at(sofa, 105).taps)
    assert np.abs(between[:, 4, :128] - nearest[:, 4]).max() > 0.01


def test_at_another_rate_the_levels_stay(tmp_path):
    write_sphere(tmp_path / "ears.sofa")
    notes = []
    matrix, _ = read_loudspeakers(tmp_path / "ears.sofa", "stereo", notes=notes)
    other, rate = read_loudspeakers(tmp_path / "ears.sofa", "stereo", 96_000, notes=notes)
    assert rate == 96_000
    assert other.origin > 0
    assert len(notes) == 1
    assert "from 48000 to 96000 Hz" in notes[0]
    assert dense(other).sum(axis=-1) == pytest.approx(dense(matrix).sum(axis=-1), rel=1e-6)
    write(tmp_path / "hesuvi.wav", numbered() / 14, RATE)
    again, _ = read_loudspeakers(tmp_path / "hesuvi.wav", "5.1", 96_000, notes=notes)
    assert again.origin > 0
    assert dense(again).sum(axis=-1)[:, 0] == pytest.approx([1 / 14, 2 / 14], rel=1e-5)


def test_the_largest_gain_is_that_of_the_worst_input():
    # LL and RL with gains of 0.5 and -0.25 at all frequencies: a sine in both, against phase, comes out at 0.75.
    taps = np.array([[0.5, 0], [0.1, 0], [0, -0.25], [0.1, 0]])
    level, _ = largest_gain(route(taps, 2, "true-stereo"), 48_000)
    assert level == pytest.approx(20 * np.log10(0.75))
    level, frequency = largest_gain(route(np.array([[1.0, 0, 0.5]]), 1), 48_000)
    assert (level, frequency) == (pytest.approx(20 * np.log10(1.5)), 0)


def test_refusals(tmp_path):
    pairs = pairs_of_hesuvi(numbered())
    with pytest.raises(OptionError, match="--layout 9"):
        virtual_loudspeakers(pairs, "9.1")
    del pairs["SL"]
    with pytest.raises(MismatchError, match="loudspeaker SL"):
        virtual_loudspeakers(pairs, "5.1")
    with pytest.raises(MismatchError, match="7 or 14"):
        pairs_of_hesuvi(numbered(8))
    with pytest.raises(MismatchError, match="3 channels"):
        layout_of(3)
    assert [layout_of(len(speakers)) for speakers in LAYOUTS.values()] == list(LAYOUTS)
    np.save(tmp_path / "x.npy", numbered())
    with pytest.raises(OptionError, match="sample rate"):
        read_loudspeakers(tmp_path / "x.npy", "stereo")
