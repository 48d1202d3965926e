"""The passes of a long convolution: rows of samples to planes, the planes convolved, and back to rows.

Planes are float32 `(rows, channels, R, 2, I)`: of each row's window, or each filter's taps, R rows of I complex points,
real parts first. With several outer transforms those of one are the samples of the next.

What is the same for all groups of a job is worked out once: a pass is moved to the next group and launched.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import torch

from .arguments import Arguments, FilterArguments, OuterArguments, Strides
from .gpus import Gpu
from .long_plans import LongPlan
from .operands import row_strides
from .outer_kernels import OuterShape
from .plans import Kernel, Plan
from .single_kernels import plan_planes, plan_planes_backward
from .spectra import filter_tables_of
from .taps import Taps


class Group(NamedTuple):
    """What one launch works on: rows are tiles of batch items, item by item."""

    first_row: int
    rows: int
    first_channel: int
    channels: int

    @property
    def windows(self) -> int:
        return self.rows * self.channels


class View(NamedTuple):
    """How rows of samples are seen: see `LongPlan`. Of each window the first `span` samples count."""

    tiles: int
    hop: int
    lead: int
    span: int


class Pass(NamedTuple):
    """A launch.

    Args:
        kernel, arguments, grid: of the first group.
        moving: of the arguments that are addresses of rows their names, the address of the first channel, and bytes
            from one channel to the next.
    """

    kernel: Kernel
    arguments: ctypes.Structure
    grid: tuple[int, int]
    moving: tuple[tuple[str, int, int], ...] = ()


def launch(on, passes: list[Pass], group: Group, spectrum: int = 0) -> None:
    """The passes for a group of as many rows and channels as they were made for, with the spectra of its filters."""
    for kernel, arguments, grid, moving in passes:
        if moving:
            arguments.first_row = group.first_row
            for name, address, step in moving:
                setattr(arguments, name, address + group.first_channel * step)
        elif spectrum and isinstance(arguments, Arguments):
            arguments.spectrum = spectrum
        on.launch(kernel, arguments, grid)


def bytes_of(plan: LongPlan, windows: int) -> int:
    """Of the room that the planes of so many windows take."""
    return windows * plan.points * 8 * min(len(plan.outer), 2)


def deepest(plan: LongPlan, windows: int, room: int) -> int:
    """Where in their room the planes lie that are convolved: those of the last outer transform."""
    return _halves(plan, windows, room)[(len(plan.outer) - 1) % 2]


def to_planes(plan: LongPlan, group: Group, u, gate, view: View, number: str, room: int) -> list[Pass]:
    """Rows u `(B, H or 1, L)`, times their gate, to planes in the room given."""
    shape = plan.outer[0]
    real = view.lead == 0 and min(u.shape[-1] if view.tiles == 1 else view.span, view.span) <= plan.points
    moving = *_moving("samples", u), *_moving("gate", gate)
    a = _windows(plan, group, view, u.shape[-1])
    _set_strides(a, strides=u, gate_strides=gate)
    return _descend(plan, shape.forward(number, real), a, group.rows, group.channels, room, moving)


def from_planes(plan: LongPlan, group: Group, room: int, results, view: View, number: str) -> list[Pass]:
    """Planes to rows: one or two pairs of a tensor `(B, H, L)` and what rows are multiplied by for it."""
    (y, gate), (second, second_gate) = (*results, (None, None))[:2]
    moving = *_moving("samples", y), *_moving("gate", gate), *_moving("second", second)
    moving += _moving("second_gate", second_gate)
    a = _windows(plan, group, view, y.shape[-1])
    _set_strides(a, strides=y, gate_strides=gate, second_strides=second, second_gate_strides=second_gate)
    return _ascend(plan, plan.outer[0].inverse(number), a, group.rows, group.channels, room, moving)


def convolve_planes(on, plan: LongPlan, group: Group, room: int, filters: int) -> list[Pass]:
    """The fused convolution of planes in place, with spectra of `filters` filters, each for so many channels."""
    chosen = plan_planes(plan.inner, group.rows, group.channels * plan.planes, on.gpu)
    a = _inner_arguments(on, plan, chosen, group, deepest(plan, group.windows, room), filters)
    a.y, a.y_strides = a.u, a.u_strides
    return [_rows_pass(chosen, a)]


def differentiate_planes(
    on, plan: LongPlan, group: Group, x: int, g: int, filters: int, room: int | None
) -> list[Pass]:
    """The gradients of the convolution of planes x, from those of its result, g: in g's place.

    Args:
        room: for sums of spectra, and what else `sums_bytes` says; None where nobody wants the taps' gradients.
    """
    chosen = plan_planes_backward(plan.inner, group.rows, group.channels * plan.planes, on.gpu, room is not None)
    a = _inner_arguments(on, plan, chosen, group, deepest(plan, group.windows, x), filters)
    a.dy = a.du = deepest(plan, group.windows, g)
    a.dy_strides = a.du_strides = a.u_strides
    if room is not None:
        a.dspectrum = room
        if chosen.scratch_bytes:
            a.scratch = room + _blocks(plan, chosen, group) * plan.inner * 8
    return [_rows_pass(chosen, a)]


def sums_bytes(plan: LongPlan, group: Group, gpu: Gpu) -> int:
    """Of the sums of spectra, one a block, and of what blocks cannot keep in shared memory."""
    chosen = plan_planes_backward(plan.inner, group.rows, group.channels * plan.planes, gpu, True)
    return _blocks(plan, chosen, group) * (plan.inner * 8 + chosen.scratch_bytes)


def taps_gradient(on, plan: LongPlan, group: Group, sums: int, to: Taps, room: int) -> list[Pass]:
    """From sums of spectra to the gradients of filters' taps; `room` is that of their planes."""
    count = len(to.k)
    chosen = plan_planes_backward(plan.inner, group.rows, group.channels * plan.planes, on.gpu, True)
    chunks = -(-group.rows // chosen.rows_per_block)
    f = _inner_filters(
        plan, count, planes=plan.planes, channels_per_filter=group.channels // count, chunks_per_filter=chunks,
        chunks=chunks, dspectrum=sums, dk=deepest(plan, count, room), tables=filter_tables_of(on, chosen),
    )  # fmt: skip
    first = Pass(chosen.gradient, f, (-(-f.filters // chosen.filters_per_block), 1))
    return [first, *_ascend(plan, plan.outer[0].filter_inverse(), _taps_arguments(plan, to), 1, count, room)]


def filter_spectra(on, plan: LongPlan, taps: Taps, to: int, room: int) -> list[Pass]:
    """The spectra of filters, `(F, R, I)` complex numbers; `room` is that of their planes."""
    count = len(taps.k)
    passes = _descend(plan, plan.outer[0].filter_forward(), _taps_arguments(plan, taps), 1, count, room)
    chosen = plan_planes(plan.inner, 1, count * plan.planes, on.gpu)
    f = _inner_filters(
        plan, count, planes=1, channels_per_filter=1, k=deepest(plan, count, room), spectrum=to,
        tables=filter_tables_of(on, chosen),
    )  # fmt: skip
    return [*passes, Pass(chosen.spectrum, f, (-(-f.filters // chosen.filters_per_block), 1))]


def load(on, plan: LongPlan, number: str, gradients: bool) -> None:
    """Loads and makes all that the passes of a plan need."""
    shape = plan.outer[0]
    kernels = [shape.forward(number, real) for real in (True, False)]
    kernels += [shape.inverse(number), shape.filter_forward()]
    kernels += [k for s in plan.outer[1:] for k in (s.forward("fp32", False), s.inverse("fp32"))]
    chosen = plan_planes(plan.inner, 1, 1, on.gpu)
    kernels += [chosen.rows, chosen.spectrum]
    if gradients:
        made = [plan_planes_backward(plan.inner, 1, 1, on.gpu, wanted) for wanted in (True, False)]
        kernels += [made[0].rows, made[1].rows, made[0].gradient, shape.filter_inverse()]
    for kernel in kernels:
        on.load(kernel)
    filter_tables_of(on, chosen)


# ---- the outer transforms


def _descend(plan, kernel: Kernel, a: OuterArguments, rows: int, channels: int, room: int, moving=()) -> list[Pass]:
    """Samples to planes, by all outer transforms."""
    halves = _halves(plan, rows * channels, room)
    a.planes = room
    passes = [Pass(kernel, a, _outer_grid(plan.outer[0], a, rows), moving)]
    for level, shape, points, further in _deeper(plan, channels):
        a = _planes_as_samples(points, shape, further, halves[(level - 1) % 2])
        a.planes = halves[level % 2]
        passes.append(Pass(shape.forward("fp32", False), a, _outer_grid(shape, a, rows)))
    return passes


def _ascend(plan, kernel: Kernel, last: OuterArguments, rows: int, channels: int, room: int, moving=()) -> list[Pass]:
    """Planes to samples: the way of `_descend` back, from where it left them."""
    halves = _halves(plan, rows * channels, room)
    passes = []
    for level, shape, points, further in reversed(list(_deeper(plan, channels))):
        a = _planes_as_samples(points, shape, further, halves[(level - 1) % 2])
        a.planes = halves[level % 2]
        passes.append(Pass(shape.inverse("fp32"), a, _outer_grid(shape, a, rows)))
    last.planes = room
    return [*passes, Pass(kernel, last, _outer_grid(plan.outer[0], last, rows), moving)]


def _deeper(plan: LongPlan, channels: int):
    """Of the second outer transform and each further one: level, shape, and the points and channels of its rows."""
    points = plan.points
    for level in range(1, len(plan.outer)):
        points //= plan.outer[level - 1].size
        channels *= plan.outer[level - 1].size
        yield level, plan.outer[level], points, channels


def _halves(plan: LongPlan, windows: int, room: int) -> tuple[int, int]:
    """Where planes lie: no pass of several can write where it reads."""
    return room, room + windows * plan.points * 8


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


# ---- the fused convolution of planes


def _inner_arguments(on, plan: LongPlan, chosen: Plan, group: Group, planes: int, filters: int) -> Arguments:
    row = 2 * plan.inner
    return Arguments(
        u=planes, u_strides=Strides(group.channels * plan.planes * row, row), filter_strides=Strides(0, 1),
        tables=filter_tables_of(on, chosen), channels_per_filter=group.channels // filters, planes=plan.planes,
        batch=group.rows, channels=group.channels * plan.planes, length=row, out_length=row,
        rows_per_block=chosen.rows_per_block,
    )  # fmt: skip


def _inner_filters(plan: LongPlan, count: int, **fields) -> FilterArguments:
    """Filters whose taps are planes: place n of the fold is tap n."""
    row = 2 * plan.inner
    return FilterArguments(
        tap_strides=Strides(0, row), filters=count * plan.planes, taps=row, length=1, out_length=row, offset=0,
        direction=1, circular=0, **fields,
    )  # fmt: skip


def _rows_pass(chosen: Plan, a: Arguments) -> Pass:
    return Pass(chosen.rows, a, (a.channels, -(-a.batch // chosen.rows_per_block)))


def _blocks(plan: LongPlan, chosen: Plan, group: Group) -> int:
    return group.channels * plan.planes * -(-group.rows // chosen.rows_per_block)
