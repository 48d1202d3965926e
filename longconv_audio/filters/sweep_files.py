"""Excitations out of audio files."""

from __future__ import annotations

import numpy as np

from longconv_audio.errors import NonFiniteError, OptionError

from .excitation import Excitation, excitation_of
from .sweeps import Sweep

# A file is the sweep that its comment describes where no sample is further away: a few steps of 16 bits.
LIKE = 1e-4


def read_sweep(
    source, *, start: float | None = None, end: float | None = None, repeats: int | None = None
) -> tuple[Excitation, list[str]]:
    """Reads what was played in a measurement.

    Args:
        source: an audio file, or "-" for standard input. One by `longconv sweep` says in its comment what it is; of
            any other, one channel holds one pass.
        start, end: lowest and highest frequency in hertz, and
        repeats: how often the file was played in a row, of a file by another tool. Any of them makes the comment count
            for nothing.

    Returns:
        the excitation, and what a person should be told, a line each.

    Raises:
        UnreadableError: it cannot be read, is silent, or sounds in several channels that nothing explains.
        NonFiniteError: NaN or infinity in it.
        OptionError: frequencies or repeats that make no sense.
    """
    from longconv_audio.audio_io import AudioReader

    with AudioReader(source, dtype="float64") as reader:
        samples, notes = reader.read(), list(reader.warnings)
        name, samplerate, comment = reader.name, int(reader.samplerate), reader.tags.get("comment", "")
    if not np.isfinite(samples).all():
        raise NonFiniteError(f"{name}: NaN or infinity among the samples of the sweep: make it again")
    for frequency, option in ((start, "--start"), (end, "--end")):
        if frequency is not None and not np.isfinite(frequency):
            raise OptionError(f"{option} {frequency}: expected a frequency in hertz")
    sweep = Sweep.of_tag(comment)
    if sweep is not None and start is end is repeats is None:
        if _is(sweep, samples, samplerate):
            return sweep.excitation(), notes
        notes.append(f"{name}: its comment describes another sweep than it holds (was it edited?): its samples count")
    return excitation_of(samples, samplerate, start=start, end=end, repeats=repeats or 1, name=name), notes


def _is(sweep: Sweep, samples: np.ndarray, samplerate: int) -> bool:
    if sweep.samplerate != samplerate or samples.shape != (sweep.channels, sweep.frames):
        return False
    return bool(np.abs(sweep.signal() - samples).max() < LIKE)
