"""The tails of impulse responses: continued below their noise, and made longer or shorter by band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from longconv_audio.errors import OptionError

from .bands import Band, octave_bands
from .continuation import continuations, measure_bands, nearest
from .decay import energy_decay_curve, onset
from .decay_lines import MOST_EXPONENT

LOWEST_BAND, HIGHEST_BAND = 63.0, 16_000.0
# Of the sample rate: a band must have its upper edge below half of it.
HIGHEST_SHARE = 0.35
LONGEST_SECONDS = 120.0
# What lies deeper in a response without noise is replaced, too, before its decay is reshaped: the bands' filters ring
# there, and a longer decay would raise that.
DEEPEST_DB = 70.0
# Of the energy decay curve (ISO 3382-1).
T30_DB = (-5.0, -35.0)
ROUNDS = 4


@dataclass(frozen=True)
class BandTail:
    """What was done in one octave band.

    Args:
        band: its nominal middle, "500", "1k".
        t60: the reverberation time that was found, in seconds, of all channels together; None where there was no decay
            to be told from noise.
        new_t60: what it became.
        knee: in seconds from the response's first sample: where the decay met the noise, in the channel where that was
            first; None where it never did.
    """

    band: str
    t60: float | None
    new_t60: float | None
    knee: float | None


def extend(
    h: np.ndarray, samplerate: float, *, level_db: float = -100.0, seconds: float | None = None, seed: int = 0
) -> tuple[np.ndarray, list[BandTail]]:
    """An impulse response whose decay goes on below its noise.

    In each octave band the noise, from where it takes over, gives way to Gaussian noise that decays on as the band did
    and has the spectrum, the levels and the correlation between channels that the band had before. What lies earlier
    than the first of these places stays bit for bit what it is, and a response that ends in no noise and has come down
    to `level_db` stays as a whole.

    Args:
        h: (taps,) or (channels, taps).
        samplerate: in hertz.
        level_db: how far down each band goes on, against what the decays of all bands add up to at their beginning.
        seconds: length of the result; None goes on until the last band has come down.
        seed: of the noise.

    Returns:
        the response, as many axes as h, and what was found in each band.

    Raises:
        OptionError: silence; no band with a decay above its noise; one so slow that the result would be longer than two
            minutes; options that make no sense.
    """
    h, rows, start = _checked(h, level_db)
    bands = _bands(samplerate)
    parts, lines = measure_bands(rows, samplerate, bands, start)
    least = _least(lines, level_db)
    if seconds is not None:
        length = _samples(seconds, samplerate)
    else:
        length = _length(lines, 0.0, least, samplerate, rows.shape[-1])
        if all(line.done(least) or not line.noise for row in lines for line in row if line):
            length = max(length, rows.shape[-1])
    extended = np.zeros((len(rows), length))
    extended[:, : rows.shape[-1]] = rows[:, :length]
    for change in continuations(rows, parts, lines, samplerate, length, bands, least, seed):
        extended += change
    rates = [np.mean([line.rate for line in row if line]) if any(row) else None for row in lines]
    return (extended[0] if h.ndim == 1 else extended), _report(bands, lines, rates, rates, samplerate)


def reshape_decay(
    h: np.ndarray,
    samplerate: float,
    *,
    t60: float | Mapping[str, float] | None = None,
    scale: float | None = None,
    level_db: float = -100.0,
    seed: int = 0,
) -> tuple[np.ndarray, list[BandTail]]:
    """An impulse response with other reverberation times, by octave band.

    From the onset on, each band is multiplied by an exponential that brings its reverberation time, found from -5 to
    -35 dB as T30 is, to what is wanted, for all channels alike. Before that, its noise is replaced as by `extend`, and
    so is what lies more than 70 dB below its beginning: a longer decay would raise both. The bands pass into each other
    over a third of an octave about their edges, where decays of both are heard.

    Args:
        h: (taps,) or (channels, taps).
        samplerate: in hertz.
        t60: in seconds, one for all bands and channels, or by band: {"500": 1.2, "1k": 1.0}; bands without one stay.
        scale: in place of t60, what every reverberation time is multiplied by.
        level_db: how far down each band goes, against what the decays of all bands add up to at their beginning.
        seed: of the noise.

    Returns:
        the response, as many axes as h, and what was found and made in each band.

    Raises:
        OptionError: as for `extend`; neither or both of t60 and scale; a band that there is not, or in which there is
            no decay to be reshaped.
    """
    h, rows, start = _checked(h, level_db)
    bands = _bands(samplerate)
    parts, lines = measure_bands(rows, samplerate, bands, start, DEEPEST_DB)
    changes = continuations(rows, parts, lines, samplerate, rows.shape[-1], bands, 0.0, seed)
    found = [_t30_rate(part + change, start) for part, change in zip(parts, changes, strict=True)]
    found = [rate if any(row) else None for rate, row in zip(found, lines, strict=True)]
    if not any(found):
        raise OptionError("the impulse response has no decay of 35 dB in any octave band that could be reshaped")
    wanted = _wanted(found, bands, samplerate, t60, scale)
    # What the exponential adds, in nepers of power a sample; bands of mere noise go with their nearest neighbour.
    added = [0.0 if rate is None else new - rate for rate, new in zip(found, wanted, strict=True)]
    added = [
        more if rate else added[nearest(found, i)] for i, (rate, more) in enumerate(zip(found, added, strict=True))
    ]

    length = _length(lines, added, _least(lines, level_db), samplerate)
    reshaped = np.zeros((len(rows), length))
    since = np.maximum(np.arange(length) - start, 0)
    changes = continuations(rows, parts, lines, samplerate, length, bands, 0.0, seed)
    for i, (part, change) in enumerate(zip(parts, changes, strict=True)):
        change[:, : rows.shape[-1]] += part[:, :length]
        envelope = np.exp(np.minimum(-0.5 * added[i] * since, MOST_EXPONENT))
        # T30 of the result is that of another stretch of what there was, which need not decay at the same rate.
        for _ in range(ROUNDS if added[i] and found[i] else 0):
            added[i] += wanted[i] - (_t30_rate(change * envelope, start) or wanted[i])
            envelope = np.exp(np.minimum(-0.5 * added[i] * since, MOST_EXPONENT))
        reshaped += change * envelope
    return (reshaped[0] if h.ndim == 1 else reshaped), _report(bands, lines, found, wanted, samplerate)


def _t30_rate(part: np.ndarray, start: int) -> float | None:
    """Nepers of power a sample, from -5 to -35 dB of all channels' energy decay curve."""
    curve = energy_decay_curve(part[:, start:])
    first, last = (int(np.argmax(curve <= level)) for level in T30_DB)
    if last - first < 2:
        return None
    return -np.polyfit(np.arange(first, last), curve[first:last], 1)[0] * np.log(10) / 10


