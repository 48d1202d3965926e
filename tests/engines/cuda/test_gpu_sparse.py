"""Frequency-sparse convolutions on a GPU, through the fused kernels: `pytest -m gpu`."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from gpu import DTYPES, HALF, decibels_below, needs_gpu, random

from longconv_audio import FilterSpectrum, FrequencyMask, long_conv, prepare, sparsify
from longconv_audio.frequency_mask import BANDS

pytestmark = needs_gpu
# dB. Less than without a mask: half of what a masked filter makes is in imaginary parts that nobody asks for.
REQUIRED = {torch.float16: 56.0, torch.bfloat16: 42.0, torch.float32: 120.0}


def random_mask(points: int) -> FrequencyMask:
    """A third of the units as a whole, and of the others some bands."""
    generator = torch.Generator().manual_seed(points)
    blocks = torch.rand(FrequencyMask.units(points), BANDS, generator=generator) < 0.5
    if len(blocks) > 1:
        blocks[::3] = False
    return FrequencyMask(points, blocks).to("cuda")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("length", [500, 1024, 2048, 4000, 4096, 8191, 8192, 16384])
def test_call_and_gradients(length, dtype):
    mask = random_mask(1 << (length - 1).bit_length())
    k = random(3, length, dtype=torch.float32, seed=1) * torch.exp(torch.linspace(0, -6, length, device="cuda"))
    inputs = [random(5, 3, length, dtype=dtype), k, *(random(5, 3, length, dtype=dtype, seed=i) for i in (2, 3))]
    dy = random(5, 3, length, dtype=dtype, seed=4)
    compare(inputs, dy, mask, REQUIRED[dtype])


def compare(inputs, dy, mask, required: float) -> None:
    """The kernels' results against torch.fft's in float64."""
    results = []
    for engine, own in (("cuda", inputs), ("torch", [t.double() for t in inputs])):
        u, k, pre, post = (t.detach().requires_grad_() for t in own)
        y = long_conv(u, k, pre_gate=pre, post_gate=post, mask=mask, engine=engine)
        results.append([y, *torch.autograd.grad(y, (u, k, pre, post), dy.to(y.dtype))])
    for got, wanted in zip(*results, strict=True):
        assert decibels_below(got, wanted) >= required


def test_graph_with_a_mask():
    """Neither host nor device waits for the other: a graph can be captured, and replayed with other samples."""
    u, k, mask = random(4, 3, 4096), random(3, 4096, dtype=torch.float32, seed=1), random_mask(4096)
    prepare(u, k, mask=mask)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = long_conv(u, k, mask=mask)
    u.copy_(random(4, 3, 4096, seed=2))
    graph.replay()
    assert torch.equal(y, long_conv(u, k, mask=mask))


def test_prepared_spectrum_and_a_mask_of_energy():
    k = random(3, 4096, dtype=torch.float32)
    mask, report = sparsify(k, keep=0.25)
    assert mask.device == k.device
    assert report.skipped == 0.75
    u = random(4, 3, 4096, dtype=HALF, seed=1)
    spectrum = FilterSpectrum(k, 4096, mask=mask, precision="half")
    assert torch.equal(long_conv(u, spectrum), long_conv(u, k, mask=mask))
