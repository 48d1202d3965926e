"""ffmpeg's `afir` filter as a peer: every ffmpeg there is, at the partition size that suits it best."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from measuring import in_turn, spend

PARTITIONS = (1024, 4096, 8192, 16384, 32768, 65536)


@dataclass(frozen=True)
class Ffmpeg:
    """A program, its version, and the largest partition that its `afir` takes."""

    program: str
    version: str
    largest: int
    normalises: bool

    def command(self, source: Path, ir: Path, target: Path, partition: int) -> list[str]:
        """File to file, with the IR's level left alone. The output ends with the input: `afir` drops the tail."""
        # 5.1 has no irnorm; without a gain type it doubles the level.
        level = "irnorm=-1" if self.normalises else "gtype=none:dry=1:wet=0.5"
        graph = f"afir={level}:minp={partition}:maxp={partition}:maxir=60"
        inputs = ["-i", str(source), "-i", str(ir)]
        return [self.program, "-v", "error", "-y", *inputs, "-lavfi", graph, "-c:a", "pcm_f32le", str(target)]

    def best_partition(self, source: Path, ir: Path, target: Path, tries: int = 2) -> int:
        """The size with the shortest run among some tries of each."""
        sizes = [size for size in PARTITIONS if size <= self.largest]
        calls = {size: lambda size=size: spend(self.command(source, ir, target, size)).wall for size in sizes}
        times = in_turn(calls, tries)
        target.unlink()
        return min(sizes, key=lambda size: min(times[size]))


def find() -> list[Ffmpeg]:
    """The ffmpeg that imageio-ffmpeg brings and the system's, where installed."""
    programs = []
    try:
        import imageio_ffmpeg

        programs.append(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        print("imageio-ffmpeg: not installed, skipped  ")
    if system := shutil.which("ffmpeg"):
        programs.append(system)
    else:
        print("ffmpeg: the system has none, skipped  ")
    return [_examine(program) for program in dict.fromkeys(programs)]


def _examine(program: str) -> Ffmpeg:
    def output(*arguments: str) -> str:
        return subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout

    options = output("-hide_banner", "-h", "filter=afir")
    largest = int(re.search(r"maxp .*\(from \d+ to (\d+)\)", options)[1])
    found = re.search(r"ffmpeg version n?([0-9]+(?:\.[0-9]+)*)", output("-version"))
    return Ffmpeg(program, found[1] if found else "?", largest, "irnorm" in options)
