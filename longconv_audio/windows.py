"""What the modes of a long convolution mean: where its output begins, where it ends and where a filter stands.

Pure functions of lengths. The lengths may be symbolic (torch's SymInt), so that an operator's shape can be traced.

A filter of K taps stands in time with tap `origin` at time zero. With u[t] = 0 outside 0 <= t < L,

    convolution   y(t) = sum over j of k[j] u[t - (j - origin)]
    correlation   y(t) = sum over j of k[j] u[t + (j - origin)]

and a mode says for which times t there is an output. A convolution with origin 0 is causal; one with origin
(K - 1) / 2 and a symmetric filter has zero phase. Correlation is the filter run backwards in time.
"""

from __future__ import annotations

from typing import NamedTuple

MODES = ("causal", "full", "same", "circular")


class Window(NamedTuple):
    """A stretch of a filter's response.

    Args:
        first: the time of the first output sample.
        length: the number of output samples.
        origin: the tap that stands at time zero.
    """

    first: int
    length: int
    origin: int


def window(mode: str, length: int, taps: int, offset: int = 0, correlate: bool = False) -> Window:
    """The window that a mode opens on the response of `taps` taps to `length` samples (neither being 0).

    "causal" and "circular" give the times 0 to L - 1, and "full" all L + K - 1 times at which there can be a
    response, from the first to the last. "same" gives the times 0 to L - 1 too, but of a filter that stands
    centred: the output is the middle L samples of the full response, as scipy.signal has it. The offset advances
    the filter from where it stands.

    >>> window("full", 10, 4, offset=1)
    Window(first=-1, length=13, origin=1)
    >>> window("same", 10, 5)
    Window(first=0, length=10, origin=2)
    """
    origin = offset
    if mode == "same":
        origin = offset + (taps // 2 if correlate else (taps - 1) // 2)
    if mode == "full":
        return Window(origin - taps + 1 if correlate else -origin, length + taps - 1, origin)
    return Window(0, length, origin)


def shift(place: Window, correlate: bool) -> int:
    """The place of the first output sample in the bare sums, whose tap 0 stands at time zero.

    Output sample i is `sum over j of k[j] u[i + shift - j]`, or with `correlate` `... u[i + shift + j]`.
    """
    return place.first - place.origin if correlate else place.first + place.origin


def taps_that_count(start: int, length: int, samples: int, taps: int, correlate: bool) -> tuple[int, int]:
    """The taps, as a half-open range, that meet any of the `samples` inputs in outputs start to start + length - 1.

    A filter longer than its signal has taps that never matter to a causal output. At least one tap is named.

    >>> taps_that_count(0, 10, 10, 1000, correlate=False)
    (0, 10)
    """
    low, high = (1 - start - length, samples - start) if correlate else (start - samples + 1, start + length)
    low = min(max(low, 0), taps - 1)
    return low, max(min(high, taps), low + 1)


def transform_size(start: int, length: int, samples: int, taps: int, correlate: bool) -> int:
    """The fewest points of a circular convolution that agrees with the linear one in the window.

    The linear response has the places low to high; place i of the window is free of aliasing if no other place of
    the response differs from it by a multiple of the size.

    >>> transform_size(0, 10, 10, 10, correlate=False)
    19
    >>> transform_size(9, 1, 10, 10, correlate=False)  # only the middle sample, on which nothing wraps
    10
    """
    low, high = (1 - taps, samples - 1) if correlate else (0, samples + taps - 2)
    first, last = max(start, low), min(start + length - 1, high)
    return max(samples, taps, high - first + 1, last - low + 1)
