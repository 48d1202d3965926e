"""Builds kernels of csrc/ for the CPU and runs them on numpy arrays, with counters.

A kernel is named as NVRTC would be asked for it (``half_forward_warp<Fp16, ...>``). Each specialisation becomes a small
shared library, made by the machine's C++ compiler and kept in a temporary folder under a hash of all that went into it.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
GUARD = 256  # bytes between arrays that belong to none, so that an access past an end cannot land in a neighbour


class Counters(ctypes.Structure):
    """``struct Counters`` of machine.cpp."""

    _fields_ = [
        (name, ctypes.c_longlong)
        for name in (
            "device_sectors_read", "device_sectors_written", "load_sectors", "load_sectors_ideal", "store_sectors",
            "store_sectors_ideal", "wavefronts", "wavefronts_ideal", "tensor_instructions", "barriers", "longest_chain",
        )
    ]  # fmt: skip

    def __repr__(self) -> str:
        return "Counters(" + ", ".join(f"{name}={getattr(self, name)}" for name, _ in self._fields_) + ")"


class Fault(RuntimeError):
    """The emulator stopped the kernel: an access out of bounds, a deadlock, a copy nobody waited for."""


def in_orders(check, seed: int) -> None:
    """Calls `check` with seeds of a few orders of execution: a race shows where it is lost, mostly, not always."""
    for i in range(8):
        check((seed + 2 * i) % 2**32)


def compiler() -> str | None:
    """The machine's C++ compiler, or None."""
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")


_UNIT = """\
#include "{header}"
template <class Given>
static void call(void (*kernel)(Given), const void* arguments) {{ kernel(*static_cast<const Given*>(arguments)); }}
extern "C" void kernel(const void* arguments) {{ call{given}({kernel}, arguments); }}
extern "C" void facts(long long* to) {{
  const long long values[] = {{0, {facts}}};
  for (size_t i = 1; i < sizeof values / sizeof *values; i++) to[i - 1] = values[i];
}}
"""


@functools.cache
def build(
    header: str,
    kernel: str,
    arguments: str = "",
    facts: tuple[str, ...] = (),
    folder: Path = CSRC,
    include: tuple[Path, ...] = (),
):
    """The library that runs ``kernel`` of ``folder/header``, compiled if no earlier run has left it."""
    given = f"<{arguments}>" if arguments else ""  # else the compiler finds it
    source = _UNIT.format(header=header, given=given, kernel=kernel, facts=", ".join(facts) or "0")
    machine = _compiled((HERE / "machine.cpp").read_text(), ".o", "-O2", "-c", folders=(HERE,))
    # A kernel runs for less time than -O2 takes longer to compile it.
    library = _compiled(source, ".so", "-O1", "-shared", str(machine), folders=(HERE, folder, *include))
    loaded = ctypes.CDLL(str(library))
    loaded.run.restype = ctypes.c_char_p
    return loaded


def _compiled(source: str, ending: str, *options: str, folders: tuple[Path, ...]) -> Path:
    """What the compiler makes of the source: by the first process that asks for it, while others wait."""
    command = [compiler(), "-std=c++17", "-w", "-fPIC", *(f"-I{path}" for path in folders), *options]
    digest = hashlib.sha256(repr(command).encode() + source.encode())
    for path in folders:
        digest.update(_headers_digest(path))
    cache = Path(tempfile.gettempdir()) / f"longconv-emulator-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    made = cache / f"{digest.hexdigest()[:24]}{ending}"
    if made.exists():
        return made
    with open(made.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            part = made.with_suffix(f".part{ending}")
            given = [*command, "-x", "c++", "-", "-o", str(part)]
            done = subprocess.run(given, input=source, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{source}\ndoes not compile for the emulator:\n{done.stderr[:4000]}")
            os.replace(part, made)
    return made


@functools.cache
def _headers_digest(folder: Path) -> bytes:
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.cuh"), *folder.glob("*.h")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.digest()


def facts(library, count: int) -> list[int]:
    """The constant expressions (threads, shared bytes) that the library was built to evaluate."""
    values = (ctypes.c_longlong * count)()
    library.facts(values)
    return list(values)


@dataclass
class Device:
    """Arrays as a GPU would hold them: each on 256 bytes, with nothing beside it. Outputs start as NaNs."""

    def __post_init__(self) -> None:
        self._regions: list[tuple[int, int, bool]] = []
        self._keep: list[np.ndarray] = []

    def _place(self, nbytes: int, writable: bool, shift: int = 0) -> np.ndarray:
        raw = np.full(nbytes + 2 * GUARD + 512, 0xFF, np.uint8)
        start = -(raw.ctypes.data + GUARD) % 256 + GUARD + shift
        self._keep.append(raw)
        view = raw[start : start + nbytes]
        self._regions.append((view.ctypes.data, nbytes, writable))
        return view

    def put(self, array: np.ndarray) -> np.ndarray:
        """A copy that kernels may read."""
        array = np.ascontiguousarray(array)
        view = self._place(array.nbytes, False).view(array.dtype).reshape(array.shape)
        view[...] = array
        return view

    def empty(self, shape: tuple[int, ...], dtype) -> np.ndarray:
        """An array for a kernel to write, filled with NaNs."""
        dtype = np.dtype(dtype)
        return self._place(int(np.prod(shape)) * dtype.itemsize, True).view(dtype).reshape(shape)

    def move(self, at: int, nbytes: int, written: bool) -> np.ndarray:
        """The bytes at an address, aligned as there; NaNs where they are going to be written."""
        view = self._place(nbytes, written, at % 256)
        if not written:
            ctypes.memmove(view.ctypes.data, at, nbytes)
        return view

    def launch(
        self, library, arguments: ctypes.Structure, grid: tuple[int, ...], threads: int, shared_bytes: int, seed: int
    ) -> Counters:
        """Runs the library's kernel; raises Fault with the emulator's message and the seed."""
        n = len(self._regions)
        begins = (ctypes.c_void_p * n)(*[r[0] for r in self._regions])
        sizes = (ctypes.c_size_t * n)(*[r[1] for r in self._regions])
        writable = (ctypes.c_int * n)(*[r[2] for r in self._regions])
        size = (ctypes.c_uint * 3)(*(*grid, 1, 1)[:3])
        counters = Counters()
        failure = library.run(
            ctypes.byref(arguments), size, threads, ctypes.c_size_t(shared_bytes), begins, sizes, writable, n,
            ctypes.c_uint(seed), ctypes.byref(counters),
        )  # fmt: skip
        if failure:
            raise Fault(f"{failure.decode()} [seed {seed}]")
        return counters
