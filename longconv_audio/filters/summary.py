"""What a person must know of a filter before applying it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from longconv_audio.levels import to_db

from .spectra import peak_gain


@dataclass(frozen=True)
class Summary:
    """A filter in short.

    Args:
        channels, taps: its shape.
        samplerate: in hertz.
        seconds: its length.
        peak_gain_db: its largest gain over all channels and frequencies, in dB: by how much a sine can get louder.
        peak_gain_hz: where that is.
        latency_samples: by how much what comes out is late, in samples.
        latency_ms: the same in milliseconds.
    """

    channels: int
    taps: int
    samplerate: int
    seconds: float
    peak_gain_db: float
    peak_gain_hz: float
    latency_samples: float
    latency_ms: float


def summarize(h: np.ndarray, samplerate: int, latency: float | None = None) -> Summary:
    """The length, gain and latency of a filter.

    Args:
        h: (taps,) or (channels, taps).
        samplerate: in hertz.
        latency: in samples, where it is known; None takes the place of the largest tap of all channels.
    """
    h = np.atleast_2d(np.asarray(h, dtype=np.float64))
    gain, frequency = peak_gain(h, samplerate)
    if latency is None:
        latency = float(np.abs(h).max(axis=0).argmax())
    return Summary(
        channels=len(h),
        taps=h.shape[-1],
        samplerate=samplerate,
        seconds=h.shape[-1] / samplerate,
        peak_gain_db=to_db(gain),
        peak_gain_hz=frequency,
        latency_samples=float(latency),
        latency_ms=1000 * float(latency) / samplerate,
    )
