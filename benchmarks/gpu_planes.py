"""The convolution of complex rows in half precision, the inner pass of long transforms, on an NVIDIA GPU.

    python benchmarks/gpu_planes.py [--points 4096 16384] [--batch 64] [--rows 49152]

Picoseconds a complex point, forward and backward, of as many points as --rows rows of 16384 have: the median of ten
launches. The floor is the time of the bytes that have to move, 4 of each point in or out, at the rate of a copy in the
same run. SNR is against complex128, the worst of a few rows and, backward, of a few filters' gradients.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import torch
from gpu_long_conv import copy_rate, median_time, snr
from measuring import table, version

from longconv_audio.engines.cuda import half_planes
from longconv_audio.engines.cuda.arguments import FilterArguments, PlaneArguments, Strides
from longconv_audio.engines.cuda.launch import launcher
from longconv_audio.engines.cuda.plans import Sizes
from longconv_audio.engines.cuda.specialisations import plan
from longconv_audio.engines.cuda.spectra import filter_tables_of, tables_of

POINTS = (1024, 2048, 4096, 8192, 16384)
LONGEST = 16384
PLANES = 16  # of a row of the long transform
CHECKED = 2  # batch items and channels at either end that are compared with complex128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="*", default=POINTS)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rows", type=int, default=49152)
    options = parser.parse_args()
    on = launcher(0)
    rate = copy_rate()
    print(f"## Convolution of complex rows on {torch.cuda.get_device_name()}\n")
    print(f"{version('torch')}, batch {options.batch}, copy {rate / 1e12:.2f} TB/s\n")
    rows = []
    for points in options.points:
        channels = options.rows * LONGEST // options.batch // points // PLANES * PLANES
        case = Case.of(on, points, options.batch, channels)
        for run, planes, check in ((case.forward, 2, case.snr), (case.backward, 3, case.gradient_snr)):
            each = 1e12 / case.words.numel()
            seconds = median_time(run, 10)
            floor = planes * 4 * case.words.numel() / rate
            figures = (f"{seconds * 1e3:.3f}", f"{seconds * each:.2f}", f"{seconds / floor:.2f}", f"{check():.1f}")
            rows.append([str(points), run.__name__, str(channels * options.batch), *figures])
        del case
        torch.cuda.empty_cache()
    table(["points", "pass", "rows", "ms", "ps a point", "x floor", "SNR dB"], rows, left=2)


@dataclass
class Case:
    """Rows of one size, and all that their kernels want.

    Args:
        words, g: (batch, channels, points) of int32, each a complex point of two float16.
        scales, g_scales: (batch, channels / PLANES, points / 32), powers of two.
        taps: (channels, 2 points), real parts and then imaginary parts.
        spectra, spectrum_scales: the kernels' own.
        y, out_scale: results, of either direction.
        sums: of the filters' gradient.
        scratch: of the backward kernel.
    """

    on: object
    words: torch.Tensor
    g: torch.Tensor
    scales: torch.Tensor
    g_scales: torch.Tensor
    taps: torch.Tensor
    spectra: torch.Tensor
    spectrum_scales: torch.Tensor
    y: torch.Tensor
    out_scale: torch.Tensor
    sums: torch.Tensor
    scratch: torch.Tensor

    @classmethod
    def of(cls, on, points: int, batch: int, channels: int) -> Case:
        torch.manual_seed(1)
        new = {"device": on.device}
        decay = torch.exp(torch.linspace(0, -6, points, **new)).repeat(2)
        taps = torch.randn(channels, 2 * points, **new) * decay
        spectra = torch.empty(channels, points, dtype=torch.int32, **new)
        spectrum_scales = torch.empty(channels, **new)
        shape = half_planes.plane_shape(points)
        made = _filters(on, taps, spectrum=spectra.data_ptr(), k=taps.data_ptr(), scale=spectrum_scales.data_ptr())
        on.launch(shape.spectrum(on.gpu), made, (-(-channels // shape.of_filters.rows), 1))
        chunks = -(-batch // half_planes.backward_rows(points, batch, channels))
        scratch = torch.empty(channels * chunks * half_planes.scratch_bytes(points, on.gpu), dtype=torch.uint8, **new)
        sums = torch.empty(channels, chunks, points, 2, **new)
        words, g = (_words(batch, channels, points, **new) for _ in range(2))
        scales, g_scales = (_scales(batch, channels // PLANES, points // 32, **new) for _ in range(2))
        y, out_scale = torch.empty_like(words), torch.empty(batch, channels, **new)
        return cls(on, words, g, scales, g_scales, taps, spectra, spectrum_scales, y, out_scale, sums, scratch)

    @property
    def points(self) -> int:
        return self.words.shape[2]

    def forward(self) -> None:
        a = self._arguments()
        a.y, a.out_scale = self.y.data_ptr(), self.out_scale.data_ptr()
        a.rows_per_block = half_planes.forward_rows(self.points, self.on.gpu, a.batch, a.channels)
        self._launch(half_planes.planes_forward(self.points, self.on.gpu), a)

    def backward(self) -> None:
        a = self._arguments()
        a.g, a.g_scale = self.g.data_ptr(), self.g_scales.data_ptr()
        a.dx, a.dx_scale = self.y.data_ptr(), self.out_scale.data_ptr()
        a.dspectrum, a.scratch = self.sums.data_ptr(), self.scratch.data_ptr()
        a.rows_per_block = half_planes.backward_rows(self.points, a.batch, a.channels)
        self._launch(half_planes.planes_backward(self.points, self.on.gpu), a)

    def snr(self) -> float:
        """Of what `forward` left."""
        return min(
            self._row_snr(item, channel, self.words, self.scales, self._spectrum(channel))
            for item, channel in self._some()
        )

    def gradient_snr(self) -> float:
        """Of what `backward` left."""
        found = [
            self._row_snr(item, channel, self.g, self.g_scales, self._spectrum(channel).conj())
            for item, channel in self._some()
        ]
        dk = self._taps_gradient()
        for channel in {channel for _, channel in self._some()}:
            x, g = self._values(self.words, self.scales, channel), self._values(self.g, self.g_scales, channel)
            right = _untwisted(_twisted(x).conj() * _twisted(g)).sum(0)
            found.append(snr(dk[channel], torch.cat([right.real, right.imag])))
        return min(found)

    def _some(self):
        batch, channels, _ = self.words.shape
        for item in {0, batch - 1}:
            for channel in {*range(CHECKED), *range(channels - CHECKED, channels)}:
                yield item, channel

    def _row_snr(self, item: int, channel: int, words, scales, spectrum) -> float:
        right = _untwisted(spectrum * _twisted(self._values(words, scales, channel)[item]))
        got = _complex(self.y[item, channel]) * self.out_scale[item, channel]
        return snr(torch.view_as_real(got), torch.view_as_real(right))

    def _values(self, words, scales, channel: int) -> torch.Tensor:
        """What the rows of a channel stand for, (batch, points)."""
        return _complex(words[:, channel]) * scales[:, channel // PLANES].double().repeat_interleave(32, -1)

    def _spectrum(self, channel: int) -> torch.Tensor:
        real, imaginary = self.taps[channel].double().split(self.points)
        return _twisted(torch.complex(real, imaginary))

    def _taps_gradient(self) -> torch.Tensor:
        dk, chunks = torch.empty_like(self.taps), self.sums.shape[1]
        shape = half_planes.plane_shape(self.points)
        a = _filters(self.on, self.taps, dspectrum=self.sums.data_ptr(), dk=dk.data_ptr())
        a.chunks = a.chunks_per_filter = chunks
        self.on.launch(shape.gradient(self.on.gpu), a, (-(-len(dk) // shape.of_filters.rows), 1))
        return dk

    def _arguments(self) -> PlaneArguments:
        batch, channels, points = self.words.shape
        return PlaneArguments(
            u=self.words.data_ptr(), in_scale=self.scales.data_ptr(), spectrum=self.spectra.data_ptr(),
            spectrum_scale=self.spectrum_scales.data_ptr(), tables=tables_of(self.on, _plan(self.on, points)),
            strides=Strides(channels * points, points), filter_strides=Strides(0, 1), channels_per_filter=1,
            planes_per_row=PLANES, batch=batch, channels=channels,
        )  # fmt: skip

    def _launch(self, kernel, a: PlaneArguments) -> None:
        self.on.launch(kernel, a, (a.channels, -(-a.batch // a.rows_per_block)))


def _plan(on, points: int):
    """Whose tables are those of the planes' kernels too."""
    return plan(Sizes("fp16", points, points), on.gpu)


