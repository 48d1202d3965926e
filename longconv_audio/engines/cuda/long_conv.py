"""The long convolution by fused kernels: the functions of an engine, as `engines.selection` wants them.

A filter's spectrum is made anew by each call, in a kernel of its own, unless one was prepared: it depends on the mode,
the offset and the skip term, which is a tap like the others, as well as on the taps.
"""

from __future__ import annotations

import contextlib
import functools

import torch

from ..selection import Call
from . import backward_pass, forward_pass, long_pass, spectra, taps
from .errors import NoKernelError
from .gpus import Gpu, gpu_of
from .launch import available, launcher
from .operands import number_of, placed
from .plans import Sizes
from .specialisations import plan


def why_not(device, precision: str) -> str | None:
    """Why this engine cannot run on the device."""
    if precision == "double":
        return "the fused kernels are in half and single precision, not in double"
    return available(device)


def forward(call: Call, u, k, spectrum, d, pre_gate, post_gate) -> torch.Tensor:
    """The convolution with its gates and its skip term: see `torch_long_conv.forward`.

    Raises:
        NoKernelError: for rows beyond what any transform has room for.
        CompilerError, LaunchError: where a kernel cannot be compiled, loaded or started.
    """
    index = u.get_device()
    with _current(index):
        return _passes(call, u, k).convolve(launcher(index), call, u, k, spectrum, d, pre_gate, post_gate)


def backward(call: Call, needs, dy, u, k, spectrum, d, pre_gate, post_gate):
    """The gradients of u, k, d and the gates: see `torch_long_conv.backward`. Errors as of `forward`."""
    index = u.get_device()
    passes = long_pass if _passes(call, u, k) is long_pass else backward_pass
    with _current(index):
        return passes.gradients(launcher(index), call, needs, dy, u, k, spectrum, d, pre_gate, post_gate)


def prepare(call: Call, needs, u, k, spectrum, d, pre_gate, post_gate) -> None:
    """Compiles and loads every kernel, and makes every table, that `forward` and the gradients in `needs` take."""
    index = u.get_device()
    with _current(index):
        if _passes(call, u, k) is long_pass:
            return long_pass.prepare(launcher(index), call, needs, u, k, d, pre_gate, post_gate)
        forward_pass.prepare(launcher(index), call, u, k, spectrum, d, pre_gate, post_gate)
        if any(needs):
            backward_pass.prepare(launcher(index), call, needs, u, k, d, pre_gate, post_gate)


def filter_spectrum(call: Call, k: torch.Tensor, length: int) -> torch.Tensor:
    """The spectra of k `(..., F, K)` for calls on up to `length` samples, or exactly so many if circular."""
    index = k.get_device()
    passes = spectra if _fits_a_block(call, length, k.shape[-1], gpu_of(index)) else long_pass
    with _current(index):
        return passes.prepare_spectrum(launcher(index), call, k, length)


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
    return taps.serves(made, length, long_pass.points_of(spectrum), call, samples, filter_taps)


def _passes(call: Call, u, k):
    """The module that carries out a call: rows in one block, or longer ones."""
    fits = not u.numel() or _fits_a_block(call, u.shape[-1], k.shape[-1], gpu_of(u.get_device()))
    return forward_pass if fits else long_pass


@functools.lru_cache(maxsize=4096)
def _fits_a_block(call: Call, length: int, taps: int, gpu: Gpu) -> bool:
    try:
        plan(Sizes(number_of(call.precision, torch.float16), length, placed(call, length, taps).length), gpu)
    except NoKernelError:
        return False
    return True


def _current(index: int):
    """The device made torch's current one, for which nothing is to be done where it is."""
    return _NOTHING if torch.cuda.current_device() == index else torch.cuda.device(index)


_NOTHING = contextlib.nullcontext()
