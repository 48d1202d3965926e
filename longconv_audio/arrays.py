"""Arrays as callers have them (NumPy's, torch's) and as the CPU engines want them, with torch never imported."""

from __future__ import annotations

import sys

import numpy as np


def is_torch(*arrays) -> bool:
    """Whether any of them is a torch tensor. Whoever has one has imported torch."""
    torch = sys.modules.get("torch")
    return torch is not None and any(isinstance(array, torch.Tensor) for array in arrays)


def to_numpy(array, name: str) -> np.ndarray:
    """A view (where one can be had) of an array or of a tensor in the CPU's memory.

    Raises:
        TypeError: for what is neither, for a tensor on another device, and for samples that are no floats.
    """
    if is_torch(array):
        if array.device.type != "cpu":
            raise TypeError(f"{name} is on device {array.device}; expected a tensor in CPU memory: pass {name}.cpu()")
        array = array.detach().numpy()
    array = np.asarray(array)
    if array.dtype.kind not in "fc" or array.dtype.itemsize not in (4, 8, 16) or array.dtype == np.longdouble:
        raise TypeError(
            f"{name} has dtype {array.dtype}; expected float32, float64 (or complex, for the functions): convert it"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def like(result: np.ndarray, model):
    """The result as the kind of array that `model` is."""
    if is_torch(model):
        return sys.modules["torch"].from_numpy(result)
    return result


def joined(arrays: list):
    """Arrays or tensors of one kind behind each other in time: always a copy."""
    if is_torch(*arrays):
        return sys.modules["torch"].cat(arrays, -1)
    return np.concatenate(arrays, axis=-1)


def of_kind(values: np.ndarray, model):
    """Numbers as an array or tensor of the model's dtype, where it is."""
    if is_torch(model):
        return sys.modules["torch"].from_numpy(values).to(model)
    return values.astype(model.dtype)
