"""A matrix of filters as few calls of `long_conv`."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import torch

from ..convolution import FilterSpectrum, long_conv
from ..routing import FilterMatrix, Path


class Group(NamedTuple):
    """Rows of one call: which inputs they read, to which outputs they go, and their filters' spectra.

    `first` says that nothing has gone to these outputs yet.
    """

    inputs: slice | torch.Tensor
    outputs: slice | torch.Tensor
    spectrum: FilterSpectrum
    first: bool


class Routes:
    """Convolves windows of every input with the filters of a matrix.

    Args:
        matrix: the filters.
        taps: the filters' common length, `max(matrix.taps, 1)`.
        window: samples of the longest window.
        dtype: torch.float32 or torch.float64.
        device: where they are convolved.
    """

    def __init__(self, matrix: FilterMatrix, taps: int, window: int, dtype: torch.dtype, device: torch.device):
        self._offset = taps - 1
        self._groups = [
            Group(
                _places(_distinct([path.input for path in paths], filters), device),
                _places([path.output for path in paths], device),
                FilterSpectrum(_stacked(filters, taps, dtype, device), window, offset=taps - 1),
                first,
            )
            for first, filters, paths in grouped(matrix)
        ]
        reached = {path.output for path in matrix.paths}
        self._silent = [output for output in range(matrix.outputs) if output not in reached]

    def convolve(self, window: torch.Tensor, out: torch.Tensor) -> None:
        """Convolves `(inputs, n + taps - 1)` samples into `(outputs, n)`: those for which all the past is there."""
        for group in self._groups:
            u = window[group.inputs].unsqueeze(0)
            # The filter's last tap at time zero: what a window's first samples lack of the past lies before its start.
            y = long_conv(u, group.spectrum, offset=self._offset)[0, :, : out.shape[-1]]
            if group.first:
                out[group.outputs] = y
            else:
                out[group.outputs] += y
        for output in self._silent:
            out[output] = 0


def grouped(matrix: FilterMatrix) -> list[tuple[bool, list[np.ndarray], list[Path]]]:
    """The calls that a matrix takes: for each whether it is the first for its outputs, its filters, and its paths.

    No two paths of a call lead to one output. Each filter of a call serves equally many paths, which follow each other
    in the filters' order, as `long_conv` shares them.
    """
    by_filter: dict[int, list[Path]] = {}
    for path in matrix.paths:
        by_filter.setdefault(id(path.taps), []).append(path)
    arrived: Counter = Counter()
    rounds: dict[int, dict[int, list[Path]]] = {}
    for key, paths in by_filter.items():
        for path in paths:
            rounds.setdefault(arrived[path.output], {}).setdefault(key, []).append(path)
            arrived[path.output] += 1
    calls = []
    for number, filters in sorted(rounds.items()):
        for users in sorted({len(paths) for paths in filters.values()}):
            alike = [paths for paths in filters.values() if len(paths) == users]
            calls.append((number == 0, [paths[0].taps for paths in alike], [path for paths in alike for path in paths]))
    return calls


def _distinct(inputs: list[int], filters: list) -> list[int]:
    """The inputs that a call reads: one, where each of its filters is to have the same."""
    return inputs[:1] if len(filters) == len(inputs) and len(set(inputs)) == 1 else inputs


def _places(indices: list[int], device: torch.device) -> slice | torch.Tensor:
    """What selects these channels: a slice, which copies nothing, where they follow each other."""
    if indices == list(range(indices[0], indices[0] + len(indices))):
        return slice(indices[0], indices[0] + len(indices))
    return torch.tensor(indices, device=device)


def _stacked(filters: list[np.ndarray], taps: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The filters as `(filters, taps)`, with zeros behind the shorter ones."""
    k = torch.zeros(len(filters), taps, dtype=dtype)
    for row, values in zip(k, filters, strict=True):
        row[: len(values)] = torch.from_numpy(values)
    return k.to(device)
