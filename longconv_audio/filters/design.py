"""Low-pass, high-pass, band-pass and band-stop FIR filters, from tens of taps to a million."""

from __future__ import annotations

import numpy as np

from longconv_audio.errors import OptionError

from .least_squares import least_squares
from .orders import BandDesign, plan_bands
from .phase import FLOOR_DB, minimum_phase, mixed_phase

METHODS = ("window", "least-squares")
PHASES = ("linear", "minimum", "mixed")

# Beneath its stopband, a filter of other than linear phase loses its zeros: a twentieth of a dB of the stopband.
_BENEATH_DB = 20.0


def lowpass(cutoff: float, samplerate: float, **options) -> np.ndarray:
    """A low-pass filter.

    Args:
        cutoff: where its response is -6 dB, in hertz.
        samplerate: in hertz.
        options: as `design_bands` takes them.

    Returns:
        float64, (taps,).

    >>> h = lowpass(1000, 48_000, transition=200, stopband=60)
    >>> len(h), float(h.sum().round(9))
    (873, 1.0)
    """
    return design_bands("lowpass", (cutoff,), samplerate, **options)


def highpass(cutoff: float, samplerate: float, **options) -> np.ndarray:
    """A high-pass filter, of an odd number of taps; arguments as for `lowpass`."""
    return design_bands("highpass", (cutoff,), samplerate, **options)


def bandpass(low: float, high: float, samplerate: float, **options) -> np.ndarray:
    """A band-pass filter.

    Args:
        low, high: where its response is -6 dB, in hertz.
        samplerate: in hertz.
        options: as `design_bands` takes them.

    Returns:
        float64, (taps,).
    """
    return design_bands("bandpass", (low, high), samplerate, **options)


def bandstop(low: float, high: float, samplerate: float, **options) -> np.ndarray:
    """A band-stop filter, of an odd number of taps; arguments as for `bandpass`."""
    return design_bands("bandstop", (low, high), samplerate, **options)


def design_bands(
    kind: str,
    edges: tuple[float, ...],
    samplerate: float,
    *,
    taps: int | None = None,
    transition: float | None = None,
    stopband: float | None = None,
    window: str = "kaiser",
    method: str = "window",
    phase: str = "linear",
    mix: float = 0.5,
) -> np.ndarray:
    """A filter that passes some bands and stops the others.

    Args:
        kind: "lowpass", "highpass", "bandpass" or "bandstop".
        edges: where the response is -6 dB, in hertz, rising: one, or two of a band.
        samplerate: in hertz.
        taps, transition, stopband, window: how long and how steep it is, as `plan_bands` takes them.
        method: "window", the windowed sinc of scipy.signal.firwin; or "least-squares", the least mean square error over
            the bands with the transitions left free: see `least_squares`.
        phase: "linear", whose latency is (taps - 1) / 2; "minimum", the least latency for the same magnitude; or
            "mixed" in between, for less ringing ahead of a sound than linear phase has and a flatter delay than
            minimum phase: see `mixed_phase`.
        mix: of mixed phase, 0 (minimum) to 1 (linear).

    Returns:
        float64, (taps,).

    Raises:
        OptionError: arguments that make no filter.
    """
    return realize_bands(plan_bands(kind, edges, samplerate, taps, transition, stopband, window), method, phase, mix)


def realize_bands(design: BandDesign, method: str = "window", phase: str = "linear", mix: float = 0.5) -> np.ndarray:
    """The taps of a filter whose length and bands are settled; arguments as for `design_bands`."""
    check_choice("method", method, METHODS)
    check_choice("phase", phase, PHASES)
    if method == "least-squares" and design.window != "kaiser":
        raise OptionError(f"window={design.window} with least squares, which has none: leave it out")
    h = _windowed(design) if method == "window" else least_squares(design)
    if phase == "linear":
        return h
    floor = FLOOR_DB if design.stopband is None else -design.stopband - _BENEATH_DB
    return minimum_phase(h, floor_db=floor) if phase == "minimum" else mixed_phase(h, mix, floor_db=floor)


def check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    """Refuses what is not one of a few words."""
    if value not in known:
        raise OptionError(f"{name}={value}: expected {', '.join(known[:-1])} or {known[-1]}")


def _windowed(design: BandDesign) -> np.ndarray:
    from scipy.signal import firwin

    window = ("kaiser", design.beta) if design.window == "kaiser" else design.window
    return firwin(design.taps, design.edges, window=window, pass_zero=design.kind, fs=design.samplerate)
