"""Partial convolutions on an NVIDIA GPU: time and memory against the filter's length.

    python benchmarks/gpu_partial.py [--length 131072] [--batch 16] [--channels 64] [--dtypes float16 float32]

Causal convolutions of (batch, channels, L) with filters of K <= L taps, forward and backward, ungated. Times are the
device's, the median of several, everything of a call included; memory is the most that a call had allocated beside its
arguments. torch.fft is rfft, product, irfft in float32, at L + K points. SNR is against float64, of the worst result of
one channel. FlashFFTConv (arXiv 2311.05908) reports memory against K for its partial convolutions (table 7).
"""

from __future__ import annotations

import argparse

import torch
from gpu_long_conv import median_time, plain, snr
from measuring import table, version

from longconv_audio import long_conv

SHARES = (1, 2, 4, 8, 16, 64)  # of L that K is


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=1 << 17)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--dtypes", nargs="*", default=["float16", "float32"])
    options = parser.parse_args()
    shape = options.batch, options.channels, options.length
    print(f"## Partial convolution on {torch.cuda.get_device_name()}\n\n{version('torch')}, u {shape}\n")
    rows = []
    for dtype in options.dtypes:
        dense = None
        for share in SHARES:
            case = measure(shape, options.length // share, getattr(torch, dtype))
            dense = dense or case
            rows.append([dtype, f"L / {share}", *line(case, dense)])
    columns = ["dtype", "K", "forward ms", "x", "backward ms", "x", "MB forward", "x", "MB backward", "x"]
    table([*columns, "torch.fft forward ms", "torch.fft MB", "SNR dB"], rows, left=2)


def measure(shape: tuple[int, int, int], taps: int, dtype: torch.dtype) -> dict:
    """Times in seconds and bytes of one filter length."""
    torch.manual_seed(1)
    u = torch.randn(shape, device="cuda", dtype=dtype).requires_grad_()
    decay = torch.exp(torch.linspace(0, -6, taps, device="cuda"))
    k = (torch.randn(shape[1], taps, device="cuda") * decay).requires_grad_()
    y = long_conv(u, k)
    dy = torch.randn_like(y)

    def gradients():
        return torch.autograd.grad(y, (u, k), dy, retain_graph=True)

    def forward():
        with torch.no_grad():
            return long_conv(u, k)

    def fft():
        with torch.no_grad():
            return plain_partial(u, k)

    wide = [t.detach()[..., :1, :].double().requires_grad_() for t in (u, k)]
    right = long_conv(*wide)
    right_gradients = torch.autograd.grad(right, wide, dy[:, :1].double())
    du, dk = gradients()
    worst = min(
        snr(y[:, :1].detach(), right.detach()), snr(du[:, :1], right_gradients[0]), snr(dk[:1], right_gradients[1])
    )
    del right, right_gradients, wide, du, dk
    return {
        "forward": median_time(forward, 10), "backward": median_time(gradients, 10), "fft": median_time(fft, 5),
        "forward bytes": peak(forward), "backward bytes": peak(gradients), "fft bytes": peak(fft), "snr": worst,
    }  # fmt: skip


def plain_partial(u, k) -> torch.Tensor:
    """By torch.fft in float32, on as many points as the two need."""
    n, taps = u.shape[-1], k.shape[-1]
    if taps == n:
        return plain(u, k, None, None)
    y = torch.fft.irfft(torch.fft.rfft(u.float(), n + taps) * torch.fft.rfft(k, n + taps), n + taps)
    return y[..., :n].to(u.dtype)


def peak(run) -> int:
    """Bytes that a call allocates at most."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def line(case: dict, dense: dict) -> list[str]:
    """A case's columns, each figure with how many times less it is than the dense one."""
    columns = []
    for name, scale, digits in (
        ("forward", 1e3, 2), ("backward", 1e3, 2), ("forward bytes", 1e-6, 0), ("backward bytes", 1e-6, 0),
    ):  # fmt: skip
        columns += [f"{case[name] * scale:.{digits}f}", f"{dense[name] / case[name]:.2f}"]
    return [*columns, f"{case['fft'] * 1e3:.2f}", f"{case['fft bytes'] / 1e6:.0f}", f"{case['snr']:.1f}"]


if __name__ == "__main__":
    main()
