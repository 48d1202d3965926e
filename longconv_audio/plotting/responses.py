"""Magnitude, phase and group delay over frequency, as they are drawn."""

from __future__ import annotations

import numpy as np
import scipy.fft

from longconv_audio.errors import OptionError
from longconv_audio.filters.spectra import average_octaves, frequency_response

from .spectrograms import SILENCE_DB

# Fewer points would show a short filter as a polygon.
FEWEST_POINTS = 1 << 16
# What is longer has its power added up over frames: at 48 kHz they tell 0.7 Hz apart, and no picture shows more.
LONGEST, FRAME = 1 << 21, 1 << 17
# Below the largest magnitude by more than this (-200 dB) there is only rounding, and its phase says nothing.
FLOOR = 1e-10
# Phase and group delay are of filters, and take some 140 bytes a sample.
MOST_SAMPLES = 1 << 22


def magnitude_levels(h: np.ndarray, samplerate: int, smoothing: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The magnitude response in dB.

    Args:
        h: (channels, taps).
        samplerate: in hertz.
        smoothing: over 1/smoothing octave, of powers; None does none.

    Returns:
        frequencies (bins,) in hertz, from 0 to half the sample rate; levels (channels, bins), SILENCE_DB at the
        least.
    """
    frequencies, power = _power(h, samplerate)
    if smoothing is not None:
        power = average_octaves(power, smoothing)
    return frequencies, 10 * np.log10(np.maximum(power, 10 ** (SILENCE_DB / 10)))


def phases(h: np.ndarray, samplerate: int, smoothing: float | None = None) -> tuple[np.ndarray, np.ndarray, int]:
    """The phase response, unwrapped, without the delay of the channel whose largest tap comes first.

    The same delay is taken out of all channels, so that what one is late behind the other stays to be seen.

    Args:
        h: (channels, taps).
        samplerate: in hertz.
        smoothing: of the complex response over 1/smoothing octave, once the delay is out; None does none.

    Returns:
        frequencies (bins,) in hertz; radians (channels, bins), NaN where there is no response; the delay in samples.

    Raises:
        OptionError: more than MOST_SAMPLES taps.

    Complex smoothing: P. D. Hatziantoniou, J. N. Mourjopoulos, "Generalized Fractional-Octave Smoothing of Audio and
    Acoustic Responses", JAES 48(4), 2000.
    """
    _check_length(h, "phase")
    frequencies, response = frequency_response(h, samplerate, _points(h))
    delay = int(np.abs(h).argmax(axis=-1).min())
    response = response * np.exp(2j * np.pi * frequencies * (delay / samplerate))
    if smoothing is not None:
        response = average_octaves(response, smoothing)
    magnitude = np.abs(response)
    there = magnitude > FLOOR * magnitude.max(axis=-1, keepdims=True)
    # What is not there must not take part in the unwrapping, where one NaN makes all that follow NaN.
    radians = np.full(magnitude.shape, np.nan)
    for row, angle, found in zip(radians, np.angle(response), there, strict=True):
        row[found] = np.unwrap(angle[found])
    return frequencies, radians, delay


def wrapped(radians: np.ndarray) -> np.ndarray:
    """Angles from minus to plus pi."""
    return radians - 2 * np.pi * np.round(radians / (2 * np.pi))


def group_delays(h: np.ndarray, samplerate: int, smoothing: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The group delay, counted from the first tap.

    Re(FFT(n h) / FFT(h)) needs no unwrapped phase (J. O. Smith, "Introduction to Digital Filters", on the numerical
    computation of group delay). Smoothed, it is the mean weighted by the power, in which what is not heard counts
    for nothing.

    Args:
        h: (channels, taps).
        samplerate: in hertz.
        smoothing: over 1/smoothing octave; None does none.

    Returns:
        frequencies (bins,) in hertz; seconds (channels, bins), NaN where there is no response.

    Raises:
        OptionError: more than MOST_SAMPLES taps.
    """
    _check_length(h, "group delay")
    points = _points(h)
    frequencies, response = frequency_response(h, samplerate, points)
    ramp = scipy.fft.rfft(h * np.arange(h.shape[-1]), points)
    power, moment = np.abs(response) ** 2, (ramp * response.conj()).real
    if smoothing is not None:
        power, moment = average_octaves(power, smoothing), average_octaves(moment, smoothing)
    there = power > FLOOR**2 * power.max(axis=-1, keepdims=True)
    seconds = np.full(power.shape, np.nan)
    np.divide(moment, power * samplerate, out=seconds, where=there)
    return frequencies, seconds


def _check_length(h: np.ndarray, what: str) -> None:
    if h.shape[-1] > MOST_SAMPLES:
        raise OptionError(
            f"{what} of {h.shape[-1]} samples: expected an impulse response of {MOST_SAMPLES} at the most: "
            "draw a part of it with --start and --seconds"
        )


def _points(h: np.ndarray) -> int:
    """As many as the power's smoothing needs: with fewer than twice the taps, it has less than the energy's detail."""
    return scipy.fft.next_fast_len(max(2 * h.shape[-1], FEWEST_POINTS), real=True)


def _power(h: np.ndarray, samplerate: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (bins,) and the squared magnitude (channels, bins).

    Over Hann frames that overlap by half, whose squares add up to 3/4: the sum of their powers is the power of the
    whole, but for what lies between frames.
    """
    if h.shape[-1] <= LONGEST:
        frequencies, response = frequency_response(h, samplerate, _points(h))
        return frequencies, np.abs(response) ** 2
    shape = np.hanning(FRAME + 1)[:-1] / np.sqrt(0.75)
    power = np.zeros((len(h), FRAME // 2 + 1))
    for start in range(-FRAME // 2, h.shape[-1], FRAME // 2):
        piece = h[:, max(start, 0) : start + FRAME]
        before = max(-start, 0)
        power += np.abs(scipy.fft.rfft(piece * shape[before : before + piece.shape[-1]], FRAME)) ** 2
    return scipy.fft.rfftfreq(FRAME, 1 / samplerate), power
