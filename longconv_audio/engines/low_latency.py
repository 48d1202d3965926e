"""Convolution of a filter matrix in small blocks on one core: a direct head and partitions that grow.

The first taps ("zero" latency) are convolved directly, so that each sample is answered at once. The first run of
partitions is worked off whenever a base block is complete. Each later run of partitions of S taps begins at tap
2S (see planning): the work for a block of S samples is cut into tasks that are spread over the base blocks of the
S samples that follow, so that every call carries about the same load.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..planning import Segment, StreamPlan
from ..routing import FilterMatrix
from . import fft

# Bytes of spectra that one task multiplies: some tens of microseconds, far below the deadline of a block.
_TASK = 1 << 20


class LowLatency:
    """Convolves a stream with a filter matrix, in blocks of `span` samples or sample by sample.

    Args:
        matrix: the filters. Paths that share an array share its spectra.
        plan: a "zero" or "block" plan for them.
        dtype: float32 or float64: samples, spectra and arithmetic.
    """

    def __init__(self, matrix: FilterMatrix, plan: StreamPlan, dtype):
        self.plan, self.dtype = plan, np.dtype(dtype)
        self.inputs, self.outputs = matrix.inputs, matrix.outputs
        self.span = plan.hop
        first, *later = plan.segments
        self._first = _Run(matrix, first, self.dtype, slots=1)
        self._later = [_Run(matrix, segment, self.dtype, slots=segment.size // self.span) for segment in later]
        self._head = _Head(matrix, plan.head, self.dtype) if plan.head else None
        # The base block before this one, then this one, with zeros where its samples are still to come.
        self._recent = np.zeros((self.inputs, 2 * self.span), self.dtype)
        self._at = 0

    def input_block(self) -> np.ndarray:
        """Where the next `span` samples of every input go, `(inputs, span)`, to be filled before each `start`."""
        return self._recent[:, self.span :]

    def start(self, samples: int, out: np.ndarray) -> Callable[[], None]:
        """Convolves the first `samples` of the input block into `out`, `(outputs, samples)`, any strides.

        Fewer samples than `span` end the stream: nothing may follow them but another `prime`.

        Returns:
            a function with nothing left to do, for all is done in the caller's thread.
        """
        self.input_block()[:, samples:] = 0
        if samples == self.span:
            self._within_block(self.span, out)
        else:
            whole = np.empty((self.outputs, self.span), self.dtype)
            self._within_block(self.span, whole)
            out[...] = whole[:, :samples]
        return _done

    def process(self, x: np.ndarray, out: np.ndarray) -> None:
        """Convolves any number of samples at once, `(inputs, n)` to `(outputs, n)`, with a "zero" plan."""
        done = 0
        while done < x.shape[1]:
            n = min(self.span - self._at, x.shape[1] - done)
            self._recent[:, self.span + self._at : self.span + self._at + n] = x[:, done : done + n]
            self._within_block(self._at + n, out[:, done : done + n])
            done += n

    def prime(self, history: np.ndarray) -> None:
        """Starts anew, as if `history`, `(inputs, n)`, had been run through before."""
        runs = [self._first, *self._later]
        need = max(run.segment.size * (run.segment.count + 2) for run in runs)
        past = np.zeros((self.inputs, need), self.dtype)
        n = min(need, history.shape[1])
        past[:, need - n :] = history[:, history.shape[1] - n :]
        for run in runs:
            run.prime(past)
        self._recent[:, : self.span] = past[:, need - self.span :]
        self._recent[:, self.span :] = 0
        self._at = 0

    def close(self) -> None:
        """Nothing to end: all work is done in the caller's thread."""

    def _within_block(self, stop: int, out: np.ndarray) -> None:
        """Answers the samples from the last one answered up to `stop` in the present block."""
        start, self._at = self._at, stop
        if self._head is not None:
            self._head.convolve(self._recent, start, stop, out)
            out += self._first.ready[:, start:stop]
        else:
            out[...] = 0
        for run in self._later:
            phase = run.slot * self.span
            out += run.ready[:, phase + start : phase + stop]
        if stop < self.span:
            return
        block = self._recent[:, self.span :]
        self._first.push(block)
        if self._head is None:
            out += self._first.ready
        for run in self._later:
            run.push(block)
        self._recent[:, : self.span] = block
        block[...] = 0
        self._at = 0


def _done() -> None:
    pass


class _Head:
    """The first taps of every path, as Toeplitz matrices from the last two base blocks to the present one."""

    def __init__(self, matrix: FilterMatrix, taps: int, dtype):
        paths = sorted(matrix.paths, key=lambda path: path.output)
        self._inputs = [path.input for path in paths]
        self._outputs = [path.output for path in paths]
        self._parallel = self._outputs == list(range(matrix.outputs))
        self._toeplitz = np.zeros((len(paths), taps, 2 * taps), dtype)
        row = np.arange(taps)
        for p, path in enumerate(paths):
            for k, tap in enumerate(path.taps[:taps]):
                self._toeplitz[p, row, taps + row - k] = tap

    def convolve(self, recent: np.ndarray, start: int, stop: int, out: np.ndarray) -> None:
        """Writes rows `start ... stop` of the present block."""
        products = np.matmul(self._toeplitz[:, start:stop], recent[self._inputs, :, None])[..., 0]
        if self._parallel:
            out[...] = products
            return
        out[...] = 0
        for output, product in zip(self._outputs, products, strict=True):
            out[output] += product


