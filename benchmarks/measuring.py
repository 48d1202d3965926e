"""What the benchmarks share: the machine's name, runs in turn, whole processes, errors in dB, Markdown tables."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

Result = TypeVar("Result")


@dataclass(frozen=True)
class Cost:
    """What one run took: seconds of wall clock, seconds of CPU (user and system), peak memory in bytes."""

    wall: float
    cpu: float
    memory: int = 0


def header(title: str, *packages: str) -> None:
    """Prints the benchmark's title, the machine, how busy it is, and the versions of the packages."""
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    print(f"## {title}\n\n{cpu_model()}, {cores()} cores, {platform.system()} {platform.release()}{load}  ")
    print(", ".join([f"Python {platform.python_version()}", *(version(name) for name in packages)]), end="\n\n")


def cpu_model() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def version(package: str) -> str:
    """The package with its version."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package}: not installed"


def installed(package: str) -> bool:
    """Whether there is such a distribution. It may still fail to import."""
    return not version(package).endswith("not installed")


def table(columns: list[str], rows: list[list], left: int = 1) -> None:
    """Prints a Markdown table: `left` columns to the left, the others to the right."""
    texts = [columns, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[k]) for row in texts) for k in range(len(columns))]
    for number, row in enumerate(texts):
        cells = [f"{cell:{'<' if k < left else '>'}{widths[k]}}" for k, cell in enumerate(row)]
        print(f"| {' | '.join(cells)} |")
        if not number:
            print(
                "|" + "|".join("-" * (width + 1) + ("-" if k < left else ":") for k, width in enumerate(widths)) + "|"
            )
    print(flush=True)


def in_turn(calls: dict[str, Callable[[], Result]], rounds: int, patience: float = 30.0) -> dict[str, list[Result]]:
    """The results of several runs of each call, one after the other in every round, so that all see the same machine.

    Args:
        calls: by name.
        rounds: how often.
        patience: seconds after which a call is not repeated any more.
    """
    results: dict[str, list[Result]] = {name: [] for name in calls}
    spent = dict.fromkeys(calls, 0.0)
    for _ in range(rounds):
        for name, call in calls.items():
            if spent[name] < patience:
                began = time.perf_counter()
                results[name].append(call())
                spent[name] += time.perf_counter() - began
    return results


def best(costs: list[Cost]) -> Cost:
    """The least of each figure (the largest of memory): what the machine takes when nothing disturbs it."""
    return Cost(min(c.wall for c in costs), min(c.cpu for c in costs), max(c.memory for c in costs))


def spend(command: list[str], **environment: str) -> Cost:
    """Runs a command and tells what it took.

    Raises:
        RuntimeError: where it fails, with the last line it printed.
    """
    with tempfile.NamedTemporaryFile("r", suffix=".log", errors="replace") as log:
        launcher = [sys.executable, "-S", "-E", str(Path(__file__).with_name("launch.py")), log.name]
        done = subprocess.run(
            [*launcher, *map(str, command)], capture_output=True, text=True, check=True, env=os.environ | environment
        )
        result = json.loads(done.stdout)
        if result.pop("code"):
            raise RuntimeError(f"{Path(command[0]).name}: {log.read().strip().splitlines()[-1:]}")
    return Cost(**result)


def time_call(call: Callable[[], object]) -> Cost:
    """What a call in this process took."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def snr(result: np.ndarray, expected: np.ndarray) -> float:
    """The ratio of the expected energy to that of the error, in dB."""
    noise = np.sum((np.asarray(result, np.longdouble) - expected) ** 2)
    return float(10 * np.log10(np.sum(np.asarray(expected, np.longdouble) ** 2) / noise)) if noise else float("inf")


def decaying_noise(rng: np.random.Generator, channels: int, taps: int) -> np.ndarray:
    """A hall's impulse response in short: noise that decays by 60 dB, of unit energy, `(channels, taps)`."""
    h = rng.standard_normal((channels, taps)) * 10.0 ** (-3 * np.arange(taps) / taps)
    return h / np.sqrt(np.sum(h**2, axis=-1, keepdims=True))


def pink_noise(rng: np.random.Generator, channels: int, length: int) -> np.ndarray:
    """Noise of 3 dB less an octave, of unit power, `(channels, length)`."""
    spectrum = np.fft.rfft(rng.standard_normal((channels, length)))
    spectrum /= np.sqrt(np.maximum(np.arange(spectrum.shape[-1]), 1))
    x = np.fft.irfft(spectrum, length)
    return x / x.std(axis=-1, keepdims=True)
