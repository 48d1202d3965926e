"""The engine's forward pass, run by the emulator in place of a GPU, on the operator's own cases."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))
import emulated
from generators import CASES, REQUIRED, Case, expected

from longconv_audio.arguments import broadcast, default_precision
from longconv_audio.engines import torch_long_conv
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


def test_prepared_spectrum(monkeypatch):
    for dtype in (torch.float32, torch.float16):
        on = emulated.EmulatedLauncher()
        case = Case((2, 3, 40), (3, 9))
        k = case.tensors(dtype)["k"]
        precision = default_precision(dtype)
        spectrum = long_conv.prepare(on, k, 600, False, precision)  # for longer signals too
        made = len(on.launches)
        check(case, dtype, on, spectrum)
        assert not [kernel for kernel, _ in on.launches[made:] if "filter_spectrum" in kernel.name]
        check(Case((2, 3, 40), (3, 9), offset=2), dtype, on, spectrum)  # not what it was prepared for, and right
        circular = long_conv.prepare(on, k, 40, True, precision)
        check(Case((2, 3, 40), (3, 9), mode="circular"), dtype, on, circular)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_more_rows_than_a_grid_has(dtype, monkeypatch):
    monkeypatch.setattr(long_conv, "GRID_Y", 2)
    for case in (Case((5, 2, 24), (5, 1, 9), pre_gate=(5, 2, 24)), Case((5, 2, 24), (2, 9), d=(5, 2))):
        on = emulated.EmulatedLauncher()
        check(case, dtype, on)
        check_gradients(case, dtype, on)


@pytest.mark.parametrize("case", SINGLE, ids=str)
def test_gradients_single(case):
    check_gradients(case, torch.float32)


@pytest.mark.parametrize("case", HALF, ids=str)
def test_gradients_half(case):
    check_gradients(case, torch.float16)


def test_gradients_of_rows_that_half_precision_has_no_room_for(monkeypatch):
    monkeypatch.setattr(long_conv, "_NUMBERS", {torch.float16: "fp16"})
    on = emulated.EmulatedLauncher("sm_80")
    case = Case((1, 1, 16384), (1, 5))
    check_gradients(case, torch.float16, on)
    assert any("single::convolve_backward" in kernel.name for kernel, _ in on.launches)


def check_gradients(case: Case, dtype, on=None):
    """Against torch.fft in float64, all of them and each alone."""
    tensors = case.tensors(dtype)
    names = ("u", "k", "d", "pre_gate", "post_gate")
    inputs = broadcast(*(tensors.get(name) for name in names), case.mode)
    wide = [None if t is None else t.double() for t in inputs]
    shape = torch_long_conv.forward(call_of(case, "double"), wide[0], wide[1], None, *wide[2:]).shape
    dy = torch.randn(shape, generator=torch.Generator().manual_seed(5)).to(dtype)
    needs = [t is not None for t in inputs]
    wanted = torch_long_conv.backward(
        call_of(case, "double"), needs, dy.double(), wide[0], wide[1], None, *wide[2:]
    )  # fmt: skip
    call = call_of(case, default_precision(dtype))
    got = long_conv.gradients(on or emulated.EmulatedLauncher(), call, needs, dy, *inputs)
    for name, t, one, other in zip(names, inputs, got, wanted, strict=True):
        if t is None:
            assert one is None
            continue
        assert (one.shape, one.dtype) == (t.shape, t.dtype), name
        # A handful of samples does not average, and sums that cancel are smaller than their terms.
        noise, signal = float((one.double() - other).square().sum()), float(other.square().sum())
        floor = 0 if name != "d" else float(dy.double().square().sum()) * 1e-2
        assert noise <= (signal + floor) * 10 ** (0.1 * (10 - REQUIRED[dtype])), name
