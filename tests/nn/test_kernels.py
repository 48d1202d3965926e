"""How kernels are made and begin, and how their parameters are to be trained."""

import math

import pytest
import torch
from torch import nn

from longconv_audio import nn as longconv_nn
from longconv_audio.nn import functional, parameter_groups
from longconv_audio.nn.vandermonde import Vandermonde
from tests.nn.layer_cases import noise


@pytest.mark.parametrize("initialisation", ["geometric", "random"])
def test_explicit_kernels_begin_with_an_energy_of_about_one(initialisation):
    torch.manual_seed(0)
    layer = longconv_nn.DepthwiseLongConv(64, 2000, initialisation=initialisation)
    energy = layer.kernel().square().sum(1)
    assert 0.9 < energy.mean() < 1.1
    late = layer.kernel()[:, 1000:].square().sum(1) / energy
    if initialisation == "random":
        assert torch.allclose(late, torch.tensor(0.5), atol=0.15)
    else:  # exp(-i / 2000 * 32^(h / 64)): energy falls by exp(-1) to exp(-32) over the half
        assert late[0] > 0.2
        assert late[-1] < 1e-6


def test_dropout_of_taps():
    torch.manual_seed(0)
    layer = longconv_nn.DepthwiseLongConv(8, 1000, dropout=0.25)
    zeros = (layer.kernel() == 0).float().mean()
    assert 0.2 < zeros < 0.3
    assert (layer.eval().kernel() != 0).all()


def test_multiscale_kernels_are_normalised_once():
    torch.manual_seed(0)
    layer = longconv_nn.SGConv(4, 1000)
    torch.testing.assert_close(layer.kernel().norm(dim=1), torch.ones(4))
    before = {name: t.clone() for name, t in layer.state_dict().items()}
    layer(noise(1, 4, 100))
    assert all(torch.equal(before[name], t) for name, t in layer.state_dict().items())
    with torch.no_grad():
        layer.weight.mul_(3)
    torch.testing.assert_close(layer.kernel().norm(dim=1), torch.full((4,), 3.0))


def test_state_spaces_begin_as_the_paper_says():
    lin, inv = longconv_nn.S4D(5, 16), longconv_nn.S4D(5, 16, initialisation="inv")
    n = torch.arange(8)
    torch.testing.assert_close(lin.frequency[2], math.pi * n)
    torch.testing.assert_close(inv.frequency[2], 16 / math.pi * (16 / (2 * n + 1) - 1))
    assert torch.equal(lin.log_decay.exp(), torch.full((5, 8), 0.5))
    assert (lin.log_dt.exp() >= 0.001).all()
    assert (lin.log_dt.exp() <= 0.1).all()


def test_a_state_space_kernel_is_its_recurrence():
    """x' = A x + u with u held over a step, by the matrix exponential of the equation with its input beside it."""
    torch.manual_seed(0)
    layer = longconv_nn.S4D(2, 4).double()
    got = layer.kernel(30)
    with torch.no_grad():
        for h in range(2):
            a = torch.complex(-layer.log_decay[h].exp(), layer.frequency[h])
            pair = torch.zeros(2, 2, 2, dtype=torch.complex128)
            pair[:, 0, 0], pair[:, 0, 1] = a, 1
            step = torch.matrix_exp(pair * layer.log_dt[h].exp())
            x, c = torch.zeros(2, dtype=torch.complex128), torch.view_as_complex(layer.c[h])
            for i in range(30):
                x = step[:, 0, 0] * x + step[:, 0, 1] * (i == 0)
                torch.testing.assert_close(got[h, i], 2 * (c * x).sum().real)


@pytest.mark.parametrize("length", [1, 127, 128, 129, 70_000])
def test_powers_by_two_tables(length):
    rate, turn = -noise(2, 3, dtype=torch.float64).abs() / 1000, noise(2, 3, seed=2, dtype=torch.float64)
    powers = Vandermonde(rate, turn, length, torch.float64)
    z = torch.exp(torch.complex(rate, turn)[..., None] * torch.arange(length))
    c = torch.complex(noise(2, 3, seed=3, dtype=torch.float64), noise(2, 3, seed=4, dtype=torch.float64))
    torch.testing.assert_close(powers.evaluate(c.real, c.imag), (c[..., None] * z).sum(1).real, rtol=0, atol=1e-9)
    u = noise(4, 2, length, dtype=torch.float64)
    expected = torch.einsum("bhl,hnl->bhn", u.to(z.dtype), z)
    torch.testing.assert_close(torch.complex(*powers.project(u)), expected, rtol=0, atol=1e-9)


def test_a_kernel_keeps_no_table_of_all_powers():
    torch.manual_seed(0)
    layer = longconv_nn.S4D(2, 64)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
        layer.kernel(1 << 16)
    assert sum(kept) < 2 * 32 * (1 << 16) * 8 / 4


def test_hyenas_decay():
    filter = longconv_nn.HyenaOperator(3, 500, order=3).filter
    window = filter.scale * torch.exp(filter.rate * torch.arange(500))
    torch.testing.assert_close(window.norm(dim=1), torch.ones(6))
    rates = -filter.rate[:, 0] * 500 / math.log(100)
    torch.testing.assert_close(rates, torch.linspace(1 / 1.5, 1 / 0.3, 6))


def test_smooth_is_the_mean_of_neighbours():
    k = noise(2, 3, 20)
    expected = torch.stack([k[..., max(i - 3, 0) : i + 4].sum(-1) / 7 for i in range(20)], -1)
    torch.testing.assert_close(functional.smooth(k, 3), expected)


