"""Every layer on a stream: the same as on the whole, however it is cut."""

import io

import pytest
import torch

from longconv_audio import nn as longconv_nn
from tests.nn.layer_cases import CASES, CAUSAL, CHANNELS, by_name, noise

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY_CAUSAL_CASE = pytest.mark.parametrize("case", CAUSAL, ids=str)
BLOCKS = [0, 1, 1, 2, 7, 63, 64, 65, 130, 300]
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}


def error(y, expected):
    assert y.shape == expected.shape
    return float((y - expected).norm() / expected.norm())


def streamed(layer, x, blocks, state=None):
    state = layer.init_state(len(x), dtype=x.dtype) if state is None else state
    parts = []
    for block in x.split(blocks, -1):
        y, state = layer.stream(block, state)
        parts.append(y)
    return torch.cat(parts, -1), state


def split(length, seed):
    """Random blocks that are `length` samples together."""
    generator = torch.Generator().manual_seed(seed)
    blocks = []
    while sum(blocks) < length:
        blocks.append(min(BLOCKS[int(torch.randint(len(BLOCKS), (), generator=generator))], length - sum(blocks)))
    return blocks


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("length", [50, 900])
@EVERY_CAUSAL_CASE
def test_is_the_whole_however_it_is_cut(case, length, dtype):
    layer, x = case.layer(dtype), noise(2, CHANNELS, length, dtype=dtype)
    for seed in range(3):
        assert error(streamed(layer, x, split(length, seed))[0], layer(x)) < TOLERANCE[dtype]
    sample = x[..., :150]
    assert error(streamed(layer, sample, 1)[0], layer(sample)) < TOLERANCE[dtype]


@EVERY_CAUSAL_CASE
def test_goes_on_after_prefill_a_file_and_by_items(case):
    layer, x = case.layer(), noise(3, CHANNELS, 600)
    whole = layer(x)
    state = layer.prefill(x[..., :400])
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    state = longconv_nn.map_state(lambda t: t[[2, 0]], state)
    y, state = streamed(layer, x[[2, 0], :, 400:], split(200, 1), state)
    assert error(y, whole[[2, 0], :, -(-400 // case.stride) :]) < TOLERANCE[torch.float32]
    assert not y.requires_grad


@EVERY_CAUSAL_CASE
def test_follows_its_parameters(case):
    layer, x = case.layer(), noise(1, CHANNELS, 100)
    before, _ = streamed(layer, x, 50)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.5)
    assert error(streamed(layer, x, 50)[0], layer(x)) < TOLERANCE[torch.float32]
    assert error(before, layer(x)) > 0.01


@EVERY_CAUSAL_CASE
def test_under_autocast(case):
    layer, x = case.layer(), noise(1, CHANNELS, 100)
    with torch.autocast("cpu", torch.bfloat16):
        assert error(streamed(layer, x, 30)[0].float(), layer(x).float()) < 0.03


@pytest.mark.parametrize("blocks", [1, 37, 400])
def test_state_space_models_give_the_same_by_recurrence_and_by_convolution(blocks):
    layer, x = by_name("s4d-lin").layer(torch.float64), noise(2, CHANNELS, 400, dtype=torch.float64)
    convolving = longconv_nn.S4D(CHANNELS, state_size=8, kernel_size=400).double()
    convolving.load_state_dict(layer.state_dict())
    assert error(streamed(layer, x, blocks)[0], streamed(convolving, x, blocks)[0]) < 1e-13
    assert error(layer(x), convolving(x)) < 1e-13


def test_items_of_a_strided_stream_must_stand_at_the_same_sample():
    layer = by_name("conv1d-groups").layer()
    states = [layer.prefill(noise(1, CHANNELS, n)) for n in (7, 8)]
    both = {"past": {k: torch.cat([s["past"][k] for s in states]) for k in states[0]["past"]}}
    both["phase"] = torch.cat([s["phase"] for s in states])
    with pytest.raises(ValueError, match="phase is 1 to 2"):
        layer.stream(noise(2, CHANNELS, 5), both)


@pytest.mark.parametrize("case", [case for case in CASES if not case.causal], ids=str)
def test_refuses_with_a_reason(case):
    with pytest.raises(ValueError, match="cannot stream: "):
        case.layer().init_state(1)


def test_random_kernels_are_refused():
    layer = longconv_nn.DepthwiseLongConv(CHANNELS, 10, dropout=0.5)
    with pytest.raises(ValueError, match=r"call eval\(\) before streaming"):
        layer.init_state(1)
    layer.eval().init_state(1)


def test_one_filter_for_all_channels_streams_one():
    layer = longconv_nn.FIRFilter(torch.tensor([1.0, 0.5]))
    x = noise(1, 1, 30)
    assert error(streamed(layer, x, 7)[0], layer(x)) < TOLERANCE[torch.float32]
    with pytest.raises(ValueError, match="channels"):
        layer.stream(noise(1, 2, 3), layer.init_state(1))
