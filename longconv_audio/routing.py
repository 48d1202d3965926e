"""Which filter leads from which input to which output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from longconv_audio.errors import MismatchError, OptionError

MODES = ("auto", "mono", "parallel", "true-stereo")
DEFAULT_ORDER = "LL,LR,RL,RR"

# A filter this short is convolved directly: as fast as an FFT, and products with unit impulses stay exact.
DIRECT_TAPS = 32


@dataclass(frozen=True)
class Path:
    """One filter from one input channel to one output channel.

    Args:
        output: index of the output channel, from 0.
        input: index of the input channel, from 0.
        taps: the filter, float64, shape `(K,)`. Paths that share a filter share the array.
    """

    output: int
    input: int
    taps: np.ndarray


@dataclass(frozen=True)
class FilterMatrix:
    """Filters from `inputs` to `outputs` channels; channels without a path between them do not mix.

    `y[o, n] = sum over paths (o, i) of sum over k of taps[k] * x[i, n + origin - k]`: `origin` is the tap
    that stands at time zero (0 for a causal filter), the same for every path.
    """

    inputs: int
    outputs: int
    paths: tuple[Path, ...]
    origin: int = 0

    @property
    def taps(self) -> int:
        """The length of the longest filter, in samples."""
        return max((len(path.taps) for path in self.paths), default=0)


def route(
    taps: np.ndarray, inputs: int, mode: str = "auto", order: str = DEFAULT_ORDER, origin: int = 0
) -> FilterMatrix:
    """Leads the channels of an impulse response to the channels of an input.

    Args:
        taps: impulse response, shape `(C, K)` or `(K,)`.
        inputs: number of input channels.
        mode: "mono": one IR channel serves every input channel; "parallel": IR channel c filters input
            channel c; "true-stereo": four IR channels fill a 2 x 2 matrix; "auto": mono or parallel,
            whichever fits.
        order: for true stereo, what each IR channel is: input then output, so LR leads from left to right.
        origin: the tap at time zero.

    Raises:
        MismatchError: the channels do not fit. They are never remixed.
        OptionError: unknown mode, or an order that is not a permutation of LL, LR, RL and RR.

    >>> [(p.input, p.output) for p in route(np.ones((4, 8)), 2, "true-stereo").paths]
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    if mode not in MODES:
        raise OptionError(f"--ir-channels {mode}: expected one of {', '.join(MODES)}, or a matrix file")
    pairs = parse_order(order)
    taps = _checked(np.atleast_2d(taps))
    if taps.ndim != 2:
        raise OptionError(f"impulse response of shape {taps.shape}: expected (channels, samples)")
    filters = [np.ascontiguousarray(row) for row in taps]  # one array object a channel: shared from here on
    count = len(filters)
    if mode == "auto":
        mode = "mono" if count == 1 else "parallel"
    if mode == "mono":
        if count != 1:
            raise MismatchError(
                f"the IR has {count} channels and --ir-channels mono takes 1: "
                "pass --ir-channels parallel, or choose a channel in a matrix file"
            )
        paths = [Path(c, c, filters[0]) for c in range(inputs)]
    elif mode == "parallel":
        if count != inputs:
            raise MismatchError(_misfit(count, inputs))
        paths = [Path(c, c, filters[c]) for c in range(inputs)]
    else:
        if count != 4 or inputs != 2:
            raise MismatchError(
                f"the IR has {count} channels and the input {inputs}: --ir-channels true-stereo needs 4 and 2"
                + (
                    "; leave it out"
                    if count in (1, inputs)
                    else "; a matrix file in place of the IR has other routings"
                )
            )
        paths = [Path(o, i, filters[c]) for c, (i, o) in enumerate(pairs)]
    return FilterMatrix(inputs, inputs, tuple(paths), origin)


def parse_order(order: str) -> tuple[tuple[int, int], ...]:
    """Reads the order of the channels of a true-stereo IR.

    Args:
        order: a permutation of "LL,LR,RL,RR", each naming the input, then the output.

    Returns:
        an (input, output) pair of channel indices for each IR channel.

    >>> parse_order("LL,RL,LR,RR")
    ((0, 0), (1, 0), (0, 1), (1, 1))
    """
    names = tuple(name.strip().upper() for name in order.split(","))
    if names not in set(permutations(DEFAULT_ORDER.split(","))):
        raise OptionError(f"--ir-order {order!r}: expected each of {DEFAULT_ORDER} once")
    return tuple(("LR".index(name[0]), "LR".index(name[1])) for name in names)


def from_array(h: np.ndarray, channels: int | None = None, origin: int = 0) -> FilterMatrix:
    """Makes a matrix of filters out of an array.

    Args:
        h: shape `(K,)` for one filter shared by all channels, `(C, K)` for one filter a channel (C = 1 is
            shared), or `(outputs, inputs, K)`. Pairs whose filter is all zeros get no path.
        channels: number of input channels; by default what the array says (1 for a shared filter).
        origin: the tap at time zero.

    Raises:
        MismatchError: the array has filters for another number of channels.
        OptionError: the array is not real, or has no or more than three axes.
    """
    h = _checked(h)
    if h.ndim == 1 or (h.ndim == 2 and len(h) == 1):
        shared = np.ascontiguousarray(h.reshape(-1))
        count = 1 if channels is None else channels
        return FilterMatrix(count, count, tuple(Path(c, c, shared) for c in range(count)), origin)
    if h.ndim == 2:
        outputs = inputs = len(h)
        paths = [Path(c, c, np.ascontiguousarray(h[c])) for c in range(inputs)]
    elif h.ndim == 3:
        outputs, inputs = h.shape[:2]
        pairs = [(o, i) for o in range(outputs) for i in range(inputs) if h[o, i].any()]
        paths = [Path(o, i, np.ascontiguousarray(h[o, i])) for o, i in pairs]
        if not paths and h.size:  # all zeros: one path keeps the length
            paths = [Path(0, 0, np.ascontiguousarray(h[0, 0]))]
    else:
        raise OptionError(f"filters of shape {h.shape}: expected (K,), (channels, K) or (outputs, inputs, K)")
    if channels is not None and channels != inputs:
        raise MismatchError(f"filters of shape {h.shape} take {inputs} channels and the input has {channels}")
    return FilterMatrix(inputs, outputs, tuple(paths), origin)


