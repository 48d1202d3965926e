"""Loudspeaker layouts on headphones, through the impulse responses from each loudspeaker to both ears."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from longconv_audio import shaping
from longconv_audio.audio_io import read_ir
from longconv_audio.errors import MismatchError, OptionError
from longconv_audio.levels import from_db, to_db
from longconv_audio.routing import FilterMatrix, Path

from .hrir import hrir_at, onset
from .sofa import Sofa, read_sofa
from .spectra import magnitude_for_peak, peak_of_magnitude

# Loudspeakers in the order of a WAV's channels, and their azimuths in degrees, to the left above 0: ITU-R BS.775 for
# stereo and 5.1, BS.2051 (0+7+0) for 7.1. The low-frequency effects have no place.
LAYOUTS = {
    "mono": {"FC": 0},
    "stereo": {"FL": 30, "FR": -30},
    "5.1": {"FL": 30, "FR": -30, "FC": 0, "LFE": None, "SL": 110, "SR": -110},
    "7.1": {"FL": 30, "FR": -30, "FC": 0, "LFE": None, "BL": 135, "BR": -135, "SL": 90, "SR": -90},
}

# The channels of HeSuVi's WAVs: a loudspeaker, and the ear that hears it. Files of 7 channels have the first seven: the
# right side mirrors the left one, and the centre is alike for both ears.
HESUVI = (
    *(("FL", 0), ("FL", 1), ("SL", 0), ("SL", 1), ("BL", 0), ("BL", 1), ("FC", 0)),
    *(("FR", 1), ("FR", 0), ("SR", 1), ("SR", 0), ("BR", 1), ("BR", 0), ("FC", 1)),
)


def virtual_loudspeakers(
    pairs: Mapping[str, np.ndarray], layout: str, *, lfe: float | None = 0.0, origin: int = 0
) -> FilterMatrix:
    """The filters that play a loudspeaker layout on headphones.

    Args:
        pairs: loudspeakers' names to impulse responses (2, taps), left ear first: `pairs_of_sofa`, `pairs_of_hesuvi`.
        layout: one of `LAYOUTS`.
        lfe: level of the low-frequency effects in dB. They reach both ears alike, at the moment when the centre does,
            as an impulse of the energy that the centre's responses have on average: measured ears have little bass.
            None leaves them out.
        origin: the tap of the pairs at time zero.

    Returns:
        from the layout's channels to left and right. No level is changed.

    Raises:
        OptionError: an unknown layout.
        MismatchError: one of its loudspeakers is missing.
    """
    paths = []
    for channel, speaker in enumerate(_speakers(layout)):
        if speaker == "LFE":
            if lfe is None:
                continue
            impulse = _low_frequency_effects(_pair(pairs, "FC", layout), lfe)
            paths += [Path(ear, channel, impulse) for ear in (0, 1)]
        else:
            pair = _pair(pairs, speaker, layout)
            paths += [Path(ear, channel, np.ascontiguousarray(pair[ear])) for ear in (0, 1)]
    return FilterMatrix(len(LAYOUTS[layout]), 2, tuple(paths), origin)


def read_loudspeakers(
    path: str | os.PathLike,
    layout: str,
    samplerate: int | None = None,
    *,
    interpolate: bool = True,
    lfe: float | None = 0.0,
    notes: list[str] | None = None,
) -> tuple[FilterMatrix, int]:
    """Reads a SOFA file, or a HeSuVi WAV, as the filters of a layout.

    Args:
        path: a name that ends in .sofa, or an audio file of 7 or 14 channels.
        layout, lfe: as for `virtual_loudspeakers`.
        samplerate: wanted, in hertz; None keeps the file's.
        interpolate: between directions of the SOFA file; otherwise the nearest are taken.
        notes: a list that takes what a person should be told, one line each.

    Returns:
        the filters, and their sample rate.

    Raises:
        LongconvError: in one of its kinds, for what cannot be read or does not fit.
    """
    notes = [] if notes is None else notes
    _speakers(layout)
    if not os.fspath(path).lower().endswith(".sofa"):
        ir = read_ir(path, samplerate=samplerate)
        notes += ir.notes
        pairs = pairs_of_hesuvi(ir.taps, ir.name)
        return virtual_loudspeakers(pairs, layout, lfe=lfe, origin=ir.origin), samplerate or _known(ir)
    sofa = read_sofa(path)
    pairs = pairs_of_sofa(sofa, layout, interpolate=interpolate)
    origin, rate = 0, samplerate or sofa.samplerate
    if rate != sofa.samplerate:
        notes.append(f"{sofa.name}: resampled from {sofa.samplerate} to {rate} Hz")
        try:
            converted = {name: shaping.resample(pair, sofa.samplerate, rate) for name, pair in pairs.items()}
        except OptionError as error:
            raise MismatchError(f"{sofa.name}: {error}") from None
        pairs = {name: taps for name, (taps, _) in converted.items()}
        origin = next(start for _, start in converted.values())
    return virtual_loudspeakers(pairs, layout, lfe=lfe, origin=origin), rate


def pairs_of_sofa(sofa: Sofa, layout: str, *, interpolate: bool = True) -> dict[str, np.ndarray]:
    """The impulse responses of a layout's loudspeakers at the height of the ears.

    Args:
        sofa: what was measured.
        layout: one of `LAYOUTS`.
        interpolate: between measured directions; otherwise the nearest are taken.
    """
    places = {name: azimuth for name, azimuth in LAYOUTS[layout].items() if azimuth is not None}
    return {name: hrir_at(sofa, azimuth, interpolate=interpolate).taps for name, azimuth in places.items()}


def pairs_of_hesuvi(taps: np.ndarray, name: str = "the file") -> dict[str, np.ndarray]:
    """The impulse responses of the loudspeakers in a HeSuVi WAV.

    Args:
        taps: (14, taps), or (7, taps) for a head that is alike on both sides.
        name: for messages.

    Source: the channels as in HeSuVi and in PipeWire's filter chain sink-virtual-surround-7.1-hesuvi.
    """
    if len(taps) == 7:
        # The left half of the right side: what the one ear hears, the other does.
        taps = np.concatenate([taps, taps])
    if len(taps) != len(HESUVI):
        raise MismatchError(f"{name}: has {len(taps)} channels; expected a SOFA file, or a HeSuVi WAV of 7 or 14")
    pairs = {speaker: np.zeros((2, taps.shape[1])) for speaker, _ in HESUVI}
    for (speaker, ear), row in zip(HESUVI, taps, strict=True):
        pairs[speaker][ear] = row
    return pairs


def largest_gain(matrix: FilterMatrix, samplerate: float) -> tuple[float, float]:
    """The most by which a sine can get louder on its way to one output, coming in on all inputs as is worst.

    Args:
        matrix: the filters.
        samplerate: in hertz.

    Returns:
        in dB, and where, in hertz.
    """
    totals = [0.0] * matrix.outputs
    for path in matrix.paths:
        totals[path.output] = totals[path.output] + magnitude_for_peak(path.taps, matrix.taps)
    peaks = [peak_of_magnitude(np.atleast_1d(total), samplerate) for total in totals]
    gain, frequency = max(peaks, key=lambda peak: peak[0])
    return to_db(gain), frequency


def layout_of(channels: int) -> str:
    """The layout of so many channels.

    Raises:
        MismatchError: there is none.
    """
    for name, speakers in LAYOUTS.items():
        if len(speakers) == channels:
            return name
    known = ", ".join(f"{len(speakers)} ({name})" for name, speakers in LAYOUTS.items())
    raise MismatchError(f"the input has {channels} channels; expected {known}")


def _speakers(layout: str) -> tuple[str, ...]:
    if layout not in LAYOUTS:
        raise OptionError(f"--layout {layout}: expected {', '.join(LAYOUTS)}")
    return tuple(LAYOUTS[layout])


def _pair(pairs: Mapping[str, np.ndarray], speaker: str, layout: str) -> np.ndarray:
    if speaker not in pairs:
        raise MismatchError(f"the layout {layout} has a loudspeaker {speaker}, and there is no response for it")
    return np.asarray(pairs[speaker], dtype=np.float64)


def _low_frequency_effects(centre: np.ndarray, level: float) -> np.ndarray:
    at = round(np.mean([onset(ear) for ear in centre]))
    impulse = np.zeros(at + 1)
    impulse[at] = from_db(level) * np.sqrt(np.mean(np.sum(centre**2, axis=1)))
    return impulse


def _known(ir) -> int:
    if ir.samplerate is None:
        raise OptionError(f"{ir.name}: does not say its sample rate: pass --rate")
    return ir.samplerate
