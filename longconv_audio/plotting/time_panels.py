"""Panels over time: waveform, energy decay curve, spectrogram."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from longconv_audio.levels import peak

from .decays import decay_curve
from .reduction import envelope
from .spectrograms import log_rows, spectrogram, window_length
from .style import COLOURS, frequency_ticks, grid
from .view import (
    STRIP_GAP,
    Place,
    View,
    finite_quantile,
    label_strips,
    name_panel,
    name_strip,
    say_silence,
    time_limits,
    time_unit,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 1000  # of data in a panel: about one a pixel
MOST_DOTS = 64  # samples that are drawn one by one
MINUS, SUPERSCRIPT = "\N{MINUS SIGN}", str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
DECAY_DB, SPECTROGRAM_DB = 100.0, 90.0  # the most of a level axis


def draw_waveform(figure: Figure, place: Place, view: View) -> None:
    """A strip a channel, all on the same scales."""
    scale, unit = time_unit(view.seconds)
    channels = [
        (sound, row, label) for sound in view.sounds for row, label in zip(sound.samples, sound.labels, strict=True)
    ]
    largest = max(peak(sound.samples) for sound in view.sounds) or 1.0
    exponent = amplitude_exponent(largest)
    for index, (part, (sound, row, label), style) in enumerate(
        zip(place.strips(len(channels)), channels, view.styles, strict=True)
    ):
        axes = part.axes(figure)
        colour = style["color"]
        if row.size > 2 * COLUMNS:
            low, high = envelope(row, 2 * COLUMNS)
            middles = scale * (np.arange(low.size) + 0.5) / low.size * sound.seconds
            axes.fill_between(middles, low, high, color=colour, linewidth=0.5)
        else:
            time = scale * np.arange(row.size) / sound.samplerate
            if row.size <= MOST_DOTS:
                axes.vlines(time, 0, row, color=colour, linewidth=1.0)
                axes.plot(time, row, "o", color=colour, markersize=3)
            else:
                axes.plot(time, row, color=colour, linewidth=0.8)
        axes.axhline(0, color="0.7", linewidth=0.6, zorder=0.5)
        axes.set(xlim=time_limits(scale * view.seconds), ylim=(-1.08 * largest, 1.08 * largest))
        axes.locator_params(axis="y", nbins=4 if part.height > 0.6 else 2)
        if exponent:  # as many zeros would run into the axis' label
            axes.yaxis.set_major_formatter(lambda value, _: f"{value / 10.0**exponent:g}".replace("-", MINUS))
        axes.tick_params(labelbottom=index + 1 == len(channels))
        grid(axes)
        if index == 0:
            name_panel(axes, place, "Waveform", above=STRIP_GAP if len(channels) > 1 else 0.0)
            power = f" (10{str(exponent).translate(SUPERSCRIPT)})" if exponent else ""
            label_strips(axes, place, part, f"Amplitude{power}")
        if len(channels) > 1:
            name_strip(axes, place, label)
        if index + 1 == len(channels):
            axes.set_xlabel(f"Time ({unit})")


def amplitude_exponent(largest: float) -> int:
    """The power of ten, a multiple of 3, in which amplitudes up to the largest have short names.

    >>> amplitude_exponent(0.5), amplitude_exponent(0.04), amplitude_exponent(2e-4), amplitude_exponent(5000.0)
    (0, -3, -6, 3)
    """
    return 0 if 0.1 <= largest < 1000 else 3 * math.floor(math.log10(largest) / 3)


def draw_decay(figure: Figure, place: Place, view: View) -> None:
    """Schroeder's curve of each channel; where noise ends it, that cut is marked and what lies behind it is thin."""
    axes = place.axes(figure)
    scale, unit = time_unit(view.seconds)
    curves = [[decay_curve(row, sound.samplerate) for row in sound.samples] for sound in view.sounds]
    lowest = 0.0
    for curve, style in view.styled(curves):
        # The last few dB before the end fall for want of anything behind them.
        lowest = min(lowest, finite_quantile(curve.whole, 0.02))
        if curve.cut is None:
            # A line through a single point is none.
            axes.plot(scale * curve.times, curve.whole, marker="o" if curve.times.size == 1 else None, **style)
            continue
        axes.plot(scale * curve.times, curve.whole, **{**style, "linewidth": 0.7})
        axes.plot(scale * curve.times, curve.freed, **style)
        axes.plot(scale * curve.cut[0], curve.cut[1], "o", color=style["color"], markersize=5, zorder=4)
        lowest = min(lowest, curve.cut[1] - 5)
    cuts = any(curve.cut for sound in curves for curve in sound)
    name_panel(axes, place, "Energy decay curve", ", cut (dot) where noise begins" if cuts else "")
    axes.set(xlabel=f"Time ({unit})", ylabel="Energy (dB)", xlim=time_limits(scale * view.seconds))
    bottom = int(10 * np.floor(np.clip(lowest, -DECAY_DB, -20.0) / 10))
    axes.set(ylim=(bottom, 2), yticks=range(0, bottom - 1, -10 if bottom >= -50 else -20))
    say_silence(axes, view)
    grid(axes)


