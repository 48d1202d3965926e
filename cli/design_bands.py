"""`longconv design lowpass`, `highpass`, `bandpass` and `bandstop`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from .design_options import (
    Json,
    Method,
    Methods,
    Mix,
    Output,
    Overwrite,
    Phase,
    Phases,
    Quiet,
    Rate,
    Shape,
    Stopband,
    Sub,
    Taps,
    Target,
    Transition,
    Window,
    Windows,
    edge,
    hertz,
    share,
)

if TYPE_CHECKING:
    from longconv_audio.filters.band_report import BandReport
    from longconv_audio.filters.orders import BandDesign

# A stopband that is less deep than was asked for by more is worth a warning.
_MISSED_DB = 2.0


def lowpass(
    cutoff: Annotated[str, edge("HZ", "Where the response is -6 dB.")],
    output: Output = "",
    taps: Taps = None,
    transition: Transition = None,
    stopband: Stopband = None,
    window: Windows = Window.kaiser,
    method: Methods = Method.window,
    phase: Phases = Phase.linear,
    mix: Mix = None,
    rate: Rate = 48_000,
    subtype: Sub = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Passes what is below a frequency.

    longconv design lowpass 1000 --transition 100 --stopband 100 -o lp.wav
    """
    shape = Shape(taps, transition, stopband, window, method, phase, mix)
    _bands("lowpass", [cutoff], shape, Target(output, rate, subtype, overwrite, json, quiet))


def highpass(
    cutoff: Annotated[str, edge("HZ", "Where the response is -6 dB.")],
    output: Output = "",
    taps: Taps = None,
    transition: Transition = None,
    stopband: Stopband = None,
    window: Windows = Window.kaiser,
    method: Methods = Method.window,
    phase: Phases = Phase.linear,
    mix: Mix = None,
    rate: Rate = 48_000,
    subtype: Sub = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Passes what is above a frequency.

    longconv design highpass 30 --taps 65537 --phase minimum -o hp.wav
    """
    shape = Shape(taps, transition, stopband, window, method, phase, mix)
    _bands("highpass", [cutoff], shape, Target(output, rate, subtype, overwrite, json, quiet))


def bandpass(
    low: Annotated[str, edge("LOW", "Where the response is -6 dB.")],
    high: Annotated[str, edge("HIGH", "Where the response is -6 dB.")],
    output: Output = "",
    taps: Taps = None,
    transition: Transition = None,
    stopband: Stopband = None,
    window: Windows = Window.kaiser,
    method: Methods = Method.window,
    phase: Phases = Phase.linear,
    mix: Mix = None,
    rate: Rate = 48_000,
    subtype: Sub = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Passes what is between two frequencies.

    longconv design bandpass 300 3.4k -o telephone.wav
    """
    shape = Shape(taps, transition, stopband, window, method, phase, mix)
    _bands("bandpass", [low, high], shape, Target(output, rate, subtype, overwrite, json, quiet))


def bandstop(
    low: Annotated[str, edge("LOW", "Where the response is -6 dB.")],
    high: Annotated[str, edge("HIGH", "Where the response is -6 dB.")],
    output: Output = "",
    taps: Taps = None,
    transition: Transition = None,
    stopband: Stopband = None,
    window: Windows = Window.kaiser,
    method: Methods = Method.window,
    phase: Phases = Phase.linear,
    mix: Mix = None,
    rate: Rate = 48_000,
    subtype: Sub = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Stops what is between two frequencies.

    longconv design bandstop 49 51 --transition 1 -o hum.wav
    """
    shape = Shape(taps, transition, stopband, window, method, phase, mix)
    _bands("bandstop", [low, high], shape, Target(output, rate, subtype, overwrite, json, quiet))


def _bands(kind: str, edges: list[str], shape: Shape, target: Target) -> None:
    from longconv_audio.filters.band_report import measure_bands
    from longconv_audio.filters.design import realize_bands
    from longconv_audio.filters.orders import plan_bands

    frequencies = tuple(hertz(edge, kind) for edge in edges)
    transition, window = hertz(shape.transition, "--transition"), shape.window.value
    design = plan_bands(kind, frequencies, target.rate, shape.taps, transition, shape.stopband, window)
    method, phase = shape.method.value, shape.phase.value
    h = target.rounded(realize_bands(design, method, phase, share(shape.phase, shape.mix)))
    report = measure_bands(h, design)
    target.write(
        h,
        (len(h) - 1) / 2 if phase == "linear" else None,
        {"kind": kind, "method": method, "window": window if method == "window" else None, "phase": phase}
        | asdict(report),
        f"{kind}, {phase} phase: {_achieved(report)}",
        _shortcomings(design, report, shape.stopband),
    )


def _achieved(report: BandReport) -> str:
    parts = []
    if report.passband_ripple_db is not None:
        parts.append(f"passband within {report.passband_ripple_db:.2g} dB")
    if report.stopband_db is not None:
        parts.append(f"stopband {-report.stopband_db:.1f} dB")
    edges = [f"{edge:.5g}" for edge in report.edges_hz if edge is not None]
    if edges:
        parts.append(f"-6 dB at {' and '.join(edges)} Hz")
    return ", ".join([*parts, f"transition {report.transition_hz:.5g} Hz"])


def _shortcomings(design: BandDesign, report: BandReport, stopband: float | None) -> list[str]:
    if not design.fits:
        edges = " and ".join(f"{edge:g}" for edge in design.edges)
        return [
            f"{design.taps} taps need {design.transition:.5g} Hz from passband to stopband, more than there is room "
            f"for beside {edges} Hz: pass more --taps or less --stopband"
        ]
    if stopband is not None and report.stopband_db < stopband - _MISSED_DB:
        return [f"the stopband is {-report.stopband_db:.1f} dB where {-stopband:g} dB was asked for"]
    return []
