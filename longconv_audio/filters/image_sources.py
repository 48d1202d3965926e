"""The images of a source in a box's walls, and the impulse response that they add up to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.sparse import csc_array
from scipy.special import i0

# Images that are worked on at a time: what they need stays in the processor's cache.
BLOCK = 1 << 16

# Impulses are spread over a grid of twice the sample rate by a Kaiser-Bessel kernel of this many points, whose
# transform is divided out again: 1e-9 is left of the impulses' images on the grid (J. I. Jackson et al., "Selection of
# a convolution function for Fourier inversion using gridding", IEEE Trans. Med. Imaging 10(3), 1991).
SPREAD = 10
SHAPE = 2.3 * SPREAD
DEGREE = 12  # of the polynomials for the kernel: within 1e-13 of its top

# An impulse in the result is a sinc of a little less than the bandwidth, in a Kaiser window of this many samples to
# either side. Up to 0.9 of half the sample rate its gain is 1 within 5e-5, and its delay exact.
REACH = 64
WINDOW_SHAPE = 8.6
TRANSITION = 0.045


@dataclass(frozen=True)
class Axis:
    """A source's images along one axis of the box.

    Args:
        places: (images,), in metres.
        gains: (bands, images), what the reflections leave of the amplitude.
        orders: (images,), how many reflections they stand for.
    """

    places: np.ndarray
    gains: np.ndarray
    orders: np.ndarray


def images_along(width: float, place: float, reflection: np.ndarray, farthest: float, max_order: int | None) -> Axis:
    """The images of a source between two parallel walls.

    They lie at (1 - 2 q) place + 2 m width with |m - q| reflections from the wall at 0 and |m| from the other (J. B.
    Allen, D. A. Berkley, "Image method for efficiently simulating small-room acoustics", JASA 65(4), 1979).

    Args:
        width: between the walls, in metres.
        place: of the source, from the wall at 0.
        reflection: (2, bands), the walls' reflection factors of amplitude.
        farthest: images farther from the box than this are left out, in metres.
        max_order: and those of more reflections than this.
    """
    most = int((farthest + width) / (2 * width)) + 1
    if max_order is not None:
        most = min(most, (max_order + 1) // 2)
    m = np.repeat(np.arange(-most, most + 1), 2)
    q = np.tile([0, 1], 2 * most + 1)
    near, far = np.abs(m - q), np.abs(m)
    gains = reflection[0][:, None] ** near * reflection[1][:, None] ** far
    return Axis((1 - 2 * q) * place + 2 * m * width, gains, near + far)


def images_of(
    axes: list[Axis], receiver: np.ndarray, farthest: float, max_order: int | None, block: int = BLOCK
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All images within reach of a receiver, in blocks.

    Args:
        axes: three.
        receiver: (3,), in metres.
        farthest: distance in metres.
        max_order: reflections at the most; None for any number.
        block: how many at a time, at the least.

    Yields:
        their distances (n,), and their amplitudes (bands, n) without the spreading over the distance.
    """
    x, y, z = axes
    far_x, far_y, far_z = ((axis.places - place) ** 2 for axis, place in zip(axes, receiver, strict=True))
    plane, plane_order = far_y[:, None] + far_z, y.orders[:, None] + z.orders
    distances, amplitudes, waiting = [], [], 0
    for index, along in enumerate(far_x):
        within = plane <= farthest**2 - along
        if max_order is not None:
            within &= plane_order <= max_order - x.orders[index]
        of_y, of_z = np.nonzero(within)
        if not len(of_y):
            continue
        distances.append(np.sqrt(plane[of_y, of_z] + along))
        amplitudes.append(x.gains[:, index, None] * y.gains[:, of_y] * z.gains[:, of_z])
        waiting += len(of_y)
        if waiting >= block:
            yield np.concatenate(distances), np.concatenate(amplitudes, axis=1)
            distances, amplitudes, waiting = [], [], 0
    if waiting:
        yield np.concatenate(distances), np.concatenate(amplitudes, axis=1)


