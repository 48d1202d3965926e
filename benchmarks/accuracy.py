"""The error of every way to convolve, against a direct convolution in extended precision.

    python benchmarks/accuracy.py [--quick]

White and pink noise through filters that decay like a room, a long low-pass and noise that does not decay. The direct
convolution is summed in long double at some hundred samples of the output. Each row is the worst of what it names.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import scipy.signal
from measuring import decaying_noise, header, installed, pink_noise, snr, table

from longconv_audio import Convolver, functional
from longconv_audio.planning import MODES, output_window

REQUIRED = {"float32": 130.0, "float64": 280.0}
# (samples, taps)
SIZES = [(4000, 300), (3000, 5000), (60_000, 9000), (400_000, 288_000)]
QUICK_SIZES = [(3000, 400)]
PLACES = 300
LATENCIES = [
    *(("zero", size) for size in (None, 16, 256)),
    *(("block", size) for size in (16, 64, 1000, 4096)),
    *(("offline", size) for size in (None, 1024, 65_536, 1 << 20)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    header("Accuracy", "longconv-audio", "numpy", "scipy", "torch")
    worst: dict[tuple[str, str], tuple[float, int, str]] = {}
    for x, h, what in cases(QUICK_SIZES if options.quick else SIZES):
        for dtype in REQUIRED:
            x_typed, h_typed = x.astype(dtype), h.astype(dtype)
            reference = Reference(x_typed, h_typed)
            for way, setting, run in ways(x_typed, h_typed):
                low, count, where = worst.get((way, dtype), (np.inf, 0, ""))
                error = reference.error(*run())
                place = f"{what}{f', {setting}' if setting else ''}"
                worst[way, dtype] = (min(low, error), count + 1, place if error < low else where)
    rows = [
        [way, dtype, count, f"{low:.1f}", "yes" if low >= REQUIRED[dtype] else "NO", where]
        for (way, dtype), (low, count, where) in worst.items()
    ]
    table(["way", "dtype", "runs", "worst SNR dB", "reached", "where"], rows, left=2)
    print(f"To reach: {', '.join(f'{limit:.0f} dB in {dtype}' for dtype, limit in REQUIRED.items())}.\n")


def cases(sizes) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """Signals and filters, `(2, samples)` and `(2, taps)`, and what to call them."""
    rng = np.random.default_rng(8)
    for length, taps in sizes:
        signals = {"white": rng.standard_normal((2, length)), "pink": pink_noise(rng, 2, length)}
        low_pass = scipy.signal.firwin(taps | 1, [0.2])[None, :taps]
        filters = {
            "decaying": decaying_noise(rng, 2, taps),
            "low-pass": np.concatenate([low_pass, low_pass[:, ::-1]]),
            "even noise": rng.standard_normal((2, taps)) / np.sqrt(taps),
        }
        for signal, x in signals.items():
            for name, h in filters.items():
                yield x, h, f"{signal}, {name}, {length} x {taps}"


class Reference:
    """The direct convolution at some places of the output, in long double."""

    def __init__(self, x: np.ndarray, h: np.ndarray):
        self._x, self._h = x.astype(np.longdouble), h.astype(np.longdouble)
        self._known: dict[int, np.ndarray] = {}
        full = x.shape[1] + h.shape[1] - 1
        self._places = np.unique(np.random.default_rng(1).integers(0, full, PLACES))

    def error(self, y: np.ndarray, first: int, period: int | None) -> float:
        """The SNR of `y`, whose samples are those of the full convolution from `first` on.

        With a period, sample n is the sum of all samples n + k * period of the full convolution.
        """
        places = self._places - first
        places = places % period if period else places[(places >= 0) & (places < y.shape[1])]
        full = self._x.shape[1] + self._h.shape[1] - 1
        expected = [sum(self._at(n) for n in range(p + first, full, period or full)) for p in places]
        return snr(np.asarray(y)[:, places], np.stack(expected, axis=1))

    def _at(self, n: int) -> np.ndarray:
        if n not in self._known:
            low, high = max(n - self._h.shape[1] + 1, 0), min(n + 1, self._x.shape[1])
            window = self._x[:, low:high][:, ::-1]
            self._known[n] = np.sum(window * self._h[:, n - high + 1 : n - low + 1], axis=1)
        return self._known[n]


def ways(x: np.ndarray, h: np.ndarray) -> Iterator[tuple[str, str, Callable[[], tuple]]]:
    """Every function, mode, latency and block size: its name, its setting, and a call for the result and its place."""
    length, taps = x.shape[1], h.shape[1]
    kinds = {"numpy": (x, h)}
    if installed("torch"):
        import torch

        kinds["torch"] = (torch.from_numpy(x), torch.from_numpy(np.ascontiguousarray(h)))
    for kind, (signal, filters) in kinds.items():
        for name in ("fftconvolve", "oaconvolve"):
            for mode in MODES:
                first = 0 if mode == "circular" else output_window(mode, length, taps)[0]
                period = length if mode == "circular" else None
                function = getattr(functional, name)
                yield (
                    f"{name}, {kind}",
                    mode,
                    lambda f=function, x=signal, h=filters, m=mode, p=(first, period): (f(x, h, m), *p),
                )
        yield f"fftfilt in 3 pieces, {kind}", "", lambda x=signal, h=filters: (in_pieces(x, h), 0, None)
    matrix = np.zeros((2, 2, taps), h.dtype)
    matrix[0, 0], matrix[1, 1] = h
    yield "convolve_matrix, numpy", "", lambda: (functional.convolve_matrix(x, matrix), 0, None)
    for latency, size in LATENCIES:
        if length * taps > 10**10 and latency != "offline" and size == 16:
            continue  # as much as all others together
        yield (
            f"Convolver, {latency}",
            f"block_size {size}",
            lambda latency=latency, size=size: (stream(x, h, latency, size), 0, None),
        )


def in_pieces(x, h) -> np.ndarray:
    """fftfilt, the state handed on twice."""
    third = x.shape[1] // 3
    first, state = functional.fftfilt(x[:, :third], h)
    second, state = functional.fftfilt(x[:, third : 2 * third], h, state)
    last, state = functional.fftfilt(x[:, 2 * third :], h, state)
    return np.concatenate([np.asarray(part) for part in (first, second, last, state)], axis=1)


def stream(x: np.ndarray, h: np.ndarray, latency: str, block_size: int | None) -> np.ndarray:
    """A Convolver, the signal cut into pieces of all kinds of lengths."""
    convolver = Convolver(h, latency=latency, block_size=block_size)
    cuts = np.sort(np.random.default_rng(3).integers(0, x.shape[1] + 1, 9))
    pieces = [convolver.process(piece) for piece in np.split(x, cuts, axis=1)]
    return np.concatenate([*pieces, convolver.flush()], axis=1)


if __name__ == "__main__":
    main()
