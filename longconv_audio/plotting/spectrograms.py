"""Levels over time and frequency."""

from __future__ import annotations

import numpy as np

SILENCE_DB = -200.0
"""The level that digital silence is given: below the noise of 24 bits, and a number that can be drawn."""


def spectrogram(x: np.ndarray, samplerate: int, window: int, hop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Levels over time and frequency, under a Hann window; a sine at full scale reads 0 dB.

    Args:
        x: (samples,), or (channels, samples), whose powers are averaged.
        samplerate: in hertz.
        window: length of the window in samples, at least 2.
        hop: samples from one frame to the next, at least 1.

    Returns:
        times: (frames,), the middles of the frames in seconds, from 0; beyond its ends x counts as silent.
        frequencies: (window // 2 + 1,), in hertz.
        levels: (window // 2 + 1, frames), in dB, SILENCE_DB at the least.
    """
    x = np.atleast_2d(x)
    frames = -(-x.shape[-1] // hop)
    shape = np.hanning(window + 1)[:-1]
    # Half a window of silence before, and enough after for the last frame.
    after = max(0, (frames - 1) * hop + window - window // 2 - x.shape[-1])
    padded = np.pad(x, ((0, 0), (window // 2, after)))
    power = np.zeros((frames, window // 2 + 1))
    for channel in padded:
        if frames:
            pieces = np.lib.stride_tricks.sliding_window_view(channel, window)[::hop][:frames]
            power += np.abs(np.fft.rfft(pieces * shape)) ** 2  # (frames, bins)
    power *= (2 / np.sum(shape)) ** 2 / len(x)
    levels = 10 * np.log10(np.maximum(power.T, 10 ** (SILENCE_DB / 10)))  # (bins, frames)
    return np.arange(frames) * hop / samplerate, np.fft.rfftfreq(window, 1 / samplerate), levels


def log_rows(frequencies: np.ndarray, levels: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Levels (bins, frames) on rows between `edges`, (rows, frames), for an image with a log frequency axis.

    A row that covers several bins shows the strongest of them, so that a partial stays as bright at the top
    of the picture as at the bottom; one that lies between bins is interpolated.
    """
    middles = np.sqrt(edges[:-1] * edges[1:])
    position = np.clip(np.interp(middles, frequencies, np.arange(frequencies.size)), 0, frequencies.size - 1)
    below = np.minimum(position.astype(int), frequencies.size - 2)
    part = (position - below)[:, None]
    rows = (1 - part) * levels[below] + part * levels[below + 1]
    first, last = np.searchsorted(frequencies, edges[:-1]), np.searchsorted(frequencies, edges[1:])
    for row in np.flatnonzero(last - first > 1):
        rows[row] = np.max(levels[first[row] : last[row]], axis=0)
    return rows
