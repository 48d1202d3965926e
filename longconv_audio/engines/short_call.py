"""What a short convolution is to do, besides its tensors."""

from __future__ import annotations

from typing import NamedTuple


class ShortCall(NamedTuple):
    """How a short convolution stands in time, and how its tensors lie.

    With `left` zeros in front of u and `right` behind it, the outputs are all at which the taps meet K samples:

        convolution   y[n] = sum over j of k[j] u[n - left + K - 1 - j]
        correlation   y[n] = sum over j of k[j] u[n - left + j]

    Args:
        left, right: zeros in front of each row and behind it; where less than 0, samples that are left out.
        correlate: which of the two.
        channels_last: (batch, time, channels) and not (batch, channels, time).
    """

    left: int
    right: int
    correlate: bool
    channels_last: bool

    def length(self, t):
        """The samples of a row."""
        return t.shape[1 if self.channels_last else 2]

    def channels(self, t):
        """The rows of a batch item."""
        return t.shape[2 if self.channels_last else 1]

    def samples(self, u, k):
        """Those of an output row."""
        return self.length(u) + self.left + self.right - (k.shape[-1] - 1)

    def start(self, k):
        """The input sample that the first tap in the order of lags meets in the first output."""
        return k.shape[-1] - 1 - self.left

    def shape(self, u, k) -> tuple:
        """y's."""
        batch, samples = u.shape[0], self.samples(u, k)
        return (batch, samples, u.shape[2]) if self.channels_last else (batch, u.shape[1], samples)
