"""How the pictures look: the same whatever settings a person keeps, and readable in grey."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import numpy as np

from longconv_audio.audio_io.targets import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "0.15"
LIGHT_INK = "0.55"
COLOURS = "magma"  # luminance rises from end to end, so that it reads in grey
# Of each format, what else would name the day or the program; and the names within an SVG from a fixed seed.
ANONYMOUS = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}

STYLE = {
    "svg.hashsalt": "longconv",
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
    figure.savefig(data, format=format, metadata=ANONYMOUS[format])
    return write_bytes(target, data.getvalue(), overwrite)


def grid(axes: Axes) -> None:
    axes.grid(color="0.88", linewidth=0.6)
    axes.set_axisbelow(True)


def frequency_ticks(axes: Axes, lowest: float, highest: float, labels: bool) -> None:
    """Decades labelled and the steps between them marked on an axis that runs from 0 to 1."""
    steps = [m * 10.0**e for e in range(-1, 6) for m in range(1, 10) if lowest <= m * 10.0**e <= highest]
    place = np.log(np.array(steps) / lowest) / np.log(highest / lowest)
    decades = [np.isclose(np.log10(step) % 1, 0) for step in steps]
    names = [f"{step / 1000:g} k" if step >= 1000 else f"{step:g}" for step in steps]
    axes.set_yticks(place[decades], np.array(names)[decades] if labels else [])
    axes.set_yticks(place[np.logical_not(decades)], minor=True)
