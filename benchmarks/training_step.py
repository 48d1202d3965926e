"""One training step of the raw-waveform classifier against the same model written with torch.fft.

    python benchmarks/training_step.py                  # 1 s at 16 kHz, on the CPU
    python benchmarks/training_step.py --device cuda    # and 64 s, also under autocast

Both models have the same parameters and give the same logits. The peer is what one writes with torch's own operations:
layer_norm, rfft to twice the length, a product, irfft, gelu, conv1d, glu. A step is the forward pass, the loss, the
backward pass and AdamW's update. Memory is the peak above what model and batch hold: on a CPU the largest resident set
of a fresh process for each model, on a GPU torch.cuda.max_memory_allocated. "Graphs": the forward and the backward
pass of both models are captured by torch.cuda.make_graphed_callables, which holds their memory between steps.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from measuring import header, in_turn, table
from torch import nn
from torch.nn import functional as F

from longconv_audio.nn.blocks import ResidualBlock
from longconv_audio.nn.models import Classifier, ClassifierConfig

SAMPLE_RATE = 16_000
ROUNDS = 5


@dataclass(frozen=True)
class Case:
    """A batch to step on: seconds at 16 kHz; autocast's dtype, or None; whether passes are captured as CUDA graphs."""

    name: str
    batch: int
    seconds: int
    pooling: tuple[int, ...] = ()
    dtype: torch.dtype | None = None
    graphs: bool = False


CPU = [Case("1 s", 16, 1), Case("1 s, pooling 16, 4", 16, 1, (16, 4))]
CUDA = [
    Case(f"{seconds} s, {name}{', graphs' if graphs else ''}", batch, seconds, dtype=dtype, graphs=graphs)
    for batch, seconds, graphs in ((16, 1, False), (16, 1, True), (1, 64, False))
    for name, dtype in (("float32", None), ("bfloat16", torch.bfloat16), ("float16", torch.float16))
]


class PlainBlock(nn.Module):
    """A residual block, of the same parameters, in torch's own operations."""

    def __init__(self, block: ResidualBlock):
        super().__init__()
        self.norm, self.layer, self.mixing = block.norm, block.layer, block.mixing

    def forward(self, x):
        h = F.layer_norm(x.transpose(1, 2), x.shape[1:2], self.norm.weight, self.norm.bias).transpose(1, 2)
        length, points = h.shape[-1], 2 * h.shape[-1]
        # torch.fft has no bfloat16, and float16 of powers of two alone.
        h = h.float()
        spectrum = torch.fft.rfft(h, points) * torch.fft.rfft(self.layer.weight[:, :length], points)
        y = torch.fft.irfft(spectrum, points)[..., :length] + self.layer.d[:, None] * h
        return x + F.glu(self.mixing(F.gelu(y)), 1)


def plain(model: Classifier) -> Classifier:
    """The same model, whose blocks are plain ones."""
    model = copy.deepcopy(model)
    stages = [PlainBlock(stage) if isinstance(stage, ResidualBlock) else stage for stage in model.stages]
    model.stages = nn.Sequential(*stages)
    return model


class Training:
    """A model, its batch and its optimizer."""

    def __init__(self, case: Case, peer: bool, device: str):
        torch.manual_seed(0)
        classes = tuple(map(str, range(10)))
        config = ClassifierConfig(classes, SAMPLE_RATE, channels=64, layers=4, pooling=case.pooling, dropout=0.0)
        model = Classifier(config)
        self.model = (plain(model) if peer else model).to(device)
        self.x = torch.randn(case.batch, 1, case.seconds * SAMPLE_RATE).to(device)
        self.labels = (torch.arange(case.batch) % 10).to(device)
        self.dtype, self.device = case.dtype, device
        if case.graphs:
            with self._autocast():
                self.model = torch.cuda.make_graphed_callables(self.model, (self.x,))
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        self.first_loss = self.step()  # after which the optimizer's state is there

    def step(self) -> float:
        with self._autocast():
            loss = F.cross_entropy(self.model(self.x), self.labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())

    def _autocast(self):
        return torch.autocast(self.device, self.dtype, enabled=self.dtype is not None, cache_enabled=False)

    def seconds(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        self.step()  # which waits for the loss
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--memory", nargs=2, metavar=("CASE", "PEER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        index, peer = map(int, arguments.memory)
        print(json.dumps(_resident_peak(CPU[index], bool(peer))))
        return
    header("Training step", "torch")
    if arguments.device == "cuda":
        print(f"{torch.cuda.get_device_name()}\n")
    rows = [
        _row(index, case, arguments.device) for index, case in enumerate(CUDA if arguments.device == "cuda" else CPU)
    ]
    table(["batch", "step", "torch.fft", "ratio", "memory", "torch.fft", "ratio"], rows)


def _row(index: int, case: Case, device: str) -> list:
    """Of one case: milliseconds and megabytes, ours and the peer's, and how ours stand to the peer's."""
    both = {peer: Training(case, peer, device) for peer in (False, True)}
    losses = [training.first_loss for training in both.values()]  # of the same weights
    assert abs(losses[0] - losses[1]) < 0.01 * losses[1], losses
    times = in_turn({peer: training.seconds for peer, training in both.items()}, ROUNDS)
    ours, peers = (min(times[peer]) * 1e3 for peer in (False, True))
    name = f"{case.batch} of {case.name}"
    cells = [f"{ours:.1f} ms", f"{peers:.1f} ms", f"{ours / peers:.2f}"]
    if case.graphs:
        return [name, *cells, "-", "-", "-"]
    if device == "cuda":
        del both
        memory = [_allocated_peak(case, peer) / 1e6 for peer in (False, True)]
    else:
        memory = [_measured(index, peer) / 1e6 for peer in (False, True)]
    return [name, *cells, f"{memory[0]:.0f} MB", f"{memory[1]:.0f} MB", f"{memory[0] / memory[1]:.2f}"]


def _allocated_peak(case: Case, peer: bool) -> int:
    training = Training(case, peer, "cuda")
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    training.step()
    return torch.cuda.max_memory_allocated() - held


def _measured(index: int, peer: bool) -> int:
    command = [sys.executable, str(Path(__file__)), "--memory", str(index), str(int(peer))]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _resident_peak(case: Case, peer: bool) -> int:
    """The largest resident set in steps above that with model and batch, in bytes."""
    training = Training(dataclasses.replace(case, batch=1), peer, "cpu")  # what a first step loads
    training.x = torch.randn(case.batch, 1, case.seconds * SAMPLE_RATE)
    training.labels = torch.arange(case.batch) % 10
    held = _status("VmRSS")
    for _ in range(2):
        training.step()
    return _status("VmHWM") - held


def _status(name: str) -> int:
    """Of this process, in bytes. Its resource usage would count what the parent had in memory as well."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
