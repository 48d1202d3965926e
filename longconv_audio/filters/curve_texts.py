"""What the texts of magnitude curves say: tables of points, and the filter lines of REW, Equalizer APO and AutoEq."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from longconv_audio.errors import UnreadableError

from .biquads import Biquad, shelf_q

LARGEST_DB = 200.0

# Each of our kinds under the names that REW and Equalizer APO write.
_KINDS = {
    "PK": "peaking",
    "PEQ": "peaking",
    "MODAL": "peaking",
    "LP": "low-pass",
    "LPQ": "low-pass",
    "HP": "high-pass",
    "HPQ": "high-pass",
    "BP": "band-pass",
    "NO": "notch",
    "LS": "low shelf",
    "LSQ": "low shelf",
    "LSC": "low shelf",
    "HS": "high shelf",
    "HSQ": "high shelf",
    "HSC": "high shelf",
}
_GAINED = ("peaking", "low shelf", "high shelf")

# Where a line gives no Q: Butterworth for a low-pass, a high-pass and a band, and for the shelf and the notch what
# Equalizer APO takes, which was fitted to REW.
_DEFAULT_Q, _NOTCH_Q, _SHELF_SLOPE = math.sqrt(0.5), 30.0, 0.9

# What a filter's numbers may be: far more than any equaliser has.
_RANGES = {
    "hertz": ("Fc", 0.001, 1e6, " Hz"),
    "q": ("Q", 0.001, 1e4, ""),
    "octaves": ("a bandwidth", 0.001, 20.0, " octaves"),
    "slope": ("a slope", 0.1, 12.0, " dB per octave"),
}

_NUMBER = r"[-+]?[0-9][0-9.,]*(?:[eE][-+]?[0-9]+)?|[-+]?[.,][0-9]+"
_FILTER = re.compile(r"filter\s*[0-9]*\s*:\s*(on|off)\b\s*(.*)", re.IGNORECASE)
_KIND = re.compile(
    rf"(?P<kind>[a-z]+)(?:\s+(?P<q_name>q)(?=\s+fc))?(?:\s+(?P<slope>{_NUMBER})\s*dB)?(?=\s|$)", re.IGNORECASE
)
_PARAMETER = re.compile(
    rf"\s*(?:(?P<fc>fc)\s*(?P<hertz>{_NUMBER})\s*(?P<kilo>k?)hz|gain\s*(?P<gain>{_NUMBER})\s*dB"
    rf"|q\s*(?P<q>{_NUMBER})|bw\s+oct\s*(?P<octaves>{_NUMBER})|t60\s+target\s*(?P<t60>{_NUMBER})\s*ms)(?=\s|$)",
    re.IGNORECASE,
)
_PREAMP = re.compile(rf"preamp\s*:\s*({_NUMBER})\s*dB", re.IGNORECASE)
_GRAPHIC = re.compile(r"graphiceq\s*:\s*(.*)", re.IGNORECASE)
_COMMENT = re.compile(r"\s*(?:[*#]|//)")


@dataclass
class Parsed:
    """What a text holds: tables of (line number, hertz, dB), filters, gain over all, and what a person should hear."""

    tables: list[list[tuple[int, float, float]]] = field(default_factory=list)
    filters: list[Biquad] = field(default_factory=list)
    preamp_db: float = 0.0
    notes: list[str] = field(default_factory=list)


def parse_curve(text: str, name: str) -> Parsed:
    """Reads a curve's text: a table of points, or equaliser lines, which add up.

    Args:
        text: the whole file.
        name: the file's name, for messages.

    Raises:
        UnreadableError: a line that is neither, by its number; nothing but comments.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not _COMMENT.match(line)]
    if not lines:
        raise UnreadableError(f"{name}: is empty: expected lines of frequency and dB, or of an equaliser")
    if any(_is_equalizer(line) for _, line in lines):
        return _equalizer(lines, name)
    return _table(lines, name)


def _is_equalizer(line: str) -> bool:
    return any(pattern.match(line) for pattern in (_FILTER, _PREAMP, _GRAPHIC))


def _equalizer(lines: list[tuple[int, str]], name: str) -> Parsed:
    parsed = Parsed()
    if lines[0][1].lower() == "filter settings file":
        # REW's own heading: the version, the date, notes in a person's words, up to the first filter.
        first = next(i for i, (_, line) in enumerate(lines) if _is_equalizer(line))
        lines = lines[first:]
    for number, line in lines:
        where = f"{name}:{number}"
        if match := _FILTER.fullmatch(line):
            if match[1].lower() == "on" and match[2].lower() not in ("none", ""):
                _add_filter(parsed, match[2], where)
        elif match := _PREAMP.fullmatch(line):
            parsed.preamp_db += _level(_numbers([match[1]], where)[0], where)
        elif match := _GRAPHIC.fullmatch(line):
            pairs = [pair.split() for pair in match[1].split(";") if pair.strip()]
            if not all(len(pair) == 2 for pair in pairs):
                raise UnreadableError(f"{where}: expected pairs such as GraphicEQ: 20 -1.2; 25 -0.8; ...")
            numbers = [_numbers(pair, where) for pair in pairs]
            parsed.tables.append([(number, frequency, _level(level, where)) for frequency, level in numbers])
        else:
            raise UnreadableError(
                f"{where}: {_quoted(line)} is not known: expected Filter, Preamp or GraphicEQ, or * before a comment"
            )
    if not parsed.tables and not parsed.filters:
        parsed.notes.append(f"{name}: no filter is on, so the curve is flat")
    return parsed


