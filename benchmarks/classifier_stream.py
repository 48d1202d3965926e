"""The raw-waveform classifier on a stream: blocks of a given length on one core, against real time.

    python benchmarks/classifier_stream.py [--block 10] [--seconds 20]

Each line is a model of 64 channels and 4 layers with filters of a second; "full rate" pools nothing. The slowest block
is the one in which most of the filters' long tiles fall due.
"""

from __future__ import annotations

import argparse
import time

import torch
from measuring import header, table

from longconv_audio.nn.models import Classifier, ClassifierConfig

SAMPLE_RATE = 16_000
LAYERS = ("depthwise", "sgconv", "s4d", "hyena")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--block", type=float, default=10.0, help="milliseconds")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the stream")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    header("Streaming the classifier", "torch")
    block, length = round(arguments.block * SAMPLE_RATE / 1000), round(arguments.seconds * SAMPLE_RATE)
    rows = []
    for layer in LAYERS:
        for pooling in ((4, 4), ()):
            times = _times(layer, pooling, block, length)
            name = f"{layer}, {'pooling ' + ', '.join(map(str, pooling)) if pooling else 'full rate'}"
            rows.append([name, f"{arguments.seconds / sum(times):.1f}x", *_milliseconds(times)])
    table(["model", "real time", "a block", "the slowest"], rows)


def _times(layer: str, pooling: tuple[int, ...], block: int, length: int) -> list[float]:
    """Seconds that each block took, once a first second of the stream has gone through."""
    torch.manual_seed(0)
    config = ClassifierConfig(("a", "b"), SAMPLE_RATE, channels=64, layers=4, layer=layer, pooling=pooling)
    model = Classifier(config).eval()
    state = model.prefill(torch.randn(1, 1, SAMPLE_RATE))
    times = []
    for part in torch.randn(1, 1, length).split(block, -1):
        began = time.perf_counter()
        model.stream(part, state)
        times.append(time.perf_counter() - began)
    return times


def _milliseconds(times: list[float]) -> list[str]:
    return [f"{1e3 * sum(times) / len(times):.2f} ms", f"{1e3 * max(times):.2f} ms"]


if __name__ == "__main__":
    main()
