"""What stands around a long convolution and acts on each time step alone, saving little for the backward pass.

Written with torch's own operations, a block of norm, convolution, GELU and gated linear unit keeps six copies of
a sequence for its gradients: the input of each, of which the last has two. Here a norm keeps its input and a mixing its
input, and the backward pass computes the rest anew, in tiles that stay in a CPU's cache. Compilers and transforms are
given torch's operations: they choose for themselves what to compute anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ..arguments import autocast
from ..operators import recorded, unobserved

# Numbers in a tile: on a CPU some 1 MB, elsewhere as many as fill the device and leave its memory to others.
_TILE_CPU, _TILE = 1 << 18, 1 << 25


def channel_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """Brings the channels of each time step to mean 0 and variance 1, then scales and shifts each channel.

    Args:
        x: `(B, C, L)`; float16, bfloat16, float32 or float64. Statistics are in float32 at least.
        weight, bias: `(C,)`.
        eps: what is added to the variance.

    Returns:
        `(B, C, L)`, with x's dtype, or autocast's where that is on.

    The layer normalisation of Ba, Kiros and Hinton (2016, arXiv 1607.06450), over channels.

    >>> channel_norm(torch.tensor([[[1.0, 0.0], [3.0, 8.0]]]), torch.ones(2), torch.zeros(2)).round(decimals=3)
    tensor([[[-1., -1.],
             [ 1.,  1.]]])
    """
    dtype = autocast(x)[0].dtype
    with _no_autocast(x):
        return _channel_norm(x, weight, bias, eps, dtype)


def _channel_norm(x, weight, bias, eps: float, dtype):
    if not unobserved(x, weight, bias):
        return _norm(x, weight, bias, eps, dtype)
    if recorded((x, weight, bias)):
        return _ChannelNorm.apply(x, weight, bias, eps, dtype)
    return _norm_apart(x, weight, bias, eps, dtype)


def mix(
    y: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    residual: torch.Tensor,
    *,
    glu: bool = False,
    dropout: float = 0.0,
) -> torch.Tensor:
    """residual + dropout(linear(GELU(y))) at each time step, with a gated linear unit behind the linear map or none.

    Args:
        y: `(B, C, L)`.
        weight: `(D, C)`, or with `glu` `(2 D, C)`, whose second half makes the gate: a sigmoid (Dauphin et al. 2017,
            arXiv 1612.08083).
        bias: `(D,)` or `(2 D,)`.
        residual: `(B, D, L)`, what is added to.
        dropout: the share of numbers that are left out; the others are scaled up.

    Returns:
        `(B, D, L)`, in the wider dtype of the residual's and y's.
    """
    (y,) = autocast(y)
    keep = None
    if dropout:
        keep = torch.empty(residual.shape, dtype=torch.bool, device=y.device).bernoulli_(1 - dropout)
    with _no_autocast(y):
        return _mixed(y, weight, bias, residual, keep, glu, 1 / (1 - dropout))


def _mixed(y, weight, bias, residual, keep, glu: bool, scale: float):
    if not unobserved(y, weight, bias, residual):
        return _mix(y, weight, bias, residual, keep, glu, scale)
    if recorded((y, weight, bias, residual)):
        return _Mix.apply(y, weight, bias, residual, keep, glu, scale)
    return _mix_in_tiles(y, weight, bias, residual, keep, glu, scale)


@contextlib.contextmanager
def computed_anew(tensor: torch.Tensor, make: Callable[[], torch.Tensor], *sources: torch.Tensor):
    """Operations in this context that would save the tensor, or a view of it, for their backward pass save none.

    Args:
        tensor: contiguous.
        make: gives it once more, from `sources`; it must not hold the tensor itself.
        sources: what it is made of, which must stay as they are until then.
    """
    storage, dtype, version = tensor.untyped_storage().data_ptr(), tensor.dtype, tensor._version
    versions = [source._version for source in sources]

    def pack(saved):
        if saved.is_sparse or saved.dtype != dtype or saved.untyped_storage().data_ptr() != storage:
            return saved
        if saved._version != version:  # no longer what can be made anew
            return saved
        return saved.shape, saved.stride(), saved.storage_offset()

    def unpack(packed):
        if isinstance(packed, torch.Tensor):
            return packed
        if [source._version for source in sources] != versions:
            raise RuntimeError("a tensor that the backward pass needs has been changed in place since the forward pass")
        with torch.no_grad():
            return make().as_strided(*packed)

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield


def _no_autocast(x):
    """What is computed in which dtype is settled here."""
    return contextlib.nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def _norm(x, weight, bias, eps: float, dtype):
    wide = x.to(_wide(x))
    variance, mean = torch.var_mean(wide, 1, keepdim=True, correction=0)
    return ((wide - mean) * torch.rsqrt(variance + eps) * weight[:, None] + bias[:, None]).to(dtype)


def _norm_apart(x, weight, bias, eps: float, dtype):
    """The norm where nothing looks on: by a kernel where there is one."""
    kernels = _norm_kernels(x, dtype, weight, bias)
    make = _norm_in_tiles if kernels is None else kernels.forward
    return make(x, weight, bias, eps, dtype)


def _norm_kernels(x, dtype, *parameters):
    """The module that has kernels for a norm of this dtype of x, or None."""
    if not x.is_cuda:
        return None
    from ..engines.cuda import channel_norm as module

    return module if module.why_not(x, dtype, *parameters) is None else None


def _norm_in_tiles(x, weight, bias, eps: float, dtype):
    y = x.new_empty(x.shape, dtype=dtype)
    scale, shift = (t[:, None].to(_wide(x)) for t in (weight, bias))
    for part in _tiles(x):
        torch.addcmul(shift, _normed(x[part], eps)[0], scale, out=y[part])
    return y


def _normed(x, eps: float):
    """The channels with mean 0 and variance 1, and the reciprocal of their deviation, in float32 at least."""
    x = x.to(_wide(x))
    if x.is_cpu:  # whose library is faster at products of matrices than at sums over channels
        ones = x.new_full((1, x.shape[1]), 1 / x.shape[1])
        x = x - _over_channels(ones, x)
        variance = _over_channels(ones, x.square())
    else:
        variance, mean = torch.var_mean(x, 1, keepdim=True, correction=0)
        x = x - mean
    inverse = variance.add_(eps).rsqrt_()
    return x.mul_(inverse), inverse


class _ChannelNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, eps, dtype):
        ctx.save_for_backward(x, weight)
        ctx.eps, ctx.bias_dtype = eps, bias.dtype
        return _norm_apart(x, weight, bias, eps, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors
        kernels = _norm_kernels(x, dy.dtype, weight)
        make = _gradients_in_tiles if kernels is None else kernels.backward
        dx, dw, db = make(dy, x, weight, ctx.eps)
        return dx, dw.to(weight.dtype), db.to(ctx.bias_dtype), None, None


def _gradients_in_tiles(dy, x, weight, eps: float):
    """With n the normed x of variance 1, and s one over the deviation: dx = s (w dy - <w dy> - n <n w dy>)."""
    dx, scale = torch.empty_like(x), weight[:, None].to(_wide(x))
    dw = db = None
    means = scale.mT / len(scale)  # (1, C), whose product with w dy / w is <w dy>
    for part in _tiles(x):
        normed, inverse = _normed(x[part], eps)
        g = dy[part].to(normed.dtype)
        gn = g * normed
        dw, db = _plus(dw, gn.sum((0, 2))), _plus(db, g.sum((0, 2)))
        normed.mul_(_over_channels(means, gn)).add_(_over_channels(means, g))
        torch.mul(torch.mul(g, scale, out=gn).sub_(normed), inverse, out=dx[part])
    return dx, dw, db


def _mix(y, weight, bias, residual, keep, glu: bool, scale: float):
    z = F.conv1d(F.gelu(y), weight.unsqueeze(-1).to(y.dtype), bias.to(y.dtype))
    z = F.glu(z, 1) if glu else z
    return residual + (z if keep is None else z * keep * scale)


def _mix_in_tiles(y, weight, bias, residual, keep, glu: bool, scale: float):
    out = residual.new_empty(residual.shape, dtype=torch.promote_types(y.dtype, residual.dtype))
    weight, bias = weight.to(y.dtype), bias[:, None].to(y.dtype)
    for part in _tiles(y):
        z = _linear(weight, F.gelu(y[part]), bias)
        z = F.glu(z, 1) if glu else z
        if keep is not None:
            z = z.mul_(keep[part]).mul_(scale)
        torch.add(residual[part], z, out=out[part])
    return out


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y, weight, bias, residual, keep, glu, scale):
        ctx.save_for_backward(y, weight, bias, keep)
        ctx.glu, ctx.scale, ctx.residual_dtype = glu, scale, residual.dtype
        return _mix_in_tiles(y, weight, bias, residual, keep, glu, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        y, weight, bias, keep = ctx.saved_tensors
        w, b = weight.to(y.dtype), bias[:, None].to(y.dtype)
        dy, dw, db = torch.empty_like(y), None, None
        for part in _tiles(y):
            a, g = F.gelu(y[part]), dout[part].to(y.dtype)
            if keep is not None:
                g = (g * keep[part]).mul_(ctx.scale)
            if ctx.glu:
                g = torch.ops.aten.glu_backward(g, _linear(w, a, b), 1)
            da, dw_part, db_part = _linear_backward(g, a, w)
            dw, db = _plus(dw, dw_part), _plus(db, db_part)
            dy[part] = torch.ops.aten.gelu_backward(da, y[part])
        return dy, dw.to(weight.dtype), db.to(bias.dtype), dout.to(ctx.residual_dtype), None, None, None


def _wide(x) -> torch.dtype:
    """In which sums over x are taken."""
    return torch.promote_types(x.dtype, torch.float32)


def _plus(total, term):
    return term if total is None else total.add_(term)


def _over_channels(weight, x, bias=None):
    """weight x + bias at each time step, `(D, C)` by `(B, C, n)`. torch.matmul would lay time steps side by side."""
    weight = weight.expand(len(x), -1, -1)
    return torch.bmm(weight, x) if bias is None else torch.baddbmm(bias, weight, x)


def _linear(weight, x, bias):
    """The same in the way that is the faster on x's device; on GPUs, as a convolution may be, perhaps in TF32."""
    if x.is_cpu:
        return _over_channels(weight, x, bias)
    return F.conv1d(x, weight.unsqueeze(-1), bias[:, 0])


def _linear_backward(g, x, weight):
    """The gradients of x, of the weight and of the bias, the last two in float32 at least."""
    wide = _wide(weight)
    if x.is_cpu:
        dw, db = torch.bmm(g, x.mT).sum(0, dtype=wide), g.sum((0, 2), dtype=wide)
        return _over_channels(weight.mT, g), dw, db
    one, zero = (1,), (0,)
    dx, dw, db = torch.ops.aten.convolution_backward(
        g, x, weight.unsqueeze(-1), weight.shape[:1], one, zero, one, False, zero, 1, (True, True, True)
    )
    return dx, dw.squeeze(-1).to(wide), db.to(wide)


def _tiles(x):
    """Cuts of `(B, C, L)` along time and batch, with a bounded count of numbers in each."""
    batch, channels, length = x.shape
    steps = max((_TILE_CPU if x.is_cpu else _TILE) // max(channels, 1), 1)
    items = max(steps // max(length, 1), 1)
    return [
        (slice(b, b + items), slice(None), slice(t, t + steps))
        for b in range(0, max(batch, 1), items)
        for t in range(0, max(length, 1), steps)
    ]