def _filters(on, taps, **fields) -> FilterArguments:
    """The fold's real taps: as many lags as it has places."""
    filters, count = taps.shape
    return FilterArguments(
        tables=filter_tables_of(on, _plan(on, count // 2)), tap_strides=Strides(0, count), filters=filters, taps=count,
        length=1, out_length=count, direction=1, channels_per_filter=1, planes=1, **fields,
    )  # fmt: skip


def _words(batch: int, channels: int, points: int, **new) -> torch.Tensor:
    """Noise whose parts stay below 2^4."""
    parts = torch.randn(batch, channels, points, 2, dtype=torch.float16, **new).mul_(4).clamp_(-15.9, 15.9)
    return parts.view(torch.int32)[..., 0]


def _scales(*shape: int, **new) -> torch.Tensor:
    return torch.exp2(torch.randint(-2, 1, shape, **new).float())


def _complex(words: torch.Tensor) -> torch.Tensor:
    parts = words.contiguous().view(torch.float16).double()
    return torch.view_as_complex(parts.view(*words.shape, 2))


def _twist(points: int, device) -> torch.Tensor:
    turns = torch.arange(points, dtype=torch.float64, device=device) * (math.pi / 2 / points)
    return torch.polar(torch.ones_like(turns), turns)


def _twisted(x: torch.Tensor) -> torch.Tensor:
    """X[k] = sum_n x[n] W^(n (k - 1/4))."""
    return torch.fft.fft(x * _twist(x.shape[-1], x.device))


def _untwisted(x: torch.Tensor) -> torch.Tensor:
    return torch.fft.ifft(x) * _twist(x.shape[-1], x.device).conj()


if __name__ == "__main__":
    main()
