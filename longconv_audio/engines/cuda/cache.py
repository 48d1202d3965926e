"""The cubins of earlier runs, in the user's cache folder.

An entry's name is a hash of everything that went into it. It is written under another name, complete, and then renamed:
whoever reads it, in this process or in another, finds the whole of it or nothing. A checksum tells a damaged one.
"""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import warnings
from pathlib import Path

from .compiler import OPTIONS, Cubin, compile_kernel, compiler_version, source_folder, sources_digest
from .files import write_whole

# To be raised when the layout of an entry changes.
_MAGIC = b"longconv cubin 2"
_HEAD = struct.Struct(f"<{len(_MAGIC)}s32s")  # magic, SHA-256 of the rest
_LENGTH = struct.Struct("<I")  # of the symbol's name; the name and the code follow

_complained: set[str] = set()


def cubin(header: str, name: str, arch: str, folder: Path | None = None, *, anew: bool = False) -> Cubin:
    """The kernel's machine code: from the cache, else compiled and put there.

    Arguments and errors as of `compile_kernel`; with `anew` what the cache has is replaced. A cache that cannot be used
    costs time and nothing else: it is warned of once.
    """
    folder = folder or source_folder()
    entry = _entry(header, name, arch, folder)
    found = None if entry is None or anew else _read(entry)
    if found is None:
        found = compile_kernel(header, name, arch, folder)
        # Sources that were edited meanwhile may be in there, or may not.
        if entry is not None and entry == _entry(header, name, arch, folder):
            _write(entry, found)
    return found


def cache_folder(kind: str = "cubins") -> Path | None:
    """Where entries of a kind are kept; None where the user has no home."""
    named = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    try:
        if named and os.path.isabs(named):
            base = Path(named)
        else:
            base = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    except RuntimeError:
        return None
    return base / "longconv-audio" / kind


def _entry(header: str, name: str, arch: str, folder: Path) -> Path | None:
    kept = cache_folder()
    if kept is None:
        _complain("there is no home folder", "")
        return None
    parts = (sources_digest(folder), header, name, arch, repr(sorted(OPTIONS.items())), compiler_version())
    return kept / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:40]}.cubin"


def _read(entry: Path) -> Cubin | None:
    """What is in an entry; None where there is none, and where it is damaged."""
    try:
        content = entry.read_bytes()
    except OSError:
        return None
    if len(content) < _HEAD.size:
        return None
    magic, checksum = _HEAD.unpack_from(content)
    rest = content[_HEAD.size :]
    if magic != _MAGIC or hashlib.sha256(rest).digest() != checksum:
        return None
    (length,) = _LENGTH.unpack_from(rest)
    symbol, code = rest[_LENGTH.size :][:length], rest[_LENGTH.size + length :]
    return Cubin(code, symbol.decode(), cached=True)


def _write(entry: Path, made: Cubin) -> None:
    symbol = made.symbol.encode()
    rest = _LENGTH.pack(len(symbol)) + symbol + made.code
    head = _HEAD.pack(_MAGIC, hashlib.sha256(rest).digest())
    try:
        write_whole(entry, head + rest)
    except OSError as error:
        _complain(error.strerror or str(error), str(entry.parent))


def _complain(reason: str, folder: str) -> None:
    if folder not in _complained:
        _complained.add(folder)
        place = f" in {folder}" if folder else ""
        message = f"compiled kernels cannot be kept{place} ({reason}): each run compiles them again"
        warnings.warn(message, RuntimeWarning, stacklevel=4)