def dense(matrix: FilterMatrix) -> np.ndarray:
    """All filters in one array.

    Returns:
        shape `(outputs, inputs, K)`, float64, K the longest filter's length; zeros where no path is. The tap
        at `matrix.origin` stands at time zero.
    """
    h = np.zeros((matrix.outputs, matrix.inputs, matrix.taps))
    for path in matrix.paths:
        h[path.output, path.input, : len(path.taps)] += path.taps
    return h


def transform(matrix: FilterMatrix, function: Callable[[np.ndarray], np.ndarray]) -> FilterMatrix:
    """Applies a function to the taps of every path, once for each array that paths share."""
    done: dict[int, np.ndarray] = {}
    for path in matrix.paths:
        if id(path.taps) not in done:
            done[id(path.taps)] = function(path.taps)
    return replace(matrix, paths=tuple(replace(path, taps=done[id(path.taps)]) for path in matrix.paths))


def scale(matrix: FilterMatrix, gain: float) -> FilterMatrix:
    """Multiplies every filter by one linear gain."""
    return matrix if gain == 1 else transform(matrix, lambda taps: taps * gain)


def cascade(first: FilterMatrix, second: FilterMatrix) -> FilterMatrix:
    """One matrix that does what two do in series.

    Lengths add to K1 + K2 - 1 and origins add. Filters that paths share are convolved once, and what
    comes out is shared again.

    Args:
        first: the filters nearer to the input.
        second: the filters that take the first one's outputs.

    Raises:
        MismatchError: the first has another number of outputs than the second of inputs.
    """
    if first.outputs != second.inputs:
        raise MismatchError(
            f"filters in series: the first gives {first.outputs} channels and the second takes "
            f"{second.inputs}; they must be equal"
        )
    into: dict[int, list[Path]] = {}
    for path in first.paths:
        into.setdefault(path.output, []).append(path)
    terms: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = {}
    for after in second.paths:
        for before in into.get(after.input, ()):
            terms.setdefault((after.output, before.input), []).append((before.taps, after.taps))

    length = fast_length(first.taps + second.taps)
    spectra: dict[int, np.ndarray] = {}
    done: dict[tuple, np.ndarray] = {}
    paths = []
    for (output, input_), pairs in terms.items():
        key = tuple(sorted((id(a), id(b)) for a, b in pairs))
        if key not in done:
            done[key] = _sum_of_convolutions(pairs, length, spectra)
        paths.append(Path(output, input_, done[key]))
    return FilterMatrix(first.inputs, second.outputs, tuple(paths), first.origin + second.origin)


def fast_length(n: int) -> int:
    """The smallest number of at least n without prime factors above 5: FFTs of it are fast."""
    best = 1 << max(n - 1, 0).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            # The power of two that lifts three * five to n or above.
            candidate = three << max(-(-n // three) - 1, 0).bit_length()
            best = min(best, candidate)
            three *= 3
        five *= 5
    return best


def _sum_of_convolutions(
    pairs: list[tuple[np.ndarray, np.ndarray]], length: int, spectra: dict[int, np.ndarray]
) -> np.ndarray:
    size = max((len(a) + len(b) - 1 for a, b in pairs if len(a) and len(b)), default=0)
    total = np.zeros(size)
    product = None
    for a, b in pairs:
        if min(len(a), len(b)) <= DIRECT_TAPS:
            if len(a) and len(b):
                total[: len(a) + len(b) - 1] += np.convolve(a, b)
            continue
        for taps in (a, b):
            if id(taps) not in spectra:
                spectra[id(taps)] = np.fft.rfft(taps, length)
        term = spectra[id(a)] * spectra[id(b)]
        product = term if product is None else product + term
    if product is not None:
        total += np.fft.irfft(product, length)[:size]
    return total


def _checked(h: np.ndarray) -> np.ndarray:
    h = np.asarray(h)
    if h.dtype.kind not in "fiub":
        raise OptionError(f"filters of type {h.dtype}: expected real numbers")
    return np.asarray(h, dtype=np.float64)


def _misfit(count: int, inputs: int) -> str:
    """What to say of an IR whose channels do not fit, and what to do."""
    head = f"the IR has {count} channel{'s' * (count != 1)} and the input {inputs}: "
    if count == 1:
        return head + "pass --ir-channels mono to filter every channel with it"
    if count == 4 and inputs == 2:
        return (
            head + "pass --ir-channels true-stereo if they lead LL,LR,RL,RR (--ir-order for another order), "
            "or name a matrix file in place of the IR; parallel needs as many channels on both sides"
        )
    if inputs == 1:
        wiring = ", ".join(f'{{input=1, output={c}, file="ir.wav", channel={c}}}' for c in (1, 2))
        return (
            head + "convert the input to as many channels, or name a matrix file in place of the IR "
            "(longconv apply in.wav matrix.toml -o out.wav), where matrix.toml "
            f"holds: path = [{wiring}{', ...' * (count > 2)}]"
        )
    return head + "they must be equal, or the IR mono; name a matrix file in place of the IR for another routing"
