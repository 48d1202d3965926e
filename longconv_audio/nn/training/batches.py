"""In which order clips come, and reading them ahead. Nothing here depends on how many processes there are."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from .clips import Clips

# Batches that are read while the model works, and the threads that do it.
_AHEAD, _THREADS = 3, 2


@dataclass
class Batch:
    """A process's share of a step.

    Args:
        clips: `(items, 1, samples)`, float32.
        labels: `(items,)`, int64.
        weights: `(items,)`: 1, or 0 for what stands in where a process has no share.
        generators: one for each item, for augmentation.
        total: items of the step, over all processes.
    """

    clips: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    generators: list[torch.Generator]
    total: int


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """A permutation of the training set's items, another one in each epoch."""
    return torch.randperm(count, generator=seeded(seed, "order", epoch)).tolist()


def seeded(*key) -> torch.Generator:
    """A generator whose numbers depend on the key alone."""
    return torch.Generator().manual_seed(seed_of(*key))


def seed_of(*key) -> int:
    """A seed that depends on the key alone."""
    text = "/".join(map(str, key))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "little")


def training_batches(
    clips: Clips, batch_size: int, seed: int, epoch: int, first: int, rank: int = 0, ranks: int = 1
) -> Iterator[Batch]:
    """The batches of an epoch, from number `first` on. Where a clip is cut depends on seed, epoch and item alone."""
    order = epoch_order(len(clips), seed, epoch)
    groups = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def load(group: Sequence[int]) -> Batch:
        generators = [seeded(seed, "item", epoch, index) for index in group]
        return _batch(clips, group, generators, rank, ranks)

    return _ahead(load, groups[first:])


def validation_batches(clips: Clips, batch_size: int, rank: int = 0, ranks: int = 1) -> Iterator[Batch]:
    """All clips in their order, each cut from the middle."""
    groups = [range(start, min(start + batch_size, len(clips))) for start in range(0, len(clips), batch_size)]
    return _ahead(lambda group: _batch(clips, group, [None] * len(group), rank, ranks), groups)


def _batch(clips: Clips, group: Sequence[int], generators: list, rank: int, ranks: int) -> Batch:
    share = list(range(len(group)))[rank::ranks]
    # Every process takes part in every step: the gradients meet there.
    weight, share = (1.0, share) if share else (0.0, [0])
    return Batch(
        torch.from_numpy(np.stack([clips.load(group[i], generators[i]) for i in share])).unsqueeze(1),
        torch.tensor([clips.labels[group[i]] for i in share]),
        torch.full((len(share),), weight),
        [generators[i] for i in share],
        len(group),
    )


def _ahead(load, groups: Sequence) -> Iterator[Batch]:
    """What `load` gives for each group, in order, a few of them ahead."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="clips") as pool:
        waiting, rest = deque(), iter(groups)
        try:
            for group in rest:
                waiting.append(pool.submit(load, group))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
