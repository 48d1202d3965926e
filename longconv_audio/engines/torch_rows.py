"""What `torch_long_conv` works on: a call's geometry, its rows in chunks, and the steps that both passes share."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

from ..planning import fast_sizes
from ..windows import shift, taps_that_count, transform_size, window
from .selection import Call

_COMPUTE = {"half": torch.float32, "single": torch.float32, "double": torch.float64}
# Points transformed at once. On a CPU fewer leave its threads idle where rows are long, and the workspace stays below
# about 100 MB; elsewhere they fill the device, and the workspace stays below about 1 GB (or some rows' own size).
_POINTS_CPU, _POINTS = 1 << 22, 1 << 25


class Part(NamedTuple):
    """A block of rows: batch items, filters, and channels of each filter."""

    b: slice
    f: slice
    r: slice


class Job:
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
        self._lay_out(0 if spectrum is None else 2 * (spectrum.shape[-1] - 1))

    def _lay_out(self, size: int):
        """What the transform's places stand for; `size` is that of a spectrum that is there already, or 0."""
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
        self.size = size or fast_size(transform_size(start, length, self.samples, taps, self.correlate))

    def _lay_out_circle(self, size: int):
        """A period that is a fast size is transformed as it is; another is convolved linearly and folded."""
        self.first_tap, self.end_tap = 0, self.samples
        self.size = size or circular_size(self.samples)
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
            return self.transform_taps(ks[b, f]) if spectra is None else spectra[b, f]

        def chunks(f):
            kf = spectrum(slice(None), f) if self.shared else None
            for b in _slices(self.batch, b_step):
                kf = kf if self.shared else spectrum(b, f)
                for r in _slices(self.per_group, r_step):
                    yield Part(b, f, r), kf

        for f in _slices(self.groups, f_step):
            yield f, chunks(f)

    def transform_taps(self, taps):
        """The filters' spectra."""
        if self.circular:
            taps = fold(taps, self.samples, self.precision)
        else:
            taps = taps[..., self.first_tap : self.end_tap]
        return filter_transform(taps, self.size, self.precision)

    def gated(self, us, pre, part):
        v = cut(us, part).to(self.dtype)
        return v if pre is None else v * cut(pre, part).to(self.dtype)

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
            w = take(w, self.start, self.reach)
            if self.reach > self.samples:
                w = w.unflatten(-1, (2, self.samples)).sum(-2)
            return w.roll(-self.turn, -1) if self.turn else w
        inside = take(w, self.start, self.reach)
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
        near = take(self.invert(product), self.start if self.correlate else -self.start, taps)
        if self.circular:
            return near.repeat(1, 1, 1, -(-self.taps // taps))[..., : self.taps]
        return torch.nn.functional.pad(near, (self.first_tap, self.taps - self.end_tap))

    def at_time_zero(self, w):
        """The samples of an output that stand at the input's times."""
        return w[..., -self.place.first : self.samples - self.place.first]

    def add_skip(self, w, ds, v, part):
        if ds is not None:
            self.at_time_zero(w).addcmul_(cut(ds, part), v)


def cut(t, part):
    """The part's block of a tensor whose shared axes have size 1."""
    return t[tuple(slice(None) if size == 1 else cut for size, cut in zip(t.shape, part, strict=False))]


def _slices(size: int, step: int):
    return [slice(i, min(i + step, size)) for i in range(0, size, max(step, 1))]


def take(w, start: int, length: int):
    """`length` samples from `start` of a periodic signal whose period is the last axis; a view where it can be one."""
    period = w.shape[-1]
    start %= period
    if start + length <= period:
        return w[..., start : start + length]
    return torch.cat([w[..., start:], w[..., : start + length - period]], -1)


def fold(k, period: int, precision: str):
    """The taps of a filter on a circle: those a period apart added."""
    k = widened(k, precision)
    k = torch.nn.functional.pad(k, (0, -k.shape[-1] % period))
    return k.unflatten(-1, (-1, period)).sum(-2)


def filter_transform(k, size: int, precision: str):
    """The filter's spectrum, computed in double precision but for half, where it would be lost."""
    dtype = torch.complex128 if precision == "double" else torch.complex64
    return torch.fft.rfft(widened(k, precision), size).to(dtype)


def widened(k, precision: str):
    """The taps in the precision that their spectra are computed in."""
    return k.to(torch.float32 if precision == "half" or k.device.type == "mps" else torch.float64)


def circular_size(period: int) -> int:
    """The period itself where it is a fast size, otherwise room for a linear convolution of two periods."""
    return period if fast_size(period) == period else fast_size(2 * period)


@functools.lru_cache(maxsize=4096)
def fast_size(least: int) -> int:
    """The smallest fast transform size, which is even."""
    return fast_sizes(least, 2 * least + 2)[0]
