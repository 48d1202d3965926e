"""The short convolution as operators that torch knows: `torch.ops.longconv_audio.short_conv` and its backward pass.

Callers use `short_conv`, which checks its arguments and brings them to the form that is expected here: u `(B, H, L)`,
or `(B, L, H)` with `channels_last`; k `(F, K)`; bias `(H,)`; the gate expanded to y's shape. What is registered beside
the implementations, and why there are autograd.Functions besides, is as in `operators`.
"""

from __future__ import annotations

import torch

from .arguments import default_precision
from .engines.selection import choose
from .engines.short_call import ShortCall
from .operators import recorded, transformed, unobserved, within_memory

_INPUTS = "Tensor u, Tensor k, Tensor? bias, Tensor? gate"
_OPTIONS = "SymInt left, SymInt right, bool correlate, bool channels_last, str? engine"

_library = torch.library.Library("longconv_audio", "FRAGMENT")
_library.define(f"short_conv({_INPUTS}, {_OPTIONS}) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
# A gradient that is not needed comes back as an empty tensor.
_library.define(
    f"short_conv_backward(bool[] needs, Tensor dy, {_INPUTS}, {_OPTIONS}) -> (Tensor, Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_forward_op = torch.ops.longconv_audio.short_conv.default
_backward_op = torch.ops.longconv_audio.short_conv_backward.default


def short_conv_op(*arguments) -> torch.Tensor:
    """The operator, directly where nothing looks on: through torch's dispatcher a small call is slower."""
    if unobserved(*arguments[:4]):
        return (ShortConv.apply if recorded(arguments[:4]) else _forward)(*arguments)
    return ShortConvTransformed.apply(*arguments) if transformed() else _forward_op(*arguments)


def _backward_call(needs, *arguments):
    if unobserved(*arguments[:5]):
        return (ShortConvGradients.apply if recorded(arguments[:5]) else _gradients)(needs, *arguments)
    return (ShortConvGradientsTransformed.apply if transformed() else _backward_op)(needs, *arguments)


def _forward(u, k, bias, gate, left, right, correlate, channels_last, engine):
    call = ShortCall(left, right, correlate, channels_last)
    return within_memory(u, k, _engine(engine, u).forward, call, u, k, bias, gate)


def _gradients(needs, dy, u, k, bias, gate, left, right, correlate, channels_last, engine):
    """The gradients of u, k, bias and the gate, None for those that are not needed."""
    call = ShortCall(left, right, correlate, channels_last)
    return within_memory(u, k, _engine(engine, u).backward, call, needs, dy, u, k, bias, gate)


def _backward(needs, dy, *arguments):
    gradients = _gradients(needs, dy, *arguments)
    return tuple(dy.new_empty(0) if gradient is None else gradient for gradient in gradients)


def _engine(engine: str | None, u):
    """The module of the engine named, or of the first that can run on u's device.

    Raises:
        EngineUnavailableError: where the engine named cannot.
    """
    name, _ = choose(engine, u.device, default_precision(u.dtype))
    if name == "cuda":
        from .engines.cuda import short_conv as module
    else:
        from .engines import torch_short_conv as module
    return module


def _fake_forward(u, k, bias, gate, left, right, correlate, channels_last, engine):
    return u.new_empty(ShortCall(left, right, correlate, channels_last).shape(u, k))


def _fake_backward(needs, dy, u, k, bias, gate, *options):
    owners = (u, k, bias, gate)
    return tuple(t.new_empty(t.shape) if need else dy.new_empty(0) for need, t in zip(needs, owners, strict=True))


def _save(ctx, inputs, output):
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:4])
    ctx.options = inputs[4:]


def _differentiate(ctx, dy):
    if dy is None:
        return (None,) * 9
    needs = list(ctx.needs_input_grad[:4])
    gradients = _backward_call(needs, dy, *ctx.saved_tensors, *ctx.options)
    return *(g if need else None for g, need in zip(gradients, needs, strict=True)), None, None, None, None, None


def _save_backward(ctx, inputs, output):
    ctx.set_materialize_grads(False)
    ctx.needs = inputs[0]
    ctx.save_for_backward(*inputs[1:6])
    ctx.options = inputs[6:]


def _differentiate_backward(ctx, *cotangents):
    """The derivative of the backward pass, made of the same two operators.

    As for the long convolution: the gradient of <dy, the derivative of y along the cotangents>, term by term, with
    respect to dy and, in each term, to all but what the cotangent stands for.
    """
    dy, *inputs = ctx.saved_tensors
    _, need_dy, *wanted = ctx.needs_input_grad[:6]
    result = [None] * 5
    for term, replaced in _terms(inputs, [a if need else None for a, need in zip(cotangents, ctx.needs, strict=True)]):
        if need_dy:
            result[0] = _plus(result[0], short_conv_op(*term, *ctx.options))
        needs = [want and i not in replaced for i, want in enumerate(wanted)]
        if any(needs):
            gradients = _backward_call(needs, dy, *term, *ctx.options)
            for i, (need, gradient) in enumerate(zip(needs, gradients, strict=True)):
                if need:
                    result[i + 1] = _plus(result[i + 1], gradient)
    return None, *result, None, None, None, None, None


