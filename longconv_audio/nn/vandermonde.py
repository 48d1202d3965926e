"""Sums of many geometric sequences at many places, z_n^l, without an array of all of them.

l = l1 S + l0 takes a power apart into z^(l1 S) and z^l0: two short tables, and the sums over n are a product of
matrices. The tables are computed in double precision, where a phase of many turns keeps its fraction.
"""

from __future__ import annotations

import torch

# Powers in the table of small steps: about the square root of the length.
_STEPS, _STEPS_LONG, _LONG = 128, 1024, 1 << 16


class Vandermonde:
    """The powers 0 to length - 1 of z = exp(rate).

    Args:
        rate_re, rate_im: `(H, N)`; the real parts not above zero.
        length: how many powers.
        dtype: of the tables and of what is summed with them.
    """

    def __init__(self, rate_re, rate_im, length: int, dtype: torch.dtype):
        self.length = length
        steps = _STEPS if length <= _LONG else _STEPS_LONG
        self.steps, self.dtype = min(steps, length), dtype
        self.small = torch.cat(_powers(rate_re, rate_im, 1, self.steps), -2).to(dtype)  # (H 2N S)
        self.large = _powers(rate_re, rate_im, steps, -(-length // steps))  # each (H N l1)

    def evaluate(self, c_re, c_im):
        """Re sum over n of c_n z_n^l, for c `(..., H, N)`: `(..., H, length)`."""
        c_re, c_im = c_re.unsqueeze(-1), c_im.unsqueeze(-1)
        re, im = self.large
        left = torch.cat([c_re * re - c_im * im, -(c_re * im + c_im * re)], -2).to(self.dtype)  # (... H 2N l1)
        return (left.transpose(-1, -2) @ self.small).flatten(-2)[..., : self.length]

    def project(self, u):
        """Sum over l of u_l z_n^l, for u `(B, H, length)`: its real and imaginary parts, `(B, H, N)`."""
        u = torch.nn.functional.pad(u.to(self.dtype), (0, -self.length % self.steps))
        rows = u.unflatten(-1, (-1, self.steps)).transpose(0, 1).flatten(1, 2)  # (H B*l1 S)
        sums = (rows @ self.small.transpose(-1, -2)).unflatten(1, (len(u), u.shape[-1] // self.steps))
        re, im = sums.transpose(0, 1).chunk(2, -1)  # (B H l1 N)
        z_re, z_im = (t.to(self.dtype).transpose(-1, -2) for t in self.large)
        return (re * z_re - im * z_im).sum(-2), (re * z_im + im * z_re).sum(-2)


def _powers(rate_re, rate_im, step: int, count: int):
    place = torch.arange(count, device=rate_re.device, dtype=rate_re.dtype) * step
    size, angle = (rate_re.unsqueeze(-1) * place).exp(), rate_im.unsqueeze(-1) * place
    return size * angle.cos(), size * angle.sin()
