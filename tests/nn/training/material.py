"""Small sets of recordings, and a model that learns them in a second."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from longconv_audio.audio_io import AudioWriter

RATE = 2000
TONES = {"high": 500.0, "low": 120.0}


def tone(rng, frequency, seconds=0.1, rate=RATE):
    """A tone of random phase and level in a little noise, float64."""
    time = np.arange(round(seconds * rate)) / rate
    level = rng.uniform(0.2, 0.8)
    return level * np.sin(2 * np.pi * (frequency * time + rng.random())) + 0.02 * rng.standard_normal(len(time))


def write_classes(folder, rng, count=8, **options) -> Path:
    """A folder of two classes, with `count` tones each."""
    for label, frequency in TONES.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            name, rate = str(folder / label / f"{index}.wav"), options.get("rate", RATE)
            with AudioWriter(name, samplerate=rate, channels=1, subtype="FLOAT") as writer:
                writer.write(tone(rng, frequency, **options)[None])
    return folder


@dataclass(frozen=True)
class TinyConfig:
    channels: int = 6
    dropout: float = 0.0


class Tiny(nn.Module):
    """Filters, their level, a linear map: two classes."""

    def __init__(self, config=None, seed=0):
        super().__init__()
        self.config = config or TinyConfig()
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.filters = nn.Conv1d(1, self.config.channels, 16)
            self.dropout = nn.Dropout(self.config.dropout)
            self.head = nn.Linear(self.config.channels, 2)

    def forward(self, x):
        return self.head(self.dropout(self.filters(x).square().mean(2)))

    def configured(self, config):
        """The same, said to be of another configuration."""
        self.config = config
        return self

    def save_pretrained(self, folder):
        from safetensors.torch import save_file

        save_file(self.state_dict(), folder / "model.safetensors")
