"""The long convolution as an operator: torch.compile, vmap, torch.func, autocast, opcheck."""

import pytest
import torch
from torch.library import opcheck

from longconv_audio import FilterSpectrum, long_conv
from longconv_audio.arguments import broadcast
from longconv_audio.operators import output_shape
from tests.generators import CASES, Case

EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=str)
# opcheck and the compiler take a second a case: the sharings and modes that differ in how they are traced.
SOME_CASES = pytest.mark.parametrize("case", [CASES[i] for i in (1, 3, 6, 9, 16, 23)], ids=str)
OPERATORS = torch.ops.longconv_audio


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads that wait for each other over a few samples make small cases slow on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def operands(case, dtype=torch.float64, requires_grad=True):
    """The operator's own arguments for a case."""
    t = case.tensors(dtype, requires_grad=requires_grad)
    u, k, d, pre, post = broadcast(t["u"], t["k"], t.get("d"), t.get("pre_gate"), t.get("post_gate"), case.mode)
    precision = "double" if dtype == torch.float64 else "single"
    return (u, k, None, d, pre, post), (case.mode, case.offset, case.correlate, precision, None)


@EVERY_CASE
def test_fake_has_the_shape_and_layout_of_the_real(case):
    tensors, options = operands(case, requires_grad=False)
    y = OPERATORS.long_conv(*tensors, *options)
    assert y.shape == output_shape(tensors[0], tensors[1], case.mode)
    opcheck(OPERATORS.long_conv.default, (*tensors, *options), test_utils=("test_schema", "test_faketensor"))
    needs = [t is not None for i, t in enumerate(tensors) if i != 2]
    arguments = (needs, torch.randn_like(y), *tensors, *options)
    opcheck(OPERATORS.long_conv_backward.default, arguments, test_utils=("test_schema", "test_faketensor"))


@SOME_CASES
def test_opcheck(case):
    tensors, options = operands(case)
    opcheck(OPERATORS.long_conv.default, (*tensors, *options))
    y = OPERATORS.long_conv(*tensors, *options)
    needs = [t is not None for i, t in enumerate(tensors) if i != 2]
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
