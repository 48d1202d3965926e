"""The normalisation over channels by CUDA kernels, forward and backward: what `nn.pointwise` asks for on a GPU.

A tensor's statistics are computed anew from it in the backward pass, of the same reading as the gradients' own means.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

from . import norm_kernels, short_kernels
from .arguments import NormArguments, ShortSumArguments
from .launch import available, current, launcher
from .operands import KINDS, cast
from .plans import Kernel

_NUMBERS = {dtype: number for number, dtype in KINDS.items()}


def why_not(x, dtype: torch.dtype, *parameters) -> str | None:
    """Why no kernel makes a norm of this dtype of x `(B, C, L)`, or its gradients; None where one does.

    Kernels read what addresses say: of parameters that do not belong to x torch's operations have to complain.
    """
    if x.ndim != 3 or any(t.shape != x.shape[1:2] or t.device != x.device for t in parameters):
        return "x is not (B, C, L), or a parameter not (C,) on its device"
    batch, channels, length = x.shape
    if (_NUMBERS.get(x.dtype), _NUMBERS.get(dtype)) not in norm_kernels.TYPES:
        return f"there are no kernels from {x.dtype} to {dtype}"
    if not x.numel():
        return "there are no samples"
    if channels > norm_kernels.MOST_CHANNELS:
        return f"{channels} channels; expected at most {norm_kernels.MOST_CHANNELS}"
    if max(length, batch * norm_kernels.tiles_of(length, 1)) > norm_kernels.MOST_TIMES:
        return f"{batch} rows of {length} samples do not fit 32 bits"
    return available(x.device)


def forward(x, weight, bias, eps: float, dtype: torch.dtype) -> torch.Tensor:
    """y `(B, C, L)` of this dtype.

    Raises:
        CompilerError, LaunchError: where a kernel cannot be compiled, loaded or started.
    """
    index = x.get_device()
    with current(index):
        return normed(launcher(index), x, weight, bias, eps, dtype)


def backward(dy, x, weight, eps: float):
    """The gradients of x, in its dtype, and of weight and bias, in float32. Errors as of `forward`."""
    index = x.get_device()
    with current(index):
        return gradients(launcher(index), dy, x, weight, eps)


def normed(on, x, weight, bias, eps: float, dtype: torch.dtype) -> torch.Tensor:
    """`forward`, on a launcher: something that has `launch`."""
    x, weight, bias = x.contiguous(), _parameter(weight), _parameter(bias)
    y = torch.empty_like(x, dtype=dtype)
    launch = _forward_launch(x.shape, x.dtype, dtype, _aligned(x, y))
    arguments = launch.arguments.copy()
    arguments.x, arguments.result, arguments.eps = x.data_ptr(), y.data_ptr(), eps
    arguments.weight, arguments.bias = weight.data_ptr(), bias.data_ptr()
    on.launch(launch.kernel, arguments, (launch.blocks, 1))
    return y


def gradients(on, dy, x, weight, eps: float):
    """`backward`, on a launcher."""
    x, dy, weight = x.contiguous(), dy.contiguous(), _parameter(weight)
    channels, dx = x.shape[1], torch.empty_like(x)
    launch, addition = _backward_launches(x.shape, x.dtype, dy.dtype, _aligned(x, dy, dx))
    sums = torch.empty(2 * channels * launch.blocks, dtype=torch.float32, device=x.device)
    dw, db = (torch.empty(channels, dtype=torch.float32, device=x.device) for _ in range(2))
    arguments = launch.arguments.copy()
    arguments.x, arguments.dy, arguments.result, arguments.eps = x.data_ptr(), dy.data_ptr(), dx.data_ptr(), eps
    arguments.weight, arguments.sums = weight.data_ptr(), sums.data_ptr()
    on.launch(launch.kernel, arguments, (launch.blocks, 1))
    arguments = addition.arguments.copy()
    arguments.sums, arguments.dk, arguments.dbias = sums.data_ptr(), dw.data_ptr(), db.data_ptr()
    on.launch(addition.kernel, arguments, (addition.blocks, 1))
    return dx, dw, db


class _Launch(NamedTuple):
    """What all launches for one shape have in common: the arguments are without addresses and eps."""

    kernel: Kernel
    arguments: NormArguments | ShortSumArguments
    blocks: int


@functools.lru_cache(maxsize=1024)
def _forward_launch(shape, dtype: torch.dtype, result: torch.dtype, aligned: bool) -> _Launch:
    types = _NUMBERS[dtype], _NUMBERS[result]
    times = norm_kernels.times_forward(types)
    arguments = _arguments(shape, times)
    kernel = norm_kernels.forward(types, shape[1], aligned and shape[2] % times == 0)
    return _Launch(kernel, arguments, arguments.all_tiles)


@functools.lru_cache(maxsize=1024)
def _backward_launches(shape, dtype: torch.dtype, dy: torch.dtype, aligned: bool) -> tuple[_Launch, _Launch]:
    """That of the kernel, and that of the one that adds up what its blocks leave."""
    types, channels = (_NUMBERS[dtype], _NUMBERS[dy]), shape[1]
    times = norm_kernels.TIMES_BACKWARD
    arguments = _arguments(shape, times)
    # The order of sums may depend on nothing but the shape.
    chunks = norm_kernels.chunks_of(arguments.all_tiles)
    arguments.tiles_per_block = chunks.tiles
    kernel = norm_kernels.backward(types, channels, aligned and shape[2] % times == 0)
    # Weights are filters of one tap, as far as sums go.
    addition = ShortSumArguments(
        chunk_step=1, channel_step=chunks.number, slot_step=channels * chunks.number, chunks=chunks.number,
        channels=channels, channels_per_filter=1, filters=channels, taps=1, first_slot=0, bias_slot=1,
        lanes=short_kernels.lanes_of_sum(chunks.number),
    )  # fmt: skip
    blocks = short_kernels.blocks_of(-(-2 * channels * addition.lanes // 32))
    return _Launch(kernel, arguments, chunks.number), _Launch(short_kernels.SUM, addition, blocks)


def _arguments(shape, times: int) -> NormArguments:
    batch, channels, length = shape
    tiles = norm_kernels.tiles_of(length, times)
    return NormArguments(channels=channels, length=length, tiles=tiles, all_tiles=batch * tiles)


def _aligned(*tensors) -> bool:
    """Whether each begins on 16 bytes."""
    return all(t.data_ptr() % 16 == 0 for t in tensors)


def _parameter(t):
    return cast(t, torch.float32).contiguous()
