"""Panels over frequency: magnitude, phase, group delay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .reduction import log_columns
from .responses import group_delays, magnitude_levels, phases, wrapped
from .spectrograms import SILENCE_DB
from .style import frequency_axis, grid
from .view import Place, Sound, View, finite_quantile, name_panel, say_silence

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 1000  # of data in a panel: about one a pixel
LEAST_DB, MOST_DB = 20.0, 120.0  # of the level axis


def draw_magnitude(figure: Figure, place: Place, view: View) -> None:
    """The extremes of each column, so that no peak or notch is lost."""
    axes = place.axes(figure)
    curves = []
    for sound in view.sounds:
        frequencies, levels = magnitude_levels(sound.samples, sound.samplerate, view.smoothing)
        curves.append(_both_extremes(view, sound, frequencies, levels))
    tops, bottoms = [], []
    for (x, levels), style in view.styled(curves):
        axes.plot(x, levels, **style)
        if levels.max() > SILENCE_DB:
            tops.append(levels.max())
            # Down to the deepest notch, where that is not much deeper than the rest.
            bottoms.append(max(levels.min(), finite_quantile(levels, 0.02) - 10))
    top, bottom = (max(tops), min(bottoms)) if tops else (0.0, -60.0)
    bottom = max(bottom, top - MOST_DB)
    half = 0.56 * max(top - bottom, LEAST_DB)
    axes.set_ylabel("Magnitude (dB)")
    axes.set_ylim((top + bottom) / 2 - half, (top + bottom) / 2 + half)
    axes.locator_params(axis="y", steps=[1, 2, 5, 10])
    _finish(axes, place, view, "Magnitude", view.smoothed)


def draw_phase(figure: Figure, place: Place, view: View) -> None:
    """Without the delay of the earliest channel of each sound; wrapped, or unwrapped from 0 Hz up."""
    axes = place.axes(figure)
    curves, delays = [], []
    for sound in view.sounds:
        frequencies, radians, delay = phases(sound.samples, sound.samplerate, view.smoothing)
        edges = _edges(view, sound)
        x = np.sqrt(edges[:-1] * edges[1:])
        shown = np.array([np.interp(x, frequencies, row) for row in radians])
        if not view.unwrap:
            shown = wrapped(shown)
            # No line from one edge to the other where it only comes round.
            shown[..., 1:][np.abs(np.diff(shown)) > np.pi] = np.nan
        curves.append([(x, np.degrees(row)) for row in shown])
        delays.append(f"{1000 * delay / sound.samplerate:.3g}")
    for (x, degrees), style in view.styled(curves):
        axes.plot(x, degrees, **style)
    taken = " and ".join(dict.fromkeys(delays))
    axes.set_ylabel("Phase (degrees)")
    if not view.unwrap:
        axes.set(ylim=(-190, 190), yticks=range(-180, 181, 90))
    how = "unwrapped, " if view.unwrap else ""
    _finish(axes, place, view, "Phase", f", {how}delay of {taken} ms taken out{view.smoothed}")


def draw_group_delay(figure: Figure, place: Place, view: View) -> None:
    """In milliseconds; single spikes, at notches, are left to run out of the panel."""
    axes = place.axes(figure)
    curves = []
    for sound in view.sounds:
        frequencies, seconds = group_delays(sound.samples, sound.samplerate, view.smoothing)
        curves.append(_both_extremes(view, sound, frequencies, 1000 * seconds))
    for (x, delay), style in view.styled(curves):
        axes.plot(x, delay, **style)
    found = np.concatenate([delay for curve in curves for _, delay in curve])
    found = found[np.isfinite(found)]
    low, high = np.quantile(found, (0.02, 0.98)) if found.size else (0.0, 1.0)
    # A delay that does not vary is no line along an edge, nor noise seen through a microscope.
    rate = max(sound.samplerate for sound in view.sounds)
    half = max(0.7 * (high - low), 0.05 * abs(high + low) / 2, 2000 / rate)
    axes.set_ylabel("Group delay (ms)")
    axes.set_ylim((high + low) / 2 - half, (high + low) / 2 + half)
    axes.ticklabel_format(axis="y", useOffset=False)
    _finish(axes, place, view, "Group delay", view.smoothed)


def _finish(axes: Axes, place: Place, view: View, name: str, details: str) -> None:
    name_panel(axes, place, name, details)
    frequency_axis(axes, view.low, view.high, place.width)
    say_silence(axes, view)
    grid(axes)


def _both_extremes(view: View, sound: Sound, frequencies: np.ndarray, values: np.ndarray) -> list[tuple]:
    """For each channel the places and values of a line through the extremes of every column in turn."""
    edges = _edges(view, sound)
    low, high = log_columns(frequencies, values, edges)
    step = (edges[1:] / edges[:-1]) ** 0.25
    x = np.stack([edges[:-1] * step, edges[1:] / step], axis=-1).ravel()
    return [(x, row) for row in np.stack([low, high], axis=-1).reshape(len(values), -1)]


def _edges(view: View, sound: Sound) -> np.ndarray:
    """Of the columns, to half the sound's own rate; all in one place where that is below the axis."""
    return np.geomspace(view.low, max(min(view.high, sound.samplerate / 2), view.low), COLUMNS + 1)