class _Run:
    """One segment: its spectra, the spectra of past blocks, and the tasks that are due in each slot."""

    def __init__(self, matrix: FilterMatrix, segment: Segment, dtype, slots: int):
        self.segment, self.slot = segment, 0
        self._slots = slots
        count, bins = segment.count, segment.fft_size // 2 + 1
        complex_dtype = fft.COMPLEX_OF[dtype]
        cache: dict[int, np.ndarray] = {}
        self._filters = []
        for path in matrix.paths:
            if id(path.taps) not in cache:
                taps = path.taps[segment.offset :]
                spectra = fft.partition_spectra(taps, segment.size, count, segment.fft_size, dtype)
                cache[id(path.taps)] = np.ascontiguousarray(spectra[::-1])  # as the ring has them: oldest first
            self._filters.append((path.output, path.input, cache[id(path.taps)]))
        # Each past spectrum stands twice, `count` rows apart, so that the last `count` are always in one piece.
        self._past = np.zeros((matrix.inputs, 2 * count, bins), complex_dtype)
        self._newest = 0
        self._incoming = np.zeros((matrix.inputs, segment.size), dtype)
        # The last two blocks, behind zeros where the transform is longer than they are.
        self._window = np.zeros((matrix.inputs, segment.fft_size), dtype)
        self._sum = np.zeros((matrix.outputs, bins), complex_dtype)
        self._result = np.zeros((matrix.outputs, segment.fft_size), dtype)
        self._term = np.empty((max(min(count, _TASK // (bins * complex_dtype.itemsize)), 1), bins), complex_dtype)
        self.ready = np.zeros((matrix.outputs, segment.size), dtype)
        self._schedule = self._spread(self._tasks(), slots)

    def push(self, block: np.ndarray) -> None:
        """Takes a base block; does what is due in this slot; at the end of the last, makes the result ready."""
        n = block.shape[1]
        if self._slots == 1:
            self._take(block)
            self._work(0)
            self._finish()
            return
        self._incoming[:, self.slot * n : (self.slot + 1) * n] = block
        self._work(self.slot)
        self.slot += 1
        if self.slot == self._slots:
            self._finish()
            self._take(self._incoming)
            self.slot = 0

    def prime(self, past: np.ndarray) -> None:
        """Starts anew after `past`, `(inputs, n)`, n a multiple of the size and at least count + 2 times it."""
        size, count = self.segment.size, self.segment.count
        self.slot = 0
        self._past[...] = 0
        self._window[...] = 0
        end = past.shape[1]
        blocks = [past[:, end - (k + 1) * size : end - k * size] for k in reversed(range(count + 2))]
        late = self._slots > 1  # the newest block then waits for its tasks; the one before it is ready
        for block in blocks[: -2 if late else -1]:
            self._take(block)
            for channel in range(len(self._window)):
                self._transform(channel)
        self._take(blocks[-2 if late else -1])
        for slot in range(self._slots):
            self._work(slot)
        self._finish()
        if late:
            self._take(blocks[-1])

    def _take(self, block: np.ndarray) -> None:
        size = self.segment.size
        last = self._window.shape[1] - size
        self._window[:, last - size : last] = self._window[:, last:]
        self._window[:, last:] = block
        self._newest = (self._newest + 1) % self.segment.count

    def _finish(self) -> None:
        self.ready[...] = self._result[:, -self.segment.size :]

    def _work(self, slot: int) -> None:
        for task, *arguments in self._schedule[slot]:
            task(*arguments)

    def _tasks(self):
        """The work for one block in order, each task with its cost: transforms, products, inverse transforms."""
        bins = self._past.shape[2]
        transform = 4.0 * bins * np.log2(2 * bins)
        for channel in range(len(self._window)):
            yield transform, (self._transform, channel)
        yield 0.0, (self._clear,)
        together = len(self._term)
        for output, source, filters in self._filters:
            for first in range(0, self.segment.count, together):
                last = min(first + together, self.segment.count)
                yield 8.0 * bins * (last - first), (self._multiply, output, source, filters, first, last)
        for channel in range(len(self._result)):
            yield transform, (self._invert, channel)

    @staticmethod
    def _spread(tasks, slots: int):
        """Lays the tasks into the slots, in order, so that the slots cost about the same."""
        tasks = list(tasks)
        total = sum(cost for cost, _ in tasks) or 1.0
        schedule = [[] for _ in range(slots)]
        spent = 0.0
        for cost, task in tasks:
            schedule[min(int(spent / total * slots), slots - 1)].append(task)
            spent += cost
        return schedule

    def _transform(self, channel: int) -> None:
        spectrum = self._past[channel, self._newest]
        fft.rfft(self._window[channel], spectrum)
        self._past[channel, self._newest + self.segment.count] = spectrum

    def _clear(self) -> None:
        self._sum[...] = 0

    def _multiply(self, output: int, source: int, filters: np.ndarray, first: int, last: int) -> None:
        # The row after the newest is the oldest; `count` rows on from there end with the newest.
        oldest = self._newest + 1
        term = self._term[: last - first]
        np.multiply(self._past[source, oldest + first : oldest + last], filters[first:last], out=term)
        self._sum[output] += np.add.reduce(term) if last - first > 1 else term[0]

    def _invert(self, channel: int) -> None:
        fft.irfft(self._sum[channel], self.segment.fft_size, self._result[channel])
