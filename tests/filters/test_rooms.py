"""Boxes by image sources: against hand geometry, pyroomacoustics, and what theory expects of the decay."""

import math

import numpy as np
import pytest

from longconv_audio.errors import OptionError
from longconv_audio.filters.bands import octave_bands
from longconv_audio.filters.image_sources import SHAPE, SPREAD, Impulses, images_along, images_of
from longconv_audio.filters.rooms import WALLS, eyring_t60, shoebox

SIZE, SOURCE, RECEIVER = (6.0, 4.0, 3.0), (1.0, 1.2, 1.5), (4.0, 2.5, 1.7)
RATE, SPEED = 16_000, 343.0
# Of half the sample rate, up to which the band-limited impulses are flat.
FLAT = 0.85


def images(absorption, order, size=SIZE, source=SOURCE, receiver=RECEIVER):
    """Distances and amplitudes (bands, n) of all images of up to an order; absorption (6, bands)."""
    factors = np.sqrt(1 - np.asarray(absorption, float).reshape(6, -1))
    axes = [images_along(size[i], source[i], factors[2 * i : 2 * i + 2], 1e4, order) for i in range(3)]
    distances, amplitudes = zip(*images_of(axes, np.array(receiver), 1e4, order), strict=True)
    return np.concatenate(distances), np.concatenate(amplitudes, axis=1)


def spectrum(h, points):
    return np.fft.rfft(h, points)[: int(FLAT * points / 2)]


def difference_db(found, wanted):
    return 10 * math.log10(np.sum(np.abs(found - wanted) ** 2) / np.sum(np.abs(wanted) ** 2))


def test_impulses_are_spread_by_the_kernel_whose_transform_is_taken_out(rng):
    # Off the grid, at its start, and beyond its end, where the kernel wraps round; amplitudes of two bands.
    places, amplitudes = np.array([0.0, 0.1, 31.77, 31.77, 99.9]), rng.standard_normal((2, 5))
    impulses = Impulses(100, 2, 0)
    for half in (slice(0, 2), slice(2, 5)):
        impulses.add(places[half], amplitudes[:, half])
    points = len(impulses._grid)
    distance = (np.arange(points)[:, None] - 2 * places + points / 2) % points - points / 2
    x = distance / (SPREAD / 2)
    kernel = np.where((x >= -1) & (x < 1), np.i0(SHAPE * np.sqrt(np.maximum(1 - x**2, 0))), 0)
    assert np.abs(impulses._grid - kernel @ amplitudes.T).max() < 1e-11 * kernel.max()


def test_the_direct_sound_and_six_reflections_are_where_geometry_has_them():
    # The source mirrored in each wall, by hand.
    mirrored = [SOURCE]
    for axis in range(3):
        for wall in (0.0, SIZE[axis]):
            place = list(SOURCE)
            place[axis] = 2 * wall - place[axis]
            mirrored.append(tuple(place))
    h = shoebox(SIZE, SOURCE, RECEIVER, RATE, absorption=0.36, max_order=1, highpass=0)
    points = 4096
    angles = 2 * np.pi * np.arange(int(FLAT * points / 2)) / points
    wanted = 0
    for place in mirrored:
        r = math.dist(place, RECEIVER)
        gain = 1.0 if place == SOURCE else 0.8
        wanted = wanted + gain / r * np.exp(-1j * angles * r / SPEED * RATE)
    assert difference_db(spectrum(h, points), wanted) < -90
    first = math.dist(SOURCE, RECEIVER) / SPEED * RATE
    assert np.abs(h[: int(first) - 66]).max() < 1e-5 * np.abs(h).max()


def test_a_room_that_swallows_all_has_the_direct_sound_alone():
    h = shoebox(SIZE, (1, 1, 1), (2, 1, 1), 34_300, absorption=1.0, seconds=0.05, highpass=0)
    assert abs(h.sum() - 1) < 1e-4  # 1 at a metre
    assert h.argmax() == 100  # a metre at 343 m/s
    assert abs(h[100] - 0.955) < 0.001  # of the bandwidth, 4.5 % is left out


