"""Reading audio block by block, from files and pipes."""

from __future__ import annotations

import os
import shlex

import numpy as np

from longconv_audio.errors import OptionError, UnreadableError

from . import containers, wav
from .decoders import LibsndfileDecoder, PcmDecoder
from .pcm import RawLayout
from .source import ByteSource
from .wav_contents import TRAILER_BYTES, cut_short, examine, loose_end
from .wav_header import info_tags

# Samples allocated at a time while reading something of unknown length.
_STEP_SAMPLES = 1 << 22


class AudioReader:
    """An audio file or pipe, read forward in blocks.

    Args:
        source: a path, "-" for standard input, or a file object open in binary mode.
        raw: what the samples are where there is no header.
        strict: raise where the default is to process what is there and warn.
        dtype: "float32" or "float64", of the blocks; it may be changed between two of them.

    Attributes:
        name: the path, or what to call the source in messages.
        samplerate: hertz.
        channels: samples per frame.
        frames: how many there are; None where nothing says so before the end, as on most pipes.
        frames_certain: whether `frames` was checked against the file's size. A pipe or a compressed file can turn
            out shorter than it declares.
        format, subtype: as soundfile names them ("WAV", "FLAC", "RAW"; "PCM_16", "FLOAT").
        tags: title, artist, album, ... as soundfile names them.
        chunks: (identifier, contents) of a WAV's metadata chunks. On a pipe, those behind the samples are added
            when the end is reached.
        channel_mask: a WAV's speaker bits, None where it has none.
        warnings: one line for each thing that was wrong; complete when the end has been reached.

    Raises:
        UnreadableError: missing, not audio, or, under `strict`, incomplete.
        OptionError: arguments without sense.
    """

    def __init__(
        self, source, *, raw: RawLayout | None = None, strict: bool = False, dtype: str | np.dtype = "float32"
    ) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.dtype("float32"), np.dtype("float64")):
            raise OptionError(f"dtype {self.dtype} cannot be read into: pass float32 or float64")
        self.frames: int | None = None
        self.frames_certain = False
        self.tags: dict[str, str] = {}
        self.chunks: list[tuple[str, bytes]] = []
        self.channel_mask: int | None = None
        self.warnings: list[str] = []
        self._strict, self._ended, self._header = strict, False, None
        self._decoder: PcmDecoder | LibsndfileDecoder | None = None
        self._source = ByteSource(source)
        self.name = self._source.name
        try:
            self._open(raw)
        except BaseException:
            self.close()
            raise

    def read(self, frames: int = -1, out: np.ndarray | None = None) -> np.ndarray:
        """The next frames.

        Args:
            frames: how many; negative reads to the end.
            out: where to put them, `(channels, n)` with n at least `frames`; a new array where None.

        Returns:
            Samples of full scale 1.0, shape `(channels, n)`; n is less than `frames` only at the end, and 0 after it.

        Raises:
            UnreadableError: reading failed, or, under `strict`, the end came too early.
        """
        if out is not None:
            wanted = out.shape[1] if frames < 0 else min(frames, out.shape[1])
            return out[:, : self._read_into(out[:, :wanted])]
        parts, left = [], frames
        while left != 0:
            step = max(1, _STEP_SAMPLES // self.channels)
            # A count that was not checked can be nonsense, and is not worth its memory in one piece.
            if self.frames_certain:
                step = self._left()
            block = np.empty((self.channels, step if left < 0 else min(step, left)), self.dtype)
            got = self._read_into(block)
            parts.append(block if got == block.shape[1] else block[:, :got])
            left -= got if left > 0 else 0
            if got < block.shape[1] or self._left() == 0:
                break
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts, axis=1) if parts else np.empty((self.channels, 0), self.dtype)

    def skip(self, frames: int) -> int:
        """Pass over up to `frames` frames. Returns how many; fewer only at the end."""
        done = self._decoder.skip(max(0, frames))
        if done < frames:
            self._end()
        return done

    def close(self) -> None:
        """Let go of the file. Standard input and file objects stay open."""
        if self._decoder is not None:
            self._decoder.close()
        self._source.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def _open(self, raw: RawLayout | None) -> None:
        """Find out what it is and make the decoder."""
        if raw is not None:
            self._source.forget()
            self._open_raw(raw)
            return
        head = self._source.peek(12)
        if not head:
            raise UnreadableError(f"{self.name}: is empty (0 bytes); audio was expected")
        foreign = containers.foreign_kind(head)
        if foreign:
            kind, suffix = foreign
            path = self.name if os.path.exists(self.name) else f"input.{suffix}"
            target = os.path.splitext(os.path.basename(path))[0] + ".wav"
            command = f"ffmpeg -i {shlex.quote(path)} {shlex.quote(target)}"
            raise UnreadableError(f"{self.name}: {kind} is not read here: convert it first: {command}")
        # A header cut within these four bytes is still more helpfully called a WAV than garbage.
        if head[:4] in (b"RIFF", b"RF64", b"BW64"):
            try:
                header = wav.parse_header(self._source, self.name)
            except wav.ForeignEncodingError:
                pass
            else:
                self._source.forget()
                self._open_wav(header)
                return
        self._open_library()

    def _open_raw(self, raw: RawLayout) -> None:
        self.format, self.subtype = "RAW", raw.encoding.subtype
        self.samplerate, self.channels = raw.samplerate, raw.channels
        if self._source.size is not None:
            self.frames, loose = divmod(self._source.size, raw.channels * raw.encoding.width)
            self.frames_certain = True
            if loose:
                self._complain(loose_end(loose))
        self._decoder = PcmDecoder(self._source, raw.encoding, raw.channels, self.frames)

    def _open_wav(self, header: wav.WavHeader) -> None:
        contents = examine(self._source, header)
        self.format, self.subtype, self.channel_mask = "WAV", header.fmt.subtype, header.channel_mask
        self.samplerate, self.channels = header.samplerate, header.channels
        self.frames, self.frames_certain = contents.frames, contents.certain
        self.chunks, self.tags = contents.chunks, info_tags(contents.chunks)
        for complaint in contents.complaints:
            self._complain(complaint)
        self._header = header
        self._decoder = PcmDecoder(self._source, header.fmt, header.channels, self.frames)

    def _open_library(self) -> None:
        decoder = LibsndfileDecoder(self._source.whole_file(), self.name)
        self._decoder = decoder
        self.format = {"WAVEX": "WAV", "RF64": "WAV", "MPEG": "MP3"}.get(decoder.format, decoder.format)
        self.subtype, self.tags, self.frames = decoder.subtype, decoder.tags, decoder.frames
        self.samplerate, self.channels = decoder.samplerate, decoder.channels
        if decoder.cut_short:
            self._complain(decoder.cut_short)

    def _left(self) -> int | None:
        """Frames still to come, where that is known."""
        return None if self.frames is None else max(0, self.frames - self._decoder.frames_read)

    def _read_into(self, out: np.ndarray) -> int:
        got = self._decoder.read(out)
        if got < out.shape[1] or self._left() == 0:
            self._end()
        return got

    def _end(self) -> None:
        """Say, once, what only the end can show."""
        if self._ended:
            return
        self._ended = True
        read = self._decoder.frames_read
        if isinstance(self._decoder, LibsndfileDecoder):
            if self._decoder.failure:
                self._complain(
                    f"decoding failed after {read} of {self.frames or 'an unknown number of'} frames "
                    f"({self._decoder.failure}); what came before was read"
                )
            elif self.frames is not None and read < self.frames:
                self._complain(cut_short(self.frames, read))
            return
        if self.frames is not None and read < self.frames:
            self._complain(cut_short(self.frames, read))
            return
        if self._decoder.loose_bytes:
            self._complain(loose_end(self._decoder.loose_bytes))
        if self._header is not None and self._header.data_bytes is not None and self._source.size is None:
            # Reading on spares the program that feeds the pipe a broken one.
            declared = self._header.data_bytes
            self._source.skip(declared + declared % 2 - read * self._header.frame_bytes)
            self.chunks += wav.parse_chunks(self._source.read(TRAILER_BYTES))

    def _complain(self, what: str) -> None:
        if self._strict:
            raise UnreadableError(f"{self.name}: {what.split(';')[0]}")
        self.warnings.append(f"{self.name}: {what}")
