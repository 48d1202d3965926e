"""Blocks: what they compute, what they keep for the backward pass, and their streams."""

import copy

import pytest
import torch
from torch import nn

from longconv_audio.nn import streaming
from longconv_audio.nn.blocks import ChannelNorm, FeedForward, ResidualBlock
from tests.nn.streams import Memory, difference, streamed

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def plain(block, x):
    """The block's formula with torch's own operations."""
    h = nn.functional.layer_norm(x.transpose(1, 2), x.shape[1:2], block.norm.weight, block.norm.bias).transpose(1, 2)
    z = block.mixing(nn.functional.gelu(block.layer(h)))
    return x + (nn.functional.glu(z, 1) if block.glu else z)


def blocks():
    return {
        "glu": ResidualBlock(Memory(6, 20), 6, glu=True),
        "linear": ResidualBlock(Memory(6, 20), 6),
        "feed-forward": FeedForward(6),
        "in place": ResidualBlock(nn.Sequential(nn.ReLU(inplace=True), nn.Conv1d(6, 6, 1)), 6),
    }


@pytest.mark.parametrize("name", blocks())
def test_block_and_its_gradients_are_those_of_the_formula(name):
    block = blocks()[name].double()
    x = torch.randn(2, 6, 50, dtype=torch.float64, requires_grad=True)
    wanted = [x, *block.parameters()]
    y, expected = block(x), plain(block, x)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
    weights = torch.randn_like(y)
    found, exact = (torch.autograd.grad((out * weights).sum(), wanted) for out in (y, expected))
    for a, b in zip(found, exact, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_a_block_keeps_two_sequences(monkeypatch):
    """Its input and the layer's output, and beside them nothing of a sequence's size."""
    block = ResidualBlock(Memory(6, 20), 6, glu=True)
    x = torch.randn(2, 6, 5000, requires_grad=True)
    y = block(x)
    kept, seen, nodes = {}, set(), [y.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [following for following, _ in node.next_functions]
        for t in getattr(node, "saved_tensors", ()) if "LongConv" not in type(node).__name__ else ():
            if t is not None and t.numel() >= x.numel():
                kept[t.data_ptr()] = t
    assert len(kept) == 2
    assert x.data_ptr() in kept


@pytest.mark.parametrize("name", [*blocks(), "norm", "sequence"])
@pytest.mark.parametrize("prefill", [0, 33])
def test_stream_is_the_whole(name, prefill):
    made = {"norm": ChannelNorm(6), "sequence": FeedForward(6), **blocks()}[name].double().eval()
    x = torch.randn(3, 6, 150, dtype=torch.float64)
    whole = made(x).detach()
    assert difference(streamed(made, x, prefill=prefill), whole[..., prefill:]) < 1e-12


def test_state_can_be_cloned_and_indexed():
    block = ResidualBlock(Memory(4, 30), 4).eval()
    x = torch.randn(3, 4, 80)
    state = block.prefill(x[..., :50])
    kept = streaming.map_state(lambda t: t[1:2].clone(), state)
    block.stream(x[..., 50:], state)
    y, _ = block.stream(x[1:2, :, 50:], kept)
    assert difference(y, block(x)[1:2, :, 50:].detach()) < 1e-5


def test_a_block_compiles_in_one_graph():
    block = ResidualBlock(Memory(4, 30), 4, glu=True)
    x = torch.randn(2, 4, 64, requires_grad=True)
    expected = block(x)
    expected.square().sum().backward()
    grad, x.grad = x.grad, None
    compiled = torch.compile(copy.deepcopy(block), fullgraph=True, backend="aot_eager")
    y = compiled(x)
    y.square().sum().backward()
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(x.grad, grad, rtol=1e-3, atol=1e-3)


def test_random_blocks_are_refused():
    block = ResidualBlock(Memory(4, 30), 4, dropout=0.5)
    with pytest.raises(ValueError, match=r"dropout of ResidualBlock in training is random: call eval\(\)"):
        block.init_state(1)
    block.eval().init_state(1)


def test_dropout_is_named_where_it_is_no_share():
    with pytest.raises(ValueError, match=r"dropout is 1\.0; expected"):
        ResidualBlock(nn.Identity(), 4, dropout=1.0)
