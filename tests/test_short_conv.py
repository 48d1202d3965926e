"""The short depthwise convolution, against direct sums in float64."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.signal
import torch
from torch.library import opcheck

from longconv_audio import long_conv, short_conv
from longconv_audio.engines import torch_short_conv
from longconv_audio.engines.selection import EngineUnavailableError
from tests.measures import snr

pytestmark = pytest.mark.usefixtures("one_thread")

# dB of the signal over the error: the results' own rounding (see tests/emulator/test_short.py), and float32's sums.
REQUIRED = {torch.float16: 66.0, torch.bfloat16: 48.0, torch.float32: 120.0, torch.float64: 280.0}
NAMES = ("u", "k", "bias", "gate")


@dataclass(frozen=True)
class Case:
    """One call, on noise of unit scale.

    Args:
        shape: batch, channels, samples.
        k: filters, taps.
        others: which of bias and gate there are.
    """

    shape: tuple[int, int, int]
    k: tuple[int, int]
    others: tuple[str, ...] = ("bias", "gate")
    mode: str = "causal"
    padding: int | tuple[int, int] | None = None
    correlate: bool = False
    channels_last: bool = False

    @property
    def options(self) -> dict:
        return {name: getattr(self, name) for name in ("mode", "padding", "correlate", "channels_last")}

    @property
    def sides(self) -> tuple[int, int]:
        """Zeros in front and behind, by what the modes are said to mean."""
        reach = self.k[1] - 1
        if self.padding is not None:
            return self.padding if isinstance(self.padding, tuple) else (self.padding, self.padding)
        left = {"causal": 0 if self.correlate else reach, "same": self.k[1] // 2, "full": reach}[self.mode]
        return left, reach if self.mode == "full" else reach - left

    @property
    def samples(self) -> int:
        return self.shape[2] + sum(self.sides) - self.k[1] + 1

    def tensors(self, dtype=torch.float64, requires_grad=False, seed=0) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng(seed)
        batch, channels, _ = self.shape
        shapes = {"u": self.shape, "k": self.k, "bias": (channels,), "gate": (batch, channels, self.samples)}
        made = {}
        for name in ("u", "k", *self.others):
            t = torch.from_numpy(rng.standard_normal(shapes[name]))
            if name in ("u", "gate"):
                t = (t.transpose(1, 2).contiguous() if self.channels_last else t).to(dtype)
            elif dtype != torch.float64:
                t = t.float()
            made[name] = t.requires_grad_(requires_grad)
        return made

    def expected(self, tensors) -> np.ndarray:
        """The sums, one after the other, in float64."""
        values = {name: t.detach().double().numpy() for name, t in tensors.items()}
        u, k, (left, right) = values["u"], values["k"], self.sides
        u = u.swapaxes(1, 2) if self.channels_last else u
        padded = np.zeros((*u.shape[:2], left + u.shape[2] + right))
        padded[..., left : left + u.shape[2]] = u
        y = np.zeros((*u.shape[:2], self.samples))
        taps = self.k[1]
        for channel, n, j in itertools.product(range(u.shape[1]), range(self.samples), range(taps)):
            sample = n + (j if self.correlate else taps - 1 - j)
            y[:, channel, n] += k[channel // (u.shape[1] // len(k)), j] * padded[:, channel, sample]
        y += values.get("bias", np.zeros(1))[:, None]
        y = y.swapaxes(1, 2) if self.channels_last else y
        return y * values.get("gate", 1.0)


CASES = [
    Case((2, 3, 20), (3, 4)),
    Case((2, 3, 20), (3, 5), mode="same"),
    Case((2, 3, 20), (3, 4), mode="same"),
    Case((2, 3, 20), (3, 4), mode="same", correlate=True),
    Case((2, 3, 20), (3, 4), mode="full", others=()),
    Case((1, 4, 9), (2, 3), others=("bias",), correlate=True),
    Case((1, 4, 9), (1, 128), others=("gate",)),
    Case((2, 4, 9), (4, 30), mode="full", correlate=True),
    Case((2, 2, 15), (2, 2), padding=0),
    Case((2, 2, 15), (2, 7), padding=(9, 1)),
    Case((2, 2, 15), (2, 7), padding=2, correlate=True),
    Case((2, 2, 1), (2, 1)),
    Case((2, 4, 17), (4, 4), channels_last=True),
    Case((2, 4, 17), (2, 9), channels_last=True, mode="same", correlate=True),
    Case((2, 4, 17), (1, 2), channels_last=True, mode="full", others=("gate",)),
    Case((2, 3, 0), (3, 3), padding=(4, 3)),
]
EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=str)
SOME_CASES = pytest.mark.parametrize("case", [CASES[i] for i in (0, 5, 9, 13)], ids=str)


def assert_close(found, target, required: float) -> None:
    assert found.shape == target.shape
    found, target = (np.asarray(t.detach().double() if isinstance(t, torch.Tensor) else t) for t in (found, target))
    if np.any(target):
        assert snr(found, target) > required
    else:
        assert not np.any(found)


@EVERY_CASE
@pytest.mark.parametrize("dtype", REQUIRED, ids=str)
def test_is_the_sum(case, dtype):
    tensors = case.tensors(dtype)
    y = short_conv(**tensors, **case.options)
    assert y.dtype == dtype
    assert y.is_contiguous()
    assert_close(y, case.expected(tensors), REQUIRED[dtype])


@pytest.mark.parametrize("correlate", [False, True])
@pytest.mark.parametrize("mode", ["causal", "same", "full"])
@pytest.mark.parametrize(("length", "taps"), [(20, 1), (20, 4), (20, 5), (4, 9), (0, 3)])
def test_modes_are_those_of_long_conv(length, taps, mode, correlate):
    tensors = Case((2, 3, length), (3, taps), ()).tensors()
    y = short_conv(**tensors, mode=mode, correlate=correlate)
    target = long_conv(**tensors, mode=mode, correlate=correlate)
    torch.testing.assert_close(y, target)


@pytest.mark.parametrize("taps", [3, 4])
def test_same_is_scipys_and_padding_is_conv1ds(taps):
    t = Case((1, 1, 30), (1, taps), ()).tensors()
    target = scipy.signal.convolve(t["u"][0, 0].numpy(), t["k"][0].numpy(), "same")
    np.testing.assert_allclose(short_conv(**t, mode="same")[0, 0], target, atol=1e-12)
    conv1d = torch.nn.functional.conv1d(t["u"], t["k"][:, None], padding=5)
    torch.testing.assert_close(short_conv(**t, padding=5, correlate=True), conv1d)


def test_negative_padding_cuts_samples_off():
    t = Case((2, 3, 20), (3, 4), ("bias",)).tensors()
    y = short_conv(**t, padding=(-3, 4))
    torch.testing.assert_close(y, short_conv(**{**t, "u": t["u"][..., 3:]}, padding=(0, 4)))


@EVERY_CASE
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_gradients_are_those_of_double(case, dtype):
    tensors = case.tensors(dtype, requires_grad=True)
    y = short_conv(**tensors, **case.options)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    exact = {name: t.detach().double().requires_grad_() for name, t in tensors.items()}
    targets = torch.autograd.grad(short_conv(**exact, **case.options), list(exact.values()), dy.double())
    for name, found, target in zip(tensors, torch.autograd.grad(y, list(tensors.values()), dy), targets, strict=True):
        assert found.dtype == tensors[name].dtype
        assert_close(found, target, REQUIRED[dtype] - 5)


@pytest.mark.parametrize("case", CASES[:-1], ids=str)  # torch's check takes no tensor without numbers
def test_gradients_are_derivatives(case):
    tensors = case.tensors(requires_grad=True)
    call = lambda *values: short_conv(**dict(zip(tensors, values, strict=True)), **case.options)  # noqa: E731
    assert torch.autograd.gradcheck(call, tuple(tensors.values()), fast_mode=True)
    assert torch.autograd.gradgradcheck(call, tuple(tensors.values()), fast_mode=True)


@EVERY_CASE
def test_any_subset_of_gradients(case):
    tensors = case.tensors(requires_grad=True)
    y = short_conv(**tensors, **case.options)
    dy = torch.randn_like(y)
    every = dict(zip(tensors, torch.autograd.grad(y, list(tensors.values()), dy), strict=True))
    for name in tensors:
        alone = {n: t.detach().requires_grad_(n == name) for n, t in tensors.items()}
        (gradient,) = torch.autograd.grad(short_conv(**alone, **case.options), alone[name], dy)
        torch.testing.assert_close(gradient, every[name], rtol=0, atol=1e-12)


@SOME_CASES
def test_blocks_change_nothing(case, monkeypatch):
    tensors = case.tensors(requires_grad=True)
    whole = short_conv(**tensors, **case.options)
    dy = torch.randn_like(whole)
    targets = torch.autograd.grad(whole, list(tensors.values()), dy)
    monkeypatch.setattr(torch_short_conv, "_POINTS_CPU", 40)
    y = short_conv(**tensors, **case.options)
    torch.testing.assert_close(y, whole, rtol=0, atol=1e-12)
    for found, target in zip(torch.autograd.grad(y, list(tensors.values()), dy), targets, strict=True):
        torch.testing.assert_close(found, target, rtol=0, atol=1e-12)


def test_broadcasts_and_strides():
    case = Case((2, 4, 20), (2, 3))
    t = case.tensors()
    y = short_conv(t["u"], t["k"], bias=torch.tensor(2.0), gate=t["gate"][:1, :1])
    target = short_conv(t["u"], t["k"], bias=torch.full((4,), 2.0), gate=t["gate"][:1, :1].expand(2, 4, 20))
    torch.testing.assert_close(y, target)
    apart = torch.zeros(2, 4, 20, 3, dtype=torch.double)[..., 1].copy_(t["u"])
    torch.testing.assert_close(short_conv(apart, t["k"]), short_conv(t["u"], t["k"]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast_casts_the_signals_and_never_the_filter(dtype):
    tensors = Case((2, 3, 50), (3, 4)).tensors(torch.float32, requires_grad=True)
    with torch.autocast("cpu", dtype):
        y = short_conv(**tensors)
    cast = {n: t.to(dtype) if n in ("u", "gate") else t for n, t in tensors.items()}
    assert y.dtype == dtype
    assert torch.equal(y, short_conv(**cast))
    for name, gradient in zip(tensors, torch.autograd.grad(y.sum(), list(tensors.values())), strict=True):
        assert gradient.dtype == tensors[name].dtype


# ---- the operator


def operands(case, requires_grad=True):
    t = case.tensors(requires_grad=requires_grad)
    return [t.get(name) for name in NAMES], (*case.sides, case.correlate, case.channels_last, None)


@SOME_CASES
def test_opcheck(case):
    tensors, options = operands(case)
    forward, backward = (
        getattr(torch.ops.longconv_audio, name).default for name in ("short_conv", "short_conv_backward")
    )
    opcheck(forward, (*tensors, *options))
    dy = torch.randn_like(forward(*tensors, *options)).requires_grad_()
    opcheck(backward, ([t is not None for t in tensors], dy, *tensors, *options))


@SOME_CASES
def test_compiles_whole(case):
    def model(**tensors):
        return short_conv(**{**tensors, "u": tensors["u"] * 2}, **case.options).sin()

    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    tensors = case.tensors(requires_grad=True)
    y, target = compiled(**tensors), model(**tensors)
    torch.testing.assert_close(y, target)
    values = list(tensors.values())
    torch.testing.assert_close(torch.autograd.grad(y.sum(), values), torch.autograd.grad(target.sum(), values))


def test_one_graph_for_all_lengths():
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    compiled = torch.compile(lambda u, k: short_conv(u, k, mode="full"), fullgraph=True, dynamic=True, backend=backend)
    for batch, channels, length, taps in [(2, 4, 10, 7), (3, 5, 11, 7), (2, 6, 100, 8)]:
        u, k = torch.randn(batch, channels, length), torch.randn(channels, taps)
        torch.testing.assert_close(compiled(u, k), short_conv(u, k, mode="full"))
    assert len(graphs) == 1


@SOME_CASES
def test_vmap_is_a_loop(case):
    """Over any one of the arguments, and over all of them."""
    tensors = [case.tensors(seed=seed) for seed in range(3)]
    names = list(tensors[0])
    stacks = {name: torch.stack([t[name] for t in tensors], dim=-1) for name in names}

    def call(*values):
        return short_conv(**dict(zip(names, values, strict=True)), **case.options)

    for mapped in [*([name] for name in names), names]:
        dims = tuple(-1 if name in mapped else None for name in names)
        values = [stacks[name] if name in mapped else tensors[0][name] for name in names]
        loop = [call(*(t[name] if name in mapped else tensors[0][name] for name in names)) for t in tensors]
        torch.testing.assert_close(torch.vmap(call, in_dims=dims)(*values), torch.stack(loop))


@SOME_CASES
def test_a_gradient_for_each_item(case):
    tensors = [case.tensors(seed=seed) for seed in range(3)]
    names = list(tensors[0])
    us = torch.stack([t["u"] for t in tensors])

    def loss(u, *others):
        return short_conv(u, **dict(zip(names[1:], others, strict=True)), **case.options).square().sum()

    others = [tensors[0][name] for name in names[1:]]
    derivative = torch.func.grad(loss, argnums=tuple(range(len(names))))
    found = torch.vmap(derivative, in_dims=(0, *(None,) * len(others)))(us, *others)
    for i, u in enumerate(us):
        inputs = [t.clone().requires_grad_() for t in (u, *others)]
        for a, b in zip(found, torch.autograd.grad(loss(*inputs), inputs), strict=True):
            torch.testing.assert_close(a[i], b)


def test_func_transforms_nest():
    t = CASES[0].tensors()
    loss = lambda k: short_conv(t["u"], k, bias=t["bias"]).pow(3).sum()  # noqa: E731
    hessian = torch.func.jacrev(torch.func.jacrev(loss))(t["k"])
    torch.testing.assert_close(hessian, torch.autograd.functional.hessian(loss, t["k"]))


# ---- bad input

U, K = torch.ones(2, 4, 10), torch.ones(4, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"u": [1.0]}, TypeError, "u is a list"),
        ({"k": K.int()}, TypeError, r"k .*\(4, 3\) has dtype torch.int32"),
        ({"u": U[0]}, ValueError, r"u has shape \(4, 10\); expected \(batch, channels, samples\)"),
        ({"u": U[0], "channels_last": True}, ValueError, r"expected \(batch, samples, channels\)"),
        ({"k": K[0]}, ValueError, r"k has shape \(3,\); expected \(filters, taps\)"),
        ({"k": K[:, :0]}, ValueError, "1 to 128 taps"),
        ({"k": torch.ones(4, 129)}, ValueError, r"\(4, 129\); expected 1 to 128 taps: use long_conv"),
        ({"k": K[:3]}, ValueError, r"divides 4 channels"),
        ({"mode": "circular"}, ValueError, "mode is 'circular'; expected one of causal, same, full"),
        ({"mode": "valid"}, ValueError, "mode is 'valid'; expected one of"),
        ({"mode": "same", "padding": 1}, ValueError, "mode is 'same' and padding 1; expected one of the two"),
        ({"padding": (1, 2, 3)}, ValueError, r"padding is \(1, 2, 3\)"),
        ({"padding": 1.5}, TypeError, "padding is 1.5, a float; expected an integer"),
        ({"padding": -5}, ValueError, r"padding is \(-5, -5\) .* expected at least 2 padded samples"),
        ({"correlate": 1}, TypeError, "correlate is 1"),
        ({"channels_last": 1}, TypeError, "channels_last is 1"),
        ({"bias": torch.ones(3)}, ValueError, r"bias has shape \(3,\); .* u's channels, \(4,\)"),
        ({"gate": torch.ones(2, 4, 9)}, ValueError, r"gate has shape \(2, 4, 9\); .* y's shape, \(2, 4, 10\)"),
        ({"gate": U.double()}, TypeError, "gate has dtype torch.float64 and u torch.float32"),
        ({"engine": "fast"}, ValueError, "engine is 'fast'"),
        ({"bias": torch.ones(4, device="meta")}, ValueError, "bias .* is on meta and u on cpu"),
    ],
)
def test_bad_input_is_said_in_one_line(arguments, error, message):
    with pytest.raises(error, match=message) as raised:
        short_conv(**{"u": U, "k": K, **arguments})
    assert "\n" not in str(raised.value)


def test_cuda_engine_needs_a_gpu():
    with pytest.raises(EngineUnavailableError, match="engine='cuda' cannot run on cpu"):
        short_conv(U, K, engine="cuda")
