"""What the tests that need a GPU share."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
import generators
from generators import Case

from longconv_audio.engines.cuda import long_conv as engine
from longconv_audio.windows import window

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
HALF, SINGLE = torch.float16, torch.float32
# Of the fused kernels, forward and backward; torch.fft, whose filters' spectra are of float64, has 130 in float32.
REQUIRED = {**generators.REQUIRED, SINGLE: 125.0}


def reason() -> str | None:
    """Why there is no GPU that the fused kernels can run on."""
    if not torch.cuda.is_available():
        return "no GPU that torch can use"
    return engine.why_not(torch.device("cuda", 0), "single")


needs_gpu = [pytest.mark.gpu, pytest.mark.skipif(reason() is not None, reason=str(reason()))]


def on_gpu(tensors: dict) -> dict:
    """The same, requiring gradients."""
    return {name: t.detach().cuda().requires_grad_() for name, t in tensors.items()}


def decaying(tensors: dict) -> dict:
    """The same with taps that fall by 60 dB from a filter's first to its last."""
    taps = tensors["k"].shape[-1]
    return {**tensors, "k": tensors["k"] * 10 ** (-3 * torch.arange(taps, device=tensors["k"].device) / taps)}


def random(*shape, dtype=HALF, seed=0) -> torch.Tensor:
    """Noise of unit scale."""
    generator = torch.Generator("cuda").manual_seed(seed)
    return torch.randn(shape, generator=generator, device="cuda").to(dtype)


def decibels_below(got, wanted, power=None) -> float:
    """How far the error lies below what is wanted, or below a power that is given."""
    got, wanted = got.detach().double(), wanted.detach().double()
    noise = (got - wanted).square().sum()
    power = wanted.square().sum() if power is None else power.detach()
    return float(10 * torch.log10(power / noise)) if noise else float("inf")


def nothing(*tensors) -> bool:
    """Whether all are zero, but for what float64 transforms leave of exact zeros."""
    return all(not t.numel() or float(t.detach().abs().max()) < 1e-12 for t in tensors)


def skip_power(case: Case, tensors: dict, dy) -> torch.Tensor:
    """The power that an error of d's gradient is held against.

    It is a handful of numbers, each a sum of products of unrelated samples, whose sign is random: one that cancels
    says nothing of how exact the sum is. Its square is expected to be the sum of the products' squares. The error is
    a handful of numbers too. It is expected to be that of a tap of k's gradient, and the mean of four squares is more
    than 4 times what is expected of it once in 300 times (chi-square): so much it may be.
    """
    samples = case.u[-1]
    start = -window(case.mode, samples, case.k[-1], case.offset, case.correlate).first
    at_time_zero = (dy * tensors.get("post_gate", 1.0))[..., start : start + samples]
    return 4 * (at_time_zero * tensors["u"] * tensors.get("pre_gate", 1.0)).double().square().sum()
