"""The fused convolution on an NVIDIA GPU beside the bytes it has to move and beside torch.fft.

    python benchmarks/gpu_long_conv.py [--batch 64] [--channels 768] [--only half] [--json FILE]

A causal convolution of (batch, channels, L) with a filter of L taps a channel, forward and backward, with both gates and
with none. Milliseconds of the device, the median of many replays of a CUDA graph. The floor is the larger of two times:
the bytes of every input read once and every output written once, at the rate of a copy measured in the same run, and
the multiplications of the factors at the rate of a matrix product measured in the same run. torch.fft is the plain
route, rfft, product, irfft, in float32, in the same run. Errors are against float64, over a part of the batch.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from measuring import table, version

from longconv_audio.engines.cuda import long_conv as engine
from longconv_audio.engines.selection import Call

LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384)
# FlashFFTConv, gated, batch 64, 768 channels, on an H100: table 3 of arXiv 2311.05908, in ms by L.
PUBLISHED = {256: 0.11, 1024: 0.29, 4096: 1.43, 8192: 3.58, 16384: 12.2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--channels", type=int, default=768)
    parser.add_argument("--lengths", type=int, nargs="*", default=LENGTHS)
    parser.add_argument("--dtypes", nargs="*", default=["float16", "bfloat16", "float32"])
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bandwidth, flops = copy_rate(), product_rate()
    properties = torch.cuda.get_device_properties(0)
    print(
        f"## Long convolution on {properties.name}\n\n{version('torch')}, batch {options.batch}, "
        f"{options.channels} channels; copy {bandwidth / 1e12:.2f} TB/s, bf16 product {flops / 1e12:.0f} TFLOP/s\n"
    )
    rows, found = [], []
    for dtype in options.dtypes:
        for length in options.lengths:
            for gated in (True, False):
                for direction in ("forward", "backward"):
                    case = measure(options, getattr(torch, dtype), length, gated, direction)
                    if case is None:
                        continue
                    case["floor"] = max(case["bytes"] / bandwidth, case["flops"] / flops)
                    found.append(case)
                    rows.append(describe(case))
                    print("|".join(rows[-1]), file=sys.stderr, flush=True)
    table(
        ["dtype", "L", "gates", "pass", "ms", "floor", "x floor", "torch.fft", "faster", "SNR dB", "published"],
        rows,
        left=4,
    )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def measure(options, dtype, length: int, gated: bool, direction: str) -> dict | None:
    torch.manual_seed(1)
    shape = (options.batch, options.channels, length)
    made = {"device": "cuda", "dtype": dtype}
    u, dy = torch.randn(shape, **made), torch.randn(shape, **made)
    pre, post = (torch.randn(shape, **made), torch.randn(shape, **made)) if gated else (None, None)
    k = torch.randn(options.channels, length, device="cuda") * torch.exp(torch.linspace(0, -6, length, device="cuda"))
    call = Call("causal", 0, False, "single" if dtype == torch.float32 else "half")
    if engine.why_not_call(call, u, k):
        return None
    needs = (True, True, False, gated, gated)
    if direction == "forward":
        run = lambda: engine.forward(call, u, k, None, None, pre, post)
        peer = lambda: plain(u, k, pre, post)
    else:
        run = lambda: engine.backward(call, needs, dy, u, k, None, None, pre, post)
        peer = None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = run()
    memory = torch.cuda.max_memory_allocated() - before
    planes = (4 if gated else 2) if direction == "forward" else (7 if gated else 3)
    seconds = device_time(run)
    case = {
        "dtype": str(dtype).removeprefix("torch."),
        "length": length,
        "gated": gated,
        "direction": direction,
        "seconds": seconds,
        "bytes": planes * u.numel() * u.itemsize + k.numel() * 4 * (1 if direction == "forward" else 2),
        "memory": memory,
        "flops": 0,
        "snr": snr(result, u, k, pre, post, dy, direction),
    }
    if dtype != torch.float32:
        case["flops"] = (
            matrix_flops(length)
            * options.batch
            * options.channels
            * (1 if direction == "forward" else 2 if gated else 1.5)
        )
    if dtype == torch.float16 and gated and direction == "forward" and (options.batch, options.channels) == (64, 768):
        case["published"] = PUBLISHED.get(length)
    if not options.no_peer:
        wide = [None if t is None else t.float() for t in (u, pre, post)]
        if direction == "forward":
            case["torch"] = device_time(peer, few=True)
        else:
            inputs = [t.requires_grad_() for t in (wide[0], k, *wide[1:]) if t is not None]
            case["torch"] = device_time(
                lambda: torch.autograd.grad(plain(wide[0], k, *wide[1:]), inputs, dy.float()), few=True, graph=False
            )
    return case


def matrix_flops(length: int) -> float:
    """Of the tensor instructions of one row: forward and inverse, complex, by the factors, real ends at half price."""
    points = max(256, 1 << math.ceil(math.log2(length)))
    factors = {
        256: (16, 16),
        512: (16, 32),
        1024: (32, 32),
        2048: (16, 16, 16),
        4096: (16, 16, 16),
        8192: (16, 16, 32),
        16384: (32, 16, 32),
    }[points]
    return 16 * points * (sum(factors) - factors[0] / 2)


def plain(u, k, pre, post):
    length = u.shape[-1]
    x = u if pre is None else u * pre
    y = torch.fft.irfft(torch.fft.rfft(x.float(), 2 * length) * torch.fft.rfft(k, 2 * length), 2 * length)[..., :length]
    y = y.to(u.dtype)
    return y if post is None else y * post


def device_time(run, few: bool = False, graph: bool = True) -> float:
    """Seconds of the device, the median."""
    if graph:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            run()
        torch.cuda.current_stream().wait_stream(stream)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            kept = run()
        run = captured.replay
    run()
    times = []
    for _ in range(5 if few else 20):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e-3)
    return sorted(times)[len(times) // 2]


def snr(result, u, k, pre, post, dy, direction):
    items = 4
    cut = [None if t is None else t[:items, :8].double().requires_grad_() for t in (u, pre, post)]
    taps = k[:8].double()
    length = u.shape[-1]

    def conv(x, h):
        return torch.fft.irfft(torch.fft.rfft(x, 2 * length) * torch.fft.rfft(h, 2 * length), 2 * length)[..., :length]

    y = conv(cut[0] if pre is None else cut[0] * cut[1], taps)
    y = y if post is None else y * cut[2]
    pairs = (
        [(result, y)]
        if direction == "forward"
        else list(
            zip(
                [g for i, g in enumerate(result) if i in (0, 3, 4) and g is not None],
                torch.autograd.grad(y, [t for t in cut if t is not None], dy[:items, :8].double()),
            )
        )
    )
    worst = 1e9
    for got, wanted in pairs:
        noise = (got[:items, :8].double() - wanted).square().sum()
        worst = min(worst, float(10 * torch.log10(wanted.square().sum() / noise)))
    if direction == "backward":
        x = u[:, :8].double() if pre is None else u[:, :8].double() * pre[:, :8].double()
        g = dy[:, :8].double() if post is None else dy[:, :8].double() * post[:, :8].double()
        wanted = torch.fft.irfft(
            (torch.fft.rfft(x, 2 * length).conj() * torch.fft.rfft(g, 2 * length)).sum(0), 2 * length
        )[..., :length]
        noise = (result[1][:8].double() - wanted).square().sum()
        worst = min(worst, float(10 * torch.log10(wanted.square().sum() / noise)))
    return worst


def copy_rate() -> float:
    a, b = torch.randn(2**30, device="cuda"), torch.empty(2**30, device="cuda")
    return 2 * a.numel() * 4 / device_time(lambda: b.copy_(a))


def product_rate() -> float:
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * 8192**3 / device_time(lambda: a @ b)


def describe(case: dict) -> list[str]:
    ms = case["seconds"] * 1e3
    row = [
        case["dtype"],
        str(case["length"]),
        "both" if case["gated"] else "none",
        case["direction"],
        f"{ms:.3f}",
        f"{case['floor'] * 1e3:.3f}",
        f"{case['seconds'] / case['floor']:.2f}",
    ]
    row += [f"{case['torch'] * 1e3:.2f}", f"{case['torch'] / case['seconds']:.1f}"] if "torch" in case else ["", ""]
    return [*row, f"{case['snr']:.1f}", f"{case['published'] / ms:.1f} x" if case.get("published") else ""]


if __name__ == "__main__":
    main()
