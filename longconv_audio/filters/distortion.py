"""Harmonic distortion out of one sweep."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.special

from longconv_audio.errors import OptionError
from longconv_audio.levels import to_db

from .bands import octave_bands
from .passes import Passes

# Of the room between one harmonic's response and the next, what is taken; the rest keeps them apart.
SHARE = 0.9

# How much of a response is looked at, at the most, in seconds.
LONGEST = 1.0

# A harmonic counts where its power is this factor above that of the noise in as long a window, or by more where that
# little is known of either: by what noise alone exceeds with this probability.
ABOVE_NOISE, CHANCE = 4.0, 1e-4

# What windows leave of a length: (sum w^2)^2 / (samples sum w^4), of the noise's Hann and a harmonic's eighths.
HANN_SHARE, FADED_SHARE = 0.51, 0.82


@dataclass(frozen=True)
class BandDistortion:
    """Distortion of tones in a third octave.

    Args:
        frequency: of the tones that were played: the band's middle, in hertz.
        thd_percent, thd_db: the root of the sum of the squared responses at all harmonics over the response at the
            fundamental, both to the same tone; None where no harmonic stands out of the noise.
        orders_percent: the same of each order from 2 on; None where it does not stand out of the noise, or has no
            room below the sweep's end.
        noise_percent: what noise alone would give; None where it is none at all, or the response is silent.
    """

    frequency: float
    thd_percent: float | None
    thd_db: float | None
    orders_percent: list[float | None]
    noise_percent: float | None


@dataclass(frozen=True)
class Distortion:
    """Harmonic distortion of one response, at the level at which it was measured.

    Args:
        thd_percent, thd_db: over all bands: the root of the mean of the bands' squared ratios, bands without a
            measurable harmonic counting as 0; None where no band has one.
        orders_percent: the same of each order from 2 on, over the bands in which that order has room.
        bands: by third octaves.
    """

    thd_percent: float | None
    thd_db: float | None
    orders_percent: list[float | None]
    bands: list[BandDistortion]


def harmonic_distortion(passes: Passes, orders: int, noise: np.ndarray) -> list[Distortion]:
    """Total harmonic distortion, and that of each order.

    The response of order n comes L ln n before the linear one, and has at n f what the device answers to a tone of f
    (Farina 2000; Novak et al. 2015). Powers are averaged over third octaves, in which a room's notches fill up.

    Args:
        passes: of an exponential sweep.
        orders: the highest order, 2 or more.
        noise: what `noise_before` gives of the passes.

    Returns:
        one for each response, played channel by played channel.
    """
    excitation = passes.excitation
    lengths = [_room(passes, order) for order in range(1, orders + 1)]
    size = scipy.fft.next_fast_len(2 * max(lengths), real=True)
    frequencies = scipy.fft.rfftfreq(size, 1 / excitation.samplerate)
    powers = [_power(passes, order, length, size) for order, length in enumerate(lengths, 1)]  # (pairs, bins) each
    # The energy of noise's spectrum for each sample of a window.
    window = np.hanning(noise.shape[-1] + 2)[1:-1]
    segments = np.abs(scipy.fft.rfft(noise.reshape(-1, noise.shape[-1]) * window, size)) ** 2 / np.sum(window**2)
    (low, high), rate = excitation.band, excitation.samplerate
    bands = [band for band in octave_bands(3) if band.low >= low and 2 * band.high <= high]
    results = []
    for pair in range(len(powers[0])):
        table = []
        for band in bands:
            fundamental = _mean(powers[0][pair], frequencies, band.low, band.high)
            ratios, floors = [], []
            for order in range(2, orders + 1):
                if order * band.high > high or not fundamental > 0:
                    ratios.append(math.nan)
                    continue
                edges = order * band.low, order * band.high
                floor = lengths[order - 1] * _mean(segments[pair], frequencies, *edges) / fundamental
                ratio = _mean(powers[order - 1][pair], frequencies, *edges) / fundamental
                floors.append(floor)
                seconds = FADED_SHARE * lengths[order - 1] / rate, HANN_SHARE * noise.shape[-1] / rate
                ratios.append(ratio if ratio > _beyond_chance(edges[1] - edges[0], *seconds) * floor else 0.0)
            table.append((band, ratios, sum(floors)))
        results.append(_told(table, orders))
    return results


def harmonic_responses(passes: Passes, orders: int, ahead: int) -> np.ndarray:
    """The responses of the harmonics.

    Args:
        passes: of an exponential sweep.
        orders: the highest order, 2 or more.
        ahead: samples before the place of the direct sound.

    Returns:
        (orders - 1, played channels x recorded channels, taps), zeros where the next one begins.
    """
    lengths = [_room(passes, order) for order in range(2, orders + 1)]
    result = np.zeros((orders - 1, passes.excitation.channels * passes.recorded, ahead + max(lengths)))
    for order, length in enumerate(lengths, 2):
        lead = min(ahead, length // 8)
        part = passes.mean(-round(_advance(passes, order)) - lead, lead + length)
        result[order - 2, :, ahead - lead : ahead + length] = part.reshape(-1, lead + length)
    return result


def noise_before(passes: Passes) -> np.ndarray | None:
    """What stands before the linear response, behind most of the second harmonic's.

    Returns:
        (played channels, recorded channels, samples); None where there is no room for 50 ms.
    """
    excitation = passes.excitation
    gap = _advance(passes, 2) if excitation.rate_seconds is not None else float(passes.direct)
    ringing = 3 / excitation.band[0] * excitation.samplerate
    length = int(min(gap / 2, LONGEST * excitation.samplerate) - ringing)
    if length < 0.05 * excitation.samplerate:
        return None
    return passes.mean(-int(ringing) - length, length)


def check_orders(orders: int) -> None:
    """Refuses a highest order of harmonics that cannot be had."""
    if not isinstance(orders, int) or not 1 <= orders <= 20:
        raise OptionError(f"--harmonics {orders}: expected the highest order, 2 to 20, or 1 for none")


def _advance(passes: Passes, order: int) -> float:
    """By how many samples a harmonic's response is early."""
    return passes.excitation.rate_seconds * math.log(order) * passes.excitation.samplerate


