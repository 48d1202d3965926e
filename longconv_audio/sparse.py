"""Frequency-sparse convolution: what chooses a mask over a filter's spectrum, and what it costs.

`long_conv(u, k, mask=mask)` convolves with what a mask leaves of a filter, y = Re T^-1(mask T(k) T(u)), and gives k the
gradient of just that: a filter trained with a mask has no energy elsewhere. The idea, and that whole parts of a Monarch
transform fall away, is that of Fu, Kumbong, Nguyen and Re, "FlashFFTConv" (ICLR 2024, arXiv 2311.05908).
`frequency_mask` says what T and the blocks of a mask are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from .arguments import check_filter, check_tensors
from .frequency_mask import BANDS, LEAST_POINTS, FrequencyMask, bin_frequencies, block_of_bins


class SparsityReport(NamedTuple):
    """What a mask does to filters.

    Args:
        error_db: the energy of what is dropped of their spectra against that of the whole: what an output is wrong by
            on average, where the input is white. Minus infinity where nothing is.
        kept, skipped: the shares of bins that are kept, and of units that cost nothing.
        added: bins that are kept for the sake of others in their block.
    """

    error_db: float
    kept: float
    skipped: float
    added: int


def sparsify(k: torch.Tensor, *, keep: float = 0.25, length: int | None = None) -> tuple[FrequencyMask, SparsityReport]:
    """The mask of the units with the most energy of all filters together.

    A filter that has not been trained with the mask has about as much energy in each unit, for a unit is a comb all
    over the spectrum. The report says what that costs.

    Args:
        k: `(F, K)` or `(B, F, K)`.
        keep: the share of units to keep, above 0, up to 1; rounded up.
        length: samples of the rows that will be convolved; K by default.

    Returns:
        The mask, on k's device, and a `SparsityReport`.

    Raises:
        ValueError: for another keep or length.

    >>> mask, report = sparsify(torch.ones(1, 4096), keep=0.25)
    >>> mask.skipped, round(report.error_db, 1)
    (0.75, -13.2)
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep is {keep}; expected the share of units to keep, above 0 and at most 1")
    points, energy = _energies(k, length)
    count = FrequencyMask.units(points)
    of_unit = torch.zeros(count * BANDS, dtype=energy.dtype).index_add_(0, block_of_bins(points), energy)
    best = of_unit.view(count, BANDS).sum(1).topk(math.ceil(keep * count)).indices
    blocks = torch.zeros(count, BANDS, dtype=torch.bool)
    blocks[best] = True
    mask = FrequencyMask(points, blocks.to(k.device))
    return mask, _report(mask, energy)


def band(
    k: torch.Tensor, low: float, high: float, sample_rate: float, *, length: int | None = None
) -> tuple[FrequencyMask, SparsityReport]:
    """The mask of the blocks that have a frequency of a band, for filters that are band-limited, or are to be.

    A band has bins in every unit, so that no kernel is the faster for it: what it gives is the filter.

    Args:
        k: `(F, K)` or `(B, F, K)`.
        low, high: the band's edges in hertz, both in it.
        sample_rate: in hertz.
        length: samples of the rows that will be convolved; K by default.

    Returns:
        The mask, on k's device, and a `SparsityReport`.

    Raises:
        ValueError: for edges that are not in order between 0 and half the sample rate, or a wrong length.
    """
    if not 0 <= low <= high <= sample_rate / 2:
        raise ValueError(
            f"low is {low} Hz and high {high} Hz at a sample rate of {sample_rate} Hz; expected 0 <= low <= high <= "
            f"{sample_rate / 2} Hz"
        )
    points, energy = _energies(k, length)
    frequency, spacing = bin_frequencies(points).abs() * sample_rate, sample_rate / points
    mask = FrequencyMask.from_bins((frequency > low - spacing) & (frequency < high + spacing)).to(k.device)
    return mask, _report(mask, energy)


def _energies(k: torch.Tensor, length: int | None):
    """The points for rows of `length` samples, and the energy of all filters in each bin, `(M,)`, float64."""
    check_tensors(k=k)
    check_filter(k)
    length = k.shape[-1] if length is None else length
    if length < 1:
        raise ValueError(f"length is {length}; expected the number of samples of a signal, at least 1")
    points = max(1 << (length - 1).bit_length(), LEAST_POINTS)
    device = "cpu" if k.device.type == "mps" else k.device  # which has no double precision
    angle = torch.arange(min(length, k.shape[-1]), dtype=torch.float64, device=device) * (math.pi / (2 * points))
    twist = torch.complex(angle.cos(), angle.sin())
    energy = torch.zeros(points, dtype=torch.float64, device=device)
    for filters in k.detach().to(device).reshape(-1, k.shape[-1])[:, :length].split(1 << 6):
        energy += torch.fft.fft(filters * twist, points).abs().square().sum(0)
    return points, energy.cpu()


def _report(mask: FrequencyMask, energy) -> SparsityReport:
    dropped, whole = float(energy[~mask.bins.cpu()].sum()), float(energy.sum())
    error = 10 * math.log10(dropped / whole) if dropped > 0 else -math.inf
    return SparsityReport(error, 1 - mask.zeros, mask.skipped, mask.added)
