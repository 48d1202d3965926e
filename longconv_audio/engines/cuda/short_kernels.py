"""The kernels of csrc/short_*.cuh: their names and shared memory, and how a call's samples are dealt to warps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from .errors import NoKernelError
from .plans import Kernel

NUMBERS = {"fp16": ("short_conv::Fp16", 2), "bf16": ("short_conv::Bf16", 2), "fp32": ("short_conv::Fp32", 4)}
MOST_TAPS = 128
GROUP = 8  # taps, or times, that are worked on together
FUSED_SLOTS = 17  # taps and those they stand later, up to which, in 16 bits, du and the sums are made of one reading
TILE = 512  # samples of a row that a warp works on at a time
TIMES = 64  # samples of each channel that a warp works on, where channels are dense
TIMES_OF_FEW = 128  # the same, of taps as few as those that stay in registers
_FEW = (4, 16)  # such taps
WARPS = 4  # of a block
SUMS = 8192  # chunks that sums of gradients are cut into, over all channels; it may not depend on the device
_STEPS = {2: 5, 5: 5, 10: 3}  # products of a convolution that kernels are made for, and their blocks
_STAGES = 3  # tiles that a warp has on their way or is working on
_MOST = 2**31 - 2**13  # samples of a row, or tiles, that fit a signed number of 32 bits with what lies about them
_MOST_WARPS = 2**32 - 1


@dataclass(frozen=True)
class Chunks:
    """How the tiles of a channel are cut: `number` chunks of `tiles` each, the last one maybe of fewer."""

    tiles: int
    number: int


def rows(number: str, pre_gate: bool, side: str, aligned: bool) -> Kernel:
    """Convolves rows whose time is dense; `side` is "none", "gate" or, for the sums of gradients, "input"."""
    tag, _ = NUMBERS[number]
    name = f"short_conv::short_rows<{tag}, {_flag(pre_gate)}, short_conv::Side::{side}, {_flag(aligned)}>"
    blocks = 5 if side != "input" else 3 if pre_gate else 4
    return _kernel("short_rows.cuh", name, blocks, shared_bytes(number, pre_gate, side))


def products(number: str, slots: int, pre_gate: bool, side: str, aligned: bool) -> Kernel:
    """Convolves 16-bit rows whose time is dense, of so many taps with those they stand later; `side` as of `rows`."""
    tag, sample = NUMBERS[number]
    # Sixteen outputs that follow each other see slots + 15 samples, from any place of the first product on.
    steps = min(steps for steps in _STEPS if steps > (slots + 14) // 16)
    name = f"short_conv::short_products<{tag}, {steps}, {_flag(pre_gate)}, short_conv::Side::{side}, {_flag(aligned)}>"
    stage = _up((TILE + 16 * (steps - 1)) * sample) * (2 if pre_gate else 1) + TILE * sample
    blocks = _STEPS[steps] if side != "input" else 3 if pre_gate else 4
    return _kernel("short_products.cuh", name, blocks, WARPS * (_STAGES * stage + 16 * (steps + 1) * 4))


def product_sums(number: str, pre_gate: bool, aligned: bool) -> Kernel:
    """Sums of the gradients of taps and bias, of 16-bit rows whose time is dense."""
    tag, sample = NUMBERS[number]
    name = f"short_conv::short_product_sums<{tag}, {_flag(pre_gate)}, {_flag(aligned)}>"
    window, side = _up((TILE + MOST_TAPS) * sample), _up((TILE + 16) * sample)
    return _kernel("short_product_sums.cuh", name, 4, WARPS * _STAGES * (window * (2 if pre_gate else 1) + side))


def channels(number: str, taps: int, pre_gate: bool, post_gate: bool, aligned: bool) -> Kernel:
    """Convolves where the channels are dense."""
    tag, _ = NUMBERS[number]
    flags = f"{_flag(pre_gate)}, {_flag(post_gate)}, {_flag(aligned)}"
    few = min((few for few in _FEW if few >= taps), default=None)
    if few is None:
        return _kernel("short_channels.cuh", f"short_conv::short_channels<{tag}, {flags}>", 4)
    gated = pre_gate or post_gate
    blocks = (4 if gated else 6) if few <= 4 else 3 if gated else 4
    return _kernel("short_channels_few.cuh", f"short_conv::short_channels_few<{tag}, {few}, {flags}>", blocks)


def times_of_channels(taps: int) -> int:
    """Of a tile of `channels`."""
    return TIMES_OF_FEW if taps <= max(_FEW) else TIMES


def channel_sums(number: str, pre_gate: bool, aligned: bool) -> Kernel:
    """Sums of the gradients of taps and bias, where the channels are dense."""
    tag, _ = NUMBERS[number]
    name = f"short_conv::short_channels_sums<{tag}, {_flag(pre_gate)}, {_flag(aligned)}>"
    return _kernel("short_channels.cuh", name, 3 if pre_gate else 4)


def all_kernels() -> Iterator[Kernel]:
    """Every specialisation, once; they are the same for all devices."""
    flags = (True, False)
    for number, aligned in product(NUMBERS, flags):
        for pre_gate, post_gate in ((False, False), (False, True), (True, False)):
            yield from (channels(number, taps, pre_gate, post_gate, aligned) for taps in (*_FEW, MOST_TAPS))
            side = "gate" if post_gate else "none"
            if number == "fp32":
                yield rows(number, pre_gate, side, aligned)
            else:
                yield from (products(number, 16 * steps - 15, pre_gate, side, aligned) for steps in _STEPS)
        for pre_gate in flags:
            yield channel_sums(number, pre_gate, aligned)
            if number == "fp32":
                yield rows(number, pre_gate, "input", aligned)
            else:
                yield products(number, FUSED_SLOTS, pre_gate, "input", aligned)
                yield product_sums(number, pre_gate, aligned)
    yield SUM


def shared_bytes(number: str, pre_gate: bool, side: str) -> int:
    """Of a block of `rows`: for each warp the window of x and its gate, a tile of y, the taps and the sums."""
    sample = NUMBERS[number][1]
    slots = -(-(MOST_TAPS + 7) // GROUP) * GROUP
    window = _up((TILE + slots + GROUP) * sample)
    bytes_ = window * (2 if pre_gate else 1) + _up(TILE * sample) + slots * 4
    return WARPS * _up(bytes_ + (slots * 4 if side == "input" else 0))


def chunks_of(tiles: int, channels: int) -> Chunks:
    """So few tiles a chunk that a device is busy where channels are few."""
    number = min(-(-SUMS // max(channels, 1)), tiles)
    each = -(-tiles // number)
    return Chunks(each, -(-tiles // each))


def lanes_of_sum(chunks: int) -> int:
    """Lanes that add up one sum of a channel's chunks: so many that each has up to eight."""
    lanes = 1
    while lanes < 32 and lanes * 8 < chunks:
        lanes *= 2
    return lanes


def warps_of_channels(number: str, channels: int) -> int:
    """Each has 128 bytes of channels."""
    return -(-channels * NUMBERS[number][1] // 128)


def blocks_of(warps: int, *counts: int) -> int:
    """The blocks of so many warps, for rows of so many samples and so many tiles of a channel.

    Raises:
        NoKernelError: where these, or what lies about them, do not fit 32 bits.
    """
    if max(counts, default=0) > _MOST or warps > _MOST_WARPS:
        raise NoKernelError(
            f"a short convolution of {max(counts, default=0)} samples by {warps} warps; expected at most {_MOST} and "
            f"{_MOST_WARPS}: use engine='torch'"
        )
    return -(-warps // WARPS)


def _kernel(header: str, name: str, blocks: int, shared: int = 0, struct: str = "ShortArguments") -> Kernel:
    return Kernel(header, name, WARPS * 32, blocks, shared, struct)


def _flag(value: bool) -> str:
    return str(value).lower()


def _up(size: int) -> int:
    return -(-size // 128) * 128


SUM = _kernel("short_sums.cuh", "short_conv::short_sums", 8, struct="ShortSumArguments")
