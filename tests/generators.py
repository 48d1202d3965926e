"""The cases of the long convolution: one list for every check of it, and what each must give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

# Signal-to-noise ratio, in dB, against float64, that a result in each dtype must reach at its default precision.
REQUIRED = {torch.float16: 60.0, torch.bfloat16: 44.0, torch.float32: 130.0, torch.float64: 280.0}


@dataclass(frozen=True)
class Case:
    """A call of `long_conv`.

    Args:
        u: its shape, (batch, channels, samples).
        k: its shape, (filters, taps) or (batch, filters, taps).
        d: the shape of d, or None.
        pre_gate, post_gate: the shapes of the gates, or None.
        mode, offset, correlate: as they are.
        strided: u comes from a transposed, sliced tensor.
    """

    u: tuple
    k: tuple
    d: tuple | None = None
    pre_gate: tuple | None = None
    post_gate: tuple | None = None
    mode: str = "causal"
    offset: int = 0
    correlate: bool = False
    strided: bool = False

    @property
    def options(self) -> dict:
        return {"mode": self.mode, "offset": self.offset, "correlate": self.correlate}

    def tensors(self, dtype=torch.float64, *, filter_dtype=None, requires_grad=False, seed=0) -> dict:
        """Unit-scale noise in the call's shapes: u, k, and d and the gates that it has."""
        generator = torch.Generator().manual_seed(seed)
        filter_dtype = filter_dtype or (torch.float32 if dtype.itemsize == 2 else dtype)
        made = {}
        for name in ("u", "k", "d", "pre_gate", "post_gate"):
            shape = getattr(self, name)
            if shape is None:
                continue
            t = torch.randn(shape, generator=generator, dtype=torch.float64)
            t = t.to(filter_dtype if name in ("k", "d") else dtype)
            if name == "u" and self.strided:
                room = torch.empty(shape[2], shape[0], 2 * shape[1], dtype=dtype)
                t = room[:, :, ::2].permute(1, 2, 0).copy_(t)
            made[name] = t.requires_grad_(requires_grad)
        return made

    def __str__(self) -> str:
        words = [f"u{self.u}", f"k{self.k}", self.mode]
        words += [f"+{self.offset}"] if self.offset else []
        words += ["correlate"] if self.correlate else []
        words += [name for name in ("d", "pre_gate", "post_gate") if getattr(self, name) is not None]
        return " ".join(words + (["strided"] if self.strided else [])).replace(" ", "-").replace(",-", ",")


CASES = [
    # sharing of filters
    Case((2, 3, 17), (3, 9)),
    Case((2, 4, 16), (2, 16), d=(4,)),
    Case((2, 4, 15), (1, 8), pre_gate=(2, 4, 15)),
    Case((2, 4, 15), (2, 2, 8), d=(2, 4), post_gate=(2, 4, 15), strided=True),
    Case((2, 3, 12), (2, 3, 30), d=()),
    Case((3, 4, 9), (3, 1, 5), strided=True),
    Case((2, 1, 14), (5, 6), d=(5,), pre_gate=(2, 1, 14), post_gate=(2, 5, 14)),
    Case((1, 2, 14), (3, 2, 6), pre_gate=(1, 2, 14)),
    Case((2, 1, 10), (3, 4), pre_gate=(2, 3, 10)),
    # gates that broadcast
    Case((2, 4, 13), (4, 7), d=(1,), pre_gate=(4, 1), post_gate=(13,), strided=True),
    # modes, offsets and direction, K below, at and above L, odd and even
    Case((2, 2, 11), (2, 30)),
    Case((2, 2, 11), (2, 5), offset=2, d=(2,)),
    Case((1, 2, 11), (2, 24), offset=23, d=(2,)),
    Case((2, 2, 11), (2, 5), correlate=True, offset=1),
    Case((2, 2, 11), (2, 40), correlate=True, offset=17, d=(2,), pre_gate=(2, 2, 11), post_gate=(2, 2, 11)),
    Case((2, 2, 11), (2, 5), mode="full"),
    Case((2, 3, 8), (3, 21), mode="full", offset=4, d=(3,), pre_gate=(2, 3, 8), post_gate=(2, 3, 28)),
    Case((2, 3, 8), (1, 6), mode="full", offset=2, correlate=True, d=(2, 3), strided=True),
    Case((2, 2, 12), (2, 5), mode="same", d=(2,)),
    Case((2, 2, 12), (2, 6), mode="same", offset=1),
    Case((2, 2, 5), (2, 12), mode="same", correlate=True, d=(2,)),
    Case((2, 2, 3), (2, 30), mode="same", offset=29),
    Case((2, 2, 12), (2, 5), mode="circular", d=(2,)),
    Case((2, 4, 12), (2, 31), mode="circular", offset=9, pre_gate=(2, 4, 12), post_gate=(2, 4, 12)),
    Case((2, 2, 13), (2, 5), mode="circular", offset=3),
    Case((2, 2, 13), (2, 2, 29), mode="circular", offset=20, correlate=True, d=(2,), strided=True),
    Case((2, 2, 20), (2, 7), mode="circular", offset=2, correlate=True, post_gate=(2, 2, 20)),
    # the smallest
    Case((1, 1, 1), (1, 1), d=(1,)),
    Case((1, 1, 1), (1, 4), mode="circular"),
    Case((1, 1, 1), (1, 4), mode="full", offset=3, correlate=True),
]


def expected(case: Case, tensors: dict) -> np.ndarray:
    """What the call must give, in float64, from direct sums."""
    arrays = {name: t.detach().double().numpy() for name, t in tensors.items()}
    u, k = arrays["u"], arrays["k"]
    v = u * arrays.get("pre_gate", 1.0)
    k = k if k.ndim == 3 else k[None]
    batch, channels = max(len(v), len(k)), max(v.shape[1], k.shape[1] if v.shape[1] == 1 else 0)
    samples = case.u[2] + case.k[-1] - 1 if case.mode == "full" else case.u[2]
    y = np.empty((batch, channels, samples))
    d = np.broadcast_to(arrays.get("d", 0.0), (batch, channels))
    for b, h in np.ndindex(batch, channels):
        row = v[b % len(v), h % v.shape[1]]
        taps = k[b % len(k), h // (channels // k.shape[1])]
        y[b, h] = _row(row, taps, d[b, h], **case.options)
    return y * arrays.get("post_gate", 1.0)


def _row(v, k, d, mode, offset, correlate):
    """One channel: the response with the time of each sample, and the samples at the times that the mode wants."""
    response = np.convolve(v, k[::-1] if correlate else k)
    first = offset - len(k) + 1 if correlate else -offset
    if mode == "same":
        first = -((len(k) - 1) // 2) + (offset if correlate else -offset)
    at = dict(enumerate(response, start=first))
    if mode == "circular":
        y = np.zeros(len(v))
        for time, value in at.items():
            y[time % len(v)] += value
        return y + d * v
    times = at if mode == "full" else range(len(v))
    return np.array([at.get(t, 0.0) + (d * v[t] if 0 <= t < len(v) else 0.0) for t in times])
