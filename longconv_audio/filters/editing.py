"""Surgery on impulse responses: cut, levelled, resampled, put in series, taken apart, mixed and faded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from longconv_audio import routing, shaping
from longconv_audio.duration import Duration
from longconv_audio.errors import MismatchError, OptionError
from longconv_audio.levels import from_db, to_db
from longconv_audio.routing import DEFAULT_ORDER, cascade, parse_order, route

from .bands import octave_bands, split_octaves
from .decay import onset
from .decay_lines import fit_line

Time = Duration | str | float
# Far beyond what anyone means, and well inside single precision.
LARGEST_DB = 300.0


@dataclass(frozen=True)
class Trim:
    """What was left out of an impulse response.

    Args:
        start, end: the first sample kept and the first one behind, in samples of what there was.
        onset: the first sample at the threshold, in the same count; None where none was looked for.
        knee: the sample where the last band's decay has come down to the noise; None where none was looked for, or
            where there is no such noise.
    """

    start: int
    end: int
    onset: int | None
    knee: int | None


def trim(
    h: np.ndarray,
    samplerate: float,
    *,
    threshold_db: float | None = -20.0,
    preroll: Time = 0.0,
    noise: bool = False,
    end_db: float | None = None,
    length: Time | None = None,
) -> tuple[np.ndarray, Trim]:
    """An impulse response from its onset on, to where it ends.

    Args:
        h: (taps,) or (channels, taps); all channels are cut at the same places.
        samplerate: in hertz.
        threshold_db: the onset is the first sample within so much of the peak (-20: ISO 3382-1); None keeps the start.
        preroll: how much to keep ahead of the onset.
        noise: end where the decay meets the noise, in the octave band and channel where that happens last.
        end_db: end behind the last sample within so much of the peak.
        length: keep no more than this; what is not there is not made up.

    Returns:
        the taps, as many axes as h, and what was left out. Of several ends the earliest counts.

    Raises:
        OptionError: silence, thresholds above 0 dB, or nothing would be left.
    """
    h = np.asarray(h, dtype=np.float64)
    rows = np.atleast_2d(h)
    magnitude = np.abs(rows).max(axis=0, initial=0.0)
    if not magnitude.any():
        raise OptionError("trimming an impulse response of silence: expected a sample other than 0")
    if end_db is not None and not end_db < 0:
        raise OptionError(f"an end {end_db} dB below the peak: expected a negative number, such as -60")
    begin = None if threshold_db is None else onset(rows, threshold_db)
    start = 0 if begin is None else max(begin - Duration.of(preroll).samples(samplerate), 0)
    end, knee = rows.shape[-1], None
    if noise:
        knee = _knee(rows, samplerate)
        end = end if knee is None else knee
    if end_db is not None:
        end = min(end, int(np.flatnonzero(magnitude >= from_db(end_db) * magnitude.max())[-1]) + 1)
    if length is not None:
        end = min(end, start + Duration.of(length).samples(samplerate))
    if end <= start:
        raise OptionError(f"trimming to samples {start} to {end}: nothing would be left; give a greater length")
    return h[..., start:end].copy(), Trim(start, end, begin, knee)


def normalize(h: np.ndarray, kind: str = "peak", level_db: float = 0.0) -> tuple[np.ndarray, float]:
    """An impulse response at a level, all channels by the same gain.

    Args:
        h: (taps,) or (channels, taps).
        kind: "peak": the largest tap; "l1": the largest sum of a channel's taps by magnitude, which full scale at the
            input cannot pass; "l2": the root of the largest energy of a channel; "magnitude": the largest gain at any
            frequency.
        level_db: what that becomes.

    Returns:
        the taps, and the gain in dB.
    """
    if kind == "none":
        raise OptionError("normalising to none: expected peak, l1, l2 or magnitude")
    h = np.asarray(h, dtype=np.float64)
    gain = shaping.normalisation_gain(routing.from_array(h), kind) * _gain(level_db)
    return h * gain, to_db(gain)


def resample(h: np.ndarray, rate_in: int, rate_out: int) -> tuple[np.ndarray, int]:
    """An impulse response at another sample rate, its gain kept.

    Args:
        h: (taps,) or (channels, taps).
        rate_in, rate_out: in hertz.

    Returns:
        the taps, with what the interpolation rings ahead of them, and the sample where tap 0 stood: the latency that
        this adds (see `shaping.resample`).
    """
    h = np.asarray(h, dtype=np.float64)
    taps, origin = shaping.resample(np.atleast_2d(h), rate_in, rate_out)
    return (taps[0] if h.ndim == 1 else taps), origin


def combine(filters: Sequence[np.ndarray], order: str | None = None) -> np.ndarray:
    """One filter that does what several do in series.

    Args:
        filters: each (taps,) or (channels, taps), the one nearest the input first. A filter of one channel serves
            every channel; the others have the same number.
        order: None takes channels as parallel. "LL,LR,RL,RR", or another order of these, takes four channels as true
            stereo, each from input to output; filters of two channels then go straight through.

    Returns:
        (channels, taps), one tap shorter than the filters together for each pair.

    Raises:
        MismatchError: the channels do not fit.

    >>> combine([np.array([1.0, 2.0]), np.array([[1.0, 1.0], [0.0, 3.0]])])
    array([[1., 3., 2.],
           [0., 3., 6.]])
    """
    rows = _rows(filters)
    counts = [len(row) for row in rows]
    width = max(counts)
    if order is not None:
        pairs = parse_order(order)
        if 4 not in counts or not {1, 2, 4}.issuperset(counts):
            raise MismatchError(
                f"true-stereo filters in series, of {_listed(counts)} channels: expected 4, with 2 or 1"
            )
        width = 2
    elif not {1, width}.issuperset(counts):
        hint = "; pass --true-stereo if the four lead LL,LR,RL,RR" if {1, 2, 4}.issuperset(counts) else ""
        raise MismatchError(f"filters in series, of {_listed(counts)} channels: expected as many in each, or 1{hint}")
    modes = {1: "mono", 4: "true-stereo"} if order is not None else {1: "mono"}
    matrices = [route(row, width, modes.get(len(row), "parallel"), order or DEFAULT_ORDER) for row in rows]
    found = {(path.input, path.output): path.taps for path in reduce(cascade, matrices).paths}
    if order is None:
        pairs = [(channel, channel) for channel in range(width)]
    return np.stack([found[pair] for pair in pairs])


def split(h: np.ndarray, parts: int, order: str = DEFAULT_ORDER) -> list[np.ndarray]:
    """The channels of a filter, in several.

    Args:
        h: (channels, taps).
        parts: how many. Two of four channels are the pairs of a true-stereo filter: what leads from the left input to
            both outputs, and what leads from the right one. Else the channels are dealt out in their order.
        order: of true stereo, each from input to output.

    Returns:
        `parts` arrays of (channels / parts, taps).

    Raises:
        MismatchError: the channels cannot be dealt out evenly.

    >>> left, right = split(np.arange(4.0)[:, None], 2, "LL,RL,LR,RR")
    >>> left[:, 0], right[:, 0]
    (array([0., 2.]), array([1., 3.]))
    """
    h = np.atleast_2d(np.asarray(h, dtype=np.float64))
    if parts < 1 or len(h) % parts:
        raise MismatchError(f"{len(h)} channels in {parts} parts: expected a number of parts that divides them evenly")
    pairs = parse_order(order)
    if (len(h), parts) == (4, 2):
        h = h[[pairs.index((i, o)) for i in (0, 1) for o in (0, 1)]]
    return list(h.reshape(parts, -1, h.shape[-1]))


def join(filters: Sequence[np.ndarray], order: str = DEFAULT_ORDER) -> np.ndarray:
    """The channels of several filters in one: what `split` takes apart.

    Args:
        filters: each (taps,) or (channels, taps); shorter ones get zeros behind. Two of two channels become true
            stereo: the first is what leads from the left input to both outputs.
        order: of true stereo, each from input to output.

    Returns:
        (all channels, taps).
    """
    rows = _rows(filters)
    pairs = parse_order(order)
    joined = np.zeros((sum(map(len, rows)), max(row.shape[-1] for row in rows)))
    place = 0
    for row in rows:
        joined[place : place + len(row), : row.shape[-1]] = row
        place += len(row)
    if [len(row) for row in rows] == [2, 2]:
        joined = joined[[2 * i + o for i, o in pairs]]
    return joined


def mix(filters: Sequence[np.ndarray], gains_db: Sequence[float], delays: Sequence[int]) -> np.ndarray:
    """The sum of several filters, each with a gain and a delay.

    Args:
        filters: each (taps,) or (channels, taps), all of the same number of channels.
        gains_db: one for each.
        delays: in samples, one for each.

    Returns:
        (channels, taps).

    Raises:
        MismatchError: filters of different numbers of channels.

    >>> mix([np.ones(2), np.ones(2)], [0, 20], [0, 1])
    array([[ 1., 11., 10.]])
    """
    rows = _rows(filters)
    counts = [len(row) for row in rows]
    if len(set(counts)) > 1:
        raise MismatchError(
            f"mixing filters of {_listed(counts)} channels: expected as many in each; longconv ir join a.wav a.wav "
            "makes two channels of one"
        )
    if not len(rows) == len(gains_db) == len(delays):
        raise OptionError(
            f"mixing {len(rows)} filters with {len(gains_db)} gains and {len(delays)} delays: expected one of each"
        )
    if min(delays) < 0:
        raise OptionError(f"a delay of {min(delays)} samples: expected 0 or more")
    mixed = np.zeros((counts[0], max(row.shape[-1] + delay for row, delay in zip(rows, delays, strict=True))))
    for row, gain, delay in zip(rows, gains_db, delays, strict=True):
        mixed[:, delay : delay + row.shape[-1]] += _gain(gain) * row
    return mixed


def fade(h: np.ndarray, fade_in: int = 0, fade_out: int = 0) -> np.ndarray:
    """A filter whose ends are faded with half a cosine.

    Args:
        h: (taps,) or (channels, taps).
        fade_in, fade_out: lengths in samples.
    """
    h = np.asarray(h, dtype=np.float64)
    rows = shaping.fade_out(np.atleast_2d(h), fade_out)
    rows = shaping.fade_out(rows[:, ::-1], fade_in)[:, ::-1]
    return np.ascontiguousarray(rows).reshape(h.shape)


def _knee(rows: np.ndarray, samplerate: float) -> int | None:
    """Where the last octave band of any channel comes down to its noise; None where one of them never does."""
    bands = octave_bands(1, 125, min(8000, samplerate / 3))
    if not bands:
        return None
    start = onset(rows)
    lines = [fit_line(part, samplerate, start) for band in split_octaves(rows, samplerate, bands) for part in band]
    lines = [line for line in lines if line]
    return max((line.knee for line in lines), default=None) if all(line.noise for line in lines) else None


def _rows(filters: Sequence[np.ndarray]) -> list[np.ndarray]:
    if not filters:
        raise OptionError("no filters: expected at least one")
    rows = [np.atleast_2d(np.asarray(h, dtype=np.float64)) for h in filters]
    for row in rows:
        if row.ndim != 2 or row.size == 0:
            raise OptionError(f"a filter of shape {row.shape}: expected (taps,) or (channels, taps)")
    return rows


def _gain(level_db: float) -> float:
    if not abs(level_db) <= LARGEST_DB:
        raise OptionError(f"a level of {level_db} dB: expected {-LARGEST_DB:g} to {LARGEST_DB:g}")
    return from_db(level_db)


def _listed(counts: list[int]) -> str:
    return ", ".join(map(str, counts[:-1])) + f" and {counts[-1]}" if len(counts) > 1 else str(counts[0])
