"""`torch.nn.Conv1d` for long kernels."""

from __future__ import annotations

import torch
from torch import nn

from .functional import long_conv1d, padding_sides, spread_taps
from .online import OnlineConvolution
from .streaming import Streamable


class LongConv1d(nn.Conv1d, Streamable):
    """`torch.nn.Conv1d` for long kernels: the same parameters, the same results, `state_dict`s that serve both.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation, groups, bias, device, dtype: as torch has them.
        padding: a number, "valid" or "same", as torch has them; or "causal": see `functional.long_conv1d`.
        padding_mode: "zeros".
        flip: convolves, where Conv1d correlates.

    A causal one streams, with a stride too: a block then gives the outputs that fall into it.

    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch._C.Generator ...>
    >>> layer = LongConv1d(2, 3, 1000, padding="causal", stride=4)
    >>> layer(torch.ones(1, 2, 4000)).shape
    torch.Size([1, 3, 1000])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        flip: bool = False,
        device=None,
        dtype=None,
    ):
        if padding_mode != "zeros":
            raise ValueError(f"padding_mode is {padding_mode!r}; expected 'zeros': pad the input and use padding=0")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, 0 if padding == "causal" else padding, dilation, groups,
            bias, device=device, dtype=dtype,
        )  # fmt: skip
        if padding == "causal":
            self.padding = padding
        self.flip = flip
        self._sides()  # a padding that does not exist is told here

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return long_conv1d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups, flip=self.flip
        )

    def init_state(self, batch: int, *, device=None, dtype=None) -> dict:
        """The state before the first sample; `phase` counts the samples since the last output, modulo the stride, and
        is on the CPU, which needs it for every block.

        Raises:
            ValueError: where outputs depend on later samples.
        """
        left, right = self._sides()
        reach = self.dilation[0] * (self.kernel_size[0] - 1)
        if (left, right) != (reach, 0):
            raise ValueError(
                f"LongConv1d with padding {self.padding!r} cannot stream: its outputs do not stand at its newest "
                "sample; expected padding='causal'"
            )
        self.prepare_anew()
        past = self._online().init_state(batch, device=device, dtype=dtype)
        return {"past": past, "phase": torch.zeros(batch, dtype=torch.int64)}

    @torch.no_grad()
    def stream(self, block: torch.Tensor, state: dict) -> tuple[torch.Tensor, dict]:
        phase = self._phase(state["phase"])
        y, state["past"] = self._online().stream(block, state["past"])
        if self.bias is not None:
            y = y + self.bias[:, None].to(y.dtype)
        if (stride := self.stride[0]) > 1:
            y = y[..., -phase % stride :: stride].contiguous()
            state["phase"].add_(block.shape[-1]).remainder_(stride)
        return y, state

    def extra_repr(self) -> str:
        return super().extra_repr() + (", flip=True" if self.flip else "")

    def _sides(self) -> tuple[int, int]:
        return padding_sides(self.padding, self.dilation[0] * (self.kernel_size[0] - 1), self.stride[0])

    def _phase(self, phases) -> int:
        """The samples since the last output, which all items of a batch must have in common."""
        if self.stride[0] == 1 or not len(phases):
            return 0
        if phases.min() != phases.max():
            raise ValueError(
                f"the state's phase is {int(phases.min())} to {int(phases.max())} with stride {self.stride[0]}; "
                "expected sequences that give their outputs at the same samples"
            )
        return int(phases[0])

    def _online(self) -> OnlineConvolution:
        return self.prepared("online", lambda: OnlineConvolution(self._causal_taps()))

    def _causal_taps(self) -> torch.Tensor:
        """The taps from the newest sample back, `(groups, out, in, K)`, or `(channels, K)` where none mix."""
        taps = spread_taps(self.weight if self.flip else self.weight.flip(-1), self.dilation[0])
        if self.groups == self.in_channels == self.out_channels:
            return taps[:, 0]
        return taps.unflatten(0, (self.groups, -1))
