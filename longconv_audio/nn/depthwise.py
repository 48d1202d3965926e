"""A long convolution with a tap for each parameter."""

from __future__ import annotations

import torch
from torch import nn

from ..frequency_mask import FrequencyMask
from .checks import check_count, check_share
from .kernel_layer import KernelLayer
from .kernels import smooth, squash

INITIALISATIONS = ("geometric", "random")


class DepthwiseLongConv(KernelLayer):
    """A causal convolution of each channel with an explicit kernel, regularised in time, and a skip term.

    Args:
        channels: of the input and of the output, `(batch, channels, time)`.
        kernel_size: taps.
        initialisation: "geometric" for noise that decays, in each channel faster than in the one before; "random" for
            noise. Either is scaled to an expected energy of 1 for each kernel, whatever its length.
        squash: the threshold of `functional.squash`.
        smooth: the width on each side of `functional.smooth`, which comes first.
        dropout: the chance of a tap to be zero in a training step.
        skip, mask: see `KernelLayer`.

    Source: Fu et al., "Simple hardware-efficient long convolutions for sequence modeling" (2023, arXiv 2302.06646);
    the scale is not theirs.

    >>> layer = DepthwiseLongConv(4, 1000, squash=0.001)
    >>> layer(torch.ones(2, 4, 3000)).shape
    torch.Size([2, 4, 3000])
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        *,
        initialisation: str = "geometric",
        squash: float = 0.0,
        smooth: int = 0,
        dropout: float = 0.0,
        skip: bool = True,
        mask: FrequencyMask | None = None,
        device=None,
        dtype=None,
    ):
        if initialisation not in INITIALISATIONS:
            raise ValueError(f"initialisation is {initialisation!r}; expected one of {', '.join(INITIALISATIONS)}")
        if not squash >= 0:
            raise ValueError(f"squash is {squash}; expected 0 or more")
        check_count("smooth", smooth, 0)
        check_share("dropout", dropout)
        super().__init__(channels, kernel_size, skip=skip, mask=mask, device=device, dtype=dtype)
        self.initialisation, self.squash, self.smooth, self.dropout = initialisation, squash, smooth, dropout
        self.weight = nn.Parameter(torch.empty(channels, kernel_size, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new kernels and weights of the skip term."""
        with torch.no_grad():
            envelope = torch.ones_like(self.weight)
            if self.initialisation == "geometric":
                h = torch.arange(1, self.channels + 1, device=self.weight.device, dtype=self.weight.dtype)
                rate = (max(self.channels, 2) / 2) ** (h / self.channels) / self.kernel_size
                place = torch.arange(self.kernel_size, device=self.weight.device, dtype=self.weight.dtype)
                envelope = torch.exp(-rate[:, None] * place)
            self.weight.normal_().mul_(envelope / envelope.norm(dim=1, keepdim=True))
            if self.d is not None:
                self.d.normal_()

    def _kernel(self, length: int) -> torch.Tensor:
        k = self.weight[:, : length + self.smooth]  # of which the last are neighbours of the first `length`
        if self.smooth:
            k = smooth(k, self.smooth)
        k = k[:, :length]
        if self.squash:
            k = squash(k, self.squash)
        return nn.functional.dropout(k, self.dropout, self.training) if self.dropout else k

    def check_streams(self) -> None:
        super().check_streams()
        if self.dropout and self.training:
            raise ValueError("the dropout of DepthwiseLongConv in training is random: call eval() before streaming")

    def extra_repr(self) -> str:
        settings = (("squash", self.squash), ("smooth", self.smooth), ("dropout", self.dropout))
        return ", ".join([super().extra_repr(), *(f"{name}={value}" for name, value in settings if value)])
