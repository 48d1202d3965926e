"""A stream on a device for samples that come from files and go to files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from ..errors import LongconvError
from ..operators import DeviceMemoryError
from .host_link import IN_FLIGHT, HostLink
from .stream import DeviceStream


class HostStream:
    """A device's stream with NumPy arrays on both sides, of which `start` waits for nothing.

    To whoever feeds it, it is a `buffering.Stream`.

    Args:
        stream: the stream.
        link: the way to its device.
    """

    in_flight = IN_FLIGHT

    def __init__(self, stream: DeviceStream, link: HostLink):
        self._stream, self._link = stream, link

    @property
    def span(self) -> int:
        return self._stream.span

    @property
    def held(self) -> int:
        return self._stream.held

    def start(self, x: np.ndarray) -> tuple[np.ndarray, Callable[[], None]]:
        """Takes `(inputs, n)`; `(outputs, m)`, complete when the function that comes with it has returned."""
        with enough_memory():
            return self._link.fetch(self._stream.push(self._link.send(x)))

    def finish(self, samples: int) -> np.ndarray:
        """Ends the signal: the next `samples` of the output, the input being followed by zeros."""
        with enough_memory():
            y, wait = self._link.fetch(self._stream.finish(samples))
        wait()
        return y

    def close(self) -> None:
        """There is nothing to end."""


@contextmanager
def enough_memory() -> Iterator[None]:
    """Where another program has taken what was there when the stream was planned."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        if isinstance(error, LongconvError):
            raise
        reason = ". ".join(" ".join(str(error).split()).split(". ")[:2])
        raise DeviceMemoryError(f"no memory is left for a block: {reason}: pass a smaller block size") from error
