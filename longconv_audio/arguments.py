"""The arguments of `long_conv`, checked and brought to the one form that the operator takes."""

from __future__ import annotations

import operator
import reprlib

import torch

from .engines.selection import ENGINES
from .frequency_mask import FrequencyMask
from .operators import output_shape
from .windows import MODES

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# From the coarsest to the finest.
PRECISIONS = ("half", "single", "double")
_AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu")
_DEFAULT_PRECISION = {
    torch.float16: "half",
    torch.bfloat16: "half",
    torch.float32: "single",
    torch.float64: "double",
}


def check_tensors(**tensors) -> None:
    """Raises TypeError for what is no dense tensor of real floats, and ValueError for different devices."""
    first = None
    for name, t in tensors.items():
        if t is None:
            continue
        if not isinstance(t, torch.Tensor):
            raise TypeError(f"{name} is a {type(t).__name__}; expected a torch tensor")
        if t.layout is not torch.strided or t.is_nested:
            kind = "is nested" if t.is_nested else f"has layout {t.layout}"
            raise TypeError(f"{name} {kind}; expected a dense tensor, of layout torch.strided")
        if t.dtype not in FLOATS:
            raise TypeError(
                f"{name} of shape {_shape(t)} has dtype {t.dtype}; expected float16, bfloat16, float32 or float64"
            )
        first = first or (name, t.device)
        if t.device != first[1]:
            raise ValueError(
                f"{name} of shape {_shape(t)} is on {t.device} and {first[0]} on {first[1]}; expected one device"
            )


def check_options(mode, correlate, precision, engine) -> None:
    """Raises ValueError for a mode, precision or engine that does not exist, TypeError where correlate is no bool."""
    if not isinstance(correlate, bool):
        raise TypeError(f"correlate is {_text(correlate)}, a {type(correlate).__name__}; expected True or False")
    for name, value, known in (
        ("mode", mode, MODES),
        ("precision", precision, (None, *PRECISIONS)),
        ("engine", engine, (None, *ENGINES)),
    ):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(str, known))}")


