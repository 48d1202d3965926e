"""The operator's cases on a GPU, through the fused kernels: `pytest -m gpu`."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from generators import CASES, REQUIRED, Case, expected

from longconv_audio import long_conv
from longconv_audio.engines.cuda import long_conv as engine

# One row length for each size of transform and each way a row is held, aligned and not.
LENGTHS = (100, 256, 500, 1000, 1024, 2048, 4000, 8192, 16384)


def reason() -> str | None:
    if not torch.cuda.is_available():
        return "no GPU that torch can use"
    return engine.why_not(torch.device("cuda", 0), "single")


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(reason() is not None, reason=str(reason()))]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def on_gpu(tensors: dict) -> dict:
    """The same, requiring gradients."""
    return {name: t.detach().cuda().requires_grad_() for name, t in tensors.items()}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward(case, dtype):
    tensors = case.tensors(dtype)
    wanted = expected(case, tensors)
    got = long_conv(**on_gpu(tensors), **case.options, engine="cuda").detach().double().cpu().numpy()
    assert np.sum((got - wanted) ** 2) <= np.sum(wanted**2) * 10 ** (0.1 * (6 - REQUIRED[dtype]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("length", LENGTHS)
def test_every_size_with_its_gradients(length, dtype):
    rows = (5, 4, length)
    case = Case(rows, (4, length), d=(4,), pre_gate=rows, post_gate=rows)
    tensors = on_gpu(case.tensors(dtype))
    wide = {name: t.detach().double().requires_grad_() for name, t in tensors.items()}
    y, wanted = long_conv(**tensors, engine="cuda"), long_conv(**wide, engine="torch")
    dy = torch.randn_like(y)
    got = torch.autograd.grad(y, tensors.values(), dy)
    right = torch.autograd.grad(wanted, wide.values(), dy.double())
    for name, one, other in zip(("y", *tensors), (y, *got), (wanted, *right), strict=True):
        noise, signal = (one.double() - other).square().sum(), other.square().sum()
        assert noise <= signal * 10 ** (0.1 * (10 - REQUIRED[dtype])), name
    again = torch.autograd.grad(long_conv(**tensors, engine="cuda"), tensors.values(), dy)
    assert all(torch.equal(a, b) for a, b in zip(got, again, strict=True))
