"""`longconv apply`: one or several impulse responses on a file or pipe."""

from __future__ import annotations

import math
from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from longconv_audio.errors import OptionError

from .messages import Progress, clock, finite, print_json, say, warn

if TYPE_CHECKING:
    from longconv_audio.rendering import Rendering, Report


class Normalize(str, Enum):
    none, peak, l1, l2, magnitude = "none", "peak", "l1", "l2", "magnitude"


class Clip(str, Enum):
    warn, error, scale, limit = "warn", "error", "scale", "limit"


class Align(str, Enum):
    causal, peak = "causal", "peak"


class IrRate(str, Enum):
    resample, error = "resample", "error"


class Subtype(str, Enum):
    keep = "keep"
    PCM_16, PCM_24, PCM_32 = "PCM_16", "PCM_24", "PCM_32"
    FLOAT, DOUBLE = "FLOAT", "DOUBLE"


class Dither(str, Enum):
    auto, tpdf, none = "auto", "tpdf", "none"


class Metadata(str, Enum):
    keep, drop = "keep", "drop"


class Precision(str, Enum):
    single, double = "single", "double"


class NonFinite(str, Enum):
    error, zero = "error", "zero"


class When(str, Enum):
    auto, on, off = "auto", "on", "off"


# Times the cost model's own choice from which a block size is worth a warning.
_SLOW = 10


def _option(text: str, group: str, *names: str, **more):
    return typer.Option(*names, help=text, rich_help_panel=group, **more)


LEVELS, TIME, IR, OUTPUT, ENGINE, RAW, REPORTING = (
    "Levels",
    "Time (seconds; 4800s: samples; 20ms)",
    "Impulse response",
    "Output",
    "Engine",
    "Raw samples (INPUT where --rate and --channels are given; output to -, .raw, .pcm, .f32, .s16, ...)",
    "Reporting",
)


def apply(
    input: Annotated[str, typer.Argument(metavar="INPUT", help="Audio file, or - for standard input.")],
    irs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IR...",
            help="Impulse responses, applied in series: audio files, .npy, .txt, or matrix files (.toml, .conf).",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Audio file, or - for standard output.", show_default=False)
    ] = "",
    mix: Annotated[float | None, _option("Share of the wet signal: 0 dry, 1 wet.", LEVELS)] = None,
    dry: Annotated[float | None, _option("Level of the dry signal in dB.", LEVELS, show_default="silent")] = None,
    wet: Annotated[float | None, _option("Level of the wet signal in dB.", LEVELS, show_default="0")] = None,
    gain: Annotated[float, _option("Level of the whole in dB.", LEVELS)] = 0.0,
    normalize: Annotated[
        Normalize,
        _option("Scale the IR: its largest tap, the sum or energy of its taps, or its largest gain is 1.", LEVELS),
    ] = Normalize.none,
    clip: Annotated[
        Clip, _option("Beyond full scale: cut off and warn, fail, scale the whole down, or limit.", LEVELS)
    ] = Clip.warn,
    predelay: Annotated[float, _option("Delay of the wet signal in milliseconds.", TIME)] = 0.0,
    tail: Annotated[str, _option("full, none, or how long to go on after the input's end.", TIME)] = "full",
    align: Annotated[Align, _option("peak takes the IR's leading delay out.", TIME)] = Align.causal,
    start: Annotated[str | None, _option("Where in the input to begin.", TIME)] = None,
    duration: Annotated[str | None, _option("How much of the input to use.", TIME)] = None,
    ir_channels: Annotated[
        str, _option("auto, mono, parallel, true-stereo, or a matrix file (.toml, .conf) in place of IRs.", IR)
    ] = "auto",
    ir_order: Annotated[
        str, _option("The channels of a true-stereo IR, each from input to output.", IR)
    ] = "LL,LR,RL,RR",
    ir_rate: Annotated[IrRate, _option("An IR at another sample rate: resample or refuse it.", IR)] = IrRate.resample,
    ir_offset: Annotated[str, _option("How much to leave out at the IR's start.", IR)] = "0",
    ir_length: Annotated[str | None, _option("How much of the IR to use.", IR)] = None,
    fade_out: Annotated[str, _option("Length of a fade at the IR's end.", IR)] = "0",
    subtype: Annotated[Subtype, _option("Sample format.", OUTPUT)] = Subtype.keep,
    format: Annotated[str | None, _option("WAV, FLAC, OGG, ...", OUTPUT, show_default="by the name; WAV for -")] = None,
    dither: Annotated[Dither, _option("auto dithers 16 bits and fewer.", OUTPUT)] = Dither.auto,
    metadata: Annotated[Metadata, _option("Tags and descriptive chunks.", OUTPUT)] = Metadata.keep,
    overwrite: Annotated[bool, _option("Replace an output that exists.", OUTPUT, "--overwrite", "-y")] = False,
    device: Annotated[str, _option("auto, cpu, cuda, cuda:1, ...: auto is a GPU where that pays.", ENGINE)] = "auto",
    precision: Annotated[
        Precision | None,
        _option("Of the arithmetic.", ENGINE, show_default="single; double for PCM_24, PCM_32 and DOUBLE output"),
    ] = None,
    block_size: Annotated[int | None, _option("Points of the FFT.", ENGINE, show_default="by the cost model")] = None,
    nonfinite: Annotated[NonFinite, _option("NaN and infinity in the input.", ENGINE)] = NonFinite.error,
    strict: Annotated[bool, _option("Fail where the input is shorter than it says.", ENGINE, "--strict")] = False,
    raw_format: Annotated[str | None, _option("f32le, s16le, s24le, ...", RAW)] = None,
    rate: Annotated[int | None, _option("Sample rate in hertz.", RAW)] = None,
    channels: Annotated[int | None, _option("Channels of the input.", RAW)] = None,
    dry_run: Annotated[
        bool, _option("Check everything, say what would be done, write nothing.", REPORTING, "--dry-run", "-n")
    ] = False,
    json: Annotated[bool, _option("The report as JSON on standard output.", REPORTING, "--json")] = False,
    quiet: Annotated[bool, _option("Nothing but failures.", REPORTING, "--quiet", "-q")] = False,
    verbose: Annotated[bool, _option("How the convolution is done, too.", REPORTING, "--verbose", "-v")] = False,
    progress: Annotated[When, _option("A progress line; auto: where there is a terminal.", REPORTING)] = When.auto,
) -> None:
    """Applies impulse responses to an audio file or pipe.

    The whole tail is written, no level is changed unless asked, and the output has the input's sample format.

        longconv apply dry.wav hall.wav -o wet.wav --mix 0.3
    """
    if not output:
        raise OptionError("no output was given: pass -o FILE, or -o - for standard output")
    if "" in (input, *(irs or [])):
        raise OptionError("INPUT and IR: one of them is an empty name: expected a file, or - for standard input")
    if json and output == "-":
        raise OptionError("--json and -o -: both go to standard output: write the audio to a file")
    from longconv_audio.duration import Duration
    from longconv_audio.filter_chain import FilterSettings
    from longconv_audio.rendering import Rendering, RenderSettings

    filters = FilterSettings(
        mix=mix,
        dry=dry,
        wet=wet,
        gain=gain,
        normalize=normalize.value,
        predelay=predelay,
        align=align.value,
        channels=ir_channels,
        order=ir_order,
        rate=ir_rate.value,
        offset=Duration.parse(ir_offset),
        length=None if ir_length is None else Duration.parse(ir_length),
        fade_out=Duration.parse(fade_out),
    )
    settings = RenderSettings(
        start=None if start is None else Duration.parse(start),
        duration=None if duration is None else Duration.parse(duration),
        tail=tail if tail in ("full", "none") else Duration.parse(tail),
        clip=clip.value,
        nonfinite=nonfinite.value,
        strict=strict,
        raw_format=raw_format,
        rate=rate,
        channels=channels,
        format=format,
        subtype=subtype.value,
        dither=dither.value,
        metadata=metadata.value,
        overwrite=overwrite,
        precision=None if precision is None else precision.value,
        block_size=block_size,
        device=device,
    )
    rendering = Rendering(input, irs or [], output, filters, settings)
    lengths = {"start": settings.start, "duration": settings.duration, "tail": settings.tail}
    lengths |= {"ir-offset": filters.offset, "ir-length": filters.length, "fade-out": filters.fade_out}
    rendering.report.notes += _tiny(lengths, rendering.report.samplerate)
    if rendering.slowdown > _SLOW and not quiet:  # said before the waiting, not after it
        warn(f"--block-size {block_size}: about {rendering.slowdown:.0f} times the work of the size chosen without it")
    if dry_run:
        rendering.close()
    else:
        run(rendering, progress.value if not quiet else "off")
    show(rendering.report, dry_run=dry_run, json=json, quiet=quiet, verbose=verbose)


