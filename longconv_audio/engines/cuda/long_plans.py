"""How rows that are too long for one block are cut: as the planner says, unless a race on the device said otherwise."""

from __future__ import annotations

import functools

from ...planning.convolutions import cheapest_cut, convolution_of
from ...planning.devices import Device, with_limits
from ...planning.plans import Convolution
from . import long_cuts
from .errors import NoKernelError
from .gpus import Gpu
from .long_cuts import LARGEST, MOST_SAMPLES, Lags, LongPlan

# Points of the transform that won a race, by what `plan_long` was asked.
_winners: dict[tuple, int] = {}


@functools.lru_cache(maxsize=4096)
def plan_long(
    lags: Lags,
    gpu: Gpu,
    precision: str = "single",
    points: int = 0,
    work: Convolution | None = None,
    device: Device | None = None,
) -> LongPlan:
    """The cheapest way on a device, or the one with so many points, for a spectrum that is there already.

    Args:
        lags: which samples the filters join.
        gpu: the device's limits.
        precision: "half" or "single".
        points: of the only transform that will do, or 0.
        work: all that is to be convolved; by default a row, with a spectrum that is there.
        device: the rates; by default those published of a device with such limits.

    Raises:
        NoKernelError: where no transform is long enough.
    """
    made = long_cuts.cuts(lags, gpu, precision, points or _winners.get((lags, gpu, precision, work), 0))
    if not made:
        raise too_long(lags)
    if len(made) == 1:
        return made[0]
    return cheapest_cut(work or _one_row(lags, precision), lags, made, device or with_limits(gpu))


def too_long(lags: Lags) -> NoKernelError:
    """What is said of rows that no transform is long enough for."""
    return NoKernelError(
        f"a filter of {lags.taps} taps on rows of {lags.length} samples: the kernels' transforms have up to "
        f"{2 * LARGEST} samples, for rows of up to {MOST_SAMPLES}; use engine='torch', or shorter rows or filters"
    )


def remember(lags: Lags, gpu: Gpu, precision: str, work: Convolution, points: int) -> None:
    """That transforms of so many points are the fastest for such work."""
    _winners[lags, gpu, precision, work] = points
    plan_long.cache_clear()


def forget(lags: Lags, gpu: Gpu, precision: str, work: Convolution) -> None:
    """What `remember` was told."""
    _winners.pop((lags, gpu, precision, work), None)
    plan_long.cache_clear()


def _one_row(lags: Lags, precision: str) -> Convolution:
    dtype = "float16" if precision == "half" else "float32"
    return convolution_of(1, 1, lags.length, lags.taps, lags.out_length, dtype=dtype, prepared=True)
