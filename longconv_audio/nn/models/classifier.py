"""A classifier of raw waveforms: layers of long convolutions, a mean over time, a linear map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .. import streaming
from ..blocks import ChannelNorm, ResidualBlock
from ..pooling import DownPool
from .configuration import check, check_stack, make_layer, make_tuple, taps
from .pretrained import Pretrained


@dataclass(frozen=True)
class ClassifierConfig:
    """What makes a `Classifier`.

    Args:
        classes: their names, at least two.
        sample_rate: of the waveforms, in hertz.
        channels: inside.
        layers: how many long convolutions.
        layer: "depthwise", "sgconv", "s4d" or "hyena".
        kernel_size: taps of each layer's filters, at the rate at which it runs; None for a second's.
        pooling: the factors by which the rate is lowered in front of the first layer, the second, and so on; layers
            without one run at the rate of the layer before.
        bidirectional: layers look ahead as well; such a model cannot stream.
        dropout: the share of each block's numbers that training leaves out.

    Raises:
        ValueError: for a field that is not as expected, by name and value.
    """

    classes: tuple[str, ...]
    sample_rate: int
    channels: int = 64
    layers: int = 4
    layer: str = "depthwise"
    kernel_size: int | None = None
    pooling: tuple[int, ...] = (16, 4)
    bidirectional: bool = False
    dropout: float = 0.1

    def __post_init__(self):
        make_tuple(self, "classes", "names")
        check(self, "classes", all(isinstance(name, str) for name in self.classes), "names")
        check(self, "classes", len(set(self.classes)) == len(self.classes) > 1, "two different names at least")
        check_stack(self)
        check(self, "pooling", len(self.pooling) <= self.layers, f"a factor for each layer, {self.layers}, or fewer")
        check(self, "bidirectional", isinstance(self.bidirectional, bool), "True or False")


class Classifier(Pretrained):
    """Waveforms `(B, 1, L)` to logits `(B, classes)`, of the whole waveform.

    Streamed, it gives after each block the logits of all samples so far, those that `forward` gives for them. Samples
    behind the last group that the pooling makes are not heard: at most the product of its factors, less one.

    >>> config = ClassifierConfig(("yes", "no"), sample_rate=16_000, channels=8, layers=2)
    >>> Classifier(config)(torch.randn(3, 1, 16_000)).shape
    torch.Size([3, 2])
    """

    Config = ClassifierConfig

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.config = config
        self.stages = nn.Sequential()
        pooling = config.pooling + (1,) * (config.layers - len(config.pooling))
        pooled = 1
        for index, pool in enumerate(pooling):
            pooled *= pool
            if index == 0 or pool > 1:
                self.stages.append(DownPool(config.channels if index else 1, config.channels, pool))
            kernel_size = taps(config, pooled)
            layer = make_layer(config.layer, config.channels, kernel_size, bidirectional=config.bidirectional)
            self.stages.append(ResidualBlock(layer, config.channels, glu=True, dropout=config.dropout))
        self.norm = ChannelNorm(config.channels)
        self.head = nn.Linear(config.channels, len(config.classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 3 or x.shape[1] != 1:
            raise ValueError(f"x has shape {tuple(x.shape)}; expected (batch, 1, samples), of one channel")
        h = self.norm(self.stages(x))
        mean = h.sum(-1, dtype=_wider(h)) / max(h.shape[-1], 1)
        return self.head(mean.to(self.head.weight.dtype))

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        """Those of the stages, the sum of all time steps so far, and how many they are."""
        like = {"device": device or self.head.weight.device}
        wide = torch.float32 if torch.device(like["device"]).type == "mps" else torch.float64
        return {
            "stages": streaming.init_state(self.stages, batch, device=device, dtype=dtype),
            "sum": torch.zeros(batch, self.config.channels, dtype=wide, **like),
            "count": torch.zeros(batch, 1, dtype=torch.int64, **like),
        }

    @torch.no_grad()
    def stream(self, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
        states = state["stages"]
        for name, stage in self.stages.named_children():
            block, states[name] = streaming.stream(stage, block, states[name])
            if not block.shape[-1]:
                break
        else:
            h = self.norm.normed(block)
            state["sum"] += h.sum(-1, dtype=state["sum"].dtype)
            state["count"] += h.shape[-1]
        mean = state["sum"] / state["count"].clamp(min=1)
        return self.head(mean.to(self.head.weight.dtype)), state


def _wider(x) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
