"""What the commands that take filters and write filters have in common: their options, and reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from longconv_audio.errors import OptionError

from .apply import IrRate
from .filter_output import check_output

if TYPE_CHECKING:
    from longconv_audio.audio_io.impulse import ImpulseResponse

Input = Annotated[
    str, typer.Argument(metavar="IR", help="Impulse response: audio, .npy or .txt, or - for standard input.")
]
Inputs = Annotated[
    list[str], typer.Argument(metavar="IR...", help="Impulse responses: audio, .npy or .txt; one may be - for stdin.")
]
Output = Annotated[
    str,
    typer.Option("--output", "-o", help="Audio, .npy or .txt, or - for standard output (WAV).", show_default=False),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", "-y", help="Replace an output that exists.")]
Subtype = Annotated[
    str | None, typer.Option(help="Sample format: PCM_16, PCM_24, FLOAT, DOUBLE.", show_default="FLOAT")
]
Rate = Annotated[
    int | None,
    typer.Option(help="Sample rate to work at, in hertz, which .npy and .txt need.", show_default="the file's"),
]
IrRateOption = Annotated[
    IrRate, typer.Option("--ir-rate", help="IRs at another rate than the first: resample or refuse them.")
]
Order = Annotated[str, typer.Option("--ir-order", help="The channels of a true-stereo IR, each from input to output.")]
Json = Annotated[bool, typer.Option("--json", help="The report as JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but failures.")]


def check_files(inputs: list[str], output: str, json: bool, overwrite: bool) -> None:
    """Refuses, before any work, inputs and an output that cannot be."""
    if "" in inputs:
        raise OptionError("IR: an empty name: expected a file, or - for standard input")
    if inputs.count("-") > 1:
        raise OptionError("-: standard input can be read once: write the other to a file first")
    check_output(output, json, overwrite, inputs[0])


def read_filter(source: str, rate: int | None, ir_rate: IrRate = IrRate.resample) -> ImpulseResponse:
    """Reads an impulse response that has a sample rate, or is brought to one."""
    from longconv_audio.audio_io import read_ir

    if rate is not None and rate < 1:
        raise OptionError(f"--rate {rate}: expected 1 Hz or more")
    ir = read_ir(source, samplerate=rate, rate=ir_rate.value)
    if ir.samplerate is None:
        raise OptionError(f"{ir.name}: says no sample rate: pass --rate")
    return ir


def read_filters(sources: list[str], rate: int | None, ir_rate: IrRate) -> list[ImpulseResponse]:
    """Reads impulse responses at one sample rate: that asked for, or else the first's."""
    first = read_filter(sources[0], rate, ir_rate)
    return [first, *(read_filter(source, first.samplerate, ir_rate) for source in sources[1:])]
