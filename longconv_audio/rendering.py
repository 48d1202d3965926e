"""Applying a filter to a file or pipe from end to end: reading, convolving and writing at the same time."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np

from .audio_io.formats import WAV_SUBTYPES, choose_subtype, format_of
from .audio_io.pcm import SampleFormat
from .audio_io.reader import AudioReader, RawLayout
from .audio_io.wav_header import RIFF_LIMIT
from .audio_io.writer import AudioWriter
from .buffering import Stream, available_cores, plan_for
from .duration import Duration
from .errors import NonFiniteError, OptionError, UnwritableError
from .filter_chain import FilterChain, FilterSettings, read_filter
from .output_stage import OutputStage
from .pipeline import ahead
from .planning import StreamPlan
from .render_settings import PRECISIONS, RenderSettings, Report

__all__ = ["RenderSettings", "Rendering", "Report"]

# Bytes of samples on their way from one thread to the next.
_BLOCK_BYTES = 2 << 20
# Encodings whose last bits the rounding of a convolution in single precision, 135 dB below the signal, would change.
_WIDE_SUBTYPES = ("DOUBLE", "PCM_32", "PCM_24")
_RAW_SUFFIXES = (".raw", ".pcm", ".f32", ".f64", ".s8", ".s16", ".s24", ".s32", ".u8")
# The first bytes of WAV, RF64, W64, FLAC, OGG, AIFF, CAF, AU and MP3 with tags.
_MAGICS = (b"RIFF", b"RF64", b"BW64", b"riff", b"fLaC", b"OggS", b"FORM", b"caff", b".snd", b"ID3")
_DITHERED_SUBTYPES = ("PCM_16", "PCM_U8", "PCM_S8")
# No room sounds for a day: a longer tail is a slip of the pen, and would fill the disk with silence.
LONGEST_TAIL_SECONDS = 24 * 3600


class Rendering:
    """One filter applied to one input: everything that can fail early has been tried when this has been made.

    Args:
        source: path, or "-" for standard input.
        irs: IRs and matrix files, in series.
        target: path, or "-" for standard output.
        filters: how the IRs are used.
        settings: the rest.

    Raises:
        LongconvError: in one of its kinds, for whatever cannot be read or does not fit.

    Attributes:
        report: what is known so far, the counts of frames being as declared; complete after `run`.
        frames_in, frames_out: what is certain to come; None where only the end of the input will tell.
    """

    def __init__(self, source: str, irs: list[str], target: str, filters: FilterSettings, settings: RenderSettings):
        self._settings, self._target = settings, target
        self._began = time.perf_counter()
        _check_target(source, target, settings.overwrite)
        if [source, *irs].count("-") > 1:
            raise OptionError("standard input was named twice: it can be the input or an IR, once")
        self._zeroed = 0
        with ExitStack() as stack:
            self._reader = stack.enter_context(
                AudioReader(source, raw=_raw_input(source, settings), strict=settings.strict)
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
            OutputStage(self._writer, report, self._settings.clip).run(self._convolved(), self.frames_out, progress)
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
        chosen = plan_for(self._matrix, self._dtype, "offline", None, self._workers, self.frames_in)
        return self._plan.nanoseconds / chosen.nanoseconds

    def _choose_output(self) -> None:
        settings, reader = self._settings, self._reader
        self._raw = _raw_output(self._target, settings)
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
        reader, settings = self._reader, self._settings
        self._matrix = chain.matrix
        self._taps = max(chain.matrix.taps, 1)
        self._workers = available_cores()
        self._plan: StreamPlan = plan_for(
            chain.matrix, self._dtype, "offline", settings.block_size, self._workers, self.frames_in
        )
        self.frames_out = None if self.frames_in is None else self._output_frames(self.frames_in)
        frames_out = None if declared is None else self._output_frames(declared)
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
            frames_in=declared,
            frames_out=frames_out,
            bytes_out=self._bytes_out(frames_out),
            gain_db=filters.gain + chain.normalisation_db,
            warnings=list(reader.warnings),
            notes=self._notes + chain.notes + self._unconfirmed,
        )
        if self._format == "WAV" and (self.report.bytes_out or 0) > RIFF_LIMIT:
            self.report.notes.append("the output is an RF64: a WAV of more than 4 GiB")

    def _output_frames(self, frames_in: int) -> int:
        """How long the output is for an input of so many frames. Of nothing comes nothing."""
        tail = self._settings.tail
        if tail == "none" or not frames_in:
            return frames_in
        if tail == "full":
            return frames_in + self._taps - 1 - self._matrix.origin
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
        if size is None or _is_special(self._target):
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

    def _convolved(self) -> Iterator[np.ndarray]:
        """The output, block by block: the stream's answers from time zero on, then silence where more was asked."""
        stream = Stream(self._matrix, self._plan, self._dtype, self._workers)
        skip, done = self._matrix.origin, 0
        try:
            for y in self._answers(stream):
                cut = min(skip, y.shape[1])
                skip -= cut
                done += y.shape[1] - cut
                if y.shape[1] > cut:
                    yield y[:, cut:]
            silence = self._output_frames(self.report.frames_in) - done
            for start in range(0, silence, stream.span):
                yield np.zeros((self._matrix.outputs, min(stream.span, silence - start)), self._dtype)
        finally:
            stream.engine.close()

    def _answers(self, stream: Stream) -> Iterator[np.ndarray]:
        """The causal convolution, as far as the output reaches; each answer while the next is being computed."""
        last, wait = None, None
        for block in ahead(self._blocks()):
            started = stream.start(block)
            if last is not None:
                wait()
                yield last
            last, wait = started
        if last is None:
            return
        wait()
        yield last
        frames = self.report.frames_in
        wanted = min(self._output_frames(frames) + self._matrix.origin, frames + self._taps - 1)
        left = wanted - (frames - stream.held)
        for start in range(0, left, stream.span):
            yield stream.finish(min(stream.span, left - start))


