"""Convolution of torch tensors along the last axis, by torch.fft, on any device and with gradients."""

from __future__ import annotations

import torch

_NAMES = "float32, float64, complex64 or complex128"


def promote(x: torch.Tensor, h: torch.Tensor):
    """Both tensors with their common dtype.

    Raises:
        TypeError: for dtypes that are not among those named.
        ValueError: for tensors on two devices.
    """
    if x.device != h.device:
        raise ValueError(f"x is on {x.device} and h on {h.device}; expected one device")
    for name, tensor in (("x", x), ("h", h)):
        if tensor.dtype not in (torch.float32, torch.float64, torch.complex64, torch.complex128):
            raise TypeError(f"{name} has dtype {tensor.dtype}; expected {_NAMES}: convert it")
    dtype = torch.promote_types(x.dtype, h.dtype)
    return x.to(dtype), h.to(dtype)


def asarray(array, model: torch.Tensor) -> torch.Tensor:
    """The tensor with the model's dtype and on its device."""
    return torch.as_tensor(array, dtype=model.dtype, device=model.device)


def itemsize(x: torch.Tensor) -> int:
    """Bytes of a real number of the tensor's precision."""
    return x.element_size() // (2 if x.is_complex() else 1)


def widen(h: torch.Tensor) -> torch.Tensor:
    """The tensor in double precision, where its device has that."""
    return h if h.device.type == "mps" else h.to(torch.complex128 if h.is_complex() else torch.float64)


def zeros(shape, model: torch.Tensor) -> torch.Tensor:
    """Zeros of the model's dtype, on its device."""
    return model.new_zeros(shape)


def pad(x: torch.Tensor, before: int, after: int) -> torch.Tensor:
    """The tensor with zeros before and after it in time."""
    return torch.nn.functional.pad(x, (before, after))


def fold(x: torch.Tensor, period: int) -> torch.Tensor:
    """The sum of the stretches of `period` samples that the tensor is made of."""
    x = pad(x, 0, -x.shape[-1] % period)
    return x.reshape(*x.shape[:-1], -1, period).sum(dim=-2)


def convolve(x: torch.Tensor, h: torch.Tensor, n: int, matrix: bool) -> torch.Tensor:
    """The full convolution through n-point transforms, n being at least its length."""
    spectrum = _product(_transform(x, n), _filter_spectrum(h, n, x.dtype), matrix)
    return _invert(spectrum, n, x)[..., : x.shape[-1] + h.shape[-1] - 1]


def overlap_save(x: torch.Tensor, h: torch.Tensor, n: int, matrix: bool) -> torch.Tensor:
    """The full convolution through blocks of n points."""
    length, taps = x.shape[-1], h.shape[-1]
    hop, total = n - taps + 1, length + taps - 1
    rows = -(-total // hop)
    windows = pad(x, taps - 1, (rows - 1) * hop + n - length - taps + 1).unfold(-1, n, hop)
    spectrum = _product(_transform(windows, n), _filter_spectrum(h, n, x.dtype)[..., None, :], matrix)
    blocks = _invert(spectrum, n, x)[..., taps - 1 :]
    return blocks.reshape(*blocks.shape[:-2], rows * hop)[..., :total]


def _filter_spectrum(h: torch.Tensor, n: int, dtype) -> torch.Tensor:
    """The spectrum, computed in double precision, then in the signal's precision."""
    return _transform(widen(h), n).to(torch.promote_types(dtype, torch.complex64))


def _transform(x: torch.Tensor, n: int) -> torch.Tensor:
    return torch.fft.fft(x, n) if x.is_complex() else torch.fft.rfft(x, n)


def _invert(spectrum: torch.Tensor, n: int, model: torch.Tensor) -> torch.Tensor:
    return torch.fft.ifft(spectrum, n) if model.is_complex() else torch.fft.irfft(spectrum, n)


def _product(x: torch.Tensor, h: torch.Tensor, matrix: bool) -> torch.Tensor:
    """The product of spectra; for matrices `(..., inputs, *, bins)` times `(outputs, inputs, *, bins)`."""
    if not matrix:
        return x * h
    return torch.einsum("...itb,oitb->...otb" if h.ndim == 4 else "...ib,oib->...ob", x, h)
