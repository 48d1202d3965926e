"""Running the command line as people and scripts do, and looking at what it leaves behind."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

LONGCONV = (sys.executable, "-m", "longconv_audio.cli")
# As an installed program has it, its bytecode is kept: to compile it at every start would count as ours.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
RATE = 48_000
# Larger files are compared by size and time of change.
_DIGESTED_BYTES = 64 << 20


@dataclass
class Result:
    """What a run gave, and what its folder held before and after it."""

    code: int
    stdout: bytes
    stderr: str
    before: dict
    after: dict

    @property
    def lines(self) -> list[str]:
        return self.stderr.splitlines()


def run(*args, cwd, stdin=b"", timeout=60, **options) -> Result:
    """Runs `longconv` with these arguments in a folder."""
    (result,) = run_each([args], cwd=cwd, stdin=stdin, timeout=timeout, **options)
    return result


def run_each(commands, *, cwd, stdin=b"", timeout=60, **options) -> list[Result]:
    """Runs `longconv` with each of these arguments in a folder, some at the same time."""

    def execute(args):
        command = [*LONGCONV, *map(str, args)]
        return subprocess.run(
            command, cwd=cwd, input=stdin, capture_output=True, timeout=timeout, env=ENVIRONMENT, **options
        )

    before = listing(cwd)
    with ThreadPoolExecutor(2 if len(commands) > 1 else 1) as pool:
        ends = list(pool.map(execute, commands))
    after = listing(cwd)
    results = [Result(end.returncode, end.stdout, end.stderr.decode(), before, after) for end in ends]
    for result in results:
        # Python's own words are for programmers.
        assert "Traceback" not in result.stderr, result.stderr
        assert "Warning" not in result.stderr, result.stderr
    return results


def succeed(*args, cwd, **options) -> Result:
    """Runs what must come out well, and leave nothing but its output."""
    result = run(*args, cwd=cwd, **options)
    assert result.code == 0, result.stderr
    assert not [name for name in result.after if name.endswith(".part")]
    return result


def fail(code: int, *args, cwd, **options) -> str:
    """Runs what must fail: with this code, one line, no output, and every file in the folder as it was.

    Returns:
        the line.
    """
    return failed(run(*args, cwd=cwd, **options), code)


def fail_each(code: int, commands, *, cwd, **options) -> list[str]:
    """Runs several that must fail as `fail` says; their lines."""
    return [failed(result, code) for result in run_each(commands, cwd=cwd, **options)]


def failed(result: Result, code: int) -> str:
    """Checks that a run failed as `fail` says."""
    assert result.code == code, (result.code, result.stderr)
    assert len(result.lines) == 1, result.stderr
    assert result.lines[0].startswith("longconv: ")
    assert result.stdout == b""
    assert result.after == result.before
    return result.lines[0]


@contextmanager
def started(*args, cwd, **options):
    """A `longconv` under way, to be interrupted. What is left of it ends here."""
    command = [*LONGCONV, *map(str, args)]
    options = {"preexec_fn": default_signals, "env": ENVIRONMENT} | options
    process = subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, **options)
    try:
        yield process
    finally:
        process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        process.wait(timeout=20)


def default_signals() -> None:
    """What a program in the foreground starts with; in the background, shells have it ignore Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def wait_for(condition, seconds=20.0) -> None:
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def listing(folder) -> dict:
    """What each file below a folder, hidden ones included, holds."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        status = path.lstat()
        if not path.is_file() or path.is_symlink():
            found[str(path.relative_to(folder))] = "no file"
        elif status.st_size > _DIGESTED_BYTES:
            found[str(path.relative_to(folder))] = (status.st_size, status.st_mtime_ns)
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if os.access(path, os.R_OK) else ""
            found[str(path.relative_to(folder))] = (status.st_size, digest)
    return found


def write(path, x, rate=RATE, subtype="FLOAT", **options) -> None:
    """Writes samples `(channels, n)` or `(n,)` by soundfile."""
    soundfile.write(str(path), np.atleast_2d(x).T, rate, subtype=subtype, **options)


def read(path) -> np.ndarray:
    """Reads samples `(channels, n)` in float64 by soundfile."""
    return soundfile.read(str(path), dtype="float64", always_2d=True)[0].T


def convolve(x, h) -> np.ndarray:
    """The full convolution of `(channels, n)` with `(channels, K)` or `(K,)`, in float64: the oracle."""
    from scipy.signal import fftconvolve

    x = np.asarray(x, np.float64)
    h = np.broadcast_to(np.atleast_2d(np.asarray(h, np.float64)), (len(x), np.shape(h)[-1]))
    return fftconvolve(x, h, axes=1)


def decaying(rng, channels, taps) -> np.ndarray:
    """Noise that decays by 60 dB, its energy about 1: an impulse response. Exact in float32."""
    shape = 10 ** (-3 * np.arange(taps) / taps) * np.sqrt(14 / taps)
    return (rng.standard_normal((channels, taps)) * shape).astype(np.float32)


def noise(rng, channels, frames) -> np.ndarray:
    """White noise of unit scale. Exact in float32."""
    return rng.standard_normal((channels, frames)).astype(np.float32)


def wav_header(data_bytes, channels=2, rate=RATE, width=4, tag=3) -> bytes:
    """The 44 bytes before the samples, with the data size as given."""
    block = channels * width
    parts = [b"RIFF", min(36 + data_bytes, 0xFFFFFFFF).to_bytes(4, "little"), b"WAVEfmt ", (16).to_bytes(4, "little")]
    parts += [tag.to_bytes(2, "little"), channels.to_bytes(2, "little"), rate.to_bytes(4, "little")]
    parts += [(rate * block).to_bytes(4, "little"), block.to_bytes(2, "little"), (8 * width).to_bytes(2, "little")]
    return b"".join([*parts, b"data", data_bytes.to_bytes(4, "little")])


def rf64_header(frames, channels=2, rate=RATE, width=4, tag=3) -> bytes:
    """The 80 bytes before the samples of an RF64."""
    data = frames * channels * width
    sizes = b"".join(size.to_bytes(8, "little") for size in (72 + data, data, frames)) + bytes(4)
    plain = wav_header(0xFFFFFFFF, channels, rate, width, tag)
    return b"RF64\xff\xff\xff\xffWAVEds64" + (28).to_bytes(4, "little") + sizes + plain[12:]


def interleaved(x, dtype="<f4") -> bytes:
    """Samples `(channels, n)` as the bytes of a file."""
    return np.ascontiguousarray(np.asarray(x).T).astype(dtype).tobytes()
