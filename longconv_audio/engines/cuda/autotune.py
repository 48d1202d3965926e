"""The fastest of a few plans, by the clock of the device: timed once for each call's geometry, and remembered.

What won is kept in this process and in the user's cache folder, an entry for each convolution, device and set of plans.
An entry that is damaged is timed anew, and one that cannot be kept costs time alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ...planning.plans import Plan
from .cache import cache_folder
from .files import write_whole

# To be raised when what an entry means changes.
_FORMAT = 1

_winners: dict[str, tuple] = {}


def fastest(
    plans: Sequence[Plan],
    run: Callable[[Plan], object],
    device: str,
    seconds: Callable[[Callable[[], object]], float] | None = None,
) -> Plan:
    """The plan that takes the least time, of those that can be run.

    Args:
        plans: two or three for one convolution, the one predicted best first (`planning.candidates`).
        run: carries out a plan. A plan for which it raises is out of the race, unless none is left.
        device: what the times belong to: the GPU's name and its driver's version.
        seconds: the time of a call; by default the median of several on the current stream.

    Raises:
        Exception: as `run` does, where no plan can be run.
    """
    key = _key(plans, device)
    remembered = _winners.get(key) or _read(key)
    found = next((plan for plan in plans if _name(plan) == remembered), None)
    if found is None:
        if seconds is None and _capturing():  # nothing can be timed while a CUDA graph is captured
            return plans[0]
        found = _winner(plans, run, seconds or _median_seconds)
        _write(key, _name(found))
    _winners[key] = _name(found)
    return found


def _winner(plans, run, seconds) -> Plan:
    best, failure = None, None
    for plan in plans:
        try:
            took = seconds(lambda plan=plan: run(plan))
        except Exception as error:  # a kernel that does not compile, or memory that is not there
            failure = error
            continue
        if best is None or took < best[0]:
            best = took, plan
    if best is None:
        raise failure
    return best[1]


def _name(plan: Plan) -> tuple:
    """What tells a plan from others for the same convolution."""
    return plan.algorithm, plan.points, plan.outer, plan.tiles, plan.group


def _key(plans: Sequence[Plan], device: str) -> str:
    parts = (_FORMAT, device, plans[0].convolution, [_name(plan) for plan in plans])
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:40]


def _entry(key: str) -> Path | None:
    folder = cache_folder("autotune")
    return None if folder is None else folder / f"{key}.json"


def _read(key: str) -> tuple | None:
    entry = _entry(key)
    try:
        algorithm, points, outer, tiles, group = json.loads(entry.read_bytes()) if entry else ()
        return algorithm, points, tuple(outer), tiles, group
    except (OSError, ValueError, TypeError):
        return None


def _write(key: str, winner: tuple) -> None:
    if entry := _entry(key):
        with contextlib.suppress(OSError):
            write_whole(entry, json.dumps(winner).encode())


def _median_seconds(run) -> float:
    from .rates import median_seconds

    return median_seconds(run)


def _capturing() -> bool:
    import torch

    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
