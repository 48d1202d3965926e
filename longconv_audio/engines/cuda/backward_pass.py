"""The backward pass on a launcher: see `forward_pass`."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

from ..selection import Call
from .arguments import Arguments, FilterArguments, Strides
from .errors import NoKernelError
from .forward_pass import dense_strides, row_arguments, set_inputs, sizes_of
from .gpus import Gpu
from .operands import Geometry, Operands, cast, geometry, number_of, operands, placed, rows
from .plans import GRID_Y, Plan, Sizes
from .specialisations import plan_backward
from .spectra import (
    SpectraMaker,
    filter_arguments,
    filter_tables_of,
    load_spectra,
    make_spectra,
    prepared_parts,
    spectra_maker,
    tables_of,
)

_ALIGNMENT = 256  # of each part of the workspace


class TapsGradient(NamedTuple):
    """The launch that makes gradients of taps, or of skip terms: its grid, and its arguments but for the addresses."""

    grid: tuple[int, int]
    arguments: FilterArguments


class Backward(NamedTuple):
    """How the gradients of calls of one geometry are made.

    Args:
        plan: the kernels.
        spectra: what makes the filters' spectra.
        arguments: of the fused backward pass, all but the addresses.
        grid: its blocks.
        shape: of the gradients of the input's rows.
        dk, dd: what makes the gradients of k and d; None where they are not wanted.
        together: whether dk's launch makes dd too.
        sums, scratch, bytes: the workspace: the spectra, from `sums` on their gradients, from `scratch` on what does
            not fit shared memory (None where there are none), and its size.
    """

    plan: Plan
    spectra: SpectraMaker
    arguments: Arguments
    grid: tuple[int, int]
    shape: tuple[int, int, int]
    dk: TapsGradient | None
    dd: TapsGradient | None
    together: bool
    sums: int | None
    scratch: int | None
    bytes: int


def gradients(on, call: Call, needs, dy, u, k, spectrum, d, pre_gate, post_gate, mask=None):
    """`backward` of the engine, on a launcher."""
    owners = (u, k, d, pre_gate, post_gate)
    if not (dy.numel() and u.numel()):
        return tuple(t.new_zeros(t.shape) if need else None for t, need in zip(owners, needs, strict=True))
    need_u, need_k, need_d, need_pre, need_post = needs
    number = _number(on, call, needs, u, k, mask)
    x = operands(call, number, u, k, d, pre_gate, post_gate)
    d_items = need_d and d.ndim == 2
    # A skip term for each batch item makes filters of the items' own, whether or not its gradient is wanted.
    if (x.filters.ndim == 3 or d_items) and u.shape[0] > GRID_Y:
        del x  # before the pieces make theirs
        return _in_pieces(on, call, needs, dy, u, k, spectrum, d, pre_gate, post_gate, mask)

    dy = rows(dy, x.u.dtype)
    how = backward_of(geometry(call, number, x, dy=dy, mask=mask), k.shape if need_k else None, need_d, d_items, on.gpu)
    arguments = how.arguments.copy()
    arguments.tables = tables_of(on, how.plan)
    room = torch.empty(how.bytes, dtype=torch.uint8, device=u.device)
    work = room.data_ptr()
    if _usable(spectrum, how.plan, number):
        at, scales, arguments.filter_strides.batch, spectrum = prepared_parts(spectrum, k.shape[-2])
    else:
        at, scales = make_spectra(on, how.plan, how.spectra, x.filters, x.skips, work, mask)
    set_inputs(arguments, x, at, scales)
    arguments.dy = dy.data_ptr()
    if mask is not None:
        arguments.mask = mask.data_ptr()
    if how.sums is not None:
        arguments.dspectrum = work + how.sums
    if how.scratch is not None:
        arguments.scratch = work + how.scratch
    du, dpre, dpost, spare = _results(arguments, how, needs, x, dy)
    on.launch(how.plan.rows, arguments, how.grid)
    del spare
    dk, dd = _taps_gradients(on, how, k, d, arguments.dspectrum, arguments.mask)

    def of_input(t, like):
        """One input of many filters gathers its gradient from all of them."""
        return cast(t.sum(1, keepdim=True) if u.shape[1] < t.shape[1] else t, like.dtype)

    return (
        of_input(du, u) if need_u else None, dk, dd, of_input(dpre, pre_gate) if need_pre else None,
        cast(dpost, post_gate.dtype) if need_post else None,
    )  # fmt: skip


def prepare(on, call: Call, needs, u, k, d, pre_gate, post_gate, mask=None) -> None:
    """Loads and makes all that `gradients` will need, with the same arguments and a dense gradient of y."""
    if not (u.numel() and k.shape[-2]):
        return
    _, need_k, need_d, _, _ = needs
    number = _number(on, call, needs, u, k, mask)
    g = geometry(call, number, operands(call, number, u, k, d, pre_gate, post_gate), mask=mask)
    dense = dense_strides(g, g.place.length)
    g = g._replace(dy=(dense.batch, dense.channel))
    how = backward_of(g, k.shape if need_k else None, need_d, need_d and d.ndim == 2, on.gpu)
    load_spectra(on, how.plan)
    on.load(how.plan.rows)
    on.load(how.plan.gradient)
    tables_of(on, how.plan)


def _number(on, call: Call, needs, u, k, mask) -> str:
    """The type that a call's gradients are computed in.

    Where one input goes through many filters, its gradient and its gate's are sums over all of them. The kernels write
    the terms in the type of their rows, and terms that cancel, or pass what float16 holds, are lost in 16 bits. So
    they are made in single precision, summed in it, and the sum alone is rounded.
    """
    need_u, _, _, need_pre, _ = needs
    if u.shape[1] < k.shape[-2] and (need_u or need_pre):
        return "fp32"
    return backward_number(call, u.dtype, u.shape[2], k.shape[-1], on.gpu, 0 if mask is None else mask.shape[-1])


@functools.lru_cache(maxsize=4096)
def backward_number(call: Call, dtype: torch.dtype, length: int, taps: int, gpu: Gpu, points: int = 0) -> str:
    """The type that gradients are computed in: what half precision has no room for, single precision has."""
    number, out_length = number_of(call.precision, dtype), placed(call, length, taps).length
    try:
        plan_backward(Sizes(number, length, out_length, least_points=points, sparse=points > 0), gpu)
    except NoKernelError:
        return "fp32"
    return number


@functools.lru_cache(maxsize=4096)
def backward_of(g: Geometry, k_shape: tuple | None, need_d: bool, d_items: bool, gpu: Gpu) -> Backward:
    """What does not change from one call of a geometry to the next.

    Args:
        k_shape: of k, where its gradient is wanted.
        need_d, d_items: whether d's gradient is wanted, and whether d has a value for each batch item.

    Raises:
        NoKernelError: as `plan_backward`.
    """
    need_k, k_items = k_shape is not None, k_shape is not None and len(k_shape) == 3
    chosen = plan_backward(sizes_of(g, g.per_item or k_items or d_items), gpu, need_k or need_d)
    chunks = -(-g.batch // chosen.rows_per_block)
    dk = dd = None
    if need_k:
        dk = _taps_gradient(g, chosen, chunks, g.batch if k_items else 1, k_shape[-2], k_shape[-1], 0)
    if need_d:  # the skip term is the tap at time zero
        dd = _taps_gradient(g, chosen, chunks, g.batch if d_items else 1, g.channels, 1, g.place.origin)
    together = need_k and need_d and k_items == d_items and k_shape[-2] == g.channels and not g.place.first
    spectra = spectra_maker(g, chosen)
    # The half-precision kernels always make the sums.
    wanted = need_k or need_d or g.number != "fp32"
    blocks = g.channels * chunks
    sums = _up(spectra.bytes)
    scratch = sums + (_up(blocks * chosen.points * 8) if wanted else 0)
    size = scratch + blocks * chosen.scratch_bytes
    return Backward(
        chosen, spectra, _backward_arguments(g, chosen), (g.channels, chunks), (g.batch, g.channels, g.length),
        dk, dd, together, sums if wanted else None, scratch if chosen.scratch_bytes else None, size,
    )  # fmt: skip


def _backward_arguments(g: Geometry, chosen: Plan) -> Arguments:
    arguments = row_arguments(g, chosen)
    arguments.dy_strides = Strides(*g.dy)
    arguments.du_strides = arguments.dpre_strides = dense_strides(g, g.length)
    arguments.dpost_strides = dense_strides(g, g.place.length)
    return arguments


def _taps_gradient(g: Geometry, chosen: Plan, chunks: int, items: int, filters: int, taps: int, origin: int):
    """Of `taps` taps of each filter, the first of which is number `origin`."""
    arguments = filter_arguments(
        g, taps, offset=g.offset - origin, filters=filters, channels_per_filter=g.channels // filters, planes=1,
        chunks_per_filter=chunks // items, chunks=chunks,
    )  # fmt: skip
    return TapsGradient((-(-filters // chosen.filters_per_block), items), arguments)


def _usable(spectrum, chosen: Plan, number: str) -> bool:
    """Whether a prepared spectrum is of the transform that the gradients take."""
    if spectrum is None or spectrum.shape[-1] != chosen.points:
        return False
    return (spectrum.dtype == torch.complex64) == (number == "fp32")


def _results(arguments: Arguments, how: Backward, needs, x: Operands, dy):
    """Room for the gradients of u, pre_gate and post_gate, which the kernel fills; None for those not wanted.

    The kernel makes those that nobody wants too, for no variants of it are compiled that do not. They go to what is
    returned last: one batch item's rows, over which every other's are written.
    """
    need_u, _, _, need_pre, need_post = needs
    results, spare = [], None
    for name, strides, given, need, shape in (
        ("du", "du_strides", x.u, need_u, how.shape),
        ("dpre_gate", "dpre_strides", x.pre_gate, need_pre, how.shape),
        ("dpost_gate", "dpost_strides", x.post_gate, need_post, dy.shape),
    ):
        made = dy.new_empty(shape) if need else None
        results.append(made)
        if made is None and given is not None:
            if spare is None:
                spare = dy.new_empty(how.shape[1], max(how.shape[2], dy.shape[2]))
            made = spare
            getattr(arguments, strides).batch = 0
        if made is not None:
            setattr(arguments, name, made.data_ptr())
    return *results, spare


def _taps_gradients(on, how: Backward, k, d, sums: int, mask: int | None):
    """The gradients of k and d from the sums of the spectra's, None where they are not wanted."""
    dk = dd = None
    if how.dk is not None:
        dk = torch.empty(k.shape, dtype=torch.float32, device=k.device)
    if how.dd is not None:
        dd = torch.empty(d.shape, dtype=torch.float32, device=d.device)
    if dk is not None:
        _launch_taps(on, how, how.dk, sums, dk, dd if how.together else None, mask)
    if dd is not None and not how.together:
        _launch_taps(on, how, how.dd, sums, dd, None, mask)
    return None if dk is None else cast(dk, k.dtype), None if dd is None else cast(dd, d.dtype)


