"""The long convolution by fused kernels: the functions of an engine, as `engines.selection` wants them.

A filter's spectrum is made anew by each call, in a kernel of its own, unless one was prepared: it depends on the mode,
the offset and the skip term, which is a tap like the others, as well as on the taps.
"""

from __future__ import annotations

import contextlib
import functools

import torch

from ..selection import Call
from . import backward_pass, forward_pass, spectra
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


def why_not_call(call: Call, u, k, mask=None) -> str | None:
    """Why this engine, which can run on the device, has no kernel for a call; None where it has."""
    if not u.numel():
        return None
    points = 0 if mask is None else mask.shape[-1]
    return _why_no_kernel(call, u.dtype, u.shape[-1], k.shape[-1], points, gpu_of(k.get_device()))


def forward(call: Call, u, k, spectrum, d, pre_gate, post_gate, mask=None) -> torch.Tensor:
    """The convolution with its gates and its skip term: see `torch_long_conv.forward`.

    Raises:
        NoKernelError: where `why_not_call` has a reason.
        CompilerError, LaunchError: where a kernel cannot be compiled, loaded or started.
    """
    index = u.get_device()
    with _current(index):
        return forward_pass.convolve(launcher(index), call, u, k, spectrum, d, pre_gate, post_gate, mask)


def backward(call: Call, needs, dy, u, k, spectrum, d, pre_gate, post_gate, mask=None):
    """The gradients of u, k, d and the gates: see `torch_long_conv.backward`. Errors as of `forward`."""
    index = u.get_device()
    with _current(index):
        return backward_pass.gradients(launcher(index), call, needs, dy, u, k, spectrum, d, pre_gate, post_gate, mask)


def prepare(call: Call, needs, u, k, spectrum, d, pre_gate, post_gate, mask=None) -> None:
    """Compiles and loads every kernel, and makes every table, that `forward` and the gradients in `needs` take."""
    index = u.get_device()
    with _current(index):
        forward_pass.prepare(launcher(index), call, u, k, spectrum, d, pre_gate, post_gate, mask)
        if any(needs):
            backward_pass.prepare(launcher(index), call, needs, u, k, d, pre_gate, post_gate, mask)


def filter_spectrum(call: Call, k: torch.Tensor, length: int, mask=None) -> torch.Tensor:
    """The spectra of k `(..., F, K)` for calls on up to `length` samples, or exactly so many if circular."""
    index = k.get_device()
    with _current(index):
        return spectra.prepare_spectrum(launcher(index), call, k, length, mask)


def serves(spectrum: torch.Tensor, made: Call, length: int, call: Call, u, k, d) -> bool:
    """Whether a spectrum that was made for one call is right for another."""
    return d is None and spectra.serves(made, length, spectrum.shape[-1], call, u.shape[-1], k.shape[-1])


@functools.lru_cache(maxsize=4096)
def _why_no_kernel(call: Call, dtype: torch.dtype, length: int, taps: int, points: int, gpu: Gpu) -> str | None:
    number, out_length = number_of(call.precision, dtype), placed(call, length, taps).length
    try:
        plan(Sizes(number, length, out_length, least_points=points, sparse=points > 0), gpu)
    except NoKernelError as error:
        return str(error)
    return None


def _current(index: int):
    """The device made torch's current one, for which nothing is to be done where it is."""
    return _NOTHING if torch.cuda.current_device() == index else torch.cuda.device(index)


_NOTHING = contextlib.nullcontext()
