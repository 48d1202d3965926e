"""`longconv ir combine`, `mix`, `split`, `join`: several impulse responses in one, and one in several."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from longconv_audio.errors import OptionError

from .apply import IrRate
from .filter_input import (
    Input,
    Inputs,
    IrRateOption,
    Json,
    Order,
    Output,
    Overwrite,
    Quiet,
    Rate,
    Subtype,
    check_files,
    read_filter,
    read_filters,
)
from .filter_output import plain, write_filter
from .messages import print_json

if TYPE_CHECKING:
    from longconv_audio.audio_io.impulse import ImpulseResponse

DEFAULT_ORDER = "LL,LR,RL,RR"


def combine(
    inputs: Inputs,
    output: Output = "",
    true_stereo: Annotated[
        bool, typer.Option("--true-stereo", help="Four channels lead from two inputs to two outputs.")
    ] = False,
    ir_order: Order = DEFAULT_ORDER,
    ir_rate: IrRateOption = IrRate.resample,
    rate: Rate = None,
    subtype: Subtype = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Makes the filter that does what several do in series, the first nearest to the input.

    An impulse response of one channel serves every channel; the others have as many as each other.

        longconv ir combine correction.wav hall.wav -o both.wav
    """
    check_files(inputs, output, json, overwrite)
    from longconv_audio import filters

    irs = read_filters(inputs, rate, ir_rate)
    taps = filters.combine([ir.taps for ir in irs], ir_order if true_stereo else None)
    _write(output, taps, irs, "series", subtype, overwrite, json, quiet)


def mix(
    inputs: Inputs,
    output: Output = "",
    gain: Annotated[list[float] | None, typer.Option(help="Of each IR in dB: once for each.", show_default="0")] = None,
    delay: Annotated[
        list[float] | None, typer.Option(help="Of each IR in milliseconds: once for each.", show_default="0")
    ] = None,
    ir_rate: IrRateOption = IrRate.resample,
    rate: Rate = None,
    subtype: Subtype = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Adds impulse responses up, each with a gain and a delay. All have the same number of channels.

    longconv ir mix close.wav far.wav -o blend.wav --gain 0 --gain -9 --delay 0 --delay 12.5
    """
    check_files(inputs, output, json, overwrite)
    import numpy as np

    from longconv_audio import filters
    from longconv_audio.duration import Duration

    for name, values in (("gain", gain), ("delay", delay)):
        if values and len(values) != len(inputs):
            raise OptionError(
                f"--{name}: {len(values)} of them for {len(inputs)} IRs: pass it once for each, or not at all"
            )
    delays = [Duration.of_milliseconds(value) for value in delay or [0.0] * len(inputs)]
    irs = read_filters(inputs, rate, ir_rate)
    # What resampling rings ahead of one goes ahead of all, so that their first taps stay in time.
    first = max(ir.origin for ir in irs)
    taps = [np.pad(ir.taps, ((0, 0), (first - ir.origin, 0))) for ir in irs]
    mixed = filters.mix(taps, gain or [0.0] * len(irs), [value.samples(irs[0].samplerate) for value in delays])
    _write(output, mixed, irs, "mixed", subtype, overwrite, json, quiet)


def split(
    input: Input,
    output: Annotated[
        list[str] | None, typer.Option("--output", "-o", help="Once for each part.", show_default=False)
    ] = None,
    ir_order: Order = DEFAULT_ORDER,
    rate: Rate = None,
    subtype: Subtype = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Deals the channels of an impulse response out to several files.

    Four channels in two files are a true-stereo response: what leads from the left input, and from the right one.

    Else each file gets as many, in their order.

        longconv ir split hall-ts.wav -o left.wav -o right.wav
    """
    outputs = output or []
    if "-" in outputs or len(set(outputs)) < len(outputs):
        raise OptionError("-o: expected a file for each part, each another one and none of them standard output")
    for name in outputs or [""]:
        check_files([input], name, json, overwrite)
    from longconv_audio import filters

    ir = read_filter(input, rate)
    parts = filters.split(ir.taps, len(outputs), ir_order)
    options = {"subtype": subtype, "overwrite": overwrite, "quiet": quiet}
    for number, (name, part) in enumerate(zip(outputs, parts, strict=True)):
        write_filter(name, part, ir.samplerate, said=[] if number else ir.notes, **options)
    if json:
        found = zip(outputs, parts, strict=True)
        print_json(plain({"outputs": [{"output": n} | asdict(filters.summarize(h, ir.samplerate)) for n, h in found]}))


def join(
    inputs: Inputs,
    output: Output = "",
    ir_order: Order = DEFAULT_ORDER,
    ir_rate: IrRateOption = IrRate.resample,
    rate: Rate = None,
    subtype: Subtype = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Puts the channels of several impulse responses into one file.

    Two stereo files become a true-stereo one: the first is what leads from the left input to both outputs.

        longconv ir join left.wav right.wav -o hall-ts.wav
    """
    check_files(inputs, output, json, overwrite)
    import numpy as np

    from longconv_audio import filters

    irs = read_filters(inputs, rate, ir_rate)
    first = max(ir.origin for ir in irs)
    joined = filters.join([np.pad(ir.taps, ((0, 0), (first - ir.origin, 0))) for ir in irs], ir_order)
    _write(output, joined, irs, "joined", subtype, overwrite, json, quiet)


def _write(
    output: str,
    taps,
    irs: list[ImpulseResponse],
    how: str,
    subtype: str | None,
    overwrite: bool,
    json: bool,
    quiet: bool,
) -> None:
    """Writes what several became, and says what each of them was."""
    from longconv_audio.filters import summarize

    rate = irs[0].samplerate
    parts = [(ir.name, summarize(ir.taps, rate)) for ir in irs]
    said = [note for ir in irs for note in ir.notes]
    said += [
        f"{name}: {part.channels} channel{'s' if part.channels > 1 else ''}, {part.taps} taps, "
        f"largest gain {part.peak_gain_db:+.2f} dB"
        for name, part in parts
    ]
    write_filter(
        output,
        taps,
        rate,
        subtype=subtype,
        overwrite=overwrite,
        facts={how: [{"input": name} | asdict(part) for name, part in parts]},
        said=said,
        json=json,
        quiet=quiet,
    )
