"""What a training run can be told."""

from __future__ import annotations

import math
from dataclasses import dataclass

from longconv_audio.errors import OptionError

# In hertz: beyond what any recorder has, a rate is a slip that would fill the memory.
HIGHEST_RATE = 10_000_000
PRECISIONS = ("single", "bf16", "fp16")


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Args:
        epochs: times that the training set is gone through.
        batch_size: clips a step, over all processes.
        learning_rate: its largest value.
        weight_decay: AdamW's (Loshchilov and Hutter 2019).
        warmup: the share of the steps in which the learning rate rises linearly; after it, half a cosine to 0.
        clip: the largest 2-norm of the gradient; what is longer is scaled down. 0: none.
        patience: epochs without a better validation figure after which training ends. 0: all epochs.
        precision: "single", "bf16" or "fp16" (autocast; parameters stay in float32).
        seed: of everything random.
    """

    epochs: int = 30
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    clip: float = 1.0
    patience: int = 10
    precision: str = "single"
    seed: int = 0

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            _expect(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        for name in ("weight_decay", "clip", "patience", "seed"):
            value = getattr(self, name)
            _expect(0 <= value < math.inf, name, value, "0 or more")
        _expect(self.seed < 2**63, "seed", self.seed, "less than 2**63")
        _expect(0 < self.learning_rate < math.inf, "learning_rate", self.learning_rate, "a number above 0")
        _expect(0 <= self.warmup < 1, "warmup", self.warmup, "a share of the steps, 0 to below 1")
        _expect(self.precision in PRECISIONS, "precision", self.precision, f"one of {', '.join(PRECISIONS)}")


@dataclass(frozen=True)
class DataSettings:
    """How recordings become clips.

    Args:
        clip_seconds: what a model sees at a time: longer recordings are cut, shorter ones padded with zeros.
        rate: sample rate in hertz; None takes the most common one.
        validation: the share of each class to validate with, where the data do not say.
        validation_list: a file with the paths to validate with, one a line, instead.
        seed: of the split.
        skip_bad: leave out files that cannot be read, with a note, where the default is to fail.
    """

    clip_seconds: float = 1.0
    rate: int | None = None
    validation: float = 0.1
    validation_list: str | None = None
    seed: int = 0
    skip_bad: bool = False

    def __post_init__(self):
        _expect(0 < self.clip_seconds < math.inf, "clip_seconds", self.clip_seconds, "seconds above 0")
        expected = f"hertz, 1 to {HIGHEST_RATE}"
        _expect(self.rate is None or 1 <= self.rate <= HIGHEST_RATE, "rate", self.rate, expected)
        _expect(0 < self.validation < 1, "validation", self.validation, "a share of the files, above 0 and below 1")


@dataclass(frozen=True)
class AugmentationSettings:
    """What is done to the clips that are trained on.

    Args:
        rooms: a folder of impulse responses, or "synthetic"; None: no rooms.
        noise: lowest and highest signal-to-noise ratio of white noise in dB; None: no noise.
        gain: lowest and highest gain in dB.
        shift: the furthest shift in time in seconds.
        p: the probability of rooms and of noise.
    """

    rooms: str | None = None
    noise: tuple[float, float] | None = None
    gain: tuple[float, float] | None = None
    shift: float = 0.0
    p: float = 0.5

    def __post_init__(self):
        _expect(0 <= self.p <= 1, "augment_p", self.p, "a probability from 0 to 1")


def _expect(fits: bool, name: str, value, expected: str) -> None:
    if not fits:
        raise OptionError(f"{name} {value}: expected {expected}")
