"""Long convolution by torch.fft, on any device: the operator's forward and backward pass.

Rows are worked off in chunks of a bounded number of points, so that no spectrum of a whole batch is ever in memory,
and the backward pass computes every spectrum anew. The chunks depend on shapes and the device's kind alone, and sums
run in a fixed order: the result is the same, bit for bit, on every run.

With P the N-point circular convolution matrix of k, E zero padding and W the window, the forward pass is W P(k) E. Its
adjoints are exact transposes and need no larger transform:

    dv = E' P(k)' W' g        through conj(K) G
    dk = E' P(v)' W' g        through conj(V) G, summed over the rows that share a filter

Conjugates are taken with conj_physical: inside an operator that torch.compile traced, a lazy conj() is silently lost.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

from ..planning import fast_sizes
from ..windows import shift, taps_that_count, transform_size, window
from .selection import Call

_COMPUTE = {"half": torch.float32, "single": torch.float32, "double": torch.float64}
# Points transformed at once. On a CPU a few MB, which stay near the cache; elsewhere enough to fill the device while
# the workspace stays below about 1 GB.
_POINTS_CPU, _POINTS = 1 << 19, 1 << 25


def why_not(device, precision: str) -> str | None:
    """Why this engine cannot run on the device."""
    if precision == "double" and device.type == "mps":
        return "the device has no double precision"
    return None


def filter_spectrum(k: torch.Tensor, length: int, circular: bool, precision: str) -> torch.Tensor:
    """The spectrum of k `(..., K)` for signals of up to `length` samples, or exactly that many if circular."""
    if circular:
        return _filter_transform(_fold(k, length, precision), _circular_size(length), precision)
    return _filter_transform(k, _fast(length + k.shape[-1] - 1), precision)


def forward(call: Call, u, k, spectrum, d, pre_gate, post_gate) -> torch.Tensor:
    """The convolution with its gates and its skip term.

    Args:
        call: mode, offset, direction and precision.
        u: `(B, H, L)`, or `(B, 1, L)` where each of several filters gets the same input; any strides.
        k: `(F, K)` or `(B, F, K)`; channel h has filter h // (H / F).
        spectrum: k's `filter_spectrum`, or None.
        d: `(H,)`, `(B, H)` or None.
        pre_gate, post_gate: of u's shape and of y's shape, or None.

    Returns:
        `(B, H, length)`, contiguous, with u's dtype.
    """
    job = _Job(call, u, k, spectrum)
    y = u.new_empty((u.shape[0], job.channels, job.place.length))
    if not y.numel():
        return y
    us, pre, out, post, ds = job.split(u), job.split(pre_gate), job.split(y), job.split(post_gate), job.split_d(d)
    for _, chunks in job.filters():
        for part, kf in chunks:
            v = job.gated(us, pre, part)
            w = job.collect(job.invert(job.times_filter(job.transform(v), kf)))
            job.add_skip(w, ds, v, part)
            if post is not None:
                w = w.mul_(_cut(post, part))
            _cut(out, part).copy_(w)
    return y


def backward(call: Call, needs, dy, u, k, spectrum, d, pre_gate, post_gate):
    """The gradients of u, k, d and the gates, from y's; `needs` says which are wanted, the others are None.

    Arguments as in `forward`. Each gradient has the shape and the dtype of what it belongs to.
    """
    need_u, need_k, need_d, need_pre, need_post = needs
    owners = (u, k, d, pre_gate, post_gate)
    if not (dy.numel() and u.numel()):
        return tuple(t.new_zeros(t.shape) if need else None for t, need in zip(owners, needs, strict=True))
    job = _Job(call, u, k, spectrum)
    us, pre, gs, post, ds = job.split(u), job.split(pre_gate), job.split(dy), job.split(post_gate), job.split_d(d)
    du, dpre, dpost = (torch.empty(t.shape, dtype=t.dtype, device=t.device) if need else None
                       for t, need in ((u, need_u), (pre_gate, need_pre), (post_gate, need_post)))  # fmt: skip
    du_s, dpre_s, dpost_s = job.split(du), job.split(dpre), job.split(dpost)
    # One input of many filters gathers its gradient from all of them.
    gathered = None
    if us.shape[1] < job.groups and (need_u or need_pre):
        gathered = us.new_zeros(us.shape, dtype=job.dtype)
    dk = k.new_zeros(k.shape, dtype=torch.promote_types(k.dtype, torch.float32)) if need_k else None
    dk_s = job.split_k(dk)
    dd_s = ds.new_zeros(ds.shape, dtype=job.wide) if need_d else None

    for f, chunks in job.filters():
        dk_sum = 0
        for part, kf in chunks:
            v = job.gated(us, pre, part)
            g = _cut(gs, part).to(job.dtype)
            v_spectrum = job.transform(v) if need_k or need_post else None
            if need_post:
                w = job.collect(job.invert(job.times_filter(v_spectrum.clone(), kf)))
                job.add_skip(w, ds, v, part)
                _cut(dpost_s, part).copy_(w.mul_(g))
            if post is not None:
                g = g * _cut(post, part).to(job.dtype)
            if need_d:
                _add_sum(dd_s, (job.at_time_zero(g) * v).sum(-1, keepdim=True, dtype=job.wide), part)
            if not (need_u or need_k or need_pre):
                continue
            g_spectrum = job.transform(job.spread(g))
            if need_k:
                one, other = (g_spectrum, v_spectrum) if call.correlate else (v_spectrum, g_spectrum)
                product = one.conj_physical() * other
                product = product.sum((0, 2) if job.shared else 2, keepdim=True)
                if job.shared:
                    dk_sum = dk_sum + product.to(job.wide_complex)
                else:
                    _cut(dk_s, part).add_(job.taps_gradient(product.to(job.wide_complex)))
            if need_u or need_pre:
                dv = job.times_filter(g_spectrum, kf, adjoint=True)
                skip = None if ds is None else job.at_time_zero(g) * _cut(ds, part)
                if gathered is not None:
                    dv, skip = dv.sum(1, keepdim=True), None if skip is None else skip.sum(1, keepdim=True)
                dv = _take(job.invert(dv), -job.start, job.samples)
                dv = dv if skip is None else dv.add_(skip)
                if gathered is not None:
                    _cut(gathered, part).add_(dv)
                else:
                    _through_gate(dv, us, pre, du_s, dpre_s, part)
        if need_k and job.shared:
            dk_s[:, f].copy_(job.taps_gradient(dk_sum))

    if gathered is not None:
        _through_gate(gathered, us, pre, du_s, dpre_s, (slice(None),) * 3)
    dd = dd_s.reshape(d.shape).to(d.dtype) if need_d else None
    return du, dk.to(k.dtype) if need_k else None, dd, dpre, dpost


class _Part(NamedTuple):
    """A block of rows: batch items, filters, and channels of each filter."""

    b: slice
    f: slice
    r: slice


class _Job:
    """One call's geometry, and the steps that forward and backward share.

    Tensors are seen as (batch, filter, channel of the filter, time); axes that are shared have size 1.
    """

    def __init__(self, call: Call, u, k, spectrum):
        self.batch, self.inputs, self.samples = u.shape
        self.groups, self.taps = k.shape[-2:]
        self.channels = self.groups if self.inputs == 1 else self.inputs
        self.per_group = self.channels // max(self.groups, 1)
        self.shared = k.ndim == 2
        self.correlate, self.circular = call.correlate, call.mode == "circular"
        self.precision, self.dtype = call.precision, _COMPUTE[call.precision]
        self.wide = self.dtype if u.device.type == "mps" else torch.float64
        self.wide_complex = torch.complex64 if self.wide == torch.float32 else torch.complex128
        self.budget = _POINTS_CPU if u.device.type == "cpu" else _POINTS
        self.place = window(call.mode, self.samples, self.taps, call.offset, call.correlate)
        if not self.samples:
            self.place = self.place._replace(length=0)
            return
        self.k, self.spectrum = k, spectrum
        size = 0 if spectrum is None else 2 * (spectrum.shape[-1] - 1)
        self._lay_out_circle(size) if self.circular else self._lay_out_line(size)

    def _lay_out_line(self, size: int):
        """Which taps matter, and which places of the N-point result hold the window."""
        length, start = self.place.length, shift(self.place, self.correlate)
        self.first_tap, self.end_tap = 0, self.taps
        if not size:
            self.first_tap, self.end_tap = taps_that_count(start, length, self.samples, self.taps, self.correlate)
        start += self.first_tap if self.correlate else -self.first_tap
        taps = self.end_tap - self.first_tap
        low, high = (1 - taps, self.samples) if self.correlate else (0, self.samples + taps - 1)
        self.before = min(max(low - start, 0), length)
        self.reach = max(min(high - start, length) - self.before, 0)
        self.start = start + self.before
        self.size = size or _fast(transform_size(start, length, self.samples, taps, self.correlate))

    def _lay_out_circle(self, size: int):
        """A period that is a fast size is transformed as it is; another is convolved linearly and folded."""
        self.first_tap, self.end_tap = 0, self.samples
        self.size = size or _circular_size(self.samples)
        self.turn = (-self.place.origin if self.correlate else self.place.origin) % self.samples
        whole = self.size == self.samples
        self.reach = self.samples if whole else 2 * self.samples
        self.start = -self.samples if self.correlate and not whole else 0

    def split(self, t):
        """(B, H, time) as (B, F, H / F, time), or (B, 1, time) as (B, 1, 1, time); a view."""
        if t is None:
            return None
        return t.unflatten(1, (self.groups, self.per_group)) if t.shape[1] == self.channels else t.unsqueeze(1)

    def split_d(self, d):
        """(H,) or (B, H) as (1 or B, F, H / F, 1), in the precision of the computation."""
        if d is None:
            return None
        return d.to(self.dtype).reshape(-1, self.groups, self.per_group, 1)

    def split_k(self, t):
        """(F, time) or (B, F, time) as (1 or B, F, 1, time)."""
        return None if t is None else t.reshape(-1, self.groups, 1, t.shape[-1])

    def filters(self):
        """Chunks of filters, and for each its chunks of rows with the filters' spectra."""
        ks, spectra = self.split_k(self.k), self.split_k(self.spectrum)
        rows = max(self.budget // self.size, 1)
        r_step = min(self.per_group, rows)
        f_step = min(self.groups, max(rows // r_step, 1))
        b_step = min(self.batch, max(rows // (r_step * f_step), 1))

        def spectrum(b, f):
            if spectra is not None:
                return spectra[b, f]
            taps = ks[b, f]
            if self.circular:
                taps = _fold(taps, self.samples, self.precision)
            else:
                taps = taps[..., self.first_tap : self.end_tap]
            return _filter_transform(taps, self.size, self.precision)

        def chunks(f):
            kf = spectrum(slice(None), f) if self.shared else None
            for b in _slices(self.batch, b_step):
                kf = kf if self.shared else spectrum(b, f)
                for r in _slices(self.per_group, r_step):
                    yield _Part(b, f, r), kf

        for f in _slices(self.groups, f_step):
            yield f, chunks(f)

    def gated(self, us, pre, part):
        v = _cut(us, part).to(self.dtype)
        return v if pre is None else v * _cut(pre, part).to(self.dtype)

    def transform(self, x):
        return torch.fft.rfft(x, self.size)

    def invert(self, spectrum):
        return torch.fft.irfft(spectrum, self.size)

    def times_filter(self, x, kf, adjoint: bool = False):
        """The spectrum times the filter's or its conjugate, in place where it has the shape."""
        kf = kf.conj_physical() if self.correlate != adjoint else kf
        return x.mul_(kf) if x.shape[1] >= kf.shape[1] else x * kf

    def collect(self, w):
        """The window of an N-point result."""
        if self.circular:
            w = _take(w, self.start, self.reach)
            if self.reach > self.samples:
                w = w.unflatten(-1, (2, self.samples)).sum(-2)
            return w.roll(-self.turn, -1) if self.turn else w
        inside = _take(w, self.start, self.reach)
        after = self.place.length - self.before - self.reach
        return torch.nn.functional.pad(inside, (self.before, after)) if self.before or after else inside

    def spread(self, g):
        """What goes into the N points from the window: the transpose of `collect`, less a delay of `start`."""
        if self.circular:
            g = g.roll(self.turn, -1) if self.turn else g
            return torch.cat([g, g], -1) if self.reach > self.samples else g
        return g[..., self.before : self.before + self.reach]

    def taps_gradient(self, product):
        """The taps' gradient from the sum of products of spectra."""
        taps = self.end_tap - self.first_tap
        near = _take(self.invert(product), self.start if self.correlate else -self.start, taps)
        if self.circular:
            return near.repeat(1, 1, 1, -(-self.taps // taps))[..., : self.taps]
        return torch.nn.functional.pad(near, (self.first_tap, self.taps - self.end_tap))

    def at_time_zero(self, w):
        """The samples of an output that stand at the input's times."""
        return w[..., -self.place.first : self.samples - self.place.first]

    def add_skip(self, w, ds, v, part):
        if ds is not None:
            self.at_time_zero(w).addcmul_(_cut(ds, part), v)


def _cut(t, part):
    """The part's block of a tensor whose shared axes have size 1."""
    return t[tuple(slice(None) if size == 1 else cut for size, cut in zip(t.shape, part, strict=False))]


def _add_sum(total, x, part):
    """Adds to the part's block, summing over the axes that the total shares."""
    block = _cut(total, part)
    block.add_(x.sum_to_size(block.shape))


def _through_gate(dv, us, pre, du, dpre, part):
    """From the gated input's gradient to the input's and the gate's."""
    if dpre is not None:
        _cut(dpre, part).copy_(dv * _cut(us, part))
    if du is not None:
        _cut(du, part).copy_(dv if pre is None else dv * _cut(pre, part))


def _slices(size: int, step: int):
    return [slice(i, min(i + step, size)) for i in range(0, size, max(step, 1))]


def _take(w, start: int, length: int):
    """`length` samples from `start` of a periodic signal whose period is the last axis; a view where it can be one."""
    period = w.shape[-1]
    start %= period
    if start + length <= period:
        return w[..., start : start + length]
    return torch.cat([w[..., start:], w[..., : start + length - period]], -1)


def _fold(k, period: int, precision: str):
    """The taps of a filter on a circle: those a period apart added."""
    k = _widened(k, precision)
    k = torch.nn.functional.pad(k, (0, -k.shape[-1] % period))
    return k.unflatten(-1, (-1, period)).sum(-2)


def _filter_transform(k, size: int, precision: str):
    """The filter's spectrum, computed in double precision but for half, where it would be lost."""
    dtype = torch.complex128 if precision == "double" else torch.complex64
    return torch.fft.rfft(_widened(k, precision), size).to(dtype)


def _widened(k, precision: str):
    return k.to(torch.float32 if precision == "half" or k.device.type == "mps" else torch.float64)


def _circular_size(period: int) -> int:
    """The period itself where it is a fast size, otherwise room for a linear convolution of two periods."""
    return period if _fast(period) == period else _fast(2 * period)


@functools.lru_cache(maxsize=4096)
def _fast(least: int) -> int:
    """The smallest fast transform size, which is even."""
    return fast_sizes(least, 2 * least + 2)[0]
