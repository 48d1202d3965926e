"""Quantities that depend on frequency, given at a few frequencies."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from longconv_audio.errors import OptionError

# Either one number for all frequencies, or numbers at frequencies in hertz.
BandValues = float | Mapping[float, float]


def values_at(points: BandValues, frequencies: np.ndarray) -> np.ndarray:
    """A quantity at frequencies between and beyond those where it is given.

    Args:
        points: one number, or a mapping from hertz to numbers.
        frequencies: (bins,), in hertz, above 0.

    Returns:
        (bins,): straight lines over log frequency between the points, and constant beyond them.

    >>> values_at({500: 2.0, 2000: 1.0}, np.array([100.0, 1000.0, 8000.0]))
    array([2. , 1.5, 1. ])
    """
    if not isinstance(points, Mapping):
        return np.full(len(frequencies), float(points))
    ordered = sorted(points.items())
    return np.interp(np.log(frequencies), [math.log(f) for f, _ in ordered], [value for _, value in ordered])


def check_values(points: BandValues, what: str, low: float, high: float, expected: str) -> None:
    """Refuses a quantity that is not a number from low to high at each of its frequencies.

    Args:
        points: one number, or a mapping from hertz to numbers.
        what: its name, for the message.
        low, high: what is allowed, both ends included.
        expected: what the message says of them.
    """
    pairs = points.items() if isinstance(points, Mapping) else [(None, points)]
    if not pairs:
        raise OptionError(f"{what}: no frequency was given; expected one number, or numbers such as 500=0.2,1k=0.3")
    for frequency, value in pairs:
        if frequency is not None and not 0 < frequency < math.inf:
            raise OptionError(f"{what} at {frequency:g} Hz: expected a frequency above 0 Hz")
        if not low <= value <= high:
            where = "" if frequency is None else f" at {frequency:g} Hz"
            raise OptionError(f"{what} {value:g}{where}: expected {expected}")


def parse_values(text: str, what: str) -> BandValues:
    """Reads "0.2", or "125=0.1,1k=0.3".

    Args:
        text: one number, or frequencies in hertz (k: thousand) and numbers.
        what: its name, for messages.

    >>> parse_values("125=0.1,1k=0.3", "absorption")
    {125.0: 0.1, 1000.0: 0.3}
    """
    try:
        if "=" not in text:
            return float(text)
        pairs = [part.split("=") for part in text.split(",")]
        points = {_hertz(frequency): float(value) for frequency, value in pairs}
    except ValueError:
        raise OptionError(f"{what} {text!r}: expected a number, or frequencies and numbers: 125=0.1,1k=0.3") from None
    if len(points) < len(pairs):
        raise OptionError(f"{what} {text!r}: a frequency stands there twice")
    return points


def _hertz(text: str) -> float:
    text = text.strip().lower()
    return 1000 * float(text[:-1]) if text.endswith("k") else float(text)