class Impulses:
    """Impulses at any instants, band by band, that become one impulse response.

    Args:
        taps: of the result.
        bands: how many amplitudes an impulse has.
        room: samples that what is done to the spectrum rings on for.
    """

    def __init__(self, taps: int, bands: int, room: int):
        self._taps = taps
        self._size = scipy.fft.next_fast_len(taps + 2 * max(room, REACH), real=True)
        self._size += self._size % 2
        self._grid = np.zeros((2 * self._size, bands))

    def add(self, places: np.ndarray, amplitudes: np.ndarray) -> None:
        """Takes impulses.

        Args:
            places: (n,), in samples, from 0 to the number of taps.
            amplitudes: (bands, n).
        """
        points = len(self._grid)
        first = np.ceil(2 * places - SPREAD / 2)
        weights = _spread_at(first - 2 * places + SPREAD / 2)
        # Half the kernel below an impulse at 0 comes to lie at the grid's end, which is 0's neighbour.
        index = (first.astype(np.int64)[:, None] + np.arange(SPREAD)) % points
        # A column of the matrix is an impulse's kernel: all bands are spread in one product.
        ends = np.arange(len(places) + 1) * SPREAD
        spread = csc_array((weights.ravel(), index.ravel(), ends), shape=(points, len(places)))
        self._grid += spread @ amplitudes.T

    def response(self, weights: np.ndarray, samplerate: float, highpass: float) -> np.ndarray:
        """The impulse response.

        Args:
            weights: (bands, bins of `frequencies`), what becomes of each band.
            samplerate: in hertz.
            highpass: cutoff in hertz of a causal Butterworth filter of order 2; 0 for none.
        """
        bins = self._size // 2 + 1
        spectrum = np.zeros(bins, dtype=np.complex128)
        for row, weight in zip(self._grid.T, weights, strict=True):
            spectrum += weight * scipy.fft.rfft(row)[:bins]
        spectrum *= self._band_limit() / _spread_spectrum(np.pi * np.arange(bins) / self._size)
        if highpass:
            s = 1j * self.frequencies(samplerate) / highpass
            spectrum *= s**2 / (s**2 + np.sqrt(2) * s + 1)
        return scipy.fft.irfft(spectrum, self._size)[: self._taps]

    def frequencies(self, samplerate: float) -> np.ndarray:
        """Of the bins, in hertz."""
        return scipy.fft.rfftfreq(self._size, 1 / samplerate)

    def _band_limit(self) -> np.ndarray:
        """The transform of the windowed sinc."""
        n = np.arange(REACH + 1)
        half = (1 - TRANSITION) * np.sinc((1 - TRANSITION) * n) * np.kaiser(2 * REACH + 1, WINDOW_SHAPE)[REACH:]
        even = np.zeros(self._size)
        even[: REACH + 1] = half
        even[-REACH:] = half[:0:-1]
        return scipy.fft.rfft(even).real


def _spread_at(part: np.ndarray) -> np.ndarray:
    """The Kaiser-Bessel kernel at the grid's points about impulses.

    Args:
        part: (n,), from the kernel's beginning to its first point on the grid, 0 to 1 of a step.

    Returns:
        (n, SPREAD), from polynomials in `part` that are a product of matrices: i0 would take most of a room's time.
    """
    nodes = 0.5 - 0.5 * np.cos(np.pi * (np.arange(4 * DEGREE) + 0.5) / (4 * DEGREE))
    x = (nodes[:, None] + np.arange(SPREAD)) / (SPREAD / 2) - 1
    polynomials = np.polyfit(2 * nodes - 1, i0(SHAPE * np.sqrt(1 - x * x)), DEGREE)
    return np.vander(2 * part - 1, DEGREE + 1) @ polynomials


def _spread_spectrum(angle: np.ndarray) -> np.ndarray:
    """The transform of the Kaiser-Bessel kernel at angles per point of the grid."""
    root = np.sqrt(SHAPE**2 - (SPREAD / 2 * angle) ** 2)
    return SPREAD * np.sinh(root) / root
