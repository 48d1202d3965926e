"""The layers' cases: one list for every check, each with what it must give from direct sums in float64."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from longconv_audio import nn as longconv_nn
from longconv_audio.frequency_mask import FrequencyMask

CHANNELS = 4
TAPS = 100


@dataclass(frozen=True)
class Case:
    """A layer.

    Args:
        name: of the case.
        make: gives the layer, of float32; a keyword argument `taps` makes it smaller.
        expected: gives the output from the layer in float64 and x, by other means than the layer's.
        causal: whether no output depends on a later input.
        stride: samples of the input to one of the output.
    """

    name: str
    make: Callable[..., nn.Module]
    expected: Callable[[nn.Module, torch.Tensor], torch.Tensor]
    causal: bool = True
    stride: int = 1

    def layer(self, dtype=torch.float32, seed=0, **options) -> nn.Module:
        """The layer in evaluation, the same for a seed and dtype after rounding."""
        torch.manual_seed(seed)
        return self.make(**options).to(dtype).eval()

    def oracle(self, layer, x) -> torch.Tensor:
        """What the layer must give, in float64."""
        with torch.no_grad():
            return self.expected(copy.deepcopy(layer).double(), x.double())

    def __str__(self) -> str:
        return self.name


def noise(*shape, seed=1, dtype=torch.float32):
    """Unit-scale noise."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def fir(x, k):
    """Each channel of x through the taps of k, by sums."""
    k = k.expand(x.shape[1], -1)
    return nn.functional.conv1d(nn.functional.pad(x, (k.shape[1] - 1, 0)), k.flip(-1).unsqueeze(1), groups=x.shape[1])


def masked(x, k, mask):
    """The same with a mask on the spectrum, as `frequency_mask` defines it."""
    points, length = mask.points, x.shape[-1]
    twist = torch.exp(0.5j * math.pi * torch.arange(points, dtype=torch.float64) / points)
    x, k = (torch.fft.fft(t * twist[: t.shape[-1]], points) for t in (x, k[:, :length]))
    spectrum = x * k * mask.bins
    return (torch.fft.ifft(spectrum) * twist.conj()).real[..., :length]


def beside_skip(layer, x, k):
    """The convolution that a kernel layer does with its kernels."""
    y = fir(x, k) if layer.mask is None else masked(x, k, layer.mask)
    return y if layer.d is None else y + layer.d[:, None] * x


def explicit_kernel(layer):
    """The weight, smoothed and squashed tap by tap."""
    k = layer.weight
    p = layer.smooth
    k = torch.stack([k[:, max(i - p, 0) : i + p + 1].sum(1) / (2 * p + 1) for i in range(k.shape[1])], 1)
    return torch.where(k > layer.squash, k - layer.squash, torch.where(k < -layer.squash, k + layer.squash, 0.0))


def multiscale(layer):
    """Sub-kernels through torch's interpolation."""
    parts = [layer.weight[:, :1]] + [
        nn.functional.interpolate(layer.weight[:, s : s + 1], scale_factor=2 ** (s - 1), mode="linear")
        for s in range(1, layer.weight.shape[1])
    ]
    parts = [part[:, 0] * layer.decay**s for s, part in enumerate(parts)]
    return torch.cat(parts, 1)[:, : layer.kernel_size] / layer.norm


def resonances(layer, length):
    """The response of each pair of states, in complex128, with all powers of all states at once."""
    a = torch.complex(-layer.log_decay.exp(), layer.frequency)
    step = layer.log_dt.exp()[:, None] * a
    c = torch.view_as_complex(layer.c) * (step.exp() - 1) / a
    powers = torch.exp(step[..., None] * torch.arange(length, dtype=torch.float64))
    return 2 * (c[..., None] * powers).sum(1).real


def state_space(layer, x):
    """An S4D layer."""
    taps = min(layer.kernel_size or x.shape[-1], x.shape[-1])
    return beside_skip(layer, x, resonances(layer, taps))