def _is_raw(name: str) -> bool:
    return name == "-" or os.path.splitext(name)[1].lower() in _RAW_SUFFIXES


def _is_special(target: str) -> bool:
    """Whether this is standard output, a device or a named pipe, which is written into."""
    return target == "-" or (os.path.exists(target) and not os.path.isfile(target) and not os.path.isdir(target))


def _raw_input(source: str, settings: RenderSettings) -> RawLayout | None:
    """What headerless samples in the input are; None where it has a header.

    --rate and --channels say of any input that it is raw; --raw-format alone can be meant for the output.
    """
    described = settings.rate is not None or settings.channels is not None
    if not described and (source == "-" or not _is_raw(source)):
        return None
    if _begins_with_header(source):
        if described:
            raise OptionError(f"{source}: has a header that says what its samples are: leave --rate and --channels out")
        return None
    if settings.raw_format is None or settings.rate is None or settings.channels is None:
        raise OptionError(f"{source}: raw samples do not say what they are: pass --raw-format, --rate and --channels")
    return RawLayout(settings.raw_format, settings.rate, settings.channels)


def _raw_output(target: str, settings: RenderSettings) -> str | None:
    """The encoding of headerless output; None where it gets a header. --format goes before the name."""
    wanted = settings.format.upper() == "RAW" if settings.format else _is_raw(target)
    if settings.raw_format is None or not wanted:
        return None
    if settings.subtype.lower() != "keep":
        raise OptionError(
            f"--subtype {settings.subtype} stands beside --raw-format {settings.raw_format}, which says it for "
            "raw output: leave --subtype out, or pass --format WAV for output with a header"
        )
    return settings.raw_format


def _begins_with_header(source: str) -> bool:
    """Whether a file begins as those do that are no raw samples. A pipe cannot be asked without taking from it."""
    if source == "-" or not os.path.isfile(source):
        return False
    try:
        with open(source, "rb") as file:
            return file.read(4).startswith(_MAGICS)
    except OSError:  # the reader has the words for that
        return False


def _check_target(source: str, target: str, overwrite: bool) -> None:
    """Fails early where the output cannot be written."""
    if _is_special(target):
        return
    if os.path.isdir(target):
        raise UnwritableError(f"{target}: is a folder; expected the name of a file")
    if os.path.exists(target) and not overwrite:
        same = source != "-" and os.path.exists(source) and os.path.samefile(source, target)
        raise UnwritableError(f"{target}: {'is the input itself' if same else 'exists'}: pass -y to replace it")
    folder = os.path.dirname(os.path.abspath(target))
    if not os.path.isdir(folder):
        raise UnwritableError(f"{target}: there is no folder {folder}: make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UnwritableError(f"{target}: cannot be written: permission denied in {folder}")
