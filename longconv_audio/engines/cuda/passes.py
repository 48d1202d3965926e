"""The launches of a long convolution, made once for all groups of a job, and what they are made for."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from .arguments import OuterArguments
from .plans import Kernel


class Group(NamedTuple):
    """What one launch works on: rows are tiles of batch items, item by item."""

    first_row: int
    rows: int
    first_channel: int
    channels: int

    @property
    def windows(self) -> int:
        return self.rows * self.channels


class Spectra(NamedTuple):
    """The addresses of filters' spectra, plane by plane, and in half precision of their scales."""

    points: int
    scales: int | None


class Room(NamedTuple):
    """Where planes lie, of a group's windows or of filters' taps.

    Args:
        address: of the room.
        windows: of the largest group that it is for.
        tile_scales, row_scales: in half precision the scales of planes on their way in, and out.
    """

    address: int
    windows: int
    tile_scales: int | None = None
    row_scales: int | None = None


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


def launch(on, passes: list[Pass], group: Group, spectra: Spectra | None = None) -> None:
    """The passes for a group of as many rows and channels as they were made for, with the spectra of its filters."""
    for kernel, arguments, grid, moving in passes:
        if isinstance(arguments, OuterArguments):
            arguments.first_row = group.first_row if moving else 0
            for name, address, step in moving:
                setattr(arguments, name, address + group.first_channel * step)
        elif spectra is not None:
            arguments.spectrum, arguments.spectrum_scale = spectra
        on.launch(kernel, arguments, grid)
