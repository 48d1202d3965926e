"""What a response has beyond its minimum phase, and filters that take it back."""

from __future__ import annotations

import numpy as np
import scipy.fft

from .phase import minimum_phase_of_magnitude
from .prediction import pre_ringing_power
from .spectra import mean_over_octaves

# Where the windowed excess phase has lost more of its magnitude than this, 60 dB, that stays lost.
LEAST_MAGNITUDE = 1e-3
# The part of a window before time zero over which it falls to 0.
SLOPE = 0.25
# Steps of bisection: lengths of window to a thousandth of the taps.
STEPS = 10


def excess_phase(response: np.ndarray, smoothing: float | None, common: bool) -> np.ndarray:
    """The all-pass part of responses, its arrival at time zero, polarity left out.

    Args:
        response: (channels, bins), at evenly spaced frequencies from 0 Hz to half the sample rate.
        smoothing: 1/smoothing octave over which the complex all-pass is averaged: a window in time about the arrival
            that is shorter, the higher the frequency. None for none.
        common: one mean of all channels instead of one each.

    Returns:
        complex, (channels or 1, bins), of magnitude 1 or, where smoothed, less.
    """
    size = 2 * (response.shape[-1] - 1)
    bins = np.arange(response.shape[-1])
    lowest = scipy.fft.rfft(minimum_phase_of_magnitude(np.abs(response), size), size)
    both = response * lowest.conj()
    magnitude = np.abs(both)
    # At a zero of the response there is no phase to be known: none is taken for excess.
    allpass = np.where(magnitude > 0, both / np.where(magnitude > 0, magnitude, 1.0), 1.0)
    pulses = scipy.fft.irfft(allpass, size)
    arrivals = np.abs(pulses).argmax(axis=-1)
    for row, pulse, arrival in zip(allpass, pulses, arrivals, strict=True):
        row *= np.sign(pulse[arrival]) * np.exp(2j * np.pi * (bins * arrival % size) / size)
    if smoothing:
        allpass = mean_over_octaves(allpass, smoothing)
    return allpass.mean(axis=0, keepdims=True) if common else allpass


def mixed_phase(excess: np.ndarray, gain: np.ndarray, taps: int, most: float, before: int) -> tuple[np.ndarray, int]:
    """Filters with a given gain whose phase takes back an excess phase and the minimum phase of the gain's inverse.

    The excess phase is taken back by its time reversal, of which the window keeps so much ahead of the latency that
    the pre-ringing stays below its limit. What the window does to the magnitude is made good in minimum phase.

    Args:
        excess: (channels, bins), complex.
        gain: (channels, bins), linear.
        taps: of the result.
        most: the share of energy more than `before` samples ahead of the latency.
        before: in samples.

    Returns:
        (channels, taps), and the latency in samples, the same for all channels.
    """
    size = 2 * (gain.shape[-1] - 1)
    reversal = scipy.fft.irfft(excess.conj(), size)

    def made(latency: int) -> np.ndarray:
        windowed = reversal * _window(size, latency)
        spectrum = scipy.fft.rfft(windowed, size)
        remainder = gain / np.maximum(np.abs(spectrum), LEAST_MAGNITUDE)
        spectrum *= scipy.fft.rfft(minimum_phase_of_magnitude(remainder, size), size)
        return np.roll(scipy.fft.irfft(spectrum, size), latency, axis=-1)[..., :taps]

    def allowed(filters: np.ndarray, latency: int) -> bool:
        return pre_ringing_power(filters, latency, before) <= most

    long, short = taps // 2, min(before, taps // 2)
    best = made(long)
    if allowed(best, long):
        return best, long
    best = made(short)
    for _ in range(STEPS):
        middle = (short + long) // 2
        if middle in (short, long):
            break
        tried = made(middle)
        if allowed(tried, middle):
            best, short = tried, middle
        else:
            long = middle
    return best, short


def _window(size: int, ahead: int) -> np.ndarray:
    """1 from time zero on, and `ahead` samples before it, the first of them under half a cosine; time is circular."""
    window = np.zeros(size)
    window[: size // 2] = 1
    slope = int(SLOPE * ahead)
    part = np.ones(ahead)
    part[:slope] = np.sin(0.5 * np.pi * np.arange(1, slope + 1) / (slope + 1)) ** 2
    if ahead:
        window[-ahead:] = part
    return window
