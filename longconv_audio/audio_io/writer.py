"""Writing audio block by block, to files and pipes."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

from longconv_audio.errors import MismatchError, OptionError, UnwritableError

from . import pcm, wav_header
from .encoders import LibsndfileEncoder, PlainEncoder
from .formats import WAV_FORMATS, WAV_SUBTYPES, choose_subtype, format_of
from .targets import open_target

__all__ = ["AudioWriter", "choose_subtype", "format_of"]

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than the system allows",
    errno.EPIPE: "the program that reads the pipe has gone",
}


class AudioWriter:
    """An audio file or pipe, written in blocks. Integers saturate at full scale.

    A file is written under a temporary name beside its own, and takes its name in `close`. Until then, and after
    any failure, what stood under that name is unchanged. As a context manager: closed at the end, aborted by an
    exception.

    Args:
        target: a path, "-" for standard output, or a file object open in binary mode.
        samplerate: hertz.
        channels: samples per frame.
        format: as soundfile names it, or "OPUS"; None takes it from the suffix, and WAV for "-" and file objects.
        subtype: the encoding of the samples, as soundfile names it; None is the one nearest to FLOAT.
        frames: how many will be written, where it is certain: a pipe's header then says so, and `close` insists.
        tags: title, artist, album, ... as soundfile names them.
        chunks: (identifier, contents) of metadata chunks for a WAV.
        channel_mask: speaker bits for a WAV of as many channels.
        raw: write headerless samples of this layout; its rate and channels must be those given.
        overwrite: whether a file that exists may be replaced.
        dither: "none", or "tpdf" for triangular dither of integer samples.

    Attributes:
        name: the path, or what to call the target in messages.
        format, subtype: as chosen.
        frames_written: so far.
        warnings: one line for each thing that the format has no place for.

    Raises:
        UnwritableError: exists, no such folder, not allowed, disk full, pipe broken.
        OptionError: what the format cannot hold, or arguments without sense.
    """

    def __init__(
        self,
        target,
        *,
        samplerate: int,
        channels: int,
        format: str | None = None,
        subtype: str | None = None,
        frames: int | None = None,
        tags: Mapping[str, str] | None = None,
        chunks: Sequence[tuple[str, bytes]] = (),
        channel_mask: int | None = None,
        raw: pcm.RawLayout | None = None,
        overwrite: bool = False,
        dither: str = "none",
    ) -> None:
        if dither not in ("none", "tpdf"):
            raise OptionError(f"dither {dither!r} is unknown: pass none or tpdf")
        if samplerate < 1 or channels < 1:
            raise OptionError(f"an output needs a rate and channels of 1 or more, not {samplerate} Hz and {channels}")
        if raw is not None and (raw.samplerate, raw.channels) != (samplerate, channels):
            raise MismatchError(
                f"the raw layout has {raw.channels} channels at {raw.samplerate} Hz and the output {channels} at "
                f"{samplerate} Hz: they must agree"
            )
        self.samplerate, self.channels = samplerate, channels
        self.frames_written = 0
        self.warnings: list[str] = []
        self._noise = pcm.dither_source() if dither == "tpdf" else None
        self._open = False
        self.format = "RAW" if raw is not None else (format or format_of(target)).upper()
        if raw is not None:
            self.subtype = raw.encoding.subtype
        elif self.format == "RAW":
            raise OptionError("headerless output needs its sample format: pass --raw-format, such as f32le")
        else:
            self.subtype = choose_subtype(self.format, subtype or "keep", "FLOAT")[0]
        header = self._prepare_wav(dict(tags or {}), chunks, channel_mask)
        self._encoder = None
        self._target = open_target(target, overwrite)
        self.name = self._target.name
        try:
            if header is not None or raw is not None:
                fmt = raw.encoding if raw is not None else pcm.SampleFormat(self.subtype)
                self._encoder = PlainEncoder(self._target, fmt, channels, self._noise, header, frames)
            else:
                self._open_library(dict(tags or {}), chunks)
        except OSError as error:
            self._target.discard()
            raise self._unwritable(error) from error
        except BaseException:
            self._target.discard()
            raise
        self._open = True

    def write(self, x: np.ndarray) -> None:
        """Append samples.

        Args:
            x: float32 or float64, shape `(channels, n)`, full scale 1.0, any n.

        Raises:
            TypeError: not an array, or not of floating point.
            UnwritableError: disk full, pipe broken. The output is then aborted.
        """
        self._check_type(x)
        if x.ndim != 2 or x.shape[0] != self.channels:
            raise MismatchError(f"{self.name}: samples of shape ({self.channels}, n) were expected, not {x.shape}")
        if not self._open:
            raise UnwritableError(f"{self.name}: is closed already")
        if x.dtype not in (np.float32, np.float64):
            x = x.astype(np.float64)
        with self._aborted_by_failure():
            self._encoder.write(x)
        self.frames_written += x.shape[1]

    def close(self) -> None:
        """Complete the output and put it under its name. Again, or after `abort`: nothing.

        Raises:
            UnwritableError: disk full, pipe broken; nothing is left under the name, or what was there before.
        """
        if not self._open:
            return
        with self._aborted_by_failure():
            self._encoder.finish(self.frames_written)
            self._target.finish()
        self._open = False

    def abort(self) -> None:
        """Give up: no file is left, and what stood under the name is unchanged. After `close`: nothing."""
        if not self._open:
            return
        self._open = False
        try:
            self._encoder.abandon()
        finally:
            self._target.discard()

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(self, kind, value, traceback) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _check_type(self, x) -> None:
        """Refuses what would be taken for another level than it has, as integers of a full scale of 32768 would."""
        if not isinstance(x, np.ndarray):
            kind = type(x)
            advice = ": pass x.detach().cpu().numpy()" if kind.__module__.split(".")[0] == "torch" else ""
            raise TypeError(
                f"{self.name}: a NumPy array of samples was expected, not {kind.__module__}.{kind.__name__}{advice}"
            )
        if x.dtype.kind != "f":
            raise TypeError(
                f"{self.name}: samples of {x.dtype}: float32 or float64 with a full scale of 1.0 was expected: divide "
                "integers by their full scale, as in x / 32768 for int16"
            )

    @contextmanager
    def _aborted_by_failure(self) -> Iterator[None]:
        """Gives up at any failure, and tells the system's own in our words."""
        try:
            yield
        except OSError as error:
            self.abort()
            raise self._unwritable(error) from error
        except BaseException:
            self.abort()
            raise

    def _prepare_wav(self, tags: dict[str, str], chunks: Sequence[tuple[str, bytes]], mask: int | None):
        """What makes this WAV's header; None for other formats. Done before anything is opened."""
        if self.format not in WAV_FORMATS or self.subtype not in WAV_SUBTYPES:
            return None
        chunks = list(chunks)
        info = wav_header.info_chunk(tags)
        if info and not any(name == "LIST" and body[:4] == b"INFO" for name, body in chunks):
            chunks.append(info)
        header = partial(
            wav_header.build_header,
            pcm.SampleFormat(self.subtype),
            self.samplerate,
            self.channels,
            chunks=chunks,
            channel_mask=mask,
            extensible=self.format == "WAVEX",
            rf64=self.format == "RF64",
        )
        # What no WAV can hold shows here, before anything is opened.
        header(0)
        return header

    def _open_library(self, tags: dict[str, str], chunks: Sequence[tuple[str, bytes]]) -> None:
        format = "OGG" if self.format == "OPUS" else self.format
        self._encoder = LibsndfileEncoder(
            self._target, self.samplerate, self.channels, format, self.subtype, self._noise, tags
        )
        # The tags of a LIST INFO chunk arrive as `tags`, so that it is no loss.
        lost = [name.strip() for name, body in chunks if not (name == "LIST" and body[:4] == b"INFO")]
        lost += self._encoder.lost_tags
        if lost:
            self.warnings.append(f"{self.name}: {self.format} has no place for {', '.join(lost)}: dropped")

    def _unwritable(self, error: OSError) -> UnwritableError:
        reason = _REASONS.get(error.errno, error.strerror or str(error))
        return UnwritableError(f"{self.name}: writing failed after {self.frames_written} frames: {reason}")
