"""What the overlap-save engines share: buffers that overlap, and calls that run while the next is being filled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue

import numpy as np

from ..planning import StreamPlan
from ..routing import FilterMatrix


class OverlapSave(ABC):
    """Convolves a stream with a filter matrix, `span` samples of every channel at a time.

    Args:
        matrix: the filters. Paths that share an array share its spectra.
        plan: an offline plan for them.
        dtype: float32 or float64: samples, spectra and arithmetic.
        workers: threads; the result does not depend on their number.
    """

    def __init__(self, matrix: FilterMatrix, plan: StreamPlan, dtype, workers: int = 1):
        self.plan, self.dtype = plan, np.dtype(dtype)
        self.inputs, self.outputs = matrix.inputs, matrix.outputs
        self.span = plan.rows * plan.hop
        self._fft_size = plan.segments[0].fft_size
        self._overlap = self._fft_size - plan.hop
        # Two sets of buffers: the one is filled while the other is transformed.
        self._buffers = np.zeros((2, self.inputs, self._overlap + self.span), self.dtype)
        self._side = 0
        self._running: list[Future] = []
        self._scratch: SimpleQueue = SimpleQueue()
        self._pool = ThreadPoolExecutor(workers, "longconv") if workers > 1 else None

    def input_block(self) -> np.ndarray:
        """Where the next `span` samples of every channel go: `(inputs, span)`, to be filled before each `start`."""
        return self._buffers[self._side, :, self._overlap :]

    def start(self, samples: int, out: np.ndarray) -> Callable[[], None]:
        """Begins to convolve the first `samples` of the input block into `out`, `(outputs, samples)`, any strides.

        Fewer samples than `span` end the stream: nothing may follow them but another `prime`.

        Returns:
            a function that returns when `out` is complete. What was started before is complete already.
        """
        self.input_block()[:, samples:] = 0
        buffer, before = self._buffers[self._side], self._running
        self._running = self._begin(buffer, samples, out)
        finish(before)
        self._side = 1 - self._side
        self._buffers[self._side, :, : self._overlap] = buffer[:, self.span :]
        return partial(finish, self._running)

    def prime(self, history: np.ndarray) -> None:
        """Starts anew, as if `history`, `(inputs, n)`, had been run through before."""
        finish(self._running)
        overlap = self._buffers[self._side, :, : self._overlap]
        overlap[...] = 0
        n = min(self._overlap, history.shape[1])
        overlap[:, self._overlap - n :] = history[:, history.shape[1] - n :]
        self._remember(history)

    def close(self) -> None:
        """Ends the threads, and drops what they have not begun."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    @contextmanager
    def _borrowed(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Arrays for one task, given back whatever becomes of it: the next task waits for them."""
        scratch = self._scratch.get()
        try:
            yield scratch
        finally:
            self._scratch.put(scratch)

    @abstractmethod
    def _begin(self, buffer: np.ndarray, samples: int, out: np.ndarray) -> list[Future]:
        """Submits the work for `(inputs, overlap + span)` samples; what is submitted last makes `out`."""

    @abstractmethod
    def _remember(self, history: np.ndarray) -> None:
        """Brings what is kept beside the buffers to where it is after `history`."""

    def _submit(self, task: Callable, *arguments) -> Future:
        """Hands a task to the threads, or does it where there are none."""
        if self._pool is not None:
            return self._pool.submit(task, *arguments)
        done: Future = Future()
        done.set_result(task(*arguments))
        return done


def finish(futures: list[Future]) -> None:
    """Waits for all of them, and raises what one of them raised."""
    for future in futures:
        future.result()
