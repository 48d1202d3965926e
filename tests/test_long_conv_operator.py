"""The long convolution as an operator: torch.compile, vmap, torch.func, autocast, opcheck."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.library import opcheck
from torch.overrides import TorchFunctionMode

from longconv_audio import FilterSpectrum, long_conv
from longconv_audio.arguments import broadcast
from longconv_audio.operators import output_shape
from tests.generators import CASES, Case

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=str)
# opcheck and the compiler take a second a case: the sharings and modes that differ in how they are traced.
SOME_CASES = pytest.mark.parametrize("case", [CASES[i] for i in (1, 3, 6, 9, 16, 23)], ids=str)
OPERATORS = torch.ops.longconv_audio


def operands(case, dtype=torch.float64, requires_grad=True):
    """The operator's own arguments for a case."""
    t = case.tensors(dtype, requires_grad=requires_grad)
    u, k, d, pre, post = broadcast(t["u"], t["k"], t.get("d"), t.get("pre_gate"), t.get("post_gate"), case.mode)
    precision = "double" if dtype == torch.float64 else "single"
    return (u, k, None, d, pre, post, None), (case.mode, case.offset, case.correlate, precision, None)


@EVERY_CASE
def test_fake_has_the_shape_and_layout_of_the_real(case):
    tensors, options = operands(case, requires_grad=False)
    y = OPERATORS.long_conv(*tensors, *options)
    assert y.shape == output_shape(tensors[0], tensors[1], case.mode)
    opcheck(OPERATORS.long_conv.default, (*tensors, *options), test_utils=("test_schema", "test_faketensor"))
    needs = [t is not None for i, t in enumerate(tensors) if i not in (2, 6)]
    arguments = (needs, torch.randn_like(y), *tensors, *options)
    opcheck(OPERATORS.long_conv_backward.default, arguments, test_utils=("test_schema", "test_faketensor"))


@SOME_CASES
def test_opcheck(case):
    tensors, options = operands(case)
    opcheck(OPERATORS.long_conv.default, (*tensors, *options))
    y = OPERATORS.long_conv(*tensors, *options)
    needs = [t is not None for i, t in enumerate(tensors) if i not in (2, 6)]
    dy = torch.randn_like(y).requires_grad_()
    opcheck(OPERATORS.long_conv_backward.default, (needs, dy, *tensors, *options))


@SOME_CASES
def test_compiles_whole(case):
    def model(**tensors):
        return long_conv(**{**tensors, "u": tensors["u"] * 2}, **case.options).sin()

    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    tensors = case.tensors(requires_grad=True)
    y, target = compiled(**tensors), model(**tensors)
    torch.testing.assert_close(y, target)
    for a, b in zip(
        torch.autograd.grad(y.sum(), list(tensors.values())),
        torch.autograd.grad(target.sum(), list(tensors.values())),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_one_graph_for_all_lengths():
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    compiled = torch.compile(
        lambda u, k, offset: long_conv(u, k, mode="full", offset=offset), fullgraph=True, dynamic=True, backend=backend
    )
    for batch, channels, length, taps, offset in [(2, 4, 10, 7, 2), (3, 5, 11, 7, 3), (2, 6, 100, 8, 5)]:
        u, k = torch.randn(batch, channels, length), torch.randn(channels, taps)
        torch.testing.assert_close(compiled(u, k, offset), long_conv(u, k, mode="full", offset=offset))
    assert len(graphs) == 1


def test_compiles_with_a_prepared_spectrum_and_under_autocast():
    torch._dynamo.reset()
    spectrum = FilterSpectrum(torch.randn(3, 9), 20)

    def model(u, gate):
        with torch.autocast("cpu", torch.bfloat16):
            return long_conv(u, spectrum, pre_gate=gate)

    u, gate = torch.randn(2, 3, 20), torch.randn(2, 3, 20)
    y = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")(u, gate)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, model(u, gate))


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
def test_compiles_what_makes_a_spectrum():
    def model(u, k):
        return long_conv(u, FilterSpectrum(k, 20))

    torch._dynamo.reset()
    u, k = torch.randn(2, 3, 20), torch.randn(3, 9)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(u, k), model(u, k))


