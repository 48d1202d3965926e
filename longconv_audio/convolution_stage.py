"""Between the input and the output stage: the convolution, as far as the output reaches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from .pipeline import ahead
from .routing import FilterMatrix


def convolved(
    open_stream: Callable, blocks: Iterable[np.ndarray], matrix: FilterMatrix, output_frames: Callable[[int], int]
) -> Iterator[np.ndarray]:
    """The output, block by block: the stream's answers from time zero on, then silence where more was asked.

    Args:
        open_stream: makes what convolves with the matrix, as a backend's `host_stream` is; it is closed at the end.
        blocks: the input, `(inputs, n)`, read in a thread of its own.
        matrix: the filters, whose origin is time zero.
        output_frames: how long the output is for an input of so many frames.
    """
    skip, done, dtype = matrix.origin, 0, None
    frames = _Count(blocks)
    stream = open_stream()
    try:
        for y in _answers(stream, frames, matrix, output_frames):
            cut = min(skip, y.shape[1])
            skip -= cut
            done += y.shape[1] - cut
            dtype = y.dtype
            if y.shape[1] > cut:
                yield y[:, cut:]
        silence = output_frames(frames.count) - done
        for start in range(0, silence, stream.span):
            yield np.zeros((matrix.outputs, min(stream.span, silence - start)), dtype)
    finally:
        stream.close()


def _answers(stream, blocks: _Count, matrix: FilterMatrix, output_frames) -> Iterator[np.ndarray]:
    """The causal convolution, as far as the output reaches; each answer while the next ones are being computed."""
    started: deque = deque()
    for block in ahead(blocks):
        started.append(stream.start(block))
        if len(started) > stream.in_flight:
            yield _complete(*started.popleft())
    if not started:
        return
    for answer in started:
        yield _complete(*answer)
    frames = blocks.count
    wanted = min(output_frames(frames) + matrix.origin, frames + max(matrix.taps, 1) - 1)
    left = wanted - (frames - stream.held)
    for start in range(0, left, stream.span):
        yield stream.finish(min(stream.span, left - start))


def _complete(y: np.ndarray, wait: Callable[[], None]) -> np.ndarray:
    wait()
    return y


class _Count:
    """Blocks that have been gone through, with the sum of their frames."""

    def __init__(self, blocks: Iterable[np.ndarray]):
        self._blocks, self.count = blocks, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self.count += block.shape[1]
            yield block
