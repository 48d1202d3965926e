"""`Convolver` block by block on one core, against the deadline: the time that a block lasts.

    python benchmarks/streaming.py [--quick]

Stereo at 48 kHz through a stereo IR of 6 s. Mean, the 99.9 % quantile and the slowest block are in microseconds of
wall clock; another process on the core shows in them, and does not in "slowest CPU". pedalboard's Convolution runs the
same blocks where it is installed. SNR is against a convolution in float64, after one gain.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import scipy.signal
from measuring import decaying_noise, header, installed, snr, table

import longconv_audio

RATE = 48_000
BLOCKS = (16, 64, 256, 1024)
# Seconds after which a candidate has shown enough.
PATIENCE = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="half a second of sound instead of 15")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    header("Convolver in real time, one core", "longconv-audio", "numpy", "scipy", "pedalboard")
    rng = np.random.default_rng(4)
    h = decaying_noise(rng, 2, 6 * RATE).astype(np.float32)
    x = 0.1 * rng.standard_normal((2, RATE // 2 if options.quick else 15 * RATE), np.float32)
    expected = scipy.signal.oaconvolve(x.astype(np.float64), h.astype(np.float64), axes=1)[:, : x.shape[1]]
    rows = []
    for block in BLOCKS:
        for name, process in candidates(h, block).items():
            rows.append([f"{block}", name, *measure(process, x, block, expected)])
    columns = ["block", "what", "deadline", "mean", "99.9 %", "slowest", "slowest CPU", "late", "x real time", "SNR dB"]
    table(columns, rows, left=2)
    if not installed("pedalboard"):
        print("pedalboard: not installed, skipped\n")


def candidates(h: np.ndarray, block: int) -> dict:
    """What takes a block and answers with one."""
    zero = longconv_audio.Convolver(h, latency="zero")
    in_blocks = longconv_audio.Convolver(h, latency="block", block_size=block)
    found = {"longconv zero": zero.process, "longconv block": in_blocks.process}
    if installed("pedalboard"):
        from pedalboard import Convolution

        peer = Convolution(h, mix=1.0, sample_rate=RATE)
        # It loads the IR in a thread and fades it in; this waits for both.
        for _ in range(50):
            peer.process(np.zeros((2, block), np.float32), RATE, block, reset=False)
            time.sleep(0.01)
        peer.process(np.zeros((2, RATE), np.float32), RATE, block, reset=False)
        found["pedalboard"] = lambda part: peer.process(part, RATE, block, reset=False)
    return found


def measure(process, x: np.ndarray, block: int, expected: np.ndarray) -> list[str]:
    """The figures of one candidate in words."""
    wall, cpu, end = [], [], 0
    y = np.zeros_like(x)
    began = time.perf_counter()
    for start in range(0, x.shape[1] - block + 1, block):
        if time.perf_counter() - began > PATIENCE:
            break
        part = np.ascontiguousarray(x[:, start : start + block])
        cpu_before, before = time.thread_time_ns(), time.perf_counter_ns()
        answer = process(part)
        wall.append(time.perf_counter_ns() - before)
        cpu.append(time.thread_time_ns() - cpu_before)
        end = start + block
        y[:, start:end] = answer
    gain = np.sum(y[:, :end] * expected[:, :end]) / np.sum(expected[:, :end] ** 2)
    error = f"{snr(y[:, :end] / gain, expected[:, :end]):.1f}" if gain else "silent"
    wall, cpu, deadline = np.array(wall) / 1e3, np.array(cpu) / 1e3, block / RATE * 1e6
    figures = [deadline, wall.mean(), np.quantile(wall, 0.999), wall.max(), cpu.max()]
    return [
        *(f"{figure:.0f}" for figure in figures),
        f"{np.count_nonzero(wall > deadline)} of {len(wall)}",
        f"{deadline / wall.mean():.1f}",
        error,
    ]


if __name__ == "__main__":
    main()
