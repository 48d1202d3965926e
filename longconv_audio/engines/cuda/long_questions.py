"""What the planner is asked for a call on rows that no block holds."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch

from ...planning import convolutions
from ...planning.devices import Device
from ...planning.plans import Convolution
from ..selection import Call
from .long_plans import Lags
from .operands import number_of, placed
from .taps import Taps, lags_of


class Question(NamedTuple):
    """The arguments of `plan_long`, but for the device: see there."""

    lags: Lags
    precision: str
    points: int
    work: Convolution


def question(
    call: Call, number: str, u, k, filters: Taps, spectrum, pre_gate, post_gate, backward: bool
) -> Question:  # fmt: skip
    """For rows of a type, through filters with the linear form given, or through prepared spectra of them."""
    work = work_of(call, u, k, filters.k.shape, spectrum is not None, pre_gate, post_gate, backward)
    points = 0 if spectrum is None else points_of(spectrum)
    lags = lags_of(call, u.shape[-1], k.shape[-1], filters)
    return Question(lags, "single" if number == "fp32" else "half", points, work)


def work_of(call: Call, u, k, filters: tuple, prepared: bool, pre_gate, post_gate, backward: bool) -> Convolution:
    """All that is to be convolved; of filters the shape, for skip terms make more of them than k has."""
    length, taps = u.shape[-1], k.shape[-1]
    return convolutions.convolution_of(
        u.shape[0], u.shape[1], length, taps, placed(call, length, taps).length, call.mode,
        str(u.dtype).removeprefix("torch."), call.precision, pre_gate is not None, post_gate is not None, filters[-2],
        len(filters) == 3, prepared, backward,
    )  # fmt: skip


def shortage(call: Call, u, k, pre_gate, post_gate, backward: bool, device: Device, left: int) -> str | None:
    """Why a call does not fit a device with so many bytes of memory left, its inputs included; None where it fits."""
    work = work_of(call, u, k, k.shape, False, pre_gate, post_gate, backward)
    return convolutions.shortage(work, replace(device, memory_bytes=left))


def number_of_gradients(call: Call, needs, u, k) -> str:
    """The type of a backward pass. An input's gradient may be a sum: see `backward_pass._number`."""
    need_u, _, _, need_pre, _ = needs
    return "fp32" if u.shape[1] < k.shape[-2] and (need_u or need_pre) else number_of(call.precision, u.dtype)


def points_of(spectrum: torch.Tensor) -> int:
    """Of the transform of a prepared spectrum, which is a power of two, and more than a row has scales."""
    return 1 << (spectrum.shape[-1].bit_length() - 1)
