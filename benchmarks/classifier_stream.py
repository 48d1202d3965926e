"""The raw-waveform classifier on a stream: blocks of a given length on one core, against real time.

    python benchmarks/classifier_stream.py [--block 10] [--seconds 20]

Each line is a model of 64 channels and 4 layers with filters of a second; "full rate" pools nothing. Blocks are timed
in CPU time; the slowest is the one in which most of the filters' long tiles fall due.
"""

from __future__ import annotations

import argparse
import functools
import statistics

import torch
from measuring import Cost, header, table, time_call

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
        for pooling in ((16, 4), (4, 4), ()):
            costs = _costs(layer, pooling, block, length)
            wall, cpu = [cost.wall for cost in costs], [cost.cpu for cost in costs]
            name = f"{layer}, {'pooling ' + ', '.join(map(str, pooling)) if pooling else 'full rate'}"
            speeds = [f"{arguments.seconds / sum(times):.1f}x" for times in (wall, cpu)]
            rows.append([name, *speeds, f"{1e3 * statistics.median(cpu):.2f} ms", f"{1e3 * max(cpu):.2f} ms"])
    table(["model", "real time", "by CPU time", "a block (median)", "the slowest"], rows)


def _costs(layer: str, pooling: tuple[int, ...], block: int, length: int) -> list[Cost]:
    """What each block took, once a first second of the stream has gone through."""
    torch.manual_seed(0)
    config = ClassifierConfig(("a", "b"), SAMPLE_RATE, channels=64, layers=4, layer=layer, pooling=pooling)
    model = Classifier(config).eval()
    state = model.prefill(torch.randn(1, 1, SAMPLE_RATE))
    blocks = torch.randn(1, 1, length).split(block, -1)
    return [time_call(functools.partial(model.stream, part, state)) for part in blocks]


if __name__ == "__main__":
    main()
