"""The long convolution of rows that no block holds, forward and backward, on a launcher: see `long_plans` and `planes`.

Rows and channels are worked off in groups of a bounded size. Groups depend on shapes alone, never on the device, and so
does the order of sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from ..selection import Call
from . import planes, tiles
from .long_plans import Lags, LongPlan, plan_long
from .operands import KINDS, cast, number_of, operands, placed, rows
from .planes import Group, View
from .plans import GRID_Y
from .taps import Taps, lags_of, linear_taps, no_taps, tap_gradients

# Bytes of the planes of a group. Groups that stay in a second-level cache are no faster on an H200: what they save of
# its memory they lose at the beginning and the end of each launch.
_GROUP = 256 << 20


class Job(NamedTuple):
    """A convolution, and how it is carried out.

    Args:
        number: the type of the rows.
        filters: `(F, K)` or `(B, F, K)`, linear, with their skip terms.
        lags, plan: see there.
        batch, channels: rows of y.
        per_filter: channels that groups may not part unevenly: those of one filter.
        spectrum: prepared, or None.
    """

    number: str
    filters: Taps
    lags: Lags
    plan: LongPlan
    batch: int
    channels: int
    per_filter: int
    spectrum: torch.Tensor | None

    @property
    def per_item(self) -> bool:
        return self.filters.k.ndim == 3

    @property
    def whole(self) -> bool:
        """Whether one window sees all of a row."""
        return self.lags.samples <= 2 * self.plan.points

    @property
    def windows(self) -> int:
        """The most in a group."""
        return min(_windows(self.plan), self.batch * self.plan.tiles * self.channels)

    def reversed(self, gpu) -> Job:
        """From y's gradient to that of x."""
        lags, taps = self.lags.reversed, self.filters._replace(direction=-self.filters.direction)
        return self._replace(lags=lags, filters=taps, plan=plan_long(lags, gpu, self.plan.points), spectrum=None)


class Part(NamedTuple):
    """What is worked off with the same spectra: groups of rows, and the filters of their channels.

    Args:
        item: the batch item that has these filters; None where all have.
        first, count: filters.
    """

    item: int | None
    first: int
    count: int
    groups: list[Group]


def convolve(on, call: Call, u, k, spectrum, d, pre_gate, post_gate) -> torch.Tensor:
    """`forward` of the engine, on a launcher."""
    number = number_of(call.precision, u.dtype)
    x, job = _job(on, call, number, u, k, spectrum, d, pre_gate, post_gate)
    y = x.u.new_empty(job.batch, job.channels, job.lags.out_length)
    _convolve(on, job, x.u, x.pre_gate, [(y, x.post_gate)])
    return cast(y, u.dtype)


def gradients(on, call: Call, needs, dy, u, k, spectrum, d, pre_gate, post_gate):
    """`backward` of the engine, on a launcher."""
    need_u, need_k, need_d, need_pre, need_post = needs
    many = u.shape[1] < k.shape[-2] and (need_u or need_pre)  # an input's gradient is a sum: see backward_pass._number
    number = "fp32" if many else number_of(call.precision, u.dtype)
    x, job = _job(on, call, number, u, k, spectrum, d, pre_gate, post_gate)
    dy = rows(dy, KINDS[job.number])
    of_input, of_output = (job.batch, job.channels, job.lags.length), (job.batch, job.channels, job.lags.out_length)
    dx = [(dy.new_empty(of_input), x.pre_gate)] if need_u else []
    dx += [(dy.new_empty(of_input), x.u.expand(of_input))] if need_pre else []
    dpost = dy.new_empty(of_output) if need_post else None
    taps = no_taps(call, k.shape, u.shape[-1], u.device) if need_k else None
    if job.whole and job.plan.outer and (dx or need_k):
        _differentiate(on, job, x, dy, dx, dpost, taps)
    else:
        if dx:
            _convolve(on, job.reversed(on.gpu), dy, x.post_gate, dx)
        if need_k:
            _differentiate(on, job, x, dy, [], None, taps)
        if need_post:
            _convolve(on, job, x.u, x.pre_gate, [(dpost, dy)])
    made = iter(dx)

    def summed(like):
        gradient, _ = next(made)
        return cast(gradient.sum(1, keepdim=True) if u.shape[1] < job.channels else gradient, like.dtype)

    return (
        summed(u) if need_u else None,
        cast(tap_gradients(call, taps.k, k.shape[-1], u.shape[-1]), k.dtype) if need_k else None,
        _skip_gradient(call, x, dy, d, k.shape[-1]) if need_d else None,
        summed(pre_gate) if need_pre else None,
        cast(dpost, post_gate.dtype) if need_post else None,
    )


def prepare(on, call: Call, needs, u, k, d, pre_gate, post_gate) -> None:
    """Loads and makes all that `convolve`, and `gradients` where they are needed, will need."""
    number = number_of(call.precision, u.dtype)
    _, job = _job(on, call, number, u, k, None, d, pre_gate, post_gate)
    if job.plan.outer:
        planes.load(on, job.plan, number, any(needs))
    else:
        gates = pre_gate is not None, post_gate is not None
        for way in {gates, gates[::-1], (gates[0], True)} if any(needs) else {gates}:
            tiles.load(on, job, way, any(needs))