def _launch_taps(on, how: Backward, made: TapsGradient, sums: int, taps, skips, mask: int | None) -> None:
    arguments = made.arguments.copy()
    arguments.dspectrum = sums
    arguments.mask = mask
    arguments.tables = filter_tables_of(on, how.plan)
    arguments.dk = taps.data_ptr()
    if skips is not None:
        arguments.dd = skips.data_ptr()
    on.launch(how.plan.gradient, arguments, made.grid)


def _in_pieces(on, call, needs, dy, u, k, spectrum, d, pre_gate, post_gate, mask):
    """The gradients of a batch of which each item has a block of its own, more than a grid has."""
    pieces = []
    for first in range(0, u.shape[0], GRID_Y):
        part = slice(first, first + GRID_Y)
        cut_k, cut_spectrum = (t[part] if t is not None and k.ndim == 3 else t for t in (k, spectrum))
        cut_d = d[part] if d is not None and d.ndim == 2 else d
        gates = (None if gate is None else gate[part] for gate in (pre_gate, post_gate))
        pieces.append(gradients(on, call, needs, dy[part], u[part], cut_k, cut_spectrum, cut_d, *gates, mask))
    du, dk, dd, dpre, dpost = zip(*pieces, strict=True)

    def joined(parts, shared: bool = False):
        return None if parts[0] is None else sum(parts[1:], parts[0]) if shared else torch.cat(parts)

    return joined(du), joined(dk, k.ndim == 2), joined(dd, d is not None and d.ndim == 1), joined(dpre), joined(dpost)


def _up(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
