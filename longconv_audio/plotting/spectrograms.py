"""Levels over time and frequency."""

from __future__ import annotations

import numpy as np

from .reduction import log_columns

SILENCE_DB = -200.0
"""The level that digital silence is given: below the noise of 24 bits, and a number that can be drawn."""


def spectrogram(
    x: np.ndarray, samplerate: int, window: int, hop: int, parts: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Levels over time and frequency, under a Hann window; a sine at full scale reads 0 dB.

    Args:
        x: (samples,), or (channels, samples), whose powers are averaged.
        samplerate: in hertz.
        window: length of the window in samples, at least 2.
        hop: samples from one frame to the next, at least 1.
        parts: windows a hop, evenly spaced, whose powers a frame averages: with hops longer than a window it takes
            several to miss nothing.

    Returns:
        times: (frames,), the middles of the frames' first windows in seconds, from 0; beyond its ends x counts as
            silent.
        frequencies: (window // 2 + 1,), in hertz.
        levels: (window // 2 + 1, frames), in dB, SILENCE_DB at the least.
    """
    x = np.atleast_2d(x)
    samples = x.shape[-1]
    frames = -(-samples // hop)
    shape = np.hanning(window + 1)[:-1]
    power = np.zeros((frames, window // 2 + 1))
    for channel in x if frames else ():
        # Half a window of silence before, and enough after for the last frame.
        padded = np.pad(channel, (window // 2, frames * hop + window - window // 2 - samples))
        pieces = np.lib.stride_tricks.sliding_window_view(padded, window)
        for part in range(parts):
            power += np.abs(np.fft.rfft(pieces[part * hop // parts :: hop][:frames] * shape)) ** 2  # (frames, bins)
    power *= (2 / np.sum(shape)) ** 2 / (len(x) * parts)
    levels = 10 * np.log10(np.maximum(power.T, 10 ** (SILENCE_DB / 10)))  # (bins, frames)
    return np.arange(frames) * hop / samplerate, np.fft.rfftfreq(window, 1 / samplerate), levels


def log_rows(frequencies: np.ndarray, levels: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Levels (bins, frames) on rows between `edges`, (rows, frames), for an image with a log frequency axis.

    A row that covers several bins shows the strongest of them, so that a partial stays as bright at the top
    of the picture as at the bottom; one that lies between bins is interpolated.
    """
    return log_columns(frequencies, levels.T, edges)[1].T


def window_length(samples: int, samplerate: int) -> int:
    """A window that shows both the time and the frequency of a sound, a power of two.

    A 32nd of the sound, as a short one is looked at for its times; about 85 ms at the most, where neighbouring notes
    of the middle octaves show as two lines.
    """
    longest = max(64, 2 ** round(np.log2(0.085 * samplerate)))
    return int(np.clip(2 ** round(np.log2(max(samples, 1) / 32)), 64, longest))
