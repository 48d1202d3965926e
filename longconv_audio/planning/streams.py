"""Choosing how to convolve: pure functions of shapes, latency and precision. No tensor, no device.

Every plan here is partitioned overlap-save convolution in some form. A filter of K taps is cut into partitions
of S taps; the signal advances by a hop of S samples; each hop takes one real FFT of N >= 2S points, one complex
product and sum per partition, and one inverse FFT, of which the last S points are the output. One partition with
a hop of N - K + 1 is plain overlap-save. Partitions that grow with their distance from the first tap give low
latency at a low cost (Gardner, "Efficient convolution without input-output delay", J. Audio Eng. Soc. 43(3),
1995; the sizes are found by search, after Garcia, "Optimal filter partition for efficient convolution with short
input/output delay", AES 113th Convention, 2002).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from ..cost_model import (
    CALL,
    MULTIPLY_ADD,
    VECTOR_ROWS,
    fast_sizes,
    fft_nanoseconds,
    monarch_factors,
    monarch_nanoseconds,
)

LATENCIES = ("zero", "block", "offline")
MODES = ("full", "same", "valid", "causal", "circular")

# An offline plan works on about this many samples of all channels at once: enough to make a call's overhead
# vanish, few enough to stay near the cache.
_SUPERBLOCK = 1 << 18
_MOST_ROWS = 64
# Where there are fewer channels than threads, a call's rows are shared out among so many at most: more would make the
# blocks longer without end.
_MOST_SHARES = 4
# Memory has its price: so many bytes make a plan look twice as slow.
_DOUBLING_MEMORY = 192 << 20

# Blocks of the output that wait to be written.
_WAITING = 3

_SMALLEST_FFT = 1 << 10
# A larger partition saves nothing any more, and its transforms are what the slowest block waits for.
_LARGEST_SIZE_IN_TIME = 1 << 13
_HEAD, _LARGEST_HEAD = 64, 128


@dataclass(frozen=True)
class Segment:
    """A run of equal partitions of a filter.

    Args:
        size: taps in a partition, and samples from one transform to the next.
        offset: the first tap of the run.
        count: partitions in the run.
        fft_size: points of the transform.
        factors: those of a transform in two steps (Monarch); None for one in one step.
    """

    size: int
    offset: int
    count: int
    fft_size: int
    factors: tuple[int, int] | None = None


@dataclass(frozen=True)
class StreamPlan:
    """How a stream is convolved.

    Args:
        latency: "zero", "block" or "offline".
        taps: the filter's length K.
        head: taps convolved directly, sample by sample.
        hop: samples between two transforms of the first segment.
        rows: hops that are transformed in one call (offline only; 1 elsewhere).
        segments: the partitions, in the order of their first tap.
        nanoseconds: predicted cost of one sample of one channel on one core.
        memory: predicted bytes of spectra and buffers.
        group: rows that one thread transforms at a time (offline only).
    """

    latency: str
    taps: int
    head: int
    hop: int
    rows: int
    segments: tuple[Segment, ...]
    nanoseconds: float
    memory: int
    group: int = 1

    @property
    def samples_at_once(self) -> int:
        """Samples of a channel that one call transforms."""
        return self.rows * self.hop

    @property
    def work(self) -> float:
        """What the plan costs in proportion to another."""
        return self.nanoseconds

    def __str__(self) -> str:
        runs = ", ".join(
            f"{s.count} x {s.size} taps (FFT {' x '.join(map(str, s.factors or (s.fft_size,)))})" for s in self.segments
        )
        head = f"{self.head} taps directly, then " if self.head else ""
        return (
            f"{self.latency}: {self.taps} taps as {head}{runs}; {self.rows} x {self.hop} samples at a time, "
            f"about {self.nanoseconds:.1f} ns a sample and {self.memory / 2**20:.0f} MiB"
        )


def plan_stream(
    taps: int,
    *,
    latency: str = "offline",
    block_size: int | None = None,
    inputs: int = 1,
    outputs: int = 1,
    paths: int = 1,
    parallel: bool = True,
    itemsize: int = 4,
    workers: int = 1,
    length: int | None = None,
) -> StreamPlan:
    """Plans a convolution that runs along a stream.

    Args:
        taps: the longest filter's length, in samples.
        latency: "zero" (every sample is answered at once), "block" (every `block_size` samples are answered at
            once) or "offline" (whatever is fastest).
        block_size: samples a block: of the first partition for "zero" (64 where not given) and "block" (needed);
            the FFT size for "offline" (rounded up to a fast one), where it is normally left to the cost model.
        inputs, outputs: channels.
        paths: distinct filters, for the memory that their spectra take.
        parallel: whether no output is made of more than one input.
        itemsize: bytes of a sample, 4 or 8.
        workers: threads at hand (offline).
        length: samples of the signal, where known: a short signal gets no large blocks (offline).

    Raises:
        ValueError: for a latency or size that does not exist.

    >>> sum(s.count * s.size for s in plan_stream(288_000, inputs=2, outputs=2, paths=2).segments)
    288000
    >>> plan_stream(1, latency="block", block_size=64).segments[0].fft_size
    128
    """
    if latency not in LATENCIES:
        raise ValueError(f"latency is {latency!r}; expected one of {', '.join(LATENCIES)}")
    if block_size is not None and block_size < 1:
        raise ValueError(f"block_size is {block_size}; expected at least 1 sample")
    if latency == "offline":
        return _plan_offline(max(taps, 1), block_size, inputs, outputs, paths, parallel, itemsize, workers, length)
    if latency == "block" and block_size is None:
        raise ValueError('latency="block" needs block_size, the number of samples in a block')
    base = block_size or _HEAD
    if latency == "zero":  # any block is answered at once, and the work of the direct head grows with its size
        base = min(base, _LARGEST_HEAD)
    return _plan_in_time(max(taps, 1), latency, base, inputs, outputs, paths, itemsize)


def plan_overlap_save(length: int, taps: int, itemsize: int = 4) -> int:
    """The cheapest FFT size for filtering `length` samples with `taps` taps in overlapping blocks.

    >>> plan_overlap_save(1_000_000, 1000) < 65536
    True
    """
    total = length + taps - 1
    sizes = fast_sizes(max(2 * taps, _SMALLEST_FFT), max(32 * taps, 8 * _SMALLEST_FFT))

    def cost(n: int) -> float:
        hops = -(-total // (n - taps + 1))
        return 2 * fft_nanoseconds(n, hops, itemsize) + hops * n / 2 * 2 * itemsize * MULTIPLY_ADD

    return min(sizes, key=cost)


def output_window(mode: str, length: int, taps: int) -> tuple[int, int]:
    """Where the result of a mode lies in the full convolution: its first sample and its length.

    "full" is all `length + taps - 1` samples, "causal" the first `length`, "same" the middle `length`, and
    "valid" the samples for which both lie wholly over each other, as scipy.signal has them. (A circular
    convolution is folded, not cropped.)

    Raises:
        ValueError: for a mode that does not exist.

    >>> output_window("same", 10, 4)
    (1, 10)
    """
    full = length + taps - 1 if length and taps else 0
    if mode == "full":
        return 0, full
    if mode == "causal":
        return 0, length if full else 0
    if mode == "same":
        return (full - length) // 2 if full else 0, length if full else 0
    if mode == "valid":
        shorter = min(length, taps)
        return max(shorter - 1, 0), max(length, taps) - shorter + 1 if full else 0
    raise ValueError(f"mode is {mode!r}; expected one of {', '.join(MODES)}")


def _plan_offline(taps, fft_size, inputs, outputs, paths, parallel, itemsize, workers, length) -> StreamPlan:
    """The cheapest plan, memory being part of the price."""
    shape = (taps, inputs, outputs, paths, itemsize, workers, length)
    if fft_size is not None:
        plans = [_offline(segment, hop, *shape) for segment, hop in _uniform_with_fft(taps, fft_size)]
        return min(plans, key=lambda plan: plan.nanoseconds)
    plans = [_offline(segment, hop, *shape) for segment, hop in _uniform(taps)]
    if parallel:
        plans += [_monarch(factors, *shape) for factors in monarch_factors(taps + taps // 8, 16 * taps)]
    return min(plans, key=lambda plan: plan.nanoseconds * (1 + plan.memory / _DOUBLING_MEMORY))


def _uniform(taps: int):
    """Candidate partitions: the whole filter in one transform, or P partitions of half a transform."""
    for n in fast_sizes(max(taps + taps // 4, _SMALLEST_FFT), max(16 * taps, 16 * _SMALLEST_FFT)):
        yield Segment(taps, 0, 1, n), n - taps + 1
    for count in (2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256):
        n = fast_sizes(max(2 * -(-taps // count), _SMALLEST_FFT), 4 * max(taps, _SMALLEST_FFT))[0]
        partitions = -(-taps // (n // 2))
        if partitions > 1:
            yield Segment(n // 2, 0, partitions, n), n // 2


def _uniform_with_fft(taps: int, fft_size: int):
    n = fast_sizes(max(fft_size, 2), 2 * max(fft_size, 2))[0]
    if n > taps:
        yield Segment(taps, 0, 1, n), n - taps + 1
    yield Segment(n // 2, 0, -(-taps // (n // 2)), n), n // 2


def _offline(segment, hop, taps, inputs, outputs, paths, itemsize, workers, length) -> StreamPlan:
    """A plan from a uniform partition: the rows a call, the cost and the memory."""
    n, count = segment.fft_size, segment.count
    vector = VECTOR_ROWS[itemsize]
    share = _SUPERBLOCK / max(inputs, outputs, 2)
    rows = vector * min(max(round(share / hop / vector), 1), _MOST_ROWS // vector)
    shares = min(-(-workers // min(inputs, outputs)), _MOST_SHARES)
    rows *= shares
    hops = None
    if length is not None:
        hops = max(-(-(length + taps - 1) // hop), 1)
        rows = min(rows, hops)
    group = -(-rows // shares)
    spectrum = (n // 2 + 1) * 2 * itemsize
    per_row = 2 * fft_nanoseconds(n, group, itemsize) / group
    per_row += max(paths / outputs, 1) * count * (spectrum * MULTIPLY_ADD + CALL / group)
    memory = (
        paths * count * spectrum
        + inputs * 2 * (rows * hop + n) * itemsize
        + inputs * (count - 1 + 2 * rows) * spectrum
        + min(workers, shares * outputs) * group * (spectrum + n * itemsize)
        + _WAITING * outputs * rows * hop * itemsize
    )
    nanoseconds = per_row * hops / (length + taps - 1) if hops else per_row / hop
    return StreamPlan("offline", taps, 0, hop, rows, (segment,), nanoseconds, memory, group)


def _monarch(factors, taps, inputs, outputs, paths, itemsize, workers, length) -> StreamPlan:
    """A plan with the whole filter in one transform of two steps."""
    n = factors[0] * factors[1]
    hop = n - taps + 1
    hops = 1 if length is None else max(-(-(length + taps - 1) // hop), 1)
    nanoseconds = monarch_nanoseconds(factors, itemsize) * hops / (hop if length is None else length + taps - 1)
    # Twiddles forth and back, spectra, two sets of buffers, a spectrum and a result a worker.
    arrays = 2 + paths + 2 * inputs + 2 * min(workers, 2 * outputs)
    memory = arrays * n * itemsize + _WAITING * outputs * hop * itemsize
    segment = Segment(taps, 0, 1, n, factors)
    return StreamPlan("offline", taps, 0, hop, 1, (segment,), nanoseconds, memory)


def _plan_in_time(taps, latency, base, inputs, outputs, paths, itemsize) -> StreamPlan:
    """Partitions that grow: the cheapest ladder of sizes.

    The first run is worked off as soon as its block is complete. A later run of partitions of S taps begins at
    tap 2S: what a block of S samples adds to the output is due S samples after the block's end, so that the work
    can be spread over the S samples in between and no single call has to carry a large transform.
    """
    head = base if latency == "zero" else 0
    ladder = [base << k for k in range(2, 16) if base << k <= max(_LARGEST_SIZE_IN_TIME, 4 * base)]
    ladder = [size for size in ladder if 2 * size < taps]
    best = None
    for steps in range(min(len(ladder), 3) + 1):
        for sizes in combinations(ladder, steps):
            plan = _in_time((base, *sizes), taps, latency, head, inputs, outputs, paths, itemsize)
            if best is None or plan.nanoseconds < best.nanoseconds:
                best = plan
    return best


def _in_time(sizes, taps, latency, head, inputs, outputs, paths, itemsize) -> StreamPlan:
    segments, offset, cost, memory = [], head, 0.0, 0
    for size, following in zip(sizes, (*sizes[1:], None), strict=True):
        end = taps if following is None else 2 * following
        count = max(-(-(end - offset) // size), 1)
        n = fast_sizes(2 * size, 4 * size)[0]
        segments.append(Segment(size, offset, count, n))
        spectrum = (n // 2 + 1) * 2 * itemsize
        transforms = (inputs + outputs) * fft_nanoseconds(n, 1, itemsize)
        cost += (transforms + max(paths, outputs) * (count * spectrum * MULTIPLY_ADD + 2 * CALL)) / size
        memory += paths * count * spectrum + inputs * 2 * count * spectrum + 4 * (inputs + outputs) * size * itemsize
        offset += count * size
    memory += max(paths, outputs) * 2 * head * head * itemsize
    return StreamPlan(latency, taps, head, sizes[0], 1, tuple(segments), cost / max(inputs, outputs), memory)
