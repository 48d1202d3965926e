"""Between the convolution and the file: limiting or scaling, measuring, counting what clips, writing."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import closing

import numpy as np

from .audio_io.pcm import SampleFormat
from .audio_io.writer import AudioWriter
from .errors import ClippedError, NonFiniteError, UnwritableError
from .levels import FULL_SCALE, Limiter, count_clipped, peak, to_db
from .pipeline import behind
from .render_settings import Report

_FLOAT_SUBTYPES = ("FLOAT", "DOUBLE")
_ADVICE = "pass --clip scale, --clip limit or --gain, or --subtype FLOAT"


class OutputStage:
    """Takes the blocks of the output to the end of their way.

    Args:
        open_writer: makes the writer for a number of frames, None where not known.
        report: says what the output is, and is told what was done.
        clip: "warn", "error", "scale" or "limit".
    """

    def __init__(self, open_writer: Callable[[int | None], AudioWriter], report: Report, clip: str):
        self._open_writer, self._report, self._clip = open_writer, report, clip
        self._ceiling = 1.0
        if report.subtype.startswith("PCM_"):  # the largest code stands one step below full scale
            self._ceiling -= 2.0 ** (1 - SampleFormat(report.subtype).bits)

    def run(self, blocks: Generator[np.ndarray], frames: int | None, progress=None) -> None:
        """Writes blocks of shape `(channels, n)`; `frames` is their sum, where it is known.

        Raises:
            ClippedError: beyond full scale, where clip is "error".
            NonFiniteError: the samples left the range of their precision.
            UnwritableError: the output or the temporary file.
        """
        if self._clip == "scale":
            self._run_scaled(blocks, progress)
            return
        if self._clip == "limit":
            blocks = self._limited(blocks)
        with self._open_writer(frames) as writer:
            self._write(writer, blocks, progress)

    def _limited(self, blocks: Iterable[np.ndarray]) -> Generator[np.ndarray]:
        report = self._report
        limiter = Limiter(report.channels_out, report.samplerate, self._ceiling)
        for block in blocks:
            yield limiter.process(block)
        yield limiter.flush()
        if limiter.limited:
            report.limited = limiter.limited
            report.notes.append(
                f"the limiter turned {limiter.limited} frames down, by {-to_db(limiter.lowest_gain):.1f} dB at most"
            )

    def _run_scaled(self, blocks: Generator[np.ndarray], progress) -> None:
        """Two passes: the result goes to a temporary file, and from there, scaled, to the output."""
        report = self._report
        folder = None if report.output == "-" else os.path.dirname(os.path.abspath(report.output))
        highest, widths, dtype = 0.0, [], None
        with closing(blocks), _spool(report.output, folder) as spool:
            for block in blocks:
                highest, dtype = max(highest, peak(block)), block.dtype
                widths.append(block.shape[1])
                try:
                    spool.write(np.ascontiguousarray(block))
                except OSError as error:
                    raise _no_spool(report.output, error) from error
            spool.seek(0)
            # The ceiling of an integer format lies below -1.0, which it holds: what is legal stays as it is.
            gain = self._ceiling / highest if highest > FULL_SCALE else 1.0
            if not math.isfinite(gain) or not gain:
                raise _overflow(report.precision)
            report.gain_db += to_db(gain)
            if gain != 1:
                report.notes.append(f"scaled by {to_db(gain):.2f} dB to stay within full scale")
            with self._open_writer(sum(widths)) as writer:
                self._write(writer, _spooled(spool, report.channels_out, widths, dtype, gain), progress)

    def _write(self, writer: AudioWriter, blocks: Generator[np.ndarray], progress) -> None:
        """Measures and writes the blocks in a thread of its own."""
        report = self._report
        report.frames_out = 0
        saturates = report.subtype not in _FLOAT_SUBTYPES
        highest = 0.0

        def take(block: np.ndarray) -> None:
            nonlocal highest
            high = peak(block)
            if not math.isfinite(high):
                raise _overflow(report.precision)
            highest = max(highest, high)
            if saturates and high > FULL_SCALE:
                self._count(block)
            writer.write(block)
            report.frames_out += block.shape[1]

        handed = 0
        with behind(take) as put, closing(blocks):
            for block in blocks:
                put(block)
                handed += block.shape[1]
                if progress is not None:
                    progress(handed)
        report.peak_dbfs = to_db(highest)
        if report.clipped:
            report.warnings.append(
                f"{report.clipped} samples were clipped, the highest peak being {report.peak_dbfs:+.2f} dBFS: {_ADVICE}"
            )
        report.warnings += writer.warnings

    def _count(self, block: np.ndarray) -> None:
        """Counts what is beyond full scale, or fails at the first such sample."""
        report = self._report
        report.clipped += count_clipped(block)
        if self._clip == "error":
            frame, channel = np.argwhere(np.abs(block.T) > FULL_SCALE)[0]
            raise ClippedError(
                f"{report.output}: sample {report.frames_out + frame} of channel {channel + 1} reaches "
                f"{to_db(abs(float(block[channel, frame]))):+.2f} dBFS, and {report.subtype} ends at 0: {_ADVICE}"
            )


def _spool(target: str, folder: str | None):
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError as error:
        raise _no_spool(target, error) from error


def _no_spool(target: str, error: OSError) -> UnwritableError:
    return UnwritableError(f"{target}: temporary file for --clip scale: {error.strerror or error}")


def _spooled(spool, channels: int, widths: list[int], dtype, gain: float) -> Generator[np.ndarray]:
    for width in widths:
        block = np.empty((channels, width), dtype)
        spool.readinto(block)
        block *= gain
        yield block


def _overflow(precision: str) -> NonFiniteError:
    advice = ": pass --precision double" if precision == "single" else ""
    return NonFiniteError(f"the output leaves the range of {precision} precision{advice}, or use a lower --gain")
