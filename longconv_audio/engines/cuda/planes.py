"""The passes of a long convolution on a launcher: rows of samples to planes, the planes convolved, and back to rows.

Planes are float32 `(rows, channels, R, 2, I)`: of each row's window, or each filter's taps, R rows of I complex points,
real parts first. With several outer transforms those of one are the samples of the next.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from .arguments import Arguments, FilterArguments, OuterArguments, Strides
from .long_plans import LongPlan
from .operands import row_strides
from .outer_kernels import OuterShape
from .plans import Kernel
from .single_kernels import plan_planes, plan_planes_backward
from .spectra import filter_tables_of
from .taps import Taps


class Group(NamedTuple):
    """What one launch works on: rows are tiles of batch items, item by item."""

    first_row: int
    rows: int
    first_channel: int
    channels: int


class View(NamedTuple):
    """How rows of samples are seen: see `LongPlan`. Of each window the first `span` samples count."""

    tiles: int
    hop: int
    lead: int
    span: int


def bytes_of(plan: LongPlan, rows: int) -> int:
    """Of the room that the planes of so many windows take."""
    return rows * plan.points * 8 * min(len(plan.outer), 2)


def to_planes(on, plan: LongPlan, group: Group, u, gate, view: View, number: str, room: int) -> int:
    """Rows u `(B, H or 1, L)`, times their gate, to planes in the room given. Returns where the last of them are."""
    shape = plan.outer[0]
    real = view.lead == 0 and min(u.shape[-1] if view.tiles == 1 else view.span, view.span) <= plan.points
    a = _windows(plan.points, shape, group, view, u.shape[-1])
    _set(a, "samples", "strides", u, group)
    _set(a, "gate", "gate_strides", gate, group)
    return _descend(on, plan, shape.forward(number, real), a, group.rows, group.channels, room)


def from_planes(on, plan: LongPlan, group: Group, room: int, results, view: View, number: str) -> None:
    """The planes in the room to rows: one or two pairs of a tensor `(B, H, L)` and what the rows are multiplied by."""
    shape = plan.outer[0]
    a = _windows(plan.points, shape, group, view, results[0][0].shape[-1])
    names = ("samples", "strides", "gate", "gate_strides"), ("second", "second_strides", "second_gate", "second_gate_strides")
    for (to, to_strides, gate, gate_strides), (tensor, factor) in zip(names, results, strict=False):
        _set(a, to, to_strides, tensor, group)
        _set(a, gate, gate_strides, factor, group)
    _ascend(on, plan, shape.inverse(number), a, group.rows, group.channels, room)


def convolve_planes(on, plan: LongPlan, rows: int, channels: int, planes: int, spectrum: int, filters: int) -> None:
    """The fused convolution of planes in place, with spectra of `filters` filters, each for so many channels."""
    chosen = plan_planes(plan.inner, rows, channels * plan.planes, on.gpu)
    a = _inner_arguments(on, plan, chosen, rows, channels, planes, spectrum, filters)
    a.y, a.y_strides = planes, a.u_strides
    _launch_rows(on, chosen, a, rows)


def differentiate_planes(
    on, plan: LongPlan, rows: int, channels: int, x: int, g: int, spectrum: int, filters: int, taps: Taps | None, room: int
) -> None:
    """The gradient of the convolution of planes x, from that of its result, g: in g's place. That of the taps is added.

    Args:
        taps: where to; None where it is not wanted.
        room: what `gradient_bytes` says.
    """
    chosen = plan_planes_backward(plan.inner, rows, channels * plan.planes, on.gpu, taps is not None)
    a = _inner_arguments(on, plan, chosen, rows, channels, x, spectrum, filters)
    a.dy = a.du = g
    a.dy_strides = a.du_strides = a.u_strides
    sums, scratch = _gradient_parts(plan, chosen, rows, channels)
    if taps is not None:
        a.dspectrum = room
    if scratch:
        a.scratch = room + sums
    chunks = -(-rows // chosen.rows_per_block)
    on.launch(chosen.rows, a, (a.channels, chunks))
    if taps is None:
        return
    count = taps.k.shape[0]
    f = _inner_filters(plan, count, planes=plan.planes, channels_per_filter=channels // count, chunks=chunks)
    f.chunks_per_filter, f.dspectrum, f.tables = chunks, room, filter_tables_of(on, chosen)
    of_taps = room + sums + scratch
    f.dk = _deepest(plan, count, of_taps)
    on.launch(chosen.gradient, f, (-(-f.filters // chosen.filters_per_block), 1))
    made, shape = torch.empty_like(taps.k), plan.outer[0]
    a = _taps_arguments(plan, shape, Taps(made, taps.offset, taps.direction))
    _ascend(on, plan, shape.filter_inverse(), a, 1, count, of_taps)
    taps.k.add_(made)


def gradient_bytes(on, plan: LongPlan, rows: int, channels: int, filters: int) -> int:
    """Of the room that `differentiate_planes` takes: sums of spectra, what does not fit shared memory, and taps' planes."""
    chosen = plan_planes_backward(plan.inner, rows, channels * plan.planes, on.gpu, True)
    return sum(_gradient_parts(plan, chosen, rows, channels)) + bytes_of(plan, filters)


