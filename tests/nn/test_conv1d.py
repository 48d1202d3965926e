"""LongConv1d and the function: torch.nn.Conv1d's parameters and results, in every setting that it has."""

import itertools

import pytest
import torch
from torch import nn
from torch.library import opcheck

from longconv_audio.nn import LongConv1d
from longconv_audio.nn.dense_operator import dense_conv
from longconv_audio.nn.functional import long_conv1d
from tests.nn.layer_cases import noise

pytestmark = pytest.mark.usefixtures("one_thread")

# (in, out, groups): one channel, dense, grouped, depthwise, depthwise with several outputs a channel.
CHANNELS = [(1, 3, 1), (4, 3, 1), (4, 6, 2), (3, 3, 3), (3, 6, 3)]
DENSE = torch.ops.longconv_audio.dense_conv.default


@pytest.fixture(params=[True, False], ids=["transforms", "sums"])
def threshold(request, monkeypatch):
    """All kernels as long ones, and as short ones."""
    monkeypatch.setattr("longconv_audio.nn.functional.LONG_TAPS", 1 if request.param else 10**9)


def error(y, expected):
    assert y.shape == expected.shape
    assert y.is_contiguous()
    return float((y - expected).detach().norm() / expected.detach().norm())


@pytest.mark.parametrize("channels", CHANNELS, ids=str)
@pytest.mark.parametrize("taps", [1, 6, 9])
def test_is_torchs_in_every_setting(channels, taps, threshold):
    inputs, outputs, groups = channels
    weight = noise(outputs, inputs // groups, taps, seed=2, dtype=torch.float64)
    bias = noise(outputs, seed=3, dtype=torch.float64)
    for stride, padding, dilation, length in itertools.product((1, 3), (0, 2, 30, "same", "valid"), (1, 2), (18, 41)):
        if padding == "same" and stride > 1:
            continue
        x = noise(2, inputs, length, dtype=torch.float64)
        options = (bias, stride, padding, dilation, groups)
        expected = nn.functional.conv1d(x, weight, *options)
        assert error(long_conv1d(x, weight, *options), expected) < 1e-13
        assert error(long_conv1d(x, weight.flip(-1), *options, flip=True), expected) < 1e-13


@pytest.mark.parametrize("length", [1, 5, 40])
def test_causal(length, threshold):
    """Kernels longer than the input too."""
    for (inputs, outputs, groups), taps, stride, dilation in itertools.product(CHANNELS, (1, 12), (1, 3), (1, 2)):
        weight, x = noise(outputs, inputs // groups, taps), noise(2, inputs, length)
        padded = nn.functional.pad(x.double(), (dilation * (taps - 1), 0))
        expected = nn.functional.conv1d(padded, weight.double(), None, stride, 0, dilation, groups)
        y = long_conv1d(x, weight, None, stride, "causal", dilation, groups)
        assert error(y, expected) < 1e-6
        assert y.shape[-1] == -(-length // stride)


@pytest.mark.parametrize("channels", CHANNELS, ids=str)
@pytest.mark.parametrize("length", [400, 5000])
def test_accuracy(channels, length):
    inputs, outputs, groups = channels
    weight, x = noise(outputs, inputs // groups, 1000), noise(2, inputs, length)
    y = long_conv1d(x, weight, padding="same", groups=groups)
    expected = nn.functional.conv1d(x.double(), weight.double(), padding="same", groups=groups)
    assert error(y, expected) < 1e-6


def test_has_torchs_parameters():
    settings = [(4, 6, 200), {"stride": 2, "padding": 30, "dilation": 3, "groups": 2}]
    torch.manual_seed(1)
    long = LongConv1d(*settings[0], **settings[1])
    torch.manual_seed(1)
    peer = nn.Conv1d(*settings[0], **settings[1])
    assert isinstance(long, nn.Conv1d)
    assert list(long.state_dict()) == list(peer.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(long.parameters(), peer.parameters(), strict=True))
    other = LongConv1d(*settings[0], **settings[1])
    other.load_state_dict(peer.state_dict())
    peer.load_state_dict(other.state_dict())
    x = noise(2, 4, 900)
    assert error(other(x), peer(x)) < 1e-6
    assert error(other(x[0]), peer(x[0])) < 1e-6


def test_repr_is_torchs():
    layer = LongConv1d(4, 4, 9, padding="causal", groups=4, bias=False, flip=True)
    assert repr(layer) == (
        "LongConv1d(4, 4, kernel_size=(9,), stride=(1,), padding=causal, groups=4, bias=False, flip=True)"
    )


@pytest.mark.parametrize(("rows", "budget"), [((1, 2, 3, 2), 3), ((2, 5, 4, 3), 7), ((3, 2, 2, 2), 1 << 20)])
def test_blocks_of_any_budget_give_the_same(rows, budget, monkeypatch):
    """Groups, rows, and sums over inputs, taken apart."""
    monkeypatch.setattr("longconv_audio.nn.dense_operator._rows", lambda a, size: budget)
    groups, p, inner, q = rows
    a, b = noise(groups, p, inner, 20, dtype=torch.float64), noise(groups, q, inner, 7, dtype=torch.float64)
    expected = nn.functional.conv1d(a.transpose(0, 1).flatten(1, 2), b.flatten(0, 1), padding=9, groups=groups)
    y = DENSE(a, b, -9, 32, True)
    assert error(y.transpose(0, 1).flatten(1, 2), expected) < 1e-13


@pytest.mark.parametrize(("samples", "taps", "length", "start"), [
    (900, 10, 910, -9), (900, 10, 880, 3), (900, 10, 700, -200), (900, 10, 1200, -100), (900, 880, 30, -4),
    (900, 800, 10, 300), (900, 1000, 20, 300),
])  # fmt: skip
@pytest.mark.parametrize("correlate", [True, False])
def test_blocks_and_segments_give_the_same(samples, taps, length, start, correlate):
    a, b = noise(2, 2, 3, samples, dtype=torch.float64), noise(2, 4, 3, taps, dtype=torch.float64)
    line = a.transpose(0, 1).flatten(1, 2)
    first = start if correlate else start - (taps - 1)
    line = nn.functional.pad(line, (2000, 2000))[..., 2000 + first : 2000 + first + length + taps - 1]
    kernel = b.flatten(0, 1) if correlate else b.flatten(0, 1).flip(-1)
    expected = nn.functional.conv1d(line, kernel, groups=2)
    y = DENSE(a, b, start, length, correlate)
    assert error(y.transpose(0, 1).flatten(1, 2).contiguous(), expected) < 1e-13


WINDOWS = [(-6, 20), (0, 14), (-40, 12), (30, 5), (-3, 3), (5, 60), (19, 1), (-6, 1)]


@pytest.mark.parametrize("correlate", [True, False])
@pytest.mark.parametrize("taps", [7, 33])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_any_window_of_the_operator(window, taps, correlate):
    """Also where nothing meets."""
    start, length = window
    a, b = noise(1, 2, 1, 20, dtype=torch.float64), noise(1, 1, 1, taps, dtype=torch.float64)
    expected = torch.zeros(1, 2, 1, length, dtype=torch.float64)
    for t, j in itertools.product(range(length), range(taps)):
        i = t + start + (j if correlate else -j)
        if 0 <= i < 20:
            expected[..., t] += b[..., j] * a[..., i]
    torch.testing.assert_close(DENSE(a, b, start, length, correlate), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("correlate", [True, False])
def test_operator(correlate):
    a = noise(2, 3, 2, 10, dtype=torch.float64).requires_grad_()
    b = noise(2, 4, 2, 5, dtype=torch.float64).requires_grad_()
    opcheck(DENSE, (a, b, -4, 10, correlate))
    assert torch.autograd.gradcheck(DENSE, (a, b, 2, 6, correlate))
    assert torch.autograd.gradgradcheck(DENSE, (a, b, -2, 9, correlate), fast_mode=True)
    assert torch.autograd.gradcheck(dense_conv, (a, b, 2, 6, correlate), check_forward_ad=True)
    mapped = torch.vmap(lambda a, b: DENSE(a, b, 0, 6, correlate), in_dims=(None, 0))(
        a.detach(), torch.stack([b, 2 * b])
    )
    torch.testing.assert_close(mapped[1], 2 * DENSE(a, b, 0, 6, correlate))


def test_derivatives_of_torch_func():
    """Of a sum over a batch, which is that of its items; forward and backward."""
    x, weight = noise(3, 2, 60, dtype=torch.float64), noise(4, 2, 40, dtype=torch.float64)

    def energy(weight, x):
        return long_conv1d(x, weight, padding="causal").square().sum()

    by_item = torch.vmap(torch.func.grad(energy), in_dims=(None, 0))(weight, x[:, None])
    whole = weight.clone().requires_grad_()
    energy(whole, x).backward()
    torch.testing.assert_close(by_item.sum(0), whole.grad)
    _, slope = torch.func.jvp(lambda weight: energy(weight, x), (weight,), (weight,))
    torch.testing.assert_close(slope, 2 * energy(weight, x))
    with pytest.raises(NotImplementedError, match="forward-mode derivative of a forward-mode"):
        torch.func.jacfwd(torch.func.jacfwd(lambda weight: energy(weight, x)))(weight)


def test_long_conv_as_layers_call_it():
    arguments = (noise(2, 3, 20), noise(3, 12), None, noise(3), None, None, None, "causal", 11, True, "single", None)
    opcheck(torch.ops.longconv_audio.long_conv.default, tuple(
        t.requires_grad_() if isinstance(t, torch.Tensor) else t for t in arguments
    ))  # fmt: skip


def test_no_spectrum_is_kept():
    x, weight = noise(1, 8, 500).requires_grad_(), noise(8, 8, 500).requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        long_conv1d(x, weight, padding="causal")
    assert not any(t.is_complex() for t in kept)
    assert {t.untyped_storage().data_ptr() for t in kept} == {
        x.untyped_storage().data_ptr(), weight.untyped_storage().data_ptr()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: long_conv1d(torch.ones(4), torch.ones(1, 1, 3)), "x has shape"),
        (lambda: long_conv1d(torch.ones(1, 2, 9), torch.ones(2, 3, 3)), "expected 3 channels"),
        (lambda: long_conv1d(torch.ones(1, 2, 9), torch.ones(3, 1, 3), groups=2), "out_channels that groups divides"),
        (lambda: long_conv1d(torch.ones(1, 2, 9), torch.ones(2, 2, 3), torch.ones(3)), "bias has shape"),
        (lambda: long_conv1d(torch.ones(1, 1, 9), torch.ones(1, 1, 12)), "expected at least 12 samples"),
        (lambda: long_conv1d(torch.ones(1, 1, 9), torch.ones(1, 1, 3), stride=0), "stride is 0"),
        (lambda: long_conv1d(torch.ones(1, 1, 9), torch.ones(1, 1, 3), padding="full"), "padding is 'full'"),
        (lambda: long_conv1d(torch.ones(1, 1, 9), torch.ones(1, 1, 3), padding=-1), "padding is -1"),
        (lambda: long_conv1d(torch.ones(1, 1, 9), torch.ones(1, 1, 3), padding="same", stride=2), "stride 2"),
        (lambda: LongConv1d(1, 1, 3, padding_mode="circular"), "padding_mode is 'circular'"),
        (lambda: LongConv1d(1, 1, 3, padding="full"), "padding"),
        (lambda: LongConv1d(1, 1, 3).init_state(1), "expected padding='causal'"),
    ],
)
def test_says_what_is_wrong(call, words):
    with pytest.raises(ValueError, match=words):
        call()
