"""Diagonal state space models: a kernel from the impulse response of many resonances, or a recurrence."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..convolution import FilterSpectrum, long_conv
from ..frequency_mask import FrequencyMask
from .checks import check_count
from .kernel_layer import KernelLayer
from .kernels import s4d_kernel, s4d_modes
from .vandermonde import Vandermonde

INITIALISATIONS = ("lin", "inv")
# Block sizes whose powers are kept while streaming, each of at most so many samples.
_FORMS, _FORM_SAMPLES = 8, 1 << 14


class S4D(KernelLayer):
    """A diagonal state space model for each channel, and a skip term.

    Args:
        channels: of the input and of the output, `(batch, channels, time)`.
        state_size: states of a channel, in conjugate pairs of which one is computed with; even.
        kernel_size: taps of the impulse response that count; None for all that there are samples for, so that the
            layer streams by its recurrence.
        initialisation: "lin" for frequencies at equal distances, "inv" for those of the HiPPO matrix, approximately.
        dt_min, dt_max: the range of the steps at the start, drawn log-uniformly.
        dynamics_lr: the learning rate of the steps and the states' poles; see `parameter_groups`, where these get no
            weight decay.
        skip, mask: see `KernelLayer`.

    Source: Gu et al., "On the parameterization and initialization of diagonal state space models" (2022, arXiv
    2206.11893).

    >>> layer = S4D(4, state_size=16)
    >>> layer(torch.ones(2, 4, 3000)).shape
    torch.Size([2, 4, 3000])
    """

    def __init__(
        self,
        channels: int,
        state_size: int = 64,
        kernel_size: int | None = None,
        *,
        initialisation: str = "lin",
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        dynamics_lr: float = 0.001,
        skip: bool = True,
        mask: FrequencyMask | None = None,
        device=None,
        dtype=None,
    ):
        if check_count("state_size", state_size, 2) % 2:
            raise ValueError(f"state_size is {state_size}; expected an even number of states")
        if initialisation not in INITIALISATIONS:
            raise ValueError(f"initialisation is {initialisation!r}; expected one of {', '.join(INITIALISATIONS)}")
        if not 0 < dt_min <= dt_max:
            raise ValueError(f"dt_min is {dt_min} and dt_max {dt_max}; expected 0 < dt_min <= dt_max")
        super().__init__(channels, kernel_size, skip=skip, mask=mask, device=device, dtype=dtype)
        self.state_size, self.initialisation, self.dynamics_lr = state_size, initialisation, dynamics_lr
        self.dt_min, self.dt_max = dt_min, dt_max
        pairs = state_size // 2
        self.log_dt = nn.Parameter(torch.empty(channels, device=device, dtype=dtype))
        self.log_decay = nn.Parameter(torch.empty(channels, pairs, device=device, dtype=dtype))
        self.frequency = nn.Parameter(torch.empty(channels, pairs, device=device, dtype=dtype))
        self.c = nn.Parameter(torch.empty(channels, pairs, 2, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new steps, output weights and weights of the skip term, and sets the poles."""
        with torch.no_grad():
            self.log_dt.uniform_(math.log(self.dt_min), math.log(self.dt_max))
            self.log_decay.fill_(math.log(0.5))
            n = torch.arange(self.state_size // 2, device=self.c.device, dtype=self.c.dtype)
            size = self.state_size
            lin, inv = math.pi * n, size / math.pi * (size / (2 * n + 1) - 1)
            self.frequency.copy_(lin if self.initialisation == "lin" else inv)
            self.c.normal_(std=math.sqrt(0.5))
            if self.d is not None:
                self.d.normal_()

    def parameter_options(self, lr: float) -> dict[str, dict]:
        """What an optimiser is to do with the dynamics; see `parameter_groups`."""
        return {
            name: {"lr": min(self.dynamics_lr, lr), "weight_decay": 0.0}
            for name in ("log_dt", "log_decay", "frequency")
        }

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        """Where there is a `kernel_size`, that of a convolution; else `{"modes"}`, `(batch, channels, pairs, 2)`."""
        if self.kernel_size is not None:
            return super().init_state(batch, device=device, dtype=dtype)
        self.check_streams()
        self.prepare_anew()
        device = torch.device(device or self.c.device)
        # In float32 the powers of a step's factor would drift from those of the kernel.
        wide = torch.float32 if device.type == "mps" else torch.float64
        return {"modes": torch.zeros(batch, *self.c.shape, device=device, dtype=wide)}

    @torch.no_grad()
    def stream(self, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
        if self.kernel_size is not None:
            return super().stream(block, state)
        self.check_channels(block)
        modes = state["modes"]
        if modes.shape != (len(block), *self.c.shape):
            raise ValueError(
                f"the state's modes have shape {tuple(modes.shape)} and block {tuple(block.shape)}; expected "
                f"{(len(block), *self.c.shape)}, as of this layer and batch"
            )
        u = block.to(torch.promote_types(block.dtype, torch.float32))
        with torch.autocast(block.device.type, enabled=False):
            if block.shape[-1] == 0:
                return block.clone(), state
            y = self._step(u, modes) if block.shape[-1] == 1 else self._block(u, modes)
        return y.to(block.dtype), state

    def _kernel(self, length: int) -> torch.Tensor:
        return s4d_kernel(self.log_dt, self.log_decay, self.frequency, self.c, length)

    def _step(self, u, modes):
        """s = z s + u, y = Re(c s) + d u."""
        z, c = self.prepared("step", self._step_form)
        states = torch.view_as_complex(modes).mul_(z).add_(u)
        y = (states * c).real.sum(-1, keepdim=True)
        return y if self.d is None else y + self.d[:, None] * u

    def _step_form(self):
        (decay, turn), coefficient = s4d_modes(self.log_dt, self.log_decay, self.frequency, self.c)
        return torch.polar(decay.exp(), turn), torch.complex(*coefficient)

    def _block(self, u, modes):
        """The block's own convolution, and what the states before it go on to give."""
        taps, powers, (c_re, c_im), (z_re, z_im) = self._block_form(u.shape[-1], u.dtype)
        re, im = modes.unbind(-1)
        rest = powers.evaluate(c_re * re - c_im * im, c_re * im + c_im * re)
        y = long_conv(u, taps, d=self.d).add_(rest)
        new_re, new_im = powers.project(u.flip(-1))
        new_re, new_im = new_re + z_re * re - z_im * im, new_im + z_re * im + z_im * re
        modes.copy_(torch.stack([new_re, new_im], -1))
        return y

    def _block_form(self, n: int, dtype):
        """For n samples: the taps' spectrum, the powers, what a state gives to the next output, and z^n."""
        forms = self.prepared("blocks", dict)
        if (n, dtype) in forms:
            return forms[n, dtype]
        form = self._new_block_form(n, dtype)
        if n <= _FORM_SAMPLES:
            if len(forms) == _FORMS:
                forms.clear()
            forms[n, dtype] = form
        return form

    def _new_block_form(self, n: int, dtype):
        (decay, turn), (c_re, c_im) = s4d_modes(self.log_dt, self.log_decay, self.frequency, self.c)
        grown = torch.complex(c_re, c_im) * torch.polar(decay.exp(), turn)
        end = torch.polar((n * decay).exp(), n * turn)
        taps, powers = FilterSpectrum(self.kernel(n).to(dtype), n), Vandermonde(decay, turn, n, dtype)
        return taps, powers, (grown.real, grown.imag), (end.real, end.imag)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, state_size={self.state_size}, initialisation={self.initialisation!r}"
