"""Every layer: against direct sums in float64, its gradients, causality, autocast, compiled code."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.func import functional_call

from longconv_audio import nn as longconv_nn
from tests.nn.layer_cases import CASES, CAUSAL, CHANNELS, TAPS, by_name, noise

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=str)
EVERY_CAUSAL_CASE = pytest.mark.parametrize("case", CAUSAL, ids=str)
# dB of the output over the error.
REQUIRED = {torch.float32: 120.0, torch.float64: 270.0}


def snr(y, expected):
    """In dB; of an output that is no more than its error, 0 or less."""
    error = (y.detach().double() - expected).norm()
    assert expected.norm() > 0
    return float(20 * torch.log10(expected.norm() / error)) if error > 0 else float("inf")


@pytest.mark.parametrize("dtype", REQUIRED, ids=str)
@pytest.mark.parametrize("length", [1, 60, 400])
@EVERY_CASE
def test_is_the_direct_sum(case, length, dtype):
    layer, x = case.layer(dtype), noise(2, CHANNELS, length, dtype=dtype)
    y, expected = layer(x), case.oracle(layer, x)
    assert y.dtype == dtype
    assert y.shape == expected.shape
    assert snr(y, expected) > REQUIRED[dtype]


@EVERY_CASE
def test_of_no_samples(case):
    if case.name == "conv1d-same":
        pytest.skip("torch.nn.Conv1d refuses it")
    y = case.layer()(torch.empty(2, CHANNELS, 0))
    assert y.shape[0] == 2
    assert y.shape[2] == 0


@EVERY_CASE
def test_gradients(case):
    layer, x = case.layer(torch.float64, taps=7), noise(1, CHANNELS, 9, dtype=torch.float64)
    assert torch.autograd.gradcheck(*called(layer, x), fast_mode=True)


@pytest.mark.parametrize("name", ["conv1d-dense", "conv1d-groups", "conv1d-depthwise", "depthwise", "s4d-lin"])
def test_gradients_of_gradients(name, long_kernels):
    layer, x = by_name(name).layer(torch.float64, taps=5), noise(1, CHANNELS, 8, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(*called(layer, x), fast_mode=True)


def called(layer, x):
    """The layer as a function of x and its parameters, and these."""
    names = [name for name, _ in layer.named_parameters()]

    def call(x, *parameters):
        return functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    return call, (x.requires_grad_(), *layer.parameters())


@pytest.mark.parametrize("length", [50, 400])
@EVERY_CAUSAL_CASE
def test_no_output_depends_on_a_later_input(case, length):
    """Transforms leave rounding everywhere: what may change before the change is within it."""
    layer, x = case.layer(torch.float64), noise(2, CHANNELS, length, dtype=torch.float64)
    at = length // 2
    later = x.clone()
    later[..., at:] += noise(2, CHANNELS, length - at, seed=2, dtype=torch.float64)
    y, changed = layer(x), layer(later)
    first = -(-at // case.stride)
    assert (y - changed)[..., :first].abs().max() < 1e-13 * y.abs().max()
    assert (y - changed)[..., first].abs().max() > 1e-3 * y.std()


@EVERY_CASE
def test_kernels_are_float32_under_autocast(case):
    layer, x = case.layer(), noise(2, CHANNELS, 300)
    expected = gradients(layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    got = gradients(layer, x, autocast=True)
    for name, g in got.items():
        assert g.dtype == torch.float32
        assert snr(g, expected[name].double()) > 25, name
    if hasattr(layer, "kernel"):
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(layer.kernel(300), copy.deepcopy(layer).kernel(300))


def gradients(layer, x, autocast=False):
    """Of the parameters, for a fixed cotangent."""
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = layer(x)
    (y.float() * noise(*y.shape, seed=3)).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in layer.named_parameters()}


@pytest.mark.parametrize(
    "name", ["depthwise-regularised", "depthwise-masked", "s4d-lin", "hyena-2", "conv1d-groups", "bidirectional"]
)
def test_compiles_whole(name):
    """In one graph, with any length."""
    layer = by_name(name).layer()
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for length in (300, 301):
        x = noise(2, CHANNELS, length).requires_grad_()
        y, target = compiled(x), layer(x)
        torch.testing.assert_close(y, target)
        inputs = (x, *layer.parameters())
        got, want = torch.autograd.grad(y.sum(), inputs), torch.autograd.grad(target.sum(), inputs)
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@EVERY_CASE
def test_repeats_bit_for_bit(case):
    layer, x = case.layer(), noise(2, CHANNELS, 300)
    first, second = gradients(layer, x), gradients(layer, x)
    assert torch.equal(layer(x), layer(x))
    assert all(torch.equal(first[name], second[name]) for name in first)


@EVERY_CASE
def test_copies_and_state_dicts_give_the_same(case):
    layer, x = case.layer(), noise(2, CHANNELS, 300)
    if case.causal:
        layer.stream(x, layer.init_state(2))  # what it prepares for streams is not copied
    y = layer(x)
    assert torch.equal(copy.deepcopy(layer)(x), y)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), y)
    other = case.layer(seed=5)
    assert not torch.equal(other(x), y) or case.name == "fir"
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), y)


@pytest.mark.parametrize(
    "make",
    [
        lambda **factory: longconv_nn.DepthwiseLongConv(3, 50, **factory),
        lambda **factory: longconv_nn.SGConv(3, 50, **factory),
        lambda **factory: longconv_nn.S4D(3, **factory),
        lambda **factory: longconv_nn.HyenaOperator(3, 50, **factory),
        lambda **factory: longconv_nn.FIRFilter(torch.ones(3, 50), learnable=True, **factory),
        lambda **factory: longconv_nn.LongConv1d(3, 3, 50, padding="causal", **factory),
    ],
)
def test_device_and_dtype(make):
    layer = make(dtype=torch.float64)
    assert {p.dtype for p in layer.parameters()} == {torch.float64}
    assert layer(noise(1, 3, 80, dtype=torch.float64)).dtype == torch.float64
    empty = make(device="meta", dtype=torch.float64)
    assert {p.device.type for p in empty.parameters()} == {"meta"}
    empty.to_empty(device="cpu").load_state_dict(layer.state_dict())
    x = noise(1, 3, 80, dtype=torch.float64)
    assert torch.equal(empty(x), layer(x))


@pytest.mark.parametrize(
    "make",
    [
        lambda **factory: longconv_nn.DepthwiseLongConv(3, 50, **factory),
        lambda **factory: longconv_nn.SGConv(3, 50, **factory),
        lambda **factory: longconv_nn.S4D(3, **factory),
        lambda **factory: longconv_nn.HyenaOperator(3, 50, **factory),
        lambda **factory: longconv_nn.LongConv1d(3, 3, 50, padding="causal", **factory),
        lambda **factory: longconv_nn.FeedForward(3, **factory),
        lambda **factory: longconv_nn.UNetStage(nn.Identity(), 3, **factory),
    ],
)
def test_every_part_begins_anew(make):
    """As after loading onto the meta device: each module resets what it holds itself."""
    layer = make(device="meta", dtype=torch.float64).to_empty(device="cpu")
    assert {t.dtype for t in layer.state_dict().values()} == {torch.float64}
    for t in layer.state_dict().values():
        t.fill_(float("nan"))
    for part in layer.modules():
        if part._parameters or part._buffers:
            part.reset_parameters()
    y, expected = (m(noise(8, 3, 80, dtype=torch.float64)).std() for m in (layer, make(dtype=torch.float64)))
    assert expected / 5 < y < 5 * expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", [case for case in CASES if case.name != "depthwise-masked"], ids=str)
def test_in_half_precision(case, dtype):
    """What comes of the rounded parameters, up to another rounding of the taps and of what is computed."""
    layer, x = case.layer(dtype, taps=800), noise(2, CHANNELS, 1000, dtype=dtype)
    y = layer(x)
    assert y.dtype == dtype
    assert snr(y, case.oracle(layer, x)) > (50 if dtype == torch.float16 else 30)
    if hasattr(layer, "kernel"):
        assert snr(layer.kernel(800), copy.deepcopy(layer).double().kernel(800).detach()) > 45


@pytest.mark.parametrize("case", [case for case in CASES if hasattr(case.layer(), "sparsify_")], ids=str)
def test_a_mask_by_magnitude(case):
    layer, x = case.layer(), noise(2, CHANNELS, 500)
    whole = layer(x)
    report = layer.sparsify_(keep=0.5, length=1024)
    assert layer.mask.zeros == 0.5
    assert report.error_db < 0
    assert not torch.allclose(layer(x), whole, rtol=1e-2, atol=1e-2)
    assert "mask" in repr(layer)
    with pytest.raises(ValueError, match="frequency mask and cannot stream"):
        layer.init_state(1)
    with pytest.raises(ValueError, match="mask has 1024 points"):
        layer(noise(1, CHANNELS, 1025))
    other = case.layer(seed=7)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))
    assert torch.equal(pickle.loads(pickle.dumps(other))(x), layer(x))
    layer.set_mask(None)
    assert torch.equal(layer(x), whole) or case.name == "depthwise-masked"


@EVERY_CASE
def test_another_number_of_channels_is_refused(case):
    with pytest.raises(ValueError, match=r"\(2, 1, 50\)"):
        case.layer()(torch.ones(2, 1, 50))


@pytest.mark.parametrize("length", [TAPS - 1, TAPS, TAPS + 1, 5 * TAPS])
def test_the_first_taps_are_those_of_the_whole_kernel(length):
    for case in CASES:
        layer = case.layer()
        if hasattr(layer, "kernel"):
            torch.testing.assert_close(layer.kernel(length)[..., :50], layer.kernel(50), rtol=1e-5, atol=1e-6)
            assert layer.kernel(length).shape[-1] == (min(TAPS, length) if layer.kernel_size else length)


@pytest.fixture
def long_kernels(monkeypatch):
    """Short kernels by transforms too."""
    monkeypatch.setattr("longconv_audio.nn.functional.LONG_TAPS", 1)
