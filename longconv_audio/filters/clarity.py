"""Early and late energy of a band: C50, C80, D50 and the centre time."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft

from .band_filter import BandResponse, gain
from .decay import energy_beyond, energy_to_come

EARLY_SECONDS = {"c50": 0.05, "c80": 0.08}
CLARITIES = ("c50", "c80", "d50", "ts")

# The noise is subtracted, by its mean; what is left of it disturbs little where it is this far down.
NEEDED_DB = 20.0
SIGMAS = 3.0  # by which an energy must stand out of the scatter of the noise's


def clarity(h: np.ndarray, start: int, responses: list[BandResponse]) -> list[tuple[dict[str, float], dict[str, str]]]:
    """C50 and C80 in dB, D50 in parts of one and Ts in seconds, of each band of an impulse response.

    Args:
        h: (taps,): what the bands are of.
        start: its onset.
        responses: the bands.

    Returns:
        for each the numbers that there are, and for each that there is not, why.

    The response is cut at 50 and at 80 ms first and its parts are filtered then, so that the filters do not smear one
    into the other. By Parseval's theorem that takes two spectra for all bands.
    """
    if not responses:
        return []
    samplerate = responses[0].samplerate
    # Behind the last knee there is only noise.
    end = start + max(response.energy_decay.knee for response in responses)
    size = scipy.fft.next_fast_len(len(h) + len(responses[0].lead), real=True)
    frequencies = scipy.fft.rfftfreq(size, 1 / samplerate)
    powers = {}
    for name, seconds in EARLY_SECONDS.items():
        cut = start + round(seconds * samplerate)
        if cut < end:
            # The late part may begin at 0: its power does not change by that.
            powers[name] = [np.abs(scipy.fft.rfft(part, size)) ** 2 for part in (h[:cut], h[cut:end])]
    found = []
    for response in responses:
        reason = _noisy(response)
        if reason is not None:
            found.append(({}, dict.fromkeys(CLARITIES, reason)))
            continue
        # Twice, for the frequencies below 0.
        weights = 2 / size * gain(frequencies, response.band) ** 2
        values, missing = {"ts": _centre_time(response)}, {}
        for name, seconds in EARLY_SECONDS.items():
            names = ("c50", "d50") if name == "c50" else (name,)
            energies = _without_noise(
                response, [float(p @ weights) for p in powers.get(name, ())], seconds, end - start
            )
            if energies is None:
                missing |= dict.fromkeys(names, f"nothing above the noise follows after {1000 * seconds:g} ms")
                continue
            early, late = energies
            values[name] = 10 * math.log10(early / late)
            if name == "c50":
                values["d50"] = early / (early + late)
        found.append((values, missing))
    return found


def _noisy(response: BandResponse) -> str | None:
    """Why energies of a band say nothing, or None."""
    decay = response.energy_decay
    if decay.range_db is not None:
        distance = decay.range_db
    else:
        # No line tells: the noise is what the end has, and the peak of noise is some 12 dB above its mean.
        peak = float(np.max(response.taps**2, initial=0.0))
        distance = 10 * math.log10(peak) - decay.noise_db - 12.0 if peak > 0 else -math.inf
    if distance >= NEEDED_DB:
        return None
    return decay.reason or f"the noise is {distance:.0f} dB below the start, {NEEDED_DB:g} dB are needed"


def _without_noise(
    response: BandResponse, energies: list[float], seconds: float, end: int
) -> tuple[float, float] | None:
    """The energies before and after a time, less their noise; None where one is lost in it."""
    decay, rate = response.energy_decay, response.samplerate
    if not energies:
        return None
    noise = 10 ** (decay.noise_db / 10)
    counts = (round(seconds * rate), end - round(seconds * rate))
    # The energy of noise itself is known to one part in the root of its bandwidth times its time.
    independent = (response.band.high - response.band.low) / rate
    early, late = (energy - noise * n for energy, n in zip(energies, counts, strict=True))
    lost = (SIGMAS * noise * math.sqrt(n / independent) for n in counts)
    if any(energy <= least for energy, least in zip((early, late), lost, strict=True)):
        return None
    # With noise, what the decay has beyond the knee is in the late part already.
    return early, late + (energy_beyond(decay) if decay.t60 is not None and noise == 0 else 0.0)


def _centre_time(response: BandResponse) -> float:
    """The first moment of the energy by its whole, counted from the onset."""
    decay, lead = response.energy_decay, response.lead
    remaining = energy_to_come(response.taps, decay)
    # The sum of n e[n] is that of all energies still to come from the second sample on.
    moment = float(remaining[1:].sum()) - float(np.arange(len(lead), 0, -1) @ lead**2)
    if decay.t60 is not None:
        fall = decay.range_db / (decay.knee - decay.onset)
        moment += energy_beyond(decay) / -math.expm1(-fall * math.log(10) / 10)
    # Of an impulse it is 0, but for the noise that was subtracted.
    return max(moment, 0.0) / (float(remaining[0]) + float(lead @ lead)) / response.samplerate
