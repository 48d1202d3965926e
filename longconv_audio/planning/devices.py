"""What a plan knows of a GPU: its limits, its sizes and its rates. It need not be here."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ..engines.cuda.gpus import KNOWN, Gpu
from ..errors import OptionError

MB, GB = 1 << 20, 10**9


@dataclass(frozen=True)
class Device:
    """A GPU.

    Args:
        name: what it is called in a plan.
        gpu: its architecture, multiprocessors, shared memory and threads.
        memory_bytes: of device memory.
        memory: bytes a second that a copy reaches, read and written together.
        cache_bytes, cache: of the second-level cache, and its bytes a second.
        shared: bytes a second of the shared memory of all multiprocessors.
        fma, double: floating-point operations a second of products of large matrices, in float32 and in float64.
        tensor: the same in 16 bits with sums in 32.
        launch: seconds from one kernel to the next.
    """

    name: str
    gpu: Gpu
    memory_bytes: int
    memory: float
    cache_bytes: int
    cache: float
    shared: float
    fma: float
    double: float
    tensor: float
    launch: float


# Of the published peaks, what an H200 reaches: 4.25 of 4.8 TB/s in a copy and 785 of 989 TFLOP/s in a product of large
# matrices. The same shares are taken of the other devices and of the other units.
_COPIED, _MULTIPLIED = 0.885, 0.79
# From one kernel of a CUDA graph to the next on an H200.
_LAUNCH = 2e-6
_BANKS = 128  # bytes a cycle and multiprocessor, CUDA C++ Programming Guide, "Shared Memory"


def _published(name, arch, multiprocessors, clock, memory_gb, memory, cache_mb, cache, fma, double, tensor) -> Device:
    """A device from its data sheet: GHz, GB, GB/s, MB, TB/s and TFLOP/s."""
    return Device(
        name, replace(KNOWN[arch], multiprocessors=multiprocessors), memory_gb * GB, _COPIED * memory * 1e9,
        cache_mb * MB, cache * 1e12, _BANKS * multiprocessors * clock * 1e9, _MULTIPLIED * fma * 1e12,
        _MULTIPLIED * double * 1e12, _MULTIPLIED * tensor * 1e12, _LAUNCH,
    )  # fmt: skip


# Multiprocessors, clocks, memory and peaks (dense, sums in float32) by NVIDIA: "A100 Tensor Core GPU Architecture" v1.0
# and the data sheet of the A100 80GB SXM; "H100 Tensor Core GPU Architecture" v1.04 and the data sheets of the H100 and
# H200 SXM; "Ampere GA102 GPU Architecture" v2.1; "Ada GPU Architecture" v2.1; "RTX Blackwell GPU Architecture" v1.1.
# Clocks of the H100 and H200 are those under load. Bandwidth of the second-level cache: Chips and Cheese, "Nvidia's
# H100: Funny L2, and Tons of Bandwidth", 2023, and its like of other devices; nobody's figure being at hand for the RTX
# 5090, it is the RTX 4090's for each multiprocessor and cycle.
DEVICES = {
    device.name: device
    for device in (
        _published("a100", "sm_80", 108, 1.41, 80, 2039, 40, 4.4, 19.5, 9.7, 312),
        _published("h100", "sm_90a", 132, 1.75, 80, 3350, 50, 5.7, 66.9, 33.5, 989.4),
        _published("h200", "sm_90a", 132, 1.75, 141, 4800, 60, 5.7, 66.9, 33.5, 989.4),
        _published("rtx3090", "sm_86", 82, 1.70, 24, 936, 6, 2.0, 35.6, 0.556, 71.2),
        _published("rtx4090", "sm_89", 128, 2.52, 24, 1008, 72, 5.0, 82.6, 1.29, 165.2),
        _published("rtx5090", "sm_120", 170, 2.41, 32, 1792, 96, 6.35, 104.8, 1.64, 209.5),
    )
}
# A family goes by its largest device.
_FAMILIES = {"rtx30": "rtx3090", "rtx40": "rtx4090", "rtx50": "rtx5090"}


def device_named(name: str) -> Device:
    """The published figures of a device.

    Args:
        name: as in `DEVICES`, or of a family (rtx30, rtx40, rtx50); spaces, hyphens and capitals do not matter.

    Raises:
        OptionError: for a name that is not known.

    >>> device_named("RTX 4090").name, device_named("rtx40").name
    ('rtx4090', 'rtx4090')
    """
    plain = _plain(name)
    found = DEVICES.get(_FAMILIES.get(plain, plain))
    if found is None:
        raise OptionError(f"device {name!r} is not known: expected one of {', '.join([*DEVICES, *_FAMILIES])}")
    return found


def with_limits(gpu: Gpu) -> Device:
    """The largest device known with such limits, or what one with them may be like."""
    known = [device for device in DEVICES.values() if device.gpu == gpu]
    if known:
        return max(known, key=lambda device: device.memory)
    likes = [device for device in DEVICES.values() if device.gpu.arch == gpu.arch] or [DEVICES["h200"]]
    like = max(likes, key=lambda device: device.memory)
    return estimated(like.name, gpu, like.memory_bytes, like.cache_bytes)


def estimated(name: str, gpu: Gpu, memory_bytes: int, cache_bytes: int) -> Device:
    """A device that is here and whose rates nobody measured: those of its model, or of one that is like it.

    Args:
        name: as its driver has it ("NVIDIA GeForce RTX 4090").
        gpu: its limits.
        memory_bytes, cache_bytes: of device memory and second-level cache.
    """
    plain = _plain(name)
    model = next((device for model, device in DEVICES.items() if model in plain), None)
    if model is None:
        # Of the same architecture, or with blocks as large; larger devices of one kind have rates in proportion.
        likes = sorted(DEVICES.values(), key=lambda d: abs(d.gpu.shared_per_block - gpu.shared_per_block))
        model = min(likes, key=lambda d: d.gpu.arch != gpu.arch)
    share = gpu.multiprocessors / model.gpu.multiprocessors
    scaled = {rate: getattr(model, rate) * share for rate in ("memory", "cache", "shared", "fma", "double", "tensor")}
    return replace(model, name=name, gpu=gpu, memory_bytes=memory_bytes, cache_bytes=cache_bytes, **scaled)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()
