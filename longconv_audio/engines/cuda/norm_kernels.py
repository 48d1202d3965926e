"""The kernels of csrc/channel_norm.cuh: their names and shared memory, and how time steps are dealt to blocks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from .plans import Kernel
from .short_kernels import NUMBERS, Chunks

# x's type and y's: a residual stream may be wider than what is made of it.
TYPES = (("fp32", "fp32"), ("fp32", "fp16"), ("fp32", "bf16"), ("fp16", "fp16"), ("bf16", "bf16"))
MOST_CHANNELS = 2048  # whose sums of gradients find room beside the others
MOST_TIMES = 2**31 - 2**13  # of a row, or tiles, that fit a signed number of 32 bits with what lies about them
TIMES_BACKWARD = 2  # of a lane
SUMS = 512  # blocks that sums of gradients are cut into; it may not depend on the device
GROUP = 8  # channels that a warp works on together
_SHAPES = ((8, True), (16, True), (8, False))  # warps, and whether a group of each is all there is


def forward(types: tuple[str, str], channels: int, aligned: bool) -> Kernel:
    """Norms rows of x's type into y's."""
    return _forward(types, *_shape(channels), aligned)


def backward(types: tuple[str, str], channels: int, aligned: bool) -> Kernel:
    """The gradient of x, and the sums of those of weight and bias."""
    return _backward(types, *_shape(channels), aligned)


def times_forward(types: tuple[str, str]) -> int:
    """Of a lane: as many as registers hold."""
    return 2 if types[0] == "fp32" else 4


def tiles_of(length: int, times: int) -> int:
    """Tiles of a row, where a lane has so many time steps."""
    return -(-length // (32 * times))


def chunks_of(tiles: int) -> Chunks:
    """How all tiles are dealt to the blocks of the backward pass."""
    each = -(-tiles // SUMS)
    return Chunks(each, -(-tiles // each))


def all_kernels() -> Iterator[Kernel]:
    """Every specialisation, once; they are the same for all devices."""
    for types, (warps, held), aligned in product(TYPES, _SHAPES, (True, False)):
        yield _forward(types, warps, held, aligned)
        yield _backward(types, warps, held, aligned)


def _shape(channels: int) -> tuple[int, bool]:
    return next((shape for shape in _SHAPES if channels <= shape[0] * GROUP), _SHAPES[-1])


def _forward(types, warps: int, held: bool, aligned: bool) -> Kernel:
    times = times_forward(types)
    shared = _exchange_bytes(warps, 2, times)
    return _kernel("forward", types, times, warps, held, aligned, 32, shared)


def _backward(types, warps: int, held: bool, aligned: bool) -> Kernel:
    sums = 2 * 4 * (warps * GROUP if held else MOST_CHANNELS)
    shared = _exchange_bytes(warps, 4, TIMES_BACKWARD) + sums
    resident = 24 if types == ("fp32", "fp32") else 32
    return _kernel("backward", types, TIMES_BACKWARD, warps, held, aligned, resident, shared)


def _exchange_bytes(warps: int, quantities: int, times: int) -> int:
    """What each warp tells the others of a tile."""
    return warps * quantities * 32 * times * 4


def _kernel(direction: str, types, times: int, warps: int, held: bool, aligned: bool, resident: int, shared: int):
    """With so many `resident` warps a multiprocessor, or fewer where addresses take more registers."""
    tags = ", ".join(NUMBERS[number][0] for number in types)
    flags = ", ".join(str(flag).lower() for flag in (held, aligned))
    name = f"channel_norm::channel_norm_{direction}<{tags}, {times}, {warps}, {flags}>"
    blocks = (resident if held and aligned else 16) // warps
    return Kernel("channel_norm.cuh", name, warps * 32, blocks, shared, "NormArguments")
