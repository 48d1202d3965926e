"""`longconv inspect`: what an impulse response or a recording is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from longconv_audio.errors import OptionError, UnreadableError

from .channel_option import channel_numbers
from .filter_output import plain
from .messages import print_json, put, warn

if TYPE_CHECKING:
    import numpy as np

    from longconv_audio.filters.inspection import Inspection


class Bands(str, Enum):
    octave, third = "octave", "third"


class Kind(str, Enum):
    auto, ir, recording = "auto", "ir", "recording"


# Samples of a recording, all channels together, that are in memory at a time.
BLOCK_SAMPLES = 1 << 20


def inspect(
    input: Annotated[
        str, typer.Argument(metavar="INPUT", help="Audio file, .npy or .txt; - is audio on standard input.")
    ],
    bands: Annotated[Bands, typer.Option(help="Of the room parameters.")] = Bands.octave,
    kind: Annotated[
        Kind,
        typer.Option(
            "--as", help="What INPUT is. auto: an impulse response has most of its energy soon after its onset."
        ),
    ] = Kind.auto,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N,...",
            help="Room parameters of these channels, from 1.",
            show_default="the mean of all",
        ),
    ] = None,
    rate: Annotated[int | None, typer.Option(metavar="HZ", help="Sample rate of a .npy or .txt.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Everything, of every channel, as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No warnings.")] = False,
) -> None:
    """Says what an impulse response is (levels, onset, gains, noise, the room by band) or a recording (levels, LUFS).

    longconv inspect ir.wav --bands third

    Times and clarity are those of ISO 3382-1. What cannot be measured is left open, and the reason stands below. A
    recording may be of any length: it is read in blocks.
    """
    channels = channel_numbers(channel) if channel else []
    name, found, warnings = _inspect(input, kind.value, bands is Bands.third, rate)
    for number in channels:
        if not 1 <= number <= found.channels:
            raise OptionError(f"--channel {number}: {name} has {found.channels}, counted from 1")
        if found.kind == "recording":
            raise OptionError(f"--channel {number}: {name} was taken for a recording: pass --as ir for its room")
    if not quiet and not json:
        for warning in warnings:
            warn(warning)
    if json:
        print_json(plain({"input": name, **asdict(found), "warnings": warnings}))
    else:
        from .inspection_text import lines

        put("\n".join(lines(name, found, channels, kind is Kind.auto)))


def _inspect(source: str, kind: str, thirds: bool, rate: int | None) -> tuple[str, Inspection, list[str]]:
    """Reads and inspects: what the input is called, what was found, and what its reader had to say."""
    from longconv_audio.audio_io import AudioReader
    from longconv_audio.audio_io.impulse import read_ir
    from longconv_audio.filters.bands import octave_bands
    from longconv_audio.filters.inspection import LONGEST_IR_SECONDS, inspect, inspect_blocks

    bands = octave_bands(3 if thirds else 1, 50.0, 20_000.0)
    if source.lower().endswith((".npy", ".txt")):
        if rate is None or rate < 1:
            raise OptionError(f"{source}: has no sample rate: pass it with --rate, such as --rate 48000")
        ir = read_ir(source, samplerate=rate)
        return ir.name, inspect(ir.taps, rate, kind, bands, ir.name), ir.notes
    if rate is not None:
        raise OptionError(f"--rate {rate}: is for .npy and .txt; {source} has its own")
    with AudioReader(source, dtype="float64") as reader:
        samplerate = int(reader.samplerate)
        first = reader.read(-1 if kind == "ir" else int(LONGEST_IR_SECONDS * samplerate) + 1)
        if not first.size:
            raise UnreadableError(f"{reader.name}: holds 0 samples; expected at least 1")
        if kind == "recording" or (kind == "auto" and first.shape[1] > LONGEST_IR_SECONDS * samplerate):
            found = inspect_blocks(_blocks(first, reader), samplerate, reader.name)
        else:
            found = inspect(first, samplerate, kind, bands, reader.name)
        return reader.name, found, reader.warnings


def _blocks(first: np.ndarray, reader) -> Iterator[np.ndarray]:
    yield first
    while (block := reader.read(max(1, BLOCK_SAMPLES // reader.channels))).shape[1]:
        yield block