def _add_filter(parsed: Parsed, text: str, where: str) -> None:
    text = text.replace("\u00a0", "")  # between thousands, in some languages
    match = _KIND.match(text)
    kind = match["kind"].upper() + (match["q_name"] or "").upper() if match else ""
    if kind == "AP":
        parsed.notes.append(f"{where}: an all-pass has a phase only, and is left out of the curve")
        return
    if kind not in _KINDS:
        raise UnreadableError(
            f"{where}: a filter of type {_quoted(text.split()[0])} is not known: expected {', '.join(_KINDS)} or AP"
        )
    given = {"slope": match["slope"]} if match["slope"] else {}
    position, kilo = match.end(), False
    while text[position:].strip():
        parameter = _PARAMETER.match(text, position)
        if parameter is None:
            raise UnreadableError(
                f"{where}: {_quoted(text[position:].strip())} is not known: expected Fc in Hz, Gain in dB, Q or BW Oct"
            )
        kilo = kilo or bool(parameter["kilo"])
        for key in ("hertz", "gain", "q", "octaves", "t60"):
            if parameter[key] is not None:
                if key in given:
                    raise UnreadableError(f"{where}: {_quoted(text)} says one thing twice")
                given[key] = parameter[key]
        position = parameter.end()
    values = dict(zip(given, _numbers(list(given.values()), where, thousands=True), strict=True))
    if kilo:
        values["hertz"] *= 1000
    parsed.filters.append(_filter(kind, values, where))


def _filter(kind: str, values: dict[str, float], where: str) -> Biquad:
    ours = _KINDS[kind]
    needed = {"hertz": "Fc"} | ({"gain": "Gain"} if ours in _GAINED else {})
    for key, called in needed.items():
        if key not in values:
            raise UnreadableError(f"{where}: a filter {kind} without {called}: expected Fc 100 Hz Gain -3 dB Q 1")
    for key, value in values.items():
        called, least, most, unit = _RANGES.get(key, ("", -math.inf, math.inf, ""))
        if not least <= value <= most:
            raise UnreadableError(f"{where}: {called} of {value:g}{unit}: expected {least:g} to {most:g}{unit}")
    hertz = values["hertz"]
    gain = _level(values["gain"], where) if ours in _GAINED else 0.0
    if "q" in values:
        return Biquad(ours, hertz, values["q"], gain, where)
    if "octaves" in values:
        return Biquad(ours, hertz, None, gain, where, values["octaves"])
    if ours == "peaking":
        raise UnreadableError(f"{where}: a filter {kind} without Q: expected Fc 100 Hz Gain -3 dB Q 1")
    if ours == "notch":
        return Biquad(ours, hertz, _NOTCH_Q, gain, where)
    if ours not in _GAINED:
        return Biquad(ours, hertz, _DEFAULT_Q, gain, where)
    slope = values.get("slope", 12 * _SHELF_SLOPE) / 12
    if "slope" in values and not kind.endswith("C"):
        # Equalizer APO, after REW: at Fc of these the straight line through the shelf's middle reaches all of its gain.
        hertz *= 10 ** ((1 if ours == "low shelf" else -1) * abs(gain) / 80 / slope)
    return Biquad(ours, hertz, shelf_q(slope, gain), gain, where)


def _table(lines: list[tuple[int, str]], name: str) -> Parsed:
    points = []
    for position, (number, line) in enumerate(lines):
        cells, where = _cells(line), f"{name}:{number}"
        if position == 0 and len(cells) > 1 and not any(re.match(_NUMBER, cell) for cell in cells):
            continue  # the heading
        if not 2 <= len(cells) <= 3:
            raise UnreadableError(f"{where}: {_quoted(line)}: expected a frequency in Hz and a level in dB")
        # A third column is the phase, in which a magnitude curve has no interest.
        frequency, level = _numbers(cells, where)[:2]
        points.append((number, frequency, _level(level, where)))
    if not points:
        raise UnreadableError(f"{name}: holds no points: expected lines of frequency and dB")
    return Parsed([points])


def _cells(line: str) -> list[str]:
    """A line's columns. A comma parts them only where nothing else does: elsewhere it may be a decimal's."""
    for separator in (";", "\t"):
        if separator in line:
            cells = line.split(separator)
            break
    else:
        cells = re.split(r",\s+|\s+,\s*|\s+", line)
        if len(cells) == 1:
            cells = line.split(",")
    cells = [cell.strip().strip('"').strip() for cell in cells]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _numbers(texts: list[str], where: str, thousands: bool = False) -> list[float]:
    """The numbers of one line, whose decimal marks are of one kind.

    Args:
        texts: as they are written.
        where: the line.
        thousands: what a comma before exactly three digits parts where no other number of the line tells: thousands,
            or decimals.
    """
    marks = {"." if text.rfind(".") > text.rfind(",") else "," for text in texts if re.search(r"[.,](?!\d{3}$)", text)}
    if len(marks) > 1:
        raise UnreadableError(f"{where}: points and commas both stand before decimals in {' '.join(texts)!r}")
    decimal = marks.pop() if marks else None
    if decimal is None:
        written = "".join(texts)
        decimal = "," if "," in written and "." not in written and not thousands else "."
    other = "," if decimal == "." else "."
    return [_number(text.replace(other, "").replace(decimal, "."), text, where) for text in texts]


def _number(plain: str, text: str, where: str) -> float:
    try:
        value = float(plain) if "_" not in plain else math.nan
    except ValueError:
        raise UnreadableError(f"{where}: {_quoted(text)} is not a number") from None
    if not math.isfinite(value):
        raise UnreadableError(f"{where}: {_quoted(text)} is not a finite number")
    return value


def _level(level: float, where: str) -> float:
    if abs(level) > LARGEST_DB:
        raise UnreadableError(f"{where}: {level:g} dB: expected -{LARGEST_DB:g} to {LARGEST_DB:g} dB")
    return level


def _quoted(text: str) -> str:
    """A line for a message, cut to what fits one."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
