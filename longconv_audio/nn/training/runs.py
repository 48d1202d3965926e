"""The model of a run, to be used."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from longconv_audio.errors import OptionError, UnreadableError
from longconv_audio.nn.models import Classifier, WaveformModel, from_pretrained

from .checkpoints import CHECKPOINT
from .recipes import MODELS
from .run_folder import SETTINGS, read_settings
from .settings import DataSettings


def load_model(run: str | os.PathLike, device: torch.device, kind: str | None = None) -> Classifier | WaveformModel:
    """The best model of a run, or one that was saved by `save_pretrained`, in evaluation.

    Args:
        kind: "classifier" or "waveform", where it must be one of these.

    Raises:
        UnreadableError: no run, or one that has no model yet.
        MismatchError: a damaged one.
        OptionError: a model of another kind.
    """
    run = Path(run)
    if (run / CHECKPOINT).exists() and not (run / "model.safetensors").exists():
        raise UnreadableError(
            f"{run}: has no model yet: its first epoch is not done: go on with longconv train --resume"
        )
    model = from_pretrained(run, device=device)
    if kind is not None and not isinstance(model, MODELS[kind][0]):
        raise OptionError(f"{run}: holds a {type(model).__name__}; expected a {MODELS[kind][0].__name__}")
    return model


def data_settings(run: str | os.PathLike) -> DataSettings | None:
    """How the run's recordings became clips; None for a model that `save_pretrained` alone has left.

    Raises:
        UnreadableError: the run's settings are damaged.
    """
    if not (Path(run) / SETTINGS).exists():
        return None
    saved = read_settings(Path(run))
    try:
        if "preparation" in saved:
            return DataSettings(**saved["preparation"])
        return DataSettings(clip_seconds=saved["data"]["clip_samples"] / saved["data"]["rate"])  # trained from Python
    except (KeyError, TypeError, OptionError) as error:
        raise UnreadableError(f"{Path(run) / SETTINGS}: is damaged: {error}") from None
