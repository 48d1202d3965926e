"""Tables that kernels read and the host makes, in float64, rounded once at the end.

Those of the half-precision kernels are made on the device, by a kernel of their own (csrc/half_tables.cuh).
"""

from __future__ import annotations

import numpy as np


def single_tables(n1: int, n2: int, n3: int) -> np.ndarray:
    """The twists of every stage of n1 n2 n3 points, complex64, as csrc/single_tables.cuh lays them out."""
    points = n1 * n2 * n3
    k1 = np.arange(n1)[:, None]
    first_columns = n2 * n3 if n1 > 1 else n3

    def section(radix: int, turns: np.ndarray) -> list[np.ndarray]:
        """Powers c^(4^j) below c^radix of c = e^(-2 pi i turns)."""
        powers = [4**j for j in range(8) if 4**j < radix]
        return [np.exp(-2j * np.pi * power * turns.ravel()) for power in powers]

    return np.concatenate(
        (section(n2, (k1 - 0.25) / (n1 * n2)) if n1 > 1 else [])
        + section(n3, (k1 + n1 * np.arange(n2) - 0.25) / points)
        + section(n2, -np.arange(n3) / (n2 * n3))
        + (section(n1, -np.arange(first_columns) / points) if n1 > 1 else [])
        + [np.exp(-2j * np.pi * np.arange(first_columns) / (4 * points))]
    ).astype(np.complex64)
