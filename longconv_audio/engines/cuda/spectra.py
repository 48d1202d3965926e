"""Filters' spectra on the device: made by a call for itself, or once for many calls.

A prepared spectrum has the shape `(..., F, points)` of complex64 in single precision. In half precision it is of int32,
each a pair of float16, and has behind its F filters as many more rows as their F scales (float32) take.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from ...windows import window
from ..selection import Call
from .arguments import FilterArguments, Strides, TableArguments
from .operands import Geometry, folded, kernel_offset, number_of
from .plans import Kernel, Plan, Sizes
from .specialisations import plan
from .tables import single_tables


class SpectraMaker(NamedTuple):
    """How a call's filters become spectra.

    Args:
        kernel, grid: what makes them, and on how many blocks.
        arguments: all of its arguments but the addresses.
        scales: where behind the spectra their scales begin, in bytes; None where there are none.
        bytes: of spectra and scales.
    """

    kernel: Kernel
    grid: tuple[int, int]
    arguments: FilterArguments
    scales: int | None
    bytes: int


def spectra_maker(g: Geometry, chosen: Plan) -> SpectraMaker:
    """For the filters of a call that is planned."""
    # Filters of all items are a row of filters like any other, so that their number may pass a grid's y axis.
    count = g.filters_shape[-2] * (g.filters_shape[0] if g.per_item else 1)
    arguments = filter_arguments(g, g.taps, offset=g.offset, filters=count, channels_per_filter=1, planes=1)
    scales = None if g.number == "fp32" else count * chosen.points * chosen.point_bytes
    size = count * (chosen.points * chosen.point_bytes + (0 if scales is None else 4))
    return SpectraMaker(chosen.spectrum, (-(-count // chosen.filters_per_block), 1), arguments, scales, size)


def make_spectra(on, chosen: Plan, maker: SpectraMaker, filters, skips, to: int, mask=None) -> tuple[int, int | None]:
    """Makes the spectra in memory at `to`, zero where a mask is. Returns where they are, and where their scales."""
    arguments = maker.arguments.copy()
    arguments.k = filters.data_ptr()
    arguments.tables = filter_tables_of(on, chosen)
    arguments.spectrum = to
    if skips is not None:
        arguments.d = skips.data_ptr()
    if mask is not None:
        arguments.mask = mask.data_ptr()
    scales = None if maker.scales is None else to + maker.scales
    arguments.scale = scales
    on.launch(maker.kernel, arguments, maker.grid)
    return to, scales


def filter_arguments(g: Geometry, taps: int, **fields) -> FilterArguments:
    """Of a kernel that makes spectra of taps, or the taps' gradients."""
    return FilterArguments(
        tap_strides=Strides(0, taps), taps=taps, length=g.length, out_length=g.place.length, direction=g.direction,
        circular=g.call.mode == "circular", **fields,
    )  # fmt: skip


def load_spectra(on, chosen: Plan) -> None:
    """Loads and makes all that `make_spectra` will need."""
    on.load(chosen.spectrum)
    filter_tables_of(on, chosen)


def tables_of(on, chosen: Plan) -> int:
    """Where the tables of the rows' kernels are on the device; made at its first call there."""
    if chosen.tables is None:
        return filter_tables_of(on, chosen)

    def make():
        words = chosen.tables_bytes // 4
        made = torch.empty(words, dtype=torch.int32, device=on.device)
        on.launch(chosen.tables, TableArguments(made.data_ptr()), (-(-words // chosen.tables.threads), 1))
        return made

    return on.tables(("half", chosen.factors), make).data_ptr()


def filter_tables_of(on, chosen: Plan) -> int:
    """Those of single precision, in which the spectra of filters are made whatever the rows' own."""
    factors = chosen.filter_factors
    return on.tables(("single", factors), lambda: torch.from_numpy(single_tables(*factors)).to(on.device)).data_ptr()


# ---- prepared ones


def prepare_spectrum(on, call: Call, k: torch.Tensor, length: int, mask=None) -> torch.Tensor:
    """The spectra of k for calls on up to `length` samples, or exactly so many if circular."""
    number = number_of(call.precision, torch.float16)  # spectra are the same for both 16-bit types
    filters = folded(call, k, length)
    filters = filters.reshape(-1, filters.shape[-1]).contiguous()
    g = Geometry(call, number, (1, 1, length), filters.shape, False, (0, 0), None, None, None, True)
    points = 0 if mask is None else mask.shape[-1]
    sizes = Sizes(number, length, g.place.length, least_points=points, sparse=mask is not None)
    chosen = plan(sizes, on.gpu)
    maker = spectra_maker(g, chosen)
    room = torch.empty(maker.bytes, dtype=torch.uint8, device=k.device)
    make_spectra(on, chosen, maker, filters, None, room.data_ptr(), mask)
    shape = (*k.shape[:-1], chosen.points)
    if maker.scales is None:
        return room.view(torch.complex64).view(shape)
    spectra, scales = room.view(torch.int32).split([maker.scales // 4, len(filters)])
    scales = torch.nn.functional.pad(scales.view(k.shape[:-1]), (0, -k.shape[-2] % chosen.points))
    return torch.cat([spectra.view(shape), scales.view(*k.shape[:-2], -1, chosen.points)], -2)


def prepared_parts(spectrum: torch.Tensor, filters: int):
    """A prepared spectrum's address, its scales', the filters from one item to the next, and what is to be kept."""
    spectrum = spectrum.contiguous()
    at, per_item, apart = spectrum.data_ptr(), spectrum.ndim == 3, spectrum.shape[-2]
    if spectrum.dtype == torch.complex64:
        return at, None, filters if per_item else 0, spectrum
    if not per_item:
        return at, at + filters * spectrum.shape[-1] * 4, 0, spectrum
    # One stride serves both, and the scales of an item lie behind its spectra.
    scales = spectrum[:, filters:].flatten(1)[:, :filters]
    scales = torch.nn.functional.pad(scales, (0, apart - filters))
    return at, scales.data_ptr(), apart, (spectrum, scales)


def serves(made: Call, length: int, points: int, call: Call, samples: int, taps: int) -> bool:
    """Whether a spectrum of `points` that was prepared for a call on `length` samples is right for another.

    A spectrum fixes the lag of each tap, and has of them those that an output could see. A call may look no further,
    and its rows must fit the transform. (Nothing is cached here, for torch.compile looks through.)
    """
    here = window(call.mode, samples, taps, call.offset, call.correlate)
    there = window(made.mode, length, taps, made.offset, made.correlate)
    offset = kernel_offset(here, call.correlate)
    if (made.precision, made.correlate) != (call.precision, call.correlate):
        return False
    if offset != kernel_offset(there, made.correlate):
        return False
    if call.mode == "circular":
        return samples == length
    last_lag = offset if call.correlate else taps - 1 - offset
    if min(here.length - 1, last_lag) > there.length - 1:
        return False
    if call.precision == "half":
        return here.length <= points
    # The longest lags to both sides that are in the spectrum: no output may alias with another.
    return length + here.length - 1 <= 2 * points
