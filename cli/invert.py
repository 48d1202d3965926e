"""`longconv invert`: the correction of a room or a loudspeaker."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from longconv_audio.errors import OptionError

from .filter_input import Input, Json, Output, Overwrite, Quiet, Rate, Subtype, check_files, read_filter
from .filter_output import write_filter

if TYPE_CHECKING:
    from longconv_audio.audio_io.impulse import ImpulseResponse
    from longconv_audio.filters.prediction import Correction


class Phase(str, Enum):
    minimum, linear, mixed = "minimum", "linear", "mixed"


class Channels(str, Enum):
    each, common = "each", "common"


def invert(
    input: Input,
    output: Output = "",
    target: Annotated[
        str | None,
        typer.Option(help="Target curve: CSV of freq,dB, or an equalizer's text; - for stdin.", show_default="flat"),
    ] = None,
    range: Annotated[
        str | None,
        typer.Option(help="What is corrected, in hertz.", show_default="20:20000, or to 0.45 of a low sample rate"),
    ] = None,
    max_boost: Annotated[float, typer.Option(help="Largest gain of the correction in dB.")] = 12.0,
    smoothing: Annotated[
        str, typer.Option(help="Of the response before it is inverted, in octaves: 1/6, 1/3; or none.")
    ] = "1/6",
    phase: Annotated[
        Phase,
        typer.Option(
            help="minimum: no latency. linear: the magnitude alone. mixed: the excess phase is corrected, too."
        ),
    ] = Phase.minimum,
    pre_ringing: Annotated[
        float,
        typer.Option(help="For mixed: the most energy in dB that may come earlier than --pre-ringing-time."),
    ] = -30.0,
    pre_ringing_time: Annotated[float, typer.Option(help="Ahead of the latency, in milliseconds.")] = 5.0,
    channels: Annotated[
        Channels, typer.Option(help="A correction for each channel, or one of their mean power for all.")
    ] = Channels.each,
    taps: Annotated[int, typer.Option(help="Length of the correction.")] = 32_768,
    rate: Rate = None,
    subtype: Subtype = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Makes the filter that corrects a measured room or loudspeaker.

    Outside the range the gain is 0 dB; inside, pink noise keeps its level. Prints the response before and after.

        longconv invert ir.wav -o correction.wav --max-boost 6 --range 30:16000
    """
    check_files([input] if target is None else [input, target], output, json, overwrite)
    limits, fraction = _range(range), _fraction(smoothing)
    from longconv_audio import filters

    curve = None if target is None else filters.read_curve(target)
    ir = read_filter(input, rate)
    made, report = filters.invert(
        ir.taps,
        ir.samplerate,
        taps=taps,
        target=curve,
        max_boost=max_boost,
        smoothing=fraction,
        range=limits,
        phase=phase.value,
        pre_ringing=pre_ringing,
        pre_ringing_time=pre_ringing_time / 1000,
        channels=channels.value,
    )
    write_filter(
        output,
        made,
        ir.samplerate,
        subtype=subtype,
        overwrite=overwrite,
        latency=report.latency_samples,
        facts={"correction": asdict(report)},
        said=[*ir.notes, *_said(report, curve.name if curve else "a flat target")],
        warnings=[
            *_no_response(ir),
            *(curve.warnings(ir.samplerate) if curve else ()),
            *_warnings(report, pre_ringing),
        ],
        json=json,
        quiet=quiet,
    )


def _range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise OptionError(f"--range {text}: expected two frequencies in hertz, as in 20:20000") from None


def _fraction(text: str) -> float | None:
    """The n of 1/n octave."""
    if text == "none":
        return None
    above, stroke, below = text.partition("/")
    try:
        return float(below) / float(above) if stroke else 1 / float(above)
    except (ValueError, ZeroDivisionError):
        raise OptionError(f"--smoothing {text}: expected a part of an octave, as in 1/6, or none") from None


def _no_response(ir: ImpulseResponse) -> list[str]:
    """Music and noise can be inverted, too, and nothing would be corrected."""
    from longconv_audio.filters.inspection import kind_of

    if kind_of(ir.taps, ir.samplerate) == "ir":
        return []
    return [f"{ir.name}: its energy does not come soon after its onset: is it an impulse response?"]


def _warnings(report: Correction, limit: float) -> list[str]:
    """Only mixed phase can keep to a limit on pre-ringing."""
    if report.pre_ringing_db is None or report.pre_ringing_db <= limit:
        return []
    return [f"pre-ringing {report.pre_ringing_db:.1f} dB, above --pre-ringing {limit:g}: pass --phase mixed or minimum"]


def _said(report: Correction, target: str) -> list[str]:
    smoothing = f"smoothed over 1/{report.smoothing:g} octave"
    lines = [f"from {report.low_hz:g} to {report.high_hz:g} Hz against {target}, {smoothing}:"]
    for name, found in (("before", report.before), ("after", report.after)):
        lines.append(
            f"{name}: {found.smoothed_max_db:.2f} dB off at most, {found.smoothed_rms_db:.2f} dB RMS "
            f"(without smoothing {found.max_db:.2f} and {found.rms_db:.2f} dB)"
        )
    lines.append(
        f"largest boost {report.largest_boost_db:+.1f} dB at {report.largest_boost_hz:.5g} Hz, largest cut "
        f"{report.largest_cut_db:+.1f} dB at {report.largest_cut_hz:.5g} Hz, pink noise {report.level_db + 0.0:+.2f} dB"
    )
    if report.pre_ringing_db is not None:
        lines.append(f"pre-ringing {report.pre_ringing_db:.1f} dB, more than {report.pre_ringing_ms:g} ms ahead")
    return lines
