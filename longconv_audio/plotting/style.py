"""How the pictures look: the same whatever settings a person keeps, and readable in grey."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING

import numpy as np

from longconv_audio.audio_io.targets import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "0.15"
# Told apart in grey by their luminance and by their dashes.
LINES = (
    {"color": "#111111", "linestyle": "-", "linewidth": 1.3},
    {"color": "#e07b00", "linestyle": (0, (5, 1.5)), "linewidth": 1.3},
    {"color": "#2f6fde", "linestyle": (0, (6, 1.5, 1.2, 1.5)), "linewidth": 1.3},
    {"color": "#6cc4a4", "linestyle": (0, (1.5, 1.2)), "linewidth": 1.6},
)
LIGHT_INK = "0.55"
COLOURS = "magma"  # luminance rises from end to end, so that it reads in grey
# Of each format, what else would name the day or the program; and the names within an SVG from a fixed seed.
ANONYMOUS = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}

STYLE = {
    "svg.hashsalt": "longconv",
    "text.parse_math": False,  # a file's name may hold dollars
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.labelsize": 8.5,
    "axes.edgecolor": LIGHT_INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


@contextlib.contextmanager
def house_style():
    """Inside it matplotlib has our settings and none of a person's matplotlibrc."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def save(figure: Figure, target, format: str = "png", overwrite: bool = True) -> str:
    """Writes a picture, whole or not at all: the same bytes for the same figure.

    Args:
        figure: inside `house_style`.
        target: as `open_target` takes it.
        format: png, svg, pdf.
        overwrite: whether a file that exists may be replaced.

    Returns:
        the target's name, for messages.

    Raises:
        UnwritableError: the file cannot be written.
    """
    data = io.BytesIO()
    # Without dates and versions the bytes do not change from day to day, or with every release of matplotlib.
    with warnings.catch_warnings():
        # A name may hold letters that the font has not: they are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(data, format=format, metadata=ANONYMOUS[format])
    return write_bytes(target, data.getvalue(), overwrite)


def grid(axes: Axes) -> None:
    axes.grid(color="0.88", linewidth=0.6)
    axes.set_axisbelow(True)


def frequency_axis(axes: Axes, lowest: float, highest: float, inches: float) -> None:
    """A log axis of frequency along the bottom."""
    places, names = frequency_labels(lowest, highest, inches)
    axes.set_xscale("log")
    axes.set_xlim(lowest, highest)
    axes.set_xticks(places, names)
    axes.set_xticks([step for step in _steps(lowest, highest) if step not in places], [], minor=True)
    axes.set_xlabel("Frequency (Hz)")


def frequency_labels(lowest: float, highest: float, inches: float) -> tuple[list[float], list[str]]:
    """Where a log axis of frequency is labelled, and with what.

    Decades, and the steps of 2 and 5 between them where there is room; the ends where they are far enough from the
    label beside them.

    >>> frequency_labels(20, 20_000, 2.5)
    ([20, 100.0, 1000.0, 10000.0], ['20', '100', '1k', '10k'])
    """
    room = inches / np.log10(highest / lowest)  # a decade
    wanted = (1, 2, 5) if room > 1.1 else (1,)
    places = [step for step in _steps(lowest, highest) if _digit(step) in wanted]
    for end in (lowest, highest):
        if all(abs(np.log10(end / place)) * room > 0.35 for place in places):
            places.append(end)
    places.sort()
    return places, [_name(place) for place in places]


def frequency_ticks(axes: Axes, lowest: float, highest: float, labels: bool) -> None:
    """The steps of each decade marked on an axis that runs from 0 to 1, and decades labelled, or else the ends."""
    steps = _steps(lowest, highest)
    labelled = [step for step in steps if _digit(step) == 1] or [lowest, highest]
    names = [_name(step) for step in labelled]

    def place(frequencies: list[float]) -> np.ndarray:
        return np.log(np.array(frequencies) / lowest) / np.log(highest / lowest)

    axes.set_yticks(place(labelled), names if labels else [])
    axes.set_yticks(place([step for step in steps if step not in labelled]), minor=True)


def _steps(lowest: float, highest: float) -> list[float]:
    """Ones to nines of each decade."""
    return [m * 10.0**e for e in range(-9, 9) for m in range(1, 10) if lowest <= m * 10.0**e <= highest]


def _digit(step: float) -> int:
    return round(step / 10.0 ** np.floor(np.log10(step * 1.0001)))


def _name(frequency: float) -> str:
    return f"{frequency / 1000:g}k" if frequency >= 1000 else f"{frequency:g}"
