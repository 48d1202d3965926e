"""From files to a training set and a validation set."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from longconv_audio.audio_io import AudioReader
from longconv_audio.errors import LongconvError, OptionError, UnreadableError

from .clips import Clips, RecordedClips, Store, Stretch
from .recordings import Recording, beside_classes, list_recordings, mark_validation
from .settings import DataSettings
from .sound import read_mono


@dataclass
class TrainingData:
    """What `train` takes.

    Args:
        training, validation: clips of the same rate, length and classes.
        notes: what a person should be told, one line each.
    """

    training: Clips
    validation: Clips
    notes: list[str] = field(default_factory=list)

    def __post_init__(self):
        for name, clips in (("training", self.training), ("validation", self.validation)):
            if not len(clips):
                raise OptionError(f"the {name} set is empty; expected at least one clip")
        one, other = (_form(clips) for clips in (self.training, self.validation))
        if one != other:
            raise OptionError(f"the training set has {one} and the validation set {other}; expected the same")


def read_data(
    data: str | os.PathLike,
    settings: DataSettings | None = None,
    *,
    labelled: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TrainingData:
    """A training and a validation set from files; each file is read once, so that a bad one is known now.

    Args:
        data: a folder of classes or a manifest, see `list_recordings`; where not `labelled`, a folder of audio, a
            file, or a manifest, which are cut into clips one after the other.
        settings: of the clips and the split.
        labelled: whether there are classes.
        progress: called with the number of files read, and of all.

    Raises:
        UnreadableError: no data, a bad file, a class too small to be split.
        NonFiniteError: NaN or infinity in a file.
        OptionError: a setting that does not fit the data.
    """
    settings = settings or DataSettings()
    recordings = list_recordings(data, labelled)
    if settings.validation_list is not None:
        recordings = mark_validation(recordings, settings.validation_list, data)
    recordings = [recording for recording in recordings if recording.split != "test"]
    _expect_splits(recordings, data)
    stretches, store, notes = measure(recordings, settings.rate, settings.skip_bad, progress)
    if labelled and (stray := beside_classes(data)):
        notes.append(_count(stray, "recording", "beside the class folders, left out"))
    samples = max(round(settings.clip_seconds * store.rate), 1)
    classes = sorted({stretch.recording.label for stretch in stretches}) if labelled else []
    if labelled and len(classes) < 2:
        raise UnreadableError(f"{data}: holds 1 class, {classes[0]}; expected at least 2")
    if len(stretches) == 1 and not labelled:
        parts = split_recording(cut(stretches, samples), settings, data)
    else:
        parts = _given_split(stretches) or split(stretches, settings)
        parts = parts if labelled else [cut(part, samples) for part in parts]
    if labelled:
        _expect_trained(classes, parts[0], data)
    return TrainingData(*(RecordedClips(part, samples, classes, store) for part in parts), notes)


def measure(
    recordings: Sequence[Recording],
    rate: int | None,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Stretch], Store, list[str]]:
    """Reads each recording once: how long it is at the rate, and what is wrong with it.

    Args:
        rate: hertz; None takes the most common one of the files.

    Returns:
        the recordings that can be read, a store of them at the rate, and notes.
    """
    notes, bad = [], []
    heard = _tolerant(recordings, _header, skip_bad, bad)
    if not heard:
        raise UnreadableError(f"none of {len(recordings)} recordings can be read, of which the first: {bad[0]}")
    rates, layouts = Counter(found[0] for _, found in heard), Counter(found[1] for _, found in heard)
    # The most common rate, the higher one where two are as common.
    rate = rate or max(rates, key=lambda value: (rates[value], value))
    notes += [
        _count(n, "recording", f"at {r} Hz, resampled to {rate} Hz") for r, n in sorted(rates.items()) if r != rate
    ]
    notes += [_count(n, "recording", f"of {c} channels, mixed to one") for c, n in sorted(layouts.items()) if c != 1]
    store, done = Store(rate), 0

    def read(recording: Recording) -> int:
        nonlocal done
        x, warnings = read_mono(recording.path, rate)
        store.add(recording.path, x)
        notes.extend(warnings)
        done += 1
        progress(done, len(heard))
        return len(x)

    read_well = _tolerant([recording for recording, _ in heard], read, skip_bad, bad)
    notes += [f"skipped: {line}" for line in bad]
    if not read_well:
        raise UnreadableError(f"none of {len(recordings)} recordings can be read, of which the first: {bad[0]}")
    return [Stretch(recording, frames) for recording, frames in read_well], store, notes


def split(stretches: Sequence[Stretch], settings: DataSettings) -> list[list[Stretch]]:
    """The recordings to train on and those to validate with: a share of each class, at least one of either.

    Which these are depends on the names in a class and on the seed alone.
    """
    parts: list[list[Stretch]] = [[], []]
    for label in sorted({stretch.recording.label or "" for stretch in stretches}):
        members = [stretch for stretch in stretches if (stretch.recording.label or "") == label]
        if len(members) == 1:
            raise UnreadableError(
                f"class {label}: holds 1 audio file, {members[0].recording.name}; expected at least 2, one to train "
                "on and one to validate with: add some, or say which are which in a list (--validation LIST)"
            )
        members.sort(key=lambda stretch: _shuffle(settings.seed, stretch.recording.name))
        count = min(max(round(settings.validation * len(members)), 1), len(members) - 1)
        parts[1] += members[:count]
        parts[0] += members[count:]
    return [sorted(part, key=lambda stretch: stretch.recording.name) for part in parts]


def cut(stretches: Sequence[Stretch], samples: int) -> list[Stretch]:
    """Clips one after the other; the last of a recording reaches back, so that it is as long as the others."""
    return [
        Stretch(stretch.recording, stretch.frames, max(min(start, stretch.frames - samples), 0))
        for stretch in stretches
        for start in range(0, stretch.frames, samples)
    ]


def split_recording(clips: list[Stretch], settings: DataSettings, data) -> list[list[Stretch]]:
    """The last share of one recording's clips to validate with."""
    # At least two: the last one reaches back into the one before it, which must not be trained on then.
    count = max(round(settings.validation * len(clips)), 2)
    if len(clips) <= count:
        raise UnreadableError(
            f"{data}: holds {len(clips)} clip{'s' * (len(clips) > 1)} of {settings.clip_seconds:g} s; expected at "
            f"least {count + 1}, to train on and to validate with: pass a smaller --clip-seconds, or more recordings"
        )
    return [clips[:-count], clips[-count:]]


