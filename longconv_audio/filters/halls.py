"""Statistical halls: noise that decays by band as it is asked to."""

from __future__ import annotations

import math

import numpy as np

from longconv_audio.errors import OptionError

from .band_values import BandValues, check_values, values_at
from .bands import octave_bands, split_octaves

SEED = 1983
MOST_CHANNELS = 1024
LONGEST = 60.0
# Of the longest band's decay, what the result holds where no length is given.
DECAY_DB = 75.0
# Seconds over which the level of a band's noise is evened out.
_WINDOW = 0.2


def statistical_hall(
    t60: BandValues,
    samplerate: float,
    seconds: float | None = None,
    channels: int = 2,
    *,
    predelay: float = 0.0,
    seed: int = SEED,
) -> np.ndarray:
    """The diffuse sound of a hall: Gaussian noise, independent between channels, whose bands decay exponentially.

    The noise is white at first, each channel's taps have an energy of 1: white noise leaves the hall at the level it
    came in. There is no direct sound: mix it with the dry signal. Of chance, the slow part is taken out: a band of
    noise is a decibel or two louder now than then, which would bend its decay.

    Args:
        t60: reverberation time in seconds: one number, or numbers at frequencies in hertz, with straight lines over
            log frequency between them. It is carried out by third octaves.
        samplerate: in hertz.
        seconds: length of the decay; None goes on until the slowest band has fallen by 75 dB.
        channels: of the result.
        predelay: silence ahead of the decay in seconds.
        seed: of the noise: the same numbers give the same hall.

    Returns:
        (channels, taps).

    Raises:
        OptionError: what is out of its range.

    Source: J. A. Moorer, "About this reverberation business", Computer Music Journal 3(2), 1979.
    """
    check_values(t60, "--t60", 0.01, 40.0, "0.01 to 40 seconds")
    if not 1 <= channels <= MOST_CHANNELS:
        raise OptionError(f"--channels {channels}: expected 1 to {MOST_CHANNELS}")
    if not 1 <= samplerate <= 1e7:
        raise OptionError(f"a sample rate of {samplerate:g} Hz: expected 1 to 10 million")
    bands = [band for band in octave_bands(3, 20, 20_000) if band.high < samplerate / 2]
    bands = bands or octave_bands(3, 20, 20_000)[:1]
    times = values_at(t60, np.array([band.centre for band in bands]))
    if seconds is None:
        seconds = DECAY_DB / 60 * float(times.max())
    if not 1 / samplerate <= seconds <= LONGEST:
        raise OptionError(f"--seconds {seconds:g}: expected up to {LONGEST:g} seconds, and a sample at the least")
    if not 0 <= predelay <= LONGEST:
        raise OptionError(f"--predelay {1000 * predelay:g}: expected 0 to {1000 * LONGEST:g} milliseconds")
    length, silence = round(seconds * samplerate), round(predelay * samplerate)
    if channels * (length + silence) > 1 << 28:
        raise OptionError(f"{channels} channels of {seconds:g} s are too much: pass fewer --channels or --seconds")

    time = np.arange(length) / samplerate
    hall = np.zeros((channels, silence + length))
    for row, generator in zip(hall, np.random.default_rng(seed).spawn(channels), strict=True):
        noise = generator.standard_normal(length)
        decaying = row[silence:]
        for part, t in zip(split_octaves(noise, samplerate, bands), times, strict=True):
            decaying += _level(part, _WINDOW * samplerate) * np.exp(-3 * math.log(10) / t * time)
        row /= np.linalg.norm(row)
    return hall


def _level(noise: np.ndarray, window: float) -> np.ndarray:
    """Noise whose mean power over each window of so many samples is nearly that of the whole."""
    half = max(round(window / 2), 1)
    total = np.concatenate([[0.0], np.cumsum(noise**2)])
    n = np.arange(len(noise))
    count = np.minimum(n + half + 1, len(noise)) - np.maximum(n - half, 0)
    padded = np.pad(total, half, mode="edge")
    power = (padded[2 * half + 1 :] - padded[: len(noise)]) / count
    mean = total[-1] / len(noise)
    # A band that has nothing is left as it is.
    return noise if mean == 0 else noise * np.sqrt(mean / np.maximum(power, 1e-6 * mean))
