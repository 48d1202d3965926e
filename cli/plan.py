"""`longconv plan`: how a long convolution would be carried out on a GPU, which need not be here."""

from __future__ import annotations

import re
import textwrap
from enum import Enum
from typing import Annotated

import typer

from longconv_audio.errors import OptionError

from .messages import print_json, put, say

WIDTH = 100


class Dtype(str, Enum):
    float16, bfloat16, float32, float64 = "float16", "bfloat16", "float32", "float64"


class Precision(str, Enum):
    half, single, double = "half", "single", "double"


class Mode(str, Enum):
    causal, full, same, circular = "causal", "full", "same", "circular"


class Gates(str, Enum):
    none, pre, post, both = "none", "pre", "post", "both"


def plan(
    length: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Of a row: 10min, 6s, 20ms, 1:30 where --rate is given, else samples.",
            show_default=False,
        ),
    ],
    ir: Annotated[
        str | None, typer.Option(metavar="TIME", help="Of the filters, likewise.", show_default="as long as the row")
    ] = None,
    rate: Annotated[int | None, typer.Option(help="Sample rate in hertz.")] = None,
    batch: Annotated[int, typer.Option(help="Batch items.")] = 1,
    channels: Annotated[int, typer.Option(help="Channels of an item.")] = 1,
    filters: Annotated[int | None, typer.Option(help="Distinct filters.", show_default="one a channel")] = None,
    filter_per_item: Annotated[bool, typer.Option("--filter-per-item", help="Each item has its own filters.")] = False,
    prepared: Annotated[bool, typer.Option("--prepared", help="The filters' spectra are there already.")] = False,
    dtype: Annotated[Dtype, typer.Option(help="Of the samples.")] = Dtype.float32,
    precision: Annotated[Precision | None, typer.Option(help="Of the arithmetic.", show_default="by the dtype")] = None,
    mode: Annotated[Mode, typer.Option(help="Which part of the convolution.")] = Mode.causal,
    gates: Annotated[Gates, typer.Option(help="Whether input, output or both are multiplied by a gate.")] = Gates.none,
    backward: Annotated[bool, typer.Option("--backward", help="The gradients instead of the result.")] = False,
    sparsity: Annotated[float, typer.Option(help="Share of the spectrum that is zero and skipped, 0 to 1.")] = 0.0,
    device: Annotated[
        str, typer.Option(help="cuda or cuda:1 for a GPU of this machine, or a name: a100, h100, h200, rtx4090, ...")
    ] = "cuda",
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Says how a long convolution is best carried out on a GPU, and what that takes. None needs to be here.

    longconv plan --length 10min --rate 48000 --ir 6s --channels 2 --device h200
    """
    from longconv_audio import planning

    samples = _samples("--length", length, rate)
    found = planning.plan(
        batch,
        channels,
        samples,
        samples if ir is None else _samples("--ir", ir, rate),
        mode=mode.value,
        dtype=dtype.value,
        precision=precision and precision.value,
        pre_gate=gates in (Gates.pre, Gates.both),
        post_gate=gates in (Gates.post, Gates.both),
        filters=filters,
        filter_per_item=filter_per_item,
        prepared=prepared,
        backward=backward,
        sparsity=sparsity,
        device=_device(device),
    )
    if json:
        print_json(found.as_dict())
    else:
        put(textwrap.fill(str(found), WIDTH, break_long_words=False, break_on_hyphens=False))


def _samples(option: str, text: str, rate: int | None) -> int:
    """A length in samples, at least one. With a rate a trailing s counts seconds, for there lengths are times."""
    from longconv_audio.duration import Duration

    if rate is None:
        if not re.fullmatch(r"[0-9]{1,15}", text):
            raise OptionError(f"{option} {text}: expected a number of samples: pass --rate to give it as a time")
        samples = int(text)
    elif rate < 1:
        raise OptionError(f"--rate {rate}: expected at least 1 hertz")
    else:
        samples = Duration.parse(text, trailing_s="seconds").samples(rate)
    if samples < 1:
        raise OptionError(f"{option} {text}: expected at least 1 sample")
    return samples


def _device(name: str):
    """A device by its published figures, or one of this machine's by those measured on it."""
    from longconv_audio.planning import DEVICES, device_named

    if not name.strip().lower().startswith("cuda"):
        return device_named(name)
    from longconv_audio.engines.cuda import calibration

    try:
        index = calibration.gpu_index(name)
    except OptionError as error:
        raise OptionError(f"--{error}: name one that is elsewhere: {', '.join(DEVICES)}") from error
    if index is None:
        return device_named(name)
    found = calibration.calibrated(index)
    if found is None:
        found = calibration.published(index)
        say(f"{found.name}: published rates of its model, or of one like it; longconv doctor --calibrate measures it")
    return found
