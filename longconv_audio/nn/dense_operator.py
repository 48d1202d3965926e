"""The convolution that mixes channels as an operator that torch knows: `torch.ops.longconv_audio.dense_conv`.

    c[g, p, q, t] = sum over r and j of b[g, q, r, j] a[g, p, r, t + j + start]     (t - j + start without `correlate`)

for t from 0 to length - 1, a being zero outside its samples. Both derivatives of this are of the same form, with p, q
and r in other roles, so that one operator is its own backward pass, to any order. Saved for that are a and b, no
spectrum. Products of spectra are summed over r; as many rows are transformed at once as a budget allows.
"""

from __future__ import annotations

import functools
import math

import torch

from ..engines.torch_rows import fast_size, take
from ..operators import refuse_nested, transformed, within_memory

# Points of all spectra at hand at once: 64 MB of float32 on a CPU, where that leaves no thread idle; 512 MB elsewhere.
_POINTS_CPU, _POINTS = 1 << 24, 1 << 27
# Where one of window and taps is so many times the other, the longer is cut into blocks of about as many times.
_BLOCKS, _LEAST_BLOCK = 4, 512

_library = torch.library.Library("longconv_audio", "FRAGMENT")
_library.define(
    "dense_conv(Tensor a, Tensor b, SymInt start, SymInt length, bool correlate) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_op = torch.ops.longconv_audio.dense_conv.default


def dense_conv(a, b, start: int, length: int, correlate: bool) -> torch.Tensor:
    """The operator, by way of what torch.func and forward-mode derivatives need where one of them is at work.

    Args:
        a: `(G, P, R, samples)`.
        b: `(G, Q, R, taps)`.
        start, length, correlate: see above.

    Returns:
        `(G, P, Q, length)`, of float64 where a or b is, else of float32.
    """
    arguments = (a, b, start, length, correlate)
    return DenseConvTransformed.apply(*arguments) if transformed() else _op(*arguments)


def _forward(a, b, start, length, correlate):
    return within_memory(a, b, _convolve, a, b, start, length, correlate)


def _convolve(a, b, start: int, length: int, correlate: bool):
    dtype = _dtype(a, b)
    if not correlate:
        b, start = b.flip(-1), start - (b.shape[-1] - 1)
    a, b, start = _crop(a, b, start, length)
    shape, taps = (a.shape[0], a.shape[1], b.shape[1], length), b.shape[-1]
    if not (a.numel() and b.numel() and length):
        return a.new_zeros(shape, dtype=dtype)
    if max(_BLOCKS * taps, _LEAST_BLOCK) < length:
        return _in_blocks(a, b, start, length, dtype)
    if max(_BLOCKS * length, _LEAST_BLOCK) < taps:
        return _in_segments(a, b, start, length, dtype)
    return _at_once(a, b, start, a.new_empty(shape, dtype=dtype))


def _crop(a, b, start: int, length: int):
    """The samples and the taps that meet for some t of the window, and the start for them."""
    skipped = max(1 - start - length, 0)
    b = b[..., skipped : max(min(a.shape[-1] - start, b.shape[-1]), skipped)]
    start += skipped
    first = max(start, 0)
    return a[..., first : max(start + length + b.shape[-1] - 1, first)], b, start - first


def _in_blocks(a, b, start: int, length: int, dtype):
    """Few taps and a long window, which falls into blocks: overlap-save."""
    taps = b.shape[-1]
    size = _block_size(taps)
    windows = _windows(a, start, size, size - taps + 1, length)  # (G P R blocks size)
    count = windows.shape[3]
    windows = windows.transpose(2, 3).flatten(1, 2)
    c = a.new_empty((a.shape[0], windows.shape[1], b.shape[1], size - taps + 1), dtype=dtype)
    c = _at_once(windows, b, 0, c).unflatten(1, (-1, count))
    return c.transpose(2, 3).flatten(3)[..., :length]


def _in_segments(a, b, start: int, length: int, dtype):
    """Many taps and a short window, as of the gradient of short kernels: segments of the taps, to sum over."""
    size = _block_size(length)
    step = size - length + 1
    b = torch.nn.functional.pad(b, (0, -b.shape[-1] % step)).unflatten(-1, (-1, step)).flatten(2, 3)
    windows = _windows(a, start, size, step, b.shape[2] // a.shape[2] * step).flatten(2, 3)
    c = a.new_empty((a.shape[0], a.shape[1], b.shape[1], length), dtype=dtype)
    return _at_once(windows, b, 0, c)


def _windows(a, start: int, size: int, step: int, total: int):
    """Stretches of `size` samples from `start` on, every `step`, until these cover `total`."""
    count = -(-total // step)
    return torch.nn.functional.pad(a, (-start, start + (count - 1) * step + size - a.shape[-1])).unfold(-1, size, step)


def _block_size(short: int) -> int:
    return fast_size(max(_BLOCKS * short, _LEAST_BLOCK))


def _at_once(a, b, start: int, c):
    """The window, written into c, through transforms in which nothing from outside wraps into it."""
    samples, taps, length = a.shape[-1], b.shape[-1], c.shape[-1]
    # The whole correlation has the places 1 - taps to samples - 1.
    size = fast_size(max(start + length + taps - 1, samples - start, samples, taps, length))
    for g, p, q, parts in _chunks(*a.shape[:3], b.shape[1], _rows(a, size)):
        total = None
        for r in parts:
            x, w = (torch.fft.rfft(t.to(c.dtype), size) for t in (a[g, p, r], b[g, q, r]))
            product = torch.einsum("gprf,gqrf->gpqf", x, w.conj_physical())
            total = product if total is None else total.add_(product)
        c[g, p, q] = take(torch.fft.irfft(total, size), start, length)
    return c


def _rows(a, size: int) -> int:
    return max((_POINTS_CPU if a.device.type == "cpu" else _POINTS) // size, 3)


def _chunks(groups: int, rows_a: int, inner: int, rows_b: int, budget: int):
    """Blocks (g, p, q) of the result, each with the blocks of r to sum over, of about `budget` rows of spectra."""
    side = max(math.isqrt(budget // 3), 1)
    p, q = min(rows_a, side), min(rows_b, side)
    r = min(inner, max((budget - p * q) // (p + q), 1))
    q = min(rows_b, max((budget - p * r) // (p + r), 1))
    p = min(rows_a, max((budget - q * r) // (q + r), 1))
    whole = (p, q, r) == (rows_a, rows_b, inner)
    g = min(groups, max(budget // (p * q + q * r + r * p), 1)) if whole else 1
    for at_g in _slices(groups, g):
        for at_p in _slices(rows_a, p):
            for at_q in _slices(rows_b, q):
                yield at_g, at_p, at_q, _slices(inner, r)


def _slices(size: int, step: int):
    return [slice(i, i + step) for i in range(0, size, step)]


def _dtype(a, b) -> torch.dtype:
    return torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)


def _fake(a, b, start, length, correlate):
    return a.new_empty((a.shape[0], a.shape[1], b.shape[1], length), dtype=_dtype(a, b))


def _save(ctx, inputs, output):
    a, b, ctx.start, ctx.length, ctx.correlate = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(a, b)


def _differentiate(ctx, dc):
    """With i = t + j + start the sample that tap j meets at t: da[i] sums over t and q, db[j] over t and p."""
    a, b = ctx.saved_tensors
    da = db = None
    if dc is None:
        return (None,) * 5
    if ctx.needs_input_grad[0]:
        da = dense_conv(dc, b.transpose(1, 2), -ctx.start, a.shape[-1], not ctx.correlate).to(a.dtype)
    if ctx.needs_input_grad[1]:
        taps = b.shape[-1]
        start = ctx.start if ctx.correlate else ctx.start - (taps - 1)  # of the taps backwards
        db = dense_conv(a.transpose(1, 2), dc.transpose(1, 2), start, taps, True).transpose(1, 2).to(b.dtype)
        db = db if ctx.correlate else db.flip(-1)
    return da, db, None, None, None


def _push_forward(ctx, a_tangent, b_tangent, *_):
    """The derivative along tangents of a and b."""
    refuse_nested()
    a, b = ctx.saved_tensors
    options = (ctx.start, ctx.length, ctx.correlate)
    terms = [(t, b) for t in (a_tangent,) if t is not None] + [(a, t) for t in (b_tangent,) if t is not None]
    return sum(dense_conv(*term, *options) for term in terms)


def _vmap(call, info, in_dims, a, b, start, length, correlate):
    """The call with the mapped axis folded into the groups."""
    size = info.batch_size
    a, b = (
        (t.expand(size, *t.shape) if dim is None else t.movedim(dim, 0)).flatten(0, 1)
        for t, dim in zip((a, b), in_dims, strict=False)
    )
    return call(a, b, start, length, correlate).unflatten(0, (size, -1)), 0


class DenseConvTransformed(torch.autograd.Function):
    """The operator under torch.func's transforms and forward-mode derivatives."""

    forward = staticmethod(lambda *arguments: _op(*arguments))
    backward = staticmethod(_differentiate)
    jvp = staticmethod(_push_forward)
    vmap = staticmethod(functools.partial(_vmap, dense_conv))

    @staticmethod
    def setup_context(ctx, inputs, output):
        _save(ctx, inputs, output)
        ctx.save_for_forward(*inputs[:2])


_library.impl("dense_conv", _forward, "CompositeExplicitAutograd")
torch.library.register_fake("longconv_audio::dense_conv", _fake, lib=_library)
torch.library.register_autograd("longconv_audio::dense_conv", _differentiate, setup_context=_save, lib=_library)
torch.library.register_vmap("longconv_audio::dense_conv", functools.partial(_vmap, _op), lib=_library)
