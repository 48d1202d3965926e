"""An impulse response of unknown samples, learned from what went into a system and what came out.

Gradient descent alone does not get far: the error's curvature along each frequency is the dry signal's power there,
which at one frequency of music is a small part of what it is at another. `fit` descends along conjugate gradients, each
divided by that power.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ...convolution import long_conv
from ..online import OnlineConvolution
from .configuration import check_integers
from .pretrained import Pretrained

# Energies so much smaller than those at the beginning are float64's rounding.
_ROUNDING = 1e-26


@dataclass(frozen=True)
class FilterEstimatorConfig:
    """What makes a `FilterEstimator`.

    Args:
        sample_rate: of the signals, in hertz.
        taps: of the impulse response, in samples.
        channels: impulse responses, one for each channel of the wet signal.

    Raises:
        ValueError: for a field that is not as expected, by name and value.
    """

    sample_rate: int
    taps: int
    channels: int = 1

    def __post_init__(self):
        check_integers(self, sample_rate=1, taps=1, channels=1)


class FilterEstimator(Pretrained):
    """Dry signals `(B, 1, L)` or `(B, channels, L)` to wet ones `(B, channels, L)`, through the impulse response that
    `fit` learns: `impulse_response`, `(channels, taps)`, zero at first.

    >>> room = torch.tensor([[1.0, 0.5, -0.25]])
    >>> dry = torch.randn(1, 1, 1000)
    >>> estimator = FilterEstimator(FilterEstimatorConfig(sample_rate=16_000, taps=3))
    >>> estimator.fit(dry, long_conv(dry, room))[-1] < -100
    True
    >>> estimator.impulse_response.detach()
    tensor([[ 1.0000,  0.5000, -0.2500]])
    """

    Config = FilterEstimatorConfig

    def __init__(self, config: FilterEstimatorConfig):
        super().__init__()
        self.config = config
        self.impulse_response = nn.Parameter(torch.zeros(config.channels, config.taps))

    def forward(self, dry: torch.Tensor) -> torch.Tensor:
        return long_conv(dry, self.impulse_response)

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        self.prepare_anew()
        return self._online().init_state(batch, device=device, dtype=dtype)

    def stream(self, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
        return self._online().stream(block.expand(-1, self.config.channels, -1), state)

    def _online(self) -> OnlineConvolution:
        return self.prepared("online", lambda: OnlineConvolution(self.impulse_response))

    @torch.no_grad()
    def fit(self, dry: torch.Tensor, wet: torch.Tensor, *, steps: int = 50, snr_db: float = 90.0) -> list[float]:
        """Learns the impulse response from recordings, by preconditioned conjugate gradients on the squared error.

        Args:
            dry: `(B, 1, L)` or `(B, channels, L)`, what went in.
            wet: `(B, channels, L)`, what came out, of the same length; a recording of the tail as well is used where
                the dry one is filled up with zeros.
            steps: at most; each costs one convolution and one gradient.
            snr_db: the wet signal's energy against its noise. Frequencies at which the dry signal says less than the
                noise does are left small.

        Returns:
            The error after each step: the energy of what `forward` is wrong by over that of the wet signal, in dB.

        Raises:
            ValueError: for shapes that do not fit, and a dry signal of zeros.

        The gradients go through `long_conv`, in float64 where the device has it. With A the convolution with the dry
        signal this solves (A'A + r) k = A'wet, where r stands for noise and for taps that are all equally large
        beforehand. The preconditioner is circulant, its eigenvalues the Bartlett spectrum of the dry signal (R. Chan
        and M. Ng, "Conjugate gradient methods for Toeplitz systems", SIAM Review 38, 1996).
        """
        self._check(dry, wet)
        wide = torch.float32 if dry.device.type == "mps" else torch.float64
        dry, wet = dry.detach().to(wide), wet.detach().to(wide)
        energy = dry.square().sum((0, 2))[:, None]  # (1 or channels, 1)
        ridge = energy * (self.config.taps / wet.shape[-1] * 10 ** (-snr_db / 10))
        spectrum = _bartlett_spectrum(dry, self.config.taps) + ridge

        k = self.impulse_response.to(wide)
        left = wet - long_conv(dry, k)
        whole = wet.square().sum()
        r = _adjoint(dry, left, k) - ridge * k
        direction, before, first, errors = torch.zeros_like(k), None, None, []
        for _ in range(steps):
            z = _divided(r, spectrum)
            descent = (r * z).sum(-1, keepdim=True)
            direction = z if before is None else z + _ratio(descent, before) * direction
            before, first = descent, descent if first is None else first
            heard, curved = _normal(dry, direction)
            curved += ridge * direction
            step = _ratio(descent, (direction * curved).sum(-1, keepdim=True))
            k, r, left = k + step * direction, r - step * curved, left - step * heard
            error = _ratio(left.square().sum(), whole)
            errors.append(10 * float(torch.log10(error)))
            if (descent <= _ROUNDING * first).all():
                break
        self.impulse_response.copy_(k)
        return errors

    def _check(self, dry, wet) -> None:
        channels = self.config.channels
        if wet.ndim != 3 or wet.shape[1] != channels:
            raise ValueError(f"wet has shape {tuple(wet.shape)}; expected (batch, {channels}, samples)")
        if dry.ndim != 3 or dry.shape[1] not in (1, channels) or dry.shape[::2] != wet.shape[::2]:
            raise ValueError(
                f"dry has shape {tuple(dry.shape)} and wet {tuple(wet.shape)}; expected as many items and samples, "
                f"and 1 or {channels} channels"
            )
        if not dry.any():
            raise ValueError("dry is all zeros, which tells nothing of an impulse response")


def _normal(dry, k):
    """A k and A'A k: the convolution, and the gradient of half its energy."""
    with torch.enable_grad():
        k = k.detach().requires_grad_()
        y = long_conv(dry, k)
        (gradient,) = torch.autograd.grad(y, k, y.detach())
    return y.detach(), gradient


def _adjoint(dry, y, k):
    """A'y, the gradient of <y, A k>."""
    with torch.enable_grad():
        k = k.detach().requires_grad_()
        return torch.autograd.grad(long_conv(dry, k), k, y)[0]


def _bartlett_spectrum(dry, taps: int):
    """The dry signal's energy at each frequency of a circle of twice the taps, `(1 or channels, taps + 1)`."""
    size = dry.shape[-1] + taps
    lags = torch.fft.irfft(torch.fft.rfft(dry, size).abs().square().sum(0), size)[:, : taps + 1]
    lags = F.pad(lags, (0, taps + 1 - lags.shape[-1])) * torch.linspace(1, 0, taps + 1).to(lags)
    return torch.fft.rfft(torch.cat([lags, lags[:, 1:-1].flip(-1)], -1)).real.clamp(min=0)


def _divided(r, spectrum):
    taps = r.shape[-1]
    return torch.fft.irfft(torch.fft.rfft(r, 2 * taps) / spectrum, 2 * taps)[:, :taps]


def _ratio(a, b):
    """a / b, and 0 where both are: of a channel that has come to its end, or is silent."""
    return torch.where(b > 0, a / b, torch.zeros_like(a))
