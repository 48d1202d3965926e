"""What makes the kernels of layers from their parameters, as functions."""

from __future__ import annotations

import math

import torch

from .vandermonde import Vandermonde


def squash(k: torch.Tensor, threshold: float) -> torch.Tensor:
    """Taps drawn towards zero by `threshold`, those nearer to it set to zero: sign(k) max(|k| - threshold, 0).

    Source: Fu et al., "Simple hardware-efficient long convolutions for sequence modeling" (2023, arXiv 2302.06646).

    >>> squash(torch.tensor([0.5, -0.1, -0.5]), 0.25)
    tensor([ 0.2500, -0.0000, -0.2500])
    """
    return torch.sign(k) * torch.relu(k.abs() - threshold)


def smooth(k: torch.Tensor, width: int) -> torch.Tensor:
    """The mean of each tap and `width` taps on both sides of it, zeros being outside; a kernel in time.

    Args:
        k: `(..., K)`.

    Source: Fu et al. (2023, arXiv 2302.06646).

    >>> smooth(torch.tensor([3.0, 0.0, 0.0, 3.0]), 1)
    tensor([1., 1., 1., 1.])
    """
    rows = torch.nn.functional.pad(k, (width, width)).reshape(-1, 1, k.shape[-1] + 2 * width)
    return torch.nn.functional.avg_pool1d(rows, 2 * width + 1, 1).reshape(k.shape)


def multiscale_kernel(weight: torch.Tensor, decay: float | torch.Tensor, length: int) -> torch.Tensor:
    """Sub-kernels that are stretched and damped the more the later they come: a kernel of `length` taps.

    Sub-kernel s has `2^max(s - 1, 0)` times its d taps by linear interpolation and is `decay^s` as large.

    Args:
        weight: `(channels, scales, d)`; `2^(scales - 1) d` must be at least `length`.
        decay: from a scale to the next, a number or `(channels, 1)`.

    Returns:
        `(channels, length)`. It is not normalised.

    Raises:
        ValueError: for a weight of too few scales.

    Source: Li et al., "What makes convolutional models great on long sequence modeling?" (2022, arXiv 2210.09298),
    equation 1.
    """
    if weight.shape[-1] << weight.shape[1] < 2 * length:
        raise ValueError(
            f"weight has shape {tuple(weight.shape)} and length is {length}; expected at least as many taps, which are "
            f"{weight.shape[-1] << weight.shape[1] >> 1}"
        )
    parts, at = [], 0
    for scale, sub_kernel in enumerate(weight.unbind(1)):
        if at >= length:
            break
        parts.append(_stretched(sub_kernel, 2 ** max(scale - 1, 0)) * decay**scale)
        at += parts[-1].shape[-1]
    return torch.cat(parts, -1)[..., :length]


def s4d_kernel(
    log_dt: torch.Tensor, log_decay: torch.Tensor, frequency: torch.Tensor, c: torch.Tensor, length: int
) -> torch.Tensor:
    """The impulse response of diagonal state space models, x' = A x + u, y = 2 Re(C x), held over steps dt (ZOH).

    k[l] = 2 Re sum over n of C_n (exp(dt A_n) - 1) / A_n exp(dt A_n l), with A = -exp(log_decay) + i frequency.

    Args:
        log_dt: `(channels,)`.
        log_decay, frequency: `(channels, N)`, one of each pair of conjugate states.
        c: `(channels, N, 2)`, real and imaginary parts.

    Returns:
        `(channels, length)`.

    Kept for the backward pass are about sqrt(length) powers of each state, no array of all taps' powers.

    Source: Gu et al., "On the parameterization and initialization of diagonal state space models" (2022, arXiv
    2206.11893).
    """
    rate, coefficient = s4d_modes(log_dt, log_decay, frequency, c)
    return Vandermonde(*rate, length, c.dtype).evaluate(*coefficient)


def s4d_modes(log_dt, log_decay, frequency, c):
    """Of each state, as pairs of real and imaginary part, `(channels, N)`, in float64: the exponent a step,
    dt A, and what its power is multiplied by in the kernel, 2 C (exp(dt A) - 1) / A."""
    wide = torch.float32 if c.device.type == "mps" else torch.float64
    log_dt, log_decay, frequency, c = (t.to(wide) for t in (log_dt, log_decay, frequency, c))
    dt, decay = log_dt.exp().unsqueeze(-1), log_decay.exp()
    grown = torch.exp(-dt * decay)
    turn = dt * frequency
    # (exp(dt A) - 1) / A, times the conjugate of A above and below the line.
    re, im = grown * turn.cos() - 1, grown * turn.sin()
    square = decay.square() + frequency.square()
    held_re, held_im = (im * frequency - re * decay) / square, -(re * frequency + im * decay) / square
    c_re, c_im = c.unbind(-1)
    coefficient = 2 * (c_re * held_re - c_im * held_im), 2 * (c_re * held_im + c_im * held_re)
    return (-dt * decay, turn), coefficient


def hyena_window(channels: int, kernel_size: int, *, device=None, dtype=None) -> torch.Tensor:
    """The decay per tap in logarithms, `(channels, 1)`: channels fall to 1 % between 0.3 and 1.5 kernels' lengths.

    Source: Poli et al., "Hyena hierarchy" (2023, arXiv 2302.10866); the two lengths are those of the authors' code.
    """
    rates = torch.linspace(1 / 1.5, 1 / 0.3, channels, device=device, dtype=dtype)
    return (math.log(0.01) / kernel_size) * rates.unsqueeze(-1)


def _stretched(k: torch.Tensor, factor: int) -> torch.Tensor:
    """`factor` times as many taps by linear interpolation, as torch's `interpolate` has it, in sums of a fixed order.

    Tap r of those that tap i becomes stands at i + (r + 1/2) / factor - 1/2.
    """
    if factor == 1:
        return k
    place = (torch.arange(factor, device=k.device, dtype=k.dtype) + 0.5) / factor - 0.5
    before, after = torch.cat([k[:, :1], k[:, :-1]], 1), torch.cat([k[:, 1:], k[:, -1:]], 1)
    k, before, after = (t.unsqueeze(-1) for t in (k, before, after))
    return (k * (1 - place.abs()) + before * (-place).relu() + after * place.relu()).flatten(1)
