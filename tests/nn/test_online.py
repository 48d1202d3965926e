"""Convolution of streams in blocks of any size: the same as of the whole, and in how many operations."""

import pytest
import torch

from longconv_audio import nn as longconv_nn
from longconv_audio.nn.online import OnlineConvolution
from longconv_audio.nn.streaming import StreamingModel, init_state, map_state, stream
from tests.nn import streams
from tests.nn.streams import Memory, difference

# (groups, outputs, inputs) and taps: within a base block, at its edges, at a frame's edges, and beyond.
SHAPES = [(3, 1, 1), (2, 3, 2)]
TAPS = [1, 2, 17, 64, 65, 66, 129, 500, 1000]
SPLITS = [1, 2, 5, 63, 64, 65, 128, 300, 1000, 2000]


def oracle(x, taps):
    """The causal convolution in float64."""
    weight = taps.double().flatten(0, 1).flip(-1)
    x = torch.nn.functional.pad(x.double(), (taps.shape[-1] - 1, 0))
    return torch.nn.functional.conv1d(x, weight, groups=len(taps))


def streamed(convolution, x, sizes, state=None):
    state = convolution.init_state(len(x), dtype=x.dtype) if state is None else state
    parts, at = [], 0
    while at < x.shape[-1]:
        n = sizes()
        parts.append(convolution.stream(x[..., at : at + n], state)[0])
        assert parts[-1].shape[-1] == min(n, x.shape[-1] - at)
        at += n
    return torch.cat(parts, -1)


def error(y, expected):
    return float((y - expected).norm() / expected.norm())


def drawn(generator):
    return lambda: SPLITS[int(torch.randint(len(SPLITS), (), generator=generator))]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("taps", TAPS)
@pytest.mark.parametrize("shape", SHAPES, ids=["depthwise", "matrices"])
def test_is_the_convolution_of_the_whole(shape, taps, dtype):
    generator = torch.Generator().manual_seed(taps)
    h = torch.randn(*shape, taps, dtype=dtype, generator=generator)
    x = torch.randn(2, shape[0] * shape[2], 3000, dtype=dtype, generator=generator)
    convolution = OnlineConvolution(h)
    bound = 1e-14 if dtype == torch.float64 else 1e-6
    assert error(streamed(convolution, x, drawn(generator)), oracle(x, h)) < bound
    short = x[..., :600]
    assert error(streamed(convolution, short, lambda: 1), oracle(short, h)) < bound
    assert error(streamed(convolution, x, lambda: 3000), oracle(x, h)) < bound


def test_no_block_at_all_changes_nothing():
    convolution = OnlineConvolution(torch.randn(2, 300))
    x = torch.randn(1, 2, 500)
    state = convolution.init_state(1)
    convolution.stream(x[..., :333], state)
    before = map_state(torch.clone, state)
    assert convolution.stream(x[..., :0], state)[0].shape == (1, 2, 0)
    assert all(torch.equal(before[name], state[name]) for name in state)


def test_items_of_different_streams_go_on_together():
    h = torch.randn(2, 700, dtype=torch.float64)
    x, z = torch.randn(2, 1, 2, 4000, dtype=torch.float64)
    convolution = OnlineConvolution(h)
    first, second = convolution.init_state(1), convolution.init_state(1)
    streamed(convolution, x[..., :1111], lambda: 77, first)
    streamed(convolution, z[..., :2222], lambda: 100, second)
    both = {name: torch.cat([first[name], second[name]]) for name in first}
    y = streamed(convolution, torch.cat([x[..., 1111:2111], z[..., 2222:3222]]), lambda: 9, both)
    expected = torch.cat([oracle(x, h[:, None, None])[..., 1111:2111], oracle(z, h[:, None, None])[..., 2222:3222]])
    assert error(y, expected) < 1e-14
    alone = map_state(lambda t: t[1:], both)
    y = streamed(convolution, z[..., 3222:], lambda: 50, alone)
    assert error(y, oracle(z, h[:, None, None])[..., 3222:]) < 1e-14


