"""Pooling and U-Net stages: any length, any split, and nothing of what comes later."""

import pytest
import torch
from torch import nn

from longconv_audio.nn import streaming
from longconv_audio.nn.blocks import ResidualBlock
from longconv_audio.nn.pooling import DownPool, UNetStage, UpPool
from tests.nn.streams import Memory, difference, streamed

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def stage(pools=(3, 4), channels=2):
    pool, *rest = pools
    inner = stage(rest, 2 * channels) if rest else Memory(2 * channels, 5)
    return nn.Sequential(UNetStage(inner, channels, pool), ResidualBlock(Memory(channels, 9), channels)).double().eval()


def test_down_pool_is_a_linear_map_of_each_group():
    pool = DownPool(2, 5, 3).double()
    x = torch.randn(4, 2, 11, dtype=torch.float64)
    groups = x[..., :9].unflatten(-1, (3, 3))  # (B, C, groups, samples)
    expected = torch.einsum("bcgs,ocs->bog", groups, pool.conv.weight) + pool.conv.bias[:, None]
    torch.testing.assert_close(pool(x), expected, rtol=1e-12, atol=1e-12)


def test_up_pool_is_late_by_a_coarse_step():
    pool = UpPool(5, 2, 3).double()
    x = torch.randn(4, 5, 7, dtype=torch.float64)
    made = torch.einsum("bcm,cop->bomp", x, pool.conv.weight).flatten(2) + pool.conv.bias[:, None]
    expected = torch.cat([torch.zeros(4, 2, 3, dtype=torch.float64), made], -1)
    torch.testing.assert_close(pool(x), expected[..., :21], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(pool(x, 23), expected[..., :23], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("module", [DownPool(2, 5, 3), UpPool(2, 5, 3), UNetStage(nn.Identity(), 2, 4)], ids=repr)
def test_stream_of_the_parts_is_the_whole(module):
    module = module.double()
    x = torch.randn(3, 2, 70, dtype=torch.float64)
    assert difference(streamed(module, x), module(x).detach()) < 1e-13


@pytest.mark.parametrize("length", [1, 2, 3, 11, 12, 13, 100])
def test_stage_of_any_length_streams(length):
    unet = stage()
    x = torch.randn(2, 2, length, dtype=torch.float64)
    whole = unet(x).detach()
    assert whole.shape == x.shape
    assert difference(streamed(unet, x, seed=length), whole) < 1e-12


def test_stage_goes_on_after_a_prefill():
    module = stage()[0]
    x = torch.randn(2, 2, 90, dtype=torch.float64)
    assert difference(streamed(module, x, prefill=41), module(x)[..., 41:].detach()) < 1e-12


def test_stage_is_causal_and_looks_as_far_back_as_it_can():
    unet = stage()
    x = torch.randn(1, 2, 60, dtype=torch.float64, requires_grad=True)
    for place in (0, 17, 40, 59):
        (slope,) = torch.autograd.grad(unet(x)[0, :, place].sum(), x)
        assert slope[..., place].abs().max() > 1e-3
        assert not (slope[..., place + 1 :].abs() > 1e-14).any()
    assert slope[..., 12].abs().max() > 1e-6


def test_stage_of_no_samples():
    unet = stage()
    assert unet(torch.zeros(2, 2, 0, dtype=torch.float64)).shape == (2, 2, 0)


def test_gradients_where_there_is_no_coarse_step():
    unet = stage().train()
    unet(torch.randn(2, 2, 2, dtype=torch.float64)).sum().backward()


def test_items_at_different_places_are_refused():
    module = stage()[0]
    one, other = (module.prefill(torch.randn(1, 2, n, dtype=torch.float64)) for n in (5, 6))

    def joined(a, b):
        return {k: joined(a[k], b[k]) if isinstance(a[k], dict) else torch.cat([a[k], b[k]]) for k in a}

    with pytest.raises(ValueError, match=r"phase is \[2, 0\].*different places"):
        streaming.stream(module, torch.randn(2, 2, 4, dtype=torch.float64), joined(one, other))


@pytest.mark.parametrize("pool", [0, -1, 2.0])
def test_wrong_pool(pool):
    with pytest.raises(ValueError, match=f"pool is {pool}; expected"):
        DownPool(1, 1, pool)
