"""SOFA files: the file's own numbers, the sides of the head, and what lies between measured directions."""

import builtins
import os

import numpy as np
import pytest

from longconv_audio.errors import MismatchError, NonFiniteError, OptionError, UnreadableError
from longconv_audio.filters.hrir import hrir_at, time_of_arrival
from longconv_audio.filters.sofa import read_sofa
from tests.filters.sofa_files import KEMAR, RATE, delays_at, pulses, write_sofa, write_sphere

h5py = pytest.importorskip("h5py")
kemar = pytest.mark.skipif(not os.path.exists(KEMAR), reason="MIT's KEMAR is not here")


def itd_ms(pair):
    """How much earlier the left ear hears it."""
    left, right = (time_of_arrival(ear) for ear in pair.taps)
    return 1000 * (right - left) / pair.samplerate


def level_db(pair):
    """How much louder the left ear hears it."""
    left, right = np.sum(pair.taps**2, axis=1)
    return 10 * np.log10(left / right)


@pytest.fixture
def measured(tmp_path):
    places, irs = write_sphere(tmp_path / "ears.sofa")
    return read_sofa(tmp_path / "ears.sofa"), places, irs


@kemar
def test_kemar_hears_left_on_the_left():
    sofa = read_sofa(KEMAR)
    left, right, ahead = (hrir_at(sofa, azimuth) for azimuth in (90, -90, 0))
    assert 0.6 < itd_ms(left) < 0.75
    assert itd_ms(right) == pytest.approx(-itd_ms(left))
    assert level_db(left) > 6
    assert np.array_equal(left.taps, right.taps[::-1])
    assert np.array_equal(ahead.taps[0], ahead.taps[1])
    assert (left.azimuth, left.elevation, left.distance) == pytest.approx((90, 0, 1.4))


@kemar
def test_kemar_is_the_files_own_numbers():
    with h5py.File(KEMAR) as file:
        positions, irs = file["SourcePosition"][:], file["Data.IR"][:]
    sofa = read_sofa(KEMAR)
    assert sofa.samplerate == 44_100
    for index in (0, 100, 333, 709):
        azimuth, elevation, _ = positions[index]
        for interpolate in (False, True):
            assert np.array_equal(hrir_at(sofa, azimuth, elevation, interpolate=interpolate).taps, irs[index])


@kemar
def test_a_direction_left_out_is_interpolated_better_than_its_neighbour():
    from dataclasses import replace

    sofa = read_sofa(KEMAR)
    better = []
    for index in range(200, 440, 40):
        others = np.arange(len(sofa.irs)) != index
        holed = replace(sofa, irs=sofa.irs[others], delays=sofa.delays[others], places=sofa.places[others])
        x, y, z = sofa.unit[index]
        place = np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(z))
        truth = sofa.irs[index]

        def error(taps, truth=truth):
            return np.sum((taps[:, : truth.shape[1]] - truth) ** 2) / np.sum(truth**2)

        between = error(hrir_at(holed, *place, interpolate=True).taps)
        better.append(between / error(hrir_at(holed, *place).taps))
        assert between < 0.05
    assert np.median(better) < 0.1


def test_nearest_and_interpolated_at_a_measured_direction(measured):
    sofa, places, irs = measured
    for index in (3, 60, len(places) - 1):
        azimuth, elevation, distance = places[index]
        for turn, interpolate in ((0, False), (0, True), (-360, True)):
            pair = hrir_at(sofa, azimuth + turn, elevation, interpolate=interpolate)
            assert np.array_equal(pair.taps, irs[index])
            assert pair.distance == pytest.approx(distance)
            assert pair.angle < 1e-4
    pair = hrir_at(sofa, 33, 4)
    assert (pair.azimuth, pair.elevation, pair.directions) == (pytest.approx(30), pytest.approx(0), 1)
    assert pair.angle == pytest.approx(5, abs=0.05)