def prepare_spectrum(on, call: Call, k: torch.Tensor, length: int) -> torch.Tensor:
    """The spectra of k for calls on `length` samples, `(..., F, points)`."""
    taps = linear_taps(call, cast(k, torch.float32), None, length)
    plan = plan_long(lags_of(call, length, k.shape[-1], taps), on.gpu)
    if not plan.outer:
        return tiles.make_spectra(on, plan, taps)
    filters = taps.k.flatten(0, -2)
    made = torch.empty(len(filters), plan.points, dtype=torch.complex64, device=k.device)
    for first in range(0, len(filters), step := _windows(plan)):
        part = made[first : first + step]
        _make_spectra(on, plan, taps._replace(k=filters[first : first + step]), part)
    return made.view(*k.shape[:-1], plan.points)


def _job(on, call: Call, number: str, u, k, spectrum, d, pre_gate, post_gate):
    """A call's operands and the job that they are."""
    x = operands(call, number, u, k, d, pre_gate, post_gate)
    length, taps = u.shape[-1], k.shape[-1]
    filters = linear_taps(call, x.filters, x.skips, length)
    lags = lags_of(call, length, taps, filters)
    plan = plan_long(lags, on.gpu, 0 if spectrum is None else spectrum.shape[-1])
    if not plan.outer and number != "fp32":  # blocks convolve tiles in single precision
        number, x = "fp32", operands(call, "fp32", u, k, d, pre_gate, post_gate)
    channels = k.shape[-2] if u.shape[1] == 1 else u.shape[1]
    return x, Job(number, filters, lags, plan, u.shape[0], channels, channels // k.shape[-2], spectrum)


def _convolve(on, job: Job, u, gate, results) -> None:
    """u times its gate, convolved, to one or two results, each times what stands beside it."""
    if not job.plan.outer:
        return tiles.convolve(on, job, u, gate, results)
    plan, view, number = job.plan, _view(job.plan), job.number
    room = _room(planes.bytes_of(plan, job.windows), u)
    at, made = room.data_ptr(), {}
    for part, spectrum in _with_spectra(on, job, u):
        for group in part.groups:
            shape = group.rows, group.channels
            if shape not in made:
                made[shape] = [
                    *planes.to_planes(plan, group, u, gate, view._replace(span=2 * plan.points), number, at),
                    *planes.convolve_planes(on, plan, group, at, part.count),
                    *planes.from_planes(plan, group, at, results, view, number),
                ]
            planes.launch(on, made[shape], group, spectrum)


def _differentiate(on, job: Job, x, dy, dx, dpost, taps: Taps | None) -> None:
    """By way of the planes of x and g: the gradients of x to `dx`, of the post gate to `dpost`, of taps added."""
    if not job.plan.outer:
        return _differentiate_tiles(on, job, x, dy, taps)
    plan, view, number = job.plan, _view(job.plan), job.number
    size = planes.bytes_of(plan, job.windows)
    room = _room(2 * size, dy)
    at_x, at_g, made = room.data_ptr(), room.data_ptr() + size, {}
    for part, spectrum in _with_spectra(on, job, dy):
        for group in part.groups:
            shape = group.rows, group.channels
            if shape not in made:
                taps_work = None if taps is None else _TapsWork.of(on, job, group, taps)
                sums = None if taps_work is None else taps_work.sums.data_ptr()
                passes = [
                    *planes.to_planes(plan, group, x.u, x.pre_gate, view._replace(span=2 * plan.points), number, at_x),
                    *planes.to_planes(plan, group, dy, x.post_gate, view._replace(lead=0), number, at_g),
                    *planes.differentiate_planes(on, plan, group, at_x, at_g, part.count, sums),
                ]
                if dx:
                    passes += planes.from_planes(plan, group, at_g, dx, view._replace(span=job.lags.length), number)
                if dpost is not None:
                    passes += planes.convolve_planes(on, plan, group, at_x, part.count)
                    passes += planes.from_planes(plan, group, at_x, [(dpost, dy)], view, number)
                made[shape] = passes, taps_work
            passes, taps_work = made[shape]
            planes.launch(on, passes, group, spectrum)
            if taps_work is not None:
                planes.launch(on, taps_work.passes, group)
                taps_work.add(group, taps)


def _differentiate_tiles(on, job: Job, x, dy, taps: Taps) -> None:
    """The gradients of taps alone, by tiles that blocks convolve."""
    if taps.k.ndim == 2:
        return tiles.differentiate(on, job, x.u, x.pre_gate, dy, x.post_gate, taps)
    for item in range(job.batch):
        parts = (t if t is None else t[item : item + 1] for t in (x.u, x.pre_gate, dy, x.post_gate))
        tiles.differentiate(on, job._replace(batch=1), *parts, taps._replace(k=taps.k[item]))


class _TapsWork(NamedTuple):
    """How the gradients of a group's taps are made.

    Args:
        sums: room for sums of spectra.
        planes: and for those of taps.
        made: the gradients.
        passes: what makes them.
        per_filter, tiles: channels of a filter, and rows of a batch item.
    """

    sums: torch.Tensor
    planes: torch.Tensor
    made: torch.Tensor
    passes: list[planes.Pass]
    per_filter: int
    tiles: int

    @classmethod
    def of(cls, on, job: Job, group: Group, taps: Taps):
        plan, count = job.plan, max(group.channels // job.per_filter, 1)
        sums = _room(planes.sums_bytes(plan, group, on.gpu), taps.k)
        room = _room(planes.bytes_of(plan, count), taps.k)
        made = taps.k.new_empty(count, taps.k.shape[-1])
        to = Taps(made, taps.offset + plan.lead * job.filters.direction, taps.direction)
        passes = planes.taps_gradient(on, plan, group, sums.data_ptr(), to, room.data_ptr())
        return cls(sums, room, made, passes, job.per_filter, plan.tiles)

    def add(self, group: Group, taps: Taps) -> None:
        first = group.first_channel // self.per_filter
        k = taps.k if taps.k.ndim == 2 else taps.k[group.first_row // self.tiles]
        k[first : first + len(self.made)].add_(self.made)


def _with_spectra(on, job: Job, like) -> Iterator[tuple[Part, int]]:
    """The parts of a job, each with the address of its spectra."""
    plan, made = job.plan, None
    for part in _parts(job):
        if job.spectrum is not None:
            spectrum = job.spectrum if part.item is None or job.spectrum.ndim == 2 else job.spectrum[part.item]
            spectrum = spectrum[part.first : part.first + part.count].contiguous()
        else:
            k = job.filters.k if part.item is None else job.filters.k[part.item]
            shape = part.count, plan.points
            if made is None or made.shape != shape:
                made = torch.empty(shape, dtype=torch.complex64, device=like.device)
            spectrum = made
            _make_spectra(on, plan, job.filters._replace(k=k[part.first : part.first + part.count]), spectrum)
        yield part, spectrum.data_ptr()


def _make_spectra(on, plan: LongPlan, taps: Taps, to: torch.Tensor) -> None:
    """Of taps at the lags that they have in a window, which may begin before its outputs."""
    taps = taps._replace(offset=taps.offset + plan.lead * taps.direction)
    room = _room(planes.bytes_of(plan, len(taps.k)), to)
    passes = planes.filter_spectra(on, plan, taps, to.data_ptr(), room.data_ptr())
    planes.launch(on, passes, Group(0, 1, 0, len(taps.k)))


def _parts(job: Job) -> Iterator[Part]:
    most, tiles = job.windows, job.plan.tiles
    items = range(job.batch) if job.per_item else (None,)
    per_spectrum = job.channels // job.filters.k.shape[-2]
    total = tiles if job.per_item else job.batch * tiles
    at_once = min(total, most, GRID_Y)
    channels = _evenly(min(max(most // at_once, 1), job.channels), job.per_filter)
    for item in items:
        start = 0 if item is None else item * tiles
        for channel in range(0, job.channels, channels):
            width = min(channels, job.channels - channel)
            groups = [Group(start + row, min(at_once, total - row), channel, width) for row in range(0, total, at_once)]
            yield Part(item, channel // per_spectrum, max(width // per_spectrum, 1), groups)


def _evenly(channels: int, per_filter: int) -> int:
    """So many or fewer, which are whole filters' channels, or one of the equal parts of a filter's."""
    if channels >= per_filter:
        return channels - channels % per_filter
    return next(n for n in range(channels, 0, -1) if per_filter % n == 0)


def _windows(plan: LongPlan) -> int:
    """In the planes of one group."""
    return max(_GROUP // (plan.points * 8), 1)


def _view(plan: LongPlan) -> View:
    return View(plan.tiles, plan.hop, plan.lead, plan.hop)


def _room(size: int, like: torch.Tensor) -> torch.Tensor:
    return torch.empty(size, dtype=torch.uint8, device=like.device)


def _skip_gradient(call: Call, x, dy, d, taps: int):
    """Of the skip term, which joins samples of the same time: a sum for each channel."""
    length, place = x.u.shape[-1], placed(call, x.u.shape[-1], taps)
    begin, end = max(place.first, 0), min(length, place.first + place.length)
    sums = []
    for item in range(dy.shape[0]):
        v, g = x.u[item, :, begin:end].float(), dy[item, :, begin - place.first : end - place.first].float()
        v = v if x.pre_gate is None else v * x.pre_gate[item, :, begin:end]
        g = g if x.post_gate is None else g * x.post_gate[item, :, begin - place.first : end - place.first]
        sums.append((v * g).sum(-1))
    sums = torch.stack(sums)
    return cast(sums if d.ndim == 2 else sums.sum(0), d.dtype)
