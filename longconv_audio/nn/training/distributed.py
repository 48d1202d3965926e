"""Several processes that train one model, as `torchrun` starts them; one process is a group of one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed

from longconv_audio.errors import LongconvError, OptionError

# All processes wait while the first one reads the data. One that ends is noticed at once.
_PATIENCE = timedelta(hours=4)


def rank() -> int:
    """This process's number among those of the run; 0 where there is one."""
    return int(os.environ.get("RANK", "0"))


def ranks() -> int:
    """How many processes the run has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def choose_device(name: str) -> torch.device:
    """The device of this process.

    Args:
        name: "auto" is a GPU where there is one, "cuda" this process's own.

    Raises:
        OptionError: no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(f"--device {name}: cannot be used here ({reason}): expected auto, cpu or cuda") from None
    return device


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """The processes that `torchrun` has started, joined: by NCCL on GPUs, by gloo on CPUs."""
    if ranks() == 1 or distributed.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield
    except RuntimeError as error:
        # A process that ends takes its connections with it: the message of the one that failed says why.
        if "onnection" not in str(error) and not isinstance(error, distributed.DistError):
            raise
        raise _silent(LongconvError("another process of the run has ended")) from None
    finally:
        distributed.destroy_process_group()


def from_first(function: Callable):
    """What a function gives in the first process, in all of them; where it fails there, it fails in all."""
    if not distributed.is_initialized():
        return function()
    found: list = [None, None]
    if rank() == 0:
        try:
            found[0] = function()
        except LongconvError as error:
            found[1] = error
    distributed.broadcast_object_list(found)
    value, error = found
    if error is not None:
        raise _silent(error) if rank() else error
    return value


def summed(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The sum over all processes."""
    if distributed.is_initialized():
        values = values.to(device)
        distributed.all_reduce(values)
    return values


def largest(values: list[int], device: torch.device) -> list[int]:
    """The largest of each number over all processes."""
    if not distributed.is_initialized():
        return values
    tensor = torch.tensor(values, device=device)
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
    return tensor.tolist()


def _silent(error: LongconvError) -> LongconvError:
    """The error with a mark that another process says it."""
    error.said = True
    return error
