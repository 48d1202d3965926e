"""From bytes to planar samples: our own decoder for PCM and floating point, libsndfile for everything else."""

from __future__ import annotations

import contextlib
import os
import re
import threading

import numpy as np

from longconv_audio.errors import UnreadableError

from . import containers, pcm, wav
from .source import ByteSource

_PIECE_BYTES = 1 << 19
_PIECE_FRAMES = 1 << 16
# What libsndfile says is the number of frames where a header does not say.
_UNKNOWN_FRAMES = 1 << 62


class PcmDecoder:
    """Samples of one encoding, one after another, read through one small buffer.

    Args:
        source: stands at the first sample.
        fmt: the encoding.
        channels: samples per frame.
        frames: how many to read; None reads to the end of `source`.

    Attributes:
        frames_read: frames delivered or skipped so far.
        loose_bytes: bytes of an incomplete frame found at the end.
    """

    def __init__(self, source: ByteSource, fmt: pcm.SampleFormat, channels: int, frames: int | None) -> None:
        self.frames_read = 0
        self.loose_bytes = 0
        self._source, self._fmt, self._limit = source, fmt, frames
        self._block = channels * fmt.width
        self._piece = max(1, _PIECE_BYTES // self._block)
        self._buffer = memoryview(bytearray(self._piece * self._block))

    def read(self, out: np.ndarray) -> int:
        """Fill `out` `(channels, n)`; fewer frames only at the end. Returns how many."""
        wanted, done = self._within(out.shape[1]), 0
        while done < wanted:
            count = min(self._piece, wanted - done)
            got = self._source.readinto(self._buffer[: count * self._block])
            frames, loose = divmod(got, self._block)
            pcm.decode(self._buffer, self._fmt, out[:, done : done + frames])
            done += frames
            if frames < count:
                self.loose_bytes = loose
                break
        self.frames_read += done
        return done

    def skip(self, frames: int) -> int:
        """Pass over frames; fewer only at the end. Returns how many."""
        done, loose = divmod(self._source.skip(self._within(frames) * self._block), self._block)
        self.loose_bytes = loose
        self.frames_read += done
        return done

    def close(self) -> None:
        """Nothing: the source is closed by whoever opened it."""

    def _within(self, frames: int) -> int:
        return frames if self._limit is None else min(frames, self._limit - self.frames_read)


class LibsndfileDecoder:
    """A file of any kind that libsndfile reads.

    Args:
        file: an unbuffered file with a descriptor; closed here.
        name: what to call it in messages.

    Attributes:
        samplerate, channels, format, subtype, tags: as soundfile has them.
        frames: as declared; None where the file does not say.
        frames_read: frames delivered or skipped so far.
        failure: libsndfile's words where it gave up in the middle of the file, else empty.
        cut_short: why the file is known to be incomplete before any sample is read, else empty.

    Raises:
        UnreadableError: not audio, or damaged beyond opening.
    """

    def __init__(self, file, name: str) -> None:
        import soundfile

        class Forward(soundfile.SoundFile):
            # soundfile seeks after every read of what it thinks seekable; a FLAC of undeclared length then fails.
            def seekable(self) -> bool:
                return False

        self._file, self._library_error = file, soundfile.LibsndfileError
        self.frames_read, self.failure, self.cut_short = 0, "", ""
        file.seek(0)
        try:
            # By descriptor: by name, soundfile would take the suffix for the format.
            with _hushed:
                self._sound = Forward(file.fileno(), closefd=False)
        except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
            file.close()
            reason = getattr(error, "error_string", str(error)).rstrip(".")
            raise UnreadableError(f"{name}: not an audio file that can be read ({reason})") from error
        sound = self._sound
        self.samplerate, self.channels = sound.samplerate, sound.channels
        self.format, self.subtype = sound.format, sound.subtype
        self.tags = {tag: text for tag, text in sound.copy_metadata().items() if text}
        self.frames: int | None = None if sound.frames >= _UNKNOWN_FRAMES else sound.frames
        if self.samplerate <= 0 or self.channels <= 0:
            self.close()
            raise UnreadableError(f"{name}: the header says {self.channels} channels at {self.samplerate} Hz")
        self._buffer = np.empty((_PIECE_FRAMES // self.channels + 1, self.channels), np.float32)
        try:
            self._examine(name)
        except BaseException:
            self.close()
            raise

    def read(self, out: np.ndarray) -> int:
        """Fill `out` `(channels, n)`; fewer frames only at the end. Returns how many."""
        done = 0
        if self._buffer.dtype != out.dtype:
            self._buffer = np.empty(self._buffer.shape, out.dtype)
        while done < out.shape[1] and not self.failure:
            piece = self._buffer[: out.shape[1] - done]
            got = self._read_piece(piece)
            for channel in range(self.channels):
                out[channel, done : done + got] = piece[:got, channel]
            done += got
            if got < len(piece):
                break
        self.frames_read += done
        return done

    def skip(self, frames: int) -> int:
        """Pass over frames by decoding them: seeking in MP3 and Ogg is not exact everywhere. Returns how many."""
        done = 0
        while done < frames and not self.failure:
            got = self._read_piece(self._buffer[: frames - done])
            done += got
            if not got:
                break
        self.frames_read += done
        return done

    def close(self) -> None:
        """Close the file."""
        if not self._sound.closed:
            self._sound.close()
        self._file.close()

    def _read_piece(self, piece: np.ndarray) -> int:
        """Fill `piece` `(n, channels)`. Returns how many frames; notes a failure of the library."""
        if self.format == "FLAC":
            # Where FLAC breaks off, soundfile raises and does not say how many frames came before; FLAC holds no NaN.
            piece[:, 0] = np.nan
        try:
            with _hushed if self.format in ("MP3", "MPEG") else contextlib.nullcontext():
                return len(self._sound.read(out=piece))
        except (self._library_error, RuntimeError) as error:
            self.failure = getattr(error, "error_string", str(error)).removeprefix("Error : ").rstrip(".")
            if self.format != "FLAC":
                return 0
            missing = np.isnan(piece[:, 0])
            return int(missing.argmax()) if missing.any() else len(piece)

    def _examine(self, name: str) -> None:
        """Look for signs that the file was cut which libsndfile passes over in silence."""
        if self.format == "W64" and re.search(r"^ *data : -", self._sound.extra_info, re.MULTILINE):
            # libsndfile 1.2.2 takes samples for chunks then, and delivers noise.
            raise UnreadableError(f"{name}: a W64 that leaves its length open, as from a pipe, is not read: use WAV")
        position = self._file.tell()
        if self.format == "OGG" and not containers.ogg_is_complete(self._file):
            self.cut_short = "the Ogg stream has no last page"
        elif self.format in ("MP3", "MPEG") and not containers.mp3_declares_length(self._file):
            if containers.mp3_varies(self._file):
                self.cut_short = (
                    "the MP3 has a variable bit rate and no length: its end may be missed; ffmpeg reads it all"
                )
            self.frames = None
        else:
            declared = re.search(
                r"^ *(?:SSND|data|Data Size|riff|RIFF|FORM) *: *(\d+) \(should be (\d+)\)",
                self._sound.extra_info,
                re.MULTILINE,
            )
            if declared and int(declared[1]) > int(declared[2]) and not wav.is_streaming(int(declared[1])):
                self.cut_short = f"the header declares {declared[1]} bytes and {declared[2]} are there"
        self._file.seek(position)


class _Hush:
    """Keeps off standard error what libmpg123 writes there about a damaged file; the reader says what matters.

    The descriptor belongs to the whole process. Were each thread to redirect it for itself, one would keep the
    other's redirection and restore that; so the first to enter redirects and the last to leave restores.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._kept: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._kept = _redirect_standard_error()
            self._inside += 1

    def __exit__(self, *exc) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._kept is not None:
                os.dup2(self._kept, 2)
                os.close(self._kept)
                self._kept = None


_hushed = _Hush()


def _redirect_standard_error() -> int | None:
    """Sends standard error nowhere. Returns a descriptor of where it went; None where that cannot be done."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed: nobody listens anyway
        return None
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
    except OSError:
        os.close(kept)
        return None
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return kept