@pytest.mark.parametrize("order", [0, 3, 17])
def test_is_pyroomacoustics(order):
    pra = pytest.importorskip("pyroomacoustics")
    pra.constants.set("rir_hpf_enable", False)
    # A power of two: its table's steps add up exactly in single precision.
    pra.constants.set("sinc_lut_granularity", 256)
    absorption = {"west": 0.1, "east": 0.2, "south": 0.3, "north": 0.15, "floor": 0.4, "ceiling": 0.25}
    room = pra.ShoeBox(
        SIZE,
        fs=RATE,
        max_order=order,
        air_absorption=False,
        materials={k: pra.Material(v) for k, v in absorption.items()},
    )
    room.set_sound_speed(SPEED)
    room.add_source(SOURCE)
    room.add_microphone(RECEIVER)
    room.compute_rir()
    theirs = np.asarray(room.rir[0][0], np.float64)
    ours = shoebox(SIZE, SOURCE, RECEIVER, RATE, absorption=absorption, max_order=order, highpass=0)
    points = 16_384
    lead = np.exp(2j * np.pi * 40 * np.arange(points // 2 + 1) / points)  # half their sinc
    theirs_ahead = (np.fft.rfft(theirs, points) * lead)[: int(FLAT * points / 2)]
    assert difference_db(spectrum(ours, points), theirs_ahead) < -60
    # What is left is their window, which does not move with the fraction of a sample: with the same one, less is.
    distances, amplitudes = images([absorption[wall] for wall in WALLS], order)
    places = distances / SPEED * RATE
    whole = np.floor(places).astype(int)
    same = np.zeros(len(theirs))
    for k in range(-40, 41):
        np.add.at(
            same, whole + k + 40, amplitudes[0] / distances * np.sinc(whole + k - places) * np.hanning(81)[k + 40]
        )
    assert difference_db(same, theirs) < -80


def test_images_by_band_are_those_of_pyroomacoustics():
    pra = pytest.importorskip("pyroomacoustics")
    centres = [125, 250, 500, 1000, 2000, 4000]
    coefficients = np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]] * 3)
    materials = {
        wall: pra.Material({"coeffs": list(row), "center_freqs": centres, "description": wall})
        for wall, row in zip(WALLS, coefficients, strict=True)
    }
    room = pra.ShoeBox(SIZE, fs=RATE, max_order=4, air_absorption=False, materials=materials)
    room.add_source(SOURCE)
    room.add_microphone(RECEIVER)
    room.image_source_model()
    (source,) = room.sources
    theirs = np.linalg.norm(source.images.T - RECEIVER, axis=1)
    distances, amplitudes = images(coefficients, 4)
    bands = np.isin(room.octave_bands.centers, centres) if len(source.damping) > 6 else slice(None)
    rows = source.damping[bands]
    by_theirs = np.lexsort((rows[0], theirs.round(4)))
    by_ours = np.lexsort((amplitudes[0], distances.round(4)))
    assert np.abs(theirs[by_theirs] - distances[by_ours]).max() < 1e-4
    assert np.abs(rows[:, by_theirs] - amplitudes[:, by_ours]).max() < 1e-5


def test_source_and_receiver_can_change_places():
    absorption = {"west": 0.1, "east": 0.5, "south": 0.3, "north": 0.2, "floor": {125: 0.1, 4000: 0.6}, "ceiling": 0.4}
    there = shoebox(SIZE, SOURCE, RECEIVER, RATE, absorption=absorption, seconds=0.2, humidity=40)
    back = shoebox(SIZE, RECEIVER, SOURCE, RATE, absorption=absorption, seconds=0.2, humidity=40)
    assert np.abs(there - back).max() < 1e-9 * np.abs(there).max()
    assert np.abs(there).max() > 0.1


def test_sources_and_receivers_are_axes():
    a, b = (SOURCE, (2.0, 3.0, 1.0)), (RECEIVER, (4.2, 2.5, 1.7), (1.5, 1.5, 1.5))
    h = shoebox(SIZE, a, b, RATE, seconds=0.05)
    assert h.shape == (2, 3, 800)
    assert np.array_equal(h[1, 2], shoebox(SIZE, a[1], b[2], RATE, seconds=0.05))
    assert shoebox(SIZE, a[0], b, RATE, max_order=1).shape[0] == 3


def test_bands_that_are_alike_are_one():
    one = shoebox(SIZE, SOURCE, RECEIVER, RATE, absorption=0.3, seconds=0.3)
    nearly = shoebox(SIZE, SOURCE, RECEIVER, RATE, absorption={125: 0.3, 1000: 0.3 + 1e-12}, seconds=0.3)
    assert np.abs(one - nearly).max() < 1e-6 * np.abs(one).max()


