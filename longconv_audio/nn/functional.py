"""The layers of `longconv_audio.nn` as functions, and what makes their kernels."""

from __future__ import annotations

import torch

from ..arguments import autocast, check_tensors, integer
from ..convolution import long_conv
from ..frequency_mask import FrequencyMask
from .dense_operator import dense_conv
from .kernels import hyena_window, multiscale_kernel, s4d_kernel, smooth, squash

__all__ = ["hyena", "hyena_window", "long_conv1d", "multiscale_kernel", "s4d_kernel", "smooth", "squash"]

# Taps from which on transforms are faster on a CPU than torch's sums: see benchmarks/layers.py.
LONG_TAPS = 32


def long_conv1d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int = 1,
    padding: int | str = 0,
    dilation: int = 1,
    groups: int = 1,
    *,
    flip: bool = False,
) -> torch.Tensor:
    """`torch.nn.functional.conv1d` for long kernels.

    Args:
        x: `(B, in_channels, L)` or `(in_channels, L)`.
        weight: `(out_channels, in_channels / groups, K)`. With a half-precision x, keep it in float32.
        bias: `(out_channels,)`.
        stride: samples from an output to the next.
        padding: zeros on both sides, a number; "valid" for none; "same" for L outputs (of an even number, the one more
            is at the end); "causal" for dilation (K - 1) in front, so that no output depends on a later sample, and
            there are ceil(L / stride) of them.
        dilation: samples from a tap to the next.
        groups: into how many groups the channels fall that do not mix.
        flip: convolves. Otherwise, as torch has it, this is a correlation: the last tap meets the newest sample.

    Returns:
        `(B, out_channels, samples)` or `(out_channels, samples)`, contiguous, with x's dtype.

    Raises:
        TypeError: for what is no dense tensor of floats.
        ValueError: for shapes and numbers that do not fit, and an input shorter than the kernel.

    Gradients flow to x, weight and bias, and through them to any order where channels mix, once more where none do.
    Saved for them are x and the weight, no spectrum. Under autocast x is cast, and of a long kernel
    neither the weight nor its gradient.

    >>> x, weight = torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[4.0, 5.0]]])
    >>> long_conv1d(x, weight)
    tensor([[[14., 23.]]])
    >>> long_conv1d(x, weight, padding="causal", flip=True)
    tensor([[[ 4., 13., 22.]]])
    """
    check_tensors(x=x, weight=weight, bias=bias)
    if x.ndim == 2:
        return long_conv1d(x[None], weight, bias, stride, padding, dilation, groups, flip=flip)[0]
    stride, dilation, groups = (
        _positive(name, value) for name, value in (("stride", stride), ("dilation", dilation), ("groups", groups))
    )
    _check_shapes(x, weight, bias, groups)
    reach = dilation * (weight.shape[-1] - 1)
    left, right = padding_sides(padding, reach, stride)
    samples = x.shape[-1] + left + right - reach
    if padding != "causal" and samples < 1:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, padding is {padding!r}, and the kernel spans {reach + 1} samples: expected "
            f"at least {reach + 1 - left - right} samples"
        )
    (x,) = autocast(x)
    if weight.shape[-1] < LONG_TAPS:
        if samples < 1:  # of a causal convolution of none, which torch refuses
            return x.new_empty(x.shape[0], weight.shape[0], 0)
        return _short(x, weight.flip(-1) if flip else weight, bias, stride, (left, right), dilation, groups)
    taps = spread_taps(weight, dilation)
    if groups == x.shape[1]:
        y = _depthwise(x, taps.flatten(0, 1), left, right, flip)
    else:
        y = _dense(x, taps, left, samples, groups, flip)
    y = y[..., :samples:stride]
    return y.contiguous() if bias is None else (y + bias[:, None].to(y.dtype)).contiguous()


