"""The long convolution by fused kernels: the functions of an engine, as `engines.selection` wants them.

A filter's spectrum is made anew by each call, in a kernel of its own, unless one was prepared: it depends on the mode,
the offset and the skip term, which is a tap like the others, as well as on the taps.
"""

from __future__ import annotations

import functools

import torch

from ..selection import Call
from . import (
    backward_pass,
    calibration,
    forward_pass,
    long_cuts,
    long_pass,
    long_plans,
    long_questions,
    long_tuning,
    spectra,
    taps,
)
from .errors import NoKernelError
from .gpus import Gpu, gpu_of
from .launch import available, current, launcher
from .operands import number_of, placed
from .plans import Sizes
from .specialisations import plan
from .taps import lags_of as linear_lags


def why_not(device, precision: str) -> str | None:
    """Why this engine cannot run on the device."""
    if precision == "double":
        return "the fused kernels are in half and single precision, not in double"
    return available(device)


def why_not_call(call: Call, u, k, mask=None) -> str | None:
    """Why this engine, which can run on the device, has no kernel for a call; None where it has."""
    if not (u.numel() and k.shape[-2]):
        return None
    gpu = gpu_of(k.get_device())
    if mask is None:
        return _why_no_cut(call, u.shape[-1], k.shape[-1], gpu)
    if _fits_a_block(call, u.shape[-1], k.shape[-1], gpu, mask.shape[-1]):
        return None
    return f"a mask of {mask.shape[-1]} points does not fit one block of {gpu.arch} in {call.precision} precision"


def forward(call: Call, u, k, spectrum, d, pre_gate, post_gate, mask=None) -> torch.Tensor:
    """The convolution with its gates and its skip term: see `torch_long_conv.forward`.

    Raises:
        NoKernelError: for rows beyond what any transform has room for.
        CompilerError, LaunchError: where a kernel cannot be compiled, loaded or started.
    """
    index = u.get_device()
    with current(index):
        return _passes(call, u, k).convolve(
            launcher(index), call, u, k, spectrum, d, pre_gate, post_gate, *_given(mask)
        )


def backward(call: Call, needs, dy, u, k, spectrum, d, pre_gate, post_gate, mask=None):
    """The gradients of u, k, d and the gates: see `torch_long_conv.backward`. Errors as of `forward`."""
    index = u.get_device()
    passes = long_pass if _passes(call, u, k) is long_pass else backward_pass
    with current(index):
        return passes.gradients(launcher(index), call, needs, dy, u, k, spectrum, d, pre_gate, post_gate, *_given(mask))


def prepare(call: Call, needs, u, k, spectrum, d, pre_gate, post_gate, mask=None) -> None:
    """Compiles and loads every kernel, and makes every table, that `forward` and the gradients in `needs` take."""
    index = u.get_device()
    with current(index):
        if _passes(call, u, k) is long_pass:
            return long_pass.prepare(launcher(index), call, needs, u, k, spectrum, d, pre_gate, post_gate)
        forward_pass.prepare(launcher(index), call, u, k, spectrum, d, pre_gate, post_gate, mask)
        if any(needs):
            backward_pass.prepare(launcher(index), call, needs, u, k, d, pre_gate, post_gate, mask)


def tune(call: Call, needs, u, k, spectrum, d, pre_gate, post_gate, mask=None) -> None:
    """Times the ways to carry out `forward`, and the gradients in `needs`, and goes on with the fastest.

    There is something to choose where rows are in no block by themselves and no spectrum is there already.
    """
    index = u.get_device()
    if spectrum is None and mask is None and _passes(call, u, k) is long_pass:
        name = " ".join(calibration.identity(index))
        with current(index):
            long_tuning.tune(launcher(index), call, needs, u, k, d, pre_gate, post_gate, name)


def shortage(call: Call, u, k, pre_gate, post_gate, backward: bool) -> str | None:
    """What is to be said of a call that its device has no memory for: what it needs, what there is, and what fits.

    None where the planner says that there is enough, for the reason is another then.
    """
    index, tensors = u.get_device(), [t for t in (u, k, pre_gate, post_gate) if t is not None]
    return long_questions.shortage(
        call, u, k, pre_gate, post_gate, backward, calibration.published(index), _left(index) + _bytes(tensors)
    )


def filter_spectrum(call: Call, k: torch.Tensor, length: int, mask=None) -> torch.Tensor:
    """The spectra of k `(..., F, K)` for calls on up to `length` samples, or exactly so many if circular."""
    index = k.get_device()
    passes = spectra if _fits_a_block(call, length, k.shape[-1], gpu_of(index)) else long_pass
    with current(index):
        return passes.prepare_spectrum(launcher(index), call, k, length, *_given(mask))


def serves(spectrum: torch.Tensor, made: Call, length: int, call: Call, u, k, d) -> bool:
    """Whether a spectrum that was made for one call is right for another."""
    if d is not None:
        return False
    samples, filter_taps, gpu = u.shape[-1], k.shape[-1], gpu_of(spectrum.get_device())
    short, fits = (_fits_a_block(c, n, filter_taps, gpu) for c, n in ((made, length), (call, samples)))
    if short != fits:
        return False
    if short:
        return spectra.serves(made, length, spectrum.shape[-1], call, samples, filter_taps)
    return taps.serves(made, length, long_questions.points_of(spectrum), call, samples, filter_taps)


@functools.lru_cache(maxsize=4096)
def _why_no_cut(call: Call, length: int, taps: int, gpu: Gpu) -> str | None:
    """Why rows are too long for every transform; None where one block or several passes convolve them."""
    if _fits_a_block(call, length, taps, gpu):
        return None
    lags = linear_lags(call, length, taps)
    precision = "half" if call.precision == "half" else "single"
    return None if long_cuts.cuts(lags, gpu, precision) else str(long_plans.too_long(lags))


def _left(index: int) -> int:
    """Bytes of a device's memory that a call could have: those that nobody has, and those that torch keeps unused."""
    free, _ = torch.cuda.mem_get_info(index)
    return free + torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)


def _bytes(tensors) -> int:
    """Of memory that tensors are in; what they share is counted once."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def _given(mask) -> tuple:
    """The mask, where there is one: `why_not_call` sees to it that its rows are in one block then."""
    return () if mask is None else (mask,)


def _passes(call: Call, u, k):
    """The module that carries out a call: rows in one block, or longer ones."""
    fits = not (u.numel() and k.shape[-2]) or _fits_a_block(call, u.shape[-1], k.shape[-1], gpu_of(u.get_device()))
    return forward_pass if fits else long_pass


@functools.lru_cache(maxsize=4096)
def _fits_a_block(call: Call, length: int, taps: int, gpu: Gpu, points: int = 0) -> bool:
    """Whether rows of a call do, under a mask of so many points, if not 0."""
    number, out_length = number_of(call.precision, torch.float16), placed(call, length, taps).length
    try:
        plan(Sizes(number, length, out_length, least_points=points, sparse=points > 0), gpu)
    except NoKernelError:
        return False
    return True
