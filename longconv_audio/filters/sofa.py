"""Reading SOFA files of head-related impulse responses (AES69)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from longconv_audio.errors import LongconvError, MismatchError, NonFiniteError, OptionError, UnreadableError

# Those whose data are impulse responses of one emitter at many places.
CONVENTIONS = ("SimpleFreeFieldHRIR", "GeneralFIR")

INSTEAD = "take the nearest (--nearest, or no --interpolate)"


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
                f"{self.name}: its {len(first)} directions do not surround the head, so there are none in between: "
                f"{INSTEAD}"
            ) from None


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
    except LongconvError:
        raise
    except (OSError, TypeError, ValueError) as error:  # no HDF5, one that is cut short, groups and texts for arrays
        reason = " ".join(str(error).split())
        raise UnreadableError(f"{path}: not a readable SOFA file, which is an HDF5: {reason}") from None


def unit_vectors(azimuth, elevation) -> np.ndarray:
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
    places = _from_the_head(file, _places(file["SourcePosition"], len(irs), path), path)
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


def _from_the_head(file, places: np.ndarray, path: str) -> np.ndarray:
    """Places in the room as the listener has them: some turn the head, and not the source, from one to the next."""

    def vectors(name: str, kind_of: str, otherwise: tuple[float, float, float]) -> np.ndarray:
        if name not in file:
            return np.broadcast_to(otherwise, places.shape)
        kind = _text(file[kind_of].attrs.get("Type")) if kind_of in file else ""
        return _vectors(file[name], len(places), path, name, kind == "spherical")

    places = places - vectors("ListenerPosition", "ListenerPosition", (0.0, 0.0, 0.0))
    # What is up is of the type that the view is.
    ahead = vectors("ListenerView", "ListenerView", (1.0, 0.0, 0.0))
    up = vectors("ListenerUp", "ListenerView", (0.0, 0.0, 1.0))
    left = np.cross(up, ahead)
    axes = np.stack([ahead, left, np.cross(ahead, left)], axis=1)  # (directions, 3 axes, 3)
    lengths = np.linalg.norm(axes, axis=-1, keepdims=True)
    if not (lengths > 1e-6).all():
        raise UnreadableError(f"{path}: ListenerView and ListenerUp: expected two directions, at right angles")
    places = np.einsum("nij,nj->ni", axes / lengths, places)
    if not np.linalg.norm(places, axis=1).all():
        raise UnreadableError(f"{path}: a SourcePosition lies in the head's centre: it has no direction")
    return places


def _places(variable, count: int, path: str) -> np.ndarray:
    places = _vectors(variable, count, path, "SourcePosition", False)
    if _text(variable.attrs.get("Type")) == "cartesian":
        return places
    azimuth, elevation, distance = places.T
    # Files that do not care for the distance say 0.
    return unit_vectors(azimuth, elevation) * np.where(distance > 0, distance, 1.0)[:, None]


def _vectors(variable, count: int, path: str, name: str, spherical: bool) -> np.ndarray:
    """Cartesian, (count, 3)."""
    vectors = np.asarray(variable, dtype=np.float64).reshape(-1, 3)
    if len(vectors) not in (1, count):
        raise UnreadableError(f"{path}: {name} of {len(vectors)} directions; expected {count}")
    if spherical:
        vectors = unit_vectors(vectors[:, 0], vectors[:, 1]) * vectors[:, 2:]
    return np.broadcast_to(vectors, (count, 3))


def _text(value) -> str:
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
