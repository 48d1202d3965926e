"""A GPU's rates, measured: what planning has of a device, some milliseconds each."""

from __future__ import annotations

import statistics
from collections.abc import Callable

# Bytes of the tensors that are copied, at most; and of the second-level cache, what a tensor takes that stays there.
_COPIED, _CACHED = 512 << 20, 1 / 3
_PRODUCT, _LARGE_PRODUCT = 4096, 8192
_ROUNDS, _LAUNCHES = 9, 200
# Multiply-adds of float32, and of float64, that a multiprocessor starts in a cycle, by compute capability, and bytes of
# shared memory: CUDA C++ Programming Guide, "Throughput of Native Arithmetic Instructions" and "Shared Memory".
_SINGLE_LANES = {(8, 0): 64}
_DOUBLE_LANES = {(8, 0): 32, (9, 0): 64, (10, 0): 64}
_SHARED_BYTES = 128
# Of the most that a device can do, what a large product reaches: as much as an H200 in 16 bits (planning/devices.py).
_REACHED = 0.79


def measure(index: int) -> dict[str, float]:
    """The rates of `planning.Device`, by name, of torch's device of this number.

    Shared memory and float64 are not measured: their rates follow from that of float32.
    """
    import torch

    with torch.cuda.device(index):
        launch = _in_graph(torch.zeros(1, device="cuda"))
        fma = _product_rate(torch.float32, _PRODUCT)
        capability = torch.cuda.get_device_capability(index)
        lanes = _SINGLE_LANES.get(capability, 128)
        return {
            "memory": _copy_rate(),
            "cache": _cache_rate(launch),
            "shared": fma / _REACHED / (2 * lanes) * _SHARED_BYTES,
            "fma": fma,
            "double": fma * _DOUBLE_LANES.get(capability, 2) / lanes,
            "tensor": _product_rate(torch.float16, _LARGE_PRODUCT),
            "launch": launch,
        }


def median_seconds(run: Callable[[], object], rounds: int = _ROUNDS) -> float:
    """Of the device's time from before a call to after it, the first two left out."""
    import torch

    times = []
    for _ in range(2 + rounds):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        run()
        after.record()
        after.synchronize()
        times.append(before.elapsed_time(after) * 1e-3)
    return statistics.median(times[2:])


def _copy_rate() -> float:
    import torch

    free, _ = torch.cuda.mem_get_info()
    size = min(_COPIED, free // 4)
    x, y = (torch.empty(size, dtype=torch.uint8, device="cuda") for _ in range(2))
    return 2 * size / median_seconds(lambda: y.copy_(x))


def _cache_rate(launch: float) -> float:
    """Of a tensor that is read and written over and over; starting kernels takes no part in it."""
    import torch

    size = int(torch.cuda.get_device_properties("cuda").L2_cache_size * _CACHED)
    x = torch.zeros(size // 4, device="cuda")
    return 2 * x.nbytes / max(_in_graph(x) - launch, launch / 10)


def _in_graph(x) -> float:
    """Seconds of a kernel that adds to a tensor, one of many in a graph."""
    import torch

    x.add_(1)  # what the first call loads cannot be loaded in a capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(_LAUNCHES):
            x.add_(1)
    return median_seconds(graph.replay) / _LAUNCHES


def _product_rate(dtype, n: int) -> float:
    """Operations a second of the product of two matrices."""
    import torch

    x, y = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
    out = torch.empty_like(x)
    return 2 * n**3 / median_seconds(lambda: torch.mm(x, y, out=out))
