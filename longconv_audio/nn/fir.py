"""A given filter as a layer."""

from __future__ import annotations

import torch
from torch import nn

from ..arguments import check_tensors
from ..frequency_mask import FrequencyMask
from .kernel_layer import KernelLayer


class FIRFilter(KernelLayer):
    """A causal convolution with a given filter: an equaliser, a room.

    Args:
        taps: `(K,)` for every channel, or `(channels, K)` for each its own.
        learnable: whether the taps are a parameter; otherwise they are a buffer.
        mask: see `KernelLayer`.

    A filter `(K,)` streams signals of one channel; for more, give it as `taps.expand(channels, -1)`.

    >>> layer = FIRFilter(torch.tensor([1.0, 0.5]))
    >>> layer(torch.tensor([[[1.0, 2.0, 4.0]]])).round(decimals=4)
    tensor([[[1.0000, 2.5000, 5.0000]]])
    """

    def __init__(
        self,
        taps: torch.Tensor,
        learnable: bool = False,
        *,
        mask: FrequencyMask | None = None,
        device=None,
        dtype=None,
    ):
        check_tensors(taps=taps)
        if taps.ndim not in (1, 2) or not taps.numel():
            raise ValueError(f"taps has shape {tuple(taps.shape)}; expected (taps,) or (channels, taps)")
        channels = None if taps.ndim == 1 else taps.shape[0]
        super().__init__(channels, taps.shape[-1], skip=False, mask=mask, device=device)
        taps = taps.detach().to(device=device, dtype=dtype, copy=True, memory_format=torch.contiguous_format)
        if learnable:
            self.taps = nn.Parameter(taps)
        else:
            self.register_buffer("taps", taps)

    def _kernel(self, length: int) -> torch.Tensor:
        return torch.atleast_2d(self.taps)[:, :length]

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, learnable={isinstance(self.taps, nn.Parameter)}"
