"""What was played in a measurement, and when."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from longconv_audio.errors import OptionError, UnreadableError

# A file's band leaves out this part of its energy at either end: a thousandth of a sweep's octaves, of noise's hertz.
OUTSIDE_BAND = 1e-3

# How far outside a file's band the regularisation has risen, in octaves.
EDGE_OCTAVES = 1 / 6


@dataclass(frozen=True)
class Excitation:
    """One pass of a signal, and the schedule by which it was played.

    Args:
        signal: one pass without the silence around it, (samples,), float64, at the level it was played.
        samplerate: in hertz.
        band: lowest and highest frequency, in hertz, at which a response can be had exactly.
        edges: beyond them, in hertz, there is nothing of it; the band lies within.
        first: the sample of what was played at which the first pass begins.
        period: samples from the start of one pass to the next.
        repeats: passes of each channel.
        channels: that played in turn, each all its repeats.
        rate_seconds: of an exponential sweep, the time in which its frequency rises e-fold; None for other signals,
            whose harmonics cannot be told apart.
    """

    signal: np.ndarray
    samplerate: int
    band: tuple[float, float]
    edges: tuple[float, float]
    first: int = 0
    period: int = 0
    repeats: int = 1
    channels: int = 1
    rate_seconds: float | None = None

    @property
    def starts(self) -> np.ndarray:
        """Where each pass of each channel begins in what was played: (channels, repeats), in samples."""
        passes = np.arange(self.channels * self.repeats) * self.period + self.first
        return passes.reshape(self.channels, self.repeats)

    @property
    def passes(self) -> int:
        """All passes of all channels."""
        return self.channels * self.repeats


def excitation_of(
    samples: np.ndarray,
    samplerate: int,
    *,
    start: float | None = None,
    end: float | None = None,
    repeats: int = 1,
    name: str = "the excitation",
) -> Excitation:
    """An excitation from its samples, where nothing else is known of it.

    Args:
        samples: (samples,) or (channels, samples), all that have sound alike: one pass.
        samplerate: in hertz.
        start, end: its lowest and highest frequency in hertz; None takes them from its spectrum. Where both are given
            and it is an exponential sweep from the one to the other, its harmonics can be told apart.
        repeats: how often all of it was played in a row.
        name: for messages.

    Raises:
        UnreadableError: it is silent, or sounds in several channels.
        OptionError: frequencies or repeats that make no sense.
    """
    samples = np.atleast_2d(np.asarray(samples, dtype=np.float64))
    sounding = np.flatnonzero(np.abs(samples).max(axis=1, initial=0.0))
    if len(sounding) and (samples[sounding] == samples[sounding[0]]).all():
        sounding = sounding[:1]
    if len(sounding) != 1:
        found = f"{len(sounding)} channels that sound, and differ" if len(sounding) else "nothing but silence"
        raise UnreadableError(
            f"{name}: {found}: expected one pass of the excitation in one channel (a sweep by longconv may have more: "
            "its comment says what it is, unless --start, --end or --repeats is given)"
        )
    x = samples[sounding[0]]
    if not 1 <= repeats <= 1000:
        raise OptionError(f"--repeats {repeats}: expected 1 to 1000")
    at = np.flatnonzero(x)
    first, signal = int(at[0]), x[at[0] : at[-1] + 1]
    low, high = _band(signal, samplerate)
    band = (low if start is None else start, high if end is None else end)
    if not 0 < band[0] < band[1] <= samplerate / 2:
        raise OptionError(
            f"{name}: a band from {band[0]:g} to {band[1]:g} Hz: expected --start below --end, and that at most half "
            f"the sample rate ({samplerate / 2:g} Hz)"
        )
    known = start is not None and end is not None and _is_exponential(signal, samplerate, band)
    rate = len(signal) / samplerate / math.log(band[1] / band[0]) if known else None
    edges = (band[0] * 2**-EDGE_OCTAVES, band[1] * 2**EDGE_OCTAVES)
    return Excitation(signal, samplerate, band, edges, first, len(x), repeats, 1, rate)


def _band(signal: np.ndarray, samplerate: int) -> tuple[float, float]:
    """Where the spectrum has enough to divide by."""
    size = max(len(signal), 256)
    frequencies = np.fft.rfftfreq(size, 1 / samplerate)
    energy = np.cumsum(np.abs(np.fft.rfft(signal, size)) ** 2)
    low, high = np.searchsorted(energy, energy[-1] * np.array([OUTSIDE_BAND, 1 - OUTSIDE_BAND]))
    low = max(int(low), 1)
    return float(frequencies[low]), float(frequencies[max(int(high), low + 1)])


def _is_exponential(signal: np.ndarray, samplerate: int, band: tuple[float, float]) -> bool:
    """Whether a sweep passes a third and two thirds of the way, in octaves, when an exponential one does."""
    spectrum = np.fft.rfft(signal)
    frequencies = np.fft.rfftfreq(len(signal), 1 / samplerate)
    for part in (1 / 3, 2 / 3):
        middle = band[0] * (band[1] / band[0]) ** part
        near = (frequencies > 0.9 * middle) & (frequencies < 1.1 * middle)
        power = np.fft.irfft(np.where(near, spectrum, 0), len(signal)) ** 2
        if not power.any():
            return False
        when = np.sum(power * np.arange(len(signal))) / np.sum(power) / len(signal)
        if abs(when - part) > 0.03:
            return False
    return True