def filter_spectra(on, plan: LongPlan, taps: Taps, to: int, room: int) -> None:
    """The spectra of filters, `(F, R, I)` complex numbers; `room` is that of F rows' planes."""
    shape, count = plan.outer[0], taps.k.shape[0]
    a = _taps_arguments(plan, shape, taps)
    planes = _descend(on, plan, shape.filter_forward(), a, 1, count, room)
    chosen = plan_planes(plan.inner, 1, count * plan.planes, on.gpu)
    f = _inner_filters(plan, count, planes=1, channels_per_filter=1, chunks=1)
    f.k, f.spectrum, f.tables = planes, to, filter_tables_of(on, chosen)
    on.launch(chosen.spectrum, f, (-(-f.filters // chosen.filters_per_block), 1))


def load(on, plan: LongPlan, number: str, gradients: bool) -> None:
    """Loads and makes all that the passes of a plan need."""
    shapes = plan.outer
    kernels = [shapes[0].forward(number, real) for real in (True, False)]
    kernels += [shapes[0].inverse(number), shapes[0].filter_forward()]
    kernels += [k for s in shapes[1:] for k in (s.forward("fp32", False), s.inverse("fp32"))]
    chosen = plan_planes(plan.inner, 1, 1, on.gpu)
    kernels += [chosen.rows, chosen.spectrum]
    if gradients:
        made = [plan_planes_backward(plan.inner, 1, 1, on.gpu, wanted) for wanted in (True, False)]
        kernels += [made[0].rows, made[1].rows, made[0].gradient, shapes[0].filter_inverse()]
    for kernel in kernels:
        on.load(kernel)
    filter_tables_of(on, chosen)


# ---- the outer transforms


def _descend(on, plan: LongPlan, kernel: Kernel, a: OuterArguments, rows: int, channels: int, room: int) -> int:
    """Samples to planes, by all outer transforms. Returns where the planes are."""
    halves = _halves(plan, rows * channels, room)
    a.planes = room
    _launch_outer(on, kernel, plan.outer[0], a, plan.points, rows)
    for level, shape, points, further in _deeper(plan, channels):
        a = _planes_as_samples(points, shape, further, halves[(level - 1) % 2])
        a.planes = halves[level % 2]
        _launch_outer(on, shape.forward("fp32", False), shape, a, points, rows)
    return _deepest(plan, rows * channels, room)


def _ascend(on, plan: LongPlan, kernel: Kernel, last: OuterArguments, rows: int, channels: int, room: int) -> None:
    """Planes to samples: the way of `_descend` back, from where it left them."""
    halves = _halves(plan, rows * channels, room)
    for level, shape, points, further in reversed(list(_deeper(plan, channels))):
        a = _planes_as_samples(points, shape, further, halves[(level - 1) % 2])
        a.planes = halves[level % 2]
        _launch_outer(on, shape.inverse("fp32"), shape, a, points, rows)
    last.planes = room
    _launch_outer(on, kernel, plan.outer[0], last, plan.points, rows)


def _deeper(plan: LongPlan, channels: int):
    """Of the second outer transform and each further one: its level, its shape, and the points and channels of its rows."""
    points = plan.points
    for level in range(1, len(plan.outer)):
        points //= plan.outer[level - 1].size
        channels *= plan.outer[level - 1].size
        yield level, plan.outer[level], points, channels


def _halves(plan: LongPlan, windows: int, room: int) -> tuple[int, int]:
    """Where planes lie: no pass of several can write where it reads."""
    return room, room + windows * plan.points * 8


def _deepest(plan: LongPlan, windows: int, room: int) -> int:
    """Where the planes of the last outer transform lie."""
    return _halves(plan, windows, room)[(len(plan.outer) - 1) % 2]


def _launch_outer(on, kernel: Kernel, shape: OuterShape, a: OuterArguments, points: int, rows: int) -> None:
    on.launch(kernel, a, (points // shape.size // shape.columns * a.channels, rows))


def _windows(points: int, shape: OuterShape, group: Group, view: View, length: int) -> OuterArguments:
    return OuterArguments(
        points=points // shape.size, channels=group.channels, length=length, first_row=group.first_row,
        tiles=view.tiles, hop=view.hop, lead=view.lead, span=view.span,
    )  # fmt: skip


def _planes_as_samples(points: int, shape: OuterShape, channels: int, at: int) -> OuterArguments:
    """Rows of 2M samples that lie one behind the other."""
    return OuterArguments(
        samples=at, strides=Strides(channels * 2 * points, 2 * points), points=points // shape.size,
        channels=channels, length=2 * points, tiles=1, hop=0, lead=0, span=2 * points,
    )  # fmt: skip


def _taps_arguments(plan: LongPlan, shape: OuterShape, taps: Taps) -> OuterArguments:
    count, length = taps.k.shape
    return OuterArguments(
        samples=taps.k.data_ptr(), strides=Strides(0, length), points=plan.points // shape.size, channels=count,
        length=length, tiles=1, offset=taps.offset, direction=taps.direction,
    )  # fmt: skip


def _set(a: OuterArguments, name: str, strides: str, tensor, group: Group) -> None:
    """A tensor `(B, H, time)` from the group's first channel on, or none."""
    if tensor is not None:
        batch, channel = row_strides(tensor)
        setattr(a, name, tensor.data_ptr() + group.first_channel * channel * tensor.element_size())
        setattr(a, strides, Strides(batch, channel))


# ---- the fused convolution of planes


def _inner_arguments(on, plan: LongPlan, chosen, rows, channels, planes: int, spectrum: int, filters: int) -> Arguments:
    row = 2 * plan.inner
    return Arguments(
        u=planes, u_strides=Strides(channels * plan.planes * row, row), spectrum=spectrum, filter_strides=Strides(0, 1),
        tables=filter_tables_of(on, chosen), channels_per_filter=channels // filters, planes=plan.planes, batch=rows,
        channels=channels * plan.planes, length=row, out_length=row, rows_per_block=chosen.rows_per_block,
    )  # fmt: skip


def _inner_filters(plan: LongPlan, count: int, **fields) -> FilterArguments:
    """Filters whose taps are planes: place n of the fold is tap n."""
    row = 2 * plan.inner
    return FilterArguments(
        tap_strides=Strides(0, row), filters=count * plan.planes, taps=row, length=1, out_length=row, offset=0,
        direction=1, circular=0, **fields,
    )  # fmt: skip


def _launch_rows(on, chosen, a: Arguments, rows: int) -> None:
    on.launch(chosen.rows, a, (a.channels, -(-rows // chosen.rows_per_block)))


def _gradient_parts(plan: LongPlan, chosen, rows: int, channels: int) -> tuple[int, int]:
    """Bytes of the spectra's sums, and of what does not fit shared memory."""
    blocks = channels * plan.planes * -(-rows // chosen.rows_per_block)
    return blocks * plan.inner * 8, blocks * chosen.scratch_bytes

