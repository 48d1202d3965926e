"""Bytes from a file, a pipe, standard input or a Python file object, behind one face."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys

from longconv_audio.errors import OptionError, UnreadableError

_STEP = 1 << 20
# A WAV's format is known within its first chunks; what a pipe gave before that is kept in case libsndfile must
# read it from the start.
_MEMORY_BYTES = 64 << 20


class ByteSource:
    """Reads bytes forward. Nothing is buffered ahead, beyond what `peek` was asked for.

    Args:
        source: a path, "-" for standard input, or a file object open in binary mode.

    Attributes:
        name: what to call it in messages.
        size: bytes from where reading began to the end; None on a pipe.
        position: bytes read so far.

    Raises:
        UnreadableError: missing, a folder, or not allowed to be read.
    """

    def __init__(self, source) -> None:
        self.size: int | None = None
        self.position = 0
        self._ahead = b""
        self._memory: bytearray | None = bytearray()
        self._origin = 0
        if isinstance(source, io.TextIOBase):
            raise OptionError(f"{source!r} is open as text: open it in binary mode")
        if source == "-":
            self.name, self._owned = "standard input", False
            self._file = _standard_input()
        elif isinstance(source, (str, os.PathLike)):
            self.name, self._owned = os.fspath(source), True
            self._file = _open(self.name)
        elif hasattr(source, "read"):
            name = getattr(source, "name", None)
            self.name, self._owned = name if isinstance(name, str) else "input", False
            self._file = source
        else:
            raise OptionError(f"{source!r} is not an input: pass a path, '-' or a binary file object")
        with contextlib.suppress(OSError, AttributeError, ValueError):
            if self._file.seekable() and not _is_special(self._file):
                self._origin = self._file.tell()
                self.size = self._file.seek(0, os.SEEK_END) - self._origin
                self._file.seek(self._origin)
        if self.size is not None:
            self._memory = None

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end."""
        parts, left = [], count
        while left > 0 and (part := self._some(min(left, _STEP))):
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, view: memoryview) -> int:
        """Fill `view` (of bytes); fewer only at the end. Returns how many."""
        filled = 0
        if self._ahead or self._memory is not None or not hasattr(self._file, "readinto"):
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)
        while filled < len(view):
            got = self._guard(self._file.readinto, view[filled:])
            if not got:
                break
            filled += got
        self.position += filled
        return filled

    def peek(self, count: int) -> bytes:
        """Up to `count` bytes that stay to be read; fewer only at the end."""
        while len(self._ahead) < count and (part := self._guard(self._file.read, count - len(self._ahead))):
            self._ahead += part
        return self._ahead[:count]

    def skip(self, count: int) -> int:
        """Pass over up to `count` bytes; fewer only at the end. Returns how many."""
        if self.size is not None:
            done = max(0, min(count, self.size - self.position))
            self.seek(self.position + done)
            return done
        done = 0
        while done < count and (part := self._some(min(count - done, _STEP))):
            done += len(part)
        return done

    def seek(self, position: int) -> None:
        """Go to `position` of a source that has a size."""
        self._guard(self._file.seek, self._origin + position)
        self._ahead, self.position = b"", position

    def forget(self) -> None:
        """Stop keeping what was read: the source will not be asked to begin again."""
        self._memory = None

    def whole_file(self) -> io.IOBase:
        """An unbuffered file of its own that holds everything from the beginning, at its start.

        A pipe is copied to an unnamed temporary file for that.
        """
        descriptor = plain_descriptor(self._file)
        if self.size is not None and descriptor is not None and self._origin == 0:
            self.seek(0)
            return io.FileIO(os.dup(descriptor), "rb")
        import tempfile

        spool = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - the caller closes it
        try:
            if self.size is not None:
                self.seek(0)
            elif self._memory is None:
                raise UnreadableError(f"{self.name}: its header is too long for a pipe: save it to a file first")
            else:
                self._spool(spool, bytes(self._memory))
                self.forget()
            while part := self._some(_STEP):
                self._spool(spool, part)
            spool.seek(0)
        except BaseException:
            spool.close()
            raise
        return spool

    def close(self) -> None:
        """Close what was opened here; standard input and file objects stay open."""
        if self._owned:
            self._file.close()

    def _some(self, count: int) -> bytes:
        """What one read gives, empty only at the end."""
        if self._ahead:
            part, self._ahead = self._ahead[:count], self._ahead[count:]
        else:
            part = self._guard(self._file.read, count) or b""
        self.position += len(part)
        if self._memory is not None:
            self._memory += part
            if len(self._memory) > _MEMORY_BYTES:
                self._memory = None
        return part

    def _spool(self, spool, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[spool.write(view) :]
        except OSError as error:
            raise UnreadableError(
                f"{self.name}: cannot be copied to a temporary file ({error.strerror}): set TMPDIR to a larger disk"
            ) from error

    def _guard(self, call, *args):
        try:
            return call(*args)
        except OSError as error:
            raise UnreadableError(f"{self.name}: reading failed: {error.strerror or error}") from error


def plain_descriptor(file) -> int | None:
    """The descriptor of a file whose bytes are the descriptor's own, which those of a GzipFile are not."""
    if not isinstance(file, (io.FileIO, io.BufferedReader, io.BufferedWriter, io.BufferedRandom)):
        return None
    try:
        return file.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def unbuffered(stream, mode: str):
    """The file behind a standard stream, without Python's buffer where it has a descriptor; closing leaves it open."""
    stream = getattr(stream, "buffer", stream)
    try:
        return io.FileIO(stream.fileno(), mode, closefd=False)
    except (OSError, AttributeError, ValueError):
        return stream


def _is_special(file) -> bool:
    """Whether this is a device, which may call itself seekable and has no size."""
    descriptor = plain_descriptor(file)
    return descriptor is not None and not stat.S_ISREG(os.fstat(descriptor).st_mode)


def _open(path: str) -> io.FileIO:
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            raise UnreadableError(f"{path}: is a folder; an audio file was expected")
        return io.FileIO(path, "rb")
    except FileNotFoundError:
        raise UnreadableError(f"{path}: no such file") from None
    except PermissionError:
        raise UnreadableError(f"{path}: permission denied") from None
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path}: cannot be opened: {getattr(error, 'strerror', None) or error}") from error


def _standard_input():
    """Standard input without Python's buffer, where it has a descriptor."""
    stream = sys.stdin
    if stream is None:
        raise UnreadableError("standard input is closed; audio was expected there")
    if stream.isatty():
        raise UnreadableError("standard input is a terminal; audio was expected: pipe it in or name a file")
    return unbuffered(stream, "rb")
