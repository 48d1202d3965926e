"""Synthetic rooms: a box by its image sources, and what Eyring's formula expects of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from longconv_audio.errors import OptionError

from .air import air_absorption
from .band_values import BandValues, check_values, values_at
from .bands import Band, octave_bands, octave_weights
from .image_sources import BLOCK, REACH, Impulses, images_along, images_of

# West and east are the walls at x = 0 and at the room's length, south and north those at y = 0 and at its width.
WALLS = ("west", "east", "south", "north", "floor", "ceiling")

SPEED_OF_SOUND = 343.0
HIGHPASS = 20.0
# Of Eyring's T60, what a response holds where no length is given: the late sound of a box decays more slowly.
LATE = 1.5

# The longest side in metres, the longest response in seconds, the closest receiver in metres.
LARGEST, LONGEST, CLOSEST = 1000.0, 60.0, 0.01
# Half a minute's work: a room of 60 cubic metres for 2.2 seconds.
MOST_IMAGES = 30_000_000
# Of one response, and of all: some 3 GB, and 2.
MOST_TAPS, MOST_SAMPLES = 1 << 24, 1 << 28

Absorption = BandValues | Mapping[str, BandValues]


def shoebox(
    size: Sequence[float],
    source: Sequence[float] | np.ndarray,
    receiver: Sequence[float] | np.ndarray,
    samplerate: float,
    *,
    absorption: Absorption = 0.2,
    seconds: float | None = None,
    max_order: int | None = None,
    humidity: float | None = None,
    highpass: float = HIGHPASS,
    speed_of_sound: float = SPEED_OF_SOUND,
) -> np.ndarray:
    """The impulse response of a box-shaped room, by image sources.

    Tap 0 is the moment of emission, and the direct sound from a metre away has a gain of 1: an image at r metres comes
    at r / speed_of_sound with a gain of 1 / r, of which every reflection leaves sqrt(1 - absorption). Source and
    receiver hear in all directions alike.

    Delays are exact between samples: each image is a band-limited impulse, 64 samples to either side, flat to 0.9 of
    half the sample rate. Where absorption differs between bands, the reflections are split into octaves of zero phase
    (`octave_weights`), so that a low band begins to rise a few milliseconds ahead of its reflection.

    Args:
        size: length, width and height in metres.
        source: (3,) or (sources, 3), in metres from the corner of west, south and floor.
        receiver: (3,) or (receivers, 3).
        samplerate: in hertz.
        absorption: share of the energy that a reflection takes, 0 to 1: one number, numbers at frequencies in hertz
            (straight lines over log frequency between them), or a mapping from all of `WALLS` to either.
        seconds: length of the result; None takes 1.5 times Eyring's T60 of the slowest band, behind the direct sound,
            or, under a max_order, all images.
        max_order: most reflections of an image; None takes all that arrive in time.
        humidity: of the air in percent, at 20 degrees Celsius; None leaves the air's absorption out.
        highpass: cutoff in hertz of a causal Butterworth filter of order 2. All images have one sign and add up to a
            rumble without it; 0 for none.
        speed_of_sound: in metres a second.

    Returns:
        (sources, receivers, taps), without the axes of a single source or receiver given as (3,).

    Raises:
        OptionError: what is outside the room or its range, or too large.

    Source: J. B. Allen, D. A. Berkley, "Image method for efficiently simulating small-room acoustics", JASA 65(4),
    1979.
    """
    size = _size(size)
    sources, receivers = _places(source, size, "source"), _places(receiver, size, "receiver")
    _check(samplerate, seconds, max_order, highpass, speed_of_sound)
    bands, factors, air = _bands(absorption, humidity, samplerate)
    if seconds is None and max_order is None:
        seconds = max(eyring_t60(size, absorption, humidity=humidity, speed_of_sound=speed_of_sound).values())
        seconds *= LATE
        seconds += max(math.dist(a, b) for a in sources for b in receivers) / speed_of_sound + REACH / samplerate
        if not seconds <= LONGEST:
            said = "never decays" if math.isinf(seconds) else f"takes {seconds:.3g} s to decay"
            raise OptionError(f"this room {said}: pass --seconds, {LONGEST:g} at the most")
    if seconds is None:
        farthest = (max_order + 2) * float(np.linalg.norm(size))
    else:
        farthest = seconds * speed_of_sound
    pairs = len(sources) * len(receivers)
    _check_count(size, farthest, max_order, pairs, speed_of_sound)
    _check_samples(farthest / speed_of_sound, samplerate, pairs)

    responses = []
    for a in sources:
        axes = [
            images_along(width, place, factors[2 * i : 2 * i + 2], farthest, max_order)
            for i, (width, place) in enumerate(zip(size, a, strict=True))
        ]
        for b in receivers:
            _check_distance(a, b, farthest, speed_of_sound)
            reach = farthest if seconds is not None else _longest(axes, b, farthest, max_order)
            taps = math.ceil(reach / speed_of_sound * samplerate) + (0 if seconds is not None else REACH + 1)
            room = math.ceil(0.1 * samplerate) if len(bands) > 1 or highpass else 0
            impulses = Impulses(taps, len(bands), room)
            # Each block costs a pass over the response.
            for distances, amplitudes in images_of(axes, b, reach, max_order, max(BLOCK, taps // 4)):
                amplitudes *= np.exp(-air[:, None] * distances) / distances
                impulses.add(distances * (samplerate / speed_of_sound), amplitudes)
            weights = octave_weights(impulses.frequencies(samplerate), bands)
            responses.append(impulses.response(weights, samplerate, highpass))
    taps = max(map(len, responses))
    result = np.stack([np.pad(h, (0, taps - len(h))) for h in responses]).reshape(len(sources), len(receivers), taps)
    single = tuple(axis for axis, given in enumerate((source, receiver)) if np.ndim(given) == 1)
    return result.squeeze(single)


def eyring_t60(
    size: Sequence[float],
    absorption: Absorption,
    *,
    humidity: float | None = None,
    speed_of_sound: float = SPEED_OF_SOUND,
) -> dict[str, float]:
    """The reverberation time that Eyring's formula expects of a box, by octave band from 63 Hz to 16 kHz.

    Args:
        size, absorption, humidity, speed_of_sound: as for `shoebox`.

    Returns:
        T60 in seconds by the bands' names; infinite where nothing absorbs. Image sources in a box whose sides or walls
        are unlike each other decay more slowly late, since their sound field is not diffuse.

    Source: C. F. Eyring, "Reverberation time in 'dead' rooms", JASA 1(2A), 1930.

    >>> round(eyring_t60((6, 4, 3), 0.2)["1k"], 3)
    0.481
    """
    size = _size(size)
    _, factors, air = _bands(absorption, humidity, math.inf, merge=False)
    x, y, z = size
    areas = np.repeat([y * z, x * z, x * y], 2)
    with np.errstate(divide="ignore"):
        mean = areas @ (1 - factors**2) / areas.sum()
        # Amplitudes fall by the air's exponent a metre, energies by twice as much.
        lost = -areas.sum() * np.log(1 - mean) + 8 * air * x * y * z
        t60 = 24 * math.log(10) * x * y * z / (speed_of_sound * lost)
    return {band.name: float(value) for band, value in zip(_octaves(math.inf), t60, strict=True)}


def _octaves(samplerate: float) -> list[Band]:
    return [band for band in octave_bands(1, 63, 16_000) if band.low < samplerate / 2 or band.name == "63"]


def _bands(
    absorption: Absorption, humidity: float | None, samplerate: float, merge: bool = True
) -> tuple[list[Band], np.ndarray, np.ndarray]:
    """The bands, the walls' reflection factors (6, bands), and the air's exponents of amplitude a metre (bands,).

    One band does, with `merge`, where all are alike.
    """
    walls = absorption if isinstance(absorption, Mapping) and any(isinstance(k, str) for k in absorption) else None
    if walls is not None and set(walls) != set(WALLS):
        odd = sorted(set(walls) ^ set(WALLS), key=str)
        raise OptionError(f"absorption of {', '.join(map(str, odd))}: expected each of {', '.join(WALLS)}")
    bands = _octaves(samplerate)
    centres = np.array([band.centre for band in bands])
    rows = []
    for wall in WALLS:
        points = absorption if walls is None else walls[wall]
        check_values(points, "absorption" if walls is None else f"absorption of {wall}", 0, 1, "0 to 1")
        rows.append(values_at(points, centres))
    factors = np.sqrt(1 - np.array(rows))
    air = np.zeros(len(bands))
    if humidity is not None:
        air = air_absorption(centres, humidity) * (math.log(10) / 20)
    if merge and (factors == factors[:, :1]).all() and not air.any():
        return bands[:1], factors[:, :1], air[:1]
    return bands, factors, air


def _size(size: Sequence[float]) -> np.ndarray:
    if np.shape(size) != (3,) or not all(0 < side <= LARGEST for side in size):
        raise OptionError(f"a room of {_said(size)} m: expected length, width and height, up to {LARGEST:g} m each")
    return np.asarray(size, dtype=np.float64)


def _places(places, size: np.ndarray, what: str) -> np.ndarray:
    places = np.atleast_2d(np.asarray(places, dtype=np.float64))
    if places.ndim != 2 or places.shape[1] != 3 or not len(places):
        raise OptionError(f"{what} of shape {places.shape}: expected x, y and z in metres")
    for place in places:
        if not ((place > 0) & (place < size)).all():
            raise OptionError(f"{what} {_said(place, ',')}: is not inside the room of {_said(size)} m")
    return places


def _check(samplerate: float, seconds: float | None, max_order: int | None, highpass: float, speed: float) -> None:
    if not 1 <= samplerate <= 1e7:
        raise OptionError(f"a sample rate of {samplerate:g} Hz: expected 1 to 10 million")
    if seconds is not None and not 1 / samplerate <= seconds <= LONGEST:
        raise OptionError(f"--seconds {seconds:g}: expected up to {LONGEST:g} seconds, and a sample at the least")
    if max_order is not None and not 0 <= max_order <= 10_000:
        raise OptionError(f"--max-order {max_order}: expected 0 (the direct sound) or more reflections")
    if not 0 <= highpass < samplerate / 2:
        raise OptionError(f"--highpass {highpass:g}: expected 0 (none) to half the sample rate, {samplerate / 2:g} Hz")
    if not speed > 0:
        raise OptionError(f"a speed of sound of {speed:g} m/s: expected more than 0")


def _check_count(size: np.ndarray, farthest: float, max_order: int | None, pairs: int, speed: float) -> None:
    count = 4 / 3 * math.pi * (farthest + float(size.max())) ** 3 / float(size.prod())
    if max_order is not None:
        count = min(count, (2 * max_order + 1) * (2 * max_order**2 + 2 * max_order + 3) / 3)
    if count * pairs > MOST_IMAGES:
        within = (MOST_IMAGES / pairs * float(size.prod()) * 3 / (4 * math.pi)) ** (1 / 3) - float(size.max())
        most = max(math.floor(100 * within / speed) / 100, 0.01)
        raise OptionError(
            f"this room has {count * pairs:.2g} image sources to reckon with: expected {MOST_IMAGES:.0g} at the most: "
            f"pass --seconds {most:g}, a smaller --max-order, or --t60 for a statistical hall"
        )


def _check_samples(seconds: float, samplerate: float, pairs: int) -> None:
    if seconds > LONGEST or seconds * samplerate > MOST_TAPS or seconds * samplerate * pairs > MOST_SAMPLES:
        raise OptionError(
            f"{pairs} response{'s' * (pairs > 1)} of up to {seconds:.3g} s at {samplerate:g} Hz are too much: pass "
            "fewer --seconds or a lower --rate"
        )


def _check_distance(source: np.ndarray, receiver: np.ndarray, farthest: float, speed: float) -> None:
    distance = math.dist(source, receiver)
    where = f"receiver {_said(receiver, ',')}, source {_said(source, ',')}"
    if distance < CLOSEST:
        raise OptionError(f"{where}: stand in one place: expected a centimetre or more between them")
    if distance > farthest:
        raise OptionError(f"{where}: the direct sound takes {distance / speed:.3g} s: pass more --seconds")


def _longest(axes, receiver: np.ndarray, farthest: float, max_order: int | None) -> float:
    """The distance of the farthest image."""
    return max(float(distances.max()) for distances, _ in images_of(axes, receiver, farthest, max_order)) * (1 + 1e-12)


def _said(place, between: str = " x ") -> str:
    return between.join(f"{value:g}" for value in np.ravel(place))