def band_t60(h, rate, band):
    """By the backward integral of the band, from -5 to -25 dB."""
    from scipy import signal

    sos = signal.butter(3, [band.low, band.high], "bandpass", fs=rate, output="sos")
    energy = np.cumsum(signal.sosfilt(sos, h)[::-1] ** 2)[::-1]
    level = 10 * np.log10(energy / energy[0])
    part = np.nonzero((level < -5) & (level > -25))[0]
    return -60 / np.polyfit(part / rate, level[part], 1)[0]


def test_it_decays_as_eyring_expects():
    absorption = {250: 0.2, 500: 0.2, 2000: 0.4, 4000: 0.4}
    expected = eyring_t60((5, 4.5, 4), absorption)
    h = shoebox((5, 4.5, 4), (1.1, 1.3, 1.7), (3.7, 2.9, 2.2), RATE, absorption=absorption)
    late = math.dist((1.1, 1.3, 1.7), (3.7, 2.9, 2.2)) / SPEED
    assert len(h) == math.ceil((1.5 * max(expected.values()) + late) * RATE + 64)
    for band in octave_bands(1, 500, 2000)[::2]:
        # Images in a box with walls alike are known to decay more slowly than Eyring has it, by a fifth or so.
        assert 0.9 < band_t60(h, RATE, band) / expected[band.name] < 1.35


def test_eyring_by_hand():
    # V = 72 m3, S = 108 m2, all walls 0.2: 24 ln(10) V / (-c S ln 0.8).
    assert eyring_t60(SIZE, 0.2)["500"] == pytest.approx(24 * math.log(10) * 72 / (343 * 108 * -math.log(0.8)))
    walls = dict.fromkeys(WALLS, 0.0) | {"floor": 0.5}
    assert eyring_t60(SIZE, walls)["1k"] == pytest.approx(
        24 * math.log(10) * 72 / (343 * 108 * -math.log(1 - 12 / 108))
    )
    assert eyring_t60(SIZE, 0.0)["1k"] == math.inf
    # Of air alone, at 8 kHz: 60 dB lost on the way.
    from longconv_audio.filters.air import air_absorption

    (loss,) = air_absorption([8000 * 10**-0.0003], 50)
    assert eyring_t60(SIZE, 0.0, humidity=50)["8k"] == pytest.approx(60 / loss / 343, rel=0.02)


REFUSALS = {
    "not inside the room": {"source": (7, 1, 1)},
    "receiver 4,0,1": {"receiver": (4, 0, 1)},
    "stand in one place": {"receiver": SOURCE},
    "direct sound takes": {"seconds": 0.001},
    "too much": {"size": (900, 900, 900), "max_order": 40},
    "a room of 6 x 4": {"size": (6, 4)},
    "up to 1000 m": {"size": (6e9, 4, 3)},
    "absorption 1.2: expected 0 to 1": {"absorption": 1.2},
    "absorption nan": {"absorption": math.nan},
    "absorption -0.1 at 500 Hz": {"absorption": {500: -0.1}},
    "above 0 Hz": {"absorption": {-500: 0.1}},
    "no frequency": {"absorption": {}},
    "absorption of door": {"absorption": dict.fromkeys(WALLS, 0.1) | {"door": 0.1}},
    "absorption of floor 2": {"absorption": dict.fromkeys(WALLS, 0.1) | {"floor": 2}},
    "never decays: pass --seconds": {"absorption": 0.0},
    "image sources": {"seconds": 20.0},
    "--seconds 0": {"seconds": 0.0},
    "--seconds 1e\\+09": {"seconds": 1e9},
    "--max-order -1": {"max_order": -1},
    "--highpass": {"highpass": 8000},
    "humidity": {"humidity": 120},
    "sample rate": {"samplerate": 0},
    "speed of sound": {"speed_of_sound": 0},
}


@pytest.mark.parametrize("words", REFUSALS)
def test_refusals(words):
    given = {"size": SIZE, "source": SOURCE, "receiver": RECEIVER, "samplerate": RATE} | REFUSALS[words]
    with pytest.raises(OptionError, match=words):
        shoebox(**given)
