"""Which algorithm and which transform a long convolution gets on a GPU: pure functions of shapes and a device.

A row whose transform fits one block is convolved in one launch ("fused"). A longer one takes outer DFTs, whose planes
cross memory: "three-pass", and "five-pass" beyond what three reach. A filter much shorter than its signal is better
convolved tile by tile ("overlap-save"), each tile in one way or the other. What has no kernel goes through torch.fft.

Every transform that is large enough is priced, whatever the length, and what a transform costs never falls as rows
become longer. So a longer row never costs less.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

from ..cost_model import fast_sizes
from ..errors import OptionError
from ..windows import MODES, window
from .cost import seconds
from .devices import Device
from .kernels import POINT_BYTES, Transform, transforms
from .plans import Convolution, Plan
from .torch_work import torch_memory, torch_passes
from .work import Tiling, convolution_passes, memory_bytes, planes_bytes

_PRECISION = {"float16": "half", "bfloat16": "half", "float32": "single", "float64": "double"}
_PRECISIONS = ("half", "single", "double")
# Shorter hops, as a share of a transform's points, compute the same samples over and over.
_LEAST_HOP = 0.125
# Of the second-level cache, what planes can rely on (benchmarks/kernel_roofline.py).
_CACHE_SHARE = 0.39
# Bytes of the planes that are walked together: few enough for a second-level cache, enough to be worth a launch.
_PLANES = 32 << 20
_PASSES = ("fused", "three-pass", "five-pass")


def plan(
    batch: int,
    channels: int,
    length: int,
    taps: int,
    *,
    out_length: int | None = None,
    mode: str = "causal",
    dtype: str = "float32",
    precision: str | None = None,
    pre_gate: bool = False,
    post_gate: bool = False,
    filters: int | None = None,
    filter_per_item: bool = False,
    prepared: bool = False,
    backward: bool = False,
    sparsity: float = 0.0,
    device: Device,
) -> Plan:
    """The cheapest way to carry out a long convolution on a device.

    Args:
        batch, channels, length: of u, in samples.
        taps: of each filter.
        out_length: samples of a row of y; by default what the mode gives.
        mode: "causal", "full", "same" or "circular".
        dtype: of u: "float16", "bfloat16", "float32" or "float64".
        precision: "half", "single" or "double"; by default the dtype's own.
        pre_gate, post_gate: whether u, and y, is multiplied by a gate.
        filters: distinct ones, by default as many as channels.
        filter_per_item: whether each batch item has filters of its own.
        prepared: whether the filters' spectra are there already.
        backward: the gradients' cost instead of the result's.
        sparsity: share of the spectrum's blocks that are zero and skipped, 0 to 1.
        device: from `device_named`, or measured.

    Raises:
        OptionError: for an argument that makes no sense, and where the memory of the device is not enough.

    >>> from longconv_audio.planning import device_named
    >>> plan(64, 768, 4096, 4096, dtype="float16", device=device_named("h200")).algorithm
    'fused'
    """
    given = dict(locals())
    return candidates(**given)[0]


def candidates(batch: int, channels: int, length: int, taps: int, *, device: Device, **options) -> list[Plan]:
    """Every plan that fits the device, the cheapest first: one for each algorithm and transform. See `plan`.

    Raises:
        OptionError: as `plan`; there is always one plan at least.
    """
    return list(_ranked(_convolution(batch, channels, length, taps, **options), device))


@functools.lru_cache(maxsize=1024)
def _ranked(c: Convolution, device: Device) -> tuple[Plan, ...]:
    plans = sorted(_all_plans(c, device), key=lambda p: p.seconds)
    fitting = [p for p in plans if p.memory <= device.memory_bytes]
    if not fitting:
        raise OptionError(_too_large(c, device, min(p.memory for p in plans)))
    return tuple(replace(p, runner_up=after) for p, after in zip(fitting, [*fitting[1:], None], strict=True))


def _all_plans(c: Convolution, device: Device) -> Iterator[Plan]:
    if c.precision == "double":
        yield _torch_plan(c, device)
        return
    for t in transforms(c.precision, device.gpu, c.backward):
        for tiling in _tilings(c, t):
            yield _plan_of(c, t, tiling, device)


def _tilings(c: Convolution, t: Transform) -> Iterator[Tiling]:
    """The whole row in one tile, and tiles with a hop, as far as the transform takes them."""
    whole = _holds_rows(c, t)
    if whole:
        yield Tiling(1, c.out_length)
    hop = _window(c, t) - c.taps + 1
    # One tile with a hop is for rows that do not fit as a whole, where taps could be as long as they, and are not.
    if hop >= t.points * _LEAST_HOP and c.mode != "circular" and not (whole and hop >= c.out_length):
        yield Tiling(-(-c.out_length // hop), min(hop, c.out_length))


def _window(c: Convolution, t: Transform) -> int:
    """Samples of a tile: those of the fold, or in half precision within one block its real part."""
    return t.points if c.precision == "half" and not t.outer else 2 * t.points


def _holds_rows(c: Convolution, t: Transform) -> bool:
    """Whether no output can meet an input that it should not; within a block, whatever the taps are."""
    if t.outer:
        furthest = {"same": c.taps // 2, "circular": c.length - 1}.get(c.mode, c.taps - 1)  # that an output looks back
        return max(c.length + furthest, c.out_length) <= _window(c, t)
    if c.precision == "half":
        return max(c.length, c.out_length) <= _window(c, t)
    return c.length + c.out_length - 1 <= _window(c, t)


def _plan_of(c: Convolution, t: Transform, tiling: Tiling, device: Device) -> Plan:
    group = c.rows * tiling.count
    if t.outer:
        group = min(group, max(_PLANES // (t.points * POINT_BYTES[c.precision]), 1))
    passes = convolution_passes(c, t, tiling, group, _missed(planes_bytes(c, t, group), device))
    whole = tiling.count == 1 and _holds_rows(c, t)
    algorithm = _PASSES[len(t.outer)] if whole else "overlap-save"
    return Plan(
        c, device.name, algorithm, t.points, t.outer, t.row.points, t.factors, tiling.count, tiling.hop, group,
        1 + 2 * len(t.outer), sum(p.device_bytes for p in passes), sum(p.flops for p in passes),
        seconds(passes, device, c.backward), memory_bytes(c, t, group),
    )  # fmt: skip


def _missed(planes: int, device: Device) -> float:
    """Of planes, the share that the cache has no room for, where lines leave it in no particular order."""
    return max(0.0, 1 - _CACHE_SHARE * device.cache_bytes / planes) if planes else 0.0


def _torch_plan(c: Convolution, device: Device) -> Plan:
    least = c.length if c.mode == "circular" else c.length + c.taps - 1
    points = fast_sizes(least, 2 * least)[0]
    passes = torch_passes(c, points)
    return Plan(
        c, device.name, "torch.fft", points // 2, (), points // 2, (), 1, c.out_length, c.rows, 1,
        sum(p.device_bytes for p in passes), sum(p.flops for p in passes), seconds(passes, device, backward=False),
        torch_memory(c, points),
    )  # fmt: skip


def _convolution(
    batch, channels, length, taps, out_length=None, mode="causal", dtype="float32", precision=None, pre_gate=False,
    post_gate=False, filters=None, filter_per_item=False, prepared=False, backward=False, sparsity=0.0,
) -> Convolution:  # fmt: skip
    """The arguments of `plan`, checked, with their defaults."""
    numbers = {"batch": batch, "channels": channels, "length": length, "taps": taps}
    numbers |= {"out_length": out_length, "filters": filters}
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise OptionError(f"{name} is {value}; expected at least 1")
    for name, value, known in (
        ("mode", mode, MODES), ("dtype", dtype, _PRECISION), ("precision", precision, (None, *_PRECISIONS)),
    ):  # fmt: skip
        if value not in known:
            raise OptionError(f"{name} is {value!r}; expected one of {', '.join(map(str, known))}")
    if not 0 <= sparsity <= 1:
        raise OptionError(f"sparsity is {sparsity}; expected a share of the spectrum, 0 to 1")
    filters = filters or channels
    if channels % filters and channels != 1:
        raise OptionError(f"filters is {filters}; expected a divisor of {channels} channels")
    out_length = out_length or window(mode, length, taps).length
    taps = min(taps, {"causal": out_length, "same": length + out_length - 1, "circular": length}.get(mode, taps))
    return Convolution(
        batch, max(channels, filters), length, taps, out_length, mode, dtype, precision or _PRECISION[dtype],
        bool(pre_gate), bool(post_gate), filters, bool(filter_per_item), bool(prepared), bool(backward),
        float(sparsity),
    )  # fmt: skip


def _too_large(c: Convolution, device: Device, needed: int) -> str:
    """What is said of rows that do not fit: the largest block of them that does is found by bisection."""
    low, high = 0, c.length
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(c, middle, device) else (low, middle)
    room = f"{device.name} has {device.memory_bytes / 1e9:,.1f} GB"
    block = f"the largest block of rows that fits has {low:,} samples" if low else "no block of these rows fits"
    return f"{c} need {needed / 1e9:,.1f} GB, and {room}: {block}; pass shorter or fewer rows"


def _fits(c: Convolution, length: int, device: Device) -> bool:
    block = _convolution(
        c.batch, c.channels, length, c.taps, None, c.mode, c.dtype, c.precision, c.pre_gate, c.post_gate, c.filters,
        c.filter_per_item, c.prepared, c.backward, c.sparsity,
    )  # fmt: skip
    return any(p.memory <= device.memory_bytes for p in _all_plans(block, device))
