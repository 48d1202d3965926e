"""What starting costs: whole processes that do little, and how much of it is Python and imports.

python benchmarks/startup.py [--quick]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import ffmpeg
from apply import US, Case
from measuring import best, header, in_turn, spend, table

# What a CPU `apply` must not load.
HEAVY = ("torch", "torchaudio", "scipy.signal", "scipy.fft", "matplotlib")
WATCH = "import sys; from longconv_audio.cli import main\ntry: main()\nexcept SystemExit: pass\nprint(*sys.modules)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    header("Start-up", "longconv-audio", "numpy", "typer")
    folder = Path(tempfile.mkdtemp(prefix="longconv-bench-"))
    try:
        case = Case(folder, 1, 0.1)
        apply = [*case.ours()[US], "-y"]
        python = [sys.executable, "-c"]
        commands = {
            "python -c pass": [*python, "pass"],
            "+ import numpy": [*python, "import numpy"],
            "+ import longconv_audio.cli": [*python, "import numpy, longconv_audio.cli"],
            "+ import longconv_audio.rendering": [*python, "import longconv_audio.cli, longconv_audio.rendering"],
            "longconv --help": [apply[0], "--help"] if apply[1] == "apply" else [*apply[:3], "--help"],
            "longconv apply --dry-run": [*apply, "--dry-run"],
            "longconv apply, 1 s file, 0.1 s IR": apply,
        } | {
            f"ffmpeg {program.version} afir, the same": program.command(case.source, case.ir, case.target, 4096)
            for program in ffmpeg.find()
        }
        calls = {name: lambda command=command: spend(command) for name, command in commands.items()}
        costs = {name: best(runs) for name, runs in in_turn(calls, 1 if options.quick else 10).items()}
        rows = [
            [name, f"{cost.wall * 1e3:.0f}", f"{cost.cpu * 1e3:.0f}", f"{cost.memory / 1e6:.0f}"]
            for name, cost in costs.items()
        ]
        table(["process", "wall ms", "CPU ms", "peak MB"], rows)
        whole, imports = costs["longconv apply, 1 s file, 0.1 s IR"], costs["+ import longconv_audio.rendering"]
        print(f"Of `longconv apply`'s wall clock, Python and imports are {imports.wall / whole.wall:.0%}.  ")
        watched = subprocess.run([*python, WATCH, *apply[apply.index("apply") :]], capture_output=True, text=True)
        loaded = sorted(set(HEAVY) & set(watched.stdout.split()))
        print(f"Of {', '.join(HEAVY)} it loads {', '.join(loaded) or 'none'}.\n")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
