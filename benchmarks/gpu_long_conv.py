"""The fused convolution on an NVIDIA GPU beside the bytes it has to move, torch.fft and cuDNN.

    python benchmarks/gpu_long_conv.py [--lengths 1024 4096] [--dtypes float16 float32] [--json FILE]

Causal convolutions of (batch, channels, L) with a filter of L taps a channel, forward and backward, with both gates and
with none. Times are the device's in milliseconds, the median of replays of a CUDA graph, everything of a call included:
the filters' spectra, and backward the sums of their gradients. The floor is the larger of two times: that of the bytes
of every input read once and every result written once, at the rate of a copy in the same run, and that of the
multiplications of the transform's factors, at the rate of a matrix product in the same run (up to 16384 samples, which
one block convolves). Longer rows are timed in fewer channels and their times scaled up. torch.fft is the plain
route in float32: rfft, product, irfft. cuDNN's fft_causal_conv1d, which knows no gates, is timed where nvidia-cudnn-
frontend finds a cuDNN that has it. "published" is FlashFFTConv's time (arXiv 2311.05908, table 3: an H100, fp16, both
gates, batch 64, 768 channels) divided by ours. SNR is against float64, of the worst result, on a part of the batch.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import table, version

from longconv_audio.engines.cuda import long_conv as engine
from longconv_audio.engines.selection import Call

LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 262144, 1048576, 2097152, 4194304)
PUBLISHED = {
    256: 0.11,
    1024: 0.29,
    4096: 1.43,
    8192: 3.58,
    16384: 12.2,
    32768: 26.3,
    1048576: 1769.0,
    2097152: 4624.0,
    4194304: 10049.0,
}  # ms by L
SAMPLES = 2**28  # of one tensor of long rows; their times are scaled up to all channels
# The first factor, and the sum of all as tensor instructions see them, by points.
FACTORS = {
    256: (16, 32), 512: (16, 32), 1024: (32, 48), 2048: (16, 48), 4096: (16, 48), 8192: (16, 48), 16384: (32, 64),
}  # fmt: skip
CHECKED = (4, 8)  # batch items and channels that are compared with float64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--channels", type=int, default=768)
    parser.add_argument("--lengths", type=int, nargs="*", default=LENGTHS)
    parser.add_argument("--dtypes", nargs="*", default=["float16", "bfloat16", "float32"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rates = copy_rate(), product_rate()
    print(f"## Long convolution on {torch.cuda.get_device_name()}\n")
    print(f"{version('torch')}, batch {options.batch}, {options.channels} channels, ", end="")
    print(f"copy {rates[0] / 1e12:.2f} TB/s, bf16 matrix product {rates[1] / 1e12:.0f} TFLOP/s\n")
    cases = []
    for dtype in options.dtypes:
        for length in options.lengths:
            for gated in (True, False):
                for backward in (False, True):
                    channels = min(options.channels, max(SAMPLES // (options.batch * length), 1))
                    shape = options.batch, channels, length
                    case = measure(shape, getattr(torch, dtype), gated, backward, rates, options.channels)
                    cases.append(case)
                    print(" ".join(row(case)), file=sys.stderr, flush=True)
    columns = [
        "dtype",
        "L",
        "gates",
        "pass",
        "ms",
        "x floor",
        "torch.fft ms",
        "x faster",
        "cuDNN ms",
        "published",
        "MB",
        "SNR dB",
    ]
    table(columns, [row(case) for case in cases], left=4)
    if options.json:
        options.json.write_text(json.dumps(cases, indent=1))


def measure(shape: tuple[int, int, int], dtype: torch.dtype, gated: bool, backward: bool, rates, channels) -> dict:
    """One line of the table, its times and bytes scaled up to so many channels."""
    torch.manual_seed(1)
    u, dy, pre, post = (torch.randn(shape, device="cuda", dtype=dtype) for _ in range(4))
    pre, post = (pre, post) if gated else (None, None)
    k = torch.randn(shape[1:], device="cuda") * torch.exp(torch.linspace(0, -6, shape[2], device="cuda"))
    half = dtype != torch.float32
    call, needs = Call("causal", 0, False, "half" if half else "single"), (True, True, False, gated, gated)

    def run():
        if backward:
            return engine.backward(call, needs, dy, u, k, None, None, pre, post)
        return engine.forward(call, u, k, None, None, pre, post)

    run()  # what is kept for later calls is not the call's memory
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    results = run()
    memory = torch.cuda.max_memory_allocated() - before
    planes = {(False, False): 2, (True, False): 4, (False, True): 3, (True, True): 7}[gated, backward]
    moved = planes * u.numel() * u.itemsize + k.numel() * 4 * (2 if backward else 1)
    multiplied = matrix_flops(shape, (4 if gated else 3) / 2 if backward else 1) if half and shape[2] <= 16384 else 0
    share = channels / shape[1]
    case = {
        "dtype": str(dtype).removeprefix("torch."), "length": shape[2], "gated": gated, "backward": backward,
        "seconds": share * device_time(run), "bytes": share * moved,
        "floor": share * max(moved / rates[0], multiplied / rates[1]),
        "memory": memory, "snr": worst_snr(results, (u, k, pre, post), dy, backward),
    }  # fmt: skip
    del results
    rounds = 5 if shape[2] <= 16384 else 2
    if backward:  # many milliseconds, and autograd does not like to be captured
        case["torch"] = share * median_time(plain_gradients(u, k, pre, post, dy), rounds)
    else:
        case["torch"] = share * device_time(lambda: plain(u, k, pre, post), rounds)
    if not (gated or backward) and shape[2] <= 16384:
        case["cudnn"] = cudnn_time(u, k)
    if dtype == torch.float16 and gated and not backward and (shape[0], channels) == (64, 768):
        case["published"] = PUBLISHED.get(shape[2])
    return case


def matrix_flops(shape: tuple[int, int, int], convolutions: float) -> float:
    """Of the transforms, complex, there and back: the first stage's input and the last one's result are real."""
    points = max(256, 1 << math.ceil(math.log2(shape[2])))
    first, total = FACTORS[points]
    return 16 * points * (total - first / 2) * shape[0] * shape[1] * convolutions


def row(case: dict) -> list[str]:
    ms = case["seconds"] * 1e3
    return [
        case["dtype"], str(case["length"]), "both" if case["gated"] else "none",
        "backward" if case["backward"] else "forward", f"{ms:.3f}", f"{case['seconds'] / case['floor']:.2f}",
        f"{case['torch'] * 1e3:.2f}", f"{case['torch'] / case['seconds']:.1f}",
        f"{case['cudnn'] * 1e3:.3f}" if case.get("cudnn") else "",
        f"{case['published'] / ms:.1f} x" if case.get("published") else "",
        f"{case['memory'] / 1e6:.0f}", f"{case['snr']:.1f}",
    ]  # fmt: skip


# ---- the others


def plain(u, k, pre, post) -> torch.Tensor:
    """The same by torch.fft, in float32."""
    n = u.shape[-1]
    x = (u if pre is None else u * pre).float()
    y = torch.fft.irfft(torch.fft.rfft(x, 2 * n) * torch.fft.rfft(k, 2 * n), 2 * n)[..., :n].to(u.dtype)
    return y if post is None else y * post


def plain_gradients(u, k, pre, post, dy) -> Callable:
    """Forward and backward less the forward, so backward alone: the graph is kept."""
    inputs = [t.detach().requires_grad_() for t in (u, k, pre, post) if t is not None]
    y = plain(*inputs[:2], *(inputs[2:] or (None, None)))
    return lambda: torch.autograd.grad(y, inputs, dy, retain_graph=True)


def cudnn_time(u, k) -> float | None:
    """cuDNN's, or None where it is not installed, too old, or declines."""
    try:
        from cudnn.ops import fft_causal_conv1d

        weights = k.to(u.dtype)
        return device_time(lambda: fft_causal_conv1d(u, weights))
    except (ImportError, RuntimeError, ValueError, AttributeError):
        return None


