"""What a sample costs when each depends on the last: four layers of long filters, one sample after the other.

Beside it the two plain ways: the sum over all taps that the past reaches, and one transform of the past a sample.

    python benchmarks/generation.py [--taps 16384] [--channels 64] [--samples 65536]
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from measuring import header, table

from longconv_audio.nn import DepthwiseLongConv
from longconv_audio.nn.streaming import StreamingModel

LAYERS = 4
# Samples of a plain way that are timed at each length.
_FEW = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--taps", type=int, default=16384)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--samples", type=int, default=65536)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    header(f"{LAYERS} layers, {options.channels} channels, {options.taps} taps, one core, sample by sample", "torch")
    layers = [DepthwiseLongConv(options.channels, options.taps) for _ in range(LAYERS)]
    model = torch.nn.Sequential(*(part for layer in layers for part in (layer, torch.nn.Tanh()))).eval()
    rows = []
    x = torch.randn(1, options.channels, 1)
    stream = StreamingModel(model)
    stream.process(x)  # the first call prepares
    _generate(stream, x, min(options.taps, options.samples))  # and the first sample of each tile its spectrum
    stream.reset()
    done, total = 0, 0.0
    for length in (1 << p for p in range(10, options.samples.bit_length())):
        total += _generate(stream, x, length - done)
        done = length
        each = total / length
        sums, transforms = _plain(layers, length)
        steps = math.log2(min(length, options.taps)) ** 2
        rows.append(
            [
                length,
                f"{each * 1e6:.0f}",
                f"{each * 1e6 / steps:.2f}",
                f"{sums * 1e6:.0f}",
                f"{sums / each:.1f}",
                f"{transforms * 1e6:.0f}",
                f"{transforms / each:.0f}",
            ]
        )
    columns = ["samples", "us a sample", "us / log2(n)^2", "sums, us", "x", "a transform each, us", "x"]
    table(columns, rows, left=0)
    print("\nThe plain ways are timed at the end of each length, the online one from the start to there.")


def _generate(stream: StreamingModel, x: torch.Tensor, samples: int) -> float:
    """Seconds that so many samples take, each the model's answer to the last one, and noise."""
    noise = torch.randn(samples, *x.shape)
    start = time.perf_counter()
    for n in noise:
        x = stream.process(x).add_(n)
    return time.perf_counter() - start


@torch.no_grad()
def _plain(layers, length: int) -> tuple[float, float]:
    """Seconds of one sample by sums over the taps, and by a transform, with a past of `length` samples."""
    taps = [layer.kernel()[:, :length] for layer in layers]
    past = torch.randn(1, taps[0].shape[0], taps[0].shape[1])
    size = 2 * past.shape[-1]
    spectra = [torch.fft.rfft(k, size) for k in taps]
    return (
        _time(lambda: [(past * k).sum(-1) for k in taps]),
        _time(lambda: [torch.fft.irfft(torch.fft.rfft(past, size) * s, size) for s in spectra]),
    )


def _time(work) -> float:
    work()
    start = time.perf_counter()
    for _ in range(_FEW):
        work()
    return (time.perf_counter() - start) / _FEW


if __name__ == "__main__":
    main()
