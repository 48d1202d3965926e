"""The long convolution of rows that no block holds, forward and backward, on a launcher: see `long_plans` and `planes`.

Rows and channels are worked off in groups of a bounded size. Groups depend on shapes alone, never on the device, and so
does the order of sums; how rows are cut, the planner says for each device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from ..selection import Call
from . import planes, tiles
from .long_plans import Lags, LongPlan, plan_long
from .long_questions import Question, number_of_gradients, question, work_of
from .operands import KINDS, cast, number_of, operands, placed, rows
from .passes import Group, Pass, Spectra, launch
from .planes import View
from .plans import GRID_Y
from .taps import Taps, lags_of, linear_taps, no_taps, tap_gradients


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
        return min(self.plan.windows, self.batch * self.plan.tiles * self.channels)

    def reversed(self, gpu) -> Job:
        """From y's gradient to that of x."""
        lags, taps = self.lags.reversed, self.filters._replace(direction=-self.filters.direction)
        return self._replace(
            lags=lags, filters=taps, plan=plan_long(lags, gpu, self.plan.precision, self.plan.points), spectrum=None
        )


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
    x, job = _job(on, call, number, u, k, spectrum, d, pre_gate, post_gate, False)
    y = x.u.new_empty(job.batch, job.channels, job.lags.out_length)
    _convolve(on, job, x.u, x.pre_gate, [(y, x.post_gate)])
    return cast(y, u.dtype)


def gradients(on, call: Call, needs, dy, u, k, spectrum, d, pre_gate, post_gate):
    """`backward` of the engine, on a launcher."""
    need_u, need_k, need_d, need_pre, need_post = needs
    number = number_of_gradients(call, needs, u, k)
    x, job = _job(on, call, number, u, k, spectrum, d, pre_gate, post_gate, True)
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


def prepare(on, call: Call, needs, u, k, spectrum, d, pre_gate, post_gate) -> None:
    """Loads and makes all that `convolve`, and `gradients` where they are needed, will need."""
    _prepare(on, call, number_of(call.precision, u.dtype), u, k, spectrum, d, pre_gate, post_gate, False)
    if any(needs):
        number = number_of_gradients(call, needs, u, k)
        _prepare(on, call, number, u, k, spectrum, d, pre_gate, post_gate, True)


def _prepare(on, call: Call, number: str, u, k, spectrum, d, pre_gate, post_gate, backward: bool) -> None:
    _, job = _job(on, call, number, u, k, spectrum, d, pre_gate, post_gate, backward)
    if job.plan.outer:
        planes.load(on, job.plan, number, backward)
    else:
        gates = pre_gate is not None, post_gate is not None
        for way in {gates, gates[::-1], (gates[0], True)} if backward else {gates}:
            tiles.load(on, job, way, backward)


def prepare_spectrum(on, call: Call, k: torch.Tensor, length: int) -> torch.Tensor:
    """The spectra of k for calls on `length` samples, `(..., F, points)`; in half precision with scales behind."""
    taps = linear_taps(call, cast(k, torch.float32), None, length)
    precision = "half" if call.precision == "half" else "single"
    one = torch.empty(1, k.shape[-2], length, dtype=KINDS["fp16" if precision == "half" else "fp32"], device="meta")
    work = work_of(call, one, k, k.shape, True, None, None, False)  # a spectrum is for any number of rows
    plan = plan_long(lags_of(call, length, k.shape[-1], taps), on.gpu, precision, 0, work, on.rates)
    if not plan.outer:
        return tiles.make_spectra(on, plan, taps)
    filters = taps.k.flatten(0, -2)
    made = _empty_spectra(plan, len(filters), k)
    for first in range(0, len(filters), step := plan.windows):
        part = [t if t is None else t[first : first + step] for t in made]
        _make_spectra(on, plan, taps._replace(k=filters[first : first + step]), *part)
    points, scales = made
    joined = points if scales is None else torch.cat([points, scales.view(torch.int32)], -1)
    return joined.view(*k.shape[:-1], -1)


