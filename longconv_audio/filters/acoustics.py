"""The room acoustician's numbers after ISO 3382-1, band by band: reverberation times, clarity, definition, centre time.

What cannot be measured is None, with the reason beside it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from longconv_audio.errors import OptionError

from .band_filter import BandResponse, band_responses
from .bands import Band, octave_bands
from .clarity import clarity
from .decay import onset
from .reverberation import reverberation

# A response cut off at its onset would begin with a click, which a band without sound has for its own: it is faded in.
RISE_SECONDS = 0.002

# Edges in hertz of what is averaged to one number, those of 500 Hz and 1 kHz (ISO 3382-1:2009, table A.1), and how many
# octaves or third octaves that is.
MID, MID_COUNTS = (353.0, 1414.0), (2, 6)

QUANTITIES = ("edt", "t20", "t30", "c50", "c80", "d50", "ts")
_NUMBERS = (*QUANTITIES, "noise_distance_db", "nonlinearity_t20", "nonlinearity_t30", "curvature")


@dataclass(frozen=True)
class BandParameters:
    """One band of a room.

    Args:
        band: its nominal middle, "125", "1k".
        centre: in hertz.
        edt, t20, t30: the time in seconds for 60 dB, by the first 10 dB, by -5 to -25 dB, by -5 to -35 dB.
        c50, c80: early to late energy in dB.
        d50: the energy of the first 50 ms in parts of the whole.
        ts: centre time in seconds.
        noise_distance_db: from the start of the energy decay curve down to the noise, or to the response's end.
        nonlinearity_t20, nonlinearity_t30: 1000 (1 - r^2) of the fitted lines, per mille.
        curvature: 100 (T30 / T20 - 1), per cent.
        missing: for each of the first seven that is None, why.
        warnings: what makes the numbers doubtful.
    """

    band: str
    centre: float
    edt: float | None = None
    t20: float | None = None
    t30: float | None = None
    c50: float | None = None
    c80: float | None = None
    d50: float | None = None
    ts: float | None = None
    noise_distance_db: float | None = None
    nonlinearity_t20: float | None = None
    nonlinearity_t30: float | None = None
    curvature: float | None = None
    missing: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RoomParameters:
    """A room by band, and its middle frequencies in one number each.

    Args:
        bands: in rising order.
        mid: means over the octaves of 500 Hz and 1 kHz, None where a band of these is missing.
    """

    bands: list[BandParameters]
    mid: dict[str, float | None]


def room_parameters(h: np.ndarray, samplerate: float, bands: list[Band] | None = None) -> list[RoomParameters]:
    """Reverberation times, clarity, definition and centre time of a room's impulse response.

    Args:
        h: (taps,) or (channels, taps). Time counts from each channel's onset.
        samplerate: in hertz.
        bands: as `octave_bands` gives them; None takes the octaves from 63 Hz to 16 kHz.

    Returns:
        one a channel.

    The noise is taken out as `energy_decay_curve` says. Energies before and after 50 and 80 ms are those of the
    response cut there and filtered after that, so that the filters do not smear one into the other.

    Source: ISO 3382-1:2009; nonlinearity and curvature: ISO 3382-2:2008, annex B.

    >>> t = np.arange(48000) / 48000
    >>> h = np.sin(2 * np.pi * 1000 * t) * 10 ** (-3 * t / 0.8)
    >>> (found,) = room_parameters(h, 48000, octave_bands(1, 1000, 1000))
    >>> round(found.bands[0].t30, 3), round(found.bands[0].c80, 1)
    (0.8, 4.7)
    """
    h = np.atleast_2d(np.asarray(h, dtype=np.float64))
    if h.ndim != 2 or not h.shape[-1] or not samplerate > 0:
        raise OptionError(
            f"an impulse response of shape {h.shape} at {samplerate} Hz: expected (channels, taps) and a rate above 0"
        )
    bands = octave_bands(1, 50.0, 20_000.0) if bands is None else bands
    return [_room(_of_channel(channel, samplerate, bands)) for channel in h]


def mean_parameters(rooms: list[RoomParameters]) -> RoomParameters:
    """The mean of each number over the channels, or positions, that have it; the reasons of one where none has."""
    bands = []
    for rows in zip(*(room.bands for room in rooms), strict=True):
        numbers = {name: _mean(getattr(row, name) for row in rows) for name in _NUMBERS}
        missing = {name: why for name, why in rows[0].missing.items() if numbers[name] is None}
        counts = Counter(warning for row in rows for warning in row.warnings)
        warnings = [warning if n == len(rows) else f"{warning}, in some channels" for warning, n in counts.items()]
        bands.append(BandParameters(rows[0].band, rows[0].centre, **numbers, missing=missing, warnings=warnings))
    return _room(bands)


def _room(bands: list[BandParameters]) -> RoomParameters:
    mid = {}
    for name in QUANTITIES:
        values = [getattr(band, name) for band in bands if MID[0] < band.centre < MID[1]]
        mid[name] = _mean(values) if len(values) in MID_COUNTS and None not in values else None
    return RoomParameters(bands, mid)


def _mean(values: Iterable[float | None]) -> float | None:
    values = [value for value in values if value is not None]
    return math.fsum(values) / len(values) if values else None


def _of_channel(h: np.ndarray, samplerate: float, bands: list[Band]) -> list[BandParameters]:
    sounding = np.flatnonzero(h)
    if not sounding.size:
        return [_nothing(band, "silence") for band in bands]
    first = onset(h)
    start = min(first, round(RISE_SECONDS * samplerate))
    # Zeros at the end are padding, and would be taken for a floor without noise.
    h = h[first - start : sounding[-1] + 1].copy()
    h[:start] *= np.sin(0.5 * np.pi * (np.arange(start) + 0.5) / max(start, 1)) ** 2
    responses = band_responses(h, start, samplerate, bands)
    energies = iter(clarity(h, start, [response for response in responses if isinstance(response, BandResponse)]))
    found = []
    for band, response in zip(bands, responses, strict=True):
        if isinstance(response, str):
            found.append(_nothing(band, response))
            continue
        (times, no_times, warnings), (clarities, no_clarities) = reverberation(response), next(energies)
        values, missing = times | clarities, no_times | no_clarities
        found.append(BandParameters(band.name, band.centre, **values, missing=missing, warnings=warnings))
    return found


def _nothing(band: Band, reason: str) -> BandParameters:
    return BandParameters(band.name, band.centre, missing=dict.fromkeys(QUANTITIES, reason))
