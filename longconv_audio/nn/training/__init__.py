"""Training, evaluating and running models: data, the loop, checkpoints."""

from .augmentation import augmentation
from .clips import Clips, DatasetClips, RecordedClips, from_torchaudio
from .data import TrainingData, read_data
from .evaluation import Evaluation, evaluate
from .loop import train
from .prediction import Prediction, predict, predict_stream
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
    "Evaluation",
    "Prediction",
    "RecordedClips",
    "Result",
    "Step",
    "Task",
    "TrainingData",
    "TrainingSettings",
    "augmentation",
    "evaluate",
    "from_torchaudio",
    "predict",
    "predict_stream",
    "read_data",
    "train",
]
