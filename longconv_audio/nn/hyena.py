"""Long convolutions between gates that the input makes, with kernels from a small network."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from ..frequency_mask import FrequencyMask
from ..short_convolution import short_conv
from .checks import check_count
from .conv1d import LongConv1d
from .functional import hyena
from .kernel_layer import with_skip
from .kernels import hyena_window
from .masking import MaskedLayer, made_in_full_precision
from .online import OnlineConvolution

SHORT_TAPS = 3


class HyenaOperator(MaskedLayer):
    """Order - 1 long convolutions, between gates that are, like the value, short convolutions of projected inputs.

    Args:
        channels: of the input and of the output, `(batch, channels, time)`.
        kernel_size: taps of each long kernel.
        order: gates, at least 2; there is a long convolution between any two.
        bands: frequencies that the network sees the place of a tap in.
        width: of the network that makes the kernels.
        frequency: of its sines at the start; higher ones give rougher kernels.
        mask: see `MaskedLayer`.

    Source: Poli et al., "Hyena hierarchy: towards larger convolutional language models" (2023, arXiv 2302.10866).
    As in the authors' code, the first of the paper's long convolutions is the short one; not theirs is that the
    kernels' decay is scaled to an energy of 1, whatever their length.

    >>> layer = HyenaOperator(4, 1000)
    >>> layer(torch.ones(2, 4, 3000)).shape
    torch.Size([2, 4, 3000])
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        order: int = 2,
        *,
        bands: int = 16,
        width: int = 64,
        frequency: float = 10.0,
        mask: FrequencyMask | None = None,
        device=None,
        dtype=None,
    ):
        super().__init__()
        for name, value, least in (
            ("channels", channels, 1), ("kernel_size", kernel_size, 1), ("order", order, 2), ("bands", bands, 1),
            ("width", width, 1),
        ):  # fmt: skip
            check_count(name, value, least)
        factory = {"device": device, "dtype": dtype}
        self.channels, self.kernel_size, self.order = channels, kernel_size, order
        projected = (order + 1) * channels
        self.in_projection = LongConv1d(channels, projected, 1, padding="causal", **factory)
        self.short = nn.Conv1d(projected, projected, SHORT_TAPS, groups=projected, **factory)
        self.filter = HyenaFilter(channels * (order - 1), kernel_size, bands, width, frequency, **factory)
        self.d = nn.Parameter(torch.empty(order - 1, channels, **factory))
        self.out_projection = LongConv1d(channels, channels, 1, padding="causal", **factory)
        self.set_mask(mask, device)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new weights of the skip terms; the parts have methods of their own."""
        with torch.no_grad():
            self.d.normal_()

    def parameter_options(self, lr: float) -> dict[str, dict]:
        """What an optimiser is to do with the skip terms; see `parameter_groups`."""
        return {"d": {"weight_decay": 0.0}}

    def kernel(self, length: int | None = None) -> torch.Tensor:
        """The kernels' taps, `(order - 1, channels, kernel_size)`, and of more than `length` only the first."""
        length = self.kernel_size if length is None else max(length, 1)
        if length > self.kernel_size:
            length = self.kernel_size
        taps = made_in_full_precision(self.filter, length, self.d)
        return taps.unflatten(0, (self.order - 1, self.channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output for x, `(batch, channels, time)`, of x's shape."""
        if x.ndim != 3 or x.shape[1] != self.channels:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected (batch, {self.channels}, time) for this HyenaOperator"
            )
        z = short_conv(self.in_projection(x), self._short_taps(), bias=self.short.bias)
        return self.out_projection(hyena(z, self.kernel(x.shape[-1]), self.d, mask=self.mask))

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        self.check_streams()
        self.prepare_anew()
        return {
            name: online.init_state(batch, device=device, dtype=dtype)
            for name, online in self.prepared("online", self._online).items()
        }

    @torch.no_grad()
    def stream(self, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
        short, *longs = online = self.prepared("online", self._online)
        z, state[short] = online[short].stream(self.in_projection(block), state[short])
        last, *gates, v = (z + self.short.bias[:, None].to(z.dtype)).chunk(self.order + 1, 1)
        for name, gate in zip(longs, gates, strict=True):
            v, state[name] = online[name].stream(v * gate, state[name])
        return self.out_projection(v * last), state

    def _online(self) -> dict[str, OnlineConvolution]:
        longs = {f"long{i}": with_skip(k, d) for i, (k, d) in enumerate(zip(self.kernel(), self.d, strict=True))}
        return {name: OnlineConvolution(taps) for name, taps in {"short": self._short_taps(), **longs}.items()}

    def _short_taps(self) -> torch.Tensor:
        return self.short.weight[:, 0].flip(-1)

    def extra_repr(self) -> str:
        mask = "" if self.mask is None else f", mask={self.mask}"
        return f"{self.channels}, kernel_size={self.kernel_size}, order={self.order}{mask}"


class HyenaFilter(nn.Module):
    """Kernels as a function of a tap's place: a network with sines, times a decay of each kernel's own.

    Args:
        kernels: how many.
        kernel_size: taps.
        bands, width, frequency: see `HyenaOperator`.
    """

    def __init__(self, kernels: int, kernel_size: int, bands: int, width: int, frequency: float, *, device, dtype):
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        self.kernel_size, self.bands, self.first_frequency = kernel_size, bands, frequency
        self.layers = nn.ModuleList(nn.Linear(size, width, **factory) for size in (2 * bands + 1, width, width))
        self.frequency = nn.Parameter(torch.empty(width, **factory))
        self.output = nn.Linear(width, kernels, bias=False, **factory)
        self.register_buffer("rate", torch.empty(kernels, 1, **factory))
        self.register_buffer("scale", torch.empty(kernels, 1, **factory))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the sines' frequencies and the kernels' decays; the layers have methods of their own."""
        with torch.no_grad():
            self.frequency.fill_(self.first_frequency)
            like = {"device": self.rate.device, "dtype": _wide(self.rate)}
            rate = hyena_window(len(self.rate), self.kernel_size, **like)
            energy = torch.expm1(2 * self.kernel_size * rate) / torch.expm1(2 * rate)
            self.rate.copy_(rate)
            self.scale.copy_(energy.rsqrt())

    def forward(self, length: int) -> torch.Tensor:
        """The first `length` taps, `(kernels, length)`, in float32 at least: half precision cannot number them."""
        wide, device = _wide(self.rate), self.rate.device
        place = torch.arange(length, device=device, dtype=wide)
        bands = torch.arange(self.bands, device=device, dtype=wide)
        angle = place[:, None] * bands * (2 * math.pi / self.kernel_size)
        h = torch.cat([place[:, None] / self.kernel_size, angle.cos(), angle.sin()], -1)
        for layer in self.layers:
            h = torch.sin(self.frequency * F.linear(h, layer.weight.to(wide), layer.bias.to(wide)))
        return F.linear(self.output.weight.to(wide), h) * (self.scale * torch.exp(self.rate * place))


def _wide(t) -> torch.dtype:
    return torch.promote_types(t.dtype, torch.float32)
