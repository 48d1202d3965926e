"""Which recordings there are: a folder of classes, a manifest, a folder of audio or one file."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from longconv_audio.errors import OptionError, UnreadableError

# What libsndfile reads, by the names that such files have.
SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".bw64", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aif", ".aiff", ".aifc", ".caf", ".w64", ".au", ".snd", ".voc", ".sph"),
)
# What people write in a manifest's column.
SPLITS = {
    "train": "training",
    "training": "training",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
LAYOUT = "a folder for each class with audio files in it, or a manifest .csv with the columns path,label"


@dataclass(frozen=True)
class Recording:
    """A file, and what is known of it without opening it.

    Args:
        path: to open.
        name: as the data name it, with /, the same on every machine.
        label: its class; None where there are none.
        split: "training", "validation", "test"; None where the data do not say.
    """

    path: str
    name: str
    label: str | None = None
    split: str | None = None


def list_recordings(data: str | os.PathLike, labelled: bool) -> list[Recording]:
    """The recordings of a data set, in an order that is the same everywhere.

    Args:
        data: a folder of classes (`labelled`), a folder of audio or an audio file (otherwise), or a manifest: a .csv
            with the columns path, label (`labelled`) and, where wanted, split; paths from the manifest's folder.
        labelled: whether each recording needs a class. Files and folders whose names begin with . or _ are left out.

    Raises:
        UnreadableError: no such data, no audio among them.
    """
    data, expected = Path(data), LAYOUT if labelled else "audio"
    try:
        data.stat()
        if data.is_dir():
            return _classes(data) if labelled else _unlabelled(data)
        if data.suffix.lower() == ".csv":
            return _manifest(data, labelled)
    except FileNotFoundError:
        raise UnreadableError(f"{data}: no such file or folder; expected {expected}") from None
    except OSError as error:
        raise UnreadableError(f"{data}: cannot be read: {error.strerror}; expected {expected}") from None
    if labelled:
        raise UnreadableError(f"{data}: is a file; expected {LAYOUT}")
    return [Recording(str(data), data.name)]


def beside_classes(data: str | os.PathLike) -> int:
    """How many audio files a folder of classes holds that are in none of its folders."""
    data = Path(data)
    if not data.is_dir():
        return 0
    return sum(path.suffix.lower() in SUFFIXES and _visible(path.name) and path.is_file() for path in data.iterdir())


def mark_validation(recordings: list[Recording], list_file: str | os.PathLike, data: str | os.PathLike):
    """The recordings with their splits as a list of those to validate with says.

    Args:
        list_file: a path a line: as the data name it, or as it can be opened from here.

    Raises:
        UnreadableError: the list cannot be read.
        OptionError: it names what is not among the recordings, or nothing.
    """
    lines = [line.strip() for line in _text(Path(list_file)).splitlines()]
    wanted = {line: None for line in lines if line and not line.startswith("#")}
    if not wanted:
        raise OptionError(f"{list_file}: names no file; expected a path a line")
    by_name = {recording.name: recording.name for recording in recordings}
    by_name |= {os.path.abspath(recording.path): recording.name for recording in recordings}
    chosen = set()
    for line in wanted:
        name = by_name.get(line.replace("\\", "/").removeprefix("./")) or by_name.get(os.path.abspath(line))
        if name is None:
            raise OptionError(
                f"{list_file}: {line} is not among the recordings of {data}: expected a name such as "
                f"{recordings[0].name}"
            )
        chosen.add(name)
    return [Recording(r.path, r.name, r.label, "validation" if r.name in chosen else "training") for r in recordings]


def _classes(data: Path) -> list[Recording]:
    folders = [path for path in sorted(data.iterdir()) if path.is_dir() and _visible(path.name)]
    if not folders:
        raise UnreadableError(f"{data}: holds no class folders; expected {LAYOUT}")
    recordings = []
    for folder in folders:
        found = _audio_below(folder)
        if not found:
            raise UnreadableError(
                f"{folder}: a class with no audio file in it; expected at least 2: add some, or take the folder out"
            )
        recordings += [Recording(str(path), path.relative_to(data).as_posix(), folder.name) for path in found]
    return recordings


def _unlabelled(data: Path) -> list[Recording]:
    found = _audio_below(data)
    if not found:
        raise UnreadableError(f"{data}: holds no audio file; expected some (.wav, .flac, .ogg, .mp3, ...)")
    return [Recording(str(path), path.relative_to(data).as_posix()) for path in found]


def _audio_below(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in found if all(map(_visible, path.relative_to(folder).parts)))


def _visible(name: str) -> bool:
    return not name.startswith((".", "_"))


def _manifest(path: Path, labelled: bool) -> list[Recording]:
    rows = csv.DictReader(_text(path).splitlines(), skipinitialspace=True)
    try:
        return _listed(path, rows, labelled)
    except csv.Error as error:
        raise UnreadableError(f"{path}: line {rows.line_num + 1} is no CSV: {error}") from None


def _listed(path: Path, rows: csv.DictReader, labelled: bool) -> list[Recording]:
    columns = rows.fieldnames or []
    missing = [name for name in ("path", "label")[: 1 + labelled] if name not in columns]
    if missing:
        raise UnreadableError(
            f"{path}: has the columns {', '.join(columns) or 'none'}; expected "
            f"path{',label' * labelled}[,split] in its first line"
        )
    recordings, seen = [], set()
    for row in rows:
        name, label, split = ((row.get(column) or "").strip() for column in ("path", "label", "split"))
        if not name or (labelled and not label):
            raise UnreadableError(f"{path}: line {rows.line_num} has no {'label' if name else 'path'}; expected both")
        if split and split.lower() not in SPLITS:
            raise UnreadableError(
                f"{path}: line {rows.line_num} has the split {split!r}; expected train, validation or test"
            )
        place = os.path.normpath(path.parent / name)
        if place in seen:
            raise UnreadableError(f"{path}: line {rows.line_num} names {name} again; expected each file once")
        seen.add(place)
        recordings.append(Recording(place, name, label if labelled else None, SPLITS.get(split.lower())))
    if not recordings:
        raise UnreadableError(f"{path}: has no line below its first; expected one for each file")
    if len({recording.split is None for recording in recordings}) > 1:
        lone = next(recording.name for recording in recordings if recording.split is None)
        raise UnreadableError(f"{path}: {lone} has no split and others have one; expected all or none")
    return recordings


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UnreadableError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
