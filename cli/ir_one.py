"""`longconv ir trim`, `normalize`, `resample`, `minphase`: what is done to one impulse response."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from typing import Annotated

import typer

from longconv_audio.errors import OptionError

from .filter_input import Input, Json, Output, Overwrite, Quiet, Rate, Subtype, check_files, read_filter
from .filter_output import write_filter


class Kind(str, Enum):
    peak, l1, l2, magnitude = "peak", "l1", "l2", "magnitude"


def trim(
    input: Input,
    output: Output = "",
    onset: Annotated[
        str, typer.Option(help="The start: the first sample within so many dB of the peak; none keeps what is there.")
    ] = "-20",
    preroll: Annotated[str, typer.Option(help="How much to keep ahead of that.")] = "1ms",
    end: Annotated[
        str,
        typer.Option(
            help="The end: noise, where the decay has come down to it in every band; the last sample within so many dB "
            "of the peak, as -60; or none."
        ),
    ] = "noise",
    length: Annotated[str | None, typer.Option(help="The most to keep, preroll included.", show_default="all")] = None,
    fade_in: Annotated[str, typer.Option(help="Length of a fade at the start.")] = "0",
    fade_out: Annotated[str, typer.Option(help="Length of a fade at the end.")] = "0",
    rate: Rate = None,
    subtype: Subtype = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Cuts an impulse response to where its sound begins and ends.

    Times are seconds; 20ms; 4800s counts samples. To have more than ends at the noise, use longconv ir extend first.

        longconv ir trim recorded.wav -o ir.wav --end noise --fade-out 20ms
    """
    check_files([input], output, json, overwrite)
    threshold = None if onset == "none" else _decibels("onset", onset)
    level = None if end in ("none", "noise") else _decibels("end", end)
    from longconv_audio import filters
    from longconv_audio.duration import Duration

    fades = [Duration.parse(text) for text in (fade_in, fade_out)]
    limits = {"preroll": Duration.parse(preroll), "length": None if length is None else Duration.parse(length)}
    ir = read_filter(input, rate)
    taps, cut = filters.trim(
        ir.taps, ir.samplerate, threshold_db=threshold, noise=end == "noise", end_db=level, **limits
    )
    taps = filters.fade(taps, *(length.samples(ir.samplerate) for length in fades))
    said = f"kept samples {cut.start} to {cut.end - 1} of {ir.taps.shape[1]}"
    if cut.onset is not None:
        said += f", onset at {cut.onset}"
    if end == "noise":
        said += f", noise from {cut.knee}" if cut.knee is not None else "; the decay meets no noise"
    _write(output, taps, ir, {"trim": asdict(cut)}, [said], subtype, overwrite, json, quiet)


def normalize(
    input: Input,
    output: Output = "",
    kind: Annotated[
        Kind,
        typer.Option(
            help="What is set: the largest tap; l1, a channel's sum of magnitudes, so that nothing can clip; l2, the "
            "root of its energy; magnitude, the largest gain at any frequency."
        ),
    ] = Kind.peak,
    level: Annotated[float, typer.Option(help="To what, in dB.")] = 0.0,
    rate: Rate = None,
    subtype: Subtype = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Brings an impulse response to a level, all channels by the same gain.

    longconv ir normalize hall.wav -o level.wav --kind magnitude --level -3
    """
    check_files([input], output, json, overwrite)
    from longconv_audio import filters

    ir = read_filter(input, rate)
    taps, gain = filters.normalize(ir.taps, kind.value, level)
    said = [f"{kind.value} set to {level:+g} dB: gain {gain:+.2f} dB"]
    _write(output, taps, ir, {"gain_db": gain}, said, subtype, overwrite, json, quiet)


def resample(
    input: Input,
    output: Output = "",
    rate: Annotated[int, typer.Option(help="Sample rate wanted, in hertz.", show_default=False)] = 0,
    input_rate: Annotated[
        int | None, typer.Option(help="Sample rate of .npy and .txt, in hertz.", show_default="the file's")
    ] = None,
    subtype: Subtype = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Brings an impulse response to another sample rate; its gain at each frequency stays.

    longconv ir resample hall.wav -o hall-96.wav --rate 96000
    """
    check_files([input], output, json, overwrite)
    if rate < 1:
        given = f"--rate {rate}" if rate else "no rate"
        raise OptionError(f"{given}: expected the sample rate wanted, as in --rate 96000")
    from dataclasses import replace

    from longconv_audio import filters
    from longconv_audio.audio_io import read_ir

    ir = read_ir(input)
    native = ir.samplerate or input_rate
    if ir.samplerate and input_rate not in (None, ir.samplerate):
        raise OptionError(f"--input-rate {input_rate}: is for .npy and .txt; {ir.name} is at {ir.samplerate} Hz")
    if not native or native < 1:
        raise OptionError(f"{ir.name}: says no sample rate: pass it with --input-rate, such as --input-rate 48000")
    taps, origin = filters.resample(ir.taps, native, rate)
    said = [f"resampled from {native} to {rate} Hz"]
    if origin:
        said.append(f"the interpolation rings ahead: tap 0 is now sample {origin} ({1000 * origin / rate:.3g} ms)")
    facts = {"input_samplerate": native, "origin": origin}
    _write(output, taps, replace(ir, samplerate=rate), facts, said, subtype, overwrite, json, quiet)


def minphase(
    input: Input,
    output: Output = "",
    taps: Annotated[int | None, typer.Option(help="Length of the result.", show_default="as it was")] = None,
    rate: Rate = None,
    subtype: Subtype = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Makes the filter of the same gain at each frequency with the least delay.

    longconv ir minphase linear.wav -o minimum.wav
    """
    check_files([input], output, json, overwrite)
    from longconv_audio import filters

    ir = read_filter(input, rate)
    made = filters.minimum_phase(ir.taps, taps)
    _write(output, made, ir, {}, [], subtype, overwrite, json, quiet, latency=0)


def _write(output, taps, ir, facts, said, subtype, overwrite, json, quiet, latency=None) -> None:
    write_filter(
        output,
        taps,
        ir.samplerate,
        subtype=subtype,
        overwrite=overwrite,
        latency=latency,
        facts=facts,
        said=[*ir.notes, *said],
        json=json,
        quiet=quiet,
    )


def _decibels(name: str, text: str) -> float:
    try:
        return float(text.lower().removesuffix("db"))
    except ValueError:
        words = "noise, none or a number of dB" if name == "end" else "none or a number of dB"
        raise OptionError(f"--{name} {text}: expected {words}") from None