def _tiny(lengths: dict, samplerate: int) -> list[str]:
    """A note for each length in samples that was probably meant in seconds: 10s."""
    counts = {name: int(length.amount) for name, length in lengths.items() if getattr(length, "unit", "") == "samples"}
    return [
        f"--{name} {count}s: {count} samples, less than a millisecond; write {count} for seconds"
        for name, count in counts.items()
        if 0 < count < samplerate / 1000
    ]


def run(rendering: Rendering, mode: str) -> None:
    """Does what was prepared, with a progress line where `mode` says so."""
    line = Progress(rendering.frames_out, rendering.report.samplerate, mode)
    try:
        rendering.run(line)
    finally:
        line.close()


def show(report: Report, *, dry_run: bool, json: bool, quiet: bool, verbose: bool) -> None:
    """Prints what was done, or what would be."""
    if json:
        values = {key: finite(value) if isinstance(value, float) else value for key, value in asdict(report).items()}
        print_json(values | {"dry_run": dry_run})
    if quiet:
        return
    for line in report.warnings:
        warn(line)
    for line in report.notes:
        say(line)
    if verbose:
        say(f"{report.precision} precision on {report.device}; {report.plan}")
    say(_would(report) if dry_run else _did(report))


def _did(report: Report) -> str:
    """The last line."""
    peak = f"{report.peak_dbfs:.1f}" if math.isfinite(report.peak_dbfs) else "-inf"
    tail = report.frames_out - report.frames_in
    frames = f"{report.frames_in} frames" + (f" + {tail} of tail" if tail > 0 else "")
    return (
        f"{report.output}: {frames}, {report.speed:.0f} x real time, peak {peak} dBFS, "
        f"{report.clipped} clipped, gain {report.gain_db + 0.0:+.1f} dB"
    )


def _would(report: Report) -> str:
    layout = f"{report.channels_out} channels, {report.samplerate} Hz, {report.format} {report.subtype}"
    if report.frames_out is None:
        return f"{report.output}: {layout}; the input does not say how long it is; {report.taps} taps (dry run)"
    length = clock(report.frames_out / report.samplerate)
    size = "" if report.bytes_out is None else f"{report.bytes_out / 1e6:.1f} MB; "
    return (
        f"{report.output}: {report.frames_in} frames + {report.frames_out - report.frames_in} of tail ({length}), "
        f"{layout}, {size}{report.taps} taps (dry run: nothing was written)"
    )
