"""Frequency-sparse convolution on an NVIDIA GPU: speed against the share of the spectrum that is zero.

    python benchmarks/gpu_sparse.py [--lengths 4096 16384] [--batch 64] [--channels 768]

Causal convolutions of (batch, channels, L), L a power of two, in fp16 with a filter of L taps a channel: the dense
kernel beside the sparse one on the same tensors. Times are the device's in milliseconds, the median of replays of a
CUDA graph, everything of a call included: the filters' spectra, and backward the sums of their gradients. Masks are
those of `sparsify` ("energy"), of filters that have their energy in a random order of units; a quarter of the units
that are next to one another ("neighbours"); and one of `band`, from 1/8 to 1/4 of the sample rate, which has bins in
every unit, so that nothing is passed over. "paper" is FlashFFTConv's ratio at such a share (arXiv 2311.05908). SNR is
against the masked convolution in float64, of the worst result, on a part of the batch.
"""

from __future__ import annotations

import argparse
import sys

import torch
from gpu_long_conv import device_time, snr
from measuring import table, version

from longconv_audio import FrequencyMask, band, long_conv, sparsify
from longconv_audio.engines import torch_long_conv
from longconv_audio.engines.cuda import long_conv as engine
from longconv_audio.engines.selection import Call
from longconv_audio.frequency_mask import BANDS

SHARES = (0.50, 0.75, 0.79, 0.84, 0.91)
PAPER = {0.75: "1.3", 0.79: "1.4"}
ROUNDS = 10
CHECKED = (2, 4)  # batch items and channels that are compared with float64
HALF, DOUBLE = (Call("causal", 0, False, precision) for precision in ("half", "double"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--channels", type=int, default=768)
    parser.add_argument("--lengths", type=int, nargs="*", default=(4096, 16384))
    options = parser.parse_args()
    print(f"## Frequency-sparse convolution on {torch.cuda.get_device_name()}\n")
    print(f"{version('torch')}, fp16, batch {options.batch}, {options.channels} channels\n")
    lines = []
    for length in options.lengths:
        torch.manual_seed(1)
        shape = (options.batch, options.channels, length)
        u, dy, *gates = (torch.randn(shape, device="cuda", dtype=torch.float16) for _ in range(4))
        k = filters(options.channels, length)
        masks = masks_of(k)
        for gated, backward in ((True, False), (False, False), (True, True)):
            lines += compare(u, k, gates if gated else (None, None), dy, backward, masks)
    table(["L", "gates", "pass", "mask", "zeros", "skipped", "ms", "x faster", "paper", "SNR dB"], lines, left=4)


def filters(channels: int, length: int) -> torch.Tensor:
    """Decaying noise whose energy falls by 20 dB from one unit of the spectrum to another, in a random order."""
    k = torch.randn(channels, length, device="cuda") * torch.exp(torch.linspace(0, -6, length, device="cuda"))
    units = FrequencyMask.units(length)
    impulse = torch.zeros(1, 1, length, device="cuda")
    impulse[..., 0] = 1
    shaped = torch.zeros_like(k)
    for place, unit in enumerate(torch.randperm(units).tolist()):
        blocks = torch.zeros(units, BANDS, dtype=torch.bool)
        blocks[unit] = True
        mask = FrequencyMask(length, blocks).to("cuda")
        shaped += 10 ** (-place / units) * long_conv(impulse, k, mask=mask, engine="torch")[0]
    return shaped


def masks_of(k) -> list[tuple[str, FrequencyMask | None, str]]:
    """None, for the dense kernel, and the masks; each with its name and the paper's ratio, where it has one."""
    points, units = k.shape[-1], FrequencyMask.units(k.shape[-1])
    kept = {}  # the number of units, once each
    for share in SHARES:
        kept.setdefault(max(round((1 - share) * units), 1), PAPER.get(share, ""))
    by_energy = [("energy", sparsify(k, keep=count / units)[0], ratio) for count, ratio in kept.items()]
    quarter = (torch.arange(units, device=k.device) < units / 4)[:, None].expand(units, BANDS)
    neighbours = ("neighbours", FrequencyMask(points, quarter), PAPER[0.75])
    return [("dense", None, ""), *by_energy, neighbours, ("band", band(k, 1 / 8, 1 / 4, 1.0)[0], "")]


def compare(u, k, gates, dy, backward: bool, masks) -> list[list[str]]:
    """The lines of the dense kernel and of all masks."""
    lines, dense = [], 0.0
    for name, mask, paper in masks:
        bins = None if mask is None else mask.bins
        needs = (True, True, False, gates[0] is not None, gates[1] is not None)

        def run(bins=bins, needs=needs):
            if backward:
                return engine.backward(HALF, needs, dy, u, k, None, None, *gates, bins)
            return engine.forward(HALF, u, k, None, None, *gates, bins)

        seconds = device_time(run, ROUNDS)
        dense = dense or seconds
        lines.append([
            str(u.shape[-1]), "none" if gates[0] is None else "both", "backward" if backward else "forward",
            name, "" if mask is None else f"{mask.zeros:.0%}", "" if mask is None else f"{mask.skipped:.0%}",
            f"{seconds * 1e3:.3f}", f"{dense / seconds:.2f}", paper, f"{worst_snr(run(), u, k, gates, dy, bins):.1f}",
        ])  # fmt: skip
        print(*lines[-1], file=sys.stderr, flush=True)
    return lines


def worst_snr(results, u, k, gates, dy, bins) -> float:
    """Of y, or of the gradients of the first channels: k's of a channel is a sum over the whole batch."""
    items, channels = CHECKED
    if isinstance(results, torch.Tensor):
        u, k, *gates = (
            None if t is None else t.double() for t in (*part(items, u), k[:channels], *part(items, *gates))
        )
        y = torch_long_conv.forward(DOUBLE, u, k, None, None, *gates, bins)
        return snr(results[:items, :channels], y)
    needs = [t is not None for t in results]
    u, dy, *gates = (None if t is None else t.double() for t in part(len(u), u, dy, *gates))
    wanted = torch_long_conv.backward(DOUBLE, needs, dy, u, k[:channels].double(), None, None, *gates, bins)
    pairs = [
        (a[:channels] if a.ndim == 2 else a[:, :channels], b)
        for a, b in zip(results, wanted, strict=True)
        if a is not None
    ]
    return min(snr(a, b) for a, b in pairs)


def part(items: int, *tensors) -> list:
    """The first items and channels."""
    return [None if t is None else t[:items, : CHECKED[1]] for t in tensors]


if __name__ == "__main__":
    main()
