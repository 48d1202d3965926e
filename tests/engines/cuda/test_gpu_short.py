"""Short convolutions on a GPU, through their kernels: `pytest -m gpu`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from gpu import DTYPES, HALF, SINGLE, decibels_below, needs_gpu, random
from test_gpu_sanitizer import SANITIZER
from torch.library import opcheck

from longconv_audio import short_conv

pytestmark = needs_gpu

# Results are rounded once: see tests/emulator/test_short.py.
REQUIRED = {HALF: 70.0, torch.bfloat16: 52.0, SINGLE: 125.0}
# Of sums in float32, whose terms may cancel: with many taps, in half precision, terms of gate dy as it is rounded.
OF_SUMS = {HALF: 64.0, torch.bfloat16: 46.0, SINGLE: 100.0}
LAYOUTS = pytest.mark.parametrize("channels_last", [False, True], ids=["time_dense", "channels_dense"])
EVERY_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def tensors_of(shape, taps: int, dtype, channels_last: bool = False, samples: int | None = None) -> dict:
    """Of a gated call with a bias, all requiring gradients."""
    batch, channels, length = shape
    samples = length if samples is None else samples

    def rows(samples, seed):
        size = (batch, samples, channels) if channels_last else (batch, channels, samples)
        return random(*size, dtype=dtype, seed=seed)

    made = {
        "u": rows(length, 1), "k": random(channels, taps, dtype=SINGLE, seed=2),
        "bias": random(channels, dtype=SINGLE, seed=3), "gate": rows(samples, 4),
    }  # fmt: skip
    return {name: t.requires_grad_() for name, t in made.items()}


def check(tensors: dict, **options) -> None:
    """y and all gradients against float64, and a second time bit for bit the same."""
    dtype = tensors["u"].dtype
    wide = {name: t.detach().double().requires_grad_() for name, t in tensors.items()}
    y, wanted = short_conv(**tensors, **options, engine="cuda"), short_conv(**wide, **options)
    assert y.dtype == dtype
    assert decibels_below(y, wanted) >= REQUIRED[dtype]
    dy = random(*y.shape, dtype=dtype, seed=5)
    got = torch.autograd.grad(y, tensors.values(), dy)
    right = torch.autograd.grad(wanted, wide.values(), dy.double())
    for name, one, other in zip(tensors, got, right, strict=True):
        assert one.dtype == tensors[name].dtype
        assert decibels_below(one, other) >= (REQUIRED if name in ("u", "gate") else OF_SUMS)[dtype], name
    again = torch.autograd.grad(short_conv(**tensors, **options, engine="cuda"), tensors.values(), dy)
    assert all(torch.equal(a, b) for a, b in zip(got, again, strict=True))


@EVERY_DTYPE
@LAYOUTS
@pytest.mark.parametrize("length", [100, 512, 1001, 4096])
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 7, 16, 33, 128])
def test_every_number_of_taps(taps, length, channels_last, dtype):
    check(tensors_of((5, 12, length), taps, dtype, channels_last), channels_last=channels_last)


@EVERY_DTYPE
@LAYOUTS
@pytest.mark.parametrize("correlate", [False, True])
@pytest.mark.parametrize(("left", "right"), [(2, 2), (1, 2), (0, 0), (4, 4), (9, 600), (-3, 2)])
def test_padding(left, right, correlate, channels_last, dtype):
    tensors = tensors_of((3, 70, 999), 5, dtype, channels_last, samples=999 + left + right - 4)
    check(tensors, padding=(left, right), correlate=correlate, channels_last=channels_last)


@EVERY_DTYPE
@LAYOUTS
@pytest.mark.parametrize("filters", [1, 4])
def test_shared_filters(filters, channels_last, dtype):
    tensors = tensors_of((3, 8, 700), 6, dtype, channels_last)
    tensors["k"] = random(filters, 6, dtype=SINGLE, seed=2).requires_grad_()
    check(tensors, channels_last=channels_last)


@EVERY_DTYPE
@LAYOUTS
def test_strides_of_every_kind(channels_last, dtype):
    """Samples and rows that lie apart, rows that begin anywhere, and shared ones."""
    plain = tensors_of((6, 4, 1000), 4, dtype, channels_last)
    y = short_conv(**plain, channels_last=channels_last)
    shape = plain["u"].shape
    apart = torch.zeros(*shape, 2, dtype=dtype, device="cuda")[..., 1].copy_(plain["u"].detach())
    moved = torch.zeros(*shape[:2], shape[2] + 3, dtype=dtype, device="cuda")[..., 3:].copy_(plain["u"].detach())
    for u in (apart, moved):
        assert torch.equal(short_conv(**{**plain, "u": u}, channels_last=channels_last), y)
    shared = {**plain, "gate": plain["gate"][:1].detach()}
    expanded = {**plain, "gate": plain["gate"][:1].detach().repeat(6, 1, 1)}
    one, other = (short_conv(**t, channels_last=channels_last) for t in (shared, expanded))
    assert torch.equal(one, other)


@LAYOUTS
def test_more_elements_than_32_bits_count(channels_last):
    if torch.cuda.mem_get_info()[0] < 40 * 2**30:
        pytest.skip("not 40 GB of memory")
    shape = (2, 2**20 + 5, 1028) if channels_last else (2, 1028, 2**20 + 5)
    u = random(*shape, dtype=HALF)
    k = random(1028, 4, dtype=SINGLE)
    y = short_conv(u, k, channels_last=channels_last)
    last = slice(-5000, None)
    if channels_last:
        part, tail = u[1:, last, -4:], y[1:, last, -4:]
    else:
        part, tail = u[1:, -4:, last], y[1:, -4:, last]
    wanted = short_conv(part.double(), k[-4:].double(), channels_last=channels_last)
    skipped = (slice(None), slice(3, None)) if channels_last else (slice(None), slice(None), slice(3, None))
    assert decibels_below(tail[skipped], wanted[skipped]) >= REQUIRED[HALF]


def test_operator():
    tensors = tensors_of((2, 4, 300), 4, SINGLE)
    opcheck(torch.ops.longconv_audio.short_conv.default, (*tensors.values(), 3, 0, False, False, None))


def test_compiles_and_is_captured():
    tensors = {name: t.detach() for name, t in tensors_of((2, 4, 300), 4, HALF).items()}
    target = short_conv(**tensors)
    torch.testing.assert_close(torch.compile(short_conv, fullgraph=True)(**tensors), target, rtol=0, atol=0)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = short_conv(**tensors)
    y.zero_()
    graph.replay()
    assert torch.equal(y, target)


PROGRAM = """
import torch
from longconv_audio import short_conv
for dtype in (torch.float16, torch.float32):
    for channels_last in (False, True):
        for length in (64, 501, 1100):
            shape = (3, length, 6) if channels_last else (3, 6, length)
            u, gate = (torch.randn(shape, device="cuda", dtype=dtype, requires_grad=True) for _ in range(2))
            k = torch.randn(6, 20, device="cuda", requires_grad=True)
            for options in ({}, {"gate": gate}):
                y = short_conv(u, k, mode="same", channels_last=channels_last, engine="cuda", **options)
                y.backward(torch.randn_like(y))
torch.cuda.synchronize()
assert torch.isfinite(k.grad).all()
print("computed")
"""


@pytest.mark.skipif(SANITIZER is None, reason="no compute-sanitizer")
@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
def test_sanitizer_finds_nothing(tool):
    # CUDA's own libraries ask the driver for functions that it may not have, which is no error of ours.
    options = ["--report-api-errors", "no"] if tool == "memcheck" else []
    command = [SANITIZER, "--tool", tool, "--error-exitcode", "9", *options, sys.executable, "-c", PROGRAM]
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=900)
    assert "computed" in done.stdout, done.stderr[-2000:]
    assert done.returncode == 0, done.stdout[-3000:]
