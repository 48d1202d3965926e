"""The inner pass in half precision, on tensor cores. What its functions do stands in `inner_single`."""

from __future__ import annotations

from .arguments import PlaneArguments, Strides
from .gpus import Gpu
from .half_planes import backward_rows, forward_rows, plane_shape, planes_backward, planes_forward, scratch_bytes
from .inner_single import filters_of_planes
from .long_plans import LongPlan
from .passes import Group, Pass, Room
from .plans import Plan, Sizes
from .specialisations import plan as plan_rows
from .spectra import filter_tables_of, tables_of


def convolve(on, plan: LongPlan, group: Group, planes: int, room: Room, filters: int) -> Pass:
    channels = group.channels * plan.planes
    a = _arguments(on, plan, group, planes, room, filters)
    a.y, a.out_scale = planes, room.row_scales
    a.rows_per_block = forward_rows(plan.inner, on.gpu, group.rows, channels)
    return Pass(planes_forward(plan.inner, on.gpu), a, (channels, -(-group.rows // a.rows_per_block)))


def differentiate(on, plan: LongPlan, group: Group, x: tuple, g: tuple, filters: int, sums: int) -> Pass:
    (x_planes, x_room), (g_planes, g_room) = x, g
    a = _arguments(on, plan, group, x_planes, x_room, filters)
    a.g = a.dx = g_planes
    a.g_scale, a.dx_scale = g_room.tile_scales, g_room.row_scales
    a.dspectrum = sums
    a.rows_per_block = _rows_per_sum(plan, group)
    if scratch_bytes(plan.inner, on.gpu):
        a.scratch = sums + _blocks(plan, group) * plan.inner * 8
    return Pass(planes_backward(plan.inner, on.gpu), a, (a.channels, -(-group.rows // a.rows_per_block)))


def sums_bytes(plan: LongPlan, group: Group, gpu: Gpu) -> int:
    return _blocks(plan, group) * (plan.inner * 8 + scratch_bytes(plan.inner, gpu))


def taps_gradient(on, plan: LongPlan, group: Group, filters: int, count: int, sums: int, to: int) -> Pass:
    chunks = -(-group.rows // _rows_per_sum(plan, group))
    # The sums of the channels that share a spectrum lie together, plane by plane. Where skip terms make more spectra
    # than there are filters, each channel has one.
    f = filters_of_planes(
        plan, count, planes=1 if filters == count else plan.planes, channels_per_filter=group.channels // count,
        chunks_per_filter=chunks, chunks=chunks, dspectrum=sums, dk=to,
        tables=filter_tables_of(on, _of_filters(on, plan)),
    )  # fmt: skip
    kernel = plane_shape(plan.inner).gradient(on.gpu)
    return Pass(kernel, f, (-(-f.filters // _of_filters(on, plan).filters_per_block), 1))


def spectra(on, plan: LongPlan, count: int, planes: int, to: int, scales: int) -> Pass:
    chosen = _of_filters(on, plan)
    f = filters_of_planes(
        plan, count, planes=1, channels_per_filter=1, k=planes, spectrum=to, scale=scales,
        tables=filter_tables_of(on, chosen),
    )  # fmt: skip
    return Pass(chosen.spectrum, f, (-(-f.filters // chosen.filters_per_block), 1))


def kernels(on, plan: LongPlan, gradients: bool) -> list:
    chosen = _of_filters(on, plan)
    tables_of(on, chosen)
    filter_tables_of(on, chosen)
    found = [planes_forward(plan.inner, on.gpu), chosen.spectrum]
    return (
        [*found, planes_backward(plan.inner, on.gpu), plane_shape(plan.inner).gradient(on.gpu)] if gradients else found
    )


def _arguments(on, plan: LongPlan, group: Group, planes: int, room: Room, filters: int) -> PlaneArguments:
    channels = group.channels * plan.planes
    return PlaneArguments(
        u=planes, in_scale=room.tile_scales, strides=Strides(channels * plan.inner, plan.inner),
        filter_strides=Strides(0, 1), tables=tables_of(on, _of_filters(on, plan)),
        channels_per_filter=group.channels // filters, planes_per_row=plan.planes, batch=group.rows, channels=channels,
    )  # fmt: skip


def _of_filters(on, plan: LongPlan) -> Plan:
    """Of short rows of as many points: their tables and filters' spectra are those of planes."""
    return plan_rows(Sizes("fp16", plan.inner, plan.inner), on.gpu)


def _rows_per_sum(plan: LongPlan, group: Group) -> int:
    return backward_rows(plan.inner, group.rows, group.channels * plan.planes)


def _blocks(plan: LongPlan, group: Group) -> int:
    return group.channels * plan.planes * -(-group.rows // _rows_per_sum(plan, group))
