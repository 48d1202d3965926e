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
    return float((y - expected).detach().norm() / expected.detach().norm())


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


@pytest.mark.parametrize("blocks", [1, 3, 64])
def test_recurrence_does_not_drift(blocks):
    """Slow resonances, whose past is some thousands of steps long, against the sums in float64."""
    torch.manual_seed(0)
    layer, x = longconv_nn.S4D(2, 8, dt_min=0.001, dt_max=0.001).eval(), noise(1, 2, 6000)
    with torch.no_grad():
        layer.log_decay.fill_(-3.0)
    y = streamed(layer, x, blocks)[0]
    assert error(y.double(), by_name("s4d-lin").oracle(layer, x)) < 5e-7


@EVERY_CAUSAL_CASE
def test_of_no_sequences(case):
    layer = case.layer()
    for block in (1, 5):
        assert len(layer.stream(noise(0, CHANNELS, block), layer.init_state(0))[0]) == 0


@EVERY_CAUSAL_CASE
def test_another_batch_is_refused(case):
    layer = case.layer()
    for state, block in ((1, 3), (3, 1)):
        for n in (1, 5):
            with pytest.raises(ValueError, match="block"):
                layer.stream(noise(block, CHANNELS, n), layer.init_state(state))


def _through_data(layer):
    for parameter in layer.parameters():
        parameter.data.mul_(0.5)


def _fused(layer):
    optimizer = torch.optim.AdamW(layer.parameters(), 0.5, fused=True)
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def _there_and_back(layer):
    for _ in range(3):
        for parameter in layer.parameters():
            parameter.data = parameter.data * 1.2


@pytest.mark.parametrize("change", [_through_data, _fused, _there_and_back])
@EVERY_CAUSAL_CASE
def test_a_new_stream_follows_changes_that_torch_does_not_count(case, change):
    layer, x = case.layer(), noise(1, CHANNELS, 100)
    before, _ = streamed(layer, x, 50)
    change(layer)
    assert error(streamed(layer, x, 50)[0], layer(x)) < TOLERANCE[torch.float32]
    assert error(before, layer(x)) > 0.01


@EVERY_CAUSAL_CASE
def test_made_in_inference_mode(case):
    with torch.inference_mode():
        layer, x = case.layer(), noise(1, CHANNELS, 100)
        assert error(streamed(layer, x, [1] * 3 + [97])[0], layer(x)) < TOLERANCE[torch.float32]


def test_what_a_prefill_takes_is_not_kept():
    layer = by_name("s4d-lin").layer()
    layer.prefill(noise(1, CHANNELS, 20_000))
    assert not layer.prepared("blocks", dict)
    layer.stream(noise(1, CHANNELS, 50), layer.init_state(1))
    assert len(layer.prepared("blocks", dict)) == 1
