"""The short depthwise convolution of a batch of signals, with a bias and a gate: what stands beside a long one.

y = gate * (conv(u, k) + bias)
"""

from __future__ import annotations

import torch
from torch.fx.experimental.symbolic_shapes import guard_or_false

from .arguments import autocast, check_options, check_tensors, expand, integer
from .engines.short_call import ShortCall
from .short_operators import short_conv_op
from .windows import shift, window

MOST_TAPS = 128
SHORT_MODES = ("causal", "same", "full")


def short_conv(
    u: torch.Tensor,
    k: torch.Tensor,
    *,
    bias: torch.Tensor | None = None,
    gate: torch.Tensor | None = None,
    mode: str = "causal",
    padding: int | tuple[int, int] | None = None,
    correlate: bool = False,
    channels_last: bool = False,
    engine: str | None = None,
) -> torch.Tensor:
    """Convolves each channel of a batch with a short filter of its own, adds a bias and multiplies by a gate.

    Args:
        u: the signals, `(B, H, L)`, or `(B, L, H)` with `channels_last`; float16, bfloat16, float32 or float64. L may
            be 0.
        k: the filters, `(F, K)`, of 1 to 128 taps, with F = H (a filter for each channel), a divisor of H (channel h
            has filter `h // (H / F)`) or 1. Any float dtype: with a half-precision u, keep k in float32.
        bias: what is added, `(H,)` or a scalar; any float dtype.
        gate: multiplies the sum; a shape that broadcasts to y's, and u's dtype.
        mode: which samples are returned, as `long_conv` has it. "causal": L samples, each of the input up to it.
            "same": the middle L of all. "full": all L + K - 1.
        padding: in place of a mode, the zeros in front of each row and behind it, `(left, right)` or one number for
            both; y has L + left + right - K + 1 samples. Negative numbers cut samples off.
        correlate: runs the filter backwards in time, as torch.nn.Conv1d does: with "causal",
            `y(t) = sum of k[j] u(t + j)`.
        channels_last: that the channels are the last axis, of u, of the gate and of y.
        engine: "torch" (any device), "cuda" (the kernels), or None for the fastest at hand. Signals in float64 go
            through torch.

    Returns:
        y, `(B, H, samples)` or `(B, samples, H)`, contiguous, with u's dtype. Sums are in float32 at least.

    Raises:
        TypeError: for what is no dense tensor of floats, a gate of another dtype, padding of no integers.
        ValueError: for shapes and devices that do not fit, an unknown mode, more than 128 taps.
        EngineUnavailableError: (a RuntimeError) where the engine asked for cannot run.

    Gradients flow to u, k, bias and the gate, and through them once more; there are no forward-mode derivatives. Saved
    for them are these arguments. Repeated on the same device, a call gives the same, bit for bit. With half-precision
    signals and many taps, the kernels take a tap as the sum of two numbers of the signals' dtype (in float16, of the
    exponent of the filter's largest tap), and round the product of the gate and y's gradient. Under autocast u and the
    gate are cast, k and bias never.

    >>> u, k = torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[4.0, 5.0]])
    >>> short_conv(u, k)
    tensor([[[ 4., 13., 22.]]])
    >>> short_conv(u, k, bias=torch.tensor([100.0]), padding=0)
    tensor([[[113., 122.]]])
    """
    check_tensors(u=u, k=k, bias=bias, gate=gate)
    check_options(mode, correlate, None, engine)
    if not isinstance(channels_last, bool):
        raise TypeError(f"channels_last is {channels_last!r}; expected True or False")
    u, gate = autocast(u, gate)
    _check_shapes(u, k, channels_last)
    left, right = _padding(u.shape[1 if channels_last else 2], k.shape[1], mode, padding, correlate)
    call = ShortCall(left, right, correlate, channels_last)
    if call.samples(u, k) < 0:
        raise ValueError(
            f"u has shape {tuple(u.shape)}, padding is {(left, right)} and k has {k.shape[1]} taps: "
            f"expected at least {k.shape[1] - 1} padded samples"
        )
    if bias is not None:
        bias = expand("bias", bias, (call.channels(u),), "u's channels")
    if gate is not None:
        if gate.dtype != u.dtype:
            raise TypeError(f"gate has dtype {gate.dtype} and u {u.dtype}; expected one dtype")
        gate = expand("gate", gate, call.shape(u, k), "y's shape")
    return short_conv_op(u, k, bias, gate, left, right, correlate, channels_last, engine)


def _check_shapes(u, k, channels_last: bool) -> None:
    if u.ndim != 3:
        axes = "(batch, samples, channels)" if channels_last else "(batch, channels, samples)"
        raise ValueError(f"u has shape {tuple(u.shape)}; expected {axes}")
    if k.ndim != 2:
        raise ValueError(f"k has shape {tuple(k.shape)}; expected (filters, taps)")
    if not 1 <= k.shape[1] <= MOST_TAPS:
        raise ValueError(
            f"k has shape {tuple(k.shape)}; expected 1 to {MOST_TAPS} taps: use long_conv for longer filters"
        )
    channels, filters = u.shape[2 if channels_last else 1], k.shape[0]
    if channels if filters == 0 else channels % filters:
        raise ValueError(
            f"u has shape {tuple(u.shape)} and k {tuple(k.shape)}; expected a number of filters that divides "
            f"{channels} channels"
        )


def _padding(length, taps, mode: str, padding, correlate: bool):
    """The zeros on both sides."""
    if padding is not None:
        if mode != "causal":
            raise ValueError(f"mode is {mode!r} and padding {padding!r}; expected one of the two")
        pair = padding if isinstance(padding, (tuple, list)) else (padding, padding)
        if len(pair) != 2:
            raise ValueError(f"padding is {padding!r}; expected one number of samples, or (left, right)")
        left, right = (integer("padding", value, "a number of samples") for value in pair)
        return left, right
    if mode not in SHORT_MODES:
        raise ValueError(f"mode is {mode!r}; expected one of {', '.join(SHORT_MODES)}")
    if mode == "full" and guard_or_false(length == 0):
        mode = "causal"  # no samples, no response
    place = window(mode, length, taps, correlate=correlate)
    first = shift(place, correlate)
    left = -first if correlate else taps - 1 - first
    return left, place.length - length + taps - 1 - left
