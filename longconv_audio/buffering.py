"""Engines behind buffers: any number of samples in, what is complete out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import planning
from .arrays import joined, of_kind
from .engines.low_latency import LowLatency
from .engines.monarch import Monarch
from .engines.partitioned import Partitioned
from .routing import FilterMatrix


class Stream:
    """An engine behind a buffer: takes any number of samples and answers with what is complete.

    Args:
        matrix: the filters.
        plan: how they are partitioned.
        dtype: float32 or float64.
        workers: threads (offline plans).

    Attributes:
        span: samples that are answered together (1: each at once).
        held: samples taken and not answered yet.
        in_flight: answers of `start` that may be under way before the first of them is waited for.
    """

    in_flight = 1

    def __init__(self, matrix: FilterMatrix, plan: planning.StreamPlan, dtype, workers: int = 1):
        if plan.latency == "offline":
            engine = Monarch if plan.segments[0].factors else Partitioned
            self.engine = engine(matrix, plan, dtype, workers)
        else:
            self.engine = LowLatency(matrix, plan, dtype)
        self._at_once = plan.latency == "zero"
        self.span = 1 if self._at_once else self.engine.span
        self.held = 0

    def push(self, x: np.ndarray) -> np.ndarray:
        """Takes `(inputs, n)` and returns `(outputs, m)`."""
        y, wait = self.start(x)
        wait()
        return y

    def start(self, x: np.ndarray) -> tuple[np.ndarray, Callable[[], None]]:
        """As `push`, but the result is complete only when the function that comes with it has returned."""
        if self._at_once:
            y = np.empty((self.engine.outputs, x.shape[1]), self.engine.dtype)
            self.engine.process(x, y)
            return y, _nothing
        total = self.held + x.shape[1]
        y = np.empty((self.engine.outputs, total - total % self.span), self.engine.dtype)
        taken, answered, wait = 0, 0, _nothing
        while taken < x.shape[1]:
            n = min(self.span - self.held, x.shape[1] - taken)
            self.engine.input_block()[:, self.held : self.held + n] = x[:, taken : taken + n]
            self.held += n
            taken += n
            if self.held == self.span:
                wait = self.engine.start(self.span, y[:, answered : answered + self.span])
                answered += self.span
                self.held = 0
        return y, wait

    def restart(self, past: np.ndarray) -> None:
        """Starts anew behind a signal that ended with `past`, `(inputs, n)`."""
        self.engine.prime(past)
        self.held = 0

    def finish(self, samples: int) -> np.ndarray:
        """Ends the signal: the next `samples` of the output, the input being followed by zeros."""
        y = np.empty((self.engine.outputs, samples), self.engine.dtype)
        if self._at_once:
            self.engine.process(np.zeros((self.engine.inputs, samples), self.engine.dtype), y)
            return y
        wait = _nothing
        for start in range(0, samples, self.span):
            n = min(self.span, samples - start)
            self.engine.input_block()[:, self.held :] = 0
            self.held = 0
            wait = self.engine.start(n, y[:, start : start + n])
        wait()
        return y

    def close(self) -> None:
        """Ends the engine's threads (offline plans)."""
        self.engine.close()


def _nothing() -> None:
    pass


class Crossfade:
    """Two streams fed alike, of which the first fades over into the second, from the next sample to be taken.

    To whoever feeds it, it is a stream, of arrays or of tensors as those two are.

    Args:
        old: a stream, or a crossfade under way.
        new: a stream that has been fed what `old` still owes.
        begun: what `new` has answered to that.
        length: samples from the old one to the new one.
    """

    def __init__(self, old: Stream | Crossfade, new: Stream, begun: np.ndarray, length: int):
        self._old: Stream | Crossfade | None = old
        self.new, self._length = new, length
        self._position = -old.held  # of the next answer, counted from the change
        self._from_old, self._from_new = begun[:, :0], begun
        self.held, self.done = old.held, False

    @property
    def span(self) -> int:
        return max(self.new.span, self._old.span if self._old else 1)

    @property
    def old(self) -> Stream | Crossfade | None:
        """What is being left; None when that is done."""
        return self._old

    @property
    def depth(self) -> int:
        """How many fades are under way, one within the other."""
        return 1 + (self._old.depth if isinstance(self._old, Crossfade) else 0)

    @property
    def untouched(self) -> bool:
        """Whether nothing has been taken since the change."""
        return self._position == -self.held

    def push(self, x: np.ndarray) -> np.ndarray:
        self.held += x.shape[1]
        return self._mix(self._old.push(x) if self._old else None, self.new.push(x))

    def finish(self, samples: int) -> np.ndarray:
        old = self._old.finish(samples - self._from_old.shape[1]) if self._old else None
        return self._mix(old, self.new.finish(samples - self._from_new.shape[1]))

    def _mix(self, old: np.ndarray | None, new: np.ndarray) -> np.ndarray:
        y = new
        if old is not None:
            self._from_old = joined([self._from_old, old])
            self._from_new = joined([self._from_new, new])
            n = min(self._from_old.shape[1], self._from_new.shape[1])
            steps = np.arange(self._position + 1, self._position + n + 1)
            weight = of_kind(np.clip(steps / (self._length + 1), 0, 1), new)
            y = self._from_old[:, :n] * (1 - weight) + self._from_new[:, :n] * weight
            self._from_old, self._from_new = self._from_old[:, n:], self._from_new[:, n:]
            self._position += n
            if self._position >= self._length:
                self.done, self._old = True, None
                y = joined([y, self._from_new])
        self.held -= y.shape[1]
        return y


class History:
    """The last samples of every channel.

    Args:
        ring: zeros, `(channels, capacity)`, an array or a tensor as the samples will be.
    """

    def __init__(self, ring):
        self._ring = ring
        self._end = 0  # where the next sample goes
        self.size = 0

    def push(self, x) -> None:
        capacity = self._ring.shape[1]
        self.size = min(self.size + x.shape[1], capacity)
        x = x[:, max(x.shape[1] - capacity, 0) :]
        first = min(x.shape[1], capacity - self._end)
        self._ring[:, self._end : self._end + first] = x[:, :first]
        self._ring[:, : x.shape[1] - first] = x[:, first:]
        self._end = (self._end + x.shape[1]) % capacity

    def last(self, n: int):
        """A copy of the last n samples, `(channels, n)`."""
        start = self._end - n
        if start >= 0:
            return joined([self._ring[:, start : self._end]])
        return joined([self._ring[:, start:], self._ring[:, : self._end]])

    def grow(self, ring) -> None:
        """Goes on in a longer ring of zeros; a shorter one is not needed."""
        if ring.shape[1] > self._ring.shape[1]:
            past = self.last(self.size)
            self.__init__(ring)
            self.push(past)


def plan_for(matrix: FilterMatrix, dtype, latency, block_size=None, workers=1, length=None) -> planning.StreamPlan:
    """The plan for a matrix of filters."""
    return planning.plan_stream(
        max(matrix.taps, 1),
        latency=latency,
        block_size=block_size,
        inputs=matrix.inputs,
        outputs=matrix.outputs,
        paths=len({id(path.taps) for path in matrix.paths}),
        parallel=len({path.output for path in matrix.paths}) == len(matrix.paths),
        itemsize=np.dtype(dtype).itemsize,
        workers=workers,
        length=length,
    )


def available_cores() -> int:
    """The cores that this process may use: those it is bound to, or fewer where a container's quota says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(min(cores, -(-int(quota) // int(period))), 1)
    except (OSError, ValueError):  # not Linux, no such file, or "max": no quota
        return cores
