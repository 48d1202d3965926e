"""An impulse response in bands whose filters ring less than a room does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

from .bands import Band
from .decay import Decay, decay_of

# The least product of bandwidth and reverberation time: ISO 3382-1's bound for filters.
LEAST_BANDWIDTH_TIME = 16.0
# Of the Butterworth magnitude. Neighbouring octaves are 39 dB down in their middles, and above that bound the filter
# still dies away faster than the room.
ORDER = 6
# Times the inverse of the bandwidth: by then the filter's response has fallen by 60 dB.
RINGING = 8.5


@dataclass(frozen=True)
class BandResponse:
    """What a band's filter makes of an impulse response.

    Args:
        band: which.
        samplerate: in hertz.
        taps: (taps,), from the onset on, as many as the response has.
        lead: what comes before, its last sample the one before the onset: a filter without delay rings to both sides.
        decay: of the taps.
        energy_decay: the same, but without a line where that may be the filter's own, so that it says nothing of where
            the response's energy ends.
    """

    band: Band
    samplerate: float
    taps: np.ndarray
    lead: np.ndarray
    decay: Decay
    energy_decay: Decay


def band_responses(h: np.ndarray, start: int, samplerate: float, bands: list[Band]) -> list[BandResponse | str]:
    """The bands of an impulse response, or for each that cannot be measured in it the reason.

    Args:
        h: (taps,), to its last sample other than 0.
        start: the onset. What h has before counts as rise.
        samplerate: in hertz.
        bands: in any order.
    """
    length = len(h) - start
    reasons = [_unmeasurable(band, length, samplerate) for band in bands]
    narrowest = min((b.high - b.low for b, why in zip(bands, reasons, strict=True) if why is None), default=samplerate)
    ring = math.ceil(RINGING * samplerate / narrowest)
    size = scipy.fft.next_fast_len(len(h) + 2 * ring, real=True)
    frequencies, spectrum = scipy.fft.rfftfreq(size, 1 / samplerate), scipy.fft.rfft(h, size)
    found: list[BandResponse | str] = []
    for band, reason in zip(bands, reasons, strict=True):
        if reason is not None:
            found.append(reason)
            continue
        weighted = spectrum * gain(frequencies, band)
        power = np.abs(weighted) ** 2
        if power[(frequencies >= band.low) & (frequencies <= band.high)].sum() < 0.5 * power.sum():
            found.append("holds less than what comes in from beyond its edges")
            continue
        part = scipy.fft.irfft(weighted, size)
        taps, lead = part[start : len(h)], np.concatenate([part[size - ring :], part[:start]])
        decay = decay_of(taps, samplerate, 0)
        energy_decay = decay
        if decay.t60 is not None and (reason := too_fast(band, decay.t60)):
            # What follows single taps is silence and not noise, though their band may ring through it.
            noise = -np.inf if np.count_nonzero(h) < len(h) / 2 else decay.noise_db
            energy_decay = Decay(0, None, None, noise, length, None, reason)
        found.append(BandResponse(band, samplerate, taps, lead, decay, energy_decay))
    return found


def too_fast(band: Band, time: float) -> str | None:
    """Why a reverberation time cannot be measured in a band as narrow as this, or None."""
    product = time * (band.high - band.low)
    if product >= LEAST_BANDWIDTH_TIME:
        return None
    return f"it falls too fast for a band this narrow (B T = {product:.1f}, {LEAST_BANDWIDTH_TIME:g} are needed)"


def gain(frequencies: np.ndarray, band: Band) -> np.ndarray:
    """The magnitude of a Butterworth band-pass. As a filter of zero phase it has no delay to be made up for."""
    f = np.maximum(frequencies, 1e-6 * band.centre)
    detuning = (f / band.centre - band.centre / f) * (band.centre / (band.high - band.low))
    return 1 / np.sqrt(1 + detuning ** (2 * ORDER))


def _unmeasurable(band: Band, taps: int, samplerate: float) -> str | None:
    """Why a band cannot be measured in any response of this length, or None."""
    if band.high > samplerate / 2:
        return f"reaches above half the sample rate, {samplerate / 2:g} Hz"
    if taps * (band.high - band.low) < samplerate:
        return f"the response lasts {1000 * taps / samplerate:.3g} ms, less than the band's filter"
    return None