def hyena(
    z: torch.Tensor, kernels: torch.Tensor, d: torch.Tensor, *, mask: FrequencyMask | None = None
) -> torch.Tensor:
    """Long convolutions between gates: v = h(gate * v) + d * gate * v for each kernel h, and a gate on what comes out.

    Args:
        z: the last gate, the others in the order of the kernels, and the value v: `(B, (N + 1) C, L)` for an order of
            N gates.
        kernels: `(N - 1, C, K)`. With a half-precision z, keep them in float32.
        d: the skip terms' weights, `(N - 1, C)`.
        mask: see `long_conv`.

    Returns:
        `(B, C, L)`.

    Raises:
        TypeError, ValueError: for shapes that do not fit, and as `long_conv`.

    Source: Poli et al., "Hyena hierarchy: towards larger convolutional language models" (2023, arXiv 2302.10866).

    >>> z = torch.tensor([[[2.0, 2.0], [1.0, 3.0], [1.0, 1.0]]])  # gates 2, 2 and 1, 3 of the value 1, 1
    >>> hyena(z, torch.tensor([[[1.0, 0.5]]]), torch.tensor([[10.0]])).round(decimals=4)
    tensor([[[22., 67.]]])
    """
    check_tensors(z=z, kernels=kernels, d=d)
    if kernels.ndim != 3 or d.shape != kernels.shape[:2] or z.ndim != 3:
        raise ValueError(
            f"z has shape {tuple(z.shape)}, kernels {tuple(kernels.shape)} and d {tuple(d.shape)}; expected "
            "(B, (N + 1) C, L), (N - 1, C, K) and (N - 1, C)"
        )
    count, channels = d.shape
    if count < 1 or z.shape[1] != (count + 2) * channels:
        raise ValueError(
            f"z has shape {tuple(z.shape)} and kernels {tuple(kernels.shape)}; expected {(count + 2) * channels} "
            "channels in z, and at least one kernel"
        )
    last, *gates, v = z.split(channels, 1)
    for i, gate in enumerate(gates):
        post = last if i == count - 1 else None
        v = long_conv(v, kernels[i], d=d[i], pre_gate=gate, post_gate=post, mask=mask)
    return v


def padding_sides(padding: int | str, reach: int, stride: int) -> tuple[int, int]:
    """The zeros in front and behind that a `padding` is, for a kernel that reaches over so many samples but one."""
    if padding == "causal":
        return reach, 0
    if padding == "valid":
        return 0, 0
    if padding == "same":
        if stride != 1:
            raise ValueError(f"padding is 'same' and stride {stride}; expected stride 1, or padding 'causal'")
        return reach // 2, reach - reach // 2
    if isinstance(padding, str):
        raise ValueError(f"padding is {padding!r}; expected a number of samples, 'valid', 'same' or 'causal'")
    padding = _single("padding", padding)
    if padding < 0:
        raise ValueError(f"padding is {padding}; expected 0 or more samples")
    return padding, padding


def spread_taps(weight: torch.Tensor, dilation: int) -> torch.Tensor:
    """The taps with dilation - 1 zeros between any two."""
    if dilation == 1:
        return weight
    zeros = torch.nn.functional.pad(weight.unsqueeze(-1), (0, dilation - 1))
    return zeros.flatten(-2)[..., : dilation * (weight.shape[-1] - 1) + 1]


def _depthwise(x, taps, left, right, flip: bool):
    """The outputs of stride 1, and perhaps some behind them."""
    outputs, reach = taps.shape[0], taps.shape[-1] - 1
    if 1 < x.shape[1] < outputs:
        x = x.repeat_interleave(outputs // x.shape[1], 1)
    if left <= reach and right <= reach - left:
        return long_conv(x, taps, offset=reach - left if flip else left, correlate=not flip)
    # Outputs in front of the first sample, or behind the last.
    y = long_conv(x, taps, mode="full", correlate=not flip)
    return torch.nn.functional.pad(y, (left - reach, right - reach))


def _dense(x, taps, left, samples, groups: int, flip: bool):
    batch = x.shape[0]
    x_of_groups = x.unflatten(1, (groups, -1)).transpose(0, 1)  # (G B I L)
    start = taps.shape[-1] - 1 - left if flip else -left
    y = dense_conv(x_of_groups, taps.unflatten(0, (groups, -1)), start, samples, not flip)  # (G B O samples)
    return y.transpose(0, 1).reshape(batch, taps.shape[0], samples).to(x.dtype)


def _short(x, weight, bias, stride, sides, dilation, groups):
    if sides[0] == sides[1]:
        padding = sides[0]
    else:
        x, padding = torch.nn.functional.pad(x, sides), 0
    weight, bias = weight.to(x.dtype), None if bias is None else bias.to(x.dtype)
    return torch.nn.functional.conv1d(x, weight, bias, stride, padding, dilation, groups)


def _check_shapes(x, weight, bias, groups: int) -> None:
    if x.ndim != 3:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (batch, channels, samples) or (channels, samples)")
    if weight.ndim != 3 or weight.shape[-1] == 0:
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}; expected (out_channels, in_channels / groups, taps), of one tap "
            "at least"
        )
    if weight.shape[1] * groups != x.shape[1] or weight.shape[0] % groups:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, weight {tuple(weight.shape)} and groups is {groups}; expected "
            f"{weight.shape[1] * groups} channels, and out_channels that groups divides"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias has shape {tuple(bias.shape)}; expected ({weight.shape[0]},)")


def _single(name: str, value) -> int:
    """The number, alone or in a tuple, as torch takes both."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = value[0]
    return integer(name, value, "a number of samples" if name != "groups" else "a number of groups")


def _positive(name: str, value) -> int:
    value = _single(name, value)
    if value < 1:
        raise ValueError(f"{name} is {value}; expected 1 or more")
    return value
