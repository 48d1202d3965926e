"""Convolutions as functions: NumPy arrays in, NumPy arrays out; torch tensors in, torch tensors out.

Time is the last axis and leading axes broadcast. dtype in is dtype out: float32, float64, complex64 or complex128.
Nothing is normalised. Torch tensors stay on their device and carry gradients.
"""

from __future__ import annotations

import importlib

import numpy as np

from .arrays import is_torch, to_numpy
from .planning import MODES, fast_sizes, output_window, plan_overlap_save


def fftconvolve(x, h, mode: str = "full"):
    """Convolves along the last axis by one FFT over the whole length.

    Args:
        x: the signal, `(..., L)`.
        h: the filter, `(..., K)`, with leading axes that broadcast against those of `x`; any K, also K > L.
        mode: "full", `L + K - 1` samples; "causal", the first L of them; "same", the middle L; "valid", those
            where the shorter lies wholly over the longer; "circular", L samples with period L.

    Returns:
        the convolution, `(..., samples)`. Where x or h has no samples, no samples.

    Raises:
        ValueError: for an unknown mode, and for shapes that do not broadcast.
        TypeError: for arrays that are not of floats, and for a mixture of arrays and tensors.

    Accuracy: in single precision the error is below -130 dB of the result for signals of even level. It is spread over
    the whole transform, so a stretch far quieter than the rest carries as much of it as the rest does; convolve in
    double, or with `oaconvolve`, where that matters.

    When to use: for filters about as long as the signal. `oaconvolve` is faster and leaner for a short filter on a
    long signal. In single precision the filter's spectrum is computed in double, which halves the error.

    >>> fftconvolve(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0]), mode="causal").round(6) + 0.0
    array([0., 1., 2.])
    """
    return _convolve(x, h, mode, matrix=False, in_blocks=False)


def oaconvolve(x, h, mode: str = "full"):
    """Convolves along the last axis in overlapping blocks, their size chosen by a cost model.

    Arguments, result and errors as in `fftconvolve`.

    When to use: for a filter much shorter than the signal. (Overlap-save; the name is scipy's.)

    >>> oaconvolve(np.arange(5.0), np.ones(2), mode="valid").round(6)
    array([1., 3., 5., 7.])
    """
    return _convolve(x, h, mode, matrix=False, in_blocks=True)


def fftfilt(x, h, zi=None):
    """Filters a signal that comes in pieces, and hands on the state.

    Args:
        x: the piece, `(..., L)`, L from 0 up.
        h: the filter, `(..., K)`.
        zi: the state that the piece before left behind, `(..., K - 1)`; None at the start.

    Returns:
        `(y, zf)`: y `(..., L)`, and the state `(..., K - 1)` for the next piece: what the signal so far still adds
        to samples to come. The pieces behind each other are the whole convolution, as with `scipy.signal.lfilter(h,
        1, x, zi=zi)`.

    Raises:
        ValueError: where the state's length is not K - 1, and for shapes that do not broadcast.

    >>> y, zf = fftfilt(np.array([1.0, 0.0]), np.array([4.0, 2.0, 1.0]))
    >>> y.round(6), zf.round(6) + 0.0
    (array([4., 2.]), array([1., 0.]))
    """
    engine, x, h = _arrays(x, h)
    length, taps = x.shape[-1], h.shape[-1]
    if not taps:
        raise ValueError("h has 0 taps; expected at least 1")
    full = engine.zeros((*_leading(x, h), length + taps - 1), x)
    if length:
        full = _full(engine, x, h, matrix=False, in_blocks=taps < length)
    if zi is not None:
        zi = _state(engine, zi, x, (*full.shape[:-1], taps - 1))
        full = full + engine.pad(zi, 0, length)
    return full[..., :length], full[..., length:] + 0  # a copy: the state must not keep the whole piece alive


