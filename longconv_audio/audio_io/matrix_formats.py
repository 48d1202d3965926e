"""What matrix files say: which part of which file filters the way from each input to each output.

Two formats, told apart by their first statement. TOML:

    inputs = 2                # may be left out: the largest number used below
    outputs = 2
    [[path]]
    input = 1                 # channels count from 1
    output = 2
    file = "hall.wav"         # from the matrix file's folder; or direct = true for a unit impulse
    channel = 1               # of the file, 1 unless given
    gain_db = -6.0            # or gain = 0.5
    delay_ms = 10.0           # or delay_samples = 480
    offset = "4800s"          # left out at the file's start; seconds, or a text as on the command line
    length = 2.5              # kept after that

and jconvolver's configuration: `/cd`, `/convolver/new`, `/impulse/read`, `/impulse/dirac` and `/impulse/copy`
lines, with linear gains.
"""

from __future__ import annotations

import math
import os
import shlex
import sys
from dataclasses import dataclass, field
from typing import Any

from longconv_audio.duration import Duration
from longconv_audio.errors import OptionError, UnreadableError

MOST_CHANNELS = 1024  # what libsndfile reads and writes
MOST_DELAY = 1 << 28  # samples: 93 minutes at 48 kHz, 2 GiB of zeros

TOP_KEYS = frozenset({"inputs", "outputs", "path"})
PATH_KEYS = frozenset(
    {"input", "output", "file", "direct", "channel", "gain", "gain_db", "delay_ms", "delay_samples"}
    | {"offset", "length"}
)


@dataclass(frozen=True)
class FilterSpec:
    """One filter as a matrix file asks for it; channels count from 0 here.

    `file` is None for a unit impulse, and `most` is what jconvolver would cut the filter to.
    """

    where: str
    input: int
    output: int
    file: str | None = None
    channel: int = 0
    gain: float = 1.0
    delay: Duration = field(default_factory=lambda: Duration.of(0))
    offset: Duration = field(default_factory=lambda: Duration.of(0))
    length: Duration | None = None
    most: int | None = None


@dataclass
class MatrixLayout:
    """What a matrix file says, before any IR is read.

    `copies` maps an (output, input) pair to the pair whose filters it shares and where that was said;
    `at_file_rate` tells that unit impulses are counted at the files' rate.
    """

    inputs: int
    outputs: int
    specs: list[FilterSpec]
    copies: dict[tuple[int, int], list[tuple[tuple[int, int], str]]] = field(default_factory=dict)
    at_file_rate: bool = False


