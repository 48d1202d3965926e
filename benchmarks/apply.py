"""`longconv apply` beside its peers: whole processes, file to file, float WAV.

    python benchmarks/apply.py            10 minutes of stereo noise at 48 kHz through a 6 s stereo IR
    python benchmarks/apply.py --grid     IRs of 10 ms to 30 s, files of 1 s to 10 min
    python benchmarks/apply.py --hour     60 minutes, for the memory (needs 3 GB of disk)
    python benchmarks/apply.py --quick    any of these in small

Wall and CPU are the best of the rounds, memory the largest. x ffmpeg: the time divided by that of the best ffmpeg at
its best partition size, in the same run; below 1 we are ahead. SNR: against a convolution in float64, over three
seconds of the output, after the one gain that fits best; where that gain is not 1 it stands beside.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import ffmpeg
import numpy as np
import scipy.signal
import soundfile
from measuring import Cost, best, decaying_noise, header, in_turn, installed, snr, spend, table

RATE = 48_000
LIBRARIES = {
    "scipy": "scipy_oaconvolve",
    "pedalboard": "pedalboard_convolution",
    "torchaudio": "torchaudio_fftconvolve",
}
US = "longconv apply"
# Seconds of the output whose error is measured, as shares of the input's length.
PLACES = (0.0, 0.5, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("grid", "hour", "quick"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--folder", help="where the files go: a scratch folder in here, removed at the end")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="longconv-bench-", dir=options.folder))
    rounds = options.rounds or (1 if options.quick else 5)
    try:
        header("longconv apply, file to file", "longconv-audio", "numpy", *LIBRARIES)
        programs = ffmpeg.find()
        if options.grid:
            grid(folder, programs, rounds, options.quick)
        elif options.hour:
            hour(folder, programs, min(rounds, 2), options.quick)
        else:
            seconds, ir_seconds = (10, 0.5) if options.quick else (600, 6)
            print(f"{seconds} s stereo, {RATE} Hz, IR of {ir_seconds:g} s, best of {rounds}:\n")
            compare(folder, programs, seconds, ir_seconds, rounds)
    finally:
        shutil.rmtree(folder)


def compare(folder: Path, programs, seconds: float, ir_seconds: float, rounds: int) -> None:
    """One case, a row for each tool."""
    case = Case(folder, seconds, ir_seconds)
    commands = case.ours() | case.libraries() | case.ffmpegs(programs)
    costs, errors = case.run(commands, rounds)
    rival = best_ffmpeg(costs)
    rows = [
        [
            name,
            f"{cost.wall:.2f}",
            ratio(cost.wall, rival and rival.wall),
            f"{cost.cpu:.2f}",
            ratio(cost.cpu, rival and rival.cpu),
            f"{cost.memory / 1e6:.0f}",
            *errors[name],
        ]
        for name, cost in sorted(costs.items(), key=lambda item: item[1].wall)
    ]
    table(["tool", "wall s", "x ffmpeg", "CPU s", "x ffmpeg", "peak MB", "SNR dB", "tail"], rows)


def grid(folder: Path, programs, rounds: int, quick: bool) -> None:
    """Many cases, a row for each, against the newest ffmpeg and the libraries."""
    lengths, irs = ((1, 10), (0.1, 1)) if quick else ((1, 10, 60, 600), (0.01, 0.1, 1, 6, 30))
    libraries = [name for name in LIBRARIES if installed(name)]
    rows = []
    for ir_seconds in irs:
        for seconds in lengths:
            case = Case(folder, seconds, ir_seconds)
            costs, errors = case.run(case.ours() | case.libraries() | case.ffmpegs(programs[:1]), rounds)
            ours, rival = costs[US], best_ffmpeg(costs)
            partition = next((name.split()[-1] for name in costs if name.startswith("ffmpeg")), "")
            theirs = [f"{rival.wall:.2f}", f"{rival.cpu:.2f}", partition] if rival else ["", "", ""]
            rows.append(
                [
                    f"{ir_seconds:g} s",
                    f"{seconds} s",
                    *(f"{ours.wall:.2f}", f"{ours.cpu:.2f}", f"{ours.memory / 1e6:.0f}", errors[US][0]),
                    *theirs,
                    ratio(ours.wall, rival and rival.wall),
                    ratio(ours.cpu, rival and rival.cpu),
                    *(f"{cost.wall:.2f}" if (cost := costs.get(name)) else "" for name in libraries),
                ]
            )
            print(".", end="", file=sys.stderr, flush=True)
    print(f"Stereo, {RATE} Hz, best of {rounds}; wall and CPU in seconds:\n")
    ours = ["longconv wall", "CPU", "MB", "SNR dB"]
    theirs = ["ffmpeg wall", "CPU", "partition", "wall x ffmpeg", "CPU x ffmpeg"]
    table(["IR", "file", *ours, *theirs, *(f"{name} wall" for name in libraries)], rows)
    if programs:
        tell_start_up(case, programs[0], rows)


def tell_start_up(case: Case, program: ffmpeg.Ffmpeg, rows: list[list[str]]) -> None:
    """Says where ffmpeg is ahead, and whether it is by its start alone."""
    starts = {"ours": [*case.ours()[US], "--dry-run"], "theirs": [program.program, "-version"]}
    runs = in_turn({name: lambda command=command: spend(command) for name, command in starts.items()}, 10)
    ours, theirs = (best(runs[name]).wall for name in ("ours", "theirs"))
    lost = [row for row in rows if float(row[2]) > float(row[6])]
    slower = [row for row in lost if float(row[2]) - ours > float(row[6]) - theirs + 0.01]
    names = ", ".join(f"IR {row[0]} x file {row[1]}" for row in slower) or "none"
    print(
        f"ffmpeg wins {len(lost)} of {len(rows)} cells. It starts in {theirs:.2f} s; Python, NumPy and our own modules "
        f"take {ours:.2f} s to load (a dry run; see benchmarks/startup.py). Without the start it would win: "
        f"{names}.\n"
    )


def hour(folder: Path, programs, rounds: int, quick: bool) -> None:
    """The same IR on 10 and on 60 minutes: the memory must not grow."""
    rows, partition = [], None
    for seconds in (5, 30) if quick else (600, 3600):
        case = Case(folder, seconds, 0.5 if quick else 6)
        theirs = case.ffmpegs(programs[:1], partition)
        partition = next((int(name.split()[-1]) for name in theirs), None)
        costs, errors = case.run(case.ours() | theirs, rounds)
        rows += [
            [name, f"{seconds} s", f"{cost.wall:.2f}", f"{cost.cpu:.2f}", f"{cost.memory / 1e6:.1f}", *errors[name]]
            for name, cost in costs.items()
        ]
    rows.sort(key=lambda row: row[0], reverse=True)
    table(["tool", "file", "wall s", "CPU s", "peak MB", "SNR dB", "tail"], rows)
    small, large = (float(row[4]) for row in rows if row[0] == US)
    print(f"Peak memory of the longer file: {large / small:.3f} x that of the shorter one.\n")


class Case:
    """One input and one IR in files, and the commands that apply the one to the other."""

    def __init__(self, folder: Path, seconds: float, ir_seconds: float):
        self.source, self.ir, self.target = (folder / f"{name}.wav" for name in ("input", "ir", "output"))
        rng = np.random.default_rng(2)
        self.taps = decaying_noise(rng, 2, round(ir_seconds * RATE)).astype(np.float32)
        soundfile.write(self.ir, self.taps.T, RATE, subtype="FLOAT")
        self.frames = round(seconds * RATE)
        with soundfile.SoundFile(self.source, "w", RATE, 2, subtype="FLOAT") as file:
            for start in range(0, self.frames, RATE):
                file.write(0.1 * rng.standard_normal((min(RATE, self.frames - start), 2), np.float32))
        self._expected = [self._reference(round(place * (self.frames - RATE))) for place in PLACES]

    def ours(self) -> dict[str, list[str]]:
        program = Path(sys.executable).with_name("longconv")
        start = [str(program)] if program.exists() else [sys.executable, "-m", "longconv_audio.cli"]
        return {US: [*start, "apply", str(self.source), str(self.ir), "-o", str(self.target), "-q"]}

    def libraries(self) -> dict[str, list[str]]:
        script = str(Path(__file__).with_name("file_peers.py"))
        return {
            name: [sys.executable, script, function, str(self.source), str(self.ir), str(self.target)]
            for name, function in LIBRARIES.items()
            if installed(name)
        }

    def ffmpegs(self, programs: list[ffmpeg.Ffmpeg], partition: int | None = None) -> dict[str, list[str]]:
        commands = {}
        for program in programs:
            size = partition or program.best_partition(self.source, self.ir, self.target)
            name = f"ffmpeg {program.version} afir {size}"
            commands[name] = program.command(self.source, self.ir, self.target, size)
        return commands

    def run(self, commands: dict[str, list[str]], rounds: int) -> tuple[dict[str, Cost], dict[str, list[str]]]:
        """The cost of each command, and its error in words; a command that fails is told and left out."""
        errors, failed = {}, set()

        def once(name: str) -> Cost | None:
            # A new file each time; removed at once, so that the system seldom comes to write it to the disk.
            with suppress(FileNotFoundError):
                self.target.unlink()
            try:
                cost = spend(commands[name])
            except RuntimeError as error:
                failed.add(name)
                print(f"{name}: failed: {error}  ")
                return None
            if name not in errors:
                errors[name] = self.judge()
            self.target.unlink()
            return cost

        results = in_turn({name: lambda name=name: once(name) for name in commands}, rounds)
        return {name: best(costs) for name, costs in results.items() if name not in failed}, errors

    def judge(self) -> list[str]:
        """SNR (and level, where it was changed) and whether the whole tail is there."""
        with soundfile.SoundFile(self.target) as file:
            frames, pieces = file.frames, []
            if frames < self.frames:
                return [f"{self.frames - frames} frames missing", "no"]
            for start, expected in self._expected:
                file.seek(start)
                pieces.append(file.read(expected.shape[1], dtype="float64").T)
        result, expected = np.concatenate(pieces, axis=1), np.concatenate([e for _, e in self._expected], axis=1)
        gain = np.sum(result * expected) / np.sum(expected**2)
        level = 20 * np.log10(abs(gain)) if gain else -np.inf
        words = f"{snr(result / gain if gain else result, expected):.1f}"
        missing = self.frames + self.taps.shape[1] - 1 - frames
        return [words if abs(level) < 0.01 else f"{words} ({level:+.1f} dB)", "yes" if missing <= 0 else "no"]

    def _reference(self, start: int) -> tuple[int, np.ndarray]:
        """A second of the output in float64, and where it begins."""
        before = min(start, self.taps.shape[1] - 1)
        x, _ = soundfile.read(self.source, RATE + before, start - before, dtype="float64", always_2d=True)
        return start, scipy.signal.fftconvolve(x.T, self.taps.astype(np.float64), axes=1)[:, before : before + RATE]


def best_ffmpeg(costs: dict[str, Cost]) -> Cost | None:
    theirs = [cost for name, cost in costs.items() if name.startswith("ffmpeg")]
    return min(theirs, key=lambda cost: cost.wall, default=None)


def ratio(ours: float, theirs: float | None) -> str:
    return f"{ours / theirs:.2f}" if theirs else ""


if __name__ == "__main__":
    main()
