"""What the layers have in common that convolve each channel with a kernel of their own making."""

from __future__ import annotations

import torch
from torch import nn

from ..convolution import long_conv
from ..frequency_mask import FrequencyMask
from .checks import check_count
from .masking import MaskedLayer, made_in_full_precision
from .online import OnlineConvolution


class KernelLayer(MaskedLayer):
    """A causal convolution of each channel with its kernel, and a skip term beside it. Subclasses give `_kernel`.

    Args:
        channels: of the input and of the output, `(batch, channels, time)`; None for any number.
        kernel_size: taps; None for as many as the input has samples.
        skip: whether there is a skip term, whose weights are `d`.
        mask: the part of the spectrum that the kernels keep, for inputs of up to its points: see `MaskedLayer`.

    The kernels are made in their parameters' precision, also under autocast.
    """

    def __init__(
        self,
        channels: int | None,
        kernel_size: int | None,
        *,
        skip: bool = True,
        mask: FrequencyMask | None = None,
        device=None,
        dtype=None,
    ):
        super().__init__()
        for name, value in (("channels", channels), ("kernel_size", kernel_size)):
            if value is not None:
                check_count(name, value)
        self.channels, self.kernel_size = channels, kernel_size
        self.d = nn.Parameter(torch.randn(channels, device=device, dtype=dtype)) if skip else None
        self.set_mask(mask, device)

    def _kernel(self, length: int) -> torch.Tensor:
        """The first `length` taps, `(channels, length)`, from the parameters."""
        raise NotImplementedError

    def kernel(self, length: int | None = None) -> torch.Tensor:
        """The kernels' taps, `(channels, kernel_size)`, and of more than `length` only the first."""
        length = self.kernel_size if length is None else max(length, 1)
        if length is None:
            raise ValueError("length is None and so is kernel_size; expected the number of taps")
        if self.kernel_size is not None and length > self.kernel_size:
            length = self.kernel_size
        return made_in_full_precision(self._kernel, length, next(iter([*self.parameters(), *self.buffers()])))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output for x, `(batch, channels, time)`, of x's shape."""
        self.check_channels(x)
        return long_conv(x, self.kernel(x.shape[-1]), d=self.d, mask=self.mask)

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        self.check_streams()
        self.prepare_anew()
        return self._online().init_state(batch, device=device, dtype=dtype)

    def stream(self, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
        return self._online().stream(block, state)

    def check_channels(self, x: torch.Tensor) -> None:
        """Raises ValueError for an input of another shape."""
        if x.ndim != 3 or (self.channels is not None and x.shape[1] != self.channels):
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected (batch, {self.channels or 'channels'}, time) for this "
                f"{type(self).__name__}"
            )

    def _online(self) -> OnlineConvolution:
        return self.prepared("online", lambda: OnlineConvolution(with_skip(self.kernel(), self.d)))

    def extra_repr(self) -> str:
        parts = [str(self.channels), f"kernel_size={self.kernel_size}"]
        parts += [] if self.d is not None else ["skip=False"]
        return ", ".join(parts + ([f"mask={self.mask}"] if self.mask is not None else []))


def with_skip(taps: torch.Tensor, d: torch.Tensor | None) -> torch.Tensor:
    """Kernels `(channels, K)` with the skip term's weights `(channels,)` at lag zero."""
    return taps if d is None else torch.cat([taps[:, :1] + d[:, None], taps[:, 1:]], 1)