def test_single_samples_take_few_operations(monkeypatch):
    """Points transformed for L samples one by one: about 4 L a level of the tiling, not L K."""
    points = []
    transform = torch.fft.rfft
    monkeypatch.setattr(torch.fft, "rfft", lambda x, n: points.append(n * x[..., 0].numel()) or transform(x, n))
    samples, taps = 4096, 4096
    convolution = OnlineConvolution(torch.randn(1, taps))
    x = torch.randn(1, 1, samples)
    streamed(convolution, x, lambda: 1)
    points.clear()
    streamed(convolution, x, lambda: 1)
    levels = (samples // convolution.base).bit_length()
    assert 0 < sum(points) <= 2 * samples * levels


def test_another_layers_state_is_refused():
    x = torch.randn(1, 2, 5)
    state = OnlineConvolution(torch.randn(2, 300)).init_state(1)
    with pytest.raises(ValueError, match=r"the state's past has shape \(1, 2, 1024\); expected \(1, 2, 2048\)"):
        OnlineConvolution(torch.randn(2, 900)).stream(x, state)
    with pytest.raises(ValueError, match=r"block has shape \(2, 2, 5\); expected \(1, 2, 'n'\)"):
        OnlineConvolution(torch.randn(2, 300)).stream(x.expand(2, 2, 5), state)


def test_a_sequence_of_torchs_own_modules_streams():
    model = torch.nn.Sequential(
        torch.nn.Conv1d(2, 4, 1), torch.nn.BatchNorm1d(4), torch.nn.GELU(), torch.nn.Sequential(torch.nn.Dropout(0.5))
    ).eval()
    x = torch.randn(3, 2, 40)
    streaming = StreamingModel(model, batch=3)
    y = torch.cat([streaming.process(block) for block in x.split(7, -1)], -1)
    torch.testing.assert_close(y, model(x))


def test_blocks_of_none_reach_each_layer_behind_a_pooling():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        longconv_nn.DownPool(1, 4, 16),
        torch.nn.GELU(),
        torch.nn.Conv1d(4, 6, 1),
        torch.nn.BatchNorm1d(6),
        longconv_nn.ChannelNorm(6),
        longconv_nn.ResidualBlock(longconv_nn.DepthwiseLongConv(6, 50), 6),
        longconv_nn.S4D(6, state_size=4),
        longconv_nn.HyenaOperator(6, 30),
        longconv_nn.LongConv1d(6, 4, 40, padding="causal", stride=2),
    ).eval()
    x = torch.randn(2, 1, 300)
    streaming = StreamingModel(model, batch=2)
    blocks = [streaming.process(block) for block in x.split(5, -1)]
    assert min(block.shape[-1] for block in blocks) == 0
    torch.testing.assert_close(torch.cat(blocks, -1), model(x).detach())


def test_what_cannot_stream_is_refused():
    with pytest.raises(ValueError, match="Conv1d has no streaming form"):
        init_state(torch.nn.Sequential(torch.nn.Conv1d(2, 2, 3)), 1)
    with pytest.raises(ValueError, match="BatchNorm1d in training"):
        init_state(torch.nn.BatchNorm1d(2), 1)
    with pytest.raises(ValueError, match="Sequential is in training: call eval"):
        StreamingModel(torch.nn.Sequential(torch.nn.GELU()))
    y, state = stream(torch.nn.GELU(), torch.ones(1, 1, 3), {})
    assert y.shape == (1, 1, 3)
    assert state == {}


class AndItsInput(torch.nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


def test_a_module_in_several_places_of_a_sequence():
    memory, gelu = Memory(2, 5), torch.nn.GELU()
    model, x = torch.nn.Sequential(memory, gelu, memory, gelu).eval(), torch.randn(3, 2, 40)
    assert difference(streams.streamed(model, x), model(x).detach()) < 1e-5


def test_a_sequence_that_does_more_is_refused():
    with pytest.raises(ValueError, match="AndItsInput has no streaming form"):
        init_state(AndItsInput(torch.nn.GELU()), 1)
