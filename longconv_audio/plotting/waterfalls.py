"""The cumulative spectral decay: what is left of a response from one moment after another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from longconv_audio.filters.decay import energy_decay_curve
from longconv_audio.filters.spectra import average_octaves

from .reduction import log_columns
from .spectrograms import SILENCE_DB

RANGE_DB = 40.0
# More than this is no impulse response, and has nothing to show in slices.
LONGEST_SECONDS = 5.0


@dataclass(frozen=True)
class Waterfall:
    """A cumulative spectral decay.

    Args:
        times: (slices,), in seconds, from the largest tap.
        frequencies: (columns,), in hertz.
        levels: (slices, columns), in dB of the largest at time 0, SILENCE_DB at the least.
    """

    times: np.ndarray
    frequencies: np.ndarray
    levels: np.ndarray


def waterfall(
    h: np.ndarray,
    samplerate: int,
    edges: np.ndarray,
    smoothing: float | None = None,
    span: float | None = None,
    slices: int = 36,
) -> Waterfall:
    """Spectra of what comes after one moment after another.

    Each begins with half a Hann window as long as from one slice to the next, for a sudden start would smear the
    spectrum (J. D. Bunton, R. H. Small, "Cumulative Spectra, Tone Bursts, and Apodization", JAES 30(6), 1982).

    Args:
        h: (channels, taps), whose powers are averaged.
        samplerate: in hertz.
        edges: (columns + 1,), of the columns of frequency, in hertz.
        smoothing: over 1/smoothing octave, of powers; None does none.
        span: time of the last slice in seconds, at least a sample a slice; None is its `decay_span`.
        slices: how many, at least 2.
    """
    origin = int(np.abs(h).max(axis=0).argmax())
    span = max(decay_span(h, samplerate) if span is None else span, (slices - 1) / samplerate)
    starts = np.round(np.linspace(0, span * samplerate, slices)).astype(int)
    rise = starts[1]
    # As long again as the slices reach, and as long a fade: what comes still later is below the last of them by
    # RANGE_DB, but a sudden end of it would be seen at all frequencies.
    reach = starts[-1]
    piece = np.pad(h[:, max(origin - rise, 0) : origin + 3 * reach], ((0, 0), (max(rise - origin, 0), 0)))
    if origin + 3 * reach < h.shape[-1]:
        piece[:, -reach:] *= 0.5 + 0.5 * np.cos(np.pi * (np.arange(reach) + 0.5) / reach)
    slope = 0.5 - 0.5 * np.cos(np.pi * (np.arange(rise) + 0.5) / rise)
    points = scipy.fft.next_fast_len(max(piece.shape[-1], 1 << 13), real=True)
    frequencies = scipy.fft.rfftfreq(points, 1 / samplerate)
    levels = []
    for start in starts:
        rest = piece[:, start:].copy()
        rest[:, :rise] *= slope[: rest.shape[-1]]
        power = np.mean(np.abs(scipy.fft.rfft(rest, points)) ** 2, axis=0)
        if smoothing is not None:
            power = average_octaves(power, smoothing)
        levels.append(10 * np.log10(np.maximum(log_columns(frequencies, power, edges)[1], 1e-300)))
    levels = np.array(levels)
    levels = np.maximum(levels - levels[0].max(), SILENCE_DB) if h.any() else np.full(levels.shape, SILENCE_DB)
    return Waterfall(starts / samplerate, np.sqrt(edges[:-1] * edges[1:]), levels)


def decay_span(h: np.ndarray, samplerate: int) -> float:
    """Seconds from the largest tap in which the energy to come falls by RANGE_DB; a millisecond at the least.

    Args:
        h: (channels, taps).
        samplerate: in hertz.
    """
    origin = int(np.abs(h).max(axis=0).argmax())
    curve = energy_decay_curve(h[:, origin : origin + int(LONGEST_SECONDS * samplerate)])
    return max(int(np.count_nonzero(curve > -RANGE_DB)) / samplerate, 1e-3)
