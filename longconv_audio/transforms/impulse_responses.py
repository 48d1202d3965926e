"""Convolution with one impulse response, or with a random one for each item of a batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from longconv_audio.convolution import long_conv
from longconv_audio.errors import OptionError, UnreadableError

from .random_transforms import Generators, RandomTransform, check_batch, draw

NORMALISATIONS = ("none", "peak", "l2")
_SUFFIXES = (".wav", ".wave", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".caf", ".w64", ".npy")


class Convolve(nn.Module):
    """Convolves a batch with one impulse response.

    Args:
        ir: taps `(K,)` or `(1, K)` for all channels, `(channels, K)` for each its own; or a file.
        sample_rate: of the data in hertz, to which a file is resampled; None takes it as it is.
        leave_length_unchanged: the output is as long as the input; False adds the tail of K - 1 samples.
        compensate_for_propagation_delay: the largest tap stands at time zero, and what would come before the first
            sample is left out.
        normalize: "none" applies the taps as they are; "peak" makes the largest 1, "l2" the energy of the channel that
            has most of it.

    >>> Convolve(torch.tensor([0.0, 2.0]))(torch.tensor([[[1.0, 2.0, 3.0]]])).round(decimals=4)
    tensor([[[0., 2., 4.]]])
    """

    def __init__(
        self,
        ir: Any,
        sample_rate: int | None = None,
        *,
        leave_length_unchanged: bool = True,
        compensate_for_propagation_delay: bool = False,
        normalize: str = "none",
    ):
        super().__init__()
        taps, self.origin = _read(ir, sample_rate, normalize)
        if compensate_for_propagation_delay:
            self.origin = int(np.abs(taps).max(axis=0).argmax())
        self.leave_length_unchanged = leave_length_unchanged
        self.register_buffer("ir", torch.tensor(taps, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The batch `(batch, channels, samples)` through the filter, in x's dtype."""
        check_batch(x)
        if len(self.ir) not in (1, x.shape[1]):
            raise ValueError(
                f"x has {x.shape[1]} channels and the IR {len(self.ir)}; expected equal counts, or an IR of one channel"
            )
        return _convolve(x, self.ir.to(x.device), self.origin, self.leave_length_unchanged)


class RandomImpulseResponse(RandomTransform):
    """Convolves each item of a batch with an impulse response of its own, drawn at random, all in one call.

    Args:
        irs: a folder of audio files or .npy arrays; a list of files and of taps `(K,)` or `(channels, K)`; or a
            function that draws, `(batch, generator, device) -> (batch, K)` with an attribute `taps` (K), such as
            `SyntheticRooms`. Each channel of a given impulse response is a filter, applied to all channels of an item.
        sample_rate: of the data in hertz, to which files are resampled; None takes them as they are.
        p: the probability for an item.
        leave_length_unchanged: the output is as long as the input; False adds a tail of K - 1 samples, with K taps of
            the longest filter.
        compensate_for_propagation_delay: the largest tap of each filter stands at time zero, and what would come
            before the first sample is left out. Filters that are drawn by a function have the direct sound at tap 0.
        normalize: "none" applies the filters as they are; "peak" makes the largest tap of each 1, "l2" its energy.

    >>> rooms = RandomImpulseResponse([torch.tensor([1.0, 0.5]), torch.tensor([0.0, 3.0])], p=1.0)
    >>> rooms(torch.eye(1, 4).expand(5, 2, 4)).shape
    torch.Size([5, 2, 4])
    """

    def __init__(
        self,
        irs: str | os.PathLike | Sequence | Callable,
        sample_rate: int | None = None,
        p: float = 0.5,
        *,
        leave_length_unchanged: bool = True,
        compensate_for_propagation_delay: bool = False,
        normalize: str = "none",
    ):
        super().__init__(p)
        self.leave_length_unchanged = leave_length_unchanged
        self.generate = irs if callable(irs) else None
        if self.generate is None:
            filters, self.origin = _bank(irs, sample_rate, compensate_for_propagation_delay, normalize)
            self.register_buffer("filters", filters)
            return
        if compensate_for_propagation_delay or normalize != "none":
            raise OptionError(
                "compensate_for_propagation_delay and normalize are for given impulse responses; a function that "
                "draws them places and scales them itself"
            )
        self.filters, self.origin = None, 0

    def transform(self, x: torch.Tensor, generator: Generators) -> torch.Tensor:
        return _convolve(x, self._draw(x, generator).unsqueeze(1), self.origin, self.leave_length_unchanged)

    def leave(self, x: torch.Tensor) -> torch.Tensor:
        if self.leave_length_unchanged:
            return x
        taps = self.generate.taps if self.filters is None else self.filters.shape[-1]
        return nn.functional.pad(x, (0, taps - 1 - self.origin))

    def _draw(self, x: torch.Tensor, generator: Generators) -> torch.Tensor:
        """The filters, (B K)."""
        if self.generate is not None:
            return self.generate(len(x), generator, x.device)

        def one(count, generator):
            device = "cpu" if generator is None else generator.device
            return torch.randint(len(self.filters), (count,), generator=generator, device=device)

        return self.filters[draw(one, len(x), generator).to(self.filters.device)].to(x.device)


