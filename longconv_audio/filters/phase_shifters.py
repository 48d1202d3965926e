"""Filters that change the phase alone: Hilbert transformers and delays by parts of a sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from longconv_audio.errors import OptionError

from .orders import MOST_TAPS, check_rate, check_stopband, check_taps, kaiser_order
from .spectra import frequency_response, response_at

# Above a delay's bandwidth, as a share of half the sample rate, where nothing is said.
_BANDWIDTH = 0.9
# What the two sides of a step, and the images of a band, add to a window's own error.
_MARGIN_DB = 6.0


@dataclass(frozen=True)
class PhaseShifter:
    """A filter of constant magnitude over a band, ready to be computed.

    Args:
        taps: of the window.
        latency: in samples: of a delay, what was asked for.
        band: where it holds, in hertz.
        accuracy: by how much the error is below the signal over the band, in dB.
        samplerate: in hertz.
    """

    taps: int
    latency: float
    band: tuple[float, float]
    accuracy: float
    samplerate: float


def hilbert(
    samplerate: float, *, taps: int | None = None, lowest: float | None = None, accuracy: float | None = None
) -> np.ndarray:
    """A Hilbert transformer: every frequency of its band 90 degrees late, beside a latency of (taps - 1) / 2.

    Args: as `plan_hilbert` takes them.

    Returns:
        float64, (taps,), antisymmetric.
    """
    return realize_hilbert(plan_hilbert(samplerate, taps, lowest, accuracy))


def delay(
    samples: float,
    samplerate: float,
    *,
    taps: int | None = None,
    bandwidth: float | None = None,
    accuracy: float | None = None,
) -> np.ndarray:
    """A delay by any number of samples, parts of one included.

    Args: as `plan_delay` takes them.

    Returns:
        float64, with zeros ahead of the interpolator; one tap of 1 behind zeros for a whole number of samples.

    >>> delay(2, 48_000).tolist()
    [0.0, 0.0, 1.0]
    """
    return realize_delay(plan_delay(samples, samplerate, taps, bandwidth, accuracy))


def plan_hilbert(
    samplerate: float, taps: int | None = None, lowest: float | None = None, accuracy: float | None = None
) -> PhaseShifter:
    """Settles a Hilbert transformer's length.

    Args:
        samplerate: in hertz.
        taps: an odd number (type III: nothing passes at 0 Hz and at half the sample rate, a whole latency) or an even
            one (type IV: half the sample rate passes, half a sample in the latency). None takes the odd number that
            lowest and accuracy need.
        lowest: where its band begins, in hertz; of an odd number of taps the band ends as far below half the sample
            rate. None takes what the taps allow, or 20 Hz.
        accuracy: of the band, in dB; None takes what taps and lowest allow, or 60 dB.

    Raises:
        OptionError: arguments that make no filter.
    """
    check_rate(samplerate)
    _check_two(taps, accuracy, lowest, "lowest")
    if taps is None and lowest is None:
        lowest = 20.0
    if lowest is not None and not 0 < lowest < samplerate / 4:
        raise OptionError(f"lowest={lowest:g} Hz: expected above 0 and below a quarter of the rate, {samplerate / 4:g}")
    if accuracy is None and (taps is None or lowest is None):
        accuracy = 60.0
    stopband = None if accuracy is None else accuracy + _MARGIN_DB
    taps, transition, stopband = kaiser_order(samplerate, taps, None if lowest is None else 2 * lowest, stopband)
    lowest = transition / 2
    highest = samplerate / 2 - (lowest if taps % 2 else 0)
    if lowest >= highest:
        raise OptionError(f"taps={taps}: too few for {stopband - _MARGIN_DB:g} dB: pass more, or less accuracy")
    return PhaseShifter(taps, (taps - 1) / 2, (lowest, highest), stopband - _MARGIN_DB, samplerate)


def plan_delay(
    samples: float,
    samplerate: float,
    taps: int | None = None,
    bandwidth: float | None = None,
    accuracy: float | None = None,
) -> PhaseShifter:
    """Settles a fractional delay's length.

    Args:
        samples: the delay, at least half the taps, so that the interpolator has its room; any whole number, too.
        samplerate: in hertz.
        taps: of the interpolator. None takes what bandwidth and accuracy need.
        bandwidth: up to where the delay holds, in hertz; None takes what the taps allow, or 0.9 of half the rate.
        accuracy: by how much the difference to the delayed signal is below it, over the bandwidth, in dB; None takes
            what taps and bandwidth allow, or 80 dB.

    Raises:
        OptionError: arguments that make no filter; a delay too short for its interpolator.
    """
    check_rate(samplerate)
    if not 0 <= samples < MOST_TAPS:
        raise OptionError(f"a delay of {samples:g} samples: expected 0 to {MOST_TAPS}")
    _check_two(taps, accuracy, bandwidth, "bandwidth")
    half = samplerate / 2
    if bandwidth is not None and not 0 < bandwidth < half:
        raise OptionError(f"bandwidth={bandwidth:g} Hz: expected above 0 and below half the sample rate, {half:g} Hz")
    if float(samples).is_integer():
        return PhaseShifter(1, float(samples), (0.0, half), math.inf, samplerate)
    if taps is None and bandwidth is None:
        bandwidth = _BANDWIDTH * half
    if accuracy is None and (taps is None or bandwidth is None):
        accuracy = 80.0
    stopband = None if accuracy is None else accuracy + _MARGIN_DB
    transition = None if bandwidth is None else 2 * (half - bandwidth)
    taps, transition, stopband = kaiser_order(samplerate, taps, transition, stopband)
    if transition / 2 >= half:
        raise OptionError(f"taps={taps}: too few for {stopband - _MARGIN_DB:g} dB: pass more, or less accuracy")
    if samples < (taps - 1) / 2:
        raise OptionError(
            f"a delay of {samples:g} samples: its interpolator of {taps} taps needs {taps / 2:g} at least: delay "
            "everything by more, or pass fewer taps or less accuracy"
        )
    return PhaseShifter(taps, float(samples), (0.0, half - transition / 2), stopband - _MARGIN_DB, samplerate)


def realize_hilbert(design: PhaseShifter) -> np.ndarray:
    """The taps of a Hilbert transformer: the ideal one's, 2 / (pi n) at odd n, windowed."""
    from scipy.signal import kaiser_beta
    from scipy.signal.windows import kaiser

    n = np.arange(design.taps) - design.latency
    # Zero is its own value in the middle of an odd number of taps.
    ideal = (1 - np.cos(np.pi * n)) / (np.pi * np.where(n == 0, 1.0, n))
    return ideal * kaiser(design.taps, kaiser_beta(design.accuracy + _MARGIN_DB))


