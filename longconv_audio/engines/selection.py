"""Which engine carries out a long convolution.

An engine is a module with these functions, all of plain tensors (see `torch_long_conv` for their arguments):

    why_not(device, precision)          why it cannot run there, in words, or None
    why_not_call(call, u, k, mask)      why it cannot carry out this call, or None (may be left out: it can)
    forward(call, u, k, spectrum, d, pre_gate, post_gate, mask) -> y
    backward(call, needs, dy, u, k, spectrum, d, pre_gate, post_gate, mask) -> five gradients, None where not needed
    prepare(call, needs, u, k, spectrum, d, pre_gate, post_gate, mask)   does all that only a first call does
    filter_spectrum(call, k, length, mask)   that of k in the engine's own order, for calls on up to `length` samples
    serves(spectrum, made, length, call, u, k, d)   whether one made for the call `made` is right for another
    tune(call, needs, u, k, spectrum, d, pre_gate, post_gate, mask)   times its ways and chooses; may be left out
    shortage(call, u, k, pre_gate, post_gate, backward)   what to say of memory that is not there, or None; likewise

Shapes and dtypes are checked before. Forward and backward pass choose for themselves, for nothing passes from one to
the other but the call's arguments; a prepared spectrum binds both to the engine that made it.
"""

from __future__ import annotations

import functools
import warnings
from typing import NamedTuple

from ..errors import LongconvError

# In the order in which they are asked where no engine is named.
ENGINES = ("cuda", "torch")


class EngineUnavailableError(LongconvError, RuntimeError):
    """The engine that was asked for cannot run here."""


class Call(NamedTuple):
    """What a long convolution is to do, besides its tensors: see `long_conv`."""

    mode: str
    offset: int
    correlate: bool
    precision: str


def choose(engine: str | None, device, precision: str, call: Call | None = None, u=None, k=None, mask=None):
    """The engine's name and module: of the one named, or of the first that can run on the device (and do the call).

    Raises:
        EngineUnavailableError: where the engine named cannot.
    """
    reason = None
    for name in ENGINES if engine is None else (engine,):
        module, reason = _ready(name, device, precision)
        if module is not None and call is not None and hasattr(module, "why_not_call"):
            reason = module.why_not_call(call, u, k, mask)
        if reason is None:
            return name, module
    raise EngineUnavailableError(f"engine={engine!r} cannot run on {device}: {reason}")


@functools.cache
def _ready(name: str, device, precision: str):
    """The engine's module and None, or None and the reason why it cannot run there; a GPU's reason is said once."""
    if name == "cuda" and device.type != "cuda":
        return None, "the fused kernels need an NVIDIA GPU"
    module = engine_module(name)
    reason = module.why_not(device, precision)
    if reason is not None and name == "cuda" and precision != "double":
        warnings.warn(f"long_conv runs through torch.fft on {device}: {reason}", stacklevel=2)
    return (module, None) if reason is None else (None, reason)


def engine_module(name: str):
    """The module of an engine, imported at its first use by a statement that torch.compile can trace."""
    if name == "cuda":
        from .cuda import long_conv as module
    else:
        from . import torch_long_conv as module
    return module
