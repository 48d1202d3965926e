"""What is done to one impulse response: cut, levelled, resampled, faded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from longconv_audio import routing, shaping
from longconv_audio.duration import Duration
from longconv_audio.errors import OptionError
from longconv_audio.levels import from_db, to_db

from .bands import octave_bands, split_octaves
from .decay import onset
from .decay_lines import fit_line
from .gains import gain_of

Time = Duration | str | float


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
    gain = shaping.normalisation_gain(routing.from_array(h), kind) * gain_of(level_db)
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
