"""Norms and mixings of channels: against torch's own modules, their gradients, and what they keep for them."""

import pytest
import torch
from torch.nn import functional as F

from longconv_audio.nn import pointwise
from longconv_audio.nn.pointwise import channel_norm, computed_anew, mix

pytestmark = pytest.mark.usefixtures("one_thread")

EXACT = 1e-12


def randn(*shape, **options):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True, **options)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """So that a test's tensors have several, of which the last are smaller, along both axes."""
    torch.manual_seed(0)
    monkeypatch.setattr(pointwise, "_TILE_CPU", 12)


def torch_norm(x, weight, bias):
    return F.layer_norm(x.transpose(1, 2), weight.shape, weight, bias).transpose(1, 2)


def torch_mix(y, weight, bias, residual, glu):
    z = F.linear(F.gelu(y).transpose(1, 2), weight, bias).transpose(1, 2)
    return residual + (F.glu(z, 1) if glu else z)


def test_norm_is_layer_norm_over_channels():
    x, weight, bias = randn(2, 3, 7), randn(3), randn(3)
    torch.testing.assert_close(channel_norm(x, weight, bias), torch_norm(x, weight, bias), rtol=EXACT, atol=EXACT)


def test_norm_gradients():
    assert torch.autograd.gradcheck(channel_norm, (randn(2, 3, 7), randn(3), randn(3)))


@pytest.mark.parametrize("glu", [False, True])
def test_mix(glu):
    arguments = randn(2, 3, 7), randn(8 if glu else 4, 3), randn(8 if glu else 4), randn(2, 4, 7)
    expected = torch_mix(*arguments, glu)
    torch.testing.assert_close(mix(*arguments, glu=glu), expected, rtol=EXACT, atol=EXACT)
    with torch.no_grad():
        torch.testing.assert_close(mix(*arguments, glu=glu), expected, rtol=EXACT, atol=EXACT)
    assert torch.autograd.gradcheck(lambda *a: mix(*a, glu=glu), arguments)


def test_the_compilers_way_is_the_same(monkeypatch):
    x, weight, bias, residual = randn(2, 3, 7), randn(8, 3), randn(8), randn(2, 4, 7)
    norm_weight, norm_bias = randn(3), randn(3)

    def both():
        out = mix(channel_norm(x, norm_weight, norm_bias), weight, bias, residual, glu=True)
        return [out, *torch.autograd.grad(out.square().sum(), [x, weight, bias, residual, norm_weight, norm_bias])]

    expected = both()
    monkeypatch.setattr(pointwise, "unobserved", lambda *tensors: False)
    for result, wanted in zip(both(), expected, strict=True):
        torch.testing.assert_close(result, wanted, rtol=EXACT, atol=EXACT)


def test_dropout_leaves_out_a_share_and_scales_the_rest():
    y, weight, bias, residual = torch.randn(2, 8, 5000), torch.randn(4, 8), torch.randn(4), torch.randn(2, 4, 5000)
    added = mix(y, weight, bias, residual, dropout=0.25) - residual
    whole = mix(y, weight, bias, residual) - residual
    kept = added != 0
    assert abs(kept.float().mean() - 0.75) < 0.02
    torch.testing.assert_close(added[kept], whole[kept] / 0.75, rtol=1e-4, atol=1e-4)


def test_dropout_is_the_same_in_the_gradient():
    arguments = randn(2, 3, 7), randn(4, 3), randn(4), randn(2, 4, 7)

    def seeded(*a):
        torch.manual_seed(1)
        return mix(*a, dropout=0.5)

    assert torch.autograd.gradcheck(seeded, arguments)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    """Statistics stay in float32: numbers with a mean of 1000 times their deviation come out right."""
    x, weight, bias = torch.randn(2, 8, 50) + 1000, torch.randn(8), torch.randn(8)
    mixing, offset, residual = torch.randn(6, 8) / 3, torch.randn(6), torch.randn(2, 3, 50)
    expected = torch_norm(x.double(), weight.double(), bias.double())
    with torch.autocast("cpu", dtype):
        normed = channel_norm(x.requires_grad_(), weight.requires_grad_(), bias)
        out = mix(normed, mixing.requires_grad_(), offset, residual, glu=True)
    assert normed.dtype == dtype
    assert out.dtype == torch.float32
    rounding = 2 * torch.finfo(dtype).eps
    torch.testing.assert_close(normed.double(), expected, rtol=rounding, atol=rounding)
    wanted = torch_mix(expected, mixing.double(), offset.double(), residual.double(), True)
    torch.testing.assert_close(out.double(), wanted, rtol=8 * rounding, atol=8 * rounding)
    # against the same gradient in float64
    (out * residual).sum().backward()
    parameters = [t.detach().double().requires_grad_() for t in (weight, mixing)]
    exact = torch_mix(
        torch_norm(x.detach().double(), parameters[0], bias.double()), parameters[1], offset.double(),
        residual.double(), True,
    )  # fmt: skip
    (exact * residual).sum().backward()
    for found, right in zip((weight.grad, mixing.grad), parameters, strict=True):
        assert found.dtype == torch.float32
        assert (found - right.grad).norm() < 8 * rounding * right.grad.norm()


def test_computed_anew_keeps_nothing_of_the_tensor():
    x = randn(2, 3, 8)
    made = []

    def make():
        made.append(x.detach() * 3)
        return made[-1]

    h = x * 3
    with computed_anew(h, make, x):
        y = h.transpose(1, 2)[:, 2:].exp() * h[0, 0, 0] + h.square().sum()
    assert not made
    (found,) = torch.autograd.grad(y.sum(), x)
    assert made
    g = x * 3
    (expected,) = torch.autograd.grad((g.transpose(1, 2)[:, 2:].exp() * g[0, 0, 0] + g.square().sum()).sum(), x)
    torch.testing.assert_close(found, expected, rtol=EXACT, atol=EXACT)


def test_computed_anew_refuses_sources_that_have_changed():
    x = torch.randn(3, requires_grad=True)
    source = torch.randn(3)
    h = x * source
    with computed_anew(h, lambda: x.detach() * source, source):
        y = h.square().sum()
    source.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_no_samples():
    arguments = randn(2, 3, 0), randn(4, 3), randn(4), randn(2, 4, 0)
    mix(*arguments).sum().backward()
    assert arguments[1].grad.abs().max() == 0
    x, weight = randn(2, 3, 0), randn(3)
    channel_norm(x, weight, randn(3)).sum().backward()
    assert x.grad.shape == x.shape
    assert weight.grad.abs().max() == 0
