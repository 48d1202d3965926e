"""Clips: stretches of sound of one length, with a class each, as a model is trained on them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .recordings import Recording
from .sound import read_mono

# Of decoded audio, kept in memory between epochs.
CACHE_BYTES = 1 << 30


class Clips:
    """A set of clips. Subclasses give `labels` and `read`.

    Args:
        rate: sample rate in hertz.
        samples: of a clip.
        classes: their names; empty where there are none.
        labels: the class of each clip, an index into `classes`; 0 where there are none.
    """

    def __init__(self, rate: int, samples: int, classes: Sequence[str], labels: Sequence[int]):
        self.rate, self.samples = rate, samples
        self.classes, self.labels = tuple(classes), list(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def load(self, index: int, generator: torch.Generator | None = None) -> np.ndarray:
        """A clip, float32 `(samples,)`, cut or padded with zeros at its end.

        Args:
            generator: draws where to cut; None cuts from the middle.
        """
        x = self.read(index, generator)
        return np.pad(x, (0, self.samples - len(x))) if len(x) < self.samples else x

    def read(self, index: int, generator: torch.Generator | None) -> np.ndarray:
        """Up to `samples` samples of a recording."""
        raise NotImplementedError

    def digest(self) -> str:
        """A text that differs where the clips do."""
        return _digest(map(str, self.labels))


@dataclass(frozen=True)
class Stretch:
    """A recording, or a part of it.

    Args:
        recording: the file.
        frames: of all of it, at the rate of the clips.
        start: of the part; None: a clip is cut from anywhere in it.
    """

    recording: Recording
    frames: int
    start: int | None = None


class Store:
    """Reads parts of files at a rate, and keeps whole files in memory until there is no more room.

    Args:
        rate: hertz.
        room: bytes. A copy in another process begins with none of them used.
    """

    def __init__(self, rate: int, room: int = CACHE_BYTES):
        self.rate, self.room = rate, room
        self._left, self._full = room, False
        self._kept: dict[str, np.ndarray] = {}

    def add(self, path: str, x: np.ndarray) -> None:
        """Keeps a whole file, `(n,)`, if there is room."""
        if path in self._kept:
            return
        if x.nbytes > self._left:
            self._full = True
            return
        self._left -= x.nbytes
        self._kept[path] = x

    def read(self, path: str, start: int, count: int) -> np.ndarray:
        """Up to `count` samples from `start` on."""
        if path not in self._kept and not self._full:
            self.add(path, read_mono(path, self.rate)[0])
        if path in self._kept:
            return self._kept[path][start : start + count]
        return read_mono(path, self.rate, start, count)[0]

    def __reduce__(self):
        return Store, (self.rate, self.room)


class RecordedClips(Clips):
    """Clips from files.

    Args:
        stretches: where they are.
        samples: of a clip.
        classes: names; each recording's label is one of them. Empty: there are none.
        store: to read from.
    """

    def __init__(self, stretches: Sequence[Stretch], samples: int, classes: Sequence[str], store: Store):
        places = {name: index for index, name in enumerate(classes)}
        labels = [places[stretch.recording.label] if classes else 0 for stretch in stretches]
        super().__init__(store.rate, samples, classes, labels)
        self.stretches, self.store = list(stretches), store

    def read(self, index: int, generator: torch.Generator | None) -> np.ndarray:
        stretch = self.stretches[index]
        start = stretch.start
        if start is None:
            start = place(stretch.frames, self.samples, generator)
        return self.store.read(stretch.recording.path, start, self.samples)

    def digest(self) -> str:
        return _digest(f"{s.recording.name}\t{s.recording.label}\t{s.frames}\t{s.start}" for s in self.stretches)


class DatasetClips(Clips):
    """Clips from a dataset of `(waveform, sample_rate, label, ...)`; see `from_torchaudio`."""

    def __init__(self, dataset, rate: int, samples: int, classes: Sequence[str], labels: Sequence[int]):
        super().__init__(rate, samples, classes, labels)
        self.dataset = dataset

    def read(self, index: int, generator: torch.Generator | None) -> np.ndarray:
        x = self._item(index)
        start = place(len(x), self.samples, generator)
        return x[start : start + self.samples]

    def _item(self, index: int) -> np.ndarray:
        """All of an item, one channel, at the rate of the clips."""
        try:
            waveform, rate = self.dataset[index][:2]
        except ImportError:
            # torchaudio decodes with torchcodec from 2.9 on; where that is not installed, its files can be read here.
            path = _file_of(self.dataset, index)
            if path is None:
                raise
            return read_mono(path, self.rate)[0]
        x = np.asarray(waveform, dtype=np.float32)
        x = x.mean(axis=0) if x.ndim == 2 else x
        if rate != self.rate:
            import soxr

            x = soxr.resample(x, rate, self.rate)
        return x


def from_torchaudio(
    dataset, *, sample_rate: int = 16_000, clip_seconds: float = 1.0, classes: Sequence[str] | None = None
) -> DatasetClips:
    """Clips from one of torchaudio's datasets, or anything like it, for `train`.

    Args:
        dataset: has a length, and items `(waveform (channels, n), sample_rate, label, ...)`, as `SPEECHCOMMANDS` has.
        sample_rate: hertz; other rates are resampled.
        clip_seconds: longer items are cut, shorter ones padded with zeros.
        classes: the labels in the order of the model's outputs; None takes those that occur, sorted. For a validation
            set, pass the training set's.

    Raises:
        ValueError: an item has a label that is not among the classes, or there are no items.

    >>> tones = [(torch.zeros(1, 800), 8000, "low"), (torch.ones(1, 800), 8000, "high")]
    >>> from_torchaudio(tones, sample_rate=8000, clip_seconds=0.1).classes
    ('high', 'low')
    """
    # Where the dataset can say what an item is without decoding it, that is quicker by far.
    item = getattr(dataset, "get_metadata", dataset.__getitem__)
    names = [item(index)[2] for index in range(len(dataset))]
    if not names:
        raise ValueError("the dataset is empty; expected items (waveform, sample_rate, label, ...)")
    classes = sorted(set(names)) if classes is None else list(classes)
    places = {name: index for index, name in enumerate(classes)}
    strange = sorted(set(names) - set(places))
    if strange:
        raise ValueError(f"the dataset has the label {strange[0]!r}; expected one of {', '.join(map(str, classes))}")
    return DatasetClips(
        dataset, sample_rate, round(clip_seconds * sample_rate), [str(c) for c in classes], [places[n] for n in names]
    )


def _file_of(dataset, index: int) -> str | None:
    """The file of an item: torchaudio's datasets name it first in its metadata, below a folder that they keep."""
    if not hasattr(dataset, "get_metadata"):
        return None
    name = dataset.get_metadata(index)[0]
    folders = [getattr(dataset, attribute, None) for attribute in ("_archive", "_path", "_root")]
    paths = [os.path.join(folder, name) for folder in folders if folder is not None]
    return next((path for path in paths if os.path.isfile(path)), None)


def place(frames: int, samples: int, generator: torch.Generator | None) -> int:
    """Where a clip of `samples` begins in a recording: drawn, or such that it is in the middle."""
    spare = max(frames - samples, 0)
    if generator is None or not spare:
        return spare // 2
    return int(torch.randint(spare + 1, (1,), generator=generator))


def _digest(lines) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()[:16]
