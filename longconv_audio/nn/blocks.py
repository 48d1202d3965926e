"""What deep models are built of: a norm over channels, and a layer with a norm, a mixing of channels and a bypass."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ..operators import unobserved
from . import streaming
from .checks import check_count, check_share
from .pointwise import channel_norm, computed_anew, mix
from .streaming import Streamable

# Numbers in a block of a stream.
_SMALL = 1 << 16


class ChannelNorm(Streamable):
    """Layer normalisation over the channels of each time step: causal, for time steps do not see each other.

    Args:
        channels: of `(B, C, L)`.
        eps: what is added to the variance.

    >>> ChannelNorm(3)(torch.randn(2, 3, 100)).mean(1).abs().max() < 1e-5
    tensor(True)
    """

    def __init__(self, channels: int, eps: float = 1e-5, *, device=None, dtype=None):
        super().__init__()
        self.eps = eps
        check_count("channels", channels)
        self.weight = nn.Parameter(torch.empty(channels, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(channels, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Neither scales nor shifts."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 3 or x.shape[1] != len(self.weight):
            raise ValueError(f"x has shape {tuple(x.shape)}; expected (batch, {len(self.weight)}, time)")
        return channel_norm(x, self.weight, self.bias, self.eps)

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        return {}

    @torch.no_grad()
    def stream(self, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
        return self.normed(block), state

    def normed(self, block: torch.Tensor) -> torch.Tensor:
        """What `forward` gives, where no gradients are wanted: a small block in fewer calls."""
        if not _is_small(block, self.weight):
            return self(block)
        return F.layer_norm(block.mT, self.weight.shape, self.weight, self.bias, self.eps).mT

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}"


class ResidualBlock(Streamable):
    """x + dropout(mixing(GELU(layer(norm(x))))), with a mixing of channels at each time step.

    Args:
        layer: any module from `(B, channels, L)` to `(B, inner, L)`.
        channels: of the input and the output.
        inner: channels that the layer gives; by default as many.
        glu: mix with a gated linear unit: twice the weights, half of them for gates.
        dropout: the share of the mixing's numbers that training leaves out.

    The norm's output and what lies between the layer and the sum are not kept for the backward pass, which computes
    them anew; only the input and the layer's output are.

    >>> block = ResidualBlock(nn.Conv1d(4, 8, 1), 4, inner=8)  # without a look at other times: a feed-forward block
    >>> block(torch.randn(2, 4, 100)).shape
    torch.Size([2, 4, 100])
    """

    def __init__(
        self,
        layer: nn.Module,
        channels: int,
        *,
        inner: int | None = None,
        glu: bool = False,
        dropout: float = 0.0,
        device=None,
        dtype=None,
    ):
        super().__init__()
        check_share("dropout", dropout)
        inner = channels if inner is None else check_count("inner", inner)
        self.glu, self.dropout = glu, dropout
        factory = {"device": device, "dtype": dtype}
        self.norm = ChannelNorm(channels, **factory)
        self.layer = layer
        self.mixing = nn.Conv1d(inner, 2 * channels if glu else channels, 1, **factory)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm = self.norm
        h = norm(x)
        if h.requires_grad and unobserved(x, norm.weight, norm.bias):
            held, weight, bias, dtype = x.detach(), norm.weight.detach(), norm.bias.detach(), h.dtype

            def anew():
                return channel_norm(held, weight, bias, norm.eps).to(dtype)

            with computed_anew(h, anew, held, weight, bias):
                y = self.layer(h)
        else:
            y = self.layer(h)
        return self._mix(y, x)

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        if self.dropout and self.training:
            raise ValueError(
                f"the dropout of {type(self).__name__} in training is random: call eval() before streaming"
            )
        return {"layer": streaming.init_state(self.layer, batch, device=device, dtype=dtype)}

    @torch.no_grad()
    def stream(self, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
        if not block.shape[-1]:
            return block, state
        y, state["layer"] = streaming.stream(self.layer, self.norm.normed(block), state["layer"])
        if self.training or not _is_small(block, self.mixing.weight):
            return self._mix(y, block), state
        z = F.linear(F.gelu(y).mT, self.mixing.weight.squeeze(-1), self.mixing.bias)
        return block + (F.glu(z, -1) if self.glu else z).mT, state

    def _mix(self, y, x):
        weight, dropout = self.mixing.weight.squeeze(-1), self.dropout if self.training else 0.0
        return mix(y, weight, self.mixing.bias, x, glu=self.glu, dropout=dropout)

    def extra_repr(self) -> str:
        return f"glu={self.glu}, dropout={self.dropout}"


class FeedForward(ResidualBlock):
    """x + linear(GELU(linear(norm(x)))) at each time step, as it follows a state space layer in SaShiMi.

    Args:
        channels: of the input and the output.
        expand: how many times as many there are in between.
        dropout: as of `ResidualBlock`.

    Goel et al. 2022, "It's Raw! Audio Generation with State-Space Models", arXiv 2202.09729.
    """

    def __init__(self, channels: int, expand: int = 2, *, dropout: float = 0.0, device=None, dtype=None):
        inner, factory = check_count("expand", expand) * channels, {"device": device, "dtype": dtype}
        super().__init__(nn.Conv1d(channels, inner, 1, **factory), channels, inner=inner, dropout=dropout, **factory)


def _is_small(block, weight) -> bool:
    """Whether calls cost more than what they compute: torch's own operations are the fewest then."""
    return block.numel() <= _SMALL and block.dtype == weight.dtype
