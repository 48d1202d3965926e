"""One short convolution as its kernels take it: dense tensors, and the arguments that all kernels have in common."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..short_call import ShortCall
from .arguments import ShortArguments, Strides
from .operands import KINDS, cast, rows

_NAMES = {dtype: name for name, dtype in KINDS.items()}


class Job(NamedTuple):
    """One convolution, of the forward or of the backward pass.

    Args:
        call: whose it is, which says how the tensors lie.
        x, pre_gate: what is convolved, and what multiplies it or None.
        side: what multiplies the result, or None.
        k, bias: the filters and what is added, or None.
        samples: of a row of the result.
        start: of x, the sample that tap 0 of the taps in order meets in the first output.
        backwards: whether the order of the taps is the reverse of k's.
    """

    call: ShortCall
    x: torch.Tensor
    pre_gate: torch.Tensor | None
    side: torch.Tensor | None
    k: torch.Tensor
    bias: torch.Tensor | None
    samples: int
    start: int
    backwards: bool

    @property
    def channels(self) -> int:
        return self.call.channels(self.x)

    @property
    def number(self) -> str:
        return _NAMES[self.x.dtype]


class Sums(NamedTuple):
    """What the chunks leave of the gradients of taps and bias.

    Args:
        values: of all chunks, float32.
        chunk_step, channel_step, slot_step: elements from one to the next.
        first_slot, bias_slot: of the taps and of the bias.
        backwards: whether the taps' slots are in the reverse of k's order.
    """

    values: torch.Tensor
    chunk_step: int
    channel_step: int
    slot_step: int
    first_slot: int
    bias_slot: int
    backwards: bool


def job_of(call: ShortCall, x, pre_gate, side, k, bias, samples: int, start: int, backwards: bool) -> Job:
    """With its rows, or times, dense."""
    kind = x.dtype
    bias = None if bias is None else cast(bias, torch.float32).contiguous()
    return Job(call, rows(x, kind), rows(pre_gate, kind), rows(side, kind), k, bias, samples, start, backwards)


def filters_of(job: Job) -> torch.Tensor:
    """(filters, taps), dense."""
    return cast(job.k, torch.float32).contiguous()


def result_of(job: Job) -> torch.Tensor:
    """Room for the result, dense."""
    batch, channels = job.x.shape[0], job.channels
    return job.x.new_empty((batch, job.samples, channels) if job.call.channels_last else (batch, channels, job.samples))


def arguments_of(job: Job, side, y, k, strides) -> ShortArguments:
    """Addresses, strides and sizes; `side` in place of the job's own."""
    filters, taps = job.k.shape
    arguments = ShortArguments(
        x=job.x.data_ptr(), x_strides=Strides(*strides(job.x)), channels_per_filter=job.channels // filters,
        batch=job.x.shape[0], channels=job.channels, length=job.call.length(job.x), out_length=job.samples, taps=taps,
    )  # fmt: skip
    for name, steps, t in (
        ("pre_gate", "pre_strides", job.pre_gate), ("side", "side_strides", side), ("y", "y_strides", y),
    ):  # fmt: skip
        if t is not None:
            setattr(arguments, name, t.data_ptr())
            setattr(arguments, steps, Strides(*strides(t)))
    for name, t in (("k", k), ("bias", job.bias)):
        if t is not None:
            setattr(arguments, name, t.data_ptr())
    return arguments


def aligned_to(size: int, strides, *tensors) -> bool:
    """Whether every row, or time, of all tensors begins at a multiple of `size` bytes."""
    return all(
        t.data_ptr() % size == 0 and all(step * t.element_size() % size == 0 for step in strides(t))
        for t in tensors
        if t is not None
    )
