"""The outer passes of a long convolution: rows of samples to planes, and planes to rows.

Planes are `(rows, channels, R, ...)`: of each row's window, or each filter's taps, R rows of I complex points, which
csrc/outer_planes.cuh describes. With several outer transforms those of one are the samples of the next, and then all
are in single precision whatever the rows are, as those of filters always are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from . import inner_half, inner_single
from .arguments import OuterArguments, Strides
from .long_plans import LongPlan
from .operands import row_strides
from .outer_kernels import OuterShape
from .passes import Group, Pass, Room
from .plans import Kernel
from .taps import Taps

_INNER = {"single": inner_single, "half": inner_half}


class View(NamedTuple):
    """How rows of samples are seen: see `LongPlan`. Of each window the first `span` samples count."""

    tiles: int
    hop: int
    lead: int
    span: int


def inner(plan: LongPlan):
    """The module of the inner pass."""
    return _INNER[plan.precision]


def room_bytes(plan: LongPlan, windows: int, filters: bool = False) -> int:
    """Of the room for the planes of so many windows, or of the taps of so many filters."""
    planes = _plane_bytes(plan, windows, filters)
    if filters or plan.precision == "single":
        return planes
    return planes + windows * (plan.inner // 32 + plan.planes) * 4


def room_at(plan: LongPlan, windows: int, address: int, filters: bool = False) -> Room:
    """The room that begins there."""
    if filters or plan.precision == "single":
        return Room(address, windows)
    scales = address + _plane_bytes(plan, windows, filters)
    return Room(address, windows, scales, scales + windows * (plan.inner // 32) * 4)


def deepest(plan: LongPlan, windows: int, room: Room) -> int:
    """Where in their room the planes lie that are convolved: those of the last outer transform."""
    return _halves(plan, windows, room)[(len(plan.outer) - 1) % 2]


def to_planes(plan: LongPlan, group: Group, u, gate, view: View, number: str, room: Room) -> list[Pass]:
    """Rows u `(B, H or 1, L)`, times their gate, to planes in the room given."""
    shape = plan.outer[0]
    real = view.lead == 0 and min(u.shape[-1] if view.tiles == 1 else view.span, view.span) <= plan.points
    moving = *_moving("samples", u), *_moving("gate", gate)
    a = _windows(plan, group, view, u.shape[-1])
    _set_strides(a, strides=u, gate_strides=gate)
    return _descend(plan, shape.forward(number, real, plan.precision), a, group.rows, group.channels, room, moving)


def from_planes(plan: LongPlan, group: Group, room: Room, results, view: View, number: str) -> list[Pass]:
    """Planes to rows: one or two pairs of a tensor `(B, H, L)` and what rows are multiplied by for it."""
    (y, gate), (second, second_gate) = (*results, (None, None))[:2]
    moving = *_moving("samples", y), *_moving("gate", gate), *_moving("second", second)
    moving += _moving("second_gate", second_gate)
    a = _windows(plan, group, view, y.shape[-1])
    _set_strides(a, strides=y, gate_strides=gate, second_strides=second, second_gate_strides=second_gate)
    kernel = plan.outer[0].inverse(number, plan.precision)
    return _ascend(plan, kernel, a, group.rows, group.channels, room, moving)


def convolve_planes(on, plan: LongPlan, group: Group, room: Room, filters: int) -> list[Pass]:
    """The fused convolution of planes in place, with spectra of `filters` filters, each for so many channels."""
    return [inner(plan).convolve(on, plan, group, deepest(plan, group.windows, room), room, filters)]


def differentiate_planes(on, plan: LongPlan, group: Group, x: Room, g: Room, filters: int, sums) -> list[Pass]:
    """The gradients of the convolution of planes x, from those of its result, g, in g's place: see `inner_single`."""
    places = ((deepest(plan, group.windows, room), room) for room in (x, g))
    return [inner(plan).differentiate(on, plan, group, *places, filters, sums)]


def taps_gradient(on, plan: LongPlan, group: Group, filters: int, sums: int, to: Taps, room: Room) -> list[Pass]:
    """From sums of spectra to the gradients of filters' taps; `room` is that of their planes."""
    count = len(to.k)
    first = inner(plan).taps_gradient(on, plan, group, filters, count, sums, deepest(plan, count, room))
    kernel = plan.outer[0].filter_inverse()
    return [first, *_ascend(plan, kernel, _taps_arguments(plan, to), 1, count, room)]


def filter_spectra(on, plan: LongPlan, taps: Taps, to, room: Room) -> list[Pass]:
    """The spectra of filters to where `to` says; `room` is that of their planes."""
    count, kernel = len(taps.k), plan.outer[0].filter_forward()
    passes = _descend(plan, kernel, _taps_arguments(plan, taps), 1, count, room)
    return [*passes, inner(plan).spectra(on, plan, count, deepest(plan, count, room), *to)]


