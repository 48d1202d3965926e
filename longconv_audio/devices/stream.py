"""A stream on a device: any number of samples in, what is complete out."""

from __future__ import annotations

import torch

from ..routing import FilterMatrix
from .planning import DevicePlan
from .routes import Routes


class DeviceStream:
    """Convolves a stream with a filter matrix, tensors in and tensors out, all on one device and its current stream.

    To whoever feeds it, it is a `buffering.Stream`.

    Args:
        matrix: the filters.
        plan: the blocks.
        dtype: torch.float32 or torch.float64: samples, spectra and arithmetic.
        device: where everything is.

    Attributes:
        span: samples that are answered together.
        held: samples taken and not answered yet.
    """

    def __init__(self, matrix: FilterMatrix, plan: DevicePlan, dtype: torch.dtype, device: torch.device):
        self.span, self.held = plan.hop, 0
        self._overlap, self._outputs = plan.taps - 1, matrix.outputs
        with torch.inference_mode(False), torch.no_grad():
            self._routes = Routes(matrix, plan.taps, plan.window, dtype, device)
            # Two, so that what they have in common is never copied onto itself.
            self._windows = torch.zeros(2, matrix.inputs, plan.window, dtype=dtype, device=device)
        self._side = 0

    @torch.no_grad()
    def push(self, x: torch.Tensor) -> torch.Tensor:
        """Takes `(inputs, n)`, on this device, and returns `(outputs, m)`."""
        total = self.held + x.shape[1]
        y = self._empty(total - total % self.span)
        taken = answered = 0
        while taken < x.shape[1]:
            n = min(self.span - self.held, x.shape[1] - taken)
            self._block()[:, self.held : self.held + n] = x[:, taken : taken + n]
            self.held += n
            taken += n
            if self.held == self.span:
                self._answer(y[:, answered : answered + self.span])
                answered += self.span
        return y

    @torch.no_grad()
    def restart(self, past: torch.Tensor) -> None:
        """Starts anew behind a signal that ended with `past`, `(inputs, n)`."""
        n = min(self._overlap, past.shape[1])
        window = self._windows[self._side]
        window[:, : self._overlap - n] = 0
        window[:, self._overlap - n : self._overlap] = past[:, past.shape[1] - n :]
        self.held = 0

    @torch.no_grad()
    def finish(self, samples: int) -> torch.Tensor:
        """Ends the signal: the next `samples` of the output, the input being followed by zeros."""
        y = self._empty(samples)
        for start in range(0, samples, self.span):
            self._block()[:, self.held :] = 0
            self._answer(y[:, start : start + self.span])
        return y

    def _block(self) -> torch.Tensor:
        """Where the next `span` samples go."""
        return self._windows[self._side, :, self._overlap :]

    def _answer(self, out: torch.Tensor) -> None:
        """Convolves the window, of which `out` may want fewer samples than a block, and goes on to the next."""
        window = self._windows[self._side]
        with torch.autocast(window.device.type, enabled=False):
            self._routes.convolve(window, out)
        self._side, self.held = 1 - self._side, 0
        self._windows[self._side, :, : self._overlap] = window[:, self.span :]

    def _empty(self, samples: int) -> torch.Tensor:
        return self._windows.new_empty(self._outputs, samples)