def convolve_matrix(x, H, mode: str = "full"):
    """Convolves several channels with a matrix of filters: `y[o] = sum over i of x[i] * H[o, i]`.

    Args:
        x: the signals, `(..., inputs, L)`.
        H: the filters, `(outputs, inputs, K)`.
        mode: as in `fftconvolve`.

    Returns:
        `(..., outputs, samples)`.

    Raises:
        ValueError: where the numbers of inputs differ.

    >>> swap = np.array([[[0.0], [1.0]], [[1.0], [0.0]]])
    >>> convolve_matrix(np.array([[1.0, 2.0], [3.0, 4.0]]), swap).round(6) + 0.0
    array([[3., 4.],
           [1., 2.]])
    """
    shape_x, shape_h = tuple(np.shape(x)), tuple(np.shape(H))
    if len(shape_h) != 3 or len(shape_x) < 2 or shape_x[-2] != shape_h[1]:
        raise ValueError(
            f"x has shape {shape_x} and H {shape_h}; expected (..., inputs, samples) and (outputs, inputs, taps)"
        )
    return _convolve(x, H, mode, matrix=True, in_blocks=shape_h[-1] * 4 < shape_x[-1])


def _convolve(x, h, mode: str, matrix: bool, in_blocks: bool):
    engine, x, h = _arrays(x, h)
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}; expected one of {', '.join(MODES)}")
    length, taps = x.shape[-1], h.shape[-1]
    lead = (*x.shape[:-2], h.shape[0]) if matrix else _leading(x, h)
    if not length or not taps or 0 in lead:
        samples = (length if taps else 0) if mode == "circular" else output_window(mode, length, taps)[1]
        return engine.zeros((*lead, samples), x)
    if mode == "circular":
        once = engine.fold(engine.widen(h), length) if taps > length else h
        return engine.fold(_full(engine, x, once, matrix, in_blocks), length)
    start, samples = output_window(mode, length, taps)
    return _full(engine, x, h, matrix, in_blocks)[..., start : start + samples]


def _full(engine, x, h, matrix: bool, in_blocks: bool):
    """The full convolution, in one transform or in blocks."""
    length, taps = x.shape[-1], h.shape[-1]
    if taps > length:
        # The error of a transform is spread evenly over a result that decays with the filter: where little but the
        # end of that is wanted, single precision would not do.
        y = _transformed(engine, engine.widen(x), engine.widen(h), matrix, in_blocks and not matrix)
        return engine.asarray(y, x)
    return _transformed(engine, x, h, matrix, in_blocks)


def _transformed(engine, x, h, matrix: bool, in_blocks: bool):
    if x.shape[-1] < h.shape[-1] and in_blocks:
        x, h = h, x
    length, taps = x.shape[-1], h.shape[-1]
    whole = fast_sizes(length + taps - 1, 2 * (length + taps))[0]
    size = plan_overlap_save(length, taps, engine.itemsize(x)) if in_blocks else whole
    if size < whole:
        return engine.overlap_save(x, h, size, matrix)
    return engine.convolve(x, h, whole, matrix)


def _state(engine, zi, x, shape: tuple[int, ...]):
    """The state as an array like x.

    Raises:
        ValueError: where it does not broadcast to the shape, or is complex and the signal is not.
    """
    if np.ndim(zi) == 0 or zi.shape[-1] != shape[-1]:
        raise ValueError(f"zi has shape {np.shape(zi)}; expected {shape[-1]} samples, one less than h has taps")
    if np.broadcast_shapes(tuple(zi.shape), shape) != shape:
        raise ValueError(f"zi has shape {tuple(zi.shape)}; expected one that broadcasts to {shape}")
    if "complex" in str(zi.dtype) and "complex" not in str(x.dtype):
        raise ValueError(f"zi has dtype {zi.dtype} and the signal {x.dtype}; expected a real state")
    return engine.asarray(zi, x)


def _leading(x, h) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(tuple(x.shape[:-1]), tuple(h.shape[:-1]))
    except ValueError:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and h {tuple(h.shape)}; expected leading axes that broadcast"
        ) from None


def _arrays(x, h):
    """The engine for the arrays, and the arrays with one dtype (and on one device)."""
    if is_torch(x, h):
        engine = importlib.import_module(".engines.torch_fft", __package__)
        if not is_torch(x) or not is_torch(h):
            raise TypeError(f"x is a {type(x).__name__} and h a {type(h).__name__}; expected two arrays or two tensors")
    else:
        engine = importlib.import_module(".engines.numpy_fft", __package__)
        x, h = to_numpy(x, "x"), to_numpy(h, "h")
    if x.ndim == 0 or h.ndim == 0:
        raise ValueError(f"x has shape {tuple(x.shape)} and h {tuple(h.shape)}; expected a time axis in both")
    return engine, *engine.promote(x, h)