# ---- measuring


def device_time(run: Callable, rounds: int = 10) -> float:
    """Seconds of the device, the median of replays of a graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return median_time(graph.replay, rounds)


def median_time(run: Callable, rounds: int) -> float:
    run()
    times = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e-3)
    return sorted(times)[len(times) // 2]


def copy_rate() -> float:
    """Bytes a second, read and written, of a large copy."""
    a, b = (torch.randn(2**29, device="cuda") for _ in range(2))
    return 2 * a.numel() * a.itemsize / device_time(lambda: torch.mul(a, 2, out=b))


def product_rate() -> float:
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * 8192**3 / device_time(lambda: a @ b)


def worst_snr(results, operands, dy, backward: bool) -> float:
    items, channels = CHECKED
    u, k, pre, post = (None if t is None else t.double() for t in cut(operands, channels))
    dy = dy[:, :channels].double()
    inputs = [t.requires_grad_() for t in (u, k, pre, post) if t is not None]
    y = double(inputs)
    if not backward:
        return snr(results[:items, :channels], y[:items])
    found = [t for t in results if t is not None]
    right = torch.autograd.grad(y, inputs, dy)
    return min(snr(f[:channels] if f.ndim == 2 else f[:, :channels], r) for f, r in zip(found, right, strict=True))


def cut(operands, channels: int) -> list:
    return [t if t is None else t[:channels] if t.ndim == 2 else t[:, :channels] for t in operands]


def double(inputs) -> torch.Tensor:
    u, k, *gates = inputs
    n = u.shape[-1]
    x = u * gates[0] if gates else u
    y = torch.fft.irfft(torch.fft.rfft(x, 2 * n) * torch.fft.rfft(k, 2 * n), 2 * n)[..., :n]
    return y * gates[1] if gates else y


def snr(found: torch.Tensor, right: torch.Tensor) -> float:
    noise = (found.double() - right).square().sum()
    return float(10 * torch.log10(right.square().sum() / noise)) if noise.isfinite() else -math.inf


if __name__ == "__main__":
    main()
