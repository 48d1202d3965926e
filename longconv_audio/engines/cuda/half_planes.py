"""The kernels of csrc/half_planes.cuh: convolutions of complex rows, the inner pass of long ones in half precision.

A row has exactly as many points as the transform. Tables, spectra of filters and what becomes of their gradients are
those of `HalfShape`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from .errors import NoKernelError
from .gpus import Gpu
from .half_kernels import HALF_FACTORS, HalfShape
from .plans import RESERVED, Kernel, Sizes, rows_per_block, rows_per_sum

_SHAPES = {shape.points: shape for shape in (HalfShape(*factors, "fp16") for factors in HALF_FACTORS)}
# Resident on a multiprocessor; 1 of the others.
_BLOCKS = {256: 8, 512: 5, 1024: 4, 2048: 5, 4096: 3, 8192: 2}
_BACKWARD_BLOCKS = {256: 6, 512: 4, 1024: 3, 2048: 4, 4096: 2}


def plane_shape(points: int) -> HalfShape:
    """The transform of `points`: its tables, and the kernels of its filters.

    Raises:
        NoKernelError: where there is none of so many.
    """
    if points not in _SHAPES:
        raise NoKernelError(f"rows of {points} complex points in half precision; expected one of {[*_SHAPES]}")
    return _SHAPES[points]


def planes_forward(points: int, gpu: Gpu) -> Kernel:
    """The convolution of rows of `points`, on (channels, batch items / `forward_rows`) blocks.

    Raises:
        NoKernelError: where there is none of so many points, and where a row does not fit one block of the device.
    """
    shape = plane_shape(points)
    if shape.n1 == 1:
        shared = shape.tables_bytes + points * 4 + shape.warps * _input_bytes(points)
        return _kernel("forward_warp", shape.factors, shape.warps, _BLOCKS[points], shared, gpu)
    streamed = points * 4 + _input_bytes(points) + shape.tables_bytes + shape.warps * 4 + 16
    resident = streamed + points * 4 <= gpu.shared_per_block
    options = f"{shape.factors}, {str(resident).lower()}"
    blocks = _BLOCKS.get(points, 1) if resident or points < 8192 else 1
    return _kernel("forward_group", options, shape.warps, blocks, streamed + points * 4 * resident, gpu)


def forward_rows(points: int, gpu: Gpu, batch: int, channels: int, filter_per_item: bool = False) -> int:
    """Batch items that a block of `planes_forward` walks: `rows_per_block` of its arguments.

    Args:
        batch, channels: rows, of all planes.
        filter_per_item: each batch item has filters of its own.
    """
    if filter_per_item:
        return 1
    kernel = planes_forward(points, gpu)
    fitting = gpu.shared_per_multiprocessor // (kernel.shared_bytes + RESERVED)
    at_once = 4 if plane_shape(points).n1 == 1 else 1
    sizes = Sizes("fp16", points, points, batch, channels)
    return rows_per_block(sizes, gpu, max(min(kernel.blocks, fitting), 1), at_once)


def planes_backward(points: int, gpu: Gpu) -> Kernel:
    """The gradients of such rows, and the sums of which `HalfShape.gradient` makes those of filters.

    Raises:
        NoKernelError: as `planes_forward`.
    """
    shape = plane_shape(points)
    if shape.n1 == 1:
        shared = shape.tables_bytes + points * 4 + shape.warps * (points * 8 + _input_bytes(points))
        return _kernel("backward_warp", shape.factors, shape.warps, _BACKWARD_BLOCKS[points], shared, gpu)
    keep, shared = _kept(shape, gpu)
    options = f"{shape.factors}, Keep::{keep}"
    return _kernel("backward_group", options, shape.backward_warps, _BACKWARD_BLOCKS.get(points, 1), shared, gpu)


def backward_rows(points: int, batch: int, channels: int, filter_per_item: bool = False) -> int:
    """Batch items that a block of `planes_backward` walks and sums up. Args as of `forward_rows`."""
    sizes = Sizes("fp16", points, points, batch, channels, filter_per_item)
    return rows_per_sum(sizes, 4 if plane_shape(points).n1 == 1 else 1)


def scratch_bytes(points: int, gpu: Gpu) -> int:
    """Of a block of `planes_backward`, in device memory."""
    shape = plane_shape(points)
    return 0 if shape.n1 == 1 or _kept(shape, gpu)[0] == "in_shared" else points * 4


def all_kernels(gpu: Gpu) -> Iterator[Kernel]:
    """Every specialisation that a call on the device may ask for, once."""
    for points, make in product(_SHAPES, (planes_forward, planes_backward)):
        try:
            yield make(points, gpu)
        except NoKernelError:
            continue


def _kept(shape: HalfShape, gpu: Gpu) -> tuple[str, int]:
    """Where the backward pass keeps spectra and rows on their way (see `HalfShape`), and its shared memory.

    As much as there is room for; where there is none, what takes the least.
    """
    points = shape.points
    least = _input_bytes(points) + shape.tables_bytes + shape.backward_warps * 4 + 16 + points * 8
    ways = [("in_shared", least + points * 12), ("in_device", least + points * 4)]
    if shape.n1 == 32:
        ways.append(("in_exchange", least))
    return next((way for way in ways if way[1] <= gpu.shared_per_block), ways[-1])


def _input_bytes(points: int) -> int:
    """`PlaneInput`: a row on its way in, and a scale for every 32 points."""
    return points * 4 + points // 8


def _kernel(function: str, options: str, warps: int, blocks: int, shared: int, gpu: Gpu) -> Kernel:
    name = f"half_planes_{function}<{options}>"
    if shared > gpu.shared_per_block:
        raise NoKernelError(
            f"{name} takes {shared} bytes of shared memory, and a block of {gpu.arch} has {gpu.shared_per_block}: "
            "take rows of fewer points"
        )
    return Kernel("half_planes.cuh", name, 32 * warps, blocks, shared, "PlaneArguments")