@pytest.mark.parametrize("place", [(37, 8), (277, -20), (181, 50), (5, 84)])
def test_between_directions_onsets_and_levels_are_between(measured, place):
    sofa, *_ = measured
    pair = hrir_at(sofa, *place, interpolate=True)
    assert pair.directions == 3
    place = np.array([place])
    wanted = pulses(place)[0]
    found = pair.taps[:, : wanted.shape[1]]
    # No echo: one pulse, where it belongs.
    assert np.sum((found - wanted) ** 2) < 0.02 * np.sum(wanted**2)
    left, right = 1000 * delays_at(place)[0]
    assert itd_ms(pair) == pytest.approx(right - left, abs=0.01)


def test_delays_are_part_of_the_taps(tmp_path, measured):
    _, places, irs = measured
    delay = np.full((len(places), 2), 7.0)
    delay[:, 1] = 12.5
    write_sofa(tmp_path / "late.sofa", irs, places, delay=delay)
    pair = hrir_at(read_sofa(tmp_path / "late.sofa"), 90)
    (index,) = np.nonzero((places[:, 0] == 90) & (places[:, 1] == 0))[0]
    assert pair.delays == (7.0, 12.5)
    assert np.array_equal(pair.taps[0, 7 : 7 + irs.shape[2]], irs[index, 0])
    assert not pair.taps[0, :7].any()
    assert time_of_arrival(pair.taps[1]) == pytest.approx(12.5 + time_of_arrival(irs[index, 1]), abs=0.01)
    between = hrir_at(read_sofa(tmp_path / "late.sofa"), 97, 3, interpolate=True)
    without = hrir_at(measured[0], 97, 3, interpolate=True)
    assert itd_ms(between) == pytest.approx(itd_ms(without) + 1000 * 5.5 / RATE, abs=1e-3)


def test_cartesian_places(tmp_path):
    places = np.array([[2.0, 0, 0], [0, 2, 0], [-2, 0, 0], [0, -2, 0], [0, 0, 2], [0, 0, -2]])
    irs = np.arange(1.0, 1 + 6 * 2 * 4).reshape(6, 2, 4)
    write_sofa(tmp_path / "c.sofa", irs, places, kind="cartesian", convention="GeneralFIR")
    sofa = read_sofa(tmp_path / "c.sofa")
    directions = [(0, 0), (90, 0), (180, 0), (270, 0), (0, 90), (0, -90)]
    for (azimuth, elevation), wanted in zip(directions, irs, strict=True):
        pair = hrir_at(sofa, azimuth, elevation)
        assert np.array_equal(pair.taps, wanted)
        assert pair.distance == 2


