"""Where bytes go: a file that appears under its name only when whole, standard output, a pipe, a file object."""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import os
import stat
import sys

from longconv_audio.errors import OptionError, UnwritableError

from .source import plain_descriptor, unbuffered

_COPY_BYTES = 1 << 20
# Temporary files and the process that made them. An interruption between the making and the first `try` would
# leave one behind: the end of the program looks here.
_PARTS: set[tuple[int, str]] = set()


def open_target(target, overwrite: bool) -> FileTarget | StreamTarget:
    """The place that `target` names.

    Args:
        target: a path, "-" for standard output, or a file object open in binary mode.
        overwrite: whether a file that exists may be replaced.

    Raises:
        UnwritableError: exists, no such folder, not allowed.
        OptionError: not a target.
    """
    if target == "-":
        return StreamTarget(_standard_output(), "standard output")
    if isinstance(target, (str, os.PathLike)):
        path = os.fspath(target)
        with contextlib.suppress(OSError, ValueError):
            mode = os.stat(path).st_mode
            # A device or a named pipe is written into; to replace it by a file would be a nasty surprise.
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                return StreamTarget(_open_special(path), path, owned=True)
        return FileTarget(path, overwrite)
    if hasattr(target, "write") and not isinstance(target, io.TextIOBase):
        name = getattr(target, "name", None)
        return StreamTarget(target, name if isinstance(name, str) else "output")
    raise OptionError(f"{target!r} is not an output: pass a path, '-' or a binary file object")


def write_bytes(target, data: bytes, overwrite: bool) -> str:
    """Writes all of an output that is in memory.

    Args:
        target: as `open_target` takes it.
        data: the whole of it.
        overwrite: whether a file that exists may be replaced.

    Returns:
        the target's name, for messages.

    Raises:
        UnwritableError: as `open_target`, or the disk is full, the pipe broken.
        OptionError: not a target.
    """
    place = open_target(target, overwrite)
    try:
        place.write(data)
        place.finish()
    except OSError as error:
        place.discard()
        raise UnwritableError(f"{place.name}: cannot be written: {error.strerror}") from error
    except BaseException:
        place.discard()
        raise
    return place.name


class _Target:
    """Bytes in sequence, and where `seekable`, a second look at the first of them.

    Methods raise OSError as the system gives it: the writer knows how far it came and says so.
    """

    name: str
    seekable: bool
    _file: io.RawIOBase
    _origin = 0

    def write(self, data) -> None:
        """All of `data`, in as few calls as the system allows."""
        view = memoryview(data)
        while view:
            done = self._file.write(view)
            if done is None:
                raise OSError(errno.EAGAIN, "it does not take data at once (non-blocking)")
            view = view[done:]

    def rewrite_start(self, data: bytes) -> None:
        """Replace the first bytes."""
        self.seek(0)
        self.write(data)
        self.seek(0, os.SEEK_END)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place counted from the first byte written."""
        return self._file.seek(offset + (self._origin if whence == os.SEEK_SET else 0), whence) - self._origin

    def tell(self) -> int:
        """The place, counted from the first byte written."""
        return self._file.tell() - self._origin

    def copy_from(self, file) -> None:
        """Everything in `file`, from its start."""
        file.seek(0)
        while part := file.read(_COPY_BYTES):
            self.write(part)


class FileTarget(_Target):
    """A hidden temporary file beside `path`, which takes its name in `finish` and is removed in `discard`."""

    seekable = True

    def __init__(self, path: str, overwrite: bool) -> None:
        self.name, self._overwrite = path, overwrite
        try:
            # Through a symbolic link, so that what it points to is replaced and not the link.
            self._path = os.path.realpath(path)
            self._mode = self._check()
            self._part, self._file = self._make_part()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UnwritableError(f"{path}: cannot be written: {reason}") from error

    def finish(self) -> None:
        """Put the file under its name."""
        self._file.close()
        if not self._overwrite and os.path.lexists(self._path):
            raise self._exists()
        if self._mode is not None:
            os.chmod(self._part, self._mode)
        os.replace(self._part, self._path)
        _PARTS.discard((os.getpid(), self._part))

    def discard(self) -> None:
        """Remove the temporary file."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            os.unlink(self._part)
        _PARTS.discard((os.getpid(), self._part))

    def _check(self) -> int | None:
        """The permissions of the file to be replaced; None where there is none."""
        folder = os.path.dirname(self._path)
        if not os.path.isdir(folder):
            raise UnwritableError(f"{self.name}: the folder {folder} does not exist: make it first")
        try:
            mode = os.stat(self._path).st_mode
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(mode):
            raise UnwritableError(f"{self.name}: is a folder; a file name was expected")
        if not self._overwrite:
            raise self._exists()
        if not os.access(self._path, os.W_OK):
            raise UnwritableError(f"{self.name}: exists and is write-protected")
        return stat.S_IMODE(mode)

    def _make_part(self) -> tuple[str, io.FileIO]:
        folder, name = os.path.split(self._path)
        for attempt in range(100):
            # The name is shortened because a file system takes 255 bytes in all.
            stem = os.fsdecode(os.fsencode(name)[:200])
            part = os.path.join(folder, f".{stem}.{os.getpid()}{f'.{attempt}' if attempt else ''}.part")
            if (os.getpid(), part) in _PARTS:
                continue
            _PARTS.add((os.getpid(), part))
            try:
                return part, io.FileIO(part, "xb+")
            except OSError as error:
                _PARTS.discard((os.getpid(), part))
                if not isinstance(error, FileExistsError):
                    raise
        raise OSError(errno.EEXIST, "too many temporary files are left beside it")

    def _exists(self) -> UnwritableError:
        return UnwritableError(f"{self.name}: exists: pass -y/--overwrite to replace it")


@atexit.register
def _remove_parts() -> None:
    for process, part in _PARTS:
        if process == os.getpid():
            with contextlib.suppress(OSError):
                os.unlink(part)


class StreamTarget(_Target):
    """A pipe, a device or a file object, written as it comes."""

    def __init__(self, file, name: str, owned: bool = False) -> None:
        self.name, self._file, self._owned = name, file, owned
        self.seekable = _is_seekable(file)
        if self.seekable:
            self._origin = file.tell()

    def finish(self) -> None:
        """Hand on whatever the file object holds back."""
        if hasattr(self._file, "flush"):
            self._file.flush()
        if self._owned:
            self._file.close()

    def discard(self) -> None:
        """What was written cannot be taken back."""
        if self._owned:
            with contextlib.suppress(OSError):
                self._file.close()


def _is_seekable(file) -> bool:
    """Whether the start can be rewritten: in regular files and memory, but not where writes go to the end only."""
    # A temporary file is a wrapper around the file itself.
    file = getattr(file, "file", file)
    if isinstance(file, io.BytesIO):
        return file.seekable()
    descriptor = plain_descriptor(file)
    if descriptor is None or not file.seekable():
        return False
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return False
    try:
        import fcntl
    except ImportError:
        return True
    return not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND


def _open_special(path: str) -> io.FileIO:
    try:
        return io.FileIO(path, "wb")
    except OSError as error:
        raise UnwritableError(f"{path}: cannot be written: {error.strerror}") from error


def _standard_output():
    """Standard output, or why it cannot be written."""
    stream = sys.stdout
    if stream is None:
        raise UnwritableError("standard output is closed; the audio was to go there")
    if stream.isatty():
        raise UnwritableError("standard output is a terminal; pipe it on or name a file with -o")
    stream.flush()
    return unbuffered(stream, "wb")
