"""`longconv plot`: a picture of an impulse response or a recording."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from typing import Annotated

import typer

from longconv_audio.duration import Duration
from longconv_audio.errors import LongconvError, OptionError, UnwritableError

from .channel_option import channel_numbers
from .filter_output import plain
from .messages import print_json, say, warn

SHOWN = "Panels, in order: waveform, decay, magnitude, phase, group-delay, spectrogram, waterfall."


def plot(
    input: Annotated[str, typer.Argument(metavar="INPUT", help="Audio file, .npy, .txt, or - for standard input.")],
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="A second one, drawn over it.", show_default=False)
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help=".png, .svg or .pdf, or - for standard output.", show_default=False)
    ] = "",
    show: Annotated[
        str | None,
        typer.Option(
            metavar="PANEL,...",
            help=SHOWN,
            show_default="five of them; three beyond a minute",
        ),
    ] = None,
    smoothing: Annotated[
        str, typer.Option(metavar="1/N", help="Of an octave, over frequency: 1/3, 1/6, ..., or none.")
    ] = "1/12",
    range: Annotated[
        str | None,
        typer.Option(metavar="LOW:HIGH", help="Of the frequency axes, in hertz.", show_default="20:20000"),
    ] = None,
    unwrap: Annotated[bool, typer.Option("--unwrap", help="Draw the phase unwrapped, from 0 Hz up.")] = False,
    channel: Annotated[
        list[str] | None,
        typer.Option(metavar="N,...", help="Channels to draw, from 1.", show_default="all, four lines at the most"),
    ] = None,
    start: Annotated[
        str, typer.Option(metavar="TIME", help="Where to begin: 2.5 (seconds), 20ms, 4800s (samples).")
    ] = "0",
    seconds: Annotated[
        str | None, typer.Option(metavar="TIME", help="How much to draw, likewise.", show_default="all")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Above the picture.", show_default="the file's name")] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="In pixels.", show_default="1600x1000, higher for six panels and more"),
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="png, svg or pdf.", show_default="by the output's name; png for -")
    ] = None,
    rate: Annotated[int | None, typer.Option(help="Sample rate in hertz of .npy and .txt, which name none.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", "-y", help="Replace an output that exists.")] = False,
    json: Annotated[bool, typer.Option("--json", help="What was drawn as JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but failures.")] = False,
) -> None:
    """Draws an impulse response or a recording, or two over each other: PNG, SVG or PDF.

    Unless told what to show: waveform, decay, magnitude, group delay and spectrogram; of what is longer than a minute
    waveform, magnitude and spectrogram.

    longconv plot ir.wav -o ir.png

    longconv plot before.wav after.wav -o compared.svg --show magnitude,phase --smoothing 1/6
    """
    if not output:
        raise OptionError("no output was given: pass -o FILE (.png, .svg, .pdf), or -o - for standard output")
    if json and output == "-":
        raise OptionError("--json and -o -: both go to standard output: write the picture to a file")
    if input == other == "-":
        raise OptionError("INPUT and OTHER are both standard input: name a file for one of them")
    if rate is not None and rate < 1:
        raise OptionError(f"--rate {rate}: expected at least 1 hertz")
    if os.path.isfile(output) and not overwrite:
        raise UnwritableError(f"{output}: exists: pass -y/--overwrite to replace it")
    options = {
        "kinds": None if show is None else [kind.strip() for kind in show.split(",")],
        "smoothing": _smoothing(smoothing),
        "band": _range(range),
        "size": _size(size),
        "format": format,
        "unwrap": unwrap,
        "title": title,
        "overwrite": overwrite,
    }
    channels = _channels(channel)
    begin, length = Duration.parse(start), None if seconds is None else Duration.parse(seconds)

    from longconv_audio.plotting import picture_format, plot

    picture_format(output, format)
    sounds, notes = [], []
    for source in (input, other):
        if source is not None:
            name, taps, samplerate, said = _read(source, begin, length, rate)
            sounds.append((name, _chosen(taps, channels, name), samplerate))
            notes += said
    picture = plot(output, sounds, **options)
    facts = asdict(picture)
    notes += facts.pop("notes")
    if json:
        print_json(plain({**facts, "warnings": notes}))
    if quiet:
        return
    for note in notes:
        warn(note)
    say(f"{picture.output}: {picture.width} x {picture.height} {picture.format.upper()}, {', '.join(picture.kinds)}")


def _read(source: str, start: Duration, length: Duration | None, rate: int | None):
    """The name, taps, rate and notes of a file, or of a part of it."""
    from longconv_audio.audio_io.impulse import read_taps, source_name

    name = source_name(source)
    try:
        taps, native, notes = read_taps(source, rate, start, length)
    except LongconvError as error:
        # The reader's words are those of `apply`.
        raise type(error)(str(error).replace("--ir-offset", "--start").replace("--ir-length", "--seconds")) from None
    if native is None and rate is None:
        raise OptionError(f"{name}: names no sample rate: pass --rate HERTZ")
    return os.path.basename(name), taps, native or rate, notes


def _chosen(taps, channels: list[int] | None, name: str):
    if channels is None:
        return taps
    if max(channels) > len(taps):
        raise OptionError(f"--channel {max(channels)}: {name} has {len(taps)}")
    return taps[[channel - 1 for channel in channels]]


def _channels(given: list[str] | None) -> list[int] | None:
    if not given:
        return None
    channels = channel_numbers(given)
    if len(channels) > 4:
        raise OptionError(f"--channel {','.join(given)}: expected up to four")
    return channels


def _smoothing(text: str) -> float | None:
    """The N of 1/N."""
    if text == "none":
        return None
    match = re.fullmatch(r"1/([0-9]{1,4}(?:\.[0-9]{1,4})?)", text)
    if match is None or not float(match[1]) > 0:
        raise OptionError(f"--smoothing {text}: expected a part of an octave, such as 1/6, or none")
    return float(match[1])


def _range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9.]{1,12}):([0-9.]{1,12})", text)
    try:
        return float(match[1]), float(match[2])
    except (TypeError, ValueError):
        raise OptionError(f"--range {text}: expected two frequencies in hertz, such as 20:20000") from None


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text)
    if match is None:
        raise OptionError(f"--size {text}: expected width and height in pixels, such as 1600x1000")
    return int(match[1]), int(match[2])
