"""An autoregressive model of waveforms: 8-bit codes in, logits of the next code out, after SaShiMi.

Goel et al. 2022, "It's Raw! Audio Generation with State-Space Models", arXiv 2202.09729.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from .. import streaming
from ..blocks import ChannelNorm, FeedForward, ResidualBlock
from ..pooling import UNetStage
from .configuration import check, check_integers, check_stack, make_layer, taps
from .mu_law import CODES, mu_law_decode, mu_law_encode
from .pretrained import Pretrained

# What stands in the place of the code before the first.
_START = CODES


@dataclass(frozen=True)
class WaveformModelConfig:
    """What makes a `WaveformModel`.

    Args:
        sample_rate: of the waveforms, in hertz.
        channels: at the full rate.
        layers: blocks at each rate, each a long convolution and a feed-forward block.
        layer: "depthwise", "sgconv", "s4d" or "hyena".
        kernel_size: taps of each layer's filters, at the rate at which it runs; None for a second's.
        pooling: the factors by which the rate is lowered from stage to stage.
        expand: how many times as many channels each stage has as the one above.
        dropout: the share of each block's numbers that training leaves out.

    Raises:
        ValueError: for a field that is not as expected, by name and value.
    """

    sample_rate: int
    channels: int = 64
    layers: int = 4
    layer: str = "s4d"
    kernel_size: int | None = None
    pooling: tuple[int, ...] = (4, 4)
    expand: int = 2
    dropout: float = 0.0

    def __post_init__(self):
        check_stack(self)
        check_integers(self, expand=1)
        check(self, "pooling", all(pool > 1 for pool in self.pooling), "factors of at least 2")


class WaveformModel(Pretrained):
    """Codes of the mu-law, `(B, L)` int64, to logits `(B, 256, L)`: those at t are of the code at t, given the codes
    before t and no other.

    So the loss is `cross_entropy(model(codes), codes)`: what shifts the codes by one sample is the model.

    >>> config = WaveformModelConfig(16_000, channels=4, layers=1, layer="depthwise", kernel_size=50)
    >>> model = WaveformModel(config).eval()
    >>> model(torch.randint(256, (2, 100))).shape
    torch.Size([2, 256, 100])
    >>> model.generate(20, batch=3, generator=torch.Generator().manual_seed(1)).shape
    torch.Size([3, 20])
    """

    Config = WaveformModelConfig

    def __init__(self, config: WaveformModelConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(CODES + 1, config.channels)
        self.stages = _stages(config, config.channels, 1, config.pooling)
        self.norm = ChannelNorm(config.channels)
        self.head = nn.Conv1d(config.channels, CODES, 1)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        if codes.ndim != 2:
            raise ValueError(f"codes has shape {tuple(codes.shape)}; expected (batch, samples)")
        if not codes.shape[-1]:
            return self.head.weight.new_zeros(len(codes), CODES, 0)
        return self.head(self.norm(self.stages(self._embedded(F.pad(codes, (1, 0), value=_START)[:, :-1]))))

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        """Those of the stages, and the code before, `(B, 1)`; `dtype` is that of the stages' blocks."""
        device = device or self.head.weight.device
        dtype = dtype if dtype is not None and dtype.is_floating_point else self.head.weight.dtype
        return {
            "stages": streaming.init_state(self.stages, batch, device=device, dtype=dtype),
            "code": torch.full((batch, 1), _START, device=device),
        }

    @torch.no_grad()
    def stream(self, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
        """The logits of the block's codes, `(B, 256, n)` of `(B, n)`, given all codes before each."""
        codes = torch.cat([state["code"], block], -1)
        state["code"].copy_(codes[:, -1:])
        if not block.shape[-1]:
            return self.head.weight.new_zeros(len(block), CODES, 0), state
        return self._logits(codes[:, :-1], state), state

    def generate(
        self,
        samples: int,
        *,
        batch: int = 1,
        prompt: torch.Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """New waveforms, `(batch, samples)`, from -1 to 1.

        Args:
            samples: how many to generate.
            batch: how many waveforms side by side.
            prompt: what they continue, `(samples before,)` for all or `(batch, samples before)`; it is not part of
                what is returned.
            temperature: what the logits are divided by; 0 takes the likeliest code each time.
            generator: of the random numbers, on its own device; where it and the model are the same, so is the result.

        Raises:
            ValueError: for a temperature or a number below 0, a prompt that does not fit, and a model in training.
        """
        blocks = self.generate_blocks(
            samples, max(samples, 1), batch=batch, prompt=prompt, temperature=temperature, generator=generator
        )
        return torch.cat([self.head.weight.new_zeros(batch, 0, dtype=torch.float32), *blocks], -1)

    def generate_blocks(
        self,
        samples: int,
        block: int,
        *,
        batch: int = 1,
        prompt: torch.Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Iterator[torch.Tensor]:
        """What `generate` gives, in blocks `(batch, block)` as they become ready; the last may be shorter."""
        for name, value, least in (("samples", samples, 0), ("block", block, 1), ("batch", batch, 0)):
            if value < least:
                raise ValueError(f"{name} is {value}; expected at least {least}")
        if not temperature >= 0:
            raise ValueError(f"temperature is {temperature}; expected 0 or more")
        if self.training:
            raise ValueError("the model is in training, where dropout is random: call eval() before generating")
        state = self.init_state(batch)
        code = state["code"].clone()
        if prompt is not None:
            code = self._heard(prompt, batch, state)
        return self._blocks(samples, block, code, state, temperature, generator)

    def _heard(self, prompt, batch: int, state):
        """The last code of a prompt, the others having gone through the stages."""
        if prompt.ndim not in (1, 2) or (prompt.ndim == 2 and len(prompt) not in (1, batch)):
            raise ValueError(f"prompt has shape {tuple(prompt.shape)}; expected (samples,) or ({batch}, samples)")
        codes = mu_law_encode(prompt.to(self.head.weight.device)).expand(batch, -1)
        if codes.shape[-1]:
            self.stream(codes, state)
        return state["code"].clone()

    @torch.no_grad()
    def _blocks(self, samples, block, code, state, temperature, generator):
        for start in range(0, samples, block):
            made = []
            for _ in range(min(block, samples - start)):
                code = _drawn(self._logits(code, state)[..., -1], temperature, generator)
                made.append(code)
            yield mu_law_decode(torch.cat(made, -1))

    def _logits(self, before, state):
        """Of the codes that follow each of those before."""
        h, state["stages"] = streaming.stream(self.stages, self._embedded(before), state["stages"])
        return self.head(self.norm(h))

    def _embedded(self, codes):
        return self.embedding(codes).transpose(1, 2).contiguous()


def _stages(config: WaveformModelConfig, channels: int, pooled: int, pooling: tuple[int, ...]) -> nn.Sequential:
    """The blocks at one rate, and in front of them the stage at the next lower one."""
    stages = nn.Sequential()
    if pooling:
        pool, *rest = pooling
        inner = _stages(config, channels * config.expand, pooled * pool, tuple(rest))
        stages.append(UNetStage(inner, channels, pool, config.expand))
    for _ in range(config.layers):
        layer = make_layer(config.layer, channels, taps(config, pooled))
        stages.append(ResidualBlock(layer, channels, glu=True, dropout=config.dropout))
        stages.append(FeedForward(channels, dropout=config.dropout))
    return stages


def _drawn(logits, temperature: float, generator) -> torch.Tensor:
    """One code an item, `(B, 1)`."""
    if not temperature:
        return logits.argmax(-1, keepdim=True)
    shares = torch.softmax(logits.float() / temperature, -1)
    if generator is not None:
        shares = shares.to(generator.device)
    return torch.multinomial(shares, 1, generator=generator).to(logits.device)