def question_of(call: Call, number: str, u, k, spectrum, d, pre_gate, post_gate, backward: bool) -> Question:
    """What `plan_long` is asked for a call with rows in a type."""
    return _asked(call, number, u, k, spectrum, d, pre_gate, post_gate, backward)[-1]


def _asked(call: Call, number: str, u, k, spectrum, d, pre_gate, post_gate, backward: bool):
    x = operands(call, number, u, k, d, pre_gate, post_gate)
    filters = linear_taps(call, x.filters, x.skips, u.shape[-1])
    return x, filters, question(call, number, u, k, filters, spectrum, pre_gate, post_gate, backward)


def _job(on, call: Call, number: str, u, k, spectrum, d, pre_gate, post_gate, backward: bool):
    """A call's operands and the job that they are."""
    x, filters, asked = _asked(call, number, u, k, spectrum, d, pre_gate, post_gate, backward)
    plan = plan_long(asked.lags, on.gpu, asked.precision, asked.points, asked.work, on.rates)
    if spectrum is not None and (spectrum.dtype == torch.complex64) != (plan.precision == "single"):
        spectrum = None  # of another precision than gradients are computed in
    channels = k.shape[-2] if u.shape[1] == 1 else u.shape[1]
    return x, Job(number, filters, asked.lags, plan, u.shape[0], channels, channels // k.shape[-2], spectrum)


def _convolve(on, job: Job, u, gate, results) -> None:
    """u times its gate, convolved, to one or two results, each times what stands beside it."""
    if not job.plan.outer:
        return tiles.convolve(on, job, u, gate, results)
    plan, view, number = job.plan, _view(job.plan), job.number
    memory, made = _memory(planes.room_bytes(plan, job.windows), u), {}
    room = planes.room_at(plan, job.windows, memory.data_ptr())
    for part, spectra in _with_spectra(on, job, u):
        for group in part.groups:
            shape = group.rows, group.channels
            if shape not in made:
                made[shape] = [
                    *planes.to_planes(plan, group, u, gate, view._replace(span=2 * plan.points), number, room),
                    *planes.convolve_planes(on, plan, group, room, part.count),
                    *planes.from_planes(plan, group, room, results, view, number),
                ]
            launch(on, made[shape], group, spectra)


def _differentiate(on, job: Job, x, dy, dx, dpost, taps: Taps | None) -> None:
    """By way of the planes of x and g: the gradients of x to `dx`, of the post gate to `dpost`, of taps added."""
    if not job.plan.outer:
        return _differentiate_tiles(on, job, x, dy, taps)
    plan, view, number = job.plan, _view(job.plan), job.number
    memory, made = [_memory(planes.room_bytes(plan, job.windows), dy) for _ in range(2)], {}
    at_x, at_g = (planes.room_at(plan, job.windows, t.data_ptr()) for t in memory)
    for part, spectra in _with_spectra(on, job, dy):
        for group in part.groups:
            shape = group.rows, group.channels
            if shape not in made:
                # The half-precision kernels always make the sums.
                wanted = taps is not None or plan.precision == "half"
                sums = _memory(planes.inner(plan).sums_bytes(plan, group, on.gpu), dy) if wanted else None
                at_sums = None if sums is None else sums.data_ptr()
                passes = [
                    *planes.to_planes(plan, group, x.u, x.pre_gate, view._replace(span=2 * plan.points), number, at_x),
                    *planes.to_planes(plan, group, dy, x.post_gate, view._replace(lead=0), number, at_g),
                    *planes.differentiate_planes(on, plan, group, at_x, at_g, part.count, at_sums),
                ]
                if dx:
                    passes += planes.from_planes(plan, group, at_g, dx, view._replace(span=job.lags.length), number)
                if dpost is not None:
                    passes += planes.convolve_planes(on, plan, group, at_x, part.count)
                    passes += planes.from_planes(plan, group, at_x, [(dpost, dy)], view, number)
                work = None if taps is None else _TapsWork.of(on, job, group, part.count, at_sums, taps)
                made[shape] = passes, sums, work
            passes, _, work = made[shape]
            launch(on, passes, group, spectra)
            if work is not None:
                launch(on, work.passes, group)
                work.add(group, taps)


def _differentiate_tiles(on, job: Job, x, dy, taps: Taps) -> None:
    """The gradients of taps alone, by tiles that blocks convolve."""
    if taps.k.ndim == 2:
        return tiles.differentiate(on, job, x.u, x.pre_gate, dy, x.post_gate, taps)
    for item in range(job.batch):
        parts = (t if t is None else t[item : item + 1] for t in (x.u, x.pre_gate, dy, x.post_gate))
        tiles.differentiate(on, job._replace(batch=1), *parts, taps._replace(k=taps.k[item]))


class _TapsWork(NamedTuple):
    """How the gradients of a group's taps are made of sums of spectra.

    Args:
        planes: memory for the taps'.
        made: the gradients.
        passes: what makes them.
        per_filter, tiles: channels of a filter, and rows of a batch item.
    """

    planes: torch.Tensor
    made: torch.Tensor
    passes: list[Pass]
    per_filter: int
    tiles: int

    @classmethod
    def of(cls, on, job: Job, group: Group, filters: int, sums: int, taps: Taps):
        plan, count = job.plan, max(group.channels // job.per_filter, 1)
        memory = _memory(planes.room_bytes(plan, count, filters=True), taps.k)
        made = taps.k.new_empty(count, taps.k.shape[-1])
        to = Taps(made, taps.offset + plan.lead * job.filters.direction, taps.direction)
        room = planes.room_at(plan, count, memory.data_ptr(), filters=True)
        passes = planes.taps_gradient(on, plan, group, filters, sums, to, room)
        return cls(memory, made, passes, job.per_filter, plan.tiles)

    def add(self, group: Group, taps: Taps) -> None:
        first = group.first_channel // self.per_filter
        k = taps.k if taps.k.ndim == 2 else taps.k[group.first_row // self.tiles]
        k[first : first + len(self.made)].add_(self.made)


def _with_spectra(on, job: Job, like) -> Iterator[tuple[Part, Spectra]]:
    """The parts of a job, each with its spectra."""
    plan, made = job.plan, None
    for part in _parts(job):
        filters = slice(part.first, part.first + part.count)
        if job.spectrum is not None:
            spectrum = job.spectrum if part.item is None or job.spectrum.ndim == 2 else job.spectrum[part.item]
            points, scales = spectrum[filters, : plan.points], spectrum[filters, plan.points :]
            made = points.contiguous(), scales.contiguous() if plan.precision == "half" else None
        else:
            k = job.filters.k if part.item is None else job.filters.k[part.item]
            if made is None or len(made[0]) != part.count:
                made = _empty_spectra(plan, part.count, like)
            _make_spectra(on, plan, job.filters._replace(k=k[filters]), *made)
        yield part, Spectra(*(None if t is None else t.data_ptr() for t in made))


def _empty_spectra(plan: LongPlan, count: int, like) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Room for the spectra of so many filters, and in half precision for their scales."""
    half = plan.precision == "half"
    points = like.new_empty(count, plan.points, dtype=torch.int32 if half else torch.complex64)
    return points, like.new_empty(count, plan.planes, dtype=torch.float32) if half else None


def _make_spectra(on, plan: LongPlan, taps: Taps, points: torch.Tensor, scales: torch.Tensor | None) -> None:
    """Of taps at the lags that they have in a window, which may begin before its outputs."""
    taps = taps._replace(offset=taps.offset + plan.lead * taps.direction)
    memory = _memory(planes.room_bytes(plan, len(taps.k), filters=True), points)
    room = planes.room_at(plan, len(taps.k), memory.data_ptr(), filters=True)
    to = points.data_ptr(), None if scales is None else scales.data_ptr()
    launch(on, planes.filter_spectra(on, plan, taps, to, room), Group(0, 1, 0, len(taps.k)))


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


def _view(plan: LongPlan) -> View:
    return View(plan.tiles, plan.hop, plan.lead, plan.hop)


def _memory(size: int, like: torch.Tensor) -> torch.Tensor:
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
