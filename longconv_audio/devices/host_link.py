"""Samples on their way to a device and back, while it computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import torch

# Pieces that are computed or on their way back while the next one is sent, and the size of one in bytes.
IN_FLIGHT = 2
_PIECE_BYTES = 4 << 20


class HostLink:
    """Copies between NumPy arrays and a device.

    On a GPU both ways have a stream of their own beside the current one, which computes, and go through page-locked
    memory, without which no copy overlaps with anything; torch keeps such memory for the next copy of that size.

    Args:
        dtype: torch.float32 or torch.float64, of the samples on the device and of those that come back.
        device: the other side.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device):
        self._dtype, self._device = dtype, device
        self._gpu = device.type == "cuda"
        if self._gpu:
            self._inward, self._outward = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def send(self, x: np.ndarray) -> torch.Tensor:
        """The samples on the device, for use on its current stream; x may change as soon as this returns."""
        staged = torch.empty(x.shape, dtype=self._dtype, pin_memory=self._gpu and x.size > 0)
        staged.numpy()[...] = x
        if not self._gpu:
            return staged
        with torch.cuda.stream(self._inward):
            arriving = staged.to(self._device, non_blocking=True)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._inward)
        arriving.record_stream(computing)
        return arriving

    def fetch(self, y: torch.Tensor) -> tuple[np.ndarray, Callable[[], None]]:
        """An array, which holds the samples when the function that comes with it has returned."""
        if not (self._gpu and y.numel()):
            return y.cpu().numpy(), _nothing
        y = y.contiguous()
        landing = torch.empty(y.shape, dtype=self._dtype, pin_memory=True)
        self._outward.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._outward):
            landing.copy_(y, non_blocking=True)
            y.record_stream(self._outward)
            landed = self._outward.record_event()
        return landing.numpy(), landed.synchronize

    def through(self, push: Callable[[torch.Tensor], torch.Tensor], x: np.ndarray) -> np.ndarray:
        """What a function of `(inputs, n)` on the device makes of x, piece by piece, each while others travel.

        The result is a copy: whoever keeps it keeps no page-locked memory.
        """
        size = max(_PIECE_BYTES // (x.shape[0] * self._dtype.itemsize), 1)
        waiting: deque = deque()
        done = []
        for start in range(0, max(x.shape[1], 1), size):
            waiting.append(self.fetch(push(self.send(x[:, start : start + size]))))
            if len(waiting) > IN_FLIGHT:
                done.append(_complete(*waiting.popleft()))
        done += [_complete(*answer) for answer in waiting]
        return np.concatenate(done, axis=1)


def _complete(samples: np.ndarray, wait: Callable[[], None]) -> np.ndarray:
    wait()
    return samples


def _nothing() -> None:
    pass
