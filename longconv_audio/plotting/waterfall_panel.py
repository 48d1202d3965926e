"""The waterfall: slices of the cumulative spectral decay, one behind another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .style import INK, frequency_labels
from .view import STRIP_GAP, Place, Sound, View, name_panel, name_strip, say_silence, time_unit
from .waterfalls import RANGE_DB, decay_span, waterfall

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 500
# How far the last slice stands before the first: to the left, in parts of the width, and down, in dB.
LEFT, DOWN = 0.14, 0.8 * RANGE_DB


def draw_waterfall(figure: Figure, place: Place, view: View) -> None:
    """One a sound, side by side, the powers of its channels averaged; time comes towards the viewer."""
    several = len(view.sounds) > 1
    span = max(decay_span(sound.samples, sound.samplerate) for sound in view.sounds)
    above = STRIP_GAP if several else 0.0
    for index, (part, sound) in enumerate(zip(place.columns(len(view.sounds), 0.3), view.sounds, strict=True)):
        # Room for the labels on the right, where those of other panels have none, and for the name above.
        inner = Place(part.left, part.bottom, part.width - 0.55, part.height - above)
        axes = inner.axes(figure)
        if index == 0:
            name_panel(axes, place, "Waterfall", view.smoothed + view.averaged, above)
        if several:
            name_strip(axes, part, sound.name)
        axes.set_axis_off()
        axes.set(xlim=(0, 1), ylim=(0, RANGE_DB + DOWN))
        _draw_slices(axes, inner, sound, view, span)
        say_silence(axes, view)


def _draw_slices(axes: Axes, place: Place, sound: Sound, view: View, span: float) -> None:
    high = max(min(view.high, sound.samplerate / 2), 1.001 * view.low)
    slices = int(np.clip(9 * place.height, 12, 40))
    edges = np.geomspace(view.low, high, COLUMNS + 1)
    fall = waterfall(sound.samples, sound.samplerate, edges, view.smoothing, span, slices)
    scale, unit = time_unit(fall.times[-1])
    end = fall.times[-1]

    def across(frequencies):
        return np.log(np.asarray(frequencies) / view.low) / np.log(view.high / view.low) * (1 - LEFT)

    _draw_box(axes, place, view, across)
    x = across(fall.frequencies)
    for order, (time, levels) in enumerate(zip(fall.times, fall.levels, strict=True)):
        behind = 1 - time / end
        base = behind * DOWN
        heights = base + np.clip(levels + RANGE_DB, 0, None)
        # White below the line hides the slices behind.
        zorder = 2 + 0.01 * order
        axes.fill_between(x + behind * LEFT, base, heights, color="white", linewidth=0, zorder=zorder)
        axes.plot(x + behind * LEFT, heights, color=INK, linewidth=0.7, zorder=zorder)
    # On the right no slice ever comes in the way.
    for time in _round_times(scale * end):
        nearer = time / (scale * end)
        at = 1 - nearer * LEFT, (1 - nearer) * DOWN
        # A dot: before a number a line is taken for a minus sign.
        axes.plot(*at, "o", color=INK, markersize=2.2, clip_on=False)
        axes.annotate(f"{time:g}", at, (6, 0), textcoords="offset points", ha="left", va="center", fontsize=8)
    axes.annotate(f"Time ({unit})", (1 - LEFT, 0), (10, -17), textcoords="offset points", ha="left", va="top")


def _draw_box(axes: Axes, place: Place, view: View, across) -> None:
    """The floor under the slices, the wall behind them, and what stands at both."""
    lines = {"color": "0.8", "linewidth": 0.6, "zorder": 1}
    places, names = frequency_labels(view.low, view.high, place.width * (1 - LEFT))
    for x, name in zip(across(places), names, strict=True):
        axes.plot([x, x + LEFT, x + LEFT], [0, DOWN, DOWN + RANGE_DB], **lines)
        axes.annotate(name, (x, 0), (0, -4), textcoords="offset points", ha="center", va="top", fontsize=8)
    for level in np.arange(10 - RANGE_DB, 1, 10):
        y = DOWN + RANGE_DB + level
        axes.plot([LEFT, 1], [y, y], **lines)
        text = f"{level:g}".replace("-", "\N{MINUS SIGN}")
        axes.annotate(text, (1, y), (4, 0), textcoords="offset points", ha="left", va="center", fontsize=8)
    axes.plot([LEFT, 0, 1 - LEFT, 1], [DOWN, 0, 0, DOWN], color="0.5", linewidth=0.7, zorder=1)
    axes.text(1 + 0.44 / place.width, DOWN + RANGE_DB / 2, "Level (dB)", rotation=90, ha="center", va="center")
    axes.annotate("Frequency (Hz)", ((1 - LEFT) / 2, 0), (0, -17), textcoords="offset points", ha="center", va="top")


def _round_times(end: float) -> np.ndarray:
    """Three to six round numbers from 0 to `end`."""
    step = 10.0 ** np.floor(np.log10(end / 2))
    step *= max(m for m in (1, 2, 5) if m * step <= end / 2 * 1.0001)
    return np.arange(0, end * 1.0001, step)