def parse(path: str) -> MatrixLayout:
    """What a matrix file says.

    Raises:
        UnreadableError: the file cannot be read or understood; it is named, with the line or the number of the path.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise UnreadableError(f"{path}: no such matrix file") from None
    except OSError as error:
        raise UnreadableError(f"{path}: cannot read the matrix file: {error.strerror}") from None
    if b"\0" in data:
        raise UnreadableError(f"{path}: not text; expected a matrix file in TOML or jconvolver's format")
    # jconvolver takes any bytes for a file name; this brings them through to the file system unchanged.
    text = data.decode("utf-8-sig", errors="surrogateescape")
    statements = (line.strip() for line in text.splitlines())
    first = next((line for line in statements if line and not line.startswith("#")), "")
    if not first:
        raise UnreadableError(f"{path}: the matrix file is empty; expected [[path]] or /impulse/read")
    return _parse_jconvolver(path, text) if first.startswith("/") else _parse_toml(path, text)


def _parse_toml(path: str, text: str) -> MatrixLayout:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise UnreadableError(f"{path}: not valid TOML: {' '.join(str(error).split())}") from None
    _refuse_unknown(path, document, TOP_KEYS)
    tables = document.get("path")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise UnreadableError(f"{path}: no [[path]] table; expected one for each filter")
    folder = os.path.dirname(path)
    specs = [_toml_spec(f"{path}, path {number}", table, folder) for number, table in enumerate(tables, 1)]
    counts = {}
    for key, largest in (("inputs", max(s.input for s in specs)), ("outputs", max(s.output for s in specs))):
        counts[key] = _whole(path, key, document[key], 1, MOST_CHANNELS) if key in document else largest + 1
    for spec in specs:
        _check_ends(spec, counts["inputs"], counts["outputs"])
    return MatrixLayout(counts["inputs"], counts["outputs"], specs)


def _toml_spec(where: str, table: dict, folder: str) -> FilterSpec:
    _refuse_unknown(where, table, PATH_KEYS)
    for key in ("input", "output"):
        if key not in table:
            raise UnreadableError(f"{where}: {key} is missing; expected a channel number from 1")
    for one, other in (("gain", "gain_db"), ("delay_ms", "delay_samples")):
        if one in table and other in table:
            raise UnreadableError(f"{where}: both {one} and {other}; expected one of them")
    file, direct = table.get("file"), table.get("direct", False)
    if not isinstance(direct, bool) or direct == (file is not None):
        raise UnreadableError(f'{where}: expected file = "ir.wav", or direct = true for a unit impulse')
    if direct and (extra := sorted({"channel", "offset", "length"} & table.keys())):
        raise UnreadableError(f"{where}: {extra[0]} has no meaning beside direct = true; leave it out")
    if not direct and (not isinstance(file, str) or not file):
        raise UnreadableError(f"{where}: file = {file!r}; expected a file name")
    gain = _number(where, "gain", table.get("gain", 1.0))
    if "gain_db" in table:
        decibels = _number(where, "gain_db", table["gain_db"])
        if decibels > 1000:
            raise UnreadableError(f"{where}: gain_db = {decibels:g}; expected at most 1000")
        gain = 10 ** (decibels / 20)
    try:
        if "delay_samples" in table:
            delay = Duration.of_samples(_whole(where, "delay_samples", table["delay_samples"], 0, MOST_DELAY))
        else:
            delay = Duration.of_milliseconds(_number(where, "delay_ms", table.get("delay_ms", 0.0)))
        offset = _toml_duration(where, "offset", table.get("offset", 0.0))
        length = _toml_duration(where, "length", table["length"]) if "length" in table else None
    except OptionError as error:
        raise UnreadableError(f"{where}: {error}") from None
    return FilterSpec(
        where=where,
        input=_whole(where, "input", table["input"], 1, MOST_CHANNELS) - 1,
        output=_whole(where, "output", table["output"], 1, MOST_CHANNELS) - 1,
        file=None if direct else os.path.join(folder, file),
        channel=_whole(where, "channel", table.get("channel", 1), 1, MOST_CHANNELS) - 1,
        gain=gain,
        delay=delay,
        offset=offset,
        length=length,
    )


def _toml_duration(where: str, key: str, value: Any) -> Duration:
    return Duration.parse(value) if isinstance(value, str) else Duration.of(_number(where, key, value))


def _parse_jconvolver(path: str, text: str) -> MatrixLayout:
    folder = os.path.dirname(path)
    layout: MatrixLayout | None = None
    most = 0
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}, line {number}"
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        command, rest = (*line.split(None, 1), "")[:2]
        if command in ("/input/name", "/output/name"):
            continue
        words = _words(where, rest)
        if command == "/cd":
            _count_words(where, command, words, "path")
            folder = os.path.join(os.path.dirname(path), words[0])
        elif command == "/convolver/new":
            if layout is not None:
                raise UnreadableError(f"{where}: a second /convolver/new; expected one")
            _count_words(where, command, words, "inputs outputs partition maxsize", "density")
            inputs = _whole(where, "inputs", words[0], 1, MOST_CHANNELS)
            outputs = _whole(where, "outputs", words[1], 1, MOST_CHANNELS)
            most = _whole(where, "maxsize", words[3], 1)
            layout = MatrixLayout(inputs, outputs, [], at_file_rate=True)
        elif layout is None:
            raise UnreadableError(f"{where}: {command} before /convolver/new, which must come first")
        elif command == "/impulse/copy":
            _count_words(where, command, words, "input output from-input from-output")
            limits = (layout.inputs, layout.outputs) * 2
            keys = ("input", "output", "from-input", "from-output")
            ends = [_whole(where, k, w, 1, m) - 1 for k, w, m in zip(keys, words, limits, strict=True)]
            layout.copies.setdefault((ends[1], ends[0]), []).append(((ends[3], ends[2]), where))
        elif command in ("/impulse/read", "/impulse/dirac"):
            spec = _jconvolver_spec(where, command, words, folder, most)
            _check_ends(spec, layout.inputs, layout.outputs)
            layout.specs.append(spec)
        else:
            raise UnreadableError(
                f"{where}: {command} is not understood; expected /cd, /convolver/new, /impulse/read, "
                "/impulse/dirac or /impulse/copy (write other filters to a file and read that)"
            )
    if layout is None or not layout.specs:
        raise UnreadableError(f"{path}: no filters; expected /convolver/new, then /impulse/read lines")
    return layout


def _jconvolver_spec(where: str, command: str, words: list[str], folder: str, most: int) -> FilterSpec:
    reads = command == "/impulse/read"
    _count_words(where, command, words, "input output gain delay" + " offset length channel file" * reads)
    common = {
        "where": where,
        "input": _whole(where, "input", words[0], 1) - 1,
        "output": _whole(where, "output", words[1], 1) - 1,
        "gain": _number(where, "gain", words[2]),
        "delay": Duration.of_samples(_whole(where, "delay", words[3], 0, MOST_DELAY)),
    }
    if not reads:
        return FilterSpec(**common)
    length = _whole(where, "length", words[5], 0)
    return FilterSpec(
        **common,
        offset=Duration.of_samples(_whole(where, "offset", words[4], 0)),
        length=Duration.of_samples(length) if length else None,
        channel=_whole(where, "channel", words[6], 1) - 1,
        file=os.path.join(folder, words[7]),
        most=most,
    )


def _words(where: str, rest: str) -> list[str]:
    try:
        return shlex.split(rest)
    except ValueError as error:
        reason = str(error).lower()  # an open quote, or a backslash at the end
        raise UnreadableError(f"{where}: {reason}") from None


def _count_words(where: str, command: str, words: list[str], expected: str, optional: str = "") -> None:
    least = len(expected.split())
    if not least <= len(words) <= least + len(optional.split()):
        usage = " ".join(f"<{name}>" for name in expected.split()) + (f" [{optional}]" if optional else "")
        raise UnreadableError(
            f"{where}: {command} with {len(words)} values; expected {usage} (names with spaces in quotes)"
        )


def _check_ends(spec: FilterSpec, inputs: int, outputs: int) -> None:
    for key, value, most in (("input", spec.input, inputs), ("output", spec.output, outputs)):
        if value >= most:
            raise UnreadableError(f"{spec.where}: {key} {value + 1}; expected 1 to {most}")


def _refuse_unknown(where: str, table: dict, known: frozenset[str]) -> None:
    for key in table:
        if key not in known:
            raise UnreadableError(f"{where}: unknown key {key!r}; expected {', '.join(sorted(known))}")


def _whole(where: str, key: str, value: Any, least: int, most: int | None = None) -> int:
    number = value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or number < least or (most and number > most):
        limits = f"{least} to {most}" if most else f"{least} or more"
        raise UnreadableError(f"{where}: {key} = {value!r}; expected a whole number, {limits}")
    return number


def _number(where: str, key: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UnreadableError(f"{where}: {key} = {value!r}; expected a number")
    return number
