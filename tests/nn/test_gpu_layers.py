"""The layers and the classifier on a GPU: what they give, their gradients and their streams. `pytest -m gpu`."""

import copy

import pytest
import torch
from gpu import needs_gpu

from longconv_audio.nn.models.classifier import Classifier, ClassifierConfig
from tests.nn.layer_cases import CASES, CAUSAL, noise
from tests.nn.streams import difference, streamed

pytestmark = needs_gpu

SAMPLES = 700
# Of the loss, as a GradScaler has it, so that gradients are not below what float16 has.
SCALE = 1024


@pytest.fixture(autouse=True)
def full_precision():
    """torch's own convolutions and products in float32 as it is, not in TF32."""
    kept = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = kept


def gradients(layer, x, dy):
    x = x.clone().requires_grad_()
    (layer(x) * dy).sum().backward()
    return {"x": x.grad, **{name: p.grad for name, p in layer.named_parameters()}}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gives_what_float64_gives(case):
    layer = case.layer()
    x = noise(2, 4, 500)
    expected = case.oracle(layer, x)
    assert difference(layer.cuda()(x.cuda()).cpu().double(), expected) < 1e-5


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_the_cpu_in_float64(case):
    layer = case.layer()
    x = noise(2, 4, 500)
    dy = noise(*layer(x).shape, seed=2)
    expected = gradients(copy.deepcopy(layer).double(), x.double(), dy.double())
    found = gradients(layer.cuda(), x.cuda(), dy.cuda())
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert difference(gradient.cpu().double(), expected[name]) < 1e-4, name


@pytest.mark.parametrize("case", CAUSAL, ids=str)
def test_streams(case):
    layer = case.layer().cuda()
    x = noise(2, 4, SAMPLES).cuda()
    assert difference(streamed(layer, x), layer(x)) < 1e-5
    assert difference(streamed(layer, x, prefill=300), layer(x)[..., -(-300 // case.stride) :]) < 1e-5


@pytest.mark.parametrize("layer", ["depthwise", "sgconv", "s4d", "hyena"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_classifier_learns_under_autocast(layer, dtype):
    torch.manual_seed(0)
    shape = {"channels": 8, "layers": 2, "layer": layer, "kernel_size": 400, "dropout": 0.0}
    config = ClassifierConfig(("low", "high"), 16_000, **shape)
    model = Classifier(config).cuda()
    x = noise(4, 1, 4000).cuda()
    labels = torch.tensor([0, 1, 0, 1], device="cuda")
    torch.nn.functional.cross_entropy(model(x), labels).backward()
    plain = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    with torch.autocast("cuda", dtype):
        loss = torch.nn.functional.cross_entropy(model(x).float(), labels)
    (loss * SCALE).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.dtype == torch.float32
        gap = (parameter.grad / SCALE - plain[name]).norm() / plain[name].norm()
        assert gap < (0.05 if dtype == torch.float16 else 0.3), name
