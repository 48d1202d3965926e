"""Octave bands of an impulse response whose decays go on below its noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.fft

from longconv_audio.errors import OptionError

from .bands import Band, split_octaves
from .decay_lines import Line, fit_line
from .spectra import smooth_octaves

# The measured response gives way to its continuation from so far above the noise down to where it meets it.
CROSSFADE_DB = 15.0
# Of the spectrum that the continuation has inside a band.
SHAPE_FRACTION = 3.0
# Of neighbouring bands: with a wider one, a band would end with the decay of its slower neighbour.
OVERLAP = 1 / 3


def measure_bands(
    rows: np.ndarray, samplerate: float, bands: list[Band], start: int, deepest_db: float | None = None
) -> tuple[np.ndarray, list[list[Line | None]]]:
    """The bands, (bands, channels, taps), and the line of each channel in each."""
    parts = split_octaves(rows, samplerate, bands, OVERLAP)
    lines = [[fit_line(h, samplerate, start, deepest_db) for h in part] for part in parts]
    if not any(line for row in lines for line in row):
        raise OptionError(
            "the impulse response has no decay that stands out of its noise by 10 dB in any octave band: measure again"
        )
    return parts, lines


def continuations(
    rows: np.ndarray,
    parts: np.ndarray,
    lines: list[list[Line | None]],
    samplerate: float,
    length: int,
    bands: list[Band],
    least: float,
    seed: int,
) -> Iterator[np.ndarray]:
    """What is added to each band, (channels, length), to put its continuation in place of its noise.

    Bands that come down to the mean square `least` by themselves stay.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    white = rng.standard_normal((length, len(rows))).T
    shaped = split_octaves(_shaped(white, rows, lines, samplerate), samplerate, bands, OVERLAP)
    samples = np.arange(length)
    for i, (part, row) in enumerate(zip(parts, lines, strict=True)):
        noise = _correlated(shaped[i], part, row)
        change = np.zeros((len(rows), length))
        for channel, line in enumerate(row):
            band = part[channel, :length]
            if line is None:
                change[channel, : len(band)] = band * (_silencing(lines, i, channel, samples[: len(band)]) - 1)
                continue
            if line.done(least):
                continue
            first = line.above_noise(CROSSFADE_DB)
            # The share of its power that the measured response keeps.
            place = np.clip((samples - first) / max(line.knee - first, 1), 0, 1)
            kept = np.cos(0.5 * np.pi * place) ** 2
            kept[len(band) :] = 0
            power = line.power(samples)
            missing = np.where(samples > first, np.maximum(power - kept * (power + line.noise), 0), 0)
            change[channel] = np.sqrt(missing) * noise[channel]
            change[channel, : len(band)] += band * (np.sqrt(kept[: len(band)]) - 1)
        yield change


def _shaped(white: np.ndarray, rows: np.ndarray, lines: list, samplerate: float) -> np.ndarray:
    """Noise with the spectrum of the response's second half above the noise."""
    known = [line for row in lines for line in row if line]
    start, end = min(line.start for line in known), min(line.above_noise(CROSSFADE_DB) for line in known)
    late = rows[:, (start + end) // 2 : max(end, start + 2)]
    size = scipy.fft.next_fast_len(white.shape[-1], real=True)
    frequencies = scipy.fft.rfftfreq(size, 1 / samplerate)
    coarse = scipy.fft.next_fast_len(late.shape[-1], real=True)
    places = scipy.fft.rfftfreq(coarse, 1 / samplerate)
    power = np.mean(np.abs(scipy.fft.rfft(late, coarse)) ** 2, axis=0)
    magnitude = np.interp(frequencies, places, smooth_octaves(places, np.sqrt(power), SHAPE_FRACTION))
    return scipy.fft.irfft(scipy.fft.rfft(white, size) * magnitude, size)[:, : white.shape[-1]]


def _correlated(noise: np.ndarray, part: np.ndarray, row: list[Line | None]) -> np.ndarray:
    """Noise of mean square 1 with the correlation between channels that a band has above its noise."""
    rms = np.sqrt(np.mean(noise**2, axis=-1, keepdims=True))
    noise = noise / np.where(rms > 0, rms, 1)
    known = [line for line in row if line]
    if len(row) == 1 or len(known) < len(row):
        return noise
    start, end = max(line.start for line in known), min(line.above_noise(CROSSFADE_DB) for line in known)
    samples = np.arange(start, max(end, start + 2))
    # The decay taken out, so that all of it counts the same.
    flat = np.stack([h[samples] * line.rise(samples) for h, line in zip(part, row, strict=True)])
    covariance = flat @ flat.T
    size = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.where(size > 0, np.outer(size, size), 1))
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T @ noise


def _silencing(lines: list, band: int, channel: int, samples: np.ndarray) -> np.ndarray:
    """What takes the noise out of a band without a decay: that of its nearest neighbour, from that one's knee on."""
    row = lines[nearest([any(row) for row in lines], band)]
    line = row[channel] or next(line for line in row if line)
    return np.exp(-0.5 * line.rate * np.maximum(samples - line.above_noise(CROSSFADE_DB), 0))


def nearest(known: list, band: int) -> int:
    """The nearest band of which something is known."""
    return min((abs(i - band), i) for i, something in enumerate(known) if something)[1]