def load(on, plan: LongPlan, number: str, gradients: bool) -> None:
    """Loads and makes all that the passes of a plan need."""
    shape, precision = plan.outer[0], plan.precision
    kernels = [shape.forward(number, real, precision) for real in (True, False)]
    kernels += [shape.inverse(number, precision), shape.filter_forward()]
    kernels += [k for s in plan.outer[1:] for k in (s.forward("fp32", False, "single"), s.inverse("fp32", "single"))]
    kernels += inner(plan).kernels(on, plan, gradients)
    for kernel in [*kernels, shape.filter_inverse()] if gradients else kernels:
        on.load(kernel)


# ---- the outer transforms


def _descend(plan, kernel: Kernel, a: OuterArguments, rows: int, channels: int, room: Room, moving=()) -> list[Pass]:
    """Samples to planes, by all outer transforms."""
    halves = _halves(plan, rows * channels, room)
    a.planes, a.tile_scales = room.address, room.tile_scales
    passes = [Pass(kernel, a, _outer_grid(plan.outer[0], a, rows), moving)]
    for level, shape, points, further in _deeper(plan, channels):
        a = _planes_as_samples(points, shape, further, halves[(level - 1) % 2])
        a.planes = halves[level % 2]
        passes.append(Pass(shape.forward("fp32", False, "single"), a, _outer_grid(shape, a, rows)))
    return passes


def _ascend(plan, kernel: Kernel, last: OuterArguments, rows: int, channels: int, room: Room, moving=()) -> list[Pass]:
    """Planes to samples: the way of `_descend` back, from where it left them."""
    halves = _halves(plan, rows * channels, room)
    passes = []
    for level, shape, points, further in reversed(list(_deeper(plan, channels))):
        a = _planes_as_samples(points, shape, further, halves[(level - 1) % 2])
        a.planes = halves[level % 2]
        passes.append(Pass(shape.inverse("fp32", "single"), a, _outer_grid(shape, a, rows)))
    last.planes, last.row_scales = room.address, room.row_scales
    return [*passes, Pass(kernel, last, _outer_grid(plan.outer[0], last, rows), moving)]


def _deeper(plan: LongPlan, channels: int):
    """Of the second outer transform and each further one: level, shape, and the points and channels of its rows."""
    points = plan.points
    for level in range(1, len(plan.outer)):
        points //= plan.outer[level - 1].size
        channels *= plan.outer[level - 1].size
        yield level, plan.outer[level], points, channels


def _halves(plan: LongPlan, windows: int, room: Room) -> tuple[int, int]:
    """Where planes lie: no pass of several can write where it reads."""
    return room.address, room.address + windows * plan.points * 8


def _plane_bytes(plan: LongPlan, windows: int, filters: bool) -> int:
    half = plan.precision == "half" and not filters
    return windows * plan.points * (4 if half else 8 * min(len(plan.outer), 2))


def _outer_grid(shape: OuterShape, a: OuterArguments, rows: int) -> tuple[int, int]:
    return a.points // shape.columns * a.channels, rows


def _windows(plan: LongPlan, group: Group, view: View, length: int) -> OuterArguments:
    return OuterArguments(
        points=plan.points // plan.outer[0].size, channels=group.channels, length=length, first_row=group.first_row,
        tiles=view.tiles, hop=view.hop, lead=view.lead, span=view.span,
    )  # fmt: skip


def _planes_as_samples(points: int, shape: OuterShape, channels: int, at: int) -> OuterArguments:
    """Rows of 2M samples that lie one behind the other."""
    return OuterArguments(
        samples=at, strides=Strides(channels * 2 * points, 2 * points), points=points // shape.size,
        channels=channels, length=2 * points, tiles=1, hop=0, lead=0, span=2 * points,
    )  # fmt: skip


def _taps_arguments(plan: LongPlan, taps: Taps) -> OuterArguments:
    count, length = taps.k.shape
    return OuterArguments(
        samples=taps.k.data_ptr(), strides=Strides(0, length), points=plan.points // plan.outer[0].size, channels=count,
        length=length, tiles=1, offset=taps.offset, direction=taps.direction,
    )  # fmt: skip


def _moving(name: str, tensor) -> tuple[tuple[str, int, int], ...]:
    """A tensor `(B, H, time)` among a pass's moving addresses, or nothing."""
    if tensor is None:
        return ()
    return ((name, tensor.data_ptr(), row_strides(tensor)[1] * tensor.element_size()),)


def _set_strides(a: OuterArguments, **tensors: torch.Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None:
            setattr(a, name, Strides(*row_strides(tensor)))
