"""What is learned: the loss of each clip, and the figures that validation gives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from longconv_audio.errors import MismatchError

from .clips import Clips


@dataclass(frozen=True)
class Task:
    """What a kind of model learns.

    Args:
        name: of the task.
        losses: `(model, clips (B, 1, L), labels (B,)) -> (losses (B,), taken (B,))`: what each clip is taken for; the
            labels where there are no classes.
        figures: from the mean of the losses and the share of clips taken for what they are to what a person reads, the
            figure that counts first.
        rank: a tuple from the figures, the larger the better.
    """

    name: str
    losses: Callable
    figures: Callable[[float, float], dict[str, float]]
    rank: Callable[[dict[str, float]], tuple]


def _classified(model, clips: torch.Tensor, labels: torch.Tensor):
    logits = model(clips).float()
    return F.cross_entropy(logits, labels, reduction="none"), logits.argmax(1)


def _predicted(model, clips: torch.Tensor, labels: torch.Tensor):
    from longconv_audio.nn.models import mu_law_encode

    codes = mu_law_encode(clips[:, 0])
    return F.cross_entropy(model(codes).float(), codes, reduction="none").mean(1), labels


CLASSIFICATION = Task(
    "classification",
    _classified,
    lambda loss, right: {"accuracy": right, "loss": loss},
    # Where two epochs classify as many clips rightly, the surer one is better.
    lambda figures: (figures["accuracy"], -figures["loss"]),
)
NEXT_SAMPLE = Task(
    "next sample",
    _predicted,
    lambda loss, right: {"bits_per_sample": loss / math.log(2), "loss": loss},
    lambda figures: (-figures["loss"],),
)


def task_of(model) -> Task:
    """The task that a model is for."""
    from longconv_audio.nn.models import WaveformModel

    return NEXT_SAMPLE if isinstance(model, WaveformModel) else CLASSIFICATION


def check_fit(model, clips: Clips) -> None:
    """Whether a model is for such clips, as far as its configuration says.

    Raises:
        MismatchError: it is for another sample rate, or for other classes.
    """
    config = getattr(model, "config", None)
    rate, classes = getattr(config, "sample_rate", clips.rate), getattr(config, "classes", clips.classes)
    if rate != clips.rate:
        raise MismatchError(f"the model is for {rate} Hz and the clips are at {clips.rate} Hz; expected one rate")
    if tuple(classes) != clips.classes:
        raise MismatchError(
            f"the model has the classes {', '.join(classes)} and the clips {', '.join(clips.classes)}; expected the "
            "same in the same order"
        )