def draw_spectrogram(figure: Figure, place: Place, view: View) -> None:
    """A strip a sound, the powers of its channels averaged, all on the same scales."""
    scale, unit = time_unit(view.seconds)
    edges = np.geomspace(view.low, view.high, 301)
    images, lengths = [], []
    for sound in view.sounds:
        samples = sound.samples.shape[-1]
        window = window_length(round(view.seconds * sound.samplerate), sound.samplerate)
        hop = max(1, samples // COLUMNS)
        parts = -(-2 * hop // window)  # windows overlap by half at least
        _, frequencies, levels = spectrogram(sound.samples, sound.samplerate, window, hop, parts)
        rows = log_rows(frequencies, levels, edges)
        rows[edges[1:] > sound.samplerate / 2] = np.nan
        images.append((rows, hop / sound.samplerate))
        lengths.append(f"{1000 * window / sound.samplerate:.3g}")
    top = max(10 * np.ceil(np.nanmax(rows) / 10) for rows, _ in images)
    top = top if top > -150 else 0.0
    windows = " and ".join(dict.fromkeys(lengths))
    bar = Place(place.left + place.width - 0.55, place.bottom, 0.09, place.height)
    inner = Place(place.left, place.bottom, place.width - 0.68, place.height)
    for index, (part, sound, (rows, hop)) in enumerate(
        zip(inner.strips(len(images)), view.sounds, images, strict=True)
    ):
        axes = part.axes(figure)
        image = axes.imshow(
            rows,
            origin="lower",
            aspect="auto",
            cmap=COLOURS,
            vmin=top - SPECTROGRAM_DB,
            vmax=top,
            interpolation="nearest",
            extent=(-scale * hop / 2, scale * (rows.shape[1] - 0.5) * hop, 0, 1),
        )
        last = index + 1 == len(images)
        axes.set(xlim=(0, scale * view.seconds), ylim=(0, 1))
        axes.tick_params(labelbottom=last)
        frequency_ticks(axes, view.low, view.high, labels=True)
        if index == 0:
            details = f", Hann {windows} ms{view.averaged}"
            name_panel(axes, inner, "Spectrogram", details, STRIP_GAP if len(images) > 1 else 0.0)
            label_strips(axes, place, part, "Frequency (Hz)")
        if len(images) > 1:
            name_strip(axes, part, sound.name)
        if last:
            axes.set_xlabel(f"Time ({unit})")
    levels = bar.axes(figure)
    figure.colorbar(image, cax=levels, ticks=np.arange(top - 80, top + 1, 20))
    levels.set_ylabel("Level (dBFS)")