def test_parameter_groups():
    model = nn.Sequential(
        nn.Conv1d(4, 4, 1), nn.GroupNorm(1, 4), longconv_nn.S4D(4, dynamics_lr=0.002),
        longconv_nn.DepthwiseLongConv(4, 10), nn.Conv1d(4, 4, 1).requires_grad_(False),
    )  # fmt: skip
    model.append(model[0])
    groups = parameter_groups(model, lr=0.01, weight_decay=0.1)
    names = {id(p): name for name, p in model.named_parameters()}
    got = {(g["lr"], g["weight_decay"]): sorted(names[id(p)] for p in g["params"]) for g in groups}
    assert got == {
        (0.01, 0.1): ["0.weight", "2.c", "3.weight"],
        (0.01, 0.0): ["0.bias", "1.bias", "1.weight", "2.d", "3.d"],
        (0.002, 0.0): ["2.frequency", "2.log_decay", "2.log_dt"],
    }
    hyena = longconv_nn.HyenaOperator(4, 10)
    plain = [g["params"] for g in parameter_groups(hyena, lr=0.01, weight_decay=0.1) if not g["weight_decay"]]
    assert any(p is hyena.d for p in plain[0])
    low = parameter_groups(model, lr=0.001, weight_decay=0.1)
    assert {g["lr"] for g in low} == {0.001}
    torch.optim.AdamW(groups).step()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: longconv_nn.DepthwiseLongConv(0, 3), "channels is 0"),
        (lambda: longconv_nn.DepthwiseLongConv(3, 0), "kernel_size is 0"),
        (lambda: longconv_nn.DepthwiseLongConv(3, 3, initialisation="one"), "initialisation is 'one'"),
        (lambda: longconv_nn.DepthwiseLongConv(3, 3, dropout=1.0), "dropout is 1.0"),
        (lambda: longconv_nn.DepthwiseLongConv(3, 3, squash=-1.0), "squash is -1.0"),
        (lambda: longconv_nn.SGConv(3, 3, decay=0.0), "decay is 0.0"),
        (lambda: longconv_nn.SGConv(3, 3, scale_size=0), "scale_size is 0"),
        (lambda: longconv_nn.S4D(3, 5), "state_size is 5"),
        (lambda: longconv_nn.S4D(3, initialisation="one"), "initialisation is 'one'"),
        (lambda: longconv_nn.S4D(3, dt_min=0.0), "dt_min is 0.0"),
        (lambda: longconv_nn.S4D(3).kernel(), "length is None"),
        (lambda: longconv_nn.S4D(3).sparsify_(), "length is None"),
        (lambda: longconv_nn.HyenaOperator(3, 9, order=1), "order is 1"),
        (lambda: longconv_nn.FIRFilter(torch.ones(1, 2, 3)), "taps has shape"),
        (lambda: longconv_nn.FIRFilter(torch.ones(2, 0)), "taps has shape"),
        (lambda: longconv_nn.OnlineConvolution(torch.ones(2, 0)), "taps has shape"),
        (lambda: longconv_nn.OnlineConvolution(torch.ones(2, 3, 4)), "taps has shape"),
        (lambda: longconv_nn.DepthwiseLongConv(3, 3, dropout=math.nan), "dropout is nan"),
        (lambda: longconv_nn.DepthwiseLongConv(3, 3, squash=math.nan), "squash is nan"),
        (lambda: functional.multiscale_kernel(torch.ones(2, 3, 4), 0.5, 17), "length is 17; .*, which are 16"),
        (lambda: functional.hyena(torch.ones(1, 6, 9), torch.ones(3, 4), torch.ones(1, 3)), r"kernels \(3, 4\)"),
        (lambda: functional.hyena(torch.ones(1, 6, 9), torch.ones(1, 3, 4), torch.ones(1, 3)), "expected 9 channels"),
        (lambda: longconv_nn.ResidualBlock(nn.Identity(), 3, inner=0), "inner is 0"),
        (lambda: longconv_nn.FeedForward(3, 0), "expand is 0"),
        (lambda: longconv_nn.ChannelNorm(0), "channels is 0"),
        (lambda: longconv_nn.ChannelNorm(3)(torch.ones(3, 9)), r"\(3, 9\); expected \(batch, 3, time\)"),
        (lambda: longconv_nn.FeedForward(3)(torch.ones(1, 4, 9)), r"\(1, 4, 9\); expected \(batch, 3, time\)"),
    ],
)
def test_says_what_is_wrong(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: longconv_nn.DepthwiseLongConv(3, 10.0), "kernel_size is 10.0, a float; expected an integer"),
        (lambda: longconv_nn.DepthwiseLongConv(3, 10, smooth=1.5), "smooth is 1.5"),
        (lambda: longconv_nn.S4D(3, 4.0), "state_size is 4.0"),
        (lambda: longconv_nn.HyenaOperator(3, 9, 2.5), "order is 2.5"),
        (lambda: longconv_nn.DepthwiseLongConv(3, 3, mask=torch.ones(4)), "mask is a Tensor; expected a FrequencyMask"),
        (lambda: longconv_nn.FIRFilter([1.0, 2.0]), "taps is a list"),
        (lambda: longconv_nn.OnlineConvolution(torch.ones(2, 3, dtype=torch.int64)), "taps of shape .* torch.int64"),
    ],
)
def test_says_what_is_of_another_kind(make, words):
    with pytest.raises(TypeError, match=words):
        make()


def test_multiscale_kernels_of_all_taps_there_are():
    assert functional.multiscale_kernel(torch.ones(2, 3, 4), 0.5, 16).shape == (2, 16)
    assert longconv_nn.SGConv(2, 1, scale_size=1).kernel().shape == (2, 1)