def realize_delay(design: PhaseShifter) -> np.ndarray:
    """The taps of a delay: a sinc about the point between two samples, and a Kaiser window about the same point."""
    from scipy.signal import kaiser_beta
    from scipy.special import i0

    whole = math.floor(design.latency)
    if whole == design.latency:
        h = np.zeros(whole + 1)
        h[-1] = 1.0
        return h
    reach = (design.taps - 1) / 2
    first, last = max(math.ceil(design.latency - reach), 0), math.floor(design.latency + reach)
    n = np.arange(first, last + 1) - design.latency
    beta = kaiser_beta(design.accuracy + _MARGIN_DB)
    h = np.zeros(last + 1)
    h[first:] = np.sinc(n) * i0(beta * np.sqrt(np.maximum(1 - (n / reach) ** 2, 0.0))) / i0(beta)
    return h


def phase_error(h: np.ndarray, design: PhaseShifter, degrees: float = 0.0) -> float:
    """By how much a filter's response differs from the ideal over its band, in dB: 20 log10 of the largest difference.

    Args:
        h: (taps,).
        design: what it is to be.
        degrees: what it turns the phase by beside its latency: -90 for a Hilbert transformer.
    """
    points = max(8 * len(h), 8192)
    frequencies, response = frequency_response(h, design.samplerate, points)
    inside = (frequencies >= design.band[0]) & (frequencies <= design.band[1])
    # It is largest at the band's ends, more often than not.
    frequencies = np.concatenate([frequencies[inside], design.band])
    response = np.concatenate([response[inside], response_at(h, design.samplerate, design.band)])
    turns = design.latency * frequencies / design.samplerate
    ideal = np.exp(-2j * np.pi * (turns % 1.0) + 1j * math.radians(degrees))
    return 20 * math.log10(max(float(np.abs(response - ideal).max()), 1e-15))


def _check_two(taps: int | None, accuracy: float | None, edge: float | None, name: str) -> None:
    if taps is not None:
        check_taps(taps)
    if accuracy is not None:
        check_stopband(accuracy + _MARGIN_DB)
        if taps is not None and edge is not None:
            raise OptionError(f"taps, {name} and accuracy: two of them give the third: leave one out")
