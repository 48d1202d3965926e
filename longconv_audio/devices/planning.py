"""Choosing the blocks of a stream on a device: a pure function of shapes and of the memory there is.

A device convolves the last K - 1 samples of the past and a block of S new ones at once, by overlap-save, and answers
with S samples. How the transform inside is cut is the business of `long_conv`; here S is chosen, and what it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..cost_model import fast_sizes
from ..errors import OptionError

# Samples of all channels in one block: enough to fill a device, few enough that several are in flight at once.
_SUPERBLOCK = 1 << 21
_SMALLEST, _LARGEST = 1 << 16, 1 << 26
# The past is transformed with every block, and room is left for the filter: of so many times its length they are less
# than half.
_TAPS_A_TRANSFORM = 4
# What `long_conv` transforms at once, in points, and how many such arrays its steps hold.
_WORKSPACE, _STEPS = 1 << 25, 6
# Blocks of input and output that are on their way.
_IN_FLIGHT = 3


@dataclass(frozen=True)
class DevicePlan:
    """How a stream is convolved on a device.

    Args:
        latency: "block" or "offline".
        taps: the filter's length K.
        hop: samples S that are answered at once.
        memory: predicted bytes on the device.
    """

    latency: str
    taps: int
    hop: int
    memory: int

    @property
    def window(self) -> int:
        """Samples that one convolution takes: the past that the filter reaches, and the block."""
        return self.hop + self.taps - 1

    @property
    def samples_at_once(self) -> int:
        """Samples that are answered together."""
        return self.hop

    @property
    def work(self) -> float:
        """Points of a transform for each sample of output: what a plan costs in proportion to another."""
        return _transform(self.hop, self.taps) / self.hop

    def __str__(self) -> str:
        return (
            f"{self.latency}: {self.taps} taps on windows of {self.window} samples, {self.hop} of them new; "
            f"about {self.memory / 2**20:.0f} MiB on the device"
        )


def plan_device_stream(
    taps: int,
    *,
    latency: str = "offline",
    block_size: int | None = None,
    inputs: int = 1,
    outputs: int = 1,
    filters: int = 1,
    itemsize: int = 4,
    length: int | None = None,
    available: int | None = None,
) -> DevicePlan:
    """Plans a convolution that runs along a stream on a device.

    Args:
        taps: the longest filter's length, in samples.
        latency: "block" (every `block_size` samples are answered at once) or "offline" (whatever is fastest).
        block_size: for "block" the samples of a block; for "offline" the points of its transform, half of which are
            new samples where the filter does not leave more room, by default as many as the device has memory for
            and works on well.
        inputs, outputs: channels.
        filters: filters whose spectra are prepared.
        itemsize: bytes of a sample, 4 or 8.
        length: samples of the signal, where known: a short signal gets no large blocks (offline).
        available: bytes of memory that the device has left; None where it does not matter.

    Raises:
        ValueError: for a latency or size that does not exist, and (OptionError) for blocks that do not fit.

    >>> plan_device_stream(288_000, inputs=2, outputs=2, filters=2).hop + 2 * (288_000 - 1) == 2**21
    True
    >>> plan_device_stream(1000, latency="block", block_size=256).hop
    256
    """
    if latency == "zero":
        raise OptionError(
            "latency 'zero' answers sample by sample, for which a GPU's calls take too long: "
            "pass latency='block' with a block_size, or device='cpu'"
        )
    if latency not in ("block", "offline"):
        raise OptionError(f"latency is {latency!r}; expected block or offline on a device")
    if block_size is not None and block_size < 1:
        raise OptionError(f"block_size is {block_size}; expected at least 1 sample")
    if latency == "block" and block_size is None:
        raise OptionError('latency="block" needs block_size, the number of samples in a block')

    def plan(size: int) -> DevicePlan:
        hop = size if latency == "block" else max(size - 2 * (taps - 1), size // 2, 1)
        if latency == "offline" and length is not None:
            hop = min(hop, max(length + taps - 1, 1))
        return DevicePlan(latency, taps, hop, _memory(hop, taps, inputs, outputs, filters, itemsize))

    size = _preferred(taps, max(inputs, outputs)) if block_size is None else block_size
    wanted = plan(size)
    if available is None or wanted.memory <= available:
        return wanted
    largest = _largest(size, lambda size: plan(size).memory <= available)
    if largest and block_size is None:
        return plan(largest)
    raise OptionError(_too_much(wanted, plan(1), largest, filters, available))


def _preferred(taps: int, channels: int) -> int:
    """The points of a transform where memory does not matter: a power of two, which every engine is fast on."""
    wanted = max(_SUPERBLOCK // channels, _TAPS_A_TRANSFORM * taps, _SMALLEST)
    return max(min(1 << (wanted - 1).bit_length(), _LARGEST), 1 << (2 * taps).bit_length())


def _transform(hop: int, taps: int) -> int:
    """Points of the linear convolution of a window with the filter."""
    least = hop + 2 * (taps - 1)
    return fast_sizes(least, 2 * least + 2)[0]


def _memory(hop: int, taps: int, inputs: int, outputs: int, filters: int, itemsize: int) -> int:
    """Bytes on the device, where every step goes through torch.fft; the fused kernels take less."""
    points, window = _transform(hop, taps), hop + taps - 1
    spectra = filters * (taps + points) * itemsize
    preparing = 5 * filters * points * 8  # in double precision
    working = _STEPS * min(outputs * points, max(_WORKSPACE, points)) * itemsize
    # Two windows and the past that `Convolver` keeps; a window with its channels in the filters' order, and its result.
    samples = inputs * (3 * window + _IN_FLIGHT * hop) + outputs * (2 * window + _IN_FLIGHT * hop)
    return spectra + max(preparing, working + samples * itemsize)


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """The largest size up to `most` that fits, 0 where none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _too_much(wanted: DevicePlan, least: DevicePlan, largest: int, filters: int, available: int) -> str:
    there = f"and the device has {_bytes(available)} left"
    if largest:
        return (
            f"blocks of {wanted.hop} samples need {_bytes(wanted.memory)} {there}: "
            f"the largest block size that fits is {largest}"
        )
    return (
        f"{filters} filters of {wanted.taps} taps need {_bytes(least.memory)} in the smallest blocks {there}: "
        "use a shorter filter, fewer channels or the CPU"
    )


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
