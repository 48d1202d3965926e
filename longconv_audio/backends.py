"""Where streams are convolved: in the CPU's memory, or on a GPU. torch is imported for a GPU alone."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

import numpy as np

from .arrays import like, to_numpy
from .buffering import Stream, available_cores, plan_for
from .errors import OptionError
from .planning import StreamPlan
from .routing import FilterMatrix

# Seconds that `import torch` takes, on two cores of an AMD EPYC.
_TORCH_SECONDS = 1.6
# Bytes a second that are sure to get to a GPU and back: half of what 16 lanes of PCI Express 3.0 carry one way.
_COPY_RATE = 8e9
# A GPU has to save at least this factor, for its own start and its arithmetic are not in the estimate.
_WORTH = 2


def backend_for(device, dtype: np.dtype, *, workers: int | None = None, option: str = "device"):
    """What convolves on a device.

    Args:
        device: "cpu", "cuda", "cuda:1", a torch.device, or None for the CPU.
        dtype: the precision of the arithmetic, float32 or float64.
        workers: threads of a CPU; by default the cores there are.
        option: what the device's name is called where it is refused.

    Raises:
        OptionError: for a device that does not exist.
    """
    gpu = find_gpu(device, option)
    if gpu is None:
        return CpuBackend(dtype, workers)
    from .devices.backend import DeviceBackend

    return DeviceBackend(gpu, dtype)


def find_gpu(device, option: str = "device"):
    """The torch.device of the GPU that is meant; None where the CPU is.

    Raises:
        OptionError: for a device that does not exist.
    """
    name = "cpu" if device is None else str(device)
    kind, _, index = name.partition(":")
    if kind == "cpu":
        return None
    if kind != "cuda" or (index and not index.isdecimal()) or name.endswith(":"):
        raise OptionError(f"{option} {name}: expected cpu, cuda, or cuda:1 and so on")
    import torch

    if not torch.cuda.is_available():
        raise OptionError(
            f"{option} {name}: torch {torch.__version__} finds no GPU here: use cpu, or see longconv doctor"
        )
    number, count = int(index or torch.cuda.current_device()), torch.cuda.device_count()
    if number >= count:
        raise OptionError(f"{option} {name}: there are {count} GPUs: expected cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", number)


def gpu_pays(plan: StreamPlan, samples_in: int, samples_out: int, itemsize: int) -> bool:
    """Whether a GPU, if there is one, is sure to be done sooner than the CPU, the import of torch included.

    Args:
        plan: the CPU's.
        samples_in, samples_out: of all channels.
        itemsize: bytes of a sample.
    """
    on_cpu = plan.nanoseconds * 1e-9 * max(samples_in, samples_out) / available_cores()
    loading = 0.0 if "torch" in sys.modules else _TORCH_SECONDS
    on_gpu = loading + (samples_in + samples_out) * itemsize / _COPY_RATE
    return on_cpu > _WORTH * on_gpu and _driver_is_there()


class CpuBackend:
    """Convolves on the CPU.

    Args:
        dtype: float32 or float64, of samples and arithmetic.
        workers: threads; by default the cores there are.
    """

    def __init__(self, dtype: np.dtype, workers: int | None = None):
        self._dtype, self._workers = dtype, workers or available_cores()

    def __str__(self) -> str:
        return "cpu"

    def plan(self, matrix: FilterMatrix, latency: str, block_size=None, length=None) -> StreamPlan:
        """How a matrix of filters is convolved; of the arguments see `planning.plan_stream`."""
        return plan_for(matrix, self._dtype, latency, block_size, self._workers, length)

    def stream(self, matrix: FilterMatrix, plan: StreamPlan) -> Stream:
        """A stream of the samples that `through` hands to its function."""
        return Stream(matrix, plan, self._dtype, self._workers)

    def host_stream(self, matrix: FilterMatrix, plan: StreamPlan) -> Stream:
        """A stream of NumPy arrays, with `start`, `finish` and `close`."""
        return self.stream(matrix, plan)

    def zeros(self, channels: int, samples: int) -> np.ndarray:
        """Silence."""
        return np.zeros((channels, samples), self._dtype)

    def samples(self, array, name: str) -> np.ndarray:
        """What a caller gave, checked, as near to the backend as it is.

        Raises:
            TypeError: for what is no array of floats.
        """
        return to_numpy(array, name)

    def through(self, push: Callable, x: np.ndarray) -> np.ndarray:
        """What a stream's `push` (or a function around it) makes of samples."""
        return push(x)

    def like(self, y: np.ndarray, model, dtype: np.dtype):
        """The samples as the kind of array that `model` is, where it is, in a dtype."""
        return like(y.astype(dtype, copy=False), model)

    def to_host(self, y: np.ndarray) -> np.ndarray:
        """Samples of a stream as a NumPy array."""
        return y

    def from_host(self, x: np.ndarray) -> np.ndarray:
        """A NumPy array as samples for a stream."""
        return x


def _driver_is_there() -> bool:
    """Whether NVIDIA's driver is installed; torch, which would know of GPUs too, takes seconds to ask."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True
