"""Where the parts of a picture stand, in inches: fixed margins, so that no labels meet whatever the size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longconv_audio.errors import OptionError

from .view import LETTER, STRIP_GAP, Place, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150  # at 1600 x 1000; larger pictures have larger letters
LEAST_DPI = 100  # of smaller ones: letters stay readable, and panels shrink
MOST_PIXELS = 20_000

LEFT, RIGHT, BOTTOM, TOP = 0.68, 0.18, 0.5, 0.34  # around all panels; the top is a panel's title
BETWEEN_COLUMNS, BETWEEN_ROWS = 0.82, 0.78
LEAST_WIDTH, LEAST_HEIGHT, LEAST_STRIP = 2.2, 0.9, 0.28  # of a panel, and of each of its strips

TITLE, ENTRY, EDGE = 0.3, 0.21, 0.06  # heights of the title and of a row of the legend, and space above them
HANDLE = 0.5  # length of the legend's lines

# What rows get of the height beyond that.
HEIGHTS = {"waveform": 0.5, "waterfall": 1.3}


@dataclass(frozen=True)
class Layout:
    """Where a picture's panels stand.

    Args:
        dpi: pixels to the inch.
        width, height: of the picture, in inches.
        places: one a panel.
    """

    dpi: float
    width: float
    height: float
    places: list[Place]


def default_size(kinds: Sequence[str]) -> tuple[int, int]:
    """Width and height in pixels in which panels have room."""
    return 1600, 1000 + 300 * max(0, len(_rows(kinds)) - 3)


def arrange(kinds: Sequence[str], size: tuple[int, int], header: float, lines: int = 1, sounds: int = 1) -> Layout:
    """The places of panels: up to three one above another, more in two columns, the first of an odd number across.

    Args:
        kinds: of the panels.
        size: of the picture, in pixels.
        header: height of what stands above, in inches.
        lines, sounds: how many are drawn, for panels that need a strip for each.

    Raises:
        OptionError: the panels do not fit.
    """
    if not all(1 <= side <= MOST_PIXELS for side in size):
        raise OptionError(f"size {size[0]}x{size[1]}: expected 1 to {MOST_PIXELS} pixels each way, such as 1600x1000")
    rows = _rows(kinds)
    strips = {"waveform": lines, "spectrogram": sounds}
    wanted = {kind: max(LEAST_HEIGHT, strips.get(kind, 0) * (LEAST_STRIP + STRIP_GAP)) for kind in kinds}
    least = [max(wanted[kind] for kind in row) for row in rows]
    least_height = header + TOP + BOTTOM + BETWEEN_ROWS * (len(rows) - 1) + sum(least)
    wide = sounds if "waterfall" in kinds else 1
    columns = max(map(len, rows))
    least_width = LEFT + RIGHT + columns * LEAST_WIDTH * wide + (columns - 1) * BETWEEN_COLUMNS
    dpi = max(LEAST_DPI, min(DPI * size[0] / 1600, DPI * size[1] / 1000, size[0] / least_width, size[1] / least_height))
    width, height = size[0] / dpi, size[1] / dpi
    if width < least_width - 1e-9 or height < least_height - 1e-9:
        raise OptionError(
            f"size {size[0]}x{size[1]} for {len(kinds)} panel{'s' if len(kinds) > 1 else ''}: expected at least "
            f"{math.ceil(LEAST_DPI * least_width)}x{math.ceil(LEAST_DPI * least_height)}, or fewer panels"
        )
    weights = [max(HEIGHTS.get(kind, 1.0) for kind in row) for row in rows]
    across = width - LEFT - RIGHT
    half = (across - BETWEEN_COLUMNS) / 2
    places, top = [], height - header - TOP
    for row, weight, part in zip(rows, weights, least, strict=True):
        part += (height - least_height) * weight / sum(weights)
        wide = across if len(row) == 1 else half
        places += [Place(LEFT + i * (wide + BETWEEN_COLUMNS), top - part, wide, part) for i in range(len(row))]
        top -= part + BETWEEN_ROWS
    return Layout(dpi, width, height, places)


def _rows(kinds: Sequence[str]) -> list[list[str]]:
    kinds = list(kinds)
    alone = len(kinds) if len(kinds) <= 3 else len(kinds) % 2
    return [[kind] for kind in kinds[:alone]] + [kinds[i : i + 2] for i in range(alone, len(kinds), 2)]


def header_height(title: str, legend: Sequence[str]) -> float:
    """Of the title and the legend, which has two entries a row."""
    return EDGE + (TITLE if title else 0.0) + ENTRY * (-(-len(legend) // 2))


def draw_header(figure: Figure, title: str, legend: Sequence[str], styles: Sequence[dict]) -> None:
    """The title, and below it a legend for all panels: in none of them it could hide a curve."""
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    top = height - EDGE
    if title:
        text = shorten(title, int((width - LEFT - RIGHT) / LETTER / 1.35))
        figure.text(LEFT / width, (top - TITLE / 2) / height, text, fontsize=11, fontweight="bold", va="center")
        top -= TITLE
    column = (width - LEFT - RIGHT) / 2
    for index, (label, style) in enumerate(zip(legend, styles, strict=False)):
        x, y = LEFT + index % 2 * column, (top - ENTRY * (index // 2 + 0.5)) / height
        figure.add_artist(Line2D([x / width, (x + HANDLE) / width], [y, y], **style))
        text = shorten(label, int((column - HANDLE - 0.3) / LETTER))
        figure.text((x + HANDLE + 0.1) / width, y, text, va="center")
