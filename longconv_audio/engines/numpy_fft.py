"""Convolution of NumPy arrays along the last axis, by scipy's FFT."""

from __future__ import annotations

import numpy as np

from . import fft

# Samples that are transformed in one call: near the cache, and bounded memory for a signal of any length.
_AT_ONCE = 1 << 18

_WIDE = {"f": np.float64, "c": np.complex128}


def promote(x: np.ndarray, h: np.ndarray):
    """Both arrays with their common dtype."""
    dtype = np.result_type(x, h)
    return x.astype(dtype, copy=False), h.astype(dtype, copy=False)


def asarray(array, model: np.ndarray) -> np.ndarray:
    """The array with the model's dtype."""
    return np.asarray(array, model.dtype)


def itemsize(x: np.ndarray) -> int:
    """Bytes of a real number of the array's precision."""
    return x.real.dtype.itemsize


def widen(h: np.ndarray) -> np.ndarray:
    """The array in double precision."""
    return h.astype(_WIDE[h.dtype.kind], copy=False)


def zeros(shape, model: np.ndarray) -> np.ndarray:
    """Zeros of the model's dtype."""
    return np.zeros(shape, model.dtype)


def pad(x: np.ndarray, before: int, after: int) -> np.ndarray:
    """The array with zeros before and after it in time."""
    result = np.zeros((*x.shape[:-1], before + x.shape[-1] + after), x.dtype)
    result[..., before : before + x.shape[-1]] = x
    return result


def fold(x: np.ndarray, period: int) -> np.ndarray:
    """The sum of the stretches of `period` samples that the array is made of."""
    x = pad(x, 0, -x.shape[-1] % period)
    return x.reshape(*x.shape[:-1], -1, period).sum(axis=-2)


def convolve(x: np.ndarray, h: np.ndarray, n: int, matrix: bool) -> np.ndarray:
    """The full convolution through n-point transforms, n being at least its length."""
    spectrum = _product(_transform(pad(x, 0, n - x.shape[-1])), _filter_spectrum(h, n, x.dtype), matrix)
    return _invert(spectrum, n, x.dtype)[..., : x.shape[-1] + h.shape[-1] - 1]


def overlap_save(x: np.ndarray, h: np.ndarray, n: int, matrix: bool) -> np.ndarray:
    """The full convolution through blocks of n points."""
    length, taps = x.shape[-1], h.shape[-1]
    hop, total = n - taps + 1, length + taps - 1
    spectrum = _filter_spectrum(h, n, x.dtype)[..., None, :]
    lead = (*x.shape[:-2], h.shape[0]) if matrix else np.broadcast_shapes(x.shape[:-1], h.shape[:-1])
    y = np.empty((*lead, total), x.dtype)
    together = max(_AT_ONCE // n, 1)
    for first in range(0, -(-total // hop), together):
        rows = min(together, -(-total // hop) - first)
        start = first * hop
        samples = np.zeros((*x.shape[:-1], (rows - 1) * hop + n), x.dtype)
        present = x[..., max(start - taps + 1, 0) : start - taps + 1 + samples.shape[-1]]
        offset = max(taps - 1 - start, 0)
        samples[..., offset : offset + present.shape[-1]] = present
        windows = np.lib.stride_tricks.sliding_window_view(samples, n, axis=-1)[..., ::hop, :]
        block = _invert(_product(_transform(windows), spectrum, matrix), n, x.dtype)[..., taps - 1 :]
        stop = min(start + rows * hop, total)
        y[..., start:stop] = block.reshape(*lead, rows * hop)[..., : stop - start]
    return y


def _filter_spectrum(h: np.ndarray, n: int, dtype) -> np.ndarray:
    """The spectrum, computed in double precision and scaled for an unscaled inverse, then in the signal's precision."""
    return _transform(pad(widen(h) / n, 0, n - h.shape[-1])).astype(np.result_type(dtype, np.complex64))


def _transform(x: np.ndarray) -> np.ndarray:
    return fft.fft(x) if x.dtype.kind == "c" else fft.rfft(x)


def _invert(spectrum: np.ndarray, n: int, dtype) -> np.ndarray:
    return fft.fft(spectrum, forward=False) if np.dtype(dtype).kind == "c" else fft.irfft(spectrum, n)


def _product(x: np.ndarray, h: np.ndarray, matrix: bool) -> np.ndarray:
    """The product of spectra; for matrices `(..., inputs, *, bins)` times `(outputs, inputs, *, bins)`."""
    if not matrix:
        return x * h
    axis = 1 - h.ndim
    return sum(np.expand_dims(np.take(x, i, axis), axis) * h[:, i] for i in range(h.shape[1]))
