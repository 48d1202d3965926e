"""Convolution of endless signals: the same result as in one piece, block by block."""

from __future__ import annotations

import numpy as np

from .arrays import is_torch, to_numpy
from .backends import backend_for
from .buffering import Crossfade, History
from .routing import FilterMatrix, from_array

# Fades that may be under way at once, each with an engine of its own.
_MOST_FADES = 16


class Convolver:
    """Convolves a stream with one filter, a filter a channel, or a matrix of filters.

    Whatever the blocks it is cut into, the pieces that `process` and finally `flush` return are, one behind the
    other, the full convolution of the whole signal: nothing is lost, nothing is delayed by inserted zeros.

    Args:
        h: the filter, an array or tensor of shape `(taps,)` (the same for every channel), `(channels, taps)` (one
            each) or `(outputs, inputs, taps)` (a matrix), or a `FilterMatrix`.
        channels: channels of the signal, for a filter that serves them all; where not given, the first block tells.
        latency: "zero": each sample is answered at once (on a CPU). "block": every `block_size` samples are answered
            at once. "offline": large blocks, for throughput.
        block_size: samples a block. Needed for "block"; for "zero" the size of the smallest partition (64); for
            "offline" the FFT size, which the planner chooses where it is not given.
        dtype: the precision of the arithmetic, float32 or float64; by default that of `h`. `process` returns the
            dtype that it was given.
        workers: threads ("offline", on a CPU); by default the cores there are.
        length: samples of the signal where known, so that a short one gets no large blocks ("offline").
        device: where to compute, as torch has it: "cpu", "cuda", "cuda:1" or a torch.device; by default where h is.

    Raises:
        ValueError: for shapes, latencies, sizes and devices that do not exist, and blocks that a GPU has no memory for.
        TypeError: for arrays that are not of floats.

    Source: Gardner, "Efficient convolution without input-output delay", J. Audio Eng. Soc. 43(3), 1995; Wefers,
    "Partitioned convolution algorithms for real-time auralization", RWTH Aachen, 2015.

    >>> convolver = Convolver(np.array([1.0, 0.5, 0.25]), latency="zero")
    >>> convolver.process(np.array([1.0, 0.0])).round(6)
    array([1. , 0.5])
    >>> convolver.flush().round(6) + 0.0
    array([0.25, 0.  ])
    """

    def __init__(
        self,
        h,
        *,
        channels=None,
        latency="offline",
        block_size=None,
        dtype=None,
        workers=None,
        length=None,
        device=None,
    ):
        self._settings = {"latency": latency, "block_size": block_size, "length": length}
        self._open = None
        self._shape: tuple[int, ...] | None = None
        whole = isinstance(h, FilterMatrix)
        self._h = h if whole else _filter(h)
        self._dtype = _float_dtype(dtype or (np.float64 if whole else self._h.dtype))
        if device is None and is_torch(h):
            device = h.device
        self._backend = backend_for(device, self._dtype, workers=workers)
        self._backend.plan(FilterMatrix(1, 1, ()), **self._settings)  # bad settings are told here, not later
        if whole:
            self._start(h)
        elif self._h.size > self._h.shape[-1] or channels is not None:
            self._start(from_array(self._h, channels))

    @property
    def latency_samples(self) -> int:
        """The most samples of the signal that `process` holds back unanswered.

        Raises:
            ValueError: for "offline", before the number of channels is known.
        """
        latency = self._settings["latency"]
        if self._open is None and latency != "offline":
            return 0 if latency == "zero" else self._settings["block_size"] - 1
        return self._started().span - 1 + self._origin

    @property
    def tail_samples(self) -> int:
        """How much longer than its input the output is: the filter's taps less one (and less its origin)."""
        if self._open is None:
            return self._h.shape[-1] - 1
        return max(self._taps - 1 - self._origin, 0)

    def process(self, block):
        """Convolves the next block.

        Args:
            block: `(..., n)`, n from 0 up; the leading axes are the channels. A filter that serves every channel
                takes any leading shape, the same in every call. A tensor that requires a gradient is taken as it
                is: the stream carries none.

        Returns:
            `(..., m)` of the block's dtype, on the block's device: the samples that are now complete; with "zero"
            latency m = n.
        """
        x = self._backend.samples(block, "block")
        dtype = np.dtype(str(x.dtype).removeprefix("torch."))
        if dtype.kind != "f":
            raise TypeError(f"block has dtype {x.dtype}; expected float32 or float64")
        planes = self._planes(x)
        self._begun = self._begun or x.shape[-1] > 0
        return self._answer(self._backend.through(self._push, planes), block, dtype)

    def flush(self, dtype=None):
        """Ends the signal: the samples held back, then the tail. Afterwards the convolver stands at a new start.

        Args:
            dtype: of the result; by default that of the last block.

        Returns:
            `(..., m)`; of no signal at all, nothing.
        """
        wanted = None if dtype is None else _float_dtype(dtype)
        if self._open is None:
            return np.zeros(0, wanted or self._dtype)
        owed = self._open.held + max(self._taps, self._fading_taps) - 1 if self._begun else 0
        rest = self._crop(self._open.finish(owed))
        model, last = self._last
        self.reset()
        return self._answer(rest, model, wanted or last)

    def reset(self) -> None:
        """Forgets the signal so far, and keeps the filter."""
        if self._open is None:
            return
        self._begun = False
        self._history = History(self._backend.zeros(self.matrix.inputs, self._memory))
        if isinstance(self._open, Crossfade):
            self._open = self._open.new
        self._open.restart(self._history.last(0))
        self._skip = self._origin
        self._fading_taps = 0

    def set_ir(self, h, crossfade: int = 0) -> None:
        """Changes the filter without a click: what follows is as if it had been there from the start.

        The old filter fades out over `crossfade` samples from here on and the new one fades in, linearly. The new
        filter reaches back over as much of the signal as the longest filter so far could.

        Args:
            h: taps, in a form that leads from as many inputs to as many outputs as before.
            crossfade: length of the fade in samples; 0 switches at once.

        Raises:
            ValueError: where inputs, outputs or origin differ, the crossfade is negative, or 16 fades have begun
                and not ended.
        """
        if crossfade < 0:
            raise ValueError(f"crossfade is {crossfade}; expected 0 or more samples")
        old = self._started()
        matrix = h if isinstance(h, FilterMatrix) else from_array(_filter(h), self.matrix.inputs)
        for what in ("inputs", "outputs", "origin"):
            if getattr(matrix, what) != getattr(self.matrix, what):
                raise ValueError(
                    f"the new filter has {getattr(matrix, what)} {what}, the old one "
                    f"{getattr(self.matrix, what)}: expected the same"
                )
        if isinstance(old, Crossfade) and old.untouched:  # what never began need not end
            old = old.old
        if isinstance(old, Crossfade) and old.depth >= _MOST_FADES:
            raise ValueError(f"{old.depth} crossfades are under way: process the rest of them before the next")
        fading = self._taps
        self._adopt(matrix)
        new = self._backend.stream(matrix, self.plan)
        begun = self._resume(new, old.held)
        if crossfade or old.held:
            self._open = Crossfade(old, new, begun, crossfade)
            self._fading_taps = max(fading, self._fading_taps)
        else:
            self._open, self._fading_taps = new, 0
        self._history.grow(self._backend.zeros(self.matrix.inputs, self._memory))

    def get_state(self) -> dict:
        """What the signal so far has left behind, to be saved: plain numbers and one array.

        Raises:
            ValueError: during a crossfade, and before the number of channels is known.
        """
        stream = self._started()
        if isinstance(stream, Crossfade):
            raise ValueError("a crossfade is under way: process the rest of it before get_state")
        return {
            "latency": self._settings["latency"],
            "span": stream.span,
            "taps": self._taps,
            "held": stream.held,
            "skip": self._skip,
            "begun": self._begun,
            "history": self._backend.to_host(self._history.last(self._history.size)),
        }

    def set_state(self, state: dict) -> None:
        """Goes on where another convolver with the same filter and settings was when it gave its state.

        Raises:
            ValueError: for a state of another latency, block size, filter length or number of channels.
        """
        stream = self._started()
        mine = {"taps": self._taps, "latency": self._settings["latency"], "span": stream.span}
        for key, value in mine.items():
            if state[key] != value:
                raise ValueError(f"the state has {key} {state[key]!r}, this convolver {value!r}: expected the same")
        if len(state["history"]) != self.matrix.inputs:
            raise ValueError(f"the state has {len(state['history'])} channels, this convolver {self.matrix.inputs}")
        self.reset()
        self._skip, self._begun = state["skip"], state["begun"]
        self._history.push(self._backend.from_host(np.asarray(state["history"])))
        self._resume(self._open, state["held"])

    def _started(self):
        if self._open is None:
            raise ValueError("the number of channels is not known yet: pass channels=, or process a block first")
        return self._open

    def _start(self, matrix: FilterMatrix) -> None:
        self._memory = 0
        self._adopt(matrix)
        self._last = (self._h, self._dtype)
        self._open = self._backend.stream(matrix, self.plan)
        self.reset()

    def _adopt(self, matrix: FilterMatrix) -> None:
        self.matrix, self._taps, self._origin = matrix, max(matrix.taps, 1), matrix.origin
        self.plan = self._backend.plan(matrix, **self._settings)
        self._memory = max(self._memory, self._taps + self.plan.samples_at_once)

    def _push(self, planes):
        """Takes `(inputs, n)` samples of the backend's and returns what is complete."""
        self._history.push(planes)
        y = self._open.push(planes)
        if isinstance(self._open, Crossfade) and self._open.done:
            self._open, self._fading_taps = self._open.new, 0
        return self._crop(y)

    def _resume(self, stream, held: int):
        """Brings a stream to where the signal is; its answer to the last `held` samples, as far as it has one."""
        past = self._history.last(self._history.size)
        answered = past.shape[1] - held
        stream.restart(past[:, :answered])
        return stream.push(past[:, answered:])

    def _planes(self, x):
        """The block as `(channels, n)`."""
        if x.ndim == 0:
            raise ValueError("block is a number; expected an array whose last axis is time")
        if 0 in x.shape[:-1]:
            raise ValueError(f"block has shape {tuple(x.shape)}; expected at least one channel")
        if self._open is None:
            self._start(from_array(self._h, int(np.prod(x.shape[:-1]))))
        if self._shape is None:
            self._shape = tuple(x.shape[:-1])
        channels = int(np.prod(x.shape[:-1]))
        if tuple(x.shape[:-1]) != self._shape or channels != self.matrix.inputs:
            raise ValueError(
                f"block has shape {tuple(x.shape)}; expected {self.matrix.inputs} channels, "
                f"{(*self._shape, 'n') if self._shape else '(n,)'} as in the first block"
            )
        return x.reshape(channels, x.shape[-1])

    def _crop(self, y):
        """Drops what comes before time zero in a filter with an origin."""
        if self._skip:
            cut = min(self._skip, y.shape[1])
            self._skip -= cut
            y = y[:, cut:]
        return y

    def _answer(self, y, model, dtype):
        self._last = (model, dtype)
        square = self.matrix.inputs == self.matrix.outputs
        shape = self._shape if square and self._shape is not None else (self.matrix.outputs,)
        return self._backend.like(y, model, dtype).reshape(*shape, y.shape[1])


def _filter(h) -> np.ndarray:
    """The filter in the CPU's memory."""
    array = to_numpy(h.cpu() if is_torch(h) else h, "h")
    if not 1 <= array.ndim <= 3 or not array.size or array.dtype.kind != "f":
        raise ValueError(
            f"h has shape {array.shape} and dtype {array.dtype}; expected one or more real taps of shape "
            "(taps,), (channels, taps) or (outputs, inputs, taps)"
        )
    return array


def _float_dtype(dtype) -> np.dtype:
    name = str(dtype).removeprefix("torch.")
    if name not in ("float32", "float64") and np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype is {dtype}; expected float32 or float64")
    return np.dtype(name if name in ("float32", "float64") else dtype)
