"""Head-related impulse responses out of SOFA files (AES69), at any direction."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft

from longconv_audio.errors import MismatchError, NonFiniteError, OptionError, UnreadableError

from .phase import minimum_phase

# Those whose data are impulse responses of one emitter at many places.
CONVENTIONS = ("SimpleFreeFieldHRIR", "GeneralFIR")

# Weights below this are what rounding leaves of a corner that has no part in a direction.
ROUNDING = 1e-9
# Points a sample on which onsets are looked for; a parabola goes on from there.
FINER = 8


@dataclass(frozen=True)
class Sofa:
    """The impulse responses of a SOFA file.

    Args:
        irs: (directions, 2, taps), float64, left ear first, as the file has them.
        delays: (directions, 2), in samples, to be added to them.
        samplerate: in hertz.
        places: (directions, 3), of the sources in metres, from the head: ahead, to the left, up.
        name: the file's.
    """

    irs: np.ndarray
    delays: np.ndarray
    samplerate: int
    places: np.ndarray
    name: str

    @cached_property
    def unit(self) -> np.ndarray:
        """The directions as unit vectors (directions, 3)."""
        return self.places / np.linalg.norm(self.places, axis=1, keepdims=True)

    @cached_property
    def triangles(self) -> np.ndarray:
        """The corners of the triangles between neighbouring directions, (triangles, 3)."""
        from scipy.spatial import ConvexHull, QhullError  # loads for a while

        # Of directions that stand there several times, the first.
        _, first = np.unique(self.unit.round(6), axis=0, return_index=True)
        first.sort()
        try:
            return first[ConvexHull(self.unit[first]).simplices]
        except (QhullError, ValueError):
            raise OptionError(
                f"{self.name}: its {len(first)} directions do not surround the head: nothing can be interpolated "
                "between them; take the nearest"
            ) from None


@dataclass(frozen=True)
class Hrir:
    """The impulse responses of both ears for one direction.

    Args:
        taps: (2, taps), left ear first.
        samplerate: in hertz.
        azimuth, elevation: of the measured direction that is nearest, in degrees.
        distance: of the source there, in metres.
        angle: from the direction that was asked for to that one, in degrees.
        delays: in samples, of each ear: what the file adds to its impulse responses, which is part of the taps.
        directions: how many measured ones went into this.
    """

    taps: np.ndarray
    samplerate: int
    azimuth: float
    elevation: float
    distance: float
    angle: float
    delays: tuple[float, float]
    directions: int


def read_sofa(path: str | os.PathLike) -> Sofa:
    """Reads head-related impulse responses.

    Args:
        path: a SOFA file of a convention with impulse responses of two receivers.

    Raises:
        UnreadableError: not a SOFA file, or h5py is missing.
        MismatchError: another convention, other than two receivers, or several emitters.
        NonFiniteError: NaN or infinity among the impulse responses or the places.

    Source: AES69-2022.
    """
    path = os.fspath(path)
    try:
        import h5py
    except ImportError:
        raise UnreadableError(f"{path}: reading SOFA takes h5py: pip install 'longconv-audio[sofa]'") from None
    if not os.path.isfile(path):
        raise UnreadableError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            return _read(file, path)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise UnreadableError(f"{path}: not a SOFA file, which is an HDF5: {reason}") from None


def hrir(sofa: Sofa, azimuth: float, elevation: float = 0.0, *, interpolate: bool = False) -> Hrir:
    """The impulse responses of a direction.

    Interpolated, they are those of the three measured directions whose triangle holds the one asked for, weighted by
    its barycentric coordinates: each ear's are first moved to the weighted mean of their onsets, so that no echo is
    heard. The onset is where a response is most like its minimum-phase counterpart (J. Nam, J. S. Abel, J. O. Smith,
    "A method for estimating interaural time difference for binaural synthesis", AES 125th Convention, 2008).

    Args:
        sofa: what was measured.
        azimuth: in degrees, 0 ahead, 90 to the left.
        elevation: in degrees, 90 above.
        interpolate: between measured directions; otherwise the nearest is taken as it is. At a measured direction
            both are the same, and both are the file's own numbers, where it has no delays besides.

    Raises:
        OptionError: no such direction, or none that the file could be interpolated to.
    """
    if not (np.isfinite(azimuth) and abs(azimuth) <= 360):
        raise OptionError(f"--azimuth {azimuth:g}: expected degrees from -360 to 360, 90 to the left")
    if not -90 <= elevation <= 90:
        raise OptionError(f"--elevation {elevation:g}: expected degrees from -90 to 90 (above)")
    wanted = _place(azimuth, elevation)
    nearest = int(np.argmax(sofa.unit @ wanted))
    angle = float(np.degrees(2 * np.arcsin(min(np.linalg.norm(sofa.unit[nearest] - wanted) / 2, 1.0))))
    at, weights = np.array([nearest]), np.ones(1)
    # Coordinates in single precision are some 1e-5 degrees off.
    if interpolate and angle > 1e-4:
        at, weights = _corners(sofa, wanted)
    rows = [_mean(sofa.irs[at, ear], sofa.delays[at, ear], weights) for ear in (0, 1)]
    taps = np.zeros((2, max(map(len, rows))))
    for row, ear in zip(rows, taps, strict=True):
        ear[: len(row)] = row
    x, y, z = sofa.places[nearest]
    return Hrir(
        taps=taps,
        samplerate=sofa.samplerate,
        azimuth=float(np.degrees(np.arctan2(y, x)) % 360),
        elevation=float(np.degrees(np.arctan2(z, np.hypot(x, y)))),
        distance=float(np.linalg.norm(sofa.places[nearest])),
        angle=angle,
        delays=tuple(float(weights @ sofa.delays[at, ear]) for ear in (0, 1)),
        directions=len(at),
    )


def onset(h: np.ndarray) -> float:
    """Where a head-related impulse response begins: the delay of its minimum-phase counterpart that fits it best.

    Args:
        h: (taps,).

    Returns:
        in samples, to a hundredth of one; 0 for taps of zeros.
    """
    if not h.any():
        return 0.0
    size = scipy.fft.next_fast_len(2 * len(h), real=True)
    product = scipy.fft.rfft(h, size) * np.conj(scipy.fft.rfft(minimum_phase(h), size))
    likeness = scipy.fft.irfft(product, FINER * size)[: FINER * len(h)]
    peak = int(likeness.argmax())
    if not 0 < peak < len(likeness) - 1:
        return peak / FINER
    below, top, above = likeness[peak - 1 : peak + 2]
    return (peak + 0.5 * (below - above) / (below - 2 * top + above)) / FINER


def _mean(irs: np.ndarray, delays: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """One ear's impulse responses (n, taps) with their delays, weighted, with their onsets one over the other."""
    if len(irs) == 1:
        return _delayed(irs[0], delays[0])
    onsets = np.array([onset(h) for h in irs]) + delays
    mean = weights @ onsets
    # What moves forward beyond time zero goes out; what moves back needs as much more room.
    moved = [_delayed(h, mean - begins + delay) for h, begins, delay in zip(irs, onsets, delays, strict=True)]
    result = np.zeros(max(map(len, moved)))
    for weight, h in zip(weights, moved, strict=True):
        result[: len(h)] += weight * h
    return result


