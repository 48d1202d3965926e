"""The forward pass on a launcher: something that has `gpu`, `device`, `launch` and `tables`."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

from ..selection import Call
from .arguments import Arguments, Strides
from .gpus import Gpu
from .operands import Geometry, cast, geometry, number_of, operands, placed
from .plans import GRID_Y, Plan, Sizes
from .specialisations import plan
from .spectra import SpectraMaker, load_spectra, make_spectra, prepared_parts, spectra_maker, tables_of


class Forward(NamedTuple):
    """How calls of one geometry are carried out.

    Args:
        number: the type of the rows.
        plan: the kernels.
        spectra: what makes the filters' spectra.
        arguments: of the fused convolution, all but the addresses.
        shape: of y.
    """

    number: str
    plan: Plan
    spectra: SpectraMaker
    arguments: Arguments
    shape: tuple[int, int, int]


def convolve(on, call: Call, u, k, spectrum, d, pre_gate, post_gate, mask=None) -> torch.Tensor:
    """`forward` of the engine, on a launcher."""
    if not (u.numel() and k.shape[-2]):
        return _empty(call, u, k)
    x, how = _planned(on, call, u, k, spectrum, d, pre_gate, post_gate, mask)
    arguments = how.arguments.copy()
    arguments.tables = tables_of(on, how.plan)
    y = x.u.new_empty(how.shape)
    if spectrum is None:
        room = torch.empty(how.spectra.bytes, dtype=torch.uint8, device=u.device)
        at, scales = make_spectra(on, how.plan, how.spectra, x.filters, x.skips, room.data_ptr(), mask)
    else:
        at, scales, arguments.filter_strides.batch, room = prepared_parts(spectrum, k.shape[-2])
    set_inputs(arguments, x, at, scales)
    arguments.y = y.data_ptr()
    if mask is not None:
        arguments.mask = mask.data_ptr()
    _launch(on, how, arguments, u.shape[0], y.element_size())
    return cast(y, u.dtype)


def prepare(on, call: Call, u, k, spectrum, d, pre_gate, post_gate, mask=None) -> None:
    """Loads and makes all that `convolve` will need, with the same arguments."""
    if u.numel() and k.shape[-2]:
        _, how = _planned(on, call, u, k, spectrum, d, pre_gate, post_gate, mask)
        load_spectra(on, how.plan)
        on.load(how.plan.rows)
        tables_of(on, how.plan)


def _planned(on, call: Call, u, k, spectrum, d, pre_gate, post_gate, mask):
    number = number_of(call.precision, u.dtype)
    x = operands(call, number, u, k, d, pre_gate, post_gate, prepared=spectrum is not None)
    return x, forward_of(geometry(call, number, x, spectrum, mask=mask), on.gpu)


def _empty(call: Call, u, k):
    """What comes of no items, no channels or no samples."""
    batch, inputs, length = u.shape
    samples = placed(call, length, k.shape[-1]).length if length else 0
    return u.new_empty(batch, k.shape[-2] if inputs == 1 else inputs, samples)


@functools.lru_cache(maxsize=4096)
def forward_of(g: Geometry, gpu: Gpu) -> Forward:
    """What does not change from one call of a geometry to the next.

    Raises:
        NoKernelError: as `plan`.
    """
    chosen = plan(sizes_of(g, g.per_item), gpu)
    arguments = row_arguments(g, chosen)
    shape = (g.batch, g.channels, g.place.length)
    arguments.y_strides = dense_strides(g, g.place.length)
    return Forward(g.number, chosen, spectra_maker(g, chosen), arguments, shape)


def sizes_of(g: Geometry, filter_per_item: bool) -> Sizes:
    """What a plan asks of a call."""
    return Sizes(
        g.number, g.length, g.place.length, g.batch, g.channels, filter_per_item, g.pre_gate is not None,
        g.post_gate is not None, g.rows_aligned, g.points, g.masked,
    )  # fmt: skip


def row_arguments(g: Geometry, chosen: Plan) -> Arguments:
    """Of a fused convolution, forward or backward: what all of a geometry's calls have in common."""
    filters = g.filters_shape[-2]
    arguments = Arguments(
        filter_strides=Strides(filters if g.per_item else 0, 1), channels_per_filter=g.channels // filters,
        planes=1, batch=g.batch, channels=g.channels, length=g.length, out_length=g.place.length,
        rows_per_block=chosen.rows_per_block, u_strides=Strides(*g.u),
    )  # fmt: skip
    if g.pre_gate is not None:
        arguments.pre_strides = Strides(*g.pre_gate)
    if g.post_gate is not None:
        arguments.post_strides = Strides(*g.post_gate)
    return arguments


def dense_strides(g: Geometry, length: int) -> Strides:
    """Of a result."""
    return Strides(g.channels * length, length)


def set_inputs(arguments: Arguments, x, spectra: int, scales: int | None) -> None:
    """The addresses of what a fused convolution reads."""
    arguments.spectrum = spectra
    arguments.spectrum_scale = scales
    arguments.u = x.u.data_ptr()
    if x.pre_gate is not None:
        arguments.pre_gate = x.pre_gate.data_ptr()
    if x.post_gate is not None:
        arguments.post_gate = x.post_gate.data_ptr()


def _launch(on, how: Forward, arguments: Arguments, batch: int, sample: int) -> None:
    """The fused convolution, in as many launches as the y axis of a grid makes necessary."""
    chosen, rows = how.plan, how.plan.rows_per_block
    step = GRID_Y * rows
    for first in range(0, batch, step):
        items = arguments.batch = min(step, batch - first)
        on.launch(chosen.rows, arguments, (how.shape[1], -(-items // rows)))
        if first + items < batch:
            _move_on(arguments, step, sample, chosen)


def _move_on(arguments: Arguments, items: int, sample: int, chosen: Plan) -> None:
    """To the batch items behind the first ones; a sample has so many bytes."""
    for name, strides in (("u", "u"), ("pre_gate", "pre"), ("post_gate", "post"), ("y", "y")):
        address = getattr(arguments, name)
        if address is not None:
            setattr(arguments, name, address + items * getattr(arguments, f"{strides}_strides").batch * sample)
    filters = items * arguments.filter_strides.batch
    arguments.spectrum += filters * chosen.points * chosen.point_bytes
    if arguments.spectrum_scale is not None:
        arguments.spectrum_scale += filters * 4
