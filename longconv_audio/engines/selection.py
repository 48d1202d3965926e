"""Which engine carries out a long convolution.

An engine is a module with three functions, all of plain tensors (see `torch_long_conv` for their arguments):

    forward(call, u, k, spectrum, d, pre_gate, post_gate) -> y
    backward(call, needs, dy, u, k, spectrum, d, pre_gate, post_gate) -> five gradients, None where not needed
    filter_spectrum(k, length, circular, precision) -> the spectrum, in the engine's own order

and `why_not(device, precision)`, which says in words why it cannot run there, or None. Shapes and dtypes are
checked before, and what an engine does not know it refuses through `why_not`.
"""

from __future__ import annotations

import functools
import importlib
from typing import NamedTuple

from ..errors import LongconvError

# In the order in which they are asked where no engine is named.
_MODULES = {"cuda": "cuda_long_conv", "torch": "torch_long_conv"}
ENGINES = tuple(_MODULES)


class EngineUnavailableError(LongconvError, RuntimeError):
    """The engine that was asked for cannot run here."""


class Call(NamedTuple):
    """What a long convolution is to do, besides its tensors: see `long_conv`."""

    mode: str
    offset: int
    correlate: bool
    precision: str


def choose(engine: str | None, device, precision: str):
    """The engine's module: the one named, or the first that can run on the device.

    Raises:
        EngineUnavailableError: where the engine named cannot run.
    """
    for name in ENGINES if engine is None else (engine,):
        module, reason = _load(name)
        reason = reason or module.why_not(device, precision)
        if reason is None:
            return module
    raise EngineUnavailableError(f"engine={engine!r} cannot run on {device}: {reason}")


@functools.cache
def _load(name: str):
    """The engine's module, or None and the reason why there is none."""
    path = f"{__package__}.{_MODULES[name]}"
    try:
        return importlib.import_module(path), None
    except ModuleNotFoundError as error:
        if error.name != path:
            raise
        return None, "this version of longconv-audio does not have the fused engine; use engine=None or engine='torch'"
