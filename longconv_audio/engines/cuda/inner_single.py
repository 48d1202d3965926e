"""The inner pass in single precision: planes are rows of short ones' kernels, whose samples reach beyond the points."""

from __future__ import annotations

from .arguments import Arguments, FilterArguments, Strides
from .gpus import Gpu
from .long_plans import LongPlan
from .passes import Group, Pass
from .plans import Plan
from .single_kernels import plan_planes, plan_planes_backward
from .spectra import filter_tables_of


def convolve(on, plan: LongPlan, group: Group, planes: int, room, filters: int) -> Pass:
    """The fused convolution of planes in place, with spectra of `filters` filters, each for so many channels."""
    chosen = plan_planes(plan.inner, group.rows, group.channels * plan.planes, on.gpu)
    a = _arguments(on, plan, chosen, group, planes, filters)
    a.y, a.y_strides = a.u, a.u_strides
    return _rows_pass(chosen, a)


def differentiate(on, plan: LongPlan, group: Group, x: tuple, g: tuple, filters: int, sums: int | None) -> Pass:
    """The gradients of the convolution of planes x, from those of its result, g, in g's place; both with their rooms.

    Args:
        sums: room for sums of spectra, and what else `sums_bytes` says; None where nobody wants the taps' gradients.
    """
    chosen = plan_planes_backward(plan.inner, group.rows, group.channels * plan.planes, on.gpu, sums is not None)
    a = _arguments(on, plan, chosen, group, x[0], filters)
    a.dy = a.du = g[0]
    a.dy_strides = a.du_strides = a.u_strides
    if sums is not None:
        a.dspectrum = sums
        if chosen.scratch_bytes:
            a.scratch = sums + _blocks(plan, chosen, group) * plan.inner * 8
    return _rows_pass(chosen, a)


def sums_bytes(plan: LongPlan, group: Group, gpu: Gpu) -> int:
    """Of the sums of spectra, one a block, and of what blocks cannot keep in shared memory."""
    chosen = plan_planes_backward(plan.inner, group.rows, group.channels * plan.planes, gpu, True)
    return _blocks(plan, chosen, group) * (plan.inner * 8 + chosen.scratch_bytes)


def taps_gradient(on, plan: LongPlan, group: Group, filters: int, count: int, sums: int, to: int) -> Pass:
    """From sums of spectra, made with those of `filters` filters, to the planes of the gradients of `count` ones."""
    chosen = plan_planes_backward(plan.inner, group.rows, group.channels * plan.planes, on.gpu, True)
    chunks = -(-group.rows // chosen.rows_per_block)
    f = filters_of_planes(
        plan, count, planes=plan.planes, channels_per_filter=group.channels // count, chunks_per_filter=chunks,
        chunks=chunks, dspectrum=sums, dk=to, tables=filter_tables_of(on, chosen),
    )  # fmt: skip
    return Pass(chosen.gradient, f, (-(-f.filters // chosen.filters_per_block), 1))


def spectra(on, plan: LongPlan, count: int, planes: int, to: int, scales: int | None) -> Pass:
    """The spectra of the planes of `count` filters' taps."""
    chosen = plan_planes(plan.inner, 1, count * plan.planes, on.gpu)
    f = filters_of_planes(
        plan, count, planes=1, channels_per_filter=1, k=planes, spectrum=to, tables=filter_tables_of(on, chosen)
    )
    return Pass(chosen.spectrum, f, (-(-f.filters // chosen.filters_per_block), 1))


def kernels(on, plan: LongPlan, gradients: bool) -> list:
    """All that the pass may launch; their tables are made."""
    chosen = plan_planes(plan.inner, 1, 1, on.gpu)
    filter_tables_of(on, chosen)
    found = [chosen.rows, chosen.spectrum]
    if gradients:
        made = [plan_planes_backward(plan.inner, 1, 1, on.gpu, wanted) for wanted in (True, False)]
        found += [made[0].rows, made[1].rows, made[0].gradient]
    return found


def filters_of_planes(plan: LongPlan, count: int, **fields) -> FilterArguments:
    """Filters whose taps are planes: place n of the fold is tap n."""
    row = 2 * plan.inner
    return FilterArguments(
        tap_strides=Strides(0, row), filters=count * plan.planes, taps=row, length=1, out_length=row, offset=0,
        direction=1, circular=0, **fields,
    )  # fmt: skip


def _arguments(on, plan: LongPlan, chosen: Plan, group: Group, planes: int, filters: int) -> Arguments:
    row = 2 * plan.inner
    return Arguments(
        u=planes, u_strides=Strides(group.channels * plan.planes * row, row), filter_strides=Strides(0, 1),
        tables=filter_tables_of(on, chosen), channels_per_filter=group.channels // filters, planes=plan.planes,
        batch=group.rows, channels=group.channels * plan.planes, length=row, out_length=row,
        rows_per_block=chosen.rows_per_block,
    )  # fmt: skip


def _rows_pass(chosen: Plan, a: Arguments) -> Pass:
    return Pass(chosen.rows, a, (a.channels, -(-a.batch // chosen.rows_per_block)))


def _blocks(plan: LongPlan, chosen: Plan, group: Group) -> int:
    return group.channels * plan.planes * -(-group.rows // chosen.rows_per_block)