def _given_split(stretches: Sequence[Stretch]) -> list[list[Stretch]] | None:
    if stretches[0].recording.split is None:
        return None
    return [[s for s in stretches if s.recording.split == name] for name in ("training", "validation")]


def _expect_splits(recordings: Sequence[Recording], data) -> None:
    """Before anything is read: where the data say which is which, there are both."""
    splits = {recording.split for recording in recordings}
    for name in ("training", "validation"):
        if splits != {None} and name not in splits:
            raise OptionError(f"{data}: no recording is in the {name} split; expected at least one")


def _expect_trained(classes: list[str], training: Sequence[Stretch], data) -> None:
    missing = sorted(set(classes) - {stretch.recording.label for stretch in training})
    if missing:
        raise OptionError(f"{data}: class {missing[0]} has no recording in the training split; expected at least one")


def _tolerant(recordings, function, skip_bad: bool, bad: list[str]) -> list[tuple]:
    """(recording, what the function gives) for each; a failure is raised, or noted and left out."""
    results = []
    for recording in recordings:
        try:
            results.append((recording, function(recording)))
        except LongconvError as error:
            if not skip_bad:
                raise
            bad.append(str(error))
    return results


def _header(recording: Recording) -> tuple[int, int]:
    with AudioReader(recording.path) as reader:
        return reader.samplerate, reader.channels


def _shuffle(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()


def _count(number: int, thing: str, what: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)} {what}"


def _form(clips: Clips) -> str:
    named = f"the classes {', '.join(clips.classes)}" if clips.classes else "no classes"
    return f"{clips.samples} samples at {clips.rate} Hz and {named}"
