"""From the sizes of a call to the kernels that carry it out: pure functions, no device and no tensor.

A row of M complex points is the fold of 2 M real samples (csrc/single_rows.cuh). What the kernels of a precision are
and what they need stands in `half_kernels` and `single_kernels`, what both have in common in `plans`. What is said
there of threads and bytes is said in csrc/ too, where the compiler needs it; the tests compare the two.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from . import half_kernels, half_planes, norm_kernels, outer_kernels, short_kernels, single_kernels
from .gpus import Gpu
from .half_kernels import HALF_FACTORS, HalfShape
from .plans import GRID_Y, RESERVED, Kernel, Plan, Sizes
from .single_kernels import EXTENTS, SINGLE_FACTORS, SingleShape

__all__ = [
    "EXTENTS", "GRID_Y", "HALF_FACTORS", "RESERVED", "SINGLE_FACTORS", "HalfShape", "Kernel", "Plan", "SingleShape",
    "Sizes", "all_kernels", "plan", "plan_backward",
]  # fmt: skip


@functools.lru_cache(maxsize=4096)
def plan(sizes: Sizes, gpu: Gpu) -> Plan:
    """The kernels of a call on a device, and how its rows are dealt to blocks.

    Raises:
        NoKernelError: where its rows are too long for one block of the device.
    """
    return _of(sizes.number).plan_forward(sizes, gpu)


@functools.lru_cache(maxsize=4096)
def plan_backward(sizes: Sizes, gpu: Gpu, filter_gradient: bool = True) -> Plan:
    """The same of its gradients. How the batch is cut, and so the order of sums, depends on the sizes alone.

    Raises:
        NoKernelError: as `plan`; in half precision for rows that single precision has kernels for.
    """
    return _of(sizes.number).plan_backward(sizes, gpu, filter_gradient)


def all_kernels(gpu: Gpu) -> Iterator[Kernel]:
    """Every specialisation that a call on the device may ask for, once."""
    yield from half_kernels.all_kernels(gpu)
    yield from half_planes.all_kernels(gpu)
    yield from single_kernels.all_kernels(gpu)
    yield from outer_kernels.all_kernels(gpu)
    yield from short_kernels.all_kernels()
    yield from norm_kernels.all_kernels()


def _of(number: str):
    """The module that has the kernels for a type of samples."""
    return single_kernels if number == "fp32" else half_kernels
