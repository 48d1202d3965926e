"""The clocks of a player and a recorder: how far they differ, and a recording on the player's clock."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
import scipy.optimize

from .passes import Passes

# Clocks of sound hardware are within some 100 ppm of each other.
LARGEST = 500e-6

# A drift that moves nothing in the whole recording by more than this, in samples, is none.
UNNOTICED = 0.002

# Of responses, what is compared, in seconds: ahead of the direct sound and after it.
AHEAD, BEHIND = 0.05, 0.25

# A single sweep's drift counts where taking it out makes the response more compact by this factor: less can be the
# delay of a crossover or chance.
COMPACTER = 1.02

# From this part of the band's upper end on, the spectrum is faded.
TAPER = 0.8

# Each estimate is made again on what the one before has left, so many times at the most.
ROUNDS = 4


def find_drift(recording: np.ndarray, passes: Passes, method: str, by: str) -> tuple[float, str | None, Passes]:
    """Measures the drift of a recording.

    Args:
        recording: (channels, samples).
        passes: of it, as it is.
        method: of `inverse_spectrum`.
        by: "repeats", of which there are two or more; or "compactness" of the response to exponential sweeps.

    Returns:
        the drift as a part, 100e-6 for 100 ppm, as `on_players_clock` takes it; what it was measured by, None where
        that could not tell it from none: it is 0 then; and the passes of the recording on the player's clock.
    """
    total, found = 0.0, passes
    if by == "compactness" and passes.excitation.rate_seconds is None:
        return 0.0, None, passes
    for _ in range(ROUNDS):
        step, factor = (_by_repeats(found), math.inf) if by == "repeats" else _by_compactness(found)
        if not total and factor < COMPACTER:
            return 0.0, None, passes
        if abs(step) * recording.shape[1] < UNNOTICED:
            break
        total = (1 + total) * (1 + step) - 1
        found = Passes(on_players_clock(recording, total), passes.excitation, method)
    return total, by, found


def apparent_drift(passes: Passes) -> float | None:
    """The drift, as a part, without which the responses to one sweep would be clearly more compact; None without one.

    It may be one of clocks, or the loudspeaker's: to a sweep of 10 s a crossover of fourth order at 2 kHz looks like
    -55 ppm.
    """
    if passes.excitation.rate_seconds is None:
        return None
    drift, factor = _by_compactness(passes)
    return None if factor < COMPACTER else drift


def on_players_clock(recording: np.ndarray, drift: float) -> np.ndarray:
    """A recording as a recorder with the player's clock would have made it.

    Args:
        recording: (channels, samples).
        drift: by how much the recorder counts more samples than the player in the same time, as a part. The first
            sample stays where it is.

    Returns:
        (channels, samples / (1 + drift)), soxr's VHQ quality: flat to 0.9 of half the sample rate.
    """
    import soxr  # loads a compiled library: only where it is needed

    return np.stack([soxr.resample(row, 1 + drift, 1.0, "VHQ") for row in recording])


def delay_between(first: np.ndarray, second: np.ndarray, band: tuple[float, float], samplerate: float) -> float:
    """By how many samples the second signals are later than the first.

    To the whole sample by the largest correlation, to its parts by the slope of the phase between their spectra,
    weighted by their power. All pairs count together.

    Args:
        first, second: (pairs, taps), alike but for the delay, which is short against the taps.
        band: lowest and highest frequency, in hertz, that is looked at.
        samplerate: in hertz.
    """
    taps = first.shape[-1]
    size = scipy.fft.next_fast_len(2 * taps, real=True)
    cross = np.sum(scipy.fft.rfft(second, size) * scipy.fft.rfft(first, size).conj(), axis=0)
    frequencies = scipy.fft.rfftfreq(size, 1 / samplerate)
    cross[(frequencies < band[0]) | (frequencies > band[1])] = 0
    whole = int(scipy.fft.irfft(cross, size).argmax())
    whole -= size if whole > size // 2 else 0
    omega = 2 * np.pi * np.arange(len(cross)) / size
    phase = np.angle(cross * np.exp(1j * omega * whole))
    weight = np.abs(cross)
    return float(whole - np.sum(weight * omega * phase) / np.sum(weight * omega**2))


def _by_repeats(passes: Passes) -> float:
    """The same response comes later and later."""
    excitation = passes.excitation
    parts = [part for part in _around_direct(passes) if len(part) > 1]
    first = np.concatenate([part[:-1].reshape(-1, part.shape[-1]) for part in parts])
    second = np.concatenate([part[1:].reshape(-1, part.shape[-1]) for part in parts])
    return delay_between(first, second, excitation.band, excitation.samplerate) / excitation.period


def _by_compactness(passes: Passes) -> tuple[float, float]:
    """The drift without which responses are the most compact, and by what factor they are more so than as they are.

    In a recording at another speed each frequency is late by the drift times the time at which the sweep plays it: an
    impulse becomes a chirp. The delay that a crossover or a room has at low frequencies counts as drift, too.
    """
    excitation = passes.excitation
    parts = np.concatenate([part.reshape(-1, part.shape[-1]) for part in _around_direct(passes)])
    size = scipy.fft.next_fast_len(2 * parts.shape[-1], real=True)
    spectra = scipy.fft.rfft(parts, size)
    omega = 2 * np.pi * np.arange(spectra.shape[-1]) / size
    hertz = omega * excitation.samplerate / (2 * np.pi)
    low, high = excitation.band
    # A smooth upper end rings less, so that the peak stands out.
    spectra *= np.where(
        hertz < low, 0.0, np.cos(0.5 * np.pi * np.clip((hertz / high - TAPER) / (1 - TAPER), 0, 1)) ** 2
    )
    scale = excitation.rate_seconds * excitation.samplerate
    turn = omega * scale * np.log(np.maximum(hertz, low) / high)
    # Less the delay they have in common, so that the peak stays where it is between its samples.
    power = np.sum(np.abs(spectra) ** 2, axis=0)
    turn -= omega * np.sum(power * omega * turn) / np.sum(power * omega**2)

    def compactness(drift: float) -> float:
        # At twice the rate, where a peak between two samples is as high as one on a sample.
        h = scipy.fft.irfft(spectra * np.exp(1j * turn * drift), 2 * size)
        # High powers look at the direct sound; the energy, by which one would divide, is the same for all drifts.
        return float(np.sum(np.sum(h**8, axis=-1) ** 0.25))

    step = 1 / scale  # from one to the next the phase turns by a part of a radian
    grid = step * np.arange(-math.ceil(LARGEST / step), math.ceil(LARGEST / step) + 1)
    best = grid[np.argmax([compactness(drift) for drift in grid])]
    found = scipy.optimize.minimize_scalar(
        lambda drift: -compactness(drift), bounds=(best - step, best + step), method="bounded", options={"xatol": 1e-10}
    )
    return float(found.x), -found.fun / compactness(0.0)


def _around_direct(passes: Passes) -> list[np.ndarray]:
    ahead, behind = (round(seconds * passes.excitation.samplerate) for seconds in (AHEAD, BEHIND))
    parts = passes.each(-ahead, ahead + min(behind, max(passes.tail, ahead)))
    fade = ahead // 2
    slope = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / max(fade, 1))
    for part in parts:
        part[..., :fade] *= slope
        part[..., part.shape[-1] - fade :] *= slope[::-1]
    return parts