def _convolve(x: torch.Tensor, k: torch.Tensor, origin: int, leave_length_unchanged: bool) -> torch.Tensor:
    """The convolution from time zero on, where the tap `origin` stands."""
    if leave_length_unchanged:
        return long_conv(x, k, offset=origin)
    # "full" begins at time -origin.
    return long_conv(x, k, mode="full", offset=origin)[..., origin:]


def _bank(irs, sample_rate, compensate: bool, normalize: str) -> tuple[torch.Tensor, int]:
    """All filters, (N K), padded so that time zero is at the same tap of each; and that tap."""
    if isinstance(irs, (str, os.PathLike)):
        irs = _files(Path(irs))
    if len(irs) == 0:
        raise OptionError("irs is empty; expected at least one impulse response")
    filters = []
    for ir in irs:
        taps, origin = _read(ir, sample_rate, normalize, each=True)
        filters += [(row, int(np.abs(row).argmax()) if compensate else origin) for row in taps]
    before = max(origin for _, origin in filters)
    after = max(len(row) - origin for row, origin in filters)
    bank = np.zeros((len(filters), before + after), np.float32)
    for row, (taps, origin) in zip(bank, filters, strict=True):
        row[before - origin : before - origin + len(taps)] = taps
    return torch.from_numpy(bank), before


def _files(folder: Path) -> list[Path]:
    """The impulse responses in a folder and below, in the order of their names."""
    if not folder.is_dir():
        raise UnreadableError(f"{folder}: no such folder; expected one with impulse responses")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not found:
        raise UnreadableError(f"{folder}: holds no impulse responses; expected audio files (.wav, .flac, ...) or .npy")
    return found


def _read(ir, sample_rate: int | None, normalize: str, each: bool = False) -> tuple[np.ndarray, int]:
    """The taps, `(channels, K)` in float64, scaled together or each channel by itself; and the tap at time zero."""
    if normalize not in NORMALISATIONS:
        raise OptionError(f"normalize is {normalize!r}; expected one of {', '.join(NORMALISATIONS)}")
    name, origin = "the IR", 0
    if isinstance(ir, (str, os.PathLike)):
        from longconv_audio.audio_io import read_ir

        read = read_ir(ir, samplerate=sample_rate)
        taps, origin, name = read.taps, read.origin, read.name
    else:
        if isinstance(ir, torch.Tensor):  # NumPy has no bfloat16
            ir = ir.detach().cpu().to(torch.promote_types(ir.dtype, torch.float64)).numpy()
        taps = np.asarray(ir)
        if np.iscomplexobj(taps):
            raise ValueError(f"{name} is {taps.dtype}; expected real taps")
        taps = taps.astype(np.float64)
    taps = np.atleast_2d(taps)
    if taps.ndim != 2 or taps.size == 0:
        raise ValueError(f"{name} has shape {taps.shape}; expected (K,) or (channels, K) with K of 1 or more")
    sizes = np.abs(taps).max(axis=1) if normalize == "peak" else np.linalg.norm(taps, axis=1)
    if not np.all(np.isfinite(sizes)):
        raise ValueError(f"{name} has NaN or infinity among its taps; expected numbers")
    sizes = sizes if each else sizes.max(keepdims=True)
    if not np.all(sizes > 0):
        what = f"channel {int(np.argmin(sizes)) + 1} of {len(taps)}" if each and len(taps) > 1 else "it"
        raise OptionError(f"{name}: all taps of {what} are zero, so the output would be silence: leave it out")
    return (taps if normalize == "none" else taps / sizes[:, None]), origin
