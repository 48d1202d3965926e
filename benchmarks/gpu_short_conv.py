"""The short depthwise convolution on an NVIDIA GPU beside the bytes it has to move, and torch's conv1d.

    python benchmarks/gpu_short_conv.py [--taps 4 32] [--dtypes float16 float32] [--json FILE]

Causal convolutions with a filter for each channel, forward and backward (all gradients), with bias and gate and with
neither. Times are the device's in milliseconds, the median of replays of a CUDA graph, everything of a call included.
The floor is the time of the bytes of every input read once and every result written once, at the rate of a copy in the
same run. conv1d is torch.nn.functional.conv1d of as many groups as channels on padded rows, without TF32 and with
neither bias nor gate; backward, less its forward pass. SNR is against float64, of the worst result, on some channels.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from gpu_long_conv import copy_rate, device_time, median_time, snr
from measuring import table, version

from longconv_audio.engines import torch_short_conv
from longconv_audio.engines.cuda import short_conv as engine
from longconv_audio.engines.cuda.cache import cubin
from longconv_audio.engines.cuda.gpus import gpu_of
from longconv_audio.engines.cuda.short_kernels import all_kernels
from longconv_audio.engines.short_call import ShortCall

CHECKED = 8  # channels that are compared with float64
TAGS = {"float16": "Fp16", "bfloat16": "Bf16", "float32": "Fp32"}
SLOW = 0.1  # seconds of a call of conv1d that is timed once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--channels", type=int, default=768)
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--taps", type=int, nargs="*", default=[4, 16, 64, 128])
    parser.add_argument("--dtypes", nargs="*", default=["float16", "float32"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False
    compile_all(options.dtypes)
    rate = copy_rate()
    torch.cuda.empty_cache()
    print(f"## Short depthwise convolution on {torch.cuda.get_device_name()}\n")
    print(f"{version('torch')}, batch {options.batch}, {options.channels} channels, {options.length} samples, ", end="")
    print(f"copy {rate / 1e12:.2f} TB/s\n")
    shape, cases = (options.batch, options.channels, options.length), []
    for dtype in options.dtypes:
        for taps in options.taps:
            for backward in (False, True):
                for channels_last in (False, True):
                    for gated in (False, True):
                        case = measure(shape, taps, getattr(torch, dtype), channels_last, gated, backward, rate)
                        cases.append(case)
                        print(" ".join(row(case)), file=sys.stderr, flush=True)
    columns = ["dtype", "taps", "pass", "dense", "gate and bias", "ms", "x floor", "conv1d ms", "x faster", "SNR dB"]
    table(columns, [row(case) for case in cases], left=5)
    if options.json:
        options.json.write_text(json.dumps(cases, indent=1))


def compile_all(dtypes: list[str]) -> None:
    """The kernels of rows in their alignment, side by side; each is found in the cache when it is asked for."""
    arch = gpu_of(torch.cuda.current_device()).arch
    tags = [TAGS[dtype] for dtype in dtypes]
    wanted = [
        k for k in all_kernels() if "<" not in k.name or (k.name.endswith("true>") and any(t in k.name for t in tags))
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda kernel: cubin(kernel.header, kernel.name, arch), wanted))


def measure(shape, taps: int, dtype, channels_last: bool, gated: bool, backward: bool, rate: float) -> dict:
    """One line of the table."""
    torch.manual_seed(1)
    batch, channels, length = shape
    size = (batch, length, channels) if channels_last else shape
    u, dy = (torch.randn(size, device="cuda", dtype=dtype) for _ in range(2))
    k = torch.randn(channels, taps, device="cuda")
    gate = torch.randn(size, device="cuda", dtype=dtype) if gated else None
    bias = torch.randn(channels, device="cuda") if gated else None
    call, needs = ShortCall(taps - 1, 0, False, channels_last), (True, True, gated, gated)

    def run():
        return (
            engine.backward(call, needs, dy, u, k, bias, gate) if backward else engine.forward(call, u, k, bias, gate)
        )

    planes = {(False, False): 2, (True, False): 3, (False, True): 3, (True, True): 5}[gated, backward]
    case = {
        "dtype": str(dtype).removeprefix("torch."), "taps": taps, "backward": backward, "channels_last": channels_last,
        "gated": gated, "seconds": device_time(run), "floor": planes * u.numel() * u.itemsize / rate,
        "snr": worst_snr(run(), call, (u, k, bias, gate), dy, backward),
    }  # fmt: skip
    if not (gated or channels_last):
        case["torch"] = conv1d_time(u, k, dy, backward)
    return case


def row(case: dict) -> list[str]:
    seconds, peer = case["seconds"], case.get("torch")
    return [
        case["dtype"], str(case["taps"]), "backward" if case["backward"] else "forward",
        "channels" if case["channels_last"] else "time", "both" if case["gated"] else "none", f"{seconds * 1e3:.3f}",
        f"{seconds / case['floor']:.2f}", f"{peer * 1e3:.2f}" if peer else "", f"{peer / seconds:.1f}" if peer else "",
        f"{case['snr']:.1f}",
    ]  # fmt: skip


def conv1d_time(u, k, dy, backward: bool) -> float:
    """Of torch's own, the weights in the signals' dtype."""
    channels, taps = k.shape
    u, weight = (t.detach().requires_grad_(backward) for t in (u, k.flip(-1)[:, None].to(u.dtype)))

    def run():
        return torch.nn.functional.conv1d(torch.nn.functional.pad(u, (taps - 1, 0)), weight, groups=channels)

    if backward:
        y = run()
        return few_times(lambda: torch.autograd.grad(y, (u, weight), dy, retain_graph=True))
    return few_times(run)


def few_times(run) -> float:
    once = median_time(run, 1)
    return once if once > SLOW else median_time(run, 5)


def worst_snr(results, call: ShortCall, operands, dy, backward: bool) -> float:
    """On the first channels, of which float64 needs no more memory than there is."""
    part = (..., slice(CHECKED)) if call.channels_last else (slice(None), slice(CHECKED))
    u, k, bias, gate = operands
    wide = [None if t is None else t[part if t.ndim == 3 else slice(CHECKED)].double() for t in (u, k, bias, gate)]
    if not backward:
        return snr(results[part], torch_short_conv.forward(call, *wide))
    needs = [t is not None for t in wide]
    right = torch_short_conv.backward(call, needs, dy[part].double(), *wide)
    pairs = [(f, r) for f, r in zip(results, right, strict=True) if r is not None]
    return min(snr(f[part] if f.ndim == 3 else f[:CHECKED], r) for f, r in pairs)


if __name__ == "__main__":
    main()
