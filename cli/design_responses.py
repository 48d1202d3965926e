"""`longconv design eq`, `hilbert` and `delay`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from longconv_audio.errors import OptionError

from .design_options import (
    DESIGN,
    Json,
    Mix,
    Output,
    Overwrite,
    Phase,
    Phases,
    Quiet,
    Rate,
    Sub,
    Target,
    edge,
    hertz,
    option,
    samples,
    share,
)

# A curve that is missed by more is worth a warning.
_MISSED_DB = 0.5
# No equaliser amplifies by so much.
_LOUD_DB = 40.0


def eq(
    curve: Annotated[
        str,
        typer.Argument(
            metavar="CURVE",
            help="Lines of Hz and dB (CSV, REW's text), or of an equaliser (REW's filter settings, AutoEq's "
            "GraphicEQ and ParametricEQ, Equalizer APO); - is standard input.",
        ),
    ],
    output: Output = "",
    taps: Annotated[int | None, option("Length.", DESIGN, show_default="what follows the curve within 0.1 dB")] = None,
    phase: Phases = Phase.linear,
    mix: Mix = None,
    rate: Rate = 48_000,
    subtype: Sub = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Follows a curve.

    longconv design eq curve.csv --phase minimum -o eq.wav
    """
    target = Target(output, rate, subtype, overwrite, json, quiet)
    from longconv_audio.filters.curves import read_curve
    from longconv_audio.filters.equalization import equalizer, equalizer_latency, measure_curve

    part = share(phase, mix)
    wanted = read_curve(curve)
    h = target.rounded(equalizer(wanted, rate, taps=taps, phase=phase.value, mix=part))
    report = measure_curve(h, wanted, rate)
    warnings = wanted.warnings(rate)
    if report.peak_db > _LOUD_DB:
        warnings.append(
            f"{wanted.name}: its largest level is {report.peak_db:+.0f} dB: a measurement in dB SPL is no equaliser: "
            "invert it, or take its level at 1 kHz off"
        )
    if report.error_db > _MISSED_DB:
        warnings.append(
            f"{len(h)} taps miss the curve by {report.error_db:.1f} dB at {report.error_hz:.5g} Hz: what is that sharp "
            "needs more --taps, or --phase minimum"
        )
    target.write(
        h,
        equalizer_latency(len(h), phase.value, part) if phase is Phase.linear else None,
        {"kind": "eq", "curve": wanted.name, "phase": phase.value, **asdict(report)},
        f"within {report.error_db:.2g} dB of {wanted.name} from 20 Hz up, {phase.value} phase",
        warnings,
    )


def hilbert(
    output: Output = "",
    taps: Annotated[int | None, option("Length.", DESIGN, show_default="what lowest and accuracy need")] = None,
    lowest: Annotated[
        str | None, option("Where its band begins, in Hz.", DESIGN, show_default="20, or what the taps allow")
    ] = None,
    accuracy: Annotated[
        float | None, option("Error below the signal in dB.", DESIGN, show_default="60, or what the taps allow")
    ] = None,
    rate: Rate = 48_000,
    subtype: Sub = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Makes every frequency 90 degrees late.

    longconv design hilbert --lowest 50 -o hilbert.wav
    """
    target = Target(output, rate, subtype, overwrite, json, quiet)
    from longconv_audio.filters.phase_shifters import phase_error, plan_hilbert, realize_hilbert

    design = plan_hilbert(rate, taps, hertz(lowest, "--lowest"), accuracy)
    h = target.rounded(realize_hilbert(design))
    error = phase_error(h, design, -90)
    target.write(
        h,
        design.latency,
        {"kind": "hilbert", "band_hz": design.band, "error_db": error},
        f"90 degrees late within {error:.1f} dB from {design.band[0]:.4g} to {design.band[1]:.6g} Hz; what it is "
        f"heard beside needs a delay of {design.latency:g} samples",
        [],
    )


def delay(
    time: Annotated[str, edge("DELAY", "In samples (123.4567, 480s) or milliseconds (2.5ms).")],
    output: Output = "",
    fractional: Annotated[
        bool, option("Keep parts of a sample, by a windowed sinc; without it they are rounded away.", DESIGN)
    ] = False,
    taps: Annotated[int | None, option("Of the sinc.", DESIGN, show_default="what the rest needs")] = None,
    bandwidth: Annotated[
        str | None,
        option("Up to where it holds, in Hz.", DESIGN, show_default="0.9 of half the rate, or what the taps allow"),
    ] = None,
    accuracy: Annotated[
        float | None, option("Error below the signal in dB.", DESIGN, show_default="80, or what the taps allow")
    ] = None,
    rate: Rate = 48_000,
    subtype: Sub = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Delays by any time, a part of a sample included.

    longconv design delay 2.5ms -o delay.wav
    """
    target = Target(output, rate, subtype, overwrite, json, quiet)
    from longconv_audio.filters.phase_shifters import phase_error, plan_delay, realize_delay

    if not fractional and (taps, bandwidth, accuracy) != (None, None, None):
        raise OptionError("--taps, --bandwidth and --accuracy are of a --fractional delay: pass that, too")
    asked = samples(time, rate)
    design = plan_delay(asked if fractional else round(asked), rate, taps, hertz(bandwidth, "--bandwidth"), accuracy)
    h = target.rounded(realize_delay(design))
    warnings = []
    if design.latency != asked:
        warnings.append(f"{asked:.9g} samples are rounded to {design.latency:g}: --fractional keeps parts of a sample")
    error = phase_error(h, design)
    exact = design.latency.is_integer()
    facts = {"delay_samples": design.latency, "band_hz": design.band, "error_db": None if exact else error}
    said = "exact" if exact else f"within {error:.1f} dB up to {design.band[1]:.6g} Hz"
    target.write(
        h,
        design.latency,
        {"kind": "delay", **facts},
        f"a delay of {design.latency:.9g} samples ({1000 * design.latency / rate:.6g} ms), {said}",
        warnings,
    )
