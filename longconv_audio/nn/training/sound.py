"""Files as a model hears them: one channel, at its sample rate, in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from longconv_audio.audio_io import AudioReader
from longconv_audio.errors import NonFiniteError, UnreadableError

_BLOCK = 1 << 18


def mono_blocks(reader: AudioReader, rate: int, block: int = _BLOCK) -> Iterator[np.ndarray]:
    """The rest of a file or pipe: the mean of its channels, resampled by soxr, in fixed memory.

    Args:
        reader: open, in float32.
        rate: hertz.
        block: frames of the file that are read at a time.

    Yields:
        float32 samples `(n,)`, some blocks empty.

    Raises:
        NonFiniteError: NaN or infinity in the file.
        UnreadableError: reading failed.
    """
    resampler = None
    if reader.samplerate != rate:
        import soxr

        resampler = soxr.ResampleStream(reader.samplerate, rate, 1, dtype="float32")
    position = 0
    while True:
        x = reader.read(block)
        if not np.isfinite(x).all():
            where = position + int(np.argmin(np.isfinite(x).all(axis=0)))
            raise NonFiniteError(f"{reader.name}: NaN or infinity at frame {where}: mend the file, or leave it out")
        position += x.shape[1]
        mono = x[0] if len(x) == 1 else x.mean(axis=0, dtype=np.float32)
        last = x.shape[1] < block
        yield mono if resampler is None else resampler.resample_chunk(mono, last=last)
        if last:
            return


def read_mono(path: str, rate: int, start: int = 0, count: int | None = None) -> tuple[np.ndarray, list[str]]:
    """A part of a file as a model hears it, and what was wrong with the file.

    Args:
        start, count: samples at `rate`; None reads to the end.

    Raises:
        UnreadableError: it cannot be read, or holds no samples.
        NonFiniteError: NaN or infinity in it.
    """
    with AudioReader(path) as reader:
        if reader.samplerate == rate and count is not None:
            reader.skip(start)
            x = reader.read(count)
            x = x[0] if len(x) == 1 else x.mean(axis=0, dtype=np.float32)
            return x, []
        x = np.concatenate(list(mono_blocks(reader, rate)))
        if not len(x):
            raise UnreadableError(f"{path}: holds no samples; expected some")
        failed = [line for line in reader.warnings if "decoding failed" in line]
        if failed:
            raise UnreadableError(failed[0])
        return x[start:][: len(x) if count is None else count], reader.warnings
