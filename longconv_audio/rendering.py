"""Applying a filter to a file or pipe from end to end: reading, convolving and writing at the same time."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import numpy as np

from .audio_io.formats import WAV_SUBTYPES, choose_subtype, format_of
from .audio_io.pcm import SampleFormat
from .audio_io.reader import AudioReader, RawLayout
from .audio_io.wav_header import RIFF_LIMIT
from .audio_io.writer import AudioWriter
from .backends import backend_for, gpu_pays
from .convolution_stage import convolved
from .duration import Duration
from .endpoints import check_target, is_special, raw_input, raw_output
from .errors import NonFiniteError, OptionError, UnwritableError
from .filter_chain import FilterChain, FilterMaker, FilterSettings, read_filter
from .output_stage import OutputStage
from .render_settings import PRECISIONS, RenderSettings, Report

__all__ = ["RenderSettings", "Rendering", "Report"]

# Bytes of samples on their way from one thread to the next.
_BLOCK_BYTES = 2 << 20
# Encodings whose last bits the rounding of a convolution in single precision, 135 dB below the signal, would change.
_WIDE_SUBTYPES = ("DOUBLE", "PCM_32", "PCM_24")
_DITHERED_SUBTYPES = ("PCM_16", "PCM_U8", "PCM_S8")
# No room sounds for a day: a longer tail is a slip of the pen, and would fill the disk with silence.
LONGEST_TAIL_SECONDS = 24 * 3600


class Rendering:
    """One filter applied to one input: everything that can fail early has been tried when this has been made.

    Args:
        source: path, or "-" for standard input.
        irs: IRs, matrix files, and what makes filters for the input, in series.
        target: path, or "-" for standard output.
        filters: how the IRs are used.
        settings: the rest.

    Raises:
        LongconvError: in one of its kinds, for whatever cannot be read or does not fit.

    Attributes:
        report: what is known so far, the counts of frames being as declared; complete after `run`.
        frames_in, frames_out: what is certain to come; None where only the end of the input will tell.
    """

    def __init__(
        self,
        source: str,
        irs: list[str | FilterMaker],
        target: str,
        filters: FilterSettings,
        settings: RenderSettings,
    ):
        self._settings, self._target = settings, target
        self._began = time.perf_counter()
        check_target(source, target, settings.overwrite)
        if [source, *irs].count("-") > 1:
            raise OptionError("standard input was named twice: it can be the input or an IR, once")
        self._zeroed = 0
        with ExitStack() as stack:
            self._reader = stack.enter_context(
                AudioReader(source, raw=raw_input(source, settings), strict=settings.strict)
            )
            self._choose_output()
            self._reader.dtype = self._dtype
            declared = self._frames_to_read()
            self.frames_in = declared if self._reader.frames_certain else None
            self._check_tail()
            chain = read_filter(irs, self._reader.samplerate, self._reader.channels, filters, settings.strict)
            self._adopt(chain, filters, declared)
            self._try_output()
            self._no_room = self._missing_space()
            if self._no_room:  # a dry run only says so: its output may be meant for another disk
                self.report.warnings.append(self._no_room)
            self._stack = stack.pop_all()

    def run(self, progress: Callable[[int], None] | None = None) -> Report:
        """Does it.

        Args:
            progress: called with the frames of output so far, after each block.

        Raises:
            LongconvError: in one of its kinds. The output is then as it was before.
        """
        report = self.report
        report.notes = [line for line in report.notes if line not in self._unconfirmed]
        with self._stack:
            if self._no_room:
                raise UnwritableError(self._no_room)
            blocks = convolved(self._open_stream, self._blocks(), self._matrix, self._output_frames)
            OutputStage(self._writer, report, self._settings.clip).run(blocks, self.frames_out, progress)
        if self._zeroed:
            report.warnings.append(f"{self._zeroed} samples that were NaN or infinite were taken for 0")
        report.warnings += [line for line in self._reader.warnings if line not in report.warnings]
        report.seconds = time.perf_counter() - self._began
        report.speed = report.frames_out / report.samplerate / report.seconds
        report.bytes_out = self._bytes_out(report.frames_out)
        return report

    def close(self) -> None:
        """Lets the input go without having run."""
        self._stack.close()

    @property
    def slowdown(self) -> float:
        """The predicted work as a multiple of what it is with the block size that the cost model chooses."""
        if self._settings.block_size is None:
            return 1.0
        return self._plan.work / self._backend.plan(self._matrix, "offline", None, self.frames_in).work

    def _choose_output(self) -> None:
        settings, reader = self._settings, self._reader
        self._raw = raw_output(self._target, settings)
        if settings.raw_format is not None and self._raw is None and reader.format != "RAW":
            raise OptionError(
                f"--raw-format {settings.raw_format}: neither {reader.name} nor {self._target} is raw: "
                "leave it out, or pass --rate and --channels too where the input is raw"
            )
        if self._raw is not None:
            self._format, reason = "RAW", ""
            self._subtype = RawLayout(self._raw, reader.samplerate, 1).encoding.subtype
        else:
            self._format = (settings.format or format_of(self._target)).upper()
            self._subtype, reason = choose_subtype(self._format, settings.subtype, reader.subtype)
        self._notes = [f"the output is {self._subtype}: {reason}"] if reason else []
        precision = settings.precision or ("double" if self._subtype in _WIDE_SUBTYPES else "single")
        self._precision, self._dtype = precision, np.dtype(PRECISIONS[precision])

    def _frames_to_read(self) -> int | None:
        """The frames of the part of the input that was asked for, as declared; the reader stands at its start."""
        reader, settings = self._reader, self._settings
        start = settings.start.samples(reader.samplerate) if settings.start else 0
        wanted = settings.duration.samples(reader.samplerate) if settings.duration is not None else None
        if reader.frames is not None and start > reader.frames:
            raise OptionError(
                f"--start {settings.start}: lies beyond the end of {reader.name} ({reader.frames} frames)"
            )
        self._start, self._wanted = start, wanted
        if reader.frames is None:
            return None
        left = reader.frames - start
        return left if wanted is None else min(left, wanted)

    def _check_tail(self) -> None:
        tail, rate = self._settings.tail, self._reader.samplerate
        if isinstance(tail, Duration) and tail.samples(rate) > LONGEST_TAIL_SECONDS * rate:
            raise OptionError(f"--tail {tail}: expected at most {LONGEST_TAIL_SECONDS // 3600} hours")

    def _adopt(self, chain: FilterChain, filters: FilterSettings, declared: int | None) -> None:
        reader, self._matrix = self._reader, chain.matrix
        self.frames_out = None if self.frames_in is None else self._output_frames(self.frames_in)
        frames_out = None if declared is None else self._output_frames(declared)
        self._backend, self._plan = self._choose_backend(declared, frames_out)
        # Said before the run alone: after it, the counts are those of what was read and written.
        self._unconfirmed = []
        if declared is not None and not reader.frames_certain:
            self._unconfirmed = [f"{reader.name} declares {reader.frames} frames; only reading can confirm them"]
        self.report = Report(
            input=reader.name,
            output=self._target,
            format=self._format,
            subtype=self._subtype,
            samplerate=reader.samplerate,
            channels_in=reader.channels,
            channels_out=chain.matrix.outputs,
            taps=chain.matrix.taps,
            precision=self._precision,
            plan=str(self._plan),
            device=str(self._backend),
            frames_in=declared,
            frames_out=frames_out,
            bytes_out=self._bytes_out(frames_out),
            gain_db=filters.gain + chain.normalisation_db,
            warnings=list(reader.warnings),
            notes=self._notes + chain.notes + self._unconfirmed,
        )
        if self._format == "WAV" and (self.report.bytes_out or 0) > RIFF_LIMIT:
            self.report.notes.append("the output is an RF64: a WAV of more than 4 GiB")

    def _choose_backend(self, frames_in: int | None, frames_out: int | None):
        """What convolves, and its plan: the device that was named, or a GPU where there is one and it pays."""
        settings, matrix = self._settings, self._matrix

        def planned(device: str):
            backend = backend_for(device, self._dtype, option="--device")
            return backend, backend.plan(matrix, "offline", settings.block_size, self.frames_in)

        if settings.device != "auto":
            return planned(settings.device)
        on_cpu = planned("cpu")
        if frames_in is None:
            return on_cpu
        samples = frames_in * matrix.inputs, frames_out * matrix.outputs
        if gpu_pays(on_cpu[1], *samples, self._dtype.itemsize):
            with suppress(OptionError):  # none that torch can use, or one with too little memory
                return planned("cuda")
        return on_cpu

    def _open_stream(self):
        return self._backend.host_stream(self._matrix, self._plan)

    def _output_frames(self, frames_in: int) -> int:
        """How long the output is for an input of so many frames. Of nothing comes nothing."""
        tail = self._settings.tail
        if tail == "none" or not frames_in:
            return frames_in
        if tail == "full":
            return frames_in + max(self._matrix.taps, 1) - 1 - self._matrix.origin
        return frames_in + tail.samples(self._reader.samplerate)

    def _bytes_out(self, frames: int | None) -> int | None:
        """The size of so many frames of output in bytes, where it can be told."""
        if frames is None or self._subtype not in WAV_SUBTYPES:
            return None
        return frames * self._matrix.outputs * SampleFormat(self._subtype).width

    def _try_output(self) -> None:
        """Opens the output in memory, so that a format which cannot hold it says so before anything is written."""
        memory = io.BytesIO()
        memory.name = "standard output" if self._target == "-" else self._target
        self._writer(None, memory).abort()

    def _missing_space(self) -> str:
        """What to say where the disk has no room for the output; how little FLAC takes is not known beforehand."""
        size = self._bytes_out(self.frames_out)
        if size is None or is_special(self._target):
            return ""
        needed = 0 if self._format == "FLAC" else size
        if self._settings.clip == "scale":  # by way of a temporary file beside it
            needed += self.frames_out * self._matrix.outputs * self._dtype.itemsize
        folder = os.path.dirname(os.path.realpath(self._target))
        try:
            disk = shutil.disk_usage(folder)
        except OSError:  # opening the output will say what is the matter
            return ""
        # Some network file systems do not know their size and call it 0.
        if not disk.total or needed <= disk.free:
            return ""
        return (
            f"{self._target}: needs {needed} bytes and {folder} has {disk.free} bytes free: make room or pass a "
            "shorter --duration or a smaller --subtype"
        )

    def _writer(self, frames: int | None, target=None) -> AudioWriter:
        """The output, or the same in `target`."""
        settings, reader = self._settings, self._reader
        keep = settings.metadata == "keep"
        dithered = settings.dither == "tpdf" or (settings.dither == "auto" and self._subtype in _DITHERED_SUBTYPES)
        layout = RawLayout(self._raw, reader.samplerate, self._matrix.outputs) if self._raw else None
        return AudioWriter(
            self._target if target is None else target,
            samplerate=reader.samplerate,
            channels=self._matrix.outputs,
            format=None if layout else self._format,
            subtype=None if layout else self._subtype,
            frames=frames,
            tags=reader.tags if keep else None,
            chunks=self._chunks() if keep else (),
            # Speakers of other channels are not those of the input.
            channel_mask=reader.channel_mask if self._matrix.outputs == reader.channels else None,
            raw=layout,
            overwrite=settings.overwrite,
            dither="tpdf" if dithered else "none",
        )

    def _chunks(self) -> list[tuple[str, bytes]]:
        """The input's metadata chunks; those that point at samples only where these stay in place."""
        placed = ("cue ", "smpl", "plst")
        return [
            (name, body)
            for name, body in self._reader.chunks
            if not self._start or not (name in placed or (name == "LIST" and body[:4] == b"adtl"))
        ]

    def _blocks(self) -> Iterator[np.ndarray]:
        """The input, block by block, checked for NaN and infinity."""
        reader, done = self._reader, 0
        skipped = reader.skip(self._start) if self._start else 0
        if skipped < self._start:
            raise OptionError(f"--start: lies beyond the end of {reader.name} ({skipped} frames)")
        size = max(_BLOCK_BYTES // (self._dtype.itemsize * reader.channels), 1)
        while self._wanted is None or done < self._wanted:
            block = reader.read(size if self._wanted is None else min(size, self._wanted - done))
            if not block.shape[1]:
                break
            self._check(block, self._start + done)
            done += block.shape[1]
            yield block
        self.report.frames_in = done

    def _check(self, block: np.ndarray, first: int) -> None:
        # A sum is finite where all terms are; one that overflows only costs the closer look.
        with np.errstate(all="ignore"):
            if np.isfinite(block.sum()):
                return
        bad = np.argwhere(~np.isfinite(block.T))
        if len(bad) and self._settings.nonfinite == "error":
            frame, channel = bad[0]
            raise NonFiniteError(
                f"{self._reader.name}: sample {first + frame} of channel {channel + 1} is {block[channel, frame]}: "
                "pass --nonfinite zero to take such samples for 0"
            )
        block[:, :] = np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        self._zeroed += len(bad)
