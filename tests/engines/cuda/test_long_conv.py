"""The engine's forward pass, run by the emulator in place of a GPU, on the operator's own cases."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
import emulated
from generators import CASES, REQUIRED, Case, expected

from longconv_audio.arguments import broadcast, default_precision
from longconv_audio.engines.cuda import long_conv
from longconv_audio.engines.selection import Call

pytestmark = pytest.mark.skipif(emulated.harness.compiler() is None, reason="no C++ compiler for the emulator")

# Few and small, for each specialisation takes the host's compiler seconds; what kernels can do, tests/emulator shows.
SINGLE = CASES
HALF = [c for c in CASES if c.post_gate is None or c.pre_gate is not None]


def call_of(case: Case, precision: str) -> Call:
    return Call(case.mode, case.offset, case.correlate, precision)


def run(case: Case, tensors: dict, on=None, spectrum=None):
    names = ("u", "k", "d", "pre_gate", "post_gate")
    u, k, d, pre, post = broadcast(*(tensors.get(name) for name in names), case.mode)
    call = call_of(case, default_precision(u.dtype))
    return long_conv.convolve(on or emulated.EmulatedLauncher(), call, u, k, spectrum, d, pre, post)


def check(case: Case, dtype, on=None, spectrum=None):
    tensors = case.tensors(dtype)
    wanted = expected(case, tensors)
    got = run(case, tensors, on, spectrum)
    assert got.dtype == dtype
    assert got.shape == wanted.shape
    noise = np.sum((got.double().numpy() - wanted) ** 2)
    # A handful of samples does not average: their rounding may lie 6 dB above the mean.
    assert noise <= np.sum(wanted**2) * 10 ** (0.1 * (6 - REQUIRED[dtype]))


@pytest.mark.parametrize("case", SINGLE, ids=str)
def test_single(case):
    check(case, torch.float32)


@pytest.mark.parametrize("case", HALF, ids=str)
def test_half(case):
    check(case, torch.float16)


def test_bfloat16():
    check(Case((2, 3, 40), (3, 9), pre_gate=(2, 3, 40), post_gate=(2, 3, 40)), torch.bfloat16)
