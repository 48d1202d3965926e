"""Models of raw waveforms, made of the layers of `longconv_audio.nn`, and how they are saved and loaded.

model.save_pretrained(folder)
model = from_pretrained(folder)
"""

from __future__ import annotations

from pathlib import Path

from ...errors import MismatchError
from .classifier import Classifier, ClassifierConfig
from .filter_estimator import FilterEstimator, FilterEstimatorConfig
from .mu_law import mu_law_decode, mu_law_encode
from .pretrained import CONFIG, Pretrained, read_config
from .waveform_model import WaveformModel, WaveformModelConfig

__all__ = [
    "Classifier",
    "ClassifierConfig",
    "FilterEstimator",
    "FilterEstimatorConfig",
    "WaveformModel",
    "WaveformModelConfig",
    "from_pretrained",
    "mu_law_decode",
    "mu_law_encode",
]

_MODELS = {model.__name__: model for model in (Classifier, FilterEstimator, WaveformModel)}


def from_pretrained(folder, *, device="cpu") -> Pretrained:
    """The model that is saved in a folder, whichever it is, in evaluation.

    Raises:
        UnreadableError: where a file is missing or damaged.
        MismatchError: where it is no model of this package, or tensors and configuration do not fit.
    """
    name, _ = read_config(folder)
    if name not in _MODELS:
        raise MismatchError(f"{Path(folder) / CONFIG}: model is {name!r}; expected {', '.join(_MODELS)}")
    return _MODELS[name].from_pretrained(folder, device=device)
