"""Streams on a device, for samples that are anywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..arrays import is_torch, like, to_numpy
from ..routing import FilterMatrix
from .host_link import HostLink
from .host_stream import HostStream, enough_memory
from .planning import DevicePlan, plan_device_stream
from .routes import grouped
from .stream import DeviceStream


class DeviceBackend:
    """Convolves on a device; its methods are those of `backends.CpuBackend`.

    Samples of the device, or of another GPU, are answered there. All others go to the device and come back.

    Args:
        device: where to compute.
        dtype: float32 or float64, of the samples on it.
    """

    def __init__(self, device: torch.device, dtype: np.dtype):
        self._device, self._dtype = device, _TORCH_DTYPES[dtype.name]
        self._itemsize = dtype.itemsize
        self._link = HostLink(self._dtype, device)

    def __str__(self) -> str:
        name = f" ({torch.cuda.get_device_name(self._device)})" if self._device.type == "cuda" else ""
        return f"{self._device}{name}"

    def plan(self, matrix: FilterMatrix, latency: str, block_size=None, length=None) -> DevicePlan:
        return plan_device_stream(
            max(matrix.taps, 1),
            latency=latency,
            block_size=block_size,
            inputs=matrix.inputs,
            outputs=matrix.outputs,
            filters=sum(len(filters) for _, filters, _ in grouped(matrix)),
            itemsize=self._itemsize,
            length=length,
            available=_available(self._device),
        )

    def stream(self, matrix: FilterMatrix, plan: DevicePlan) -> DeviceStream:
        return DeviceStream(matrix, plan, self._dtype, self._device)

    def host_stream(self, matrix: FilterMatrix, plan: DevicePlan) -> HostStream:
        with enough_memory():
            return HostStream(self.stream(matrix, plan), self._link)

    def zeros(self, channels: int, samples: int) -> torch.Tensor:
        with torch.inference_mode(False):  # they are written to in whatever mode comes
            return torch.zeros(channels, samples, dtype=self._dtype, device=self._device)

    def samples(self, array, name: str) -> np.ndarray | torch.Tensor:
        if not is_torch(array) or array.device.type == "cpu":
            return to_numpy(array, name)
        if array.dtype not in _TORCH_DTYPES.values():
            raise TypeError(f"{name} has dtype {array.dtype}; expected float32 or float64: convert it")
        return array.detach().to(self._device)

    def through(self, push: Callable, x: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
        return push(x) if is_torch(x) else self._link.through(push, x)

    def like(self, y: np.ndarray | torch.Tensor, model, dtype: np.dtype):
        if is_torch(model) and model.device.type != "cpu":
            return torch.as_tensor(y).to(model.device, _TORCH_DTYPES[dtype.name])
        return like(self.to_host(y).astype(dtype, copy=False), model)

    def to_host(self, y: np.ndarray | torch.Tensor) -> np.ndarray:
        return y.cpu().numpy() if is_torch(y) else y

    def from_host(self, x: np.ndarray) -> torch.Tensor:
        return self._link.send(x)


_TORCH_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def _available(device: torch.device) -> int | None:
    """Bytes of memory that are free on a GPU, with what torch keeps for the next that asks."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
