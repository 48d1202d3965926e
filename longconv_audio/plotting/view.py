"""What a picture shows, and the places of its panels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STRIP_GAP = 0.2  # inches above a strip, for its name
LABEL_INCHES = -0.5  # from the axes to the middle of a label beside them
LETTER, BOLD_LETTER = 0.074, 0.08  # width of a letter of text, and of a panel's title, in inches


@dataclass(frozen=True)
class Sound:
    """What is drawn of a file.

    Args:
        name: as people read it.
        samples: (channels, samples).
        samplerate: in hertz.
        labels: a name a channel.
    """

    name: str
    samples: np.ndarray
    samplerate: int
    labels: list[str]

    @property
    def seconds(self) -> float:
        return self.samples.shape[-1] / self.samplerate


@dataclass(frozen=True)
class View:
    """What all panels draw, and how.

    Args:
        sounds: at least one.
        styles: matplotlib's line properties, one for each channel of each sound in turn.
        low, high: ends of the frequency axes, in hertz.
        smoothing: over 1/smoothing octave; None does none.
        unwrap: whether phases are.
    """

    sounds: list[Sound]
    styles: list[dict]
    low: float
    high: float
    smoothing: float | None
    unwrap: bool

    @property
    def seconds(self) -> float:
        """Of the longest sound."""
        return max(sound.seconds for sound in self.sounds)

    @property
    def smoothed(self) -> str:
        """What a title says of the smoothing."""
        return "" if self.smoothing is None else f" (1/{self.smoothing:g} octave)"

    @property
    def averaged(self) -> str:
        """What a title says where one image stands for several channels."""
        return ", mean of channels" if any(len(sound.samples) > 1 for sound in self.sounds) else ""

    def styled(self, curves: list[list]) -> Iterator[tuple[Any, dict]]:
        """The curve of each channel of each sound with its style, the first on top of the others."""
        flat = [curve for sound in curves for curve in sound]
        for index, (curve, style) in enumerate(zip(flat, self.styles, strict=True)):
            yield curve, {**style, "zorder": 3 - 0.1 * index}


@dataclass(frozen=True)
class Place:
    """A rectangle of a figure, in inches from its lower left corner."""

    left: float
    bottom: float
    width: float
    height: float

    def axes(self, figure: Figure) -> Axes:
        width, height = figure.get_size_inches()
        return figure.add_axes((self.left / width, self.bottom / height, self.width / width, self.height / height))

    def strips(self, count: int) -> list[Place]:
        """So many parts of it from the top down; where there are several, each has room for its name above it."""
        gap = STRIP_GAP if count > 1 else 0.0
        height = self.height / count - gap
        bottoms = [self.bottom + (count - 1 - i) * (height + gap) for i in range(count)]
        return [Place(self.left, bottom, self.width, height) for bottom in bottoms]

    def columns(self, count: int, gap: float) -> list[Place]:
        """So many parts of it from left to right."""
        width = (self.width - gap * (count - 1)) / count
        return [Place(self.left + i * (width + gap), self.bottom, width, self.height) for i in range(count)]


def time_unit(seconds: float) -> tuple[float, str]:
    """What seconds are multiplied by, and what that is called."""
    return (1.0, "s") if seconds >= 1 else (1000.0, "ms")


def time_limits(end: float) -> tuple[float, float]:
    """The direct sound often is the first sample: an edge at 0 would hide it."""
    return -0.015 * end, 1.015 * end


def name_panel(axes: Axes, place: Place, name: str, details: str = "", above: float = 0.0) -> None:
    """A panel's title, so many inches above `axes`, with its details where they fit."""
    fits = len(name + details) <= place.width / BOLD_LETTER
    axes.set_title(name + details if fits else name, pad=5 + 72 * above)


def name_strip(axes: Axes, place: Place, text: str) -> None:
    """A strip's name, on the right above it."""
    text = shorten(text, int(place.width / LETTER))
    axes.annotate(
        text, (1, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", ha="right", va="bottom", fontsize=8
    )


def shorten(text: str, letters: int) -> str:
    """A text of so many letters at the most, its middle left out: both ends tell files apart.

    >>> shorten("measurements/hall, left.wav", 17)
    'measurem…left.wav'
    """
    if len(text) <= letters:
        return text
    letters = max(letters, 3)
    return text[: letters // 2] + "…" + text[-((letters - 1) // 2) :]


def label_strips(axes: Axes, place: Place, part: Place, text: str) -> None:
    """One label for all strips of a place, at half its height; `axes` are those of the uppermost strip."""
    middle = (place.bottom + place.height / 2 - part.bottom) / part.height
    axes.set_ylabel(text)
    axes.yaxis.set_label_coords(LABEL_INCHES / part.width, middle)


def finite_quantile(values: np.ndarray, part: float) -> float:
    """Of what is finite; 0 where nothing is."""
    found = values[np.isfinite(values)]
    return float(np.quantile(found, part)) if found.size else 0.0


def say_silence(axes: Axes, view: View) -> None:
    """An empty panel says why it is."""
    if not any(sound.samples.any() for sound in view.sounds):
        axes.text(0.5, 0.5, "silence", transform=axes.transAxes, ha="center", va="center", color="0.4")