def integer(name: str, value, meaning: str):
    """The value, an integer of any type, as an int (or torch's symbolic one). Raises TypeError for what is none."""
    if isinstance(value, (int, torch.SymInt)) and not isinstance(value, bool):
        return value
    if not isinstance(value, bool) and not (isinstance(value, torch.Tensor) and value.dtype == torch.bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise TypeError(f"{name} is {_text(value)}, a {type(value).__name__}; expected an integer, {meaning}")


def check_offset(offset, k) -> int:
    """The offset as an int. Raises TypeError where it is no integer, and ValueError where it is no tap's index."""
    offset = integer("offset", offset, "the index of a tap")
    if not 0 <= offset < k.shape[-1]:
        raise ValueError(
            f"offset is {offset} and k has shape {_shape(k)}; expected the index of a tap, 0 to {k.shape[-1] - 1}"
        )
    return offset


def check_mask(mask, device) -> None:
    """Raises TypeError for what is no mask, and ValueError for one on another device."""
    if mask is None:
        return
    if not isinstance(mask, FrequencyMask):
        raise TypeError(f"mask is a {type(mask).__name__}; expected a FrequencyMask: see FrequencyMask.from_bins")
    if mask.device != device:
        raise ValueError(f"mask is on {mask.device} and the signals on {device}; expected one device: use mask.to")


def check_mask_holds(mask, samples, out_samples) -> None:
    """Raises ValueError for rows that are longer than the mask's transform, in or out."""
    if mask is not None and max(samples, out_samples) > mask.points:
        raise ValueError(
            f"mask has {mask.points} points, and rows have {samples} samples and {out_samples} in the output; expected "
            "a mask of at least as many points"
        )


def check_filter(k) -> None:
    """Raises ValueError for a filter of the wrong rank or of no taps."""
    if k.ndim not in (2, 3):
        raise ValueError(f"k has shape {_shape(k)}; expected (filters, taps) or (batch, filters, taps)")
    if k.shape[-1] == 0:
        raise ValueError(f"k has shape {_shape(k)}; expected at least one tap")


def default_precision(dtype: torch.dtype) -> str:
    """The precision that a signal of the dtype is convolved in where none is asked for."""
    return _DEFAULT_PRECISION[dtype]


def autocast(*tensors):
    """The tensors as autocast wants them, where it is on: single and half precision in its own dtype, None as None."""
    device = tensors[0].device.type
    # torch.amp.is_autocast_available would say which devices have it, but torch.compile of 2.11 breaks on it.
    if device not in _AUTOCAST_DEVICES or not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(t if t is None or t.dtype == torch.float64 else t.to(dtype) for t in tensors)


def broadcast(u, k, d, pre_gate, post_gate, mode: str):
    """u, k, d and the gates in the operator's form: nothing is copied, shared axes get a stride of 0.

    Raises:
        TypeError: for gates of another dtype than u's.
        ValueError: for wrong ranks, and for sizes that do not fit each other.
    """
    if u.ndim != 3:
        raise ValueError(f"u has shape {_shape(u)}; expected (batch, channels, samples)")
    check_filter(k)
    for name, gate in (("pre_gate", pre_gate), ("post_gate", post_gate)):
        if gate is not None and gate.dtype != u.dtype:
            raise TypeError(
                f"{name} of shape {_shape(gate)} has dtype {gate.dtype} and u {u.dtype}; expected one dtype"
            )
    if pre_gate is not None:
        u, pre_gate = _both_ways(u, pre_gate)
    if k.ndim == 3:
        u, k, pre_gate = _batches(u, k, pre_gate)
    channels, filters = u.shape[1], k.shape[-2]
    if channels != 1 and (channels if filters == 0 else channels % filters):
        raise ValueError(
            f"u has shape {_shape(u)} and k {_shape(k)}; expected a number of filters that divides u's {channels} "
            f"channels, or one channel"
        )
    shape = output_shape(u, k, mode)
    if post_gate is not None:
        post_gate = expand("post_gate", post_gate, shape, "y's shape")
    if d is not None:
        if d.ndim > 2:
            raise ValueError(f"d has shape {_shape(d)}; expected (channels,) or (batch, channels)")
        d = expand("d", d, shape[:2] if d.ndim == 2 else shape[1:2], "y's channels")
    return u, k, d, pre_gate, post_gate


def _batches(u, k, pre_gate):
    """One filter for all batch items, or one input for the filters of all."""
    if k.shape[0] == u.shape[0]:
        return u, k, pre_gate
    if k.shape[0] == 1:
        return u, k.squeeze(0), pre_gate
    if u.shape[0] != 1:
        raise ValueError(f"u has shape {_shape(u)} and k {_shape(k)}; expected as many batch items in both, or one")
    batch = (k.shape[0], *u.shape[1:])
    return u.expand(batch), k, None if pre_gate is None else pre_gate.expand(batch)


def _both_ways(u, pre_gate):
    """u and its gate in their common shape, in which u keeps its length."""
    if pre_gate.shape == u.shape:
        return u, pre_gate
    shape = tuple(pre_gate.shape)
    if len(shape) <= 3:
        shape = (1,) * (3 - len(shape)) + shape
        common = [n if m == 1 else m for n, m in zip(u.shape, shape, strict=True)]
        fits = all(m in (1, n) or n == 1 for n, m in zip(u.shape, shape, strict=True))
        if fits and common[2] == u.shape[2]:
            return u.expand(common), pre_gate.expand(common)
    raise ValueError(f"pre_gate has shape {_shape(pre_gate)} and u {_shape(u)}; expected shapes that broadcast")


def expand(name: str, t, shape, what: str):
    """The tensor in the shape, shared axes with a stride of 0. Raises ValueError where it does not broadcast to it."""
    if t.shape == shape:
        return t
    if t.ndim > len(shape) or any(n not in (1, m) for n, m in zip(t.shape[::-1], shape[::-1], strict=False)):
        raise ValueError(f"{name} has shape {_shape(t)}; expected a shape that broadcasts to {what}, {_shape(shape)}")
    return t.expand(shape)


def _shape(t) -> str:
    sizes = t.shape if isinstance(t, torch.Tensor) else t
    return f"({', '.join(str(n) for n in sizes)}{',' if len(sizes) == 1 else ''})"


def _text(value) -> str:
    """The value in a few words, on one line."""
    return " ".join(reprlib.repr(value).split())
