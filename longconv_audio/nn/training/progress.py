"""Where a run is, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Step:
    """How far a run is.

    Args:
        epoch, epochs: the one under way, from 1, and how many there may be.
        step, steps: done, and how many there may be.
        clips: trained on since this process began.
        loss: the mean over the epoch so far; NaN before the first look.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    clips: int
    loss: float


@dataclass
class Result:
    """What a run came to.

    Args:
        history: for each epoch its losses and figures.
        best: the record of the epoch whose model was kept.
        stopped_early: whether the patience ended it.
    """

    history: list[dict]
    best: dict
    stopped_early: bool


@dataclass
class Position:
    """Where a run is; saved with it."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    clips: int = 0
    best: int | None = None
    history: list[dict] = field(default_factory=list)