def test_a_head_that_turns(tmp_path):
    # The source stays where it is, 2 m along x of the room; the head looks elsewhere each time.
    views = np.array([[1.0, 0, 0], [0, -1, 0], [-1, 0, 0], [0, 1, 0]])
    irs = np.arange(1.0, 1 + 4 * 2 * 4).reshape(4, 2, 4)
    spherical = np.array([[0.0, 0, 1], [270, 0, 1], [180, 0, 1], [90, 0, 1]])
    for kind, given, up in (("cartesian", views, [[0, 0, 1.0]]), ("spherical", spherical, [[0, 90, 1.0]])):
        write_sofa(tmp_path / "t.sofa", irs, np.array([[3.0, 0, 1.7]]), kind="cartesian", convention="GeneralFIR")
        with h5py.File(tmp_path / "t.sofa", "a") as file:
            file["ListenerPosition"], file["ListenerView"], file["ListenerUp"] = [[1.0, 0, 1.7]], given, up
            file["ListenerView"].attrs["Type"] = np.bytes_(kind)
        sofa = read_sofa(tmp_path / "t.sofa")
        for azimuth, wanted in zip((0, 90, 180, 270), irs, strict=True):
            pair = hrir_at(sofa, azimuth)
            assert np.array_equal(pair.taps, wanted)
            assert (pair.distance, pair.angle) == (pytest.approx(2), pytest.approx(0, abs=1e-6))
    # The type of what is up is that of the view: above, and seen from a head that looks up itself, ahead.
    write_sofa(tmp_path / "t.sofa", irs[:1], np.array([[0.0, 90, 1]]))
    with h5py.File(tmp_path / "t.sofa", "a") as file:
        file["ListenerView"], file["ListenerUp"] = [[0.0, 30, 1]], [[180.0, 60, 1]]
        file["ListenerView"].attrs["Type"] = np.bytes_("spherical")
    assert hrir_at(read_sofa(tmp_path / "t.sofa"), 0, 60).angle == pytest.approx(0, abs=1e-5)
    # On its side: what is up in the room is on its left.
    write_sofa(tmp_path / "t.sofa", irs[:1], np.array([[0.0, 90, 1]]))
    with h5py.File(tmp_path / "t.sofa", "a") as file:
        file["ListenerUp"] = [[0.0, -1, 0]]
    assert hrir_at(read_sofa(tmp_path / "t.sofa"), 90).angle == pytest.approx(0, abs=1e-6)
    with h5py.File(tmp_path / "t.sofa", "a") as file:
        file["ListenerUp"][:] = [[1.0, 0, 0]]
    with pytest.raises(UnreadableError, match="right angles"):
        read_sofa(tmp_path / "t.sofa")


def test_refusals(tmp_path, measured, monkeypatch):
    sofa, places, irs = measured
    path = tmp_path / "x.sofa"
    cases = [
        (MismatchError, "MultiSpeakerBRIR", {"convention": "MultiSpeakerBRIR"}),
        (MismatchError, "SimpleFreeFieldHRTF", {"convention": "SimpleFreeFieldHRTF", "DataType": "TF"}),
        (MismatchError, "2 ears", {"irs": irs[:, :1]}),
        (UnreadableError, "does not say it is a SOFA", {"Conventions": None}),
        (UnreadableError, "SourcePosition of 5", {"positions": places[:5]}),
        (UnreadableError, "no direction", {"positions": np.zeros_like(places), "kind": "cartesian"}),
        (UnreadableError, "Data.Delay", {"delay": np.full((1, 2), -3.0)}),
        (UnreadableError, "not a readable", {"delay": np.zeros((1, 3))}),
        (UnreadableError, "not a readable", {"irs": np.bytes_(b"none")}),
        (UnreadableError, "Data.Delay of 3", {"delay": np.zeros((3, 2))}),
        (NonFiniteError, "NaN", {"irs": np.full_like(irs, np.nan)}),
    ]
    for kind, words, changes in cases:
        write_sofa(path, **({"irs": irs, "positions": places} | changes))
        with pytest.raises(kind, match=words):
            read_sofa(path)
    path.write_bytes(b"RIFF no sofa")
    for name in (path, tmp_path, tmp_path / "none.sofa"):
        with pytest.raises(UnreadableError, match=str(name)):
            read_sofa(name)
    for azimuth, elevation in ((np.nan, 0), (400, 0), (0, 91)):
        with pytest.raises(OptionError, match="degrees"):
            hrir_at(sofa, azimuth, elevation)
    level = places[:, 1] == 0
    write_sofa(path, irs[level], places[level])
    assert hrir_at(read_sofa(path), 97).azimuth == pytest.approx(90)
    with pytest.raises(OptionError, match="surround"):
        hrir_at(read_sofa(path), 97, interpolate=True)

    found = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *a: _no_h5py(name, found, *a))
    with pytest.raises(UnreadableError, match=r"pip install 'longconv-audio\[sofa\]'"):
        read_sofa(path)


def _no_h5py(name, found, *arguments):
    if name == "h5py":
        raise ImportError(name)
    return found(name, *arguments)
