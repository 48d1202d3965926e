"""Rows that no block holds, on a GPU, against float64: `pytest -m gpu`."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from gpu import DTYPES, HALF, SINGLE, decibels_below, needs_gpu, random

from longconv_audio import FilterSpectrum, long_conv

pytestmark = needs_gpu
LEAST = {SINGLE: 120.0, HALF: 55.0, torch.bfloat16: 40.0}
LENGTHS = [20_000, 32_768, 50_001, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 22, 10_000_000]


def decaying(filters: int, taps: int) -> torch.Tensor:
    return random(filters, taps, dtype=SINGLE, seed=9) * torch.exp(torch.linspace(0, -6, taps, device="cuda"))


def check(tensors: dict, dtype, **options) -> None:
    """y and every gradient against those of float64, through torch.fft."""
    given = {n: t.to(SINGLE if n in "kd" else dtype).requires_grad_() for n, t in tensors.items()}
    wide = {n: t.detach().double().requires_grad_() for n, t in given.items()}
    y, right = long_conv(**given, engine="cuda", **options), long_conv(**wide, engine="torch", **options)
    assert decibels_below(y, right) >= LEAST[dtype]
    dy = random(*y.shape, dtype=dtype, seed=5)
    got = torch.autograd.grad(y, list(given.values()), dy)
    wanted = torch.autograd.grad(right, list(wide.values()), dy.double())
    for name, a, b in zip(given, got, wanted, strict=True):
        assert decibels_below(a, b) >= LEAST[dtype] - (25 if name == "d" else 0), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("length", LENGTHS)
def test_every_length_with_its_gradients(length, dtype):
    rows = (1, 2, length)
    gates = {"pre_gate": random(*rows, seed=2), "post_gate": random(*rows, seed=3)}
    check({"u": random(*rows, seed=1), "k": decaying(2, length), "d": random(2), **gates}, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("taps", [2, 1000, 9000, 48_000, 288_000])
@pytest.mark.parametrize("mode", ["causal", "full", "same"])
def test_filters_shorter_than_their_rows(taps, mode, dtype):
    rows = (2, 3, 1_234_567)
    check({"u": random(*rows, seed=1), "k": decaying(1, taps), "pre_gate": random(*rows, seed=2)}, dtype, mode=mode)


@pytest.mark.parametrize("correlate", [False, True])
@pytest.mark.parametrize("mode", ["causal", "circular"])
@pytest.mark.parametrize("filters", [(1,), (2,), (4,), (3, 4)], ids=str)
def test_modes_and_sharing(filters, mode, correlate):
    k = decaying(1, 70_000).expand(*filters, 70_000) * torch.randn(*filters, 1, device="cuda")
    check({"u": random(3, 4, 40_000), "k": k}, SINGLE, mode=mode, correlate=correlate, offset=100)


@pytest.mark.parametrize("taps", [3000, 100_000])
def test_a_prepared_spectrum_gives_the_same(taps):
    k = decaying(2, taps)
    spectrum = FilterSpectrum(k, 3_000_000, offset=taps - 1, engine="cuda")
    for length in (3_000_000, 2_000_000, 50_000):
        u = random(1, 2, length, dtype=SINGLE)
        wanted = long_conv(u.double(), k.double(), offset=taps - 1)
        assert decibels_below(long_conv(u, spectrum, offset=taps - 1), wanted) >= LEAST[SINGLE]


def test_repeated_bit_for_bit():
    u, k, dy = (
        random(4, 3, 100_000, dtype=SINGLE).requires_grad_(),
        decaying(3, 100_000).requires_grad_(),
        random(4, 3, 100_000),
    )
    runs = []
    for _ in range(2):
        y = long_conv(u, k, engine="cuda")
        runs.append((y, *torch.autograd.grad(y, (u, k), dy.float())))
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_more_than_two_to_the_31_samples():
    u, k = random(3, 8, 90_000_000, dtype=HALF), decaying(8, 2000)
    y = long_conv(u, k, engine="cuda")
    wanted = long_conv(u[2:, 7:, -100_000:].double(), k[7:].double())
    assert decibels_below(y[2:, 7:, -90_000:], wanted[..., -90_000:]) >= LEAST[HALF]


def test_memory_is_that_of_the_rows_and_one_group():
    u, k = random(64, 8, 1 << 18, dtype=HALF), decaying(8, 1 << 18)
    long_conv(u, k, engine="cuda")
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    y = long_conv(u, k, engine="cuda")
    assert torch.cuda.max_memory_allocated() - before <= y.numel() * 2 + (320 << 20)


def test_graph():
    u, k = random(1, 2, 500_000, dtype=SINGLE), decaying(2, 30_000)
    wanted = long_conv(u, k, engine="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = long_conv(u, k, engine="cuda")
    graph.replay()
    assert torch.equal(y, wanted)
