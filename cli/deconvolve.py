"""`longconv deconvolve`: an impulse response out of a recorded sweep."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from longconv_audio.errors import OptionError

from .filter_output import check_output, plain, write_filter

if TYPE_CHECKING:
    from longconv_audio.filters import Measurement


class Method(str, Enum):
    inversion, inverse_filter = "inversion", "inverse-filter"


class Align(str, Enum):
    direct, start = "direct", "start"


EXCITATION, RESPONSE, OUTPUT = (
    "Sweeps by other tools (SWEEP holds one pass in one channel)",
    "Response (seconds; 4800s: samples; 20ms)",
    "Output",
)


def _option(text: str, group: str, *names: str, **more):
    return typer.Option(*names, help=text, rich_help_panel=group, **more)


def deconvolve(
    recording: Annotated[str, typer.Argument(metavar="RECORDING", help="Audio file, or - for standard input.")],
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="What was played: the file, or - for standard input.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Impulse response, or - for standard output.", show_default=False)
    ] = "",
    method: Annotated[
        Method, _option("inversion is exact within the band; inverse-filter is the sweep reversed.", RESPONSE)
    ] = Method.inversion,
    align: Annotated[
        Align,
        _option("Time zero: the earliest direct sound, or the start of both files (with its latency).", RESPONSE),
    ] = Align.direct,
    lead: Annotated[
        str | None,
        _option(
            "How much to keep ahead of time zero.",
            RESPONSE,
            show_default="five periods of the lowest frequency, 200 ms at most",
        ),
    ] = None,
    length: Annotated[
        str | None, _option("Of the response, lead included.", RESPONSE, show_default="the silence after the sweep")
    ] = None,
    drift: Annotated[
        str,
        _option(
            "Of the clocks: auto measures it by repeats of the sweep and takes it out; compactness takes out what "
            "makes the response to one sweep the most compact; none; or a number in ppm.",
            RESPONSE,
        ),
    ] = "auto",
    harmonics: Annotated[int, _option("The highest order of distortion; 1 for none.", RESPONSE)] = 5,
    harmonics_output: Annotated[
        str | None, _option("File for the harmonics' responses: order by order from 2.", RESPONSE, show_default=False)
    ] = None,
    start: Annotated[float | None, _option("Its first frequency in hertz.", EXCITATION, show_default="found")] = None,
    end: Annotated[float | None, _option("Its last frequency in hertz.", EXCITATION, show_default="found")] = None,
    repeats: Annotated[
        int | None, _option("How often the file was played in a row.", EXCITATION, show_default="1")
    ] = None,
    subtype: Annotated[str | None, _option("Sample format.", OUTPUT, show_default="FLOAT")] = None,
    overwrite: Annotated[bool, _option("Replace an output that exists.", OUTPUT, "--overwrite", "-y")] = False,
    json: Annotated[bool, _option("The report as JSON on standard output.", OUTPUT, "--json")] = False,
    quiet: Annotated[bool, _option("Nothing but failures.", OUTPUT, "--quiet", "-q")] = False,
) -> None:
    """Makes an impulse response of a recorded sweep.

    The sweep is found in the recording, its repeats are averaged and tell the drift between two clocks, which is taken
    out, and harmonic distortion is reported. Levels are true: a wire gives a gain of 1. Of two channels that played
    and two that recorded come LL, LR, RL, RR, as `apply --ir-channels true-stereo` takes them.

        longconv deconvolve recording.wav sweep.wav -o ir.wav
    """
    check_output(output, json, overwrite, recording)
    if recording == sweep == "-":
        raise OptionError("RECORDING and SWEEP are both -: standard input holds only one of them")
    if harmonics_output is not None and (harmonics_output in ("-", output) or harmonics < 2):
        raise OptionError(
            f"--harmonics-output {harmonics_output}: expected a file other than -o's, and --harmonics of 2 or more"
        )
    from longconv_audio import filters
    from longconv_audio.audio_io import AudioReader, write_ir
    from longconv_audio.duration import Duration
    from longconv_audio.endpoints import check_target

    if harmonics_output is not None:
        check_target(recording, harmonics_output, overwrite)
    excitation, notes = filters.read_sweep(sweep, start=start, end=end, repeats=repeats)
    with AudioReader(recording, dtype="float64") as reader:
        samples, rate = reader.read(), int(reader.samplerate)
        notes += reader.warnings
    found = filters.deconvolve(
        samples,
        rate,
        excitation,
        method=method.value,
        align=align.value,
        lead=None if lead is None else Duration.parse(lead).samples(rate),
        length=None if length is None else Duration.parse(length).samples(rate),
        drift=drift,
        orders=harmonics,
    )
    if harmonics_output is not None:
        if found.harmonics is None:
            raise OptionError(
                "--harmonics-output: SWEEP is not known to be an exponential sweep: pass its --start and --end"
            )
        flat = found.harmonics.reshape(-1, found.harmonics.shape[-1])
        write_ir(harmonics_output, flat, rate, overwrite=overwrite)
    facts = {
        key: value for key, value in asdict(found).items() if key not in ("taps", "harmonics", "latency", "warnings")
    }
    write_filter(
        output,
        found.taps,
        rate,
        subtype=subtype,
        overwrite=overwrite,
        latency=found.latency,
        facts=plain(facts),
        said=_said(found),
        warnings=[*notes, *found.warnings],
        json=json,
        quiet=quiet,
    )


def _said(found: Measurement) -> list[str]:
    """What people are told."""
    low, high = found.band
    averaged = f", {found.repeats} repeats averaged" if found.repeats > 1 else ""
    lines = [
        f"direct sound found at {found.found_seconds:.4f} s; {found.played} played and {found.recorded} recorded "
        f"channels{averaged}; exact from {round(low, 1):g} to {round(high):g} Hz"
    ]
    if found.drift_by == "given":
        lines.append(f"clock drift of {found.drift_ppm:+.3f} ppm taken out, as given")
    elif found.drift_by is not None and not found.drift_ppm:
        lines.append("no clock drift: the repeats are in time")
    elif found.drift_by is not None:
        lines.append(f"clock drift of {found.drift_ppm:+.3f} ppm measured by {found.drift_by} and taken out")
    for number, (noise, snr) in enumerate(zip(found.noise_db, found.snr_db, strict=True), 1):
        of = f"response {number}: " if len(found.noise_db) > 1 else ""
        if noise is not None and snr is not None:
            lines.append(f"{of}noise floor {noise:.1f} dB, signal-to-noise ratio {snr:.1f} dB")
        distortion = None if found.distortion is None else found.distortion[number - 1]
        if distortion is not None and distortion.thd_percent is not None:
            orders = ", ".join(
                f"{order}: {value:.3g} %" for order, value in enumerate(distortion.orders_percent, 2) if value
            )
            lines.append(
                f"{of}THD {distortion.thd_percent:.3g} % ({distortion.thd_db:.1f} dB) over all bands (order {orders})"
            )
        elif distortion is not None and distortion.bands:
            lines.append(f"{of}THD: no harmonic stands out of the noise")
    return lines
