"""The convolution functions on arrays in memory beside scipy's, torchaudio's and julius's.

    python benchmarks/functional.py [--quick]

Float32, one filter for the whole batch, mode "full". Milliseconds, best of the rounds; x best peer: the time divided
by that of the fastest peer. SNR is against scipy's convolution in float64.
"""

from __future__ import annotations

import argparse

import numpy as np
import scipy.signal
from measuring import best, decaying_noise, header, in_turn, installed, snr, table, time_call

from longconv_audio import functional

# (batch, samples, taps)
CASES = [(1, 48_000, 4800), (16, 48_000, 48_000), (64, 16_384, 512), (2, 480_000, 48_000), (2, 2_880_000, 288_000)]
QUICK_CASES = [(1, 4800, 480), (4, 2000, 2000)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    header("Convolution of arrays", "longconv-audio", "numpy", "scipy", "torch", "torchaudio", "julius")
    rng = np.random.default_rng(6)
    rows = []
    for batch, length, taps in QUICK_CASES if options.quick else CASES:
        x = rng.standard_normal((batch, length), np.float32)
        h = decaying_noise(rng, 1, taps)[0].astype(np.float32)
        expected = scipy.signal.fftconvolve(x.astype(np.float64), h[None].astype(np.float64), axes=1)
        calls = candidates(x, h)
        errors = {name: snr(np.asarray(call()), expected) for name, call in calls.items()}
        timed = {name: lambda call=call: time_call(call) for name, call in calls.items()}
        costs = {name: best(runs) for name, runs in in_turn(timed, 1 if options.quick else options.rounds, 10).items()}
        rival = min(cost.wall for name, cost in costs.items() if not name.startswith("longconv"))
        for name, cost in costs.items():
            times = [f"{cost.wall * 1e3:.2f}", f"{cost.wall / rival:.2f}", f"{cost.cpu * 1e3:.2f}"]
            rows.append([f"{batch} x {length}, {taps} taps", name, *times, f"{errors[name]:.1f}"])
    table(["case", "function", "wall ms", "x best peer", "CPU ms", "SNR dB"], rows, left=2)


def candidates(x: np.ndarray, h: np.ndarray) -> dict:
    """The functions that can do it, by name."""
    calls = {
        "longconv fftconvolve, numpy": lambda: functional.fftconvolve(x, h),
        "longconv oaconvolve, numpy": lambda: functional.oaconvolve(x, h),
        "scipy.signal.fftconvolve": lambda: scipy.signal.fftconvolve(x, h[None], axes=1),
        "scipy.signal.oaconvolve": lambda: scipy.signal.oaconvolve(x, h[None], axes=1),
    }
    if not installed("torch"):
        return calls
    import torch

    x_torch, h_torch = torch.from_numpy(x), torch.from_numpy(h)
    calls["longconv fftconvolve, torch"] = lambda: functional.fftconvolve(x_torch, h_torch)
    calls["longconv oaconvolve, torch"] = lambda: functional.oaconvolve(x_torch, h_torch)
    if installed("torchaudio"):
        import torchaudio

        calls["torchaudio fftconvolve"] = lambda: torchaudio.functional.fftconvolve(x_torch, h_torch[None])
    if installed("julius"):
        import julius

        # Correlation, as torch's convolutions are.
        reversed_filter, padding = h_torch.flip(0)[None, None], len(h) - 1
        calls["julius fft_conv1d"] = lambda: julius.fft_conv1d(x_torch[:, None], reversed_filter, padding=padding)[:, 0]
    return calls


if __name__ == "__main__":
    main()
