"""The fastest way to cut the rows of a call, by the clock of the device: see `autotune`."""

from __future__ import annotations

import torch

from ...planning.convolutions import ranked_cuts
from ...planning.devices import with_limits
from ..selection import Call
from . import long_pass, long_plans
from .autotune import fastest
from .long_cuts import cuts
from .long_questions import Question, number_of_gradients
from .operands import number_of, placed

_RACING = 3  # plans that are timed


def tune(on, call: Call, needs, u, k, d, pre_gate, post_gate, device: str, seconds=None) -> None:
    """Has `plan_long` remember what is fastest for a call of `long_pass.convolve`, and for its gradients in `needs`.

    Args:
        device: what the times belong to; seconds: the time of a call. See `autotune.fastest`.
    """
    given = u, k, None, d, pre_gate, post_gate
    asked = long_pass.question_of(call, number_of(call.precision, u.dtype), *given, False)
    _race(on, asked, lambda: long_pass.convolve(on, call, *given), device, seconds)
    if any(needs):
        asked = long_pass.question_of(call, number_of_gradients(call, needs, u, k), *given, True)
        out_length = placed(call, u.shape[-1], k.shape[-1]).length
        dy = torch.ones(asked.work.batch, asked.work.channels, out_length, dtype=u.dtype, device=u.device)
        _race(on, asked, lambda: long_pass.gradients(on, call, needs, dy, *given), device, seconds)


def _race(on, asked: Question, call, device: str, seconds) -> None:
    key = asked.lags, on.gpu, asked.precision, asked.work
    made = cuts(asked.lags, on.gpu, asked.precision)
    plans = ranked_cuts(asked.work, asked.lags, made, on.rates or with_limits(on.gpu))[:_RACING]
    if len(plans) < 2:
        return

    def run(plan) -> None:
        long_plans.remember(*key, plan.points)
        call()

    try:
        winner = fastest(plans, run, device, seconds)
    except Exception:
        long_plans.forget(*key)
        raise
    long_plans.remember(*key, winner.points)
