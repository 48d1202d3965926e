"""Training, evaluating and running models: data, the loop, checkpoints."""

from .augmentation import augmentation
from .clips import Clips, DatasetClips, RecordedClips, from_torchaudio
from .data import TrainingData, read_data
from .loop import train
from .progress import Result, Step
from .settings import AugmentationSettings, DataSettings, TrainingSettings
from .tasks import CLASSIFICATION, NEXT_SAMPLE, Task

__all__ = [
    "CLASSIFICATION",
    "NEXT_SAMPLE",
    "AugmentationSettings",
    "Clips",
    "DataSettings",
    "DatasetClips",
    "RecordedClips",
    "Result",
    "Step",
    "Task",
    "TrainingData",
    "TrainingSettings",
    "augmentation",
    "from_torchaudio",
    "read_data",
    "train",
]
