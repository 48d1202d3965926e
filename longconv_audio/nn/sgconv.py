"""A long convolution whose kernel gets coarser and weaker with time."""

from __future__ import annotations

import torch
from torch import nn

from ..frequency_mask import FrequencyMask
from .checks import check_count
from .kernel_layer import KernelLayer
from .kernels import multiscale_kernel


class SGConv(KernelLayer):
    """A structured global convolution: sub-kernels of `scale_size` parameters, each stretched to twice as many taps as
    the one before and damped, and a skip term.

    Args:
        channels: of the input and of the output, `(batch, channels, time)`.
        kernel_size: taps.
        scale_size: parameters of a sub-kernel; the first two have as many taps.
        decay: the size of a sub-kernel in parts of the one before.
        skip, mask: see `KernelLayer`.

    The kernels are divided by the norms that they have at construction, the buffer `norm`.

    Source: Li et al., "What makes convolutional models great on long sequence modeling?" (2022, arXiv 2210.09298),
    equation 1.

    >>> layer = SGConv(4, 1000)
    >>> layer.weight.shape, layer(torch.ones(2, 4, 3000)).shape
    (torch.Size([4, 5, 64]), torch.Size([2, 4, 3000]))
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        *,
        scale_size: int = 64,
        decay: float = 0.5,
        skip: bool = True,
        mask: FrequencyMask | None = None,
        device=None,
        dtype=None,
    ):
        check_count("scale_size", scale_size)
        if not 0 < decay <= 1:
            raise ValueError(f"decay is {decay}; expected a factor above 0, at most 1")
        super().__init__(channels, kernel_size, skip=skip, mask=mask, device=device, dtype=dtype)
        self.scale_size, self.decay = scale_size, decay
        scales = 1 + (-(-kernel_size // scale_size) - 1).bit_length()
        self.weight = nn.Parameter(torch.empty(channels, scales, scale_size, device=device, dtype=dtype))
        self.register_buffer("norm", torch.empty(channels, 1, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new sub-kernels and weights of the skip term, and fixes the norms."""
        with torch.no_grad():
            self.weight.normal_()
            self.norm.copy_(multiscale_kernel(self.weight, self.decay, self.kernel_size).norm(dim=1, keepdim=True))
            if self.d is not None:
                self.d.normal_()

    def _kernel(self, length: int) -> torch.Tensor:
        return multiscale_kernel(self.weight, self.decay, length) / self.norm

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, scale_size={self.scale_size}, decay={self.decay}"
