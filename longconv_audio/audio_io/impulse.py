"""Reading impulse responses: from audio files, pipes, .npy arrays and text, brought to the input's sample rate."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from longconv_audio import shaping
from longconv_audio.duration import Duration
from longconv_audio.errors import MismatchError, NonFiniteError, OptionError, UnreadableError

RATES = ("resample", "error")

# An array with more rows than this is taken for one that has time on its first axis.
MOST_CHANNELS = 1024


@dataclass(frozen=True)
class ImpulseResponse:
    """An impulse response, ready to be routed.

    Args:
        taps: float64, shape `(channels, K)`.
        samplerate: the taps' rate in hertz; None where neither the file nor the caller named one.
        origin: index of the tap at time zero; above 0 after resampling, whose filter rings before each tap.
        name: the file's name, for messages.
        native_samplerate: the rate in the file, None where it names none (.npy, .txt).
        notes: what a person should be told, one line each: resampled, silent, cut short.
    """

    taps: np.ndarray
    samplerate: int | None
    origin: int
    name: str
    native_samplerate: int | None
    notes: list[str] = field(default_factory=list)


def read_ir(
    source: Any,
    *,
    samplerate: int | None = None,
    rate: str = "resample",
    offset: Duration | str | float = 0.0,
    length: Duration | str | float | None = None,
    fade_out: Duration | str | float = 0.0,
    strict: bool = False,
) -> ImpulseResponse:
    """Reads an impulse response.

    Args:
        source: an audio file, "-" for standard input, a .npy array of shape `(K,)` or `(channels, K)`, or a .txt
            of a line a tap with a column a channel. An array has no rate of its own and is taken to be at
            `samplerate`; its numbers stay as they are.
        samplerate: the rate the taps are wanted at, in hertz; None keeps the file's.
        rate: what to do with a file at another rate: "resample", or "error" to refuse it.
        offset: what to leave out at the start: seconds, a text as `Duration.parse` takes it, or a Duration.
        length: how much to keep after that; None keeps all.
        fade_out: length of the half-cosine fade at the end of what is kept. These three act before
            resampling, so samples among them are samples of the file.
        strict: refuse a file with less data than its header says.

    Raises:
        UnreadableError: the source cannot be read or holds no samples.
        OptionError: an option makes no sense, or the offset leaves nothing.
        MismatchError: the rate differs and rate is "error".
        NonFiniteError: NaN or infinity in the part that is kept. Channels count from 1, samples from 0 at the
            file's start.
    """
    offset, fade = Duration.of(offset), Duration.of(fade_out)
    length = None if length is None else Duration.of(length)
    check_rate_option(rate)
    name = source_name(source)
    taps, native, notes = read_taps(source, samplerate, offset, length, strict)
    if not taps.any():
        notes.append(f"{name}: all {taps.shape[1]} samples are zero, so the filter's output will be silence")
    native_or_given = samplerate if native is None else native
    taps = shaping.fade_out(taps, fade.samples(native_or_given))
    taps, origin = convert_rate(taps, native_or_given, samplerate, rate, name, notes)
    return ImpulseResponse(taps, samplerate or native, origin, name, native, notes)


def read_taps(
    source: Any,
    samplerate: int | None = None,
    offset: Duration | None = None,
    length: Duration | None = None,
    strict: bool = False,
) -> tuple[np.ndarray, int | None, list[str]]:
    """Reads a part of an impulse response at its own rate and checks that it is there and finite.

    Args:
        source: as `read_ir` takes it.
        samplerate: the rate that an array without one is taken to have, in hertz.
        offset: what to leave out at the start; None leaves out nothing.
        length: how much to keep; None keeps all.
        strict: refuse a file with less data than its header says.

    Returns:
        the taps, float64, shape `(channels, K)` with K of 1 or more; the source's own rate, None for an
        array; the reader's warnings.
    """
    offset = offset or Duration.of(0)
    name = source_name(source)
    if _is_array_file(source):
        array, native, notes = _load_array(source), None, []
        start, stop = _limits(offset, length, samplerate)
        taps, end = array[:, start:stop], array.shape[1]
    else:
        from longconv_audio.audio_io.reader import AudioReader  # brings in soundfile

        with AudioReader(source, strict=strict, dtype="float64") as reader:
            native = int(reader.samplerate)
            start, stop = _limits(offset, length, native)
            skipped = reader.skip(start)
            taps = reader.read(-1 if stop is None else stop - start)
            end = skipped + taps.shape[1]  # the file's, or where reading stopped
            notes = [warning if name in warning else f"{name}: {warning}" for warning in reader.warnings]
    if start == stop:
        raise OptionError(f"{name}: --ir-length 0 leaves nothing of the IR; expected 1 sample or more")
    if end == 0:
        raise UnreadableError(f"{name}: the IR has 0 samples; expected at least 1")
    if taps.shape[1] == 0:
        raise OptionError(f"{name}: --ir-offset of {start} samples leaves nothing of the IR, which has {end}")
    if stop is not None and end < stop:
        notes.append(f"{name}: {stop - start} samples asked for, only {taps.shape[1]} are there")
    _check_finite(taps, start, name)
    return taps, native, notes


def convert_rate(
    taps: np.ndarray, native: int | None, wanted: int | None, rate: str, name: str, notes: list[str]
) -> tuple[np.ndarray, int]:
    """Resamples taps where the rates differ and that is allowed, and says so in the notes.

    Returns:
        the taps and the index of time zero among them.
    """
    if native is None or wanted is None or native == wanted:
        return taps, 0
    if rate == "error":
        raise MismatchError(
            f"{name}: the IR is at {native} Hz and the input at {wanted} Hz: pass --ir-rate resample, "
            f"or bring it to {wanted} Hz first"
        )
    note = f"{name}: resampled from {native} to {wanted} Hz"
    if note not in notes:
        notes.append(note)
    try:
        return shaping.resample(taps, native, wanted)
    except OptionError as error:
        raise MismatchError(f"{name}: {error}") from None


def check_rate_option(rate: str) -> None:
    """Refuses a policy for other sample rates that is not one of the two."""
    if rate not in RATES:
        raise OptionError(f"--ir-rate {rate}: expected {' or '.join(RATES)}")


def source_name(source: Any) -> str:
    """What messages call a source."""
    if isinstance(source, (str, os.PathLike)):
        return "standard input" if os.fspath(source) == "-" else os.fsdecode(source)
    return str(getattr(source, "name", "the IR"))


def _is_array_file(source: Any) -> bool:
    return isinstance(source, (str, os.PathLike)) and os.fsdecode(source).lower().endswith((".npy", ".txt"))


def _limits(offset: Duration, length: Duration | None, rate: int | None) -> tuple[int, int | None]:
    start = offset.samples(rate)
    return start, None if length is None else start + length.samples(rate)


def _load_array(source: Any) -> np.ndarray:
    name = source_name(source)
    if name.lower().endswith(".txt"):
        return _load_text(source)
    try:
        array = np.load(os.fspath(source), allow_pickle=False)
    except FileNotFoundError:
        raise UnreadableError(f"{name}: no such file") from None
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        reason = re.sub(r"\s+", " ", getattr(error, "strerror", None) or str(error)).strip()
        raise UnreadableError(f"{name}: not a readable .npy array: {reason}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.ndim not in (1, 2):
        found = type(array).__name__
        if isinstance(array, np.ndarray):
            found = f"{array.dtype} of shape {array.shape}"
        raise UnreadableError(f"{name}: holds {found}; expected real numbers of shape (K,) or (channels, K)")
    if array.ndim == 2 and len(array) > MOST_CHANNELS:
        raise UnreadableError(
            f"{name}: an array of shape {array.shape} would have {len(array)} channels; "
            "expected (channels, K): transpose it"
        )
    return np.atleast_2d(np.asarray(array, dtype=np.float64))


def _load_text(source: Any) -> np.ndarray:
    name = source_name(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file without a number, which is refused below
            columns = np.loadtxt(os.fspath(source), ndmin=2)
    except FileNotFoundError:
        raise UnreadableError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:
        reason = re.sub(r"\s+", " ", getattr(error, "strerror", None) or str(error)).strip()
        raise UnreadableError(f"{name}: not a line a tap with a column a channel: {reason}") from None
    if columns.shape[1] > MOST_CHANNELS:
        raise UnreadableError(f"{name}: {columns.shape[1]} numbers a line: expected a line a tap, a column a channel")
    return np.ascontiguousarray(columns.T)


def _check_finite(taps: np.ndarray, start: int, name: str) -> None:
    finite = np.isfinite(taps)
    if finite.all():
        return
    sample = int(np.argmin(finite.all(axis=0)))
    channel = int(np.argmin(finite[:, sample]))
    value = taps[channel, sample]
    found = "NaN" if np.isnan(value) else "infinity"
    raise NonFiniteError(
        f"{name}: the IR has {found} at channel {channel + 1} (of {len(taps)}), sample {start + sample}: "
        "mend the file, or leave that part out"
    )
