"""What a plan asks of a device, for those that are here and for those that are not."""

from __future__ import annotations

import functools
from dataclasses import dataclass

KB = 1024


@dataclass(frozen=True)
class Gpu:
    """The limits of a device. Source: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".

    Args:
        arch: what the compiler is asked for.
        shared_per_block, shared_per_multiprocessor: bytes of shared memory.
        threads_per_multiprocessor, blocks_per_multiprocessor: how many can be resident.
        multiprocessors: their number, which decides how finely a batch is cut.
    """

    arch: str
    shared_per_block: int
    shared_per_multiprocessor: int
    threads_per_multiprocessor: int
    blocks_per_multiprocessor: int
    multiprocessors: int = 100


LOWEST = (8, 0)  # bf16 tensor instructions and asynchronous copies begin with Ampere

# (shared KB a block, threads, blocks a multiprocessor) by compute capability; a multiprocessor has 1 KB more.
_LIMITS = {
    (8, 0): (163, 2048, 32),
    (8, 6): (99, 1536, 16),
    (8, 7): (163, 1536, 16),
    (8, 9): (99, 1536, 24),
    (9, 0): (227, 2048, 32),
    (10, 0): (227, 2048, 32),
    (10, 3): (227, 2048, 32),
    (12, 0): (99, 1536, 24),
}


def arch_name(capability: tuple[int, int]) -> str:
    """The name of an architecture: with its own instructions where it has some (sm_90a).

    >>> arch_name((8, 6)), arch_name((9, 0))
    ('sm_86', 'sm_90a')
    """
    return f"sm_{capability[0]}{capability[1]}{'a' if capability[0] == 9 else ''}"


KNOWN = {
    arch_name(capability): Gpu(arch_name(capability), shared * KB, (shared + 1) * KB, threads, blocks)
    for capability, (shared, threads, blocks) in _LIMITS.items()
}


@functools.cache
def gpu_of(index: int) -> Gpu:
    """The limits of one of this machine's GPUs, as its driver states them."""
    import torch

    properties = torch.cuda.get_device_properties(index)
    capability = (properties.major, properties.minor)
    arch = arch_name(capability)
    blocks = KNOWN[arch].blocks_per_multiprocessor if arch in KNOWN else 16
    return Gpu(
        arch,
        properties.shared_memory_per_block_optin,
        properties.shared_memory_per_multiprocessor,
        properties.max_threads_per_multi_processor,
        blocks,
        properties.multi_processor_count,
    )
