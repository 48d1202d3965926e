"""Ten minutes of stereo through a 6 s impulse response on an NVIDIA GPU: in its memory, and from file to file.

    PYTHONPATH=. python benchmarks/gpu_apply.py [--seconds 600] [--ir-seconds 6] [--rounds 20]

48 kHz, single precision, one filter a channel, the whole tail. In memory: samples in, samples out, on the device; the
median of CUDA events. The floor is the time of reading every sample once and writing every result once at the rate of a
copy in the same run. Where no spectrum is prepared, the filter's is part of the time. SNR is against float64, over the
whole of both channels.

From file to file: float WAV, wall clock, the best of three. A whole process starts Python, torch and CUDA; the line
below it is the same in a process that has them. "no convolution" reads the input and writes a file as long as the
output. ffmpeg, on the CPU, leaves the tail out; it is looked for where imageio-ffmpeg or the system has it.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ffmpeg
import numpy as np
import torch
from gpu_long_conv import copy_rate, median_time
from measuring import decaying_noise, header, spend, table

from longconv_audio import AudioReader, AudioWriter, Convolver, FilterSpectrum, long_conv
from longconv_audio.cost_model import fast_sizes
from longconv_audio.filter_chain import FilterSettings
from longconv_audio.rendering import Rendering, RenderSettings

RATE, CHANNELS = 48_000, 2
DEVICE = torch.device("cuda", 0)
BLOCKS = (1 << 20, 1 << 21, 1 << 22)  # points of the peers' transforms
STREAM_BLOCK = 10 * RATE
FILE_ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--ir-seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    frames, taps = round(options.seconds * RATE), round(options.ir_seconds * RATE)
    header(f"Long filters on {torch.cuda.get_device_name(DEVICE)}", "torch", "numpy")
    rng = np.random.default_rng(3)
    x = 0.1 * rng.standard_normal((CHANNELS, frames), np.float32)
    h = decaying_noise(rng, CHANNELS, taps).astype(np.float32)
    print(f"{options.seconds:g} s of stereo at {RATE} Hz, {taps} taps a channel, single precision.\n")
    expected = in_double(x, h)
    in_memory(x, h, expected, options.rounds)
    with tempfile.TemporaryDirectory(prefix="longconv-bench-") as folder:
        file_to_file(Path(folder), x, h, expected)


def in_double(x: np.ndarray, h: np.ndarray) -> torch.Tensor:
    """What both tables are held against, in the CPU's memory, a channel at a time for the device's."""
    rows = []
    for signal, taps in zip(x, h, strict=True):
        u, k = (torch.from_numpy(row).to(DEVICE, torch.float64) for row in (signal, taps))
        rows.append(one_shot(u, k).cpu())
    return torch.stack(rows)


# ---- in the GPU's memory


def in_memory(x: np.ndarray, h: np.ndarray, expected: torch.Tensor, rounds: int) -> None:
    u, k = torch.from_numpy(x).to(DEVICE)[None], torch.from_numpy(h).to(DEVICE)
    total = u.shape[-1] + k.shape[-1] - 1
    floor = CHANNELS * 4 * (u.shape[-1] + total) / copy_rate()
    ours = our_calls(u, k)
    peers = {"torch.fft, one transform": lambda: one_shot(u, k)}
    for points in BLOCKS:
        if points > 2 * k.shape[-1]:
            spectrum = torch.fft.rfft(k, points)
            peers[f"torch.fft, overlap-save, {points} points, spectrum prepared"] = (
                lambda points=points, spectrum=spectrum: overlap_save(u, spectrum, k.shape[-1], points)
            )
    figures = {name: measured(call, expected, rounds) for name, call in (ours | peers).items()}
    rival = min(figures[name][0] for name in peers)
    rows = [
        [
            name,
            f"{seconds * 1e3:.2f}",
            f"{seconds / floor:.1f}",
            f"{rival / seconds:.2f}",
            f"{total / RATE / seconds:.0f}",
            f"{memory / 1e6:.0f}",
            f"{decibels:.1f}",
        ]
        for name, (seconds, memory, decibels) in sorted(figures.items(), key=lambda item: item[1][0])
    ]
    print(f"In the GPU's memory, the median of {rounds}; the floor is {floor * 1e3:.2f} ms:\n")
    table(["call", "ms", "x floor", "x faster than the best torch.fft", "x real time", "peak MB", "SNR dB"], rows)


def our_calls(u: torch.Tensor, k: torch.Tensor) -> dict[str, Callable[[], torch.Tensor]]:
    spectrum = FilterSpectrum(k, u.shape[-1], mode="full")
    convolver = Convolver(k, device=DEVICE)

    def in_blocks() -> torch.Tensor:
        blocks = [convolver.process(block) for block in u[0].split(STREAM_BLOCK, dim=-1)]
        return torch.cat([*blocks, convolver.flush()], dim=-1)

    return {
        "long_conv, spectrum prepared": lambda: long_conv(u, spectrum, mode="full"),
        "long_conv": lambda: long_conv(u, k, mode="full"),
        f"Convolver, blocks of {STREAM_BLOCK // RATE} s": in_blocks,
    }


def one_shot(u: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """The whole by one transform."""
    total = u.shape[-1] + k.shape[-1] - 1
    points = fast_sizes(total, 2 * total)[0]
    return torch.fft.irfft(torch.fft.rfft(u, points) * torch.fft.rfft(k, points), points)[..., :total]


def overlap_save(u: torch.Tensor, spectrum: torch.Tensor, taps: int, points: int) -> torch.Tensor:
    """The whole in blocks, all of them in one call."""
    total, hop = u.shape[-1] + taps - 1, points - taps + 1
    rows = -(-total // hop)
    windows = torch.nn.functional.pad(u, (taps - 1, rows * hop - u.shape[-1])).unfold(-1, points, hop)
    y = torch.fft.irfft(torch.fft.rfft(windows) * spectrum[:, None], points)[..., taps - 1 :]
    return y.flatten(-2)[..., :total]


def measured(call: Callable[[], torch.Tensor], expected: torch.Tensor, rounds: int) -> tuple[float, int, float]:
    """Seconds, bytes of memory beside the arguments, and the error."""
    call()  # what is kept for later calls is not the call's memory
    torch.cuda.reset_peak_memory_stats(DEVICE)
    before = torch.cuda.memory_allocated(DEVICE)
    y = call()
    memory = torch.cuda.max_memory_allocated(DEVICE) - before
    error = decibels(y.reshape(CHANNELS, -1), expected)
    del y
    return median_time(call, rounds), memory, error


def decibels(y: torch.Tensor, expected: torch.Tensor) -> float:
    """The ratio of the expected energy to that of the error."""
    energy = noise = 0.0
    for row, wanted in zip(y, expected, strict=True):
        wanted = wanted.to(DEVICE)
        noise += float((row.to(DEVICE, torch.float64) - wanted).square().sum())
        energy += float(wanted.square().sum())
    return float(10 * np.log10(energy / noise)) if noise else float("inf")


# ---- from file to file


def file_to_file(folder: Path, x: np.ndarray, h: np.ndarray, expected: torch.Tensor) -> None:
    source, ir, target = (folder / f"{name}.wav" for name in ("input", "ir", "output"))
    write(source, x)
    write(ir, h)
    gpu = ["apply", str(source), str(ir), "-o", str(target), "-q", "-y", "--device", "cuda"]
    calls = {
        "longconv apply --device cuda, whole process": lambda: spend([*program(), *gpu]).wall,
        "the same in a running process": lambda: wall(lambda: render(source, ir, target, "cuda")),
        "longconv apply --device cpu, whole process": lambda: spend([*program(), *gpu[:-1], "cpu"]).wall,
        "no convolution": lambda: wall(lambda: passed_on(source, target, expected.shape[-1])),
    }
    for rival in ffmpeg.find():
        size = rival.best_partition(source, ir, target, tries=1)
        command = rival.command(source, ir, target, size)
        calls[f"ffmpeg {rival.version} afir {size}, CPU"] = lambda command=command: spend(command).wall
    seconds, errors = {}, {}
    for name, call in calls.items():
        seconds[name] = min(call() for _ in range(FILE_ROUNDS))
        with AudioReader(str(target)) as reader:
            y = torch.from_numpy(reader.read())
        errors[name] = "" if name == "no convolution" else f"{decibels(y, expected[:, : y.shape[1]]):.1f}"
    rivals = [value for name, value in seconds.items() if name.startswith("ffmpeg")]
    rows = [
        [name, f"{value:.2f}", f"{min(rivals) / value:.2f}" if rivals else "not installed", errors[name]]
        for name, value in sorted(seconds.items(), key=lambda item: item[1])
    ]
    print(f"\nFrom file to file, {source.stat().st_size / 1e6:.0f} MB in, the best of {FILE_ROUNDS}:\n")
    table(["tool", "wall s", "x faster than ffmpeg", "SNR dB"], rows)


def program() -> list[str]:
    """The command line, installed or not: without an installation its folder is a package by itself."""
    installed = importlib.util.find_spec("longconv_audio.cli") is not None
    return [sys.executable, "-m", "longconv_audio.cli" if installed else "cli"]


def render(source: Path, ir: Path, target: Path, device: str) -> None:
    settings = RenderSettings(overwrite=True, device=device)
    Rendering(str(source), [str(ir)], str(target), FilterSettings(), settings).run()


def passed_on(source: Path, target: Path, frames: int) -> None:
    """Reads a file and writes one of so many frames."""
    with (
        AudioReader(str(source)) as reader,
        AudioWriter(str(target), samplerate=RATE, channels=CHANNELS, subtype="FLOAT", overwrite=True) as writer,
    ):
        left = frames
        while (block := reader.read(1 << 18)).shape[1]:
            writer.write(block)
            left -= block.shape[1]
        writer.write(np.zeros((CHANNELS, left), np.float32))


def write(path: Path, x: np.ndarray) -> None:
    with AudioWriter(str(path), samplerate=RATE, channels=CHANNELS, subtype="FLOAT") as writer:
        writer.write(x)


def wall(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
