"""What `longconv train` is told, as one value that is saved with the run: model, training, data, augmentation."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from longconv_audio.errors import LongconvError, OptionError, UnreadableError
from longconv_audio.nn.models import Classifier, ClassifierConfig, WaveformModel, WaveformModelConfig

from . import distributed
from .augmentation import augmentation
from .data import TrainingData, read_data
from .loop import train
from .progress import Result, Step
from .run_folder import check_free, read_settings
from .settings import AugmentationSettings, DataSettings, TrainingSettings

MODELS = {"classifier": (Classifier, ClassifierConfig), "waveform": (WaveformModel, WaveformModelConfig)}
# What the data say, not the recipe.
_FROM_DATA = ("classes", "sample_rate")


@dataclass(frozen=True)
class Recipe:
    """How a run is made.

    Args:
        model: "classifier" or "waveform".
        network: fields of the model's configuration, where they are not its defaults.
        training, data, augmentation: settings.
    """

    model: str = "classifier"
    network: dict = field(default_factory=dict)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    data: DataSettings = field(default_factory=DataSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)

    def with_options(self, model: str | None = None, **options) -> Recipe:
        """The recipe with other values of some fields, each in every part that has it; None leaves a field.

        Raises:
            OptionError: a model that does not exist, an option that the model does not have.
        """
        model = model or self.model
        if model not in MODELS:
            raise OptionError(f"--model {model}: expected one of {', '.join(MODELS)}")
        given = {name: value for name, value in options.items() if value is not None}
        known = {f.name for f in dataclasses.fields(MODELS[model][1])} - set(_FROM_DATA)
        parts, used = {}, set()
        for name in ("training", "data", "augmentation"):
            part = getattr(self, name)
            fitting = {f.name: given[f.name] for f in dataclasses.fields(part) if f.name in given}
            parts[name] = dataclasses.replace(part, **fitting)
            used |= set(fitting)
        network = {name: value for name, value in given.items() if name not in used}
        for name in network:
            if name not in known:
                raise OptionError(
                    f"--{name.replace('_', '-')}: a {model} model has none; expected it for another model"
                )
        return Recipe(model, (self.network if model == self.model else {}) | network, **parts)

    def build(self, classes: tuple[str, ...], sample_rate: int) -> torch.nn.Module:
        """A model with weights that depend on the seed alone.

        Raises:
            OptionError: a field of its configuration makes no sense.
        """
        kind, configuration = MODELS[self.model]
        fields = {"sample_rate": sample_rate} | ({"classes": classes} if classes else {})
        network = dict(self.network)
        if self.model == "classifier":  # a model of one layer has no room for two factors, which nobody asked for
            network.setdefault("pooling", configuration.pooling[: network.get("layers")])
        with torch.random.fork_rng([]):
            torch.manual_seed(self.training.seed)
            try:
                return kind(configuration(**fields, **network))
            except ValueError as error:
                raise OptionError(f"the model's {error}") from None
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                raise LongconvError(
                    "out of memory for the model's parameters: use fewer --channels or --layers, or a smaller --kernel"
                ) from error


def saved_recipe(run: str | os.PathLike) -> Recipe:
    """The recipe that a run was made by.

    Raises:
        UnreadableError: the folder is not that of a run.
    """
    saved = read_settings(Path(run))
    try:
        network = dict(saved["model"])
        kind = network.pop("kind")
        (model,) = (name for name, (made, _) in MODELS.items() if made.__name__ == kind)
        network = {name: value for name, value in network.items() if name not in _FROM_DATA}
        return Recipe(
            model,
            network,
            TrainingSettings(**saved["training"]),
            DataSettings(**saved["preparation"]),
            AugmentationSettings(**saved["augmentation"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"{run}: was not trained by longconv train: its settings do not fit ({error})") from None


def carry_out(
    recipe: Recipe,
    data: str | os.PathLike,
    run: str | os.PathLike,
    *,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    on_file: Callable[[int, int], None] = lambda done, total: None,
    on_start: Callable[[TrainingData, torch.nn.Module], None] = lambda data, model: None,
    on_step: Callable[[Step], None] = lambda step: None,
    on_epoch: Callable[[dict], None] = lambda record: None,
) -> Result:
    """Reads the data, builds the model and trains it.

    Args:
        recipe: what to do.
        data: a folder or a manifest, see `read_data`.
        run: the folder of the run.
        device, resume, overwrite, on_step, on_epoch: as for `train`.
        on_file: called as the files are read.
        on_start: called with the data and the model, before the first step.

    Raises:
        as `read_data` and `train`.
    """
    place = distributed.choose_device(device)
    with distributed.process_group(place):
        labelled = recipe.model == "classifier"

        def read() -> TrainingData:
            if not resume:
                check_free(Path(run), overwrite)  # nobody waits for the data to learn this
            return read_data(data, recipe.data, labelled=labelled, progress=on_file)

        sets = distributed.from_first(read)
        model = recipe.build(sets.training.classes, sets.training.rate)
        _expect_heard(model, sets.training.samples)
        augment = augmentation(recipe.augmentation, sets.training.rate)
        on_start(sets, model)
        try:
            return train(
                model,
                sets,
                recipe.training,
                run=run,
                augment=augment,
                device=place,
                resume=resume,
                overwrite=overwrite,
                config={"preparation": asdict(recipe.data), "augmentation": asdict(recipe.augmentation)},
                on_step=on_step,
                on_epoch=on_epoch,
            )
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            raise LongconvError(
                f"out of memory on {place}: use a smaller --batch-size, --channels or --clip-seconds; the last "
                f"checkpoint in {run} is whole"
            ) from error


def _expect_heard(model: torch.nn.Module, samples: int) -> None:
    """Refuses clips of which a classifier would hear nothing."""
    group = math.prod(model.config.pooling)
    if isinstance(model, Classifier) and samples < group:
        raise OptionError(
            f"a clip has {samples} samples, and the model's pooling makes one time step of {group}: expected clips of "
            f"{group} samples or more: pass a longer --clip-seconds, or --pooling 1"
        )


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
