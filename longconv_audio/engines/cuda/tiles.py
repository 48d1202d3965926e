"""Overlap-save in one pass: rows cut into tiles that blocks convolve themselves, for filters that a tile holds.

The 2M samples of a tile are the real and the imaginary parts of its M points, so that half a tile costs no transform.
"""

from __future__ import annotations

import torch

from .arguments import Arguments, FilterArguments, Strides
from .operands import row_strides
from .plans import Plan, Sizes
from .single_kernels import plan_tiles, plan_tiles_backward
from .spectra import filter_tables_of
from .taps import Taps


def convolve(on, job, u, gate, results) -> None:
    """u times its gate, convolved, to one or two results, each times what stands beside it: see `long_pass`."""
    chosen = plan_tiles(job.plan.points, _sizes(job, gate is not None, results[0][1] is not None), on.gpu)
    spectra = job.spectrum.contiguous() if job.spectrum is not None else make_spectra(on, job.plan, job.filters)
    for y, factor in results:
        a = _arguments(on, job, chosen, u, gate, y.shape[-1])
        a.spectrum, a.filter_strides = spectra.data_ptr(), Strides(spectra.shape[-2] if spectra.ndim == 3 else 0, 1)
        a.channels_per_filter = job.channels // spectra.shape[-2]
        a.y, a.y_strides = y.data_ptr(), Strides(*row_strides(y))
        if factor is not None:
            a.post_gate, a.post_strides = factor.data_ptr(), Strides(*row_strides(factor))
        on.launch(chosen.rows, a, (job.channels, -(-a.batch // chosen.rows_per_block)))


def differentiate(on, job, u, gate, dy, post_gate, taps: Taps) -> None:
    """The gradients of filters, to the taps given, for one batch item or for filters that all have in common."""
    sizes, points = _sizes(job, gate is not None, post_gate is not None), job.plan.points
    chosen = plan_tiles_backward(points, sizes, on.gpu)
    chunks = -(-sizes.batch // chosen.rows_per_block)
    blocks = job.channels * chunks
    room = torch.empty(blocks * (points * 8 + chosen.scratch_bytes), dtype=torch.uint8, device=u.device)
    a = _arguments(on, job, chosen, u, gate, dy.shape[-1])
    a.dy, a.dy_strides, a.dspectrum = dy.data_ptr(), Strides(*row_strides(dy)), room.data_ptr()
    if chosen.scratch_bytes:
        a.scratch = room.data_ptr() + blocks * points * 8
    if post_gate is not None:
        a.post_gate, a.post_strides = post_gate.data_ptr(), Strides(*row_strides(post_gate))
    on.launch(chosen.rows, a, (job.channels, chunks))
    count = len(taps.k)
    f = _filter_arguments(
        job.plan, taps, channels_per_filter=job.channels // count, chunks_per_filter=chunks, chunks=chunks,
        dspectrum=room.data_ptr(), dk=taps.k.data_ptr(), tables=filter_tables_of(on, chosen),
    )  # fmt: skip
    on.launch(chosen.gradient, f, (-(-count // chosen.filters_per_block), 1))


def make_spectra(on, plan, filters: Taps) -> torch.Tensor:
    """The spectra of filters `(..., F, K)`, complex numbers `(..., F, points)`."""
    taps = filters._replace(k=filters.k.flatten(0, -2))
    made = torch.empty(len(taps.k), plan.points, dtype=torch.complex64, device=taps.k.device)
    chosen = plan_tiles(plan.points, Sizes("fp32", 2 * plan.points, plan.hop), on.gpu)
    f = _filter_arguments(
        plan, taps, channels_per_filter=1, k=taps.k.data_ptr(), spectrum=made.data_ptr(),
        tables=filter_tables_of(on, chosen),
    )  # fmt: skip
    on.launch(chosen.spectrum, f, (-(-len(taps.k) // chosen.filters_per_block), 1))
    return made.view(*filters.k.shape[:-1], plan.points)


def load(on, job, gates, gradients: bool) -> None:
    """Loads and makes the kernels and tables of `convolve`, and of `differentiate` where gradients are wanted."""
    sizes = _sizes(job, *gates)
    chosen = plan_tiles(job.plan.points, sizes, on.gpu)
    kernels = [chosen.rows, chosen.spectrum]
    if gradients:
        made = plan_tiles_backward(job.plan.points, sizes, on.gpu)
        kernels += [made.rows, made.gradient]
    for kernel in kernels:
        on.load(kernel)
    filter_tables_of(on, chosen)


def _sizes(job, pre_gate: bool, post_gate: bool) -> Sizes:
    return Sizes(
        "fp32", 2 * job.plan.points, job.plan.hop, job.batch * job.plan.tiles, job.channels, pre_gate=pre_gate,
        post_gate=post_gate,
    )  # fmt: skip


def _arguments(on, job, chosen: Plan, u, gate, out_length: int) -> Arguments:
    plan = job.plan
    a = Arguments(
        u=u.data_ptr(), u_strides=Strides(*row_strides(u)), tables=filter_tables_of(on, chosen), channels_per_filter=1,
        planes=1, batch=job.batch * plan.tiles, channels=job.channels, length=u.shape[-1], out_length=out_length,
        tiles=plan.tiles, hop=plan.hop, lead=plan.lead, rows_per_block=chosen.rows_per_block,
    )  # fmt: skip
    if gate is not None:
        a.pre_gate, a.pre_strides = gate.data_ptr(), Strides(*row_strides(gate))
    return a


def _filter_arguments(plan, taps: Taps, **fields) -> FilterArguments:
    """Taps at the lags that they have in a tile, whose outputs stand `lead` samples before their own place."""
    count, length = taps.k.shape
    offset = taps.offset + plan.lead * taps.direction
    before, after = (offset, length - 1 - offset) if taps.direction > 0 else (length - 1 - offset, offset)
    return FilterArguments(
        tap_strides=Strides(0, length), filters=count, taps=length, length=max(before, 0) + 1,
        out_length=max(after, 0) + 1, offset=offset, direction=taps.direction, planes=1, **fields,
    )  # fmt: skip
