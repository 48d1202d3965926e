"""Magnitude curves: levels in dB over frequency, from points and from parametric equalisers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from longconv_audio.errors import OptionError, UnreadableError

from .biquads import LEAST_DB, Biquad

# A text of more is not a curve.
_MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class Curve:
    """A level in dB at every frequency: the sum of tables, filters and a gain.

    Args:
        tables: each (points, 2) of frequency in hertz, rising, and level in dB. Between points the level is a straight
            line over the logarithm of frequency, and beyond the ends it stays what it is there.
        filters: bands of a parametric equaliser.
        preamp_db: gain over all frequencies.
        name: what messages call it.
        notes: what a person should be told, one line each.
    """

    tables: tuple[np.ndarray, ...] = ()
    filters: tuple[Biquad, ...] = ()
    preamp_db: float = 0.0
    name: str = "the curve"
    notes: tuple[str, ...] = ()

    @classmethod
    def of_points(cls, frequencies: Iterable[float], levels: Iterable[float], name: str = "the curve") -> Curve:
        """A curve through points.

        Args:
            frequencies: at least two, in hertz, in any order, each but once.
            levels: as many, in dB.
            name: what messages call it.

        Raises:
            OptionError: fewer points than two, a frequency twice, not above 0, or not finite.

        >>> Curve.of_points([100, 10_000], [0, -6]).levels([10, 100, 1000, 20_000], 48_000).round(9).tolist()
        [0.0, 0.0, -3.0, -6.0]
        """
        points = np.array([list(frequencies), list(levels)], dtype=np.float64).T
        if not np.isfinite(points).all():
            raise OptionError(f"{name}: a frequency or level is not a finite number")
        rows = [(None, frequency, level) for frequency, level in points]
        try:
            table, notes = _sorted_table(rows, name)
        except UnreadableError as error:
            raise OptionError(str(error)) from None
        return cls((table,), name=name, notes=tuple(notes))

    def levels(self, frequencies: np.ndarray, samplerate: float) -> np.ndarray:
        """The curve in dB.

        Args:
            frequencies: (bins,), in hertz, from 0 to half the sample rate.
            samplerate: that its filters run at, in hertz.

        Returns:
            (bins,), each of -200 dB or more.

        Raises:
            OptionError: every point, or a filter, is at or above half the sample rate.
        """
        frequencies = np.asarray(frequencies, dtype=np.float64)
        levels = np.full(frequencies.shape, self.preamp_db)
        for table in self.tables:
            if table[0, 0] >= samplerate / 2:
                raise OptionError(
                    f"{self.name}: all points are at or above half the sample rate, {samplerate / 2:g} Hz: use a "
                    "higher rate, or check that frequencies are in Hz"
                )
            logarithm = np.log(np.maximum(frequencies, 1e-3 * table[0, 0]))
            levels += np.interp(logarithm, np.log(table[:, 0]), table[:, 1])
        for band in self.filters:
            levels += band.levels(frequencies, samplerate)
        return np.maximum(levels, LEAST_DB)

    def warnings(self, samplerate: float) -> list[str]:
        """The notes, and how many points are beyond a sample rate's half."""
        warnings = list(self.notes)
        beyond = sum(int(np.count_nonzero(table[:, 0] > samplerate / 2)) for table in self.tables)
        if beyond:
            warnings.append(
                f"{self.name}: {beyond} point{'s' if beyond > 1 else ''} above half the sample rate, "
                f"{samplerate / 2:g} Hz, cannot be reached"
            )
        return warnings


def read_curve(source) -> Curve:
    """Reads a curve from a text.

    Args:
        source: a path, "-" for standard input, or a binary file object. The text holds one of

            - a table, a line a point: frequency in Hz, level in dB and, unused, a phase; parted by commas, semicolons,
              tabs or blanks, with a comma as decimal mark where it parts nothing; one line of headings; comments begin
              with *, # or //. REW's measurements exported as text are such tables.
            - lines of an equaliser as REW, Equalizer APO and AutoEq write them, which add up: `Preamp: -6.1 dB`,
              `Filter 1: ON PK Fc 105 Hz Gain 7.3 dB Q 0.70`, `GraphicEQ: 20 -1.2; 25 -0.8`. Filters that are OFF do
              nothing.

    Raises:
        UnreadableError: no such file, not a text, a line that is not known (by its number), one point alone, a
            frequency twice.
    """
    from longconv_audio.audio_io.source import ByteSource

    from .curve_texts import parse_curve

    stream = ByteSource(source)
    try:
        data = stream.read(_MOST_BYTES + 1)
    finally:
        stream.close()
    name = str(stream.name)
    if len(data) > _MOST_BYTES:
        raise UnreadableError(f"{name}: more than {_MOST_BYTES >> 20} MiB: expected the text of a curve")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = data.decode(encoding, errors="replace")
    if "\0" in text:
        raise UnreadableError(f"{name}: is not a text: expected frequencies and levels, or lines of an equaliser")
    parsed = parse_curve(text, name)
    tables = []
    for rows in parsed.tables:
        table, notes = _sorted_table(rows, name)
        tables.append(table)
        parsed.notes += notes
    return Curve(tuple(tables), tuple(parsed.filters), parsed.preamp_db, name, tuple(parsed.notes))


def _sorted_table(rows: list[tuple[int | None, float, float]], name: str) -> tuple[np.ndarray, list[str]]:
    """Points (line number, hertz, dB) as a table of rising frequency, and notes on what was done to them."""

    def place(row) -> str:
        return name if row[0] is None else f"{name}:{row[0]}"

    notes = []
    for row in rows:
        if row[1] < 0:
            raise UnreadableError(f"{place(row)}: {row[1]:g} Hz: expected a frequency above 0")
    # A spectrum's export begins at 0 Hz, which has no place on a logarithmic axis.
    points = [row for row in rows if row[1] > 0]
    if len(points) < len(rows):
        notes.append(f"{name}: the point at 0 Hz is left out")
    if len(points) < 2:
        raise UnreadableError(
            f"{place(rows[-1]) if rows else name}: {len(points)} point{'s' * (len(points) != 1)}: a curve needs two or "
            "more, each a frequency above 0 and a level"
        )
    ordered = sorted(points, key=lambda row: row[1])
    for one, other in itertools.pairwise(ordered):
        if one[1] == other[1]:
            line = "" if one[0] in (None, other[0]) else f", first in line {one[0]}"
            raise UnreadableError(f"{place(other)}: {other[1]:g} Hz stands there twice{line}: take one of them out")
    if ordered != points:
        notes.append(f"{name}: the frequencies do not rise: sorted")
    return np.array([row[1:] for row in ordered]), notes
