"""Overlap-save convolution through a Fourier transform of two steps, for filters that one transform holds.

With n = n1 N2 + n2 and k = k1 + N1 k2, the transform of N = N1 N2 real samples is

    X[k1 + N1 k2] = sum over n2 of W_N2^(n2 k2) * W_N^(n2 k1) * (sum over n1 of W_N1^(n1 k1) * x[n1 N2 + n2])

real transforms down the columns of the window seen as a matrix, twiddles, complex transforms along the rows: the
Monarch decomposition of order 2 (Dao et al., "Monarch: expressive structured matrices", ICML 2022; Bailey, "FFTs in
external or hierarchical memory", 1990). The columns are real, so rows 0 to N1/2 say everything. The product needs
the spectrum in no particular order, so nothing is ever transposed: a tile of rows at a time is twiddled,
transformed, multiplied with the filter's rows, transformed back and twiddled back while the cache holds it. One
transform of a million points then costs about what as many points in small transforms cost.
"""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np

from ..planning import StreamPlan
from ..routing import FilterMatrix
from . import fft
from .overlap_save import OverlapSave

# Bytes of a tile of rows: a part of the second-level cache.
_TILE = 1 << 18
# Rows are this much longer than their N2 values, so that they do not all begin at the same place of the cache.
_PADDING = 8
# Twiddles are products of coarse and fine steps, of which so many make a coarse one.
_FINE = 64


class Monarch(OverlapSave):
    """Convolves a stream with at most one filter for each output, `plan.hop` samples of every channel at a time."""

    def __init__(self, matrix: FilterMatrix, plan: StreamPlan, dtype, workers: int = 1):
        super().__init__(matrix, plan, dtype, workers)
        self._columns, self._points = plan.segments[0].factors
        self._rows = self._columns // 2 + 1
        complex_dtype = fft.COMPLEX_OF[self.dtype]
        twiddles = self._twiddles()
        self._forth = self._padded(twiddles, complex_dtype)
        self._back = self._forth.conj()
        filters = {id(path.taps): path.taps for path in matrix.paths}
        spectra = {key: self._submit(self._filter_rows, taps, twiddles) for key, taps in filters.items()}
        self._filters = {path.output: (path.input, spectra[id(path.taps)].result()) for path in matrix.paths}
        self._together = max(_TILE // (self._points * complex_dtype.itemsize), 1)
        for _ in range(min(workers, 2 * self.outputs)):  # two calls may run at a time
            spectrum = self._padded(np.zeros((self._rows, self._points)), complex_dtype)
            self._scratch.put((spectrum, np.empty((self._columns, self._points), self.dtype)))

    def _begin(self, buffer: np.ndarray, samples: int, out: np.ndarray) -> list[Future]:
        return [self._submit(self._convolve, buffer, output, out) for output in range(self.outputs)]

    def _remember(self, history: np.ndarray) -> None:
        """The buffers are all there is."""

    def _convolve(self, buffer: np.ndarray, output: int, out: np.ndarray) -> None:
        if output not in self._filters:
            out[output] = 0
            return
        source, rows = self._filters[output]
        with self._borrowed() as (padded, result):
            spectrum = padded[:, : self._points]
            fft.columns_rfft(buffer[source].reshape(self._columns, self._points), spectrum)
            for first in range(0, self._rows, self._together):
                tile = slice(first, first + self._together)
                np.multiply(padded[tile], self._forth[tile], out=padded[tile])
                fft.fft(spectrum[tile], out=spectrum[tile])
                np.multiply(padded[tile], rows[tile], out=padded[tile])
                fft.fft(spectrum[tile], forward=False, out=spectrum[tile])
                np.multiply(padded[tile], self._back[tile], out=padded[tile])
            fft.columns_irfft(spectrum, self._columns, result)
            out[output] = result.reshape(-1)[self._overlap : self._overlap + out.shape[1]]

    def _filter_rows(self, taps: np.ndarray, twiddles: np.ndarray) -> np.ndarray:
        """The filter's spectrum, row by row, computed in double precision and scaled for the unscaled inverse."""
        window = np.zeros(self._fft_size)
        window[: len(taps)] = taps
        window /= self._fft_size
        spectrum = np.empty((self._rows, self._points), np.complex128)
        fft.columns_rfft(window.reshape(self._columns, self._points), spectrum)
        spectrum *= twiddles
        return self._padded(fft.fft(spectrum, out=spectrum), self._forth.dtype)

    def _twiddles(self) -> np.ndarray:
        """W_N^(n2 k1), `(rows, points)`, in double precision."""
        k1 = np.arange(self._rows)[:, None] * (-2j * np.pi / self._fft_size)
        coarse = np.exp(k1 * np.arange(0, self._points, _FINE))
        fine = np.exp(k1 * np.arange(_FINE))
        return (coarse[:, :, None] * fine[:, None, :]).reshape(self._rows, -1)[:, : self._points]

    def _padded(self, values: np.ndarray, dtype) -> np.ndarray:
        padded = np.zeros((self._rows, self._points + _PADDING), dtype)
        padded[:, : self._points] = values
        return padded
