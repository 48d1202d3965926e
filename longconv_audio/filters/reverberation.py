"""Reverberation times of a band, by lines fitted to its energy decay curve."""

from __future__ import annotations

import numpy as np

from .band_filter import BandResponse, too_fast
from .decay import Decay, energy_to_come

# What each time is fitted to, in dB of the energy decay curve, and how far from the curve's start the noise should be:
# ISO 3382-1 has it 10 dB below the range's end. Nearer, the curve's end is more and more what is known of the decay
# above the noise, and the time is given with a warning; beyond the range's end there is none.
RANGES = {"edt": (0.0, -10.0, 20.0), "t20": (-5.0, -25.0, 35.0), "t30": (-5.0, -35.0, 45.0)}
MARGIN_DB = 10.0
# The distance is an estimate: one that falls short by this does not count as short.
TOLERANCE_DB = 1.0

# ISO 3382-2, annex B: beyond these, per mille and per cent, a decay is far from a straight line.
MOST_NONLINEARITY, MOST_CURVATURE = 10.0, 10.0
NO_LINE = 250.0  # per mille of the curve's variance that the line leaves: steps, such as of single echoes


def reverberation(response: BandResponse) -> tuple[dict[str, float], dict[str, str], list[str]]:
    """EDT, T20 and T30 of a band, and how straight its decay is.

    Returns:
        the numbers that there are, under the names that `BandParameters` has for them; for each time that there is
        not, why; and warnings.
    """
    decay = response.decay
    if decay.reason is not None:
        return {}, dict.fromkeys(RANGES, decay.reason), []
    curve = _curve(response)
    distance = _noise_distance(curve, decay)
    values, missing, warnings = {"noise_distance_db": distance}, {}, []
    what = "the response ends" if np.isneginf(decay.noise_db) else "the noise is"
    for name, (top, bottom, needed) in RANGES.items():
        near = f"{what} {distance:.0f} dB below the start"
        if distance < -bottom - TOLERANCE_DB:
            missing[name] = f"{near}, {-bottom:g} dB are needed"
            continue
        slope, nonlinearity = _line(curve, top, bottom)
        time = -60 / slope / response.samplerate
        if reason := too_fast(response.band, time):
            missing[name] = reason
            continue
        if name != "edt" and nonlinearity > NO_LINE:
            missing[name] = f"its decay is no line at all (nonlinearity {nonlinearity:.0f} per mille)"
            continue
        values[name] = time
        if distance < needed - TOLERANCE_DB:
            warnings.append(f"{name.upper()}: {near}; ISO 3382-1 asks for {needed:g} dB")
        if name == "edt":
            continue
        values[f"nonlinearity_{name}"] = nonlinearity
        if nonlinearity > MOST_NONLINEARITY:
            warnings.append(f"{name.upper()}: no straight line (nonlinearity above {MOST_NONLINEARITY:g} per mille)")
    if "t20" in values and "t30" in values:
        values["curvature"] = 100 * (values["t30"] / values["t20"] - 1)
        if values["curvature"] > MOST_CURVATURE:
            warnings.append(f"T30 is longer than T20 by more than {MOST_CURVATURE:g} %: it decays at two rates")
    return values, missing, warnings


def _curve(response: BandResponse) -> np.ndarray:
    """The energy decay curve in dB of all the energy, what the filter has before the onset included."""
    remaining = energy_to_come(response.taps, response.decay)
    nothing = remaining <= 0
    end = int(nothing.argmax()) if nothing.any() else len(remaining)
    return 10 * np.log10(remaining[:end] / (remaining[0] + response.lead @ response.lead))


def _noise_distance(curve: np.ndarray, decay: Decay) -> float:
    """From the start of the curve down to where its decay has come to the noise.

    By the place where the decay still is 10 dB above, so that a strong direct sound, by which the curve begins higher
    than the line, counts.
    """
    if decay.range_db <= MARGIN_DB:
        return decay.range_db
    place = min(round(decay.knee * (1 - MARGIN_DB / decay.range_db)), len(curve) - 1)
    return float(MARGIN_DB - curve[place])


def _line(curve: np.ndarray, top: float, bottom: float) -> tuple[float, float]:
    """The slope in dB a sample of the line of least squares through a part of the curve, and 1000 (1 - r^2)."""
    first = int(np.argmax(curve <= top))
    below = curve < bottom
    last = int(np.argmax(below)) if below.any() else len(curve)
    levels = curve[first : max(last, first + 2)]
    places = np.arange(len(levels)) - 0.5 * (len(levels) - 1)
    centred = levels - levels.mean()
    covariance = places @ centred
    slope = covariance / (places @ places)
    return float(slope), float(1000 * (1 - slope * covariance / (centred @ centred)))
