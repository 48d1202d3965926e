"""The steps of `torch_long_conv` where a mask lies on the spectrum: the right-angle fold by torch.fft.

A mask makes a filter's response as long as the circle that it is applied on, so that the result depends on the circle.
It is the one of the fused kernels: M points modulo z^M - i, the points of the mask (csrc/single_rows.cuh). Lag m >= 0
of a filter stands at the real part of place m, and lag -m at z^-m = -i z^(M - m); lags at which no output meets an
input are left out. The transform, at the roots of z^M = i, is that of x[n] exp(i pi n / 2M) by an M-point FFT.
"""

from __future__ import annotations

import math

import torch

from ..windows import shift, window
from .selection import Call
from .torch_rows import Job, fold, widened


class MaskedJob(Job):
    """A job whose spectra are M complex points, some of them kept: `mask`, `(M,)`. It has no skip term."""

    def __init__(self, call: Call, u, k, spectrum, mask):
        self.mask = mask
        super().__init__(call, u, k, spectrum)

    def _lay_out(self, size: int):
        self.size, self.start = self.mask.shape[-1], 0
        self.lags = Lags(self.place, self.samples, self.taps, self.circular, self.correlate, self.size)
        self.correlate = False  # the direction is in the taps' places
        self.twist = _twist(self.size, self.mask.device, self.dtype)

    def transform_taps(self, taps):
        return _masked(self.lags.folded(taps, self.precision), self.mask, self.precision)

    def transform(self, x):
        return torch.fft.fft(torch.nn.functional.pad(x, (0, self.size - x.shape[-1])) * self.twist)

    def invert(self, spectrum):
        return self._points(spectrum).real

    def _points(self, spectrum):
        return torch.fft.ifft(spectrum) * self.twist.conj_physical()

    def collect(self, w):
        return w[..., : self.place.length]

    def spread(self, g):
        return g

    def taps_gradient(self, product):
        return self.lags.gradient(self._points(product * self.mask))


class Lags:
    """The places of a filter's taps among M points.

    Args:
        place: the call's window.
        samples, taps: of a signal and of a filter.
        circular: whether lags are taken modulo `samples`, so that each tap has two.
        correlate: whether a later tap meets a later sample.
        points: M.
    """

    def __init__(self, place, samples: int, taps: int, circular: bool, correlate: bool, points: int):
        self.samples, self.taps, self.circular, self.correlate, self.points = samples, taps, circular, correlate, points
        origin = -shift(place, True) if correlate else shift(place, False)  # the tap at lag 0
        if circular:
            self.turn = samples - 1 - origin if correlate else origin
            self.first, self.begin, self.end = 1 - samples, 0, 2 * samples - 1
            return
        first = origin - (taps - 1) if correlate else -origin
        self.begin = min(max(1 - samples - first, 0), taps)
        self.end = max(min(place.length - first, taps), self.begin)
        self.first = first + self.begin  # the lag of the first tap that counts

    def folded(self, k, precision: str):
        """The M points of filters."""
        if self.circular:
            k = fold(k, self.samples, precision)
            k = (k.flip(-1) if self.correlate else k).roll(-self.turn, -1)
            k = torch.cat([k[..., 1:], k], -1)
        else:
            k = widened((k.flip(-1) if self.correlate else k)[..., self.begin : self.end], precision)
        before = min(max(-self.first, 0), k.shape[-1])  # taps at negative lags
        return torch.complex(
            self._padded(k[..., before:], self.first + before),
            self._padded(-k[..., :before], self.first + self.points),
        )

    def gradient(self, points):
        """The transpose: from what belongs to the points to what belongs to the taps."""
        count = self.end - self.begin
        before = min(max(-self.first, 0), count)
        real, imaginary = self.first + before, self.first + self.points
        g = torch.cat(
            [-points.imag[..., imaginary : imaginary + before], points.real[..., real : real + count - before]], -1
        )
        if self.circular:
            g = g[..., self.samples - 1 :] + torch.nn.functional.pad(g[..., : self.samples - 1], (1, 0))
            g = g.roll(self.turn, -1)
            g = g.flip(-1) if self.correlate else g
            return g.repeat(1, 1, 1, -(-self.taps // self.samples))[..., : self.taps]
        g = torch.nn.functional.pad(g, (self.begin, self.taps - self.end))
        return g.flip(-1) if self.correlate else g

    def _padded(self, k, start: int):
        """Taps from place `start` on, where there are any, and zeros."""
        start = start if k.shape[-1] else 0
        return torch.nn.functional.pad(k, (start, self.points - start - k.shape[-1]))


def masked_transform(call: Call, k, length: int, mask):
    """The masked spectrum of k `(..., K)` for calls on `length` samples."""
    place = window(call.mode, length, k.shape[-1], call.offset, call.correlate)
    lags = Lags(place, length, k.shape[-1], call.mode == "circular", call.correlate, mask.shape[-1])
    return _masked(lags.folded(k, call.precision), mask, call.precision)


def _masked(points, mask, precision: str):
    """The kept bins of the points' spectrum."""
    spectrum = torch.fft.fft(points * _twist(mask.shape[-1], points.device, points.real.dtype)) * mask
    return spectrum.to(torch.complex128 if precision == "double" else torch.complex64)


def _twist(points: int, device, dtype):
    """exp(i pi n / 2M)."""
    angle = torch.arange(points, dtype=torch.float64) * (math.pi / (2 * points))
    return torch.complex(angle.cos().to(dtype), angle.sin().to(dtype)).to(device)
