"""Layers whose kernels may keep a part of their spectrum."""

from __future__ import annotations

import torch

from ..frequency_mask import FrequencyMask
from ..sparse import SparsityReport, sparsify
from .streaming import Streamable


class MaskedLayer(Streamable):
    """A layer with kernels and perhaps a mask on their spectra. Subclasses give `kernel`, and call `set_mask` once.

    The mask is the attribute `mask`; in the layer's `state_dict` it is `mask_bins`, where there is one. What it leaves
    of a kernel goes round a circle, so that a layer with a mask is not causal, and takes inputs up to its points.
    """

    mask: FrequencyMask | None = None
    kernel_size: int | None

    def kernel(self, length: int | None = None) -> torch.Tensor:
        """The kernels' taps, `(..., channels, kernel_size)`, and of more than `length` only the first."""
        raise NotImplementedError

    def set_mask(self, mask: FrequencyMask | None, device=None) -> None:
        """Masks the spectra from now on, or no longer; on another device than the mask's, if one is given."""
        if mask is not None and not isinstance(mask, FrequencyMask):
            raise TypeError(f"mask is a {type(mask).__name__}; expected a FrequencyMask: see FrequencyMask.from_bins")
        self.mask = mask = mask if mask is None or device is None else mask.to(device)
        self.register_buffer("mask_bins", None if mask is None else mask.bins)

    def sparsify_(self, *, keep: float = 0.25, length: int | None = None) -> SparsityReport:
        """Masks the spectra from now on, keeping the units where the present kernels have the most energy.

        Args:
            keep: the share of units to keep, above 0, up to 1.
            length: samples of the longest input to come; `kernel_size` by default.

        Returns:
            What that costs: see `longconv_audio.sparsify`.
        """
        taps = self.kernel(length if self.kernel_size is None else None)
        mask, report = sparsify(taps, keep=keep, length=length)
        self.set_mask(mask)
        return report

    def check_streams(self) -> None:
        """Raises ValueError where the layer has no streaming form as it is now."""
        if self.mask is not None:
            raise ValueError(
                f"{type(self).__name__} has a frequency mask and cannot stream: what a mask leaves of a kernel goes "
                "round a circle, so that each output depends on later inputs"
            )

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        if self.mask is not None and self.mask_bins.device.type != "meta":
            self.set_mask(self.mask.to(self.mask_bins.device))
        return self

    def _load_from_state_dict(self, state_dict, prefix, *args):
        bins = state_dict.get(prefix + "mask_bins")
        if bins is not None:
            device = next((p.device for p in self.parameters() if p.device.type != "meta"), bins.device)
            self.set_mask(FrequencyMask.from_bins(bins.to(device)))
        super()._load_from_state_dict(state_dict, prefix, *args)


def made_in_full_precision(make, length: int, like: torch.Tensor) -> torch.Tensor:
    """The `length` taps that `make` gives, in their parameters' precision also under autocast."""
    device = like.device.type
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            return make(length)
    return make(length)
