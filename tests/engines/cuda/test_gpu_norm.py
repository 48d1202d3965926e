"""Normalisation over channels on a GPU, through its kernels: `pytest -m gpu`."""

import pytest
import torch
from gpu import HALF, SINGLE, decibels_below, needs_gpu, random
from torch.nn import functional as F

from longconv_audio.engines.cuda import channel_norm as engine
from longconv_audio.nn.models import Classifier, ClassifierConfig
from longconv_audio.nn.pointwise import channel_norm

pytestmark = needs_gpu

BF16 = torch.bfloat16
TYPES = [(SINGLE, SINGLE), (SINGLE, HALF), (SINGLE, BF16), (HALF, HALF), (BF16, BF16)]
# See tests/emulator/test_channel_norm.py.
REQUIRED = {HALF: 70.0, BF16: 52.0, SINGLE: 125.0}
OF_SUMS = 110.0
EPS = 1e-5


def tensors_of(shape, dtype=SINGLE, mean: float = 0.0) -> list:
    x = (random(*shape, dtype=SINGLE, seed=1) + mean).to(dtype)
    return [x, random(shape[1], dtype=SINGLE, seed=2), random(shape[1], dtype=SINGLE, seed=3)]


def torch_norm(x, weight, bias):
    return F.layer_norm(x.transpose(1, 2), weight.shape, weight, bias, EPS).transpose(1, 2)


def check(tensors, dtype=SINGLE) -> None:
    """y and all gradients against float64, and a second time bit for bit the same."""
    x, weight, _ = tensors
    y, dy = engine.forward(*tensors, EPS, dtype), random(*x.shape, dtype=dtype, seed=4)
    wide = [t.double().requires_grad_() for t in tensors]
    wanted = torch_norm(*wide)
    right = torch.autograd.grad(wanted, wide, dy.double())
    found = engine.backward(dy, x, weight, EPS)
    assert [t.dtype for t in (y, *found)] == [dtype, x.dtype, SINGLE, SINGLE]
    assert decibels_below(y, wanted) >= REQUIRED[dtype]
    assert decibels_below(found[0], right[0]) >= REQUIRED[x.dtype] - 10 * (x.shape[1] < 4)
    for one, other in zip(found[1:], right[1:], strict=True):
        assert decibels_below(one, other, dy.double().square().sum()) >= OF_SUMS
    assert torch.equal(y, engine.forward(*tensors, EPS, dtype))
    assert all(torch.equal(a, b) for a, b in zip(found, engine.backward(dy, x, weight, EPS), strict=True))


@pytest.mark.parametrize("types", TYPES, ids=str)
@pytest.mark.parametrize("length", [1, 33, 1000, 16_000])
@pytest.mark.parametrize("channels", [3, 13, 64, 100, 128, 300, 2048])
def test_channels_and_lengths(channels, length, types):
    check(tensors_of((3, channels, length), types[0]), types[1])


def test_far_from_zero():
    check(tensors_of((2, 64, 5000), mean=1000.0))


def test_more_elements_than_32_bits_count():
    if torch.cuda.mem_get_info()[0] < 60 * 2**30:
        pytest.skip("not 60 GB of memory")
    x, weight, bias = tensors_of((2, 2048, 2**19 + 8), HALF)
    y = engine.forward(x, weight, bias, EPS, HALF)
    last = (slice(1, None), slice(None), slice(-3000, None))
    assert decibels_below(y[last], torch_norm(x[last].double(), weight.double(), bias.double())) >= REQUIRED[HALF]
    dx, _, db = engine.backward(y, x, weight, EPS)
    wide = x[last].double().requires_grad_()
    (right,) = torch.autograd.grad(torch_norm(wide, weight.double(), bias.double()), wide, y[last].double())
    assert decibels_below(dx[last], right) >= REQUIRED[HALF]
    sums = sum(y[..., part].double().sum((0, 2)) for part in torch.arange(y.shape[2], device="cuda").split(2**15))
    assert decibels_below(db, sums) >= OF_SUMS


@pytest.mark.parametrize("dtype", [SINGLE, HALF, BF16], ids=str)
def test_autograd_and_autocast(dtype):
    """By way of the module's function: parts of tensors that lie apart, and gradients that are expanded."""
    whole, weight, bias = tensors_of((3, 64, 1003))
    x = whole[..., 2:].requires_grad_()
    parameters = [t.requires_grad_() for t in (weight, bias)]
    with torch.autocast("cuda", dtype, enabled=dtype != SINGLE):
        y = channel_norm(x, *parameters)
    assert y.dtype == dtype
    assert engine.why_not(x, dtype) is None
    wide = [t.detach().double().requires_grad_() for t in (x, *parameters)]
    wanted = torch_norm(*wide)
    assert decibels_below(y, wanted) >= REQUIRED[dtype]
    found = torch.autograd.grad((y * y).sum() + y.sum(), [x, *parameters])
    right = torch.autograd.grad((wanted * wanted).sum() + wanted.sum(), wide)
    for one, other in zip(found, right, strict=True):
        assert decibels_below(one, other) >= min(REQUIRED[dtype], 100) - 6


def test_is_captured_and_runs_on_other_streams():
    x, weight, bias = tensors_of((2, 64, 5000))
    target = channel_norm(x, weight, bias)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = channel_norm(x, weight, bias)
    y.zero_()
    graph.replay()
    assert torch.equal(y, target)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**7)
        later = x * 1
        y = channel_norm(later, weight, bias)
    stream.synchronize()
    assert torch.equal(y, target)


def test_parameters_that_do_not_belong_to_x():
    x, weight, bias = tensors_of((2, 64, 50))
    for wrong in (weight[:63], weight.cpu()):
        with pytest.raises(RuntimeError):
            channel_norm(x, wrong, bias)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_a_device_that_is_not_current():
    tensors = tensors_of((2, 64, 500))
    target = channel_norm(*tensors)
    y = channel_norm(*(t.to("cuda:1") for t in tensors))
    assert y.device == torch.device("cuda", 1)
    assert torch.equal(y.cpu(), target.cpu())


def test_a_step_of_the_classifier(monkeypatch):
    """Its gradients are what they are without the kernels."""
    torch.manual_seed(0)
    model = Classifier(ClassifierConfig(tuple("abc"), 16_000, channels=64, layers=2, dropout=0.0)).cuda()
    x = random(4, 1, 4000, dtype=SINGLE)

    def gradients():
        model.zero_grad()
        F.cross_entropy(model(x), torch.tensor([0, 1, 2, 0], device="cuda")).backward()
        return {name: p.grad.clone() for name, p in model.named_parameters()}

    calls = []
    launched = engine.backward
    monkeypatch.setattr(engine, "backward", lambda *a: calls.append(1) or launched(*a))
    found = gradients()
    assert calls
    monkeypatch.setattr(engine, "why_not", lambda *a: "not wanted")
    for name, wanted in gradients().items():
        assert decibels_below(found[name], wanted) >= 60, name
