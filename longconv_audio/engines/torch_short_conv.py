"""The short depthwise convolution by shifted multiply-adds in torch, on any device: an engine's two functions.

Rows are worked off in blocks that stay in a CPU's cache from one tap to the next. Sums run in a fixed order: the result
is the same, bit for bit, on every run.
"""

from __future__ import annotations

import torch

from .short_call import ShortCall

# Samples of a block, by the kind of device: of 256 KB in float32 for a core's cache; a GPU wants few launches.
_POINTS_CPU, _POINTS = 2**16, 2**26


def forward(call: ShortCall, u, k, bias, gate) -> torch.Tensor:
    """The convolution with its bias and its gate.

    Args:
        call: padding, direction and layout.
        u: `(B, H, L)`, or `(B, L, H)` where the call has channels last; any strides.
        k: `(F, K)`; channel h has filter h // (H / F).
        bias: `(H,)` or None.
        gate: of y's shape, or None.

    Returns:
        y in u's dtype and layout, contiguous.
    """
    y = u.new_empty(call.shape(u, k))
    us, gates, ys = (_rows(call, t) for t in (u, gate, y))
    taps = _taps(k, us, call.correlate)
    for part in _blocks(ys, us):
        s = _correlate(us[part], taps[part[1]], call.left, call.right)
        if bias is not None:
            s += bias[part[1], None]
        ys[part] = s if gate is None else s.mul_(gates[part])
    return y


def backward(call: ShortCall, needs, dy, u, k, bias, gate):
    """The gradients of u, k, bias and the gate from y's; `needs` says which are wanted, the others are None.

    Arguments as in `forward`. Each gradient has the shape and the dtype of what it belongs to.
    """
    need_u, need_k, need_bias, need_gate = needs
    us, gates, gs = (_rows(call, t) for t in (u, gate, dy))
    taps = _taps(k, us, call.correlate)
    reach = k.shape[-1] - 1
    du, dgate = (torch.empty(t.shape, dtype=t.dtype, device=t.device) if need else None
                 for t, need in ((u, need_u), (gate, need_gate)))  # fmt: skip
    dus, dgates = _rows(call, du), _rows(call, dgate)
    dtaps, dbias = torch.zeros_like(taps), taps.new_zeros(taps.shape[0])
    for part in _blocks(us, gs):
        channels = part[1]
        x, g = us[part].to(taps.dtype), gs[part].to(taps.dtype)
        if need_gate:
            s = _correlate(x, taps[channels], call.left, call.right)
            if bias is not None:
                s += bias[channels, None]
            dgates[part] = s.mul_(g)
        if gate is not None:
            g = g * gates[part]
        if need_u:
            dus[part] = _correlate(g, taps[channels].flip(-1), reach - call.left, reach - call.right)
        if need_bias:
            dbias[channels] += g.sum((0, 2))
        if need_k:
            x = torch.nn.functional.pad(x, (call.left, call.right))
            for m in range(reach + 1):
                dtaps[channels, m] += (x[..., m : m + g.shape[-1]] * g).sum((0, 2))
    dk = None
    if need_k:
        dk = (dtaps if call.correlate else dtaps.flip(-1)).unflatten(0, (k.shape[0], -1)).sum(1).to(k.dtype)
    return du, dk, dbias.to(bias.dtype) if need_bias else None, dgate


def _correlate(x, taps, left: int, right: int):
    """The sums over m of taps[m] x[n + m], for all n at which the padded rows have K samples."""
    x = torch.nn.functional.pad(x.to(taps.dtype), (left, right))
    samples = x.shape[-1] - (taps.shape[-1] - 1)
    s = x[..., :samples] * taps[:, :1]
    for m in range(1, taps.shape[-1]):
        s.addcmul_(x[..., m : m + samples], taps[:, m, None])
    return s


def _taps(k, us, correlate: bool):
    """(channels, taps) in the order in which they meet the samples, in the dtype of the sums."""
    k = k.to(torch.promote_types(us.dtype, torch.float32))
    return (k if correlate else k.flip(-1)).repeat_interleave(us.shape[1] // max(k.shape[0], 1), 0)


def _rows(call: ShortCall, t):
    """A view `(B, H, time)`."""
    return t.transpose(1, 2) if t is not None and call.channels_last else t


def _blocks(*rows):
    """Slices of batch and channels, of about as many samples as a cache holds, that cover the rows."""
    batch, channels, _ = rows[0].shape
    points = _POINTS_CPU if rows[0].device.type == "cpu" else _POINTS
    each = max(points // max(1, *(t.shape[2] for t in rows)), 1)
    items = max(each // max(channels, 1), 1)
    for first in range(0, batch, items):
        for channel in range(0, channels, each):
            yield slice(first, first + items), slice(channel, channel + each)