def test_exports():
    class Model(torch.nn.Module):
        def forward(self, u, k):
            return long_conv(u, k, mode="full")

    u, k = torch.randn(2, 3, 20), torch.randn(3, 5)
    dynamic = {"u": {2: torch.export.Dim("length", min=2)}, "k": None}
    program = torch.export.export(Model(), (u, k), dynamic_shapes=dynamic)
    u = torch.randn(2, 3, 33)
    torch.testing.assert_close(program.module()(u, k), long_conv(u, k, mode="full"))


@SOME_CASES
def test_vmap_is_a_loop(case):
    """Over any one of the arguments, and over all of them."""
    tensors = [case.tensors(seed=seed) for seed in range(3)]
    names = list(tensors[0])
    stacks = {name: torch.stack([t[name] for t in tensors], dim=-1) for name in names}

    def call(*values):
        return long_conv(**dict(zip(names, values, strict=True)), **case.options)

    for mapped in [*([name] for name in names), names]:
        dims = tuple(-1 if name in mapped else None for name in names)
        values = [stacks[name] if name in mapped else tensors[0][name] for name in names]
        y = torch.vmap(call, in_dims=dims)(*values)
        loop = [call(*(t[name] if name in mapped else tensors[0][name] for name in names)) for t in tensors]
        torch.testing.assert_close(y, torch.stack(loop))


@SOME_CASES
def test_a_gradient_for_each_item(case):
    """vmap of torch.func.grad, for which shared filters must not have their gradients summed."""
    tensors = [case.tensors(seed=seed) for seed in range(3)]
    names = list(tensors[0])
    us = torch.stack([t["u"] for t in tensors])

    def loss(u, *others):
        return long_conv(u, **dict(zip(names[1:], others, strict=True)), **case.options).square().sum()

    others = [tensors[0][name] for name in names[1:]]
    every = tuple(range(len(names)))
    dims = (0, *(None,) * len(others))
    found = torch.vmap(torch.func.grad(loss, argnums=every), in_dims=dims)(us, *others)
    for i, u in enumerate(us):
        inputs = [t.clone().requires_grad_() for t in (u, *others)]
        for a, b in zip(found, torch.autograd.grad(loss(*inputs), inputs), strict=True):
            torch.testing.assert_close(a[i], b)


