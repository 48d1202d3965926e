"""The words and tables of `longconv inspect`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from longconv_audio.filters.inspection import LONGEST_IR_SECONDS

if TYPE_CHECKING:
    from longconv_audio.filters.acoustics import RoomParameters
    from longconv_audio.filters.inspection import ChannelReport, Inspection

KINDS = {"ir": "impulse response", "recording": "recording"}

# A name, a unit, the field, what to multiply it with and the digits after the point.
ROOM_COLUMNS = (
    ("EDT", "s", "edt", 1, 2),
    ("T20", "s", "t20", 1, 2),
    ("T30", "s", "t30", 1, 2),
    ("C50", "dB", "c50", 1, 1),
    ("C80", "dB", "c80", 1, 1),
    ("D50", "%", "d50", 100, 0),
    ("Ts", "ms", "ts", 1000, 0),
    ("noise", "dB down", "noise_distance_db", 1, 0),
    ("nonlin. T30", "per mille", "nonlinearity_t30", 1, 1),
    ("curvature", "%", "curvature", 1, 1),
)
ROOM_KEYS = {column[2] for column in ROOM_COLUMNS[:7]}
LEVEL_COLUMNS = (
    ("peak", "dBFS", "peak_dbfs", 1, 2),
    ("at", "s", "peak_seconds", 1, 4),
    ("RMS", "dBFS", "rms_dbfs", 1, 2),
)
IR_COLUMNS = (
    ("onset", "s", "onset_seconds", 1, 4),
    ("l1", "dB", "l1_db", 1, 2),
    ("l2", "dB", "l2_db", 1, 2),
    ("gain", "dB", "max_gain_db", 1, 2),
    ("at", "Hz", "max_gain_hz", 1, 0),
)
LAST_COLUMNS = (
    ("DC", "", "dc", 1, 6),
    ("noise", "dB re peak", "noise_dbpeak", 1, 1),
    ("leading", "zeros", "leading_silence_samples", 1, 0),
    ("clipped", "samples", "clipped_samples", 1, 0),
)
NONE = "-"


def lines(name: str, found: Inspection, channels: Sequence[int], guessed: bool) -> list[str]:
    """The report for people.

    Args:
        name: of the input.
        found: what is in it.
        channels: whose room is wanted, from 1; none for the mean of all.
        guessed: whether nobody said what kind of signal it is.
    """
    size = (
        f"{found.channels} channel{'s' if found.channels > 1 else ''}, {found.seconds:.6g} s ({found.samples} samples)"
    )
    text = [f"{name}: {KINDS[found.kind]}, {size} at {found.samplerate} Hz"]
    if guessed and found.kind == "recording" and found.seconds <= LONGEST_IR_SECONDS:
        text.append("its energy does not come soon after its onset: --as ir measures it as an impulse response")
    if found.overall.silent:
        return [*text, "silence: every sample is 0"]
    rows = [(str(i + 1), report) for i, report in enumerate(found.by_channel)]
    columns = (*LEVEL_COLUMNS, *(IR_COLUMNS if found.kind == "ir" else ()), *LAST_COLUMNS)
    text += ["", *_table(("channel", ""), columns, [*rows, ("all", found.overall)] if len(rows) > 1 else rows)]
    text += [f"channel {number}: {remark}" for number, report in rows for remark in _remarks(report)]
    if found.loudness is not None:
        text += ["", *_loudness(found)]
    if found.room is not None:
        rooms = [(f"channel {n}", found.room_by_channel[n - 1]) for n in channels]
        mean = "mean of the channels" if found.channels > 1 else "channel 1"
        for title, room in rooms or [(mean, found.room)]:
            text += ["", *_room(title, room)]
    return text


def _remarks(report: ChannelReport) -> list[str]:
    remarks = []
    if report.silent:
        remarks.append("silence: every sample is 0")
    elif report.decays is False:
        remarks.append(f"no decay over all frequencies: {report.why_not}")
    if report.samples_beyond_full_scale:
        remarks.append(f"{report.samples_beyond_full_scale} samples beyond full scale")
    return remarks


def _loudness(found: Inspection) -> list[str]:
    values = (
        ("integrated loudness", found.loudness.integrated, "LUFS"),
        ("loudness range", found.loudness.range, "LU"),
    )
    keys = ("integrated", "range")
    return [
        f"{label}: {value:.1f} {unit}" if value is not None else f"{label}: {NONE} ({found.loudness.missing[key]})"
        for key, (label, value, unit) in zip(keys, values, strict=True)
    ]


def _room(title: str, room: RoomParameters) -> list[str]:
    text = [f"room, {title}"]
    measured = [(band.band, band) for band in room.bands if band.missing.keys() != ROOM_KEYS]
    if measured:
        text += _table(("band", "Hz"), ROOM_COLUMNS, [*measured, ("mid", room.mid)])
    reasons: dict[str, dict[str, list[str]]] = {}
    for band in room.bands:
        for reason, names in _by_reason(band.missing).items():
            reasons.setdefault(reason, {}).setdefault(names, []).append(band.band)
        for warning in band.warnings:
            reasons.setdefault(warning, {}).setdefault("", []).append(band.band)
    for reason, where in reasons.items():
        for names, bands in where.items():
            what = {"": "", "nothing": "not measurable: "}.get(names, f"{names} not measured: ")
            text.append(f"{', '.join(bands)} Hz: {what}{reason}")
    return text


def _by_reason(missing: dict[str, str]) -> dict[str, str]:
    """The quantities that share a reason, in words."""
    titles = {field: title for title, _, field, _, _ in ROOM_COLUMNS}
    grouped: dict[str, list[str]] = {}
    for name, reason in missing.items():
        grouped.setdefault(reason, []).append(titles[name])
    return {
        reason: "nothing" if len(names) == len(ROOM_KEYS) else ", ".join(names) for reason, names in grouped.items()
    }


def _table(corner: tuple[str, str], columns: Sequence, rows: Iterable) -> list[str]:
    """Columns of numbers to the right, under their names and units."""
    cells = [[corner[0], *(column[0] for column in columns)], [corner[1], *(column[1] for column in columns)]]
    for label, row in rows:
        values = [row.get(column[2]) if isinstance(row, dict) else getattr(row, column[2]) for column in columns]
        cells.append([label, *(_number(value, *column[3:]) for value, column in zip(values, columns, strict=True))])
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns) + 1)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _number(value: float | None, factor: float, digits: int) -> str:
    if value is None:
        return NONE
    text = f"{value * factor:.{digits}f}"
    # A rounded nothing has no sign.
    return text.removeprefix("-") if not text.strip("-0.") else text
