"""Several filters in one, and one in several: in series, mixed, and as the channels of a file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from longconv_audio.errors import MismatchError, OptionError
from longconv_audio.routing import DEFAULT_ORDER, cascade, parse_order, route

from .gains import gain_of


def combine(filters: Sequence[np.ndarray], order: str | None = None) -> np.ndarray:
    """One filter that does what several do in series.

    Args:
        filters: each (taps,) or (channels, taps), the one nearest the input first. A filter of one channel serves
            every channel; the others have the same number.
        order: None takes channels as parallel. "LL,LR,RL,RR", or another order of these, takes four channels as true
            stereo, each from input to output; filters of two channels then go straight through.

    Returns:
        (channels, taps), one tap shorter than the filters together for each pair.

    Raises:
        MismatchError: the channels do not fit.

    >>> combine([np.array([1.0, 2.0]), np.array([[1.0, 1.0], [0.0, 3.0]])])
    array([[1., 3., 2.],
           [0., 3., 6.]])
    """
    rows = _rows(filters)
    counts = [len(row) for row in rows]
    width = max(counts)
    if order is not None:
        pairs = parse_order(order)
        if 4 not in counts or not {1, 2, 4}.issuperset(counts):
            raise MismatchError(
                f"true-stereo filters in series, of {_listed(counts)} channels: expected 4, with 2 or 1"
            )
        width = 2
    elif not {1, width}.issuperset(counts):
        hint = "; pass --true-stereo if the four lead LL,LR,RL,RR" if {1, 2, 4}.issuperset(counts) else ""
        raise MismatchError(f"filters in series, of {_listed(counts)} channels: expected as many in each, or 1{hint}")
    modes = {1: "mono", 4: "true-stereo"} if order is not None else {1: "mono"}
    matrices = [route(row, width, modes.get(len(row), "parallel"), order or DEFAULT_ORDER) for row in rows]
    found = {(path.input, path.output): path.taps for path in reduce(cascade, matrices).paths}
    if order is None:
        pairs = [(channel, channel) for channel in range(width)]
    return np.stack([found[pair] for pair in pairs])


def split(h: np.ndarray, parts: int, order: str = DEFAULT_ORDER) -> list[np.ndarray]:
    """The channels of a filter, in several.

    Args:
        h: (channels, taps).
        parts: how many. Two of four channels are the pairs of a true-stereo filter: what leads from the left input to
            both outputs, and what leads from the right one. Else the channels are dealt out in their order.
        order: of true stereo, each from input to output.

    Returns:
        `parts` arrays of (channels / parts, taps).

    Raises:
        MismatchError: the channels cannot be dealt out evenly.

    >>> left, right = split(np.arange(4.0)[:, None], 2, "LL,RL,LR,RR")
    >>> left[:, 0], right[:, 0]
    (array([0., 2.]), array([1., 3.]))
    """
    h = np.atleast_2d(np.asarray(h, dtype=np.float64))
    if parts < 1 or len(h) % parts:
        raise MismatchError(f"{len(h)} channels in {parts} parts: expected a number of parts that divides them evenly")
    pairs = parse_order(order)
    if (len(h), parts) == (4, 2):
        h = h[[pairs.index((i, o)) for i in (0, 1) for o in (0, 1)]]
    return list(h.reshape(parts, -1, h.shape[-1]))


def join(filters: Sequence[np.ndarray], order: str = DEFAULT_ORDER) -> np.ndarray:
    """The channels of several filters in one: what `split` takes apart.

    Args:
        filters: each (taps,) or (channels, taps); shorter ones get zeros behind. Two of two channels become true
            stereo: the first is what leads from the left input to both outputs.
        order: of true stereo, each from input to output.

    Returns:
        (all channels, taps).
    """
    rows = _rows(filters)
    pairs = parse_order(order)
    joined = np.zeros((sum(map(len, rows)), max(row.shape[-1] for row in rows)))
    place = 0
    for row in rows:
        joined[place : place + len(row), : row.shape[-1]] = row
        place += len(row)
    if [len(row) for row in rows] == [2, 2]:
        joined = joined[[2 * i + o for i, o in pairs]]
    return joined


def mix(filters: Sequence[np.ndarray], gains_db: Sequence[float], delays: Sequence[int]) -> np.ndarray:
    """The sum of several filters, each with a gain and a delay.

    Args:
        filters: each (taps,) or (channels, taps), all of the same number of channels.
        gains_db: one for each.
        delays: in samples, one for each.

    Returns:
        (channels, taps).

    Raises:
        MismatchError: filters of different numbers of channels.

    >>> mix([np.ones(2), np.ones(2)], [0, 20], [0, 1])
    array([[ 1., 11., 10.]])
    """
    rows = _rows(filters)
    counts = [len(row) for row in rows]
    if len(set(counts)) > 1:
        raise MismatchError(
            f"mixing filters of {_listed(counts)} channels: expected as many in each; longconv ir join a.wav a.wav "
            "makes two channels of one"
        )
    if not len(rows) == len(gains_db) == len(delays):
        raise OptionError(
            f"mixing {len(rows)} filters with {len(gains_db)} gains and {len(delays)} delays: expected one of each"
        )
    if min(delays) < 0:
        raise OptionError(f"a delay of {min(delays)} samples: expected 0 or more")
    mixed = np.zeros((counts[0], max(row.shape[-1] + delay for row, delay in zip(rows, delays, strict=True))))
    for row, gain, delay in zip(rows, gains_db, delays, strict=True):
        mixed[:, delay : delay + row.shape[-1]] += gain_of(gain) * row
    return mixed


def _rows(filters: Sequence[np.ndarray]) -> list[np.ndarray]:
    if not filters:
        raise OptionError("no filters: expected at least one")
    rows = [np.atleast_2d(np.asarray(h, dtype=np.float64)) for h in filters]
    for row in rows:
        if row.ndim != 2 or row.size == 0:
            raise OptionError(f"a filter of shape {row.shape}: expected (taps,) or (channels, taps)")
    return rows


def _listed(counts: list[int]) -> str:
    return ", ".join(map(str, counts[:-1])) + f" and {counts[-1]}" if len(counts) > 1 else str(counts[0])