def _least(lines: list, level_db: float) -> float:
    """The mean square that counts as the end."""
    whole = max(sum(row[channel].level for row in lines if row[channel]) for channel in range(len(lines[0])))
    return whole * 10 ** (level_db / 10)


def _length(lines: list, added: float | list[float], least: float, samplerate: float, taps: float = np.inf) -> int:
    """Of the result: where the last band has come down to its least power, or has done so within its `taps`."""
    ends = [
        min(
            line.start + np.log(max(line.level / least, 1.0)) / max(line.rate + more, 1e-12),
            taps if line.done(least) else np.inf,
        )
        for row, more in zip(lines, np.broadcast_to(added, len(lines)), strict=True)
        for line in row
        if line
    ]
    if max(ends) > LONGEST_SECONDS * samplerate:
        raise OptionError(
            f"the tail would be longer than {LONGEST_SECONDS:g} s before the slowest band has died away: ask for a "
            "shorter decay or a higher level"
        )
    return int(np.ceil(max(ends)))


def _samples(seconds: float, samplerate: float) -> int:
    if not 0 < seconds <= LONGEST_SECONDS:
        raise OptionError(f"a length of {seconds} s: expected more than 0, and {LONGEST_SECONDS:g} at the most")
    return max(round(seconds * samplerate), 1)


def _wanted(found: list, bands: list[Band], samplerate: float, t60, scale: float | None) -> list[float | None]:
    """The rates that bands are to have, None where nothing was found."""
    if (t60 is None) == (scale is None):
        raise OptionError("reshaping a decay: expected either reverberation times or a scale")
    if scale is not None:
        if not (np.isfinite(scale) and scale > 0):
            raise OptionError(f"a scale of {scale}: expected a number above 0, such as 0.8")
        return [rate and rate / scale for rate in found]
    names = [band.name for band in bands]
    times = t60 if isinstance(t60, Mapping) else {name: t60 for name, rate in zip(names, found, strict=True) if rate}
    for name, seconds in times.items():
        if name not in names:
            raise OptionError(f"band {name}: expected octaves, {', '.join(names)}")
        if not (np.isfinite(seconds) and seconds > 0):
            raise OptionError(f"a reverberation time of {seconds} s at {name} Hz: expected more than 0")
        if not found[names.index(name)]:
            raise OptionError(f"band {name}: has no decay that stands out of its noise and could be reshaped")
    return [
        _per_sample(times[name], samplerate) if name in times else rate for name, rate in zip(names, found, strict=True)
    ]


def _per_sample(t60: float, samplerate: float) -> float:
    """A reverberation time as nepers of power a sample, and the other way round."""
    return 6 * np.log(10) / (t60 * samplerate)


def _checked(h: np.ndarray, level_db: float) -> tuple[np.ndarray, np.ndarray, int]:
    if not -300 <= level_db < 0:
        raise OptionError(f"a tail down to {level_db} dB: expected -300 to below 0, such as -100")
    h = np.asarray(h, dtype=np.float64)
    rows = np.atleast_2d(h)
    return h, rows, onset(rows)


def _bands(samplerate: float) -> list[Band]:
    bands = octave_bands(1, LOWEST_BAND, min(HIGHEST_BAND, HIGHEST_SHARE * samplerate))
    if not bands:
        raise OptionError(f"sample rate {samplerate} Hz: too low for an octave band from {LOWEST_BAND:g} Hz")
    return bands


def _report(bands: list[Band], lines: list, found: list, made: list, samplerate: float) -> list[BandTail]:
    return [
        BandTail(
            band=band.name,
            t60=rate and float(_per_sample(rate, samplerate)),
            new_t60=new and float(_per_sample(new, samplerate)),
            knee=min((line.knee / samplerate for line in row if line and line.noise), default=None),
        )
        for band, row, rate, new in zip(bands, lines, found, made, strict=True)
    ]
