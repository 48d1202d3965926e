"""From planar samples to bytes: our own encoder for WAV and raw, libsndfile for everything else."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from longconv_audio.errors import OptionError, UnwritableError

from . import pcm
from .formats import subtypes_of
from .targets import FileTarget, StreamTarget

_PIECE_BYTES = 1 << 20
# Formats with 32-bit sizes: libsndfile writes on past them, and the file cannot be read to its end.
_SMALL_FORMATS = ("AIFF", "AU", "SVX", "VOC", "WAV", "WAVEX")
SMALL_LIMIT = (1 << 32) - (1 << 20)
_LOSSY = ("VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")


class PlainEncoder:
    """WAV, RF64 or headerless samples.

    Args:
        target: where the bytes go.
        fmt: the encoding of the samples.
        channels: samples per frame.
        dither: see `pcm.encode`.
        header: `header(frames, reserve=...)` gives the header, as `wav_header.build_header` does;
            None for headerless samples.
        frames: how many will be written, where that is known.
    """

    def __init__(
        self,
        target: FileTarget | StreamTarget,
        fmt: pcm.SampleFormat,
        channels: int,
        dither: np.random.Generator | None,
        header,
        frames: int | None,
    ) -> None:
        self._target, self._fmt, self._dither = target, fmt, dither
        self._header, self._promised = header, frames
        self._block = channels * fmt.width
        self._piece = max(1, _PIECE_BYTES // self._block)
        self._buffer = bytearray(self._piece * self._block)
        if header is not None:
            # In a file the sizes are filled in at the end; until then it can be read like a stream.
            target.write(header(None, reserve=True) if target.seekable else header(frames))

    def write(self, x: np.ndarray) -> None:
        """Append samples `(channels, n)`."""
        for start in range(0, x.shape[1], self._piece):
            part = x[:, start : start + self._piece]
            self._target.write(pcm.encode(part, self._fmt, self._dither, self._buffer))

    def finish(self, frames: int) -> None:
        """Complete the header, `frames` having been written."""
        if self._header is None:
            return
        known = self._target.seekable or self._promised is not None
        if not self._target.seekable and self._promised not in (None, frames):
            raise UnwritableError(
                f"{self._target.name}: the header promised {self._promised} frames and {frames} were written"
            )
        # Where the length is left open, a pad byte would be taken for a sample.
        if known and frames * self._block % 2:
            self._target.write(b"\0")
        if self._target.seekable:
            self._target.rewrite_start(self._header(frames, reserve=True))

    def abandon(self) -> None:
        """Nothing is held."""


class LibsndfileEncoder:
    """Any format that libsndfile writes, with integers quantised here.

    libsndfile multiplies floating point by `2^(bits-1) - 1` when it writes and divides by `2^(bits-1)` when it
    reads, which would change the level.

    Args:
        target: where the bytes go; what cannot seek gets them at the end, by way of a temporary file.
        samplerate: hertz.
        channels: samples per frame.
        format, subtype: as soundfile names them.
        dither: see `pcm.quantise`.
        tags: title, artist, ...

    Attributes:
        lost_tags: names of the tags that the format has no place for.

    Raises:
        OptionError: the format cannot hold this.
    """

    def __init__(
        self,
        target: FileTarget | StreamTarget,
        samplerate: int,
        channels: int,
        format: str,
        subtype: str,
        dither: np.random.Generator | None,
        tags: Mapping[str, str],
    ) -> None:
        import tempfile

        import soundfile

        _check_limits(format, subtype, samplerate, channels)
        self._target, self._dither, self._sound = target, dither, None
        self._failures = (soundfile.LibsndfileError, AssertionError, RuntimeError)
        self._bits = None if subtype in (*_LOSSY, "FLOAT", "DOUBLE") else _bits(subtype)
        self._dtype = _dtype(subtype, self._bits)
        self._room = SMALL_LIMIT if format in _SMALL_FORMATS else None
        self._frame_bytes = channels * (1 if subtype in ("ULAW", "ALAW") else np.dtype(self._dtype).itemsize)
        self._format, self._needs_frames = format, subtype == "OPUS" or subtype.startswith("MPEG")
        self._spool = None if target.seekable else tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed below
        self._checked = _Checked(target if self._spool is None else self._spool)
        try:
            self._sound = soundfile.SoundFile(self._checked, "w", samplerate, channels, format=format, subtype=subtype)
        except self._failures as error:
            self._checked.raise_error()
            reason = getattr(error, "error_string", str(error)).removeprefix("Error : ").rstrip(".")
            raise OptionError(
                f"{target.name}: {format} {subtype} cannot hold {channels} channels at {samplerate} Hz ({reason})"
            ) from error
        self.lost_tags = [tag for tag, text in tags.items() if text and not self._set_tag(tag, text)]

    def write(self, x: np.ndarray) -> None:
        """Append samples `(channels, n)`."""
        if self._room is not None:
            self._room -= x.shape[1] * self._frame_bytes
            if self._room < 0:
                raise UnwritableError(
                    f"{self._target.name}: {self._format} holds at most 4 GiB: write .wav, .caf or .w64 instead"
                )
        if self._bits is not None:
            x = pcm.quantise(x, self._bits, self._dither)
            x <<= np.dtype(self._dtype).itemsize * 8 - self._bits
        block = np.empty((x.shape[1], x.shape[0]), self._dtype)
        with np.errstate(over="ignore"):
            for channel in range(x.shape[0]):
                np.copyto(block[:, channel], x[channel], casting="unsafe")
        self._call(self._sound.write, block)

    def finish(self, frames: int) -> None:
        """Complete the file, and hand it on where it was held back."""
        if frames == 0 and self._needs_frames:
            raise UnwritableError(f"{self._target.name}: {self._format} cannot hold 0 frames: write .wav or .flac")
        self._call(self._sound.close)
        if frames == 0 and self._format == "FLAC":
            self._checked.write(_empty_flac(self._sound.samplerate, self._sound.channels, self._bits))
            self._checked.raise_error()
        if self._spool is not None:
            self._target.copy_from(self._spool)
            self._spool.close()

    def abandon(self) -> None:
        """Let go of libsndfile and the temporary file."""
        self._checked.mute = True
        try:
            if self._sound is not None and not self._sound.closed:
                self._sound.close()
        except self._failures:
            pass
        if self._spool is not None:
            self._spool.close()

    def _call(self, function, *args) -> None:
        try:
            function(*args)
        except self._failures as error:
            self._checked.raise_error()
            reason = getattr(error, "error_string", str(error)).removeprefix("Error : ").rstrip(".")
            raise UnwritableError(f"{self._target.name}: {self._format} could not be written ({reason})") from error
        self._checked.raise_error()

    def _set_tag(self, tag: str, text: str) -> bool:
        try:
            setattr(self._sound, tag, str(text))
        except (*self._failures, AttributeError):
            return False
        return True


class _Checked:
    """A file for libsndfile's callbacks that keeps the error which they would lose."""

    def __init__(self, file) -> None:
        self._file, self._error, self.mute = file, None, False

    def write(self, data) -> int:
        if self._error is not None or self.mute:
            return len(data) if self.mute else 0
        try:
            view = memoryview(data)
            while view:
                # A target writes everything and returns nothing; a plain file says how far it came.
                done = self._file.write(view)
                view = view[len(view) if done is None else done :]
        except OSError as error:
            self._error = error
            return 0
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def raise_error(self) -> None:
        """Raise what went wrong beneath libsndfile."""
        if self._error is not None:
            raise self._error


