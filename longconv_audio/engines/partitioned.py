"""Overlap-save convolution of a filter matrix in uniform partitions, many hops at a time.

With uniform partitions of S taps (or one of K), the spectrum of an output hop is the sum over the partitions p
of `H[p] * X[t - p]`, X[t] being the spectrum of the N samples that end with hop t. The spectra of the last hops
are kept, so each sample is transformed once forth and once back, whatever the filter's length.
"""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np

from ..planning import StreamPlan
from ..routing import FilterMatrix
from . import fft
from .overlap_save import OverlapSave, finish

# The multiply-accumulate walks the spectra in tiles of about this many bytes, which the second-level cache holds.
_TILE = 1 << 18
# Products that are summed before their sum is added to the rest: one long sum of thousands loses 15 dB of accuracy.
_TOGETHER = 32


class Partitioned(OverlapSave):
    """Convolves a stream with a filter matrix, `plan.rows * plan.hop` samples of every channel at a time."""

    def __init__(self, matrix: FilterMatrix, plan: StreamPlan, dtype, workers: int = 1):
        super().__init__(matrix, plan, dtype, workers)
        (segment,) = plan.segments
        self._count, self._hop = segment.count, plan.hop
        spectra = {}
        self._paths = [[] for _ in range(matrix.outputs)]
        for path in matrix.paths:
            key = id(path.taps)
            if key not in spectra:
                spectra[key] = fft.partition_spectra(
                    path.taps, segment.size, segment.count, segment.fft_size, self.dtype
                )
            self._paths[path.output].append((path.input, spectra[key]))
        bins = segment.fft_size // 2 + 1
        self._group = plan.group
        # A ring of spectra, a whole number of calls long, so that the rows of one call lie side by side. One call
        # is transformed while the products of the one before are still being made.
        calls = (2 if workers > 1 else 1) + -(-(segment.count - 1) // plan.rows)
        self._ring = calls * plan.rows
        complex_dtype = fft.COMPLEX_OF[self.dtype]
        self._spectra = np.zeros((self.inputs, self._ring, bins), complex_dtype)
        self._row = 0
        self._transforms: list[Future] = []
        for _ in range(min(workers, self.outputs * -(-plan.rows // plan.group))):
            product, result = np.empty((self._group, bins), complex_dtype), (self._group, self._fft_size)
            self._scratch.put((product, np.empty(result, self.dtype)))

    def _begin(self, buffer: np.ndarray, samples: int, out: np.ndarray) -> list[Future]:
        row, rows = self._row, -(-samples // self._hop)
        groups = range(0, rows, self._group)
        # The pool takes tasks in order, so whatever a task waits for is done or in other hands.
        mine = [
            self._submit(self._transform, buffer[i], i, row, first, rows)
            for i in range(self.inputs)
            for first in groups
        ]
        needed, self._transforms = self._transforms + mine, mine
        self._row = (row + rows) % self._ring
        return [
            self._submit(self._convolve, needed, o, row, first, rows, samples, out)
            for o in range(self.outputs)
            for first in groups
        ]

    def _remember(self, history: np.ndarray) -> None:
        self._row = 0
        if not history.any():
            self._spectra[...] = 0
            return
        need = (self._count - 1) * self._hop + self._overlap
        past = np.zeros((self.inputs, need), self.dtype)
        n = min(need, history.shape[1])
        past[:, need - n :] = history[:, history.shape[1] - n :]
        for p in range(1, self._count):
            end = need - (p - 1) * self._hop
            for i in range(self.inputs):
                fft.rfft(past[i, end - self._fft_size : end], self._spectra[i, -p])

    def _transform(self, samples: np.ndarray, channel: int, row: int, first: int, rows: int) -> None:
        last = min(first + self._group, rows)
        step = samples.itemsize
        windows = np.lib.stride_tricks.as_strided(
            samples[first * self._hop :], (last - first, self._fft_size), (self._hop * step, step), writeable=False
        )
        fft.rfft(windows, self._spectra[channel, row + first : row + last])

    def _convolve(self, needed: list[Future], channel, row, first, rows, samples, out: np.ndarray) -> None:
        finish(needed)
        last = min(first + self._group, rows)
        with self._borrowed() as (product, result):
            product, result = product[: last - first], result[: last - first]
            self._multiply(channel, row + first, product)
            fft.irfft(product, self._fft_size, result)
            for r in range(last - first):
                start = (first + r) * self._hop
                stop = min(start + self._hop, samples)
                out[channel, start:stop] = result[r, self._overlap : self._overlap + stop - start]

    def _multiply(self, channel: int, row: int, product: np.ndarray) -> None:
        """The output spectra of the rows from `row` on: the sum over paths and partitions, tile by tile."""
        rows, bins = product.shape
        if not self._paths[channel]:
            product[...] = 0
            return
        terms = [(source, filters, p) for source, filters in self._paths[channel] for p in range(self._count)]
        width = max(_TILE // (rows * product.itemsize), 64)
        term = np.empty((rows, min(width, bins)), product.dtype)
        subtotal = np.empty_like(term) if len(terms) > _TOGETHER else None
        for start in range(0, bins, width):
            tile = slice(start, min(start + width, bins))
            part, target = term[:, : tile.stop - start], product[:, tile]
            for begin in range(0, len(terms), _TOGETHER):
                total = subtotal[:, : tile.stop - start] if begin else target
                for k, (source, filters, p) in enumerate(terms[begin : begin + _TOGETHER]):
                    for rows_here, spectra in self._delayed(source, row - p, rows):
                        if k == 0:
                            np.multiply(spectra[:, tile], filters[p, tile], out=total[rows_here])
                        else:
                            np.multiply(spectra[:, tile], filters[p, tile], out=part[rows_here])
                            total[rows_here] += part[rows_here]
                if begin:
                    target += total

    def _delayed(self, source: int, row: int, rows: int):
        """The ring's rows `row ... row + rows`, in one piece or, where they wrap, in two."""
        row %= self._ring
        first = min(rows, self._ring - row)
        yield slice(0, first), self._spectra[source, row : row + first]
        if first < rows:
            yield slice(first, rows), self._spectra[source, : rows - first]
