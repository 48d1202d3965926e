"""Filters of every mode as linear ones whose taps are all seen, which long rows take; and their gradients back."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ...windows import shift, taps_that_count
from ..selection import Call
from .long_plans import Lags
from .operands import folded, kernel_offset, placed


class Taps(NamedTuple):
    """Filters, or their gradients, `(..., F, K)` in float32, dense, and where their taps stand: see `Lags`."""

    k: torch.Tensor
    offset: int
    direction: int


def linear_taps(call: Call, k, skips, length: int) -> Taps:
    """Filters `(..., F, K)` for rows of so many samples, each with the skip term of its own, or with none."""
    place = placed(call, length, k.shape[-1])
    if skips is not None:
        k = torch.nn.functional.pad(k, (0, max(place.origin + 1 - k.shape[-1], 0)))
        k[..., place.origin] += skips
    low, high, offset, direction = _layout(call, place, length, k.shape[-1])
    if call.mode != "circular":
        return Taps(k[..., low:high].contiguous(), offset, direction)
    k = folded(call, k, length)
    circle = torch.nn.functional.pad(k, (0, -k.shape[-1] % length)).unflatten(-1, (-1, length)).sum(-2)
    return Taps(circle[..., _around(call, length, k.device)].contiguous(), offset, direction)


def no_taps(call: Call, shape, length: int, device) -> Taps:
    """Zeros to which gradients of linear taps can be added, of filters of this shape."""
    low, high, offset, direction = _layout(call, placed(call, length, shape[-1]), length, shape[-1])
    return Taps(torch.zeros(*shape[:-1], high - low, device=device), offset, direction)


def tap_gradients(call: Call, linear, taps: int, length: int) -> torch.Tensor:
    """The gradient of filters with so many taps, from that of their linear form."""
    low, high, *_ = _layout(call, placed(call, length, taps), length, taps)
    if call.mode != "circular":
        return torch.nn.functional.pad(linear, (low, taps - high))
    # Each place of the circle is met at two lags, the second a turn before the first, but for lag 0.
    tap = torch.arange(length, device=linear.device)
    first = ((tap - call.offset) * (-1 if call.correlate else 1)) % length
    circle = linear[..., first + length - 1] + linear[..., first - 1].where(first > 0, 0.0)
    return circle[..., torch.arange(taps, device=linear.device) % length]


def lags_of(call: Call, length: int, taps: int, linear: Taps | None = None) -> Lags:
    """Which samples filters with so many taps join, or the linear form that they have with their skip terms."""
    place = placed(call, length, taps)
    low, high, offset, direction = _layout(call, place, length, taps)
    if linear is not None:
        low, high, offset = 0, linear.k.shape[-1], linear.offset
    return Lags(length, place.length, high - low, offset, direction)


def serves(made: Call, length: int, points: int, call: Call, samples: int, taps: int) -> bool:
    """Whether a spectrum of `points` that was prepared for a call on `length` samples is right for another.

    It is where no output meets an input through a tap that it has beside those of the call: not on so many points or
    fewer samples. The spectra of tiles have their taps elsewhere than those of whole rows.
    """
    if (made.mode == "circular" or call.mode == "circular") and (made, length) != (call, samples):
        return False
    here, there = placed(call, samples, taps), placed(made, length, taps)
    if (made.precision, made.correlate) != (call.precision, call.correlate):
        return False
    if kernel_offset(here, call.correlate) != kernel_offset(there, made.correlate):
        return False
    here, there = lags_of(call, samples, taps), lags_of(made, length, taps)
    whole = here.samples <= 2 * points
    if here.out_length > there.out_length:
        return False
    if (there.samples > 2 * points) if whole else (there.samples <= 2 * points):
        return False
    return here.latest <= there.latest and here.earliest <= there.earliest if whole else here.seen == there.seen


def _layout(call: Call, place, length: int, taps: int) -> tuple[int, int, int, int]:
    """The taps that are seen, and where the linear ones stand: offset and direction. In a circle lags are both ways."""
    if call.mode == "circular":
        return 0, 2 * length - 1, length - 1, 1
    low, high = taps_that_count(shift(place, call.correlate), place.length, length, taps, call.correlate)
    return low, high, kernel_offset(place, call.correlate) - low, -1 if call.correlate else 1


def _around(call: Call, length: int, device):
    """The taps on the circle at all lags, from one turn before to one after."""
    lag = torch.arange(1 - length, length, device=device)
    return ((-lag if call.correlate else lag) + call.offset) % length
