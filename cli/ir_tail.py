"""`longconv ir fade`, `extend`: how an impulse response dies away."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from longconv_audio.errors import OptionError

from .filter_input import Input, Json, Output, Overwrite, Quiet, Rate, Subtype, check_files, read_filter
from .filter_output import write_filter

Seed = Annotated[int, typer.Option(min=0, help="Of the noise that the decay goes on with.")]


def fade(
    input: Input,
    output: Output = "",
    fade_in: Annotated[str, typer.Option(help="Length of a half cosine at the start.")] = "0",
    fade_out: Annotated[str, typer.Option(help="Length of a half cosine at the end.")] = "0",
    t60: Annotated[
        str | None,
        typer.Option(
            help="Reverberation times wanted, in seconds: one for all octave bands, as 1.2, or by band, as "
            "500=1.2,1k=1.0; the others stay.",
            show_default="as they are",
        ),
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="In place of --t60: what each time is multiplied by.", show_default="1")
    ] = None,
    seed: Seed = 0,
    rate: Rate = None,
    subtype: Subtype = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fades an impulse response: its ends, or its decay, band by band.

    With --t60 or --scale each octave band is made to die away faster or slower from the onset on.

    Noise is first replaced by the decay's continuation, so that it is not raised. Fades of the ends come last.

        longconv ir fade hall.wav -o drier.wav --scale 0.8 --fade-out 50ms

        longconv ir fade hall.wav -o warmer.wav --t60 125=2.4,250=2.2
    """
    check_files([input], output, json, overwrite)
    times = None if t60 is None else _times(t60)
    from longconv_audio import filters
    from longconv_audio.duration import Duration

    fades = [Duration.parse(text) for text in (fade_in, fade_out)]
    if not any(fades) and t60 is None and scale is None:
        raise OptionError("nothing to do: pass --fade-in, --fade-out, --t60 or --scale")
    ir = read_filter(input, rate)
    taps, bands = ir.taps, []
    if t60 is not None or scale is not None:
        taps, bands = filters.reshape_decay(taps, ir.samplerate, t60=times, scale=scale, seed=seed)
    taps = filters.fade(taps, *(length.samples(ir.samplerate) for length in fades))
    said = [f"octave {band.band}: T60 {_seconds(band.t60)}, now {_seconds(band.new_t60)}" for band in bands]
    _write(output, taps, ir, bands, said, subtype, overwrite, json, quiet)


def extend(
    input: Input,
    output: Output = "",
    level: Annotated[float, typer.Option(help="How far down the decay goes on, in dB below its beginning.")] = -100.0,
    length: Annotated[
        str | None, typer.Option(help="Length of the result.", show_default="until the level is reached")
    ] = None,
    seed: Seed = 0,
    rate: Rate = None,
    subtype: Subtype = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Continues the decay of an impulse response below its noise, octave band by octave band.

    Where the noise takes over it gives way to noise that dies away as the band did; what lies before stays as it is.

        longconv ir extend recorded.wav -o clean.wav --level -100
    """
    check_files([input], output, json, overwrite)
    from longconv_audio import filters
    from longconv_audio.duration import Duration

    wanted = None if length is None else Duration.parse(length)
    ir = read_filter(input, rate)
    seconds = None if wanted is None else wanted.samples(ir.samplerate) / ir.samplerate
    taps, bands = filters.extend(ir.taps, ir.samplerate, level_db=level, seconds=seconds, seed=seed)
    said = [
        f"octave {band.band}: T60 {_seconds(band.t60)}, "
        + ("no noise met" if band.knee is None else f"noise from {_seconds(band.knee)}")
        if band.t60 is not None
        else f"octave {band.band}: no decay to be told from noise: dies away with its neighbour"
        for band in bands
    ]
    _write(output, taps, ir, bands, said, subtype, overwrite, json, quiet)


def _write(output, taps, ir, bands, said, subtype, overwrite, json, quiet) -> None:
    write_filter(
        output,
        taps,
        ir.samplerate,
        subtype=subtype,
        overwrite=overwrite,
        facts={"bands": [asdict(band) for band in bands]},
        said=[*ir.notes, *said],
        json=json,
        quiet=quiet,
    )


def _times(text: str) -> float | dict[str, float]:
    """Reverberation times as they are typed: one, or by band."""
    try:
        if "=" not in text:
            return float(text)
        pairs = [pair.split("=") for pair in text.split(",")]
        times = {name.strip(): float(seconds) for name, seconds in pairs}
    except ValueError:
        raise OptionError(f"--t60 {text}: expected seconds, or band=seconds, as in 500=1.2,1k=1.0") from None
    if len(times) < len(pairs):
        raise OptionError(f"--t60 {text}: a band stands there twice")
    return times


def _seconds(value: float | None) -> str:
    return "not measurable" if value is None else f"{value:.3g} s"
