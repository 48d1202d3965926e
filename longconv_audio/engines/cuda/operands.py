"""A call's tensors in the form that kernels take, and what of them decides how the call is carried out."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

from ...windows import Window, window
from ..selection import Call

KINDS = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
_HALF = {torch.bfloat16: "bf16"}
_TURNS = 16  # of a circular filter that kernels add up in float32 and keep 125 dB


class Operands(NamedTuple):
    """A call's inputs.

    Args:
        u, pre_gate, post_gate: rows `(B, H or 1, time)` in the kernels' type, each row dense.
        filters: `(F, K)` or `(B, F, K)`, float32, dense; K is less than k's where that was `folded`.
        skips: for each filter its skip term, float32, dense; or None.
    """

    u: torch.Tensor
    pre_gate: torch.Tensor | None
    post_gate: torch.Tensor | None
    filters: torch.Tensor
    skips: torch.Tensor | None


class Geometry(NamedTuple):
    """All that a call's plan and the fixed part of its kernels' arguments depend on, beside the device.

    Args:
        call: mode, offset, direction and precision.
        number: the type of the rows, a key of `KINDS`.
        u_shape: `(B, H or 1, L)`.
        filters_shape: `(F, K)` or `(B, F, K)`.
        has_skips: whether filters have skip terms of their own.
        u, pre_gate, post_gate, dy: the strides of rows; None for those that the call has not.
        aligned: whether each of these begins on 16 bytes.
        points: of the transform of a spectrum or a mask that is there already, or 0.
        masked: whether there is a mask.
    """

    call: Call
    number: str
    u_shape: tuple
    filters_shape: tuple
    has_skips: bool
    u: tuple
    pre_gate: tuple | None
    post_gate: tuple | None
    dy: tuple | None
    aligned: bool
    points: int = 0
    masked: bool = False

    @property
    def batch(self) -> int:
        return self.u_shape[0]

    @property
    def channels(self) -> int:
        return self.filters_shape[-2] if self.u_shape[1] == 1 else self.u_shape[1]

    @property
    def length(self) -> int:
        return self.u_shape[2]

    @property
    def taps(self) -> int:
        return self.filters_shape[-1]

    @property
    def per_item(self) -> bool:
        """Whether each batch item has filters of its own."""
        return len(self.filters_shape) == 3

    @property
    def place(self) -> Window:
        return placed(self.call, self.length, self.taps)

    @property
    def direction(self) -> int:
        return -1 if self.call.correlate else 1

    @property
    def offset(self) -> int:
        return kernel_offset(self.place, self.call.correlate)

    @property
    def rows_aligned(self) -> bool:
        """Whether every row, of results too, begins on 16 bytes and is a multiple of 16 bytes long."""
        samples = 16 // KINDS[self.number].itemsize
        steps = [self.length, self.place.length]
        for strides in (self.u, self.pre_gate, self.post_gate, self.dy):
            steps += strides or ()
        return self.aligned and all(step % samples == 0 for step in steps)


def number_of(precision: str, dtype: torch.dtype) -> str:
    """The type that rows of a dtype are convolved in: what is not bfloat16 is float16 in half precision."""
    return "fp32" if precision == "single" else _HALF.get(dtype, "fp16")


@functools.lru_cache(maxsize=4096)
def placed(call: Call, length: int, taps: int) -> Window:
    """The window that the call opens on the response to `length` samples (at least one) of a filter."""
    return window(call.mode, length, taps, call.offset, call.correlate)


def kernel_offset(place: Window, correlate: bool) -> int:
    """The tap that meets an output sample's own place: kernels count lags from the first one, modes from time zero."""
    return place.origin + (-place.first if correlate else place.first)


def operands(call: Call, number: str, u, k, d, pre_gate, post_gate, prepared: bool = False) -> Operands:
    """The inputs of `torch_long_conv.forward` as kernels take them; what has that form already is not copied.

    Of filters whose spectra are `prepared`, and which have no skip terms therefore, nothing but the shape is asked.
    """
    kind = KINDS[number]
    filters = (k, None) if prepared else _filters(call, u, k, d)
    return Operands(rows(u, kind), rows(pre_gate, kind), rows(post_gate, kind), *filters)


def geometry(call: Call, number: str, x: Operands, spectrum=None, dy=None, mask=None) -> Geometry:
    """What `x`, a prepared spectrum or a mask, and for a backward pass y's gradient decide."""
    known = spectrum if mask is None else mask
    address = x.u.data_ptr()
    strides = [None, None, None]
    for i, t in enumerate((x.pre_gate, x.post_gate, dy)):
        if t is not None:
            address |= t.data_ptr()
            strides[i] = row_strides(t)
    return Geometry(
        call, number, x.u.shape, x.filters.shape, x.skips is not None, row_strides(x.u), *strides, address % 16 == 0,
        0 if known is None else known.shape[-1], mask is not None,
    )  # fmt: skip


def rows(t, kind: torch.dtype):
    """The rows in a type, the samples of each next to each other; None as None."""
    if t is None:
        return None
    t = cast(t, kind)
    return t if t.stride(-1) == 1 or t.shape[-1] == 1 else t.contiguous()


def cast(t, dtype: torch.dtype):
    """The tensor in a dtype. A call of `to` takes a microsecond even where there is nothing to do."""
    return t if t.dtype == dtype else t.to(dtype)


def folded(call: Call, k, length: int):
    """The taps in float32: of a circular filter that goes round many times, as many as the circle has.

    The kernel that makes spectra adds the turns up one after the other, and each sum is rounded. Here it is the last
    alone.
    """
    taps = k.shape[-1]
    if call.mode != "circular" or taps <= _TURNS * length:
        return cast(k, torch.float32)
    whole = taps - taps % length
    sums = k[..., :whole].unflatten(-1, (-1, length)).sum(-2, dtype=torch.float64)
    sums[..., : taps - whole] += k[..., whole:]
    return sums.to(torch.float32)


def row_strides(t) -> tuple[int, int]:
    """Elements from one batch item, and from one channel, to the next; 0 where there is no next."""
    batch, channel, _ = t.stride()
    items, channels, _ = t.shape
    return (0 if items == 1 else batch, 0 if channels == 1 else channel)


def _filters(call: Call, u, k, d):
    """The filters and, one for each, their taps at lag 0: in float32, dense.

    A skip term that differs between the channels of one filter makes it as many filters, and one that differs between
    batch items makes filters of the items' own.
    """
    batch, inputs, length = u.shape
    k = folded(call, k, length)
    if d is None:
        return k.contiguous(), None
    channels = k.shape[-2] if inputs == 1 else inputs
    d = cast(d, torch.float32)
    if d.ndim == 2 and (d.stride(0) == 0 or batch == 1):
        d = d[0]
    if d.ndim == 2 and k.ndim == 2:
        k = k.expand(batch, *k.shape)
    if k.ndim == 3 and d.ndim == 1:
        d = d.expand(batch, channels)
    if k.shape[-2] != channels:
        if d.stride(-1) == 0:
            d = d[..., : k.shape[-2]]
        else:
            k = k.repeat_interleave(channels // k.shape[-2], dim=-2)
    place = placed(call, length, k.shape[-1])
    if place.first:
        # The output begins at another time than the input, so lag 0 is not where the skip term belongs. The tap at
        # time zero is.
        k = k.clone(memory_format=torch.contiguous_format)
        k[..., place.origin] += d
        return k, None
    return k.contiguous(), d.contiguous()