def _delayed(h: np.ndarray, delay: float) -> np.ndarray:
    """A filter later by so many samples: exact for whole numbers, of a band-limited signal for others."""
    whole = round(delay)
    if abs(delay - whole) < ROUNDING:
        if whole >= 0:
            return np.concatenate([np.zeros(whole), h])
        return np.concatenate([h[-whole:], np.zeros(min(-whole, len(h)))])
    room = int(np.ceil(max(delay, 0)))
    size = scipy.fft.next_fast_len(2 * len(h) + 2 * abs(whole) + 128, real=True)
    spectrum = scipy.fft.rfft(h, size) * np.exp(-2j * np.pi * delay * scipy.fft.rfftfreq(size))
    return scipy.fft.irfft(spectrum, size)[: len(h) + room]


def _corners(sofa: Sofa, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The measured directions around one, and their shares of it."""
    corners = sofa.unit[sofa.triangles]  # (triangles, 3 corners, 3)
    # Of flat triangles seen from the edge, nothing can be solved.
    solid = np.abs(np.linalg.det(corners)) > 1e-9
    if not solid.any():
        raise OptionError(f"{sofa.name}: its directions do not surround the head: take the nearest")
    triangles, corners = sofa.triangles[solid], corners[solid]
    shares = np.linalg.solve(corners.transpose(0, 2, 1), np.broadcast_to(wanted[:, None], (len(corners), 3, 1)))[..., 0]
    shares /= np.abs(shares).sum(axis=1, keepdims=True)
    best = int(shares.min(axis=1).argmax())
    if shares[best].min() < -1e-6:
        raise OptionError(f"{sofa.name}: no three directions are around this one: take the nearest")
    used = shares[best] > ROUNDING
    return triangles[best][used], shares[best][used] / shares[best][used].sum()


def _place(azimuth, elevation) -> np.ndarray:
    """Unit vectors (..., 3) in directions given in degrees."""
    azimuth, elevation = np.radians(azimuth), np.radians(elevation)
    level = np.cos(elevation)
    return np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], axis=-1)


def _read(file, path: str) -> Sofa:
    convention = _text(file.attrs.get("SOFAConventions"))
    if _text(file.attrs.get("Conventions")) != "SOFA" or not convention:
        raise UnreadableError(f"{path}: an HDF5 that does not say it is a SOFA file")
    if convention not in CONVENTIONS or _text(file.attrs.get("DataType")) != "FIR":
        kind = _text(file.attrs.get("DataType"))
        raise MismatchError(
            f"{path}: a SOFA file of the convention {convention} ({kind}); expected impulse responses at two ears, as "
            "in SimpleFreeFieldHRIR"
        )
    missing = [n for n in ("Data.IR", "Data.SamplingRate", "SourcePosition") if n not in file]
    if missing:
        raise UnreadableError(f"{path}: has no {missing[0]}, which {convention} demands")
    irs = np.asarray(file["Data.IR"], dtype=np.float64)
    if irs.ndim != 3 or irs.shape[1] != 2 or not irs.size:
        raise MismatchError(f"{path}: Data.IR of shape {irs.shape}; expected (directions, 2 ears, taps)")
    rates = np.unique(np.asarray(file["Data.SamplingRate"], dtype=np.float64))
    if len(rates) != 1 or not 1 <= rates[0] <= 1e7 or rates[0] != round(rates[0]):
        raise UnreadableError(f"{path}: Data.SamplingRate is {rates}; expected one whole number of hertz")
    places = _places(file["SourcePosition"], len(irs), path)
    delays = np.zeros((1, 2))
    if "Data.Delay" in file:
        delays = np.asarray(file["Data.Delay"], dtype=np.float64).reshape(-1, 2)
    if len(delays) not in (1, len(irs)):
        raise UnreadableError(f"{path}: Data.Delay of {len(delays)} directions; expected 1 or {len(irs)}")
    if not (np.isfinite(irs).all() and np.isfinite(places).all() and np.isfinite(delays).all()):
        raise NonFiniteError(f"{path}: NaN or infinity among its impulse responses, delays or places")
    if not ((delays >= 0) & (delays <= 10 * rates[0])).all():
        raise UnreadableError(
            f"{path}: Data.Delay from {delays.min():g} to {delays.max():g}; expected 0 or more samples"
        )
    return Sofa(irs, np.broadcast_to(delays, (len(irs), 2)), int(rates[0]), places, path)


def _places(variable, count: int, path: str) -> np.ndarray:
    places = np.asarray(variable, dtype=np.float64).reshape(-1, 3)
    if len(places) not in (1, count):
        raise UnreadableError(f"{path}: SourcePosition of {len(places)} directions; expected {count}")
    places = np.broadcast_to(places, (count, 3))
    if _text(variable.attrs.get("Type")) != "cartesian":
        azimuth, elevation, distance = places.T
        # Files that do not care for the distance say 0.
        places = _place(azimuth, elevation) * np.where(distance > 0, distance, 1.0)[:, None]
    if not np.linalg.norm(places, axis=1).all():
        raise UnreadableError(f"{path}: a SourcePosition lies in the head's centre: it has no direction")
    return places


def _text(value) -> str:
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
