"""Training a model from Python: what `longconv train` does once it has the data and the model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from . import distributed
from .data import TrainingData
from .interruption import Interruption
from .progress import Result, Step
from .settings import TrainingSettings
from .tasks import Task, check_fit, task_of
from .trainer import Trainer


def train(
    model: nn.Module,
    data: TrainingData,
    settings: TrainingSettings | None = None,
    *,
    run: str | os.PathLike,
    task: Task | None = None,
    augment: Callable | None = None,
    device: str | torch.device = "auto",
    resume: bool = False,
    overwrite: bool = False,
    config: dict | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    on_epoch: Callable[[dict], None] = lambda record: None,
) -> Result:
    """Trains a model, and leaves the best one, by validation, in a folder.

    Within `torchrun`, each process trains on its share of every batch; the gradients are those of the whole batch.

    Args:
        model: with `save_pretrained(folder)`, such as those of `longconv_audio.nn.models`; its `config`, where it has
            one, must be the same when a run is resumed. It is left as it is after the last step.
        data: training and validation clips (`read_data`, `from_torchaudio`).
        settings: how to train.
        run: the folder: `model.safetensors` and `config.json` of the best model, the last checkpoint, `training.json`,
            `history.jsonl`, and TensorBoard's events.
        task: what is learned; None takes the one that the model is for.
        augment: `(clips (B, 1, L), generators) -> clips` on the device, such as `transforms.Compose`; in training only.
        device: "auto", "cpu", "cuda", ...
        resume: go on from the folder's checkpoint, to the very result of a run that was not interrupted, given the same
            device and as many threads.
        overwrite: begin anew where the folder has a run.
        config: what else must be the same when a run is resumed.
        on_step, on_epoch: called after each step, and with the record of each epoch.

    Raises:
        NonFiniteError: the loss is NaN or infinite; the last checkpoint is from before.
        UnwritableError: the folder has a run already, or cannot be written; the last checkpoint is whole.
        UnreadableError: there is no checkpoint to resume, or it is damaged.
        OptionError: resumed with another configuration, or a setting that makes no sense.
        MismatchError: the model is for another sample rate, or for other classes than the data have.
        TypeError: the model cannot be saved.
        KeyboardInterrupt: Ctrl-C, after a checkpoint was saved; SIGTERM ends likewise.
    """
    settings = settings or TrainingSettings()
    if not hasattr(model, "save_pretrained"):
        raise TypeError(
            f"model is a {type(model).__name__} without save_pretrained(folder); expected a model that has it"
        )
    check_fit(model, data.training)
    device = distributed.choose_device(str(device))
    with distributed.process_group(device), _kept_generators(device), Interruption() as interruption:
        trainer = Trainer(model, data, settings, Path(run), task or task_of(model), augment, device, interruption)
        trainer.on_step, trainer.on_epoch = on_step, on_epoch
        trainer.open(config or {}, resume, overwrite)
        try:
            return trainer.train()
        finally:
            if trainer.log is not None:
                trainer.log.close()


def _kept_generators(device: torch.device):
    """A caller's own random numbers go on as if nobody had trained."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda")