def _room(passes: Passes, order: int) -> int:
    """Samples from the start of a harmonic's response that are its own."""
    rate = passes.excitation.samplerate
    if order == 1:
        return int(min(LONGEST * rate, max(passes.tail, 0.25 * rate)))
    room = _advance(passes, order) - _advance(passes, order - 1)
    return max(int(min(SHARE * room, LONGEST * rate)), 1)


def _power(passes: Passes, order: int, length: int, size: int) -> np.ndarray:
    lead = length // 8
    part = passes.mean(-round(_advance(passes, order)) - lead, length)
    part = part.reshape(-1, length)
    part[:, :lead] *= np.sin(0.5 * np.pi * (np.arange(lead) + 0.5) / max(lead, 1)) ** 2
    part[:, length - lead :] *= np.cos(0.5 * np.pi * (np.arange(lead) + 0.5) / max(lead, 1)) ** 2
    return np.abs(scipy.fft.rfft(part, size)) ** 2


def _beyond_chance(bandwidth: float, heard: float, noise: float) -> float:
    """By what factor a harmonic stands out of the noise, given a bandwidth in hertz and how long each was looked at.

    The mean power of Gaussian noise in a bandwidth B over a time T has 2 B T degrees of freedom, so that the ratio of
    two has the F distribution.
    """
    freedom = [max(2 * bandwidth * seconds, 2.0) for seconds in (heard, noise)]
    return max(ABOVE_NOISE, float(scipy.special.fdtri(*freedom, 1 - CHANCE)))


def _mean(power: np.ndarray, frequencies: np.ndarray, low: float, high: float) -> float:
    first, last = np.searchsorted(frequencies, (low, high))
    return float(power[first : max(last, first + 1)].mean())


def _told(table: list, orders: int) -> Distortion:
    bands = []
    for band, ratios, noise in table:
        percents = [_percent(ratio) for ratio in ratios]
        total = _percent(np.nansum(ratios))
        bands.append(BandDistortion(band.centre, total, _db(total), percents, _percent(noise)))
    ratios = np.array([ratios for _, ratios, _ in table]).reshape(len(table), orders - 1)
    by_order = []
    for column in ratios.T:
        known = column[~np.isnan(column)]
        by_order.append(_percent(known.mean()) if len(known) else None)
    total = _percent(np.nansum(ratios, axis=1).mean()) if len(ratios) else None
    return Distortion(total, _db(total), by_order, bands)


def _percent(ratio: float) -> float | None:
    return 100 * math.sqrt(ratio) if ratio > 0 else None


def _db(percent: float | None) -> float | None:
    return None if percent is None else to_db(percent / 100)
