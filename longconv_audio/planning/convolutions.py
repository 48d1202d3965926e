"""Which algorithm and which transform a long convolution gets on a GPU: pure functions of shapes and a device.

A row whose transform fits one block is convolved in one launch ("fused"). A longer one takes outer DFTs, whose planes
cross memory: "three-pass", and "five-pass" beyond what three reach. A filter much shorter than its signal is better
convolved tile by tile ("overlap-save"), each tile in one way or the other. What has no kernel goes through torch.fft.

The engine asks here how to cut a row that no block holds (`cheapest_cut`), so that it does what a plan says.

Every transform that is large enough is priced, whatever the length, and what a transform costs never falls as rows
become longer. So a longer row never costs less.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..cost_model import fast_sizes
from ..engines.cuda.long_cuts import LARGEST, Lags, LongPlan, cuts
from ..errors import OptionError
from ..windows import MODES, window
from .cost import LONG_CALL, seconds
from .devices import Device
from .kernels import Transform, fused_transforms
from .long_work import LongRows, long_memory, long_passes
from .plans import Convolution, Plan
from .torch_work import torch_memory, torch_passes
from .work import Pass, fused_memory, fused_passes

_PRECISION = {"float16": "half", "bfloat16": "half", "float32": "single", "float64": "double"}
_PRECISIONS = ("half", "single", "double")
_PASSES = ("fused", "three-pass", "five-pass", "seven-pass")


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
        sparsity: share of the units of a mask that are skipped, 0 to 1 (`FrequencyMask.skipped`). Rows under a mask
            are in one block, and only in half precision does what is skipped save anything.
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
    return list(_ranked(convolution_of(batch, channels, length, taps, **options), device))


def cheapest_cut(c: Convolution, lags: Lags, made: Sequence[LongPlan], device: Device) -> LongPlan:
    """Of ways to cut the rows of a convolution, the cheapest that fits the device; the cheapest, where none fits."""
    best = ranked_cuts(c, lags, made, device)[0]
    return next(cut for cut in made if cut.points == best.points)


def ranked_cuts(c: Convolution, lags: Lags, made: Sequence[LongPlan], device: Device) -> list[Plan]:
    """Plans of ways to cut the rows of a convolution, each with another transform: those that fit first, by cost."""
    plans = [_long_plan(c, lags, cut, device) for cut in made]
    return sorted(plans, key=lambda p: (p.memory > device.memory_bytes, p.seconds))


@functools.lru_cache(maxsize=1024)
def _ranked(c: Convolution, device: Device) -> tuple[Plan, ...]:
    plans = sorted(_all_plans(c, device), key=lambda p: p.seconds)
    if not plans:
        raise OptionError(f"{c} need a transform of more than {2 * LARGEST:,} samples: cut the filter into parts")
    fitting = [p for p in plans if p.memory <= device.memory_bytes]
    if not fitting:
        raise OptionError(_too_large(c, device, min(p.memory for p in plans)))
    return tuple(replace(p, runner_up=after) for p, after in zip(fitting, [*fitting[1:], None], strict=True))


def _all_plans(c: Convolution, device: Device) -> Iterator[Plan]:
    fused = [] if c.precision == "double" else fused_transforms(c.precision, device.gpu, c.backward)
    fused = [t for t in fused if _holds_rows(c, t)]
    for t in fused:
        yield _fused_plan(c, t, device)
    if c.precision == "double" or (c.sparsity and not fused):
        yield _torch_plan(c, device)
    elif not c.sparsity:
        lags = _lags(c)
        for cut in cuts(lags, device.gpu, c.precision):
            if cut.outer or cut.tiles > 1 or not fused:
                yield _long_plan(c, lags, cut, device)


def shortage(c: Convolution, device: Device) -> str | None:
    """What is to be said of a convolution that what is left of a device has no room for; None where it has."""
    least = min((p.memory for p in _all_plans(c, device)), default=0)
    return _too_large(c, device, least, " left") if least > device.memory_bytes else None


def _holds_rows(c: Convolution, t: Transform) -> bool:
    """Whether a block does, so that no output can meet an input that it should not, whatever the taps are."""
    if c.precision == "half":
        return max(c.length, c.out_length) <= t.points
    return c.length + c.out_length - 1 <= 2 * t.points


def _lags(c: Convolution) -> Lags:
    """Which samples the filters join, at an offset of 0."""
    if c.mode == "circular":
        return Lags(c.length, c.length, 2 * c.length - 1, c.length - 1, 1)
    return Lags(c.length, c.out_length, c.taps, (c.taps - 1) // 2 if c.mode == "same" else 0, 1)


def _fused_plan(c: Convolution, t: Transform, device: Device) -> Plan:
    passes, memory = fused_passes(c, t), fused_memory(c, t)
    return _plan_of(c, t, "fused", 1, c.out_length, c.rows, passes, memory, device)


def _long_plan(c: Convolution, lags: Lags, cut: LongPlan, device: Device) -> Plan:
    rows = LongRows(c, lags, cut, device.cache_bytes)
    algorithm = _PASSES[len(cut.outer)] if rows.whole else "overlap-save"
    hop = min(cut.hop, c.out_length)
    passes, memory = long_passes(rows), long_memory(rows)
    plan = _plan_of(c, rows.transform, algorithm, cut.tiles, hop, rows.group, passes, memory, device)
    return replace(plan, seconds=plan.seconds + LONG_CALL)


def _plan_of(
    c: Convolution, t: Transform, algorithm: str, tiles: int, hop: int, group: int, passes: list[Pass], memory: int,
    device: Device,
) -> Plan:  # fmt: skip
    return Plan(
        c, device.name, algorithm, t.points, t.outer, t.row.points, t.factors, tiles, hop, group, 1 + 2 * len(t.outer),
        sum(p.device_bytes for p in passes), sum(p.flops for p in passes), seconds(passes, device), memory,
    )  # fmt: skip


def _torch_plan(c: Convolution, device: Device) -> Plan:
    least = c.length if c.mode == "circular" else c.length + c.taps - 1
    points = fast_sizes(least, 2 * least)[0]
    passes = torch_passes(c, points)
    return Plan(
        c, device.name, "torch.fft", points // 2, (), points // 2, (), 1, c.out_length, c.rows, 1,
        sum(p.device_bytes for p in passes), sum(p.flops for p in passes), seconds(passes, device),
        torch_memory(c, points),
    )  # fmt: skip


@functools.lru_cache(maxsize=4096)
def convolution_of(
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


def _too_large(c: Convolution, device: Device, needed: int, left: str = "") -> str:
    """What is said of rows that do not fit: the largest block of them that does is found by bisection."""
    low, high = 0, c.length
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(c, middle, device) else (low, middle)
    room = f"{device.name} has {device.memory_bytes / 1e9:,.1f} GB{left}"
    block = f"the largest block of rows that fits has {low:,} samples" if low else "no block of these rows fits"
    return f"{c} need {needed / 1e9:,.1f} GB, and {room}: {block}; pass shorter or fewer rows"


def _fits(c: Convolution, length: int, device: Device) -> bool:
    block = convolution_of(
        c.batch, c.channels, length, c.taps, None, c.mode, c.dtype, c.precision, c.pre_gate, c.post_gate, c.filters,
        c.filter_per_item, c.prepared, c.backward, c.sparsity,
    )  # fmt: skip
    return any(p.memory <= device.memory_bytes for p in _all_plans(block, device))
