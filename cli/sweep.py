"""`longconv sweep`: the sound that measures impulse responses."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from typing import Annotated

import typer

from longconv_audio.errors import OptionError

from .messages import print_json, say, warn


class Subtype(str, Enum):
    PCM_16, PCM_24, PCM_32 = "PCM_16", "PCM_24", "PCM_32"
    FLOAT, DOUBLE = "FLOAT", "DOUBLE"


SWEEP, SCHEDULE, OUTPUT = "Sweep", "Schedule (seconds; 4800s: samples; 20ms)", "Output"


def _option(text: str, group: str, *names: str, **more):
    return typer.Option(*names, help=text, rich_help_panel=group, **more)


def sweep(
    output: Annotated[
        str, typer.Option("--output", "-o", help="Audio file, or - for standard output.", show_default=False)
    ] = "",
    start: Annotated[float, _option("First frequency in hertz.", SWEEP)] = 14.0,
    end: Annotated[
        float | None, _option("Last frequency in hertz.", SWEEP, show_default="22000, or 0.46 of the rate")
    ] = None,
    seconds: Annotated[str, _option("Length, rounded so that harmonics are delayed copies.", SWEEP)] = "10",
    level: Annotated[float, _option("Peak in dBFS.", SWEEP)] = -6.0,
    fade_in: Annotated[
        str | None, _option("Half cosine within the sweep, at its start.", SWEEP, show_default="half an octave")
    ] = None,
    fade_out: Annotated[
        str | None, _option("The same at its end.", SWEEP, show_default="a twelfth of an octave")
    ] = None,
    before: Annotated[str, _option("Silence ahead of everything.", SCHEDULE)] = "0.5",
    after: Annotated[str, _option("Silence after each sweep: as long as the room rings.", SCHEDULE)] = "2",
    repeats: Annotated[
        int, _option("Of each channel: averaged, and two or more tell the drift of two clocks.", SCHEDULE)
    ] = 1,
    channels: Annotated[int, _option("That play, one after the other.", SCHEDULE)] = 1,
    rate: Annotated[int, _option("Sample rate in hertz.", OUTPUT)] = 48_000,
    subtype: Annotated[Subtype, _option("Sample format.", OUTPUT)] = Subtype.PCM_24,
    overwrite: Annotated[bool, _option("Replace an output that exists.", OUTPUT, "--overwrite", "-y")] = False,
    json: Annotated[bool, _option("The report as JSON on standard output.", OUTPUT, "--json")] = False,
    quiet: Annotated[bool, _option("Nothing but failures.", OUTPUT, "--quiet", "-q")] = False,
) -> None:
    """Writes an exponential sine sweep to play through what is to be measured.

    The file says in its comment what it holds, so that `longconv deconvolve` knows.

        longconv sweep -o sweep.wav --repeats 2 --channels 2
    """
    if not output:
        raise OptionError("no output was given: pass -o FILE, or -o - for standard output")
    if json and output == "-":
        raise OptionError("--json and -o -: both go to standard output: write the sweep to a file")
    from longconv_audio.audio_io import AudioWriter
    from longconv_audio.duration import Duration
    from longconv_audio.filters import Sweep

    def in_seconds(text: str | None) -> float | None:
        if text is None:
            return None
        duration = Duration.parse(text)
        return float(duration.amount) / (max(rate, 1) if duration.unit == "samples" else 1)

    made = Sweep(
        samplerate=rate,
        start=start,
        end=end,
        seconds=in_seconds(seconds),
        level=level,
        fade_in=in_seconds(fade_in),
        fade_out=in_seconds(fade_out),
        before=in_seconds(before),
        after=in_seconds(after),
        repeats=repeats,
        channels=channels,
    )
    with AudioWriter(
        output,
        samplerate=rate,
        channels=channels,
        subtype=subtype.value,
        frames=made.frames,
        tags={"comment": made.tag()},
        overwrite=overwrite,
    ) as writer:
        writer.write(made.signal())
    low, high = made.band
    length = made.sweep_frames / rate
    if json:
        values = {"output": writer.name, **asdict(made), "sweep_seconds": length, "rate_seconds": made.rate_seconds}
        print_json(values | {"band": [low, high], "frames": made.frames, "warnings": writer.warnings})
    if quiet:
        return
    for line in writer.warnings:
        warn(line)
    turns = f", {channels} channels in turn" if channels > 1 else ""
    times = f"{repeats} times " if repeats > 1 else ""
    say(
        f"{writer.name}: {times}{start:g} to {made.end:g} Hz in {length:.4g} s{turns}, {level:g} dBFS from "
        f"{round(low, 1):g} to {round(high):g} Hz; {made.frames / rate:.4g} s in all at {rate} Hz, {writer.subtype}"
    )
