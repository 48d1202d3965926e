"""Head-related impulse responses at any direction, out of those that were measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from longconv_audio.errors import OptionError

from .phase import minimum_phase
from .sofa import INSTEAD, Sofa, unit_vectors

# Weights below this are what rounding leaves of a corner that has no part in a direction.
ROUNDING = 1e-9
# Points a sample on which onsets are looked for; a parabola goes on from there.
FINER = 8


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


def hrir_at(sofa: Sofa, azimuth: float, elevation: float = 0.0, *, interpolate: bool = False) -> Hrir:
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
    wanted = unit_vectors(azimuth, elevation)
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


def time_of_arrival(h: np.ndarray) -> float:
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
    onsets = np.array([time_of_arrival(h) for h in irs]) + delays
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
        raise OptionError(f"{sofa.name}: its directions do not surround the head: {INSTEAD}")
    triangles, corners = sofa.triangles[solid], corners[solid]
    shares = np.linalg.solve(corners.transpose(0, 2, 1), np.broadcast_to(wanted[:, None], (len(corners), 3, 1)))[..., 0]
    shares /= np.abs(shares).sum(axis=1, keepdims=True)
    best = int(shares.min(axis=1).argmax())
    if shares[best].min() < -1e-6:
        raise OptionError(f"{sofa.name}: no three directions are around this one: {INSTEAD}")
    used = shares[best] > ROUNDING
    return triangles[best][used], shares[best][used] / shares[best][used].sum()
