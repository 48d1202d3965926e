"""Overlap-save convolution of a filter matrix on the CPU, many hops at a time, on several threads.

With uniform partitions of S taps (or one of K), the spectrum of an output hop is the sum over the partitions p
of `H[p] * X[t - p]`, X[t] being the spectrum of the N samples that end with hop t. The spectra of the last hops
are kept, so each sample is transformed once forth and once back, whatever the filter's length.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue

import numpy as np

from ..planning import StreamPlan
from ..routing import FilterMatrix
from . import fft

# The multiply-accumulate walks the spectra in tiles of about this many bytes, which the second-level cache holds.
_TILE = 1 << 18
# Products that are summed before their sum is added to the rest: one long sum of thousands loses 15 dB of accuracy.
_TOGETHER = 32


class OverlapSave:
    """Convolves a stream with a filter matrix, `plan.rows * plan.hop` samples of every channel at a time.

    Args:
        matrix: the filters. Paths that share an array share its spectra.
        plan: an offline plan for them.
        dtype: float32 or float64: samples, spectra and arithmetic.
        workers: threads; the result does not depend on their number.
    """

    def __init__(self, matrix: FilterMatrix, plan: StreamPlan, dtype, workers: int = 1):
        (segment,) = plan.segments
        self.plan, self.dtype, self.workers = plan, np.dtype(dtype), workers
        self.inputs, self.outputs = matrix.inputs, matrix.outputs
        self.span = plan.rows * plan.hop
        self._fft_size, self._count, self._hop = segment.fft_size, segment.count, plan.hop
        self._overlap = segment.fft_size - plan.hop
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
        self._group = -(-plan.rows // workers) if min(self.inputs, self.outputs) < workers else plan.rows
        # A ring of spectra, a whole number of calls long, so that the rows of one call lie side by side. One call
        # is transformed while the products of the one before are still being made.
        calls = (2 if workers > 1 else 1) + -(-(segment.count - 1) // plan.rows)
        self._ring = calls * plan.rows
        complex_dtype = fft.COMPLEX_OF[self.dtype]
        # Two sets of buffers: the one is filled while the other is transformed.
        self._buffers = np.zeros((2, self.inputs, self._overlap + self.span), self.dtype)
        self._spectra = np.zeros((self.inputs, self._ring, bins), complex_dtype)
        self._row = self._side = 0
        self._transforms: list[Future] = []
        self._products: list[Future] = []
        self._scratch = SimpleQueue()
        for _ in range(workers):
            self._scratch.put(
                (np.empty((self._group, bins), complex_dtype), np.empty((self._group, self._fft_size), self.dtype))
            )
        self._pool = ThreadPoolExecutor(workers, "longconv") if workers > 1 else None

    def input_block(self) -> np.ndarray:
        """Where the next `span` samples of every channel go: `(inputs, span)`, to be filled before each `start`."""
        return self._buffers[self._side, :, self._overlap :]

    def start(self, samples: int, out: np.ndarray) -> Callable[[], None]:
        """Begins to convolve the first `samples` of the input block into `out`, `(outputs, samples)`, any strides.

        Fewer samples than `span` end the stream: nothing may follow them but another `prime`.

        Returns:
            a function that returns when `out` is complete. What was started before is complete already.
        """
        rows = -(-samples // self._hop)
        if samples < rows * self._hop:
            self.input_block()[:, samples : rows * self._hop] = 0
        buffer, row = self._buffers[self._side], self._row
        groups = range(0, rows, self._group)
        transforms = [(buffer[i], i, row, first, rows) for i in range(self.inputs) for first in groups]
        products = [(o, row, first, rows, samples, out) for o in range(self.outputs) for first in groups]
        if self._pool is None:
            for arguments in transforms:
                self._transform(*arguments)
            for arguments in products:
                self._convolve([], *arguments)
        else:
            before, mine = self._products, [self._pool.submit(self._transform, *a) for a in transforms]
            # The pool takes tasks in order, so whatever a task waits for is done or in other hands.
            needed = self._transforms + mine
            self._products = [self._pool.submit(self._convolve, needed, *a) for a in products]
            self._transforms = mine
            _finish(before)
        self._row = (row + rows) % self._ring
        self._side = 1 - self._side
        self._buffers[self._side, :, : self._overlap] = buffer[:, self.span :]
        return partial(_finish, self._products)

    def prime(self, history: np.ndarray) -> None:
        """Starts anew, as if `history`, `(inputs, n)`, had been run through before."""
        _finish(self._products)
        self._row = 0
        overlap = self._buffers[self._side, :, : self._overlap]
        if not history.shape[1]:
            self._spectra[...] = 0
            overlap[...] = 0
            return
        need = (self._count - 1) * self._hop + self._overlap
        past = np.zeros((self.inputs, need), self.dtype)
        n = min(need, history.shape[1])
        past[:, need - n :] = history[:, history.shape[1] - n :]
        for p in range(1, self._count):
            end = need - (p - 1) * self._hop
            for i in range(self.inputs):
                fft.rfft(past[i, end - self._fft_size : end], self._spectra[i, -p])
        overlap[...] = past[:, need - self._overlap :]

    def close(self) -> None:
        """Ends the threads."""
        if self._pool:
            self._pool.shutdown()

    def _transform(self, samples: np.ndarray, channel: int, row: int, first: int, rows: int) -> None:
        last = min(first + self._group, rows)
        step = samples.itemsize
        windows = np.lib.stride_tricks.as_strided(
            samples[first * self._hop :], (last - first, self._fft_size), (self._hop * step, step), writeable=False
        )
        fft.rfft(windows, self._spectra[channel, row + first : row + last])

    def _convolve(self, needed: list[Future], channel, row, first, rows, samples, out: np.ndarray) -> None:
        _finish(needed)
        last = min(first + self._group, rows)
        scratch = self._scratch.get()
        product, result = scratch[0][: last - first], scratch[1][: last - first]
        self._multiply(channel, row + first, product)
        fft.irfft(product, self._fft_size, result)
        for r in range(last - first):
            start = (first + r) * self._hop
            stop = min(start + self._hop, samples)
            out[channel, start:stop] = result[r, self._overlap : self._overlap + stop - start]
        self._scratch.put(scratch)

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


def _finish(futures: list[Future]) -> None:
    for future in futures:
        future.result()
