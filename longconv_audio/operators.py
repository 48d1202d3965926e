"""The long convolution as operators that torch knows: `torch.ops.longconv_audio.long_conv` and its backward pass.

Callers use `long_conv`, which checks its arguments and brings them to the form that is expected here: u `(B, H, L)` or
`(B, 1, L)`; k `(F, K)` or `(B, F, K)`; d `(H,)` or `(B, H)`, and None where there is a mask; the gates expanded to u's
and y's shape; the mask's bins, `(M,)`.

What is registered beside the implementations: fake ones (shapes alone, symbolic too), autograd, and vmap, which folds
its axis into the batch. Saved for the backward pass are the arguments and nothing else. torch.func's transforms cannot
see through an operator's registered autograd, which has no forward mode either; for both the same formulas stand in an
autograd.Function.
"""

from __future__ import annotations

import torch
from torch.fx.experimental.symbolic_shapes import guard_or_false

from .engines.selection import Call, choose
from .errors import LongconvError
from .windows import window

_INPUTS = "Tensor u, Tensor k, Tensor? spectrum, Tensor? d, Tensor? pre_gate, Tensor? post_gate, Tensor? mask"
_OPTIONS = "str mode, SymInt offset, bool correlate, str precision, str? engine"

_library = torch.library.Library("longconv_audio", "FRAGMENT")
_library.define(f"long_conv({_INPUTS}, {_OPTIONS}) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
# A gradient that is not needed comes back as an empty tensor.
_library.define(
    f"long_conv_backward(bool[] needs, Tensor dy, {_INPUTS}, {_OPTIONS}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_forward_op = torch.ops.longconv_audio.long_conv.default
_backward_op = torch.ops.longconv_audio.long_conv_backward.default


def long_conv_op(*arguments) -> torch.Tensor:
    """The operator, by way of what torch.func and forward-mode derivatives need where one of them is at work.

    Where nothing but autograd looks on, it is carried out directly: on the way through torch's dispatcher, in Python, a
    small call would spend most of its time.
    """
    if unobserved(*arguments[:_INPUT_COUNT]):
        return LongConv.apply(*arguments) if recorded(arguments[:_INPUT_COUNT]) else _profiled(*arguments)
    return LongConvTransformed.apply(*arguments) if transformed() else _forward_op(*arguments)


def _backward_call(needs, *arguments):
    tensors = arguments[: 1 + _INPUT_COUNT]
    if unobserved(*tensors):
        return (LongConvGradients.apply if recorded(tensors) else _gradients)(needs, *arguments)
    return (LongConvGradientsTransformed.apply if transformed() else _backward_op)(needs, *arguments)


def unobserved(*tensors) -> bool:
    """Whether the tensors are plain, and no compiler, tracer, transform or mode wants to see operators."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    return (
        _PLAIN.issuperset(map(type, tensors))
        and (tensors[0].is_cuda or tensors[0].is_cpu)
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._len_torch_function_stack() == 0
        and torch._C._get_tracing_state() is None
        and torch.autograd.forward_ad._current_level < 0
        and _hold_their_values(tensors)
    )


def _hold_their_values(tensors) -> bool:
    """Whether the tensors' memory does: none is negated, zero without memory, or one of a batch's."""
    for t in tensors:
        if t is None:
            continue
        if t.is_neg() or t._is_zerotensor() or _is_of_a_batch(t):
            return False
    return True


_is_of_a_batch = torch._C._functorch.is_legacy_batchedtensor
_PLAIN = {torch.Tensor, torch.nn.Parameter, type(None)}


def recorded(tensors) -> bool:
    """Whether autograd will want to know of what is done with the tensors."""
    if torch.is_grad_enabled():
        for t in tensors:
            if t is not None and t.requires_grad:
                return True
    return False


def transformed() -> bool:
    """Whether a transform of torch.func or a forward-mode derivative is at work, which an operator hides from."""
    if torch.compiler.is_compiling():
        if _differentiated():
            torch._dynamo.graph_break("torch.compile cannot see through long_conv's derivatives in torch.func")
        return False
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


@torch.compiler.assume_constant_result
def _differentiated() -> bool:
    """Whether torch.func or a dual level takes derivatives here; the compiler guards on both."""
    derivatives = (torch._C._functorch.TransformType.Grad, torch._C._functorch.TransformType.Jvp)
    stack = torch._C._functorch.get_interpreter_stack() or ()
    return torch.autograd.forward_ad._current_level >= 0 or any(level.key() in derivatives for level in stack)


def _profiled(*arguments):
    """The forward pass with its name in a profile, where autograd does not put one there."""
    if not torch.autograd._profiler_enabled():
        return _forward(*arguments)
    with torch.profiler.record_function("longconv_audio::long_conv"):
        return _forward(*arguments)


def output_shape(u, k, mode: str) -> tuple:
    """The shape of y: of no samples, where u has none."""
    batch, inputs, length = u.shape
    if mode == "full" and not guard_or_false(length == 0):
        length = window(mode, length, k.shape[-1]).length
    return batch, k.shape[-2] if guard_or_false(inputs == 1) else inputs, length


def _forward(u, k, spectrum, d, pre_gate, post_gate, mask, mode, offset, correlate, precision, engine):
    call = Call(mode, offset, correlate, precision)
    _, module = choose(engine, u.device, precision, call, u, k, mask)
    return within_memory(
        u, k, module.forward, call, u, k, spectrum, d, pre_gate, post_gate, mask,
        shortage=lambda: _shortage(module, call, u, k, pre_gate, post_gate, backward=False),
    )  # fmt: skip


def _gradients(needs, dy, u, k, spectrum, d, pre_gate, post_gate, mask, mode, offset, correlate, precision, engine):
    """The gradients of u, k, d and the gates, None for those that are not needed."""
    call = Call(mode, offset, correlate, precision)
    _, module = choose(engine, u.device, precision, call, u, k, mask)
    return within_memory(
        u, k, module.backward, call, needs, dy, u, k, spectrum, d, pre_gate, post_gate, mask,
        shortage=lambda: _shortage(module, call, u, k, pre_gate, post_gate, backward=True),
    )  # fmt: skip


def prepare_op(
    needs, u, k, spectrum, d, pre_gate, post_gate, mask, mode, offset, correlate, precision, engine, autotune=False
) -> None:
    """Does ahead of a call of the operator, and of its gradients in `needs`, what only a first call does.

    With `autotune` an engine that has something to choose for the call times it first.
    """
    call = Call(mode, offset, correlate, precision)
    _, module = choose(engine, u.device, precision, call, u, k, mask)
    steps = [module.tune] if autotune and hasattr(module, "tune") else []
    with torch.no_grad():
        for step in [*steps, module.prepare]:
            within_memory(
                u, k, step, call, needs, u, k, spectrum, d, pre_gate, post_gate, mask,
                shortage=lambda: _shortage(module, call, u, k, pre_gate, post_gate, backward=any(needs)),
            )  # fmt: skip


def _backward(needs, dy, *arguments):
    gradients = _gradients(needs, dy, *arguments)
    return tuple(dy.new_empty(0) if gradient is None else gradient for gradient in gradients)


def _shortage(module, *arguments, backward: bool) -> str | None:
    """What an engine has to say of memory that a call does not get."""
    return module.shortage(*arguments, backward) if hasattr(module, "shortage") else None


def within_memory(u, k, work, *arguments, shortage=lambda: None):
    """What the work on u (or None) and k gives.

    Args:
        shortage: gives a better reason than the allocator's for the lack of memory, or None.

    Raises:
        DeviceMemoryError: where the device has no memory for it.
    """
    try:
        return work(*arguments)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        task = "spectrum of" if u is None else f"convolution of u {tuple(u.shape)} with"
        reason = ". ".join(" ".join(str(error).split()).split(". ")[:2])
        reason = shortage() or reason.rpartition("DefaultCPUAllocator: ")[2]
        raise DeviceMemoryError(f"{k.device} has no memory for the {task} k {tuple(k.shape)}: {reason}") from error


def _fake_forward(u, k, spectrum, d, pre_gate, post_gate, mask, mode, offset, correlate, precision, engine):
    return u.new_empty(output_shape(u, k, mode))


def _fake_backward(needs, dy, u, k, spectrum, d, pre_gate, post_gate, mask, *options):
    owners = (u, k, d, pre_gate, post_gate)
    return tuple(t.new_empty(t.shape) if need else dy.new_empty(0) for need, t in zip(needs, owners, strict=True))


# The operator's inputs (u, k, spectrum, d, pre_gate, post_gate, mask), and which of them are differentiable.
_INPUT_COUNT = 7
_DIFFERENTIABLE = (0, 1, 3, 4, 5)


class DeviceMemoryError(LongconvError, torch.OutOfMemoryError):
    """A call needs more memory than the device has left."""


def _save(ctx, inputs, output):
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:_INPUT_COUNT])
    ctx.options = inputs[_INPUT_COUNT:]


def _differentiate(ctx, dy):
    if dy is None:
        return (None,) * 12
    inputs = ctx.needs_input_grad
    needs = [inputs[i] for i in _DIFFERENTIABLE]
    gradients = _backward_call(needs, dy, *ctx.saved_tensors, *ctx.options)
    du, dk, dd, dpre, dpost = (g if need else None for g, need in zip(gradients, needs, strict=True))
    return du, dk, None, dd, dpre, dpost, *(None,) * 6


def _save_backward(ctx, inputs, output):
    ctx.set_materialize_grads(False)
    ctx.needs = inputs[0]
    ctx.save_for_backward(*inputs[1 : 2 + _INPUT_COUNT])
    ctx.options = inputs[2 + _INPUT_COUNT :]


def _differentiate_backward(ctx, *cotangents):
    """The derivative of the backward pass, made of the same two operators.

    The backward pass is the gradient of <dy, y(u, k, d, gates)>, and y is linear in each of u, (k, d), pre_gate and
    post_gate. Its product with cotangents (a_u, a_k, ...) is therefore the gradient of

        <dy, y(a_u, k, d, ...) + y(u, a_k, a_d, ...) + y(u, k, d, a_pre, ...) + y(u, k, d, ..., a_post)>

    with respect to dy, which sums forward passes, and to the others, which sums backward passes: in each term to all
    but the one that the cotangent stands for.
    """
    dy, *inputs = ctx.saved_tensors
    a_u, a_k, a_d, a_pre, a_post = (a if need else None for a, need in zip(cotangents, ctx.needs, strict=True))
    _, need_dy, *wanted = ctx.needs_input_grad[: 2 + _INPUT_COUNT]
    result = [None] * (1 + _INPUT_COUNT)
    for term, replaced in _terms(inputs, (a_u, a_k, None, a_d, a_pre, a_post, None)):
        if need_dy:
            result[0] = _plus(result[0], long_conv_op(*term, *ctx.options))
        needs = [wanted[i] and i not in replaced for i in _DIFFERENTIABLE]
        if any(needs):
            gradients = _backward_call(needs, dy, *term, *ctx.options)
            for i, need, gradient in zip(_DIFFERENTIABLE, needs, gradients, strict=True):
                if need:
                    result[i + 1] = _plus(result[i + 1], gradient)
    return (None, *result, *(None,) * 5)


def _push_forward(ctx, *tangents):
    """The derivative of y along tangents of the operator's inputs: a sum of forward passes."""
    refuse_nested()
    total = None
    for term, _ in _terms(ctx.saved_tensors, tangents[:_INPUT_COUNT]):
        total = _plus(total, long_conv_op(*term, *ctx.options))
    return total


def _push_forward_backward(ctx, _, dy_tangent, *tangents):
    """The derivative of the gradients along tangents: a sum of backward passes, each for all that it depends on."""
    refuse_nested()
    dy, *inputs = ctx.saved_tensors
    total = [None] * 5
    terms = [] if dy_tangent is None else [(dy_tangent, inputs, ())]
    terms += [(dy, term, replaced) for term, replaced in _terms(inputs, tangents[:_INPUT_COUNT])]
    for g, term, replaced in terms:
        needs = [need and i not in replaced for i, need in zip(_DIFFERENTIABLE, ctx.needs, strict=True)]
        gradients = _backward_call(needs, g, *term, *ctx.options)
        for place, need in enumerate(needs):
            if need:
                total[place] = _plus(total[place], gradients[place])
    owners = [inputs[i] if need else dy.new_empty(0) for i, need in zip(_DIFFERENTIABLE, ctx.needs, strict=True)]
    return tuple(torch.zeros_like(t) if s is None else s for s, t in zip(total, owners, strict=True))


def refuse_nested() -> None:
    """Raises NotImplementedError within jvp of jvp: torch gives a Function's derivative there without the outer one."""
    stack = torch._C._functorch.get_interpreter_stack() or ()
    if sum(level.key() == torch._C._functorch.TransformType.Jvp for level in stack) > 1:
        raise NotImplementedError(
            "long_conv has no forward-mode derivative of a forward-mode derivative: use torch.func.jacrev for one"
        )


def _terms(inputs, tangents):
    """Of the sum that is y's derivative along tangents (or None), each term's inputs, and which of them it replaces."""
    u, k, spectrum, d, pre_gate, post_gate, mask = inputs
    t_u, t_k, _, t_d, t_pre, t_post, _ = tangents
    if t_u is not None:
        yield (t_u, k, spectrum, d, pre_gate, post_gate, mask), (0,)
    if t_k is not None or t_d is not None:
        yield (u, torch.zeros_like(k) if t_k is None else t_k, None, t_d, pre_gate, post_gate, mask), (1, 3)
    if t_pre is not None:
        yield (u, k, spectrum, d, t_pre, post_gate, mask), (4,)
    if t_post is not None:
        yield (u, k, spectrum, d, pre_gate, t_post, mask), (5,)


def _plus(total, term):
    return term if total is None else total + term


def _vmap(info, in_dims, u, k, spectrum, d, pre_gate, post_gate, mask, *options):
    _refuse_mapped(in_dims[6])
    tensors = _fold(info.batch_size, in_dims, (u, pre_gate, post_gate), (0, 4, 5))
    batch = _items(u, in_dims[0])
    weights = _fold_weights(info.batch_size, in_dims[1:4], k, spectrum, d, batch)
    y = long_conv_op(tensors[0], *weights, *tensors[1:], mask, *options)
    return y.unflatten(0, (info.batch_size, batch)), 0


def _vmap_backward(info, in_dims, needs, dy, u, k, spectrum, d, pre_gate, post_gate, mask, *options):
    _refuse_mapped(in_dims[8])
    size = info.batch_size
    batch = _items(u, in_dims[2])
    dy, u, pre_gate, post_gate = _fold(size, in_dims, (dy, u, pre_gate, post_gate), (1, 2, 6, 7))
    shared_k = k.ndim - (in_dims[3] is not None) == 2
    shared_d = d is not None and d.ndim - (in_dims[5] is not None) == 1
    # A gradient for each place along the mapped axis: what is shared there is so no longer.
    weights = _fold_weights(size, in_dims[3:6], k, spectrum, d, batch, apart=(needs[1], needs[2]))
    gradients = _backward_call(needs, dy, u, *weights, pre_gate, post_gate, mask, *options)
    gradients = [g.unflatten(0, (size, batch)) if need else g for g, need in zip(gradients, needs, strict=True)]
    if needs[1] and shared_k:
        gradients[1] = gradients[1].sum(1)
    if needs[2] and shared_d:
        gradients[2] = gradients[2].sum(1)
    return tuple(gradients), tuple(0 if need else None for need in needs)


def _refuse_mapped(dim) -> None:
    """Raises NotImplementedError where masks are mapped over: a call has one, so that kernels can skip its blocks."""
    if dim is not None:
        raise NotImplementedError("long_conv takes one mask for a whole batch: call it once for each mask")


def _items(u, dim) -> int:
    """The batch items of one place along the mapped axis."""
    return u.shape[1 if dim == 0 else 0]


def _fold(size: int, in_dims, tensors, places):
    """The tensors with the mapped axis folded into the batch."""
    return [
        None if t is None else _in_front(t, in_dims[place], size).flatten(0, 1)
        for t, place in zip(tensors, places, strict=True)
    ]


def _fold_weights(size: int, in_dims, k, spectrum, d, batch: int, apart=(False, False)):
    """k, its spectrum and d, shared as before where none of them is mapped (and not wanted apart), else folded."""
    in_k, in_spectrum, in_d = in_dims
    if in_k is not None or in_spectrum is not None or k.ndim == 3 or apart[0]:
        k, spectrum = (_per_item(t, dim, 2, size, batch) for t, dim in ((k, in_k), (spectrum, in_spectrum)))
    if d is not None and (in_d is not None or d.ndim == 2 or apart[1]):
        d = _per_item(d, in_d, 1, size, batch)
    return k, spectrum, d


def _per_item(t, dim, shared_rank: int, size: int, batch: int):
    """A weight for each batch item: (size * batch, ...)."""
    if t is None:
        return None
    t = _in_front(t, dim, size)
    if t.ndim == shared_rank + 1:
        t = t.unsqueeze(1).expand(-1, batch, *(-1,) * shared_rank)
    return t.flatten(0, 1)


def _in_front(t, dim, size: int):
    return t.expand(size, *t.shape) if dim is None else t.movedim(dim, 0)


class LongConv(torch.autograd.Function):
    """The operator under autograd. torch's other form of a Function, with setup_context, takes 25 us more."""

    @staticmethod
    def forward(ctx, *arguments):
        _save(ctx, arguments, None)
        return _forward(*arguments)

    backward = staticmethod(_differentiate)


class LongConvGradients(torch.autograd.Function):
    """The operator's backward pass under autograd."""

    @staticmethod
    def forward(ctx, *arguments):
        _save_backward(ctx, arguments, None)
        return tuple(_gradients(*arguments))

    backward = staticmethod(_differentiate_backward)


class LongConvTransformed(torch.autograd.Function):
    """The operator under torch.func's transforms and forward-mode derivatives."""

    forward = staticmethod(lambda *arguments: _forward_op(*arguments))
    backward = staticmethod(_differentiate)
    jvp = staticmethod(_push_forward)
    vmap = staticmethod(_vmap)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _save(ctx, inputs, output)
        ctx.save_for_forward(*inputs[:_INPUT_COUNT])


class LongConvGradientsTransformed(torch.autograd.Function):
    """The operator's backward pass under torch.func's transforms and forward-mode derivatives."""

    forward = staticmethod(lambda *arguments: _backward_op(*arguments))
    backward = staticmethod(_differentiate_backward)
    jvp = staticmethod(_push_forward_backward)
    vmap = staticmethod(_vmap_backward)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _save_backward(ctx, inputs, output)
        ctx.save_for_forward(*inputs[1 : 2 + _INPUT_COUNT])


_library.impl("long_conv", _forward, "CompositeExplicitAutograd")
_library.impl("long_conv_backward", _backward, "CompositeExplicitAutograd")
torch.library.register_fake("longconv_audio::long_conv", _fake_forward, lib=_library)
torch.library.register_fake("longconv_audio::long_conv_backward", _fake_backward, lib=_library)
torch.library.register_autograd("longconv_audio::long_conv", _differentiate, setup_context=_save, lib=_library)
torch.library.register_autograd(
    "longconv_audio::long_conv_backward", _differentiate_backward, setup_context=_save_backward, lib=_library
)
torch.library.register_vmap("longconv_audio::long_conv", _vmap, lib=_library)
torch.library.register_vmap("longconv_audio::long_conv_backward", _vmap_backward, lib=_library)
