"""How good a trained model is on recordings."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import torch

from longconv_audio.errors import NonFiniteError, OptionError

from .batches import validation_batches
from .clips import Clips, RecordedClips
from .data import cut, measure, read_data
from .recordings import list_recordings
from .settings import DataSettings
from .tasks import check_fit, task_of

SPLITS = ("all", "training", "validation", "test")


@dataclass
class Evaluation:
    """What came of it.

    Args:
        figures: means over the clips: "accuracy" and "loss" (in nats), or "bits_per_sample" and "loss".
        clips: how many.
        classes: the model's.
        confusion: clips of each class (rows) that were taken for each class (columns); None where there are none.
    """

    figures: dict[str, float]
    clips: int
    classes: tuple[str, ...]
    confusion: list[list[int]] | None


@torch.no_grad()
def evaluate(
    model: torch.nn.Module,
    clips: Clips,
    *,
    batch_size: int = 16,
    device: str | torch.device = "cpu",
    on_clips: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Runs a model on clips, each cut from the middle of its recording, as in validation.

    Args:
        model: a `Classifier` or a `WaveformModel`, moved to the device and put into evaluation.
        clips: with the model's classes.
        on_clips: called with the number of clips done, and of all.

    Raises:
        MismatchError: the model is for another sample rate, or for other classes.
        NonFiniteError: the model's loss is NaN or infinite.
    """
    check_fit(model, clips)
    model, task, classes = model.to(device).eval(), task_of(model), clips.classes
    confusion = torch.zeros(len(classes), len(classes), dtype=torch.int64)
    loss, right, done = 0.0, 0, 0
    with closing(validation_batches(clips, batch_size)) as batches:
        for batch in batches:
            losses, taken = (part.cpu() for part in task.losses(model, batch.clips.to(device), batch.labels.to(device)))
            if classes:
                places = batch.labels * len(classes) + taken
                confusion.view(-1).index_add_(0, places, torch.ones_like(places))
            right += (taken == batch.labels).sum().item()
            loss, done = loss + losses.double().sum().item(), done + batch.total
            on_clips(done, len(clips))
    if not math.isfinite(loss):
        raise NonFiniteError(f"the model's loss is {loss}: its weights, or the clips, are too large")
    figures = task.figures(loss / done, right / done)
    return Evaluation(figures, done, classes, confusion.tolist() if classes else None)


def read_clips(
    data: str | os.PathLike,
    settings: DataSettings,
    *,
    rate: int,
    classes: tuple[str, ...],
    split: str = "all",
    on_file: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[RecordedClips, list[str]]:
    """The clips to evaluate a model on, and notes.

    Args:
        data: as for `read_data`.
        settings: those of the run.
        rate: the model's, in hertz.
        classes: the model's; empty where it has none.
        split: "all", or the recordings of one split: of a manifest that says so, or as the run divided the data.

    Raises:
        OptionError: a class that the model does not know, a split that is not there.
        and as `read_data`.
    """
    if split not in SPLITS:
        raise OptionError(f"--split {split}: expected one of {', '.join(SPLITS)}")
    settings, labelled = dataclasses.replace(settings, rate=rate), bool(classes)
    recordings = list_recordings(data, labelled)
    for recording in recordings:
        if labelled and recording.label not in classes:
            raise OptionError(
                f"{data}: has the class {recording.label}, which the model does not know; expected {', '.join(classes)}"
            )
    if split in ("training", "validation"):
        sets = read_data(data, settings, labelled=labelled, progress=on_file)
        part, notes = getattr(sets, split), sets.notes
        return RecordedClips(part.stretches, part.samples, classes, part.store), notes
    if split == "test":
        recordings = [recording for recording in recordings if recording.split == "test"]
        if not recordings:
            raise OptionError(f"{data}: no recording is in the test split; expected a .csv whose column split says so")
    stretches, store, notes = measure(recordings, rate, settings.skip_bad, on_file)
    samples = max(round(settings.clip_seconds * rate), 1)
    return RecordedClips(stretches if labelled else cut(stretches, samples), samples, classes, store), notes