def test_func_transforms_nest():
    case = CASES[1]
    t = case.tensors()
    loss = lambda k: long_conv(t["u"], k, d=t["d"]).pow(3).sum()  # noqa: E731
    hessian = torch.func.jacrev(torch.func.jacrev(loss))(t["k"])
    torch.testing.assert_close(hessian, torch.autograd.functional.hessian(loss, t["k"]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast_casts_the_signals_and_never_the_filter(dtype):
    case = Case((2, 3, 50), (3, 20), d=(3,), pre_gate=(2, 3, 50), post_gate=(2, 3, 50))
    tensors = case.tensors(torch.float32, requires_grad=True)
    tensors["pre_gate"] = tensors["pre_gate"].detach().to(dtype).requires_grad_()  # as a layer before may leave it
    with torch.autocast("cpu", dtype):
        y = long_conv(**tensors)
    cast = {n: t if n in ("k", "d") else t.to(dtype) for n, t in tensors.items()}
    assert y.dtype == dtype
    assert torch.equal(y, long_conv(**cast))
    for name, gradient in zip(tensors, torch.autograd.grad(y.sum(), list(tensors.values())), strict=True):
        assert gradient.dtype == tensors[name].dtype
    with torch.autocast("cpu", dtype):
        assert long_conv(torch.ones(1, 1, 4).double(), torch.ones(1, 2)).dtype == torch.float64


@SOME_CASES
def test_forward_mode_is_the_derivative(case):
    """torch.func and dual tensors, of the call and of its gradients."""
    tensors, tangents = case.tensors(), case.tensors(seed=1)
    names, values, directions = list(tensors), tuple(tensors.values()), tuple(tangents.values())

    def call(*values):
        return long_conv(**dict(zip(names, values, strict=True)), **case.options)

    target = torch.autograd.functional.jvp(call, values, directions)[1]
    torch.testing.assert_close(torch.func.jvp(call, values, directions)[1], target)
    torch.testing.assert_close(torch.func.linearize(call, *values)[1](*directions), target)
    with forward_ad.dual_level():
        y = call(*map(forward_ad.make_dual, values, directions))
        torch.testing.assert_close(forward_ad.unpack_dual(y).tangent, target)
    inputs = tuple(t.clone().requires_grad_() for t in values)
    check = {"check_undefined_grad": False, "fast_mode": True}
    assert torch.autograd.gradcheck(call, inputs, check_forward_ad=True, **check)
    assert torch.autograd.gradgradcheck(call, inputs, check_fwd_over_rev=True, **check)


@pytest.mark.parametrize("power", [1, 3])
def test_forward_mode_nests_with_reverse_mode(power):
    t = CASES[1].tensors()
    loss = lambda u, k: long_conv(u, k, d=t["d"]).pow(power).sum()  # noqa: E731
    t = {name: t[name][..., :6] for name in t}
    target = torch.autograd.functional.hessian(loss, (t["u"], t["k"]))
    forward_last = torch.func.hessian(loss, (0, 1))(t["u"], t["k"])
    forward_first = torch.func.jacrev(torch.func.jacfwd(loss, (0, 1)), (0, 1))(t["u"], t["k"])
    torch.testing.assert_close(forward_last, target)
    torch.testing.assert_close(forward_first, target)
    with pytest.raises(NotImplementedError, match="no forward-mode derivative of a forward-mode derivative"):
        torch.func.jacfwd(torch.func.jacfwd(loss))(t["u"], t["k"])


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_vectorized_jacobians(strategy):
    t = CASES[1].tensors()
    call = lambda u, k: long_conv(u, k)  # noqa: E731
    found = torch.autograd.functional.jacobian(call, (t["u"], t["k"]), vectorize=True, strategy=strategy)
    torch.testing.assert_close(found, torch.autograd.functional.jacobian(call, (t["u"], t["k"])))


def test_negated_tensors_are_what_they_are():
    u = torch.randn(2, 3, 9, dtype=torch.complex128).conj().imag
    k = torch.randn(3, 5, dtype=torch.double).requires_grad_()
    assert u.is_neg()
    y = long_conv(u, k)
    torch.testing.assert_close(y, long_conv(u.resolve_neg(), k))
    torch.testing.assert_close(
        torch.autograd.grad(y, k, u, retain_graph=True), torch.autograd.grad(y, k, u.resolve_neg())
    )


def test_function_modes_see_the_operator():
    seen = []

    class Mode(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with Mode():
        long_conv(torch.ones(2, 3, 9), torch.ones(3, 5))
    assert OPERATORS.long_conv.default in seen


@pytest.mark.parametrize("transform", [torch.func.grad, lambda f: lambda k, u: torch.func.jvp(f, (k, u), (k, u))[1]])
def test_derivatives_in_compiled_code_are_left_to_torch(transform):
    """Where the whole must be one graph it is an error, not the silent zeros of an operator's tangent."""
    call = transform(lambda k, u: long_conv(u, k).square().sum())
    u, k = torch.randn(2, 3, 9), torch.randn(3, 5)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(call, backend="aot_eager")(k, u), call(k, u))
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="long_conv's derivatives"):
        torch.compile(call, backend="aot_eager", fullgraph=True)(k, u)


@pytest.mark.parametrize("dims", [(0, None), (None, 0), (0, 0), (-1, -1)])
def test_vmap_over_nothing(dims):
    u, k = (torch.ones(shape).unsqueeze(dim or 0) for shape, dim in zip([(2, 3, 9), (3, 5)], dims, strict=True))
    u, k = (t.squeeze(0) if d is None else t.narrow(d, 0, 0) for t, d in zip((u, k), dims, strict=True))
    assert torch.vmap(long_conv, in_dims=dims)(u, k).shape == (0, 2, 3, 9)
    grad = torch.func.grad(lambda u, k: long_conv(u, k).sum(), argnums=(0, 1))
    assert [g.shape for g in torch.vmap(grad, in_dims=dims)(u, k)] == [(0, 2, 3, 9), (0, 3, 5)]


def test_profiles_name_the_operator():
    u, k = torch.ones(2, 3, 9), torch.ones(3, 5)
    with torch.profiler.profile() as profile:
        y = long_conv(u, k.clone().requires_grad_())
        y.sum().backward()
        long_conv(u, k)
    names = {event.name for event in profile.events()}
    assert {"longconv_audio::long_conv", "LongConv", "LongConvBackward"} <= names
    assert type(y.grad_fn).__name__ == "LongConvBackward"
