"""Seconds that work takes on a device.

Equation 2 of FlashFFTConv (Fu et al., arXiv 2311.05908) adds up, for each factor, operations over their rate and bytes
over the bandwidth of the memory that they lie in. Here a pass has four such terms: device memory, second-level cache,
shared memory and arithmetic. They hide behind each other, but not wholly: a pass takes the longest, and a share of the
others. Rows go in waves, one to each multiprocessor, and the last wave computes as long as a full one.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from .devices import Device
from .work import Pass

# Fitted to times that an H200 took for 64 rows of 768 channels (float16 and float32, 256 samples to 4M, forward and
# backward, tests/planning/test_convolutions.py): all are within 20 % of what comes out.
# Of the shorter terms, what does not hide behind the longest.
_EXPOSED = 0.2
# Of a large matrix product's rate, what a row's transforms reach: they issue more than products. Complex rows, those of
# planes, have no fold.
_REACHED = {"tensor": 0.34, "planes": 0.4, "fma": 0.7, "double": 0.7}
_RATES = {"planes": "tensor"}
# Seconds that the host takes until the first kernel of rows that no block holds has begun, with nothing else under way.
LONG_CALL = 1.8e-4


def seconds(passes: Iterable[Pass], device: Device) -> float:
    """Of passes one after the other."""
    return sum(_pass_seconds(work, device) for work in passes)


def _pass_seconds(work: Pass, device: Device) -> float:
    waves = _waves(work, device)
    rate = _REACHED[work.unit] * getattr(device, _RATES.get(work.unit, work.unit))
    terms = (
        work.device_bytes / device.memory,
        work.cache_bytes / device.cache,
        work.shared_bytes / device.shared * waves,
        (work.flops + work.lost) / rate * waves,
    )
    longest = max(terms)
    busy = longest + _EXPOSED * (sum(terms) - longest)
    return busy * work.factor + work.launches * device.launch


def _waves(work: Pass, device: Device) -> float:
    """How much longer multiprocessors take than they would if the last wave of each launch were full."""
    if not work.pieces:
        return 1.0
    slots = device.gpu.multiprocessors
    full, rest = divmod(work.pieces, work.at_once)
    return (full * ceil(work.at_once / slots) + ceil(rest / slots)) * slots / work.pieces
