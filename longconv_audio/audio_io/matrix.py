"""Reading matrix files: which part of which file filters the way from each input to each output.

`matrix_formats` has the two formats. In both, samples are counted at the file's own rate, and several filters between
the same two channels add up. A unit impulse's delay is counted at the input's rate in TOML, and at the files' rate in
jconvolver's format, which knows one rate only.
"""

from __future__ import annotations

import os

import numpy as np

from longconv_audio.audio_io.impulse import check_rate_option, convert_rate, read_taps
from longconv_audio.audio_io.matrix_formats import MOST_DELAY, FilterSpec, parse
from longconv_audio.errors import LongconvError, MismatchError, OptionError, UnreadableError
from longconv_audio.routing import FilterMatrix, Path


def read_matrix(
    path: str | os.PathLike,
    *,
    samplerate: int,
    rate: str = "resample",
    strict: bool = False,
    notes: list[str] | None = None,
) -> FilterMatrix:
    """Reads a matrix file and every IR it names.

    Args:
        path: the TOML or jconvolver file.
        samplerate: the rate the filters are wanted at, in hertz.
        rate: what to do with files at another rate: "resample", or "error" to refuse them.
        strict: refuse audio files with less data than their header says.
        notes: a list that takes what a person should be told, one line each.

    Returns:
        the filters, those that came from one part of one file sharing their taps, all with one origin.

    Raises:
        UnreadableError: the matrix file cannot be read or understood, or an IR cannot be read.
        MismatchError: a file lacks the channel asked for, or has another rate and rate is "error".
        NonFiniteError: NaN or infinity in an IR.
        OptionError: an option makes no sense, or an offset leaves nothing of a file.
        Each names the matrix file and the line or the number of the path.
    """
    check_rate_option(rate)
    notes = [] if notes is None else notes
    path = os.fspath(path)
    layout = parse(path)
    files = _Files(path, samplerate, rate, strict, notes)
    filters: dict[tuple[int, int], list[tuple[np.ndarray, int]]] = {}
    # Files first: the delays of unit impulses count at the files' rate.
    for spec in sorted(layout.specs, key=lambda spec: spec.file is None):
        try:
            unit_rate = files.common_rate() if layout.at_file_rate else samplerate
            entry = files.filter(spec, unit_rate)
        except LongconvError as error:
            raise type(error)(f"{spec.where}: {error}") from None
        filters.setdefault((spec.output, spec.input), []).append(entry)
    filters = _resolve_copies(filters, layout.copies)

    origin = max((start for entries in filters.values() for _, start in entries), default=0)
    joined: dict[tuple, np.ndarray] = {}
    paths = []
    for (output, input_), entries in sorted(filters.items()):
        key = tuple(sorted(id(taps) for taps, _ in entries))
        if key not in joined:
            joined[key] = _join(entries, origin)
        paths.append(Path(output, input_, joined[key]))
    return FilterMatrix(layout.inputs, layout.outputs, tuple(paths), origin)


