"""Two causal layers that together see the whole sequence."""

from __future__ import annotations

import torch
from torch import nn

from .streaming import Streamable


class Bidirectional(Streamable):
    """The sum of one layer on the sequence and of another on the sequence backwards in time.

    Args:
        forward_layer, backward_layer: `(batch, channels, time)` to the same length, any two modules.

    >>> ones = torch.nn.Identity()
    >>> Bidirectional(ones, ones)(torch.tensor([[[1.0, 2.0]]]))
    tensor([[[2., 4.]]])
    """

    def __init__(self, forward_layer: nn.Module, backward_layer: nn.Module):
        super().__init__()
        self.forward_layer, self.backward_layer = forward_layer, backward_layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_layer(x) + self.backward_layer(x.flip(-1)).flip(-1)

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        """Raises ValueError: there is none."""
        raise ValueError("Bidirectional cannot stream: its backward layer begins at the end of the sequence")
