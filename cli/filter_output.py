"""What every command that makes a filter ends with: the file, and what it does to a sound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

import numpy as np

from longconv_audio.errors import OptionError

from .messages import finite, print_json, say, warn


def check_output(output: str, json: bool, overwrite: bool, source: str = "-") -> None:
    """Refuses, before any work, an output that is not named, cannot be written or meets the report on standard output.

    Args:
        output: as `write_ir` takes it.
        json: whether the report goes to standard output.
        overwrite: whether a file that exists may be replaced.
        source: the input, for the message where it is the output itself.
    """
    if not output:
        raise OptionError("no output was given: pass -o FILE (.wav, .npy, .txt, ...), or -o - for standard output")
    if json and output == "-":
        raise OptionError("--json and -o -: both go to standard output: write the filter to a file")
    from longconv_audio.endpoints import check_target

    check_target(source, output, overwrite)


def write_filter(
    output: str,
    taps: np.ndarray,
    samplerate: int,
    *,
    subtype: str | None = None,
    overwrite: bool = False,
    latency: float | None = None,
    facts: Mapping | None = None,
    said: Iterable[str] = (),
    warnings: Iterable[str] = (),
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Writes a filter and says what it is.

    Args:
        output: as `write_ir` takes it.
        taps: (taps,) or (channels, taps).
        samplerate: in hertz.
        subtype: of audio; None is float.
        overwrite: whether a file that exists may be replaced.
        latency: of the filter in samples; None is the place of its largest tap.
        facts: more for the JSON, under names of its own; values of float that are not finite become null.
        said: more lines for people, ahead of the last.
        warnings: lines for people that begin with "warning", and a list in the JSON.
        json: whether the report goes to standard output.
        quiet: whether people hear nothing.
    """
    from longconv_audio.audio_io import write_ir
    from longconv_audio.filters import summarize

    warnings = list(warnings)
    summary = summarize(taps, samplerate, latency)
    name = write_ir(output, taps, samplerate, subtype=subtype, overwrite=overwrite)
    if json:
        print_json(plain({"output": name, **asdict(summary), **(facts or {}), "warnings": warnings}))
    if quiet:
        return
    for line in warnings:
        warn(line)
    for line in said:
        say(line)
    channels = f"{summary.channels} channel{'s' if summary.channels > 1 else ''}"
    say(
        f"{name}: {channels}, {summary.taps} taps ({summary.seconds:.4g} s) at {samplerate} Hz, latency "
        f"{summary.latency_samples:g} samples ({summary.latency_ms:.6g} ms), "
        f"largest gain {summary.peak_gain_db:+.2f} dB at {summary.peak_gain_hz:.6g} Hz"
    )


def plain(value):
    """What JSON can say of a value: NumPy's numbers and arrays as Python's, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    return finite(value) if isinstance(value, float) else value