class _Files:
    """The IRs of one matrix file: each file read once, each part of it converted once."""

    def __init__(self, matrix: str, samplerate: int, rate: str, strict: bool, notes: list[str]):
        self.matrix, self.samplerate, self.rate, self.strict, self.notes = matrix, samplerate, rate, strict, notes
        self.contents: dict[str, tuple[np.ndarray, int]] = {}
        self.parts: dict[tuple, tuple[np.ndarray, int]] = {}

    def load(self, file: str) -> tuple[np.ndarray, int]:
        """The whole file and its rate."""
        if file not in self.contents:
            taps, native, notes = read_taps(file, self.samplerate, strict=self.strict)
            self.notes += notes
            if not taps.any():
                self.notes.append(f"{file}: all {taps.shape[1]} samples are zero")
            self.contents[file] = (taps, native or self.samplerate)
        return self.contents[file]

    def common_rate(self) -> int | None:
        """The rate of all files read, the input's where there are none, None where they differ."""
        rates = {rate for _, rate in self.contents.values()}
        return (rates or {self.samplerate}).pop() if len(rates) < 2 else None

    def filter(self, spec: FilterSpec, unit_rate: int | None) -> tuple[np.ndarray, int]:
        """The taps of one path at the wanted rate, and the index of time zero among them."""
        part = (spec.file, spec.channel, spec.delay, spec.offset, spec.length)
        if part not in self.parts:
            self.parts[part] = self._unit(spec, unit_rate) if spec.file is None else self._part(spec)
        if spec.gain == 1:
            return self.parts[part]
        whole = (*part, spec.gain)
        if whole not in self.parts:
            taps, origin = self.parts[part]
            self.parts[whole] = (taps * spec.gain, origin)
        return self.parts[whole]

    def _part(self, spec: FilterSpec) -> tuple[np.ndarray, int]:
        content, native = self.load(spec.file)
        if spec.channel >= len(content):
            raise MismatchError(
                f"channel {spec.channel + 1} of {spec.file}, which has {len(content)}: channels count from 1"
            )
        start = spec.offset.samples(native)
        stop = None if spec.length is None else start + spec.length.samples(native)
        row = content[spec.channel, start:stop]
        if not len(row):
            raise OptionError(
                f"offset {start}, length {'all' if stop is None else stop - start} samples of {spec.file} "
                f"leaves nothing; it has {content.shape[1]} samples"
            )
        delay = _delay(spec, native)
        if spec.most is not None and delay + len(row) > spec.most:
            self.notes.append(
                f"{spec.where}: all {delay + len(row)} samples are used, delay and {spec.file}; "
                f"jconvolver would cut them at its maximum size of {spec.most}"
            )
        # The delay goes in before resampling, so that it keeps its exact length at any rate.
        taps = np.concatenate([np.zeros(delay), row])
        return self._convert(taps, native, spec.file)

    def _convert(self, taps: np.ndarray, native: int, name: str) -> tuple[np.ndarray, int]:
        notes: list[str] = []
        converted, origin = convert_rate(taps[None], native, self.samplerate, self.rate, name, notes)
        # One line for all files of a rate: a matrix can name hundreds.
        summary = f"{self.matrix}: filters resampled from {native} to {self.samplerate} Hz"
        if notes and summary not in self.notes:
            self.notes.append(summary)
        return converted[0], origin

    def _unit(self, spec: FilterSpec, unit_rate: int | None) -> tuple[np.ndarray, int]:
        if unit_rate is None and spec.delay:
            raise MismatchError(
                f"a delay of {spec.delay} has no meaning beside files of several rates: bring them to one"
            )
        delay = _delay(spec, unit_rate or self.samplerate)
        scaled, remainder = divmod(delay * self.samplerate, unit_rate or self.samplerate)
        if remainder == 0:  # stays a single tap, exact at all frequencies
            taps = np.zeros(scaled + 1)
            taps[scaled] = 1.0
            return taps, 0
        taps = np.zeros(delay + 1)
        taps[delay] = 1.0
        return self._convert(taps, unit_rate, "a unit impulse")


def _delay(spec: FilterSpec, rate: int) -> int:
    delay = spec.delay.samples(rate)
    if delay > MOST_DELAY:
        raise OptionError(f"a delay of {delay} samples: expected at most {MOST_DELAY}")
    return delay


def _join(entries: list[tuple[np.ndarray, int]], origin: int) -> np.ndarray:
    """Adds filters up, with time zero at the same index in all."""
    if len(entries) == 1 and entries[0][1] == origin:
        return entries[0][0]
    total = np.zeros(max(origin - start + len(taps) for taps, start in entries))
    for taps, start in entries:
        total[origin - start : origin - start + len(taps)] += taps
    return total


def _resolve_copies(filters: dict, copies: dict) -> dict:
    """Puts in place of each copy what it refers to; a copy includes what was added to its original later."""
    resolved: dict[tuple[int, int], list] = {}

    def look_up(pair: tuple[int, int], trail: tuple[tuple[int, int], ...], where: str) -> list:
        if pair in trail:
            raise UnreadableError(f"{where}: copies that refer to each other in a circle")
        if pair not in filters and pair not in copies:
            raise UnreadableError(
                f"{where}: nothing to copy, no filter leads from input {pair[1] + 1} to output {pair[0] + 1}"
            )
        if pair not in resolved:
            entries = list(filters.get(pair, ()))
            for origin, origin_where in copies.get(pair, ()):
                entries += look_up(origin, (*trail, pair), origin_where)
            resolved[pair] = entries
        return resolved[pair]

    for pair in [*filters, *copies]:
        look_up(pair, (), "")
    return resolved
