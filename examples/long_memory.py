"""Memory of 1 to 16 seconds, from raw samples: long convolutions beside a dilated CNN of equal size.

The sound, at 16 kHz, is noise with a tone of 64 ms every half a second, at one of eight frequencies. One tone is
marked: another tone sounds with it. The question at every later moment is which frequency the marked one had, up to
16 s and 32 unmarked tones ago. All models hear one step of 64 samples at a time, detect by the same three layers of
short filters, answer causally, and learn the same steps. What remembers differs:

- two long convolutions (`SGConv`) with filters of 4000 steps, which are 16 s: 100 % right at all distances;
- as many parameters in layers of dilated filters of 3 taps (WaveNet's: van den Oord et al. 2016). Each layer doubles
  how far back they reach, and the four that this gives reach 1 s: 100 % right that far, and then chance;
- eight such layers, which reach 16 s for half as many parameters again: 100 % right.

Then the long convolutions run on a sound 8 times longer than any in training, of which their filters span a part:
98 % right after 8 s, 88 % just before the tone leaves the filters.

Run it as it stands: python examples/long_memory.py [--quick] [-o FOLDER]
That takes five minutes of one CPU core. (The figures above are what it printed on an AMD EPYC with torch 2.14.)
FOLDER gets a plot, long_memory.png.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from torch import nn

from longconv_audio.nn import ChannelNorm, DownPool, LongConv1d, ResidualBlock, SGConv, parameter_groups

RATE, STEP, BURST = 16_000, 64, 1024  # hertz, samples of a step, samples of a tone
CLASSES, MARK = [500.0, 700.0, 1000.0, 1400.0, 2000.0, 2800.0, 3500.0, 4500.0], 6000.0  # hertz
CHANNELS, TAPS = 24, 16 * RATE // STEP
# Seconds of sound, sounds in a batch and steps: long sounds come when short ones are understood.
STAGES = [(1, 32, 200), (2, 16, 100), (4, 8, 100), (8, 4, 200), (16, 2, 400)]


def sounds(batch: int, seconds: float, generator: torch.Generator, at: float | None = None):
    """Sounds `(batch, 1, samples)`, the class of each one's marked tone, and the step at which that has ended.

    Args:
        at: when the marked tone begins, in seconds; None for random times, half of them in the first quarter.
    """
    slots = int(seconds * RATE) // BURST  # tones do not overlap
    classes = torch.randint(len(CLASSES), (batch, slots), generator=generator)
    heard = torch.rand(batch, slots, generator=generator) < 2 * BURST / RATE
    place = (torch.rand(batch, generator=generator).square() * slots).long()
    place = place if at is None else torch.full_like(place, int(at * RATE / BURST))
    items = torch.arange(batch)
    heard[items, place] = True

    turns = torch.tensor([*CLASSES, MARK])[:, None] * torch.arange(BURST) / RATE
    tones = torch.polar(torch.hann_window(BURST).expand_as(turns), 2 * math.pi * turns)
    phase = torch.rand(2, batch, slots, 1, generator=generator) * 2 * math.pi
    phase = torch.polar(torch.ones_like(phase), phase)
    tone = (tones[classes] * phase[0]).real * heard[..., None]  # (batch, slots, samples of a tone)
    tone[items, place] += (tones[-1] * phase[1][items, place]).real
    x = 0.1 * torch.randn(batch, int(seconds * RATE), generator=generator)
    x[:, : slots * BURST] += tone.flatten(1)
    return x.unsqueeze(1), classes[items, place], (place + 1) * (BURST // STEP)


def model(memory: list[nn.Module]) -> nn.Sequential:
    """Samples `(B, 1, L)` to logits `(B, classes, steps)`."""
    return nn.Sequential(
        *(DownPool(1, CHANNELS, STEP), nn.GELU(), nn.Conv1d(CHANNELS, CHANNELS, 1), nn.GELU()),
        *(dilated(1), dilated(2), dilated(4)),
        *memory,
        *(ChannelNorm(CHANNELS), nn.Conv1d(CHANNELS, len(CLASSES), 1)),
    )


def dilated(dilation: int) -> nn.Module:
    return ResidualBlock(LongConv1d(CHANNELS, CHANNELS, 3, dilation=dilation, padding="causal"), CHANNELS)


def long() -> nn.Module:
    return ResidualBlock(SGConv(CHANNELS, TAPS, scale_size=16, decay=0.7), CHANNELS, glu=True)


def train(net: nn.Module, stages: list[tuple[int, int, int]]) -> None:
    optimizer = torch.optim.AdamW(parameter_groups(net, lr=5e-3, weight_decay=0.01))
    total = sum(steps for *_, steps in stages)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1, (n + 1) / 50, 2.5 * (total - n) / total))
    generator = torch.Generator().manual_seed(0)
    for seconds, batch, steps in stages:
        for _ in range(steps):
            x, classes, end = sounds(batch, seconds, generator)
            logits = net(x)  # (batch, classes, steps)
            age = torch.arange(logits.shape[-1]) - end[:, None]
            # Every doubling of the distance counts the same; before the tone there is nothing to answer.
            weight = (age >= 0) / (age.clamp(min=0) + 5.0)
            loss = nn.functional.cross_entropy(logits, classes[:, None].expand_as(age), reduction="none")
            optimizer.zero_grad()
            ((loss * weight).sum() / weight.sum()).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()


@torch.no_grad()
def accuracy(net: nn.Module, seconds: float, batches: int, before: float = 0.0) -> torch.Tensor:
    """The share of right answers at each step after the tone, `before` seconds of other sound having gone by."""
    generator = torch.Generator().manual_seed(1)
    right = 0.0
    for _ in range(batches):
        x, classes, end = sounds(8, before + seconds, generator, at=before)
        right = right + (net(x)[..., int(end[0]) :].argmax(1) == classes[:, None]).float().mean(0)
    return right / batches


def draw(path: Path, curves: dict[str, torch.Tensor]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for width, (name, curve) in zip((5, 1, 1, 2), curves.items(), strict=True):  # two lie upon each other
        seconds = (BURST + STEP * (torch.arange(len(curve)) + 1)) / RATE
        axes.semilogx(seconds, 100 * curve, label=name, linewidth=width)
    axes.axhline(100 / len(CLASSES), color="gray", linestyle=":", label="chance")
    axes.set(xlabel="seconds since the marked tone began", ylabel="% right", xlim=(0.1, None), ylim=(0, 103))
    axes.legend()
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a run of seconds, on short sounds, which learns little")
    parser.add_argument("-o", "--output", help="folder for the plot")
    options = parser.parse_args()
    longest, stages, batches = (16, STAGES, 16) if not options.quick else (2, [(1, 8, 5), (2, 4, 5)], 1)

    curves, distances = {}, [d for d in (0.25, 0.5, 1, 2, 4, 8, 12, 15.9) if d < longest]
    print(f"% right, after  {'  '.join(f'{d:>4} s' for d in distances)}")

    def say(name: str, note: str, curve: torch.Tensor) -> None:
        curves[f"{name}, {note}"] = curve
        figures = (100 * curve[int(d * RATE / STEP) - BURST // STEP - 1] for d in distances)
        print(f"{name}, {note}:\n{' ' * 16}" + "  ".join(f"{figure:>6.0f}" for figure in figures))

    for name, memory in (
        ("two long convolutions", [long(), long()]),
        ("four dilated layers", [dilated(2**i) for i in range(3, 7)]),
        ("eight dilated layers", [dilated(2**i) for i in range(3, 11)]),
    ):
        torch.manual_seed(0)
        net, began = model(memory), time.perf_counter()
        train(net, stages)
        print(f"{time.perf_counter() - began:.0f} s of training")
        size = sum(p.numel() for p in net.parameters())
        say(name, f"{size} parameters", accuracy(net, longest, batches))
        if "long" in name:
            say(name, f"in {8 * longest} s of sound", accuracy(net, longest, batches // 4 + 1, before=7 * longest))
    if options.output:
        Path(options.output).mkdir(parents=True, exist_ok=True)
        draw(Path(options.output, "long_memory.png"), curves)


main()