def _terms(inputs, tangents):
    """Of the sum that is y's derivative along tangents (or None), each term's inputs, and which of them it replaces."""
    u, k, bias, gate = inputs
    t_u, t_k, t_bias, t_gate = tangents
    if t_u is not None:
        yield (t_u, k, None, gate), (0, 2)
    if t_k is not None or t_bias is not None:
        yield (u, torch.zeros_like(k) if t_k is None else t_k, t_bias, gate), (1, 2)
    if t_gate is not None:
        yield (u, k, bias, t_gate), (3,)


def _plus(total, term):
    return term if total is None else total + term


def _vmap(info, in_dims, u, k, bias, gate, *options):
    """A mapped axis is folded into the batch where all of it shares its taps, else into the channels."""
    size, axis = info.batch_size, _channel_axis(options)
    if in_dims[1] is None and in_dims[2] is None:
        u, gate = (None if t is None else _in_front(t, in_dims[i], size).flatten(0, 1) for i, t in ((0, u), (3, gate)))
        y = short_conv_op(u, k, bias, gate, *options)
        return y.unflatten(0, (size, y.shape[0] // size)), 0
    y = short_conv_op(*_fold(size, axis, in_dims[:4], (u, k, bias, gate)), *options)
    return y.unflatten(axis, (size, y.shape[axis] // size)), axis


def _vmap_backward(info, in_dims, needs, dy, u, k, bias, gate, *options):
    """Into the channels always: each place along the mapped axis has gradients of its own."""
    size, axis = info.batch_size, _channel_axis(options)
    (dy,) = _fold(size, axis, in_dims[1:2], (dy,))
    gradients = _backward_call(needs, dy, *_fold(size, axis, in_dims[2:6], (u, k, bias, gate)), *options)
    axes = (axis, 0, 0, axis)
    folded = [
        g.unflatten(at, (size, g.shape[at] // size)) if need else g
        for g, need, at in zip(gradients, needs, axes, strict=True)
    ]
    return tuple(folded), tuple(at if need else None for need, at in zip(needs, axes, strict=True))


def _channel_axis(options) -> int:
    return 2 if options[3] else 1


def _fold(size: int, axis: int, in_dims, tensors) -> list:
    """The mapped axis in front of the channels, which for k and bias are the first axis; then one with them."""
    folded = []
    for t, dim in zip(tensors, in_dims, strict=True):
        if t is not None:
            t = _in_front(t, dim, size)
            at = axis if t.ndim == 4 else 0
            t = t.movedim(0, at).flatten(at, at + 1)
        folded.append(t)
    return folded


def _in_front(t, dim, size: int):
    return t.expand(size, *t.shape) if dim is None else t.movedim(dim, 0)


class ShortConv(torch.autograd.Function):
    """The operator under autograd."""

    @staticmethod
    def forward(ctx, *arguments):
        _save(ctx, arguments, None)
        return _forward(*arguments)

    backward = staticmethod(_differentiate)


class ShortConvGradients(torch.autograd.Function):
    """The operator's backward pass under autograd."""

    @staticmethod
    def forward(ctx, *arguments):
        _save_backward(ctx, arguments, None)
        return tuple(_gradients(*arguments))

    backward = staticmethod(_differentiate_backward)


class ShortConvTransformed(torch.autograd.Function):
    """The operator under torch.func's transforms."""

    forward = staticmethod(lambda *arguments: _forward_op(*arguments))
    setup_context = staticmethod(_save)
    backward = staticmethod(_differentiate)
    vmap = staticmethod(_vmap)


class ShortConvGradientsTransformed(torch.autograd.Function):
    """The operator's backward pass under torch.func's transforms."""

    forward = staticmethod(lambda *arguments: _backward_op(*arguments))
    setup_context = staticmethod(_save_backward)
    backward = staticmethod(_differentiate_backward)
    vmap = staticmethod(_vmap_backward)


_library.impl("short_conv", _forward, "CompositeExplicitAutograd")
_library.impl("short_conv_backward", _backward, "CompositeExplicitAutograd")
torch.library.register_fake("longconv_audio::short_conv", _fake_forward, lib=_library)
torch.library.register_fake("longconv_audio::short_conv_backward", _fake_backward, lib=_library)
torch.library.register_autograd("longconv_audio::short_conv", _differentiate, setup_context=_save, lib=_library)
torch.library.register_autograd(
    "longconv_audio::short_conv_backward", _differentiate_backward, setup_context=_save_backward, lib=_library
)
torch.library.register_vmap("longconv_audio::short_conv", _vmap, lib=_library)
torch.library.register_vmap("longconv_audio::short_conv_backward", _vmap_backward, lib=_library)
