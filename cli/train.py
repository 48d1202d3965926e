"""`longconv train`: a model of raw waveforms, from a folder of recordings."""

from __future__ import annotations

import math
import os
import shlex
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from longconv_audio.errors import OptionError

from .training_report import TrainingReport


class Model(str, Enum):
    classifier, waveform = "classifier", "waveform"


class Layer(str, Enum):
    depthwise, sgconv, s4d, hyena = "depthwise", "sgconv", "s4d", "hyena"


class Precision(str, Enum):
    single, bf16, fp16 = "single", "bf16", "fp16"


def _option(text: str, group: str, *names: str, **more):
    return typer.Option(*names, help=text, rich_help_panel=group, **{"show_default": False} | more)


MODEL, DATA_OPTIONS, TRAINING, AUGMENTATION, RUN = (
    "Model",
    "Data (times in seconds; 4800s: samples; 20ms)",
    "Training",
    "Augmentation, on the device, of what is trained on",
    "Run",
)


def train(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder with a folder of recordings for each class, or a .csv with the columns path,label[,split]. "
            "For a waveform model: a folder of recordings, one recording, or a .csv with path[,split].",
        ),
    ],
    run: Annotated[Path | None, _option("Folder of the run.", RUN, "--output", "-o", metavar="RUN")] = None,
    model: Annotated[
        Model | None,
        _option("classifier of recordings, or waveform: generates them.", MODEL, show_default="classifier"),
    ] = None,
    layer: Annotated[Layer | None, _option("Kind of long convolution.", MODEL, show_default="the model's")] = None,
    channels: Annotated[int | None, _option("Channels inside.", MODEL, show_default="64")] = None,
    layers: Annotated[int | None, _option("Long convolutions in a row.", MODEL, show_default="4")] = None,
    kernel: Annotated[int | None, _option("Taps of each filter.", MODEL, show_default="a second's")] = None,
    pooling: Annotated[
        str | None,
        _option("Factors by which the rate is lowered, as in 4,4; 1: not at all.", MODEL, show_default="the model's"),
    ] = None,
    dropout: Annotated[
        float | None, _option("Share that training leaves out.", MODEL, show_default="the model's")
    ] = None,
    bidirectional: Annotated[
        bool, _option("Layers look ahead as well; such a classifier cannot stream.", MODEL, "--bidirectional")
    ] = False,
    clip_seconds: Annotated[
        str | None,
        _option("Length of a clip: longer recordings are cut, shorter padded.", DATA_OPTIONS, show_default="1"),
    ] = None,
    rate: Annotated[
        int | None, _option("Sample rate in hertz.", DATA_OPTIONS, show_default="the most common of the data")
    ] = None,
    validation: Annotated[
        str | None,
        _option("Share of each class to validate with, or a file that lists paths.", DATA_OPTIONS, show_default="0.1"),
    ] = None,
    skip_bad: Annotated[
        bool, _option("Leave out files that cannot be read, and say which.", DATA_OPTIONS, "--skip-bad")
    ] = False,
    epochs: Annotated[int | None, _option("Times through the data.", TRAINING, show_default="30")] = None,
    batch_size: Annotated[int | None, _option("Clips a step, over all processes.", TRAINING, show_default="16")] = None,
    lr: Annotated[float | None, _option("Learning rate at its highest.", TRAINING, show_default="0.001")] = None,
    weight_decay: Annotated[float | None, _option("AdamW's.", TRAINING, show_default="0.01")] = None,
    warmup: Annotated[
        float | None, _option("Share of the steps in which the rate rises.", TRAINING, show_default="0.05")
    ] = None,
    clip: Annotated[float | None, _option("Largest norm of the gradient; 0: any.", TRAINING, show_default="1")] = None,
    patience: Annotated[
        int | None, _option("Epochs without a better result before it ends; 0: all.", TRAINING, show_default="10")
    ] = None,
    precision: Annotated[
        Precision | None, _option("Of the arithmetic; parameters stay single.", TRAINING, show_default="single")
    ] = None,
    seed: Annotated[int | None, _option("Of everything random.", TRAINING, show_default="0")] = None,
    device: Annotated[str, _option("auto, cpu, cuda, cuda:1, ...", TRAINING, show_default=True)] = "auto",
    rooms: Annotated[
        str | None, _option("A folder of impulse responses, or synthetic.", AUGMENTATION, show_default="none")
    ] = None,
    noise: Annotated[
        str | None, _option("Range of the signal-to-noise ratio in dB, as in 10:40.", AUGMENTATION, show_default="none")
    ] = None,
    gain: Annotated[
        str | None, _option("Range of the gain in dB, as in -6:6.", AUGMENTATION, show_default="none")
    ] = None,
    shift: Annotated[
        str | None, _option("Furthest shift in time, forth and back.", AUGMENTATION, show_default="none")
    ] = None,
    augment_p: Annotated[
        float | None, _option("Probability of a room, and of noise.", AUGMENTATION, show_default="0.5")
    ] = None,
    resume: Annotated[
        bool, _option("Go on from RUN's checkpoint; options that are not given are the run's.", RUN, "--resume")
    ] = False,
    overwrite: Annotated[bool, _option("Begin anew where RUN exists.", RUN, "--overwrite", "-y")] = False,
    quiet: Annotated[bool, _option("Nothing but failures.", RUN, "--quiet", "-q")] = False,
) -> None:
    """Trains a model on recordings; RUN gets the best by validation, the last checkpoint, and a history.

    Ctrl-C leaves a checkpoint, and --resume goes on from it to the very same result.

        longconv train words/ -o run --rooms synthetic --noise 10:40

        torchrun --nproc-per-node 2 -m longconv_audio.cli train words/ -o run
    """
    if run is None:
        raise OptionError("no folder was given for the run: pass -o RUN")
    if resume and overwrite:
        raise OptionError("--resume and --overwrite: expected one of them: go on, or begin anew")
    from longconv_audio.duration import Duration
    from longconv_audio.nn.training.distributed import rank
    from longconv_audio.nn.training.recipes import Recipe, carry_out, saved_recipe

    base = saved_recipe(run) if resume else Recipe()
    recipe = base.with_options(
        model=None if model is None else model.value,
        layer=None if layer is None else layer.value,
        channels=channels,
        layers=layers,
        kernel_size=kernel,
        pooling=None if pooling is None else _factors(pooling),
        dropout=dropout,
        bidirectional=bidirectional or None,
        clip_seconds=None if clip_seconds is None else _seconds(Duration.parse(clip_seconds), rate, "--clip-seconds"),
        rate=rate,
        skip_bad=skip_bad or None,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=lr,
        weight_decay=weight_decay,
        warmup=warmup,
        clip=clip,
        patience=patience,
        precision=None if precision is None else precision.value,
        seed=seed,
        rooms=rooms if rooms in (None, "synthetic") else os.path.abspath(rooms),
        noise=None if noise is None else _range(noise, "--noise"),
        gain=None if gain is None else _range(gain, "--gain"),
        shift=None if shift is None else _seconds(Duration.parse(shift), rate, "--shift"),
        p=augment_p,
        **({} if validation is None else _validation(validation)),
    )
    report = TrainingReport(run, quiet or rank() > 0)
    try:
        result = carry_out(
            recipe,
            data,
            run,
            device=device,
            resume=resume,
            overwrite=overwrite,
            on_file=report.file,
            on_start=report.start,
            on_step=report.step,
            on_epoch=report.epoch,
        )
    except (KeyboardInterrupt, SystemExit):
        report.line.close()
        if (run / "checkpoint.pt").exists():
            report.say(
                f"{run}: holds a checkpoint: {shlex.join(['longconv', 'train', str(data), '-o', str(run)])} --resume"
            )
        raise
    finally:
        report.line.close()
    report.end(result)


def _validation(text: str) -> dict:
    """A share, or a list of files."""
    try:
        return {"validation": float(text)}
    except ValueError:
        if not os.path.isfile(text):
            raise OptionError(
                f"--validation {text}: expected a share such as 0.1, or a file that lists paths"
            ) from None
        return {"validation_list": os.path.abspath(text)}


def _factors(text: str) -> tuple[int, ...]:
    try:
        factors = tuple(map(int, text.split(",")))
    except ValueError:
        factors = (0,)
    if min(factors) < 1:
        raise OptionError(f"--pooling {text}: expected whole numbers, as in 4,4")
    return () if factors == (1,) else factors


def _range(text: str, name: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        low, high = math.nan, math.nan
    if not -math.inf < low <= high < math.inf:
        raise OptionError(f"{name} {text}: expected two numbers of dB, the lower one first, as in -6:6")
    return low, high


def _seconds(duration, rate: int | None, name: str) -> float:
    if duration.unit == "samples" and not rate:
        raise OptionError(f"{name} {duration}: counts samples, of a rate that is not given: pass --rate, or seconds")
    return float(duration.amount / rate if duration.unit == "samples" else duration.amount)