def _empty_flac(samplerate: int, channels: int, bits: int) -> bytes:
    """A FLAC of no frames (RFC 9639, section 8.2), for which libsndfile writes nothing at all."""
    blocks = (4096).to_bytes(2, "big") * 2 + bytes(6)
    packed = samplerate << 44 | channels - 1 << 41 | bits - 1 << 36
    # The MD5 signature of no samples is that of the empty string.
    signature = bytes.fromhex("d41d8cd98f00b204e9800998ecf8427e")
    return b"fLaC\x80" + (34).to_bytes(3, "big") + blocks + packed.to_bytes(8, "big") + signature


def _bits(subtype: str) -> int:
    """Bits that libsndfile keeps of the integers it is given; companded and adaptive encodings start from 16."""
    family, _, digits = subtype.rpartition("_")
    return int(digits.lstrip("SU")) if family in ("PCM", "ALAC", "DWVW") else 16


def _dtype(subtype: str, bits: int | None) -> str:
    """What libsndfile is handed."""
    if bits is None:
        return "float64" if subtype == "DOUBLE" else "float32"
    return "int16" if bits <= 16 else "int32"


def _check_limits(format: str, subtype: str, samplerate: int, channels: int) -> None:
    """Refuse what libsndfile does not: it crashes on the first of these and writes a broken file for the second."""
    if subtype not in subtypes_of(format):
        raise OptionError(f"{format} cannot hold {subtype}: pass one of {', '.join(subtypes_of(format))}")
    if subtype == "VORBIS" and not (channels <= 255 and samplerate <= 200000):
        raise OptionError(f"Vorbis holds at most 255 channels and 200000 Hz, not {channels} at {samplerate} Hz")
    if subtype.startswith("ALAC") and channels > 8:
        raise OptionError(f"ALAC holds at most 8 channels, not {channels}")
