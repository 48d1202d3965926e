"""The optimizer of a run, and how its learning rate goes."""

from __future__ import annotations

import math

import torch
from torch import nn

from longconv_audio.nn.parameter_groups import parameter_groups

from .settings import TrainingSettings


def adamw(model: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over a model's parameter groups, each with its peak rate beside it."""
    groups = parameter_groups(model, settings.learning_rate, settings.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets each group's learning rate to a share of its largest."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def rate_factor(step: int, steps: int, warmup: float) -> float:
    """The learning rate of a step as a share of its largest: a linear rise, then half a cosine down to 0
    (Loshchilov and Hutter 2017, "SGDR", with one period).

    >>> [round(rate_factor(step, 5, 0.4), 3) for step in range(5)]
    [0.5, 1.0, 1.0, 0.75, 0.25]
    """
    rise = round(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))