def hyena(layer, x):
    """A Hyena operator as the paper writes it: gate by gate."""
    z = torch.einsum("oi,bit->bot", layer.in_projection.weight[..., 0], x) + layer.in_projection.bias[:, None]
    z = fir(z, layer.short.weight[:, 0].flip(-1)) + layer.short.bias[:, None]
    post, *gates, v = z.split(layer.channels, 1)
    t = torch.arange(layer.kernel_size, dtype=torch.float64) / layer.kernel_size
    angles = [2 * math.pi * band * t for band in range(layer.filter.bands)]
    h = torch.stack([t, *(a.cos() for a in angles), *(a.sin() for a in angles)], 1)
    for linear in layer.filter.layers:
        h = torch.sin(layer.filter.frequency * (h @ linear.weight.T + linear.bias))
    window = torch.exp(layer.filter.rate * layer.kernel_size * t) * layer.filter.scale
    kernels = (layer.filter.output.weight @ h.T) * window
    for gate, k, d in zip(gates, kernels.split(layer.channels), layer.d, strict=True):
        v = gate * v
        v = fir(v, k) + d[:, None] * v
    y = torch.einsum("oi,bit->bot", layer.out_projection.weight[..., 0], v * post)
    return y + layer.out_projection.bias[:, None]


def conv1d(layer, x):
    """torch's own, on an input padded by hand."""
    taps, padding = layer.weight.flip(-1) if layer.flip else layer.weight, layer.padding
    if padding == "causal":
        x, padding = nn.functional.pad(x, (layer.dilation[0] * (layer.kernel_size[0] - 1), 0)), 0
    return nn.functional.conv1d(x, taps, layer.bias, layer.stride, padding, layer.dilation, layer.groups)


def _conv1d(outputs=6, **options):
    return lambda taps=TAPS: longconv_nn.LongConv1d(CHANNELS, outputs, taps, **options)


def _mask():
    return FrequencyMask(512, noise(1, 16) > 0)


CASES = [
    Case("depthwise", lambda taps=TAPS: longconv_nn.DepthwiseLongConv(CHANNELS, taps),
         lambda layer, x: beside_skip(layer, x, layer.weight)),
    Case("depthwise-regularised",
         lambda taps=TAPS: longconv_nn.DepthwiseLongConv(
             CHANNELS, taps, initialisation="random", squash=0.02, smooth=2, skip=False),
         lambda layer, x: beside_skip(layer, x, explicit_kernel(layer))),
    Case("depthwise-masked", lambda taps=TAPS: longconv_nn.DepthwiseLongConv(CHANNELS, taps, mask=_mask()),
         lambda layer, x: beside_skip(layer, x, layer.weight), causal=False),
    Case("sgconv", lambda taps=TAPS: longconv_nn.SGConv(CHANNELS, taps, scale_size=8),
         lambda layer, x: beside_skip(layer, x, multiscale(layer))),
    Case("s4d-lin", lambda taps=None: longconv_nn.S4D(CHANNELS, state_size=8), state_space),
    Case("s4d-inv-taps", lambda taps=TAPS: longconv_nn.S4D(CHANNELS, 8, taps, initialisation="inv"), state_space),
    Case("hyena-2", lambda taps=TAPS: longconv_nn.HyenaOperator(CHANNELS, taps, bands=4, width=16), hyena),
    Case("hyena-3", lambda taps=TAPS: longconv_nn.HyenaOperator(CHANNELS, taps, 3, bands=2, width=8), hyena),
    Case("fir", lambda taps=TAPS: longconv_nn.FIRFilter(noise(CHANNELS, taps), learnable=True),
         lambda layer, x: fir(x, layer.taps)),
    Case("conv1d-dense", _conv1d(padding="causal"), conv1d),
    Case("conv1d-groups", _conv1d(padding="causal", groups=2, stride=3, flip=True), conv1d, stride=3),
    Case("conv1d-depthwise", _conv1d(8, padding="causal", groups=4, dilation=2, bias=False), conv1d),
    Case("conv1d-same", _conv1d(padding="same"), conv1d, causal=False),
    Case("bidirectional",
         lambda taps=TAPS: longconv_nn.Bidirectional(
             longconv_nn.DepthwiseLongConv(CHANNELS, taps), longconv_nn.DepthwiseLongConv(CHANNELS, taps)),
         lambda layer, x: beside_skip(layer.forward_layer, x, layer.forward_layer.weight)
         + beside_skip(layer.backward_layer, x.flip(-1), layer.backward_layer.weight).flip(-1), causal=False),
]  # fmt: skip

CAUSAL = [case for case in CASES if case.causal]


def by_name(name: str) -> Case:
    """The case of that name."""
    return next(case for case in CASES if case.name == name)
