"""What the tests of streaming share: a layer with a past, random splits, and the comparison with the whole."""

import torch

from longconv_audio import long_conv
from longconv_audio.nn import streaming
from longconv_audio.nn.online import OnlineConvolution
from longconv_audio.nn.streaming import Streamable


class Memory(Streamable):
    """A causal convolution, and nothing else."""

    def __init__(self, channels: int, taps: int):
        super().__init__()
        self.k = torch.nn.Parameter(torch.randn(channels, taps) / taps**0.5)

    def forward(self, x):
        return long_conv(x, self.k)

    def init_state(self, batch, *, device=None, dtype=None):
        return OnlineConvolution(self.k).init_state(batch, device=device, dtype=dtype)

    def stream(self, block, state):
        return OnlineConvolution(self.k).stream(block, state)


def splits(length: int, generator: torch.Generator) -> list[int]:
    """Lengths of blocks that make up the whole: some of one sample first, an empty one, then any."""
    blocks = [*[1] * min(length, 3), 0]
    while sum(blocks) < length:
        most = length - sum(blocks)
        blocks.append(int(torch.randint(1, min(most, 40) + 1, (1,), generator=generator)))
    return blocks


def streamed(module, x: torch.Tensor, seed: int = 0, prefill: int = 0) -> torch.Tensor:
    """What the module gives for x, `(batch, ..., time)`, in random blocks, after a prefill of the first samples."""
    generator = torch.Generator().manual_seed(seed)
    if prefill:
        state = module.prefill(x[..., :prefill])
    else:
        state = streaming.init_state(module, len(x), dtype=x.dtype)
    parts = []
    for block in x[..., prefill:].split(splits(x.shape[-1] - prefill, generator), -1):
        y, state = streaming.stream(module, block, state)
        parts.append(y)
    return torch.cat(parts, -1)


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference, against the largest number of the second, which must not be silence."""
    assert a.shape == b.shape
    assert b.abs().max() > 0
    return float((a - b).abs().max() / b.abs().max())
