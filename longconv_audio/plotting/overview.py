"""What a long filter does to a sound, in one picture."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from longconv_audio.filters.decay import energy_decay_curve

from .reduction import envelope
from .spectrograms import log_rows, spectrogram
from .style import COLOURS, INK, frequency_ticks, grid, house_style, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_overview(path: str | os.PathLike, dry: np.ndarray, hall: np.ndarray, wet: np.ndarray, samplerate: int) -> None:
    """Draw a sound, a hall and the sound in the hall as one PNG of 1600 x 1000 pixels.

    Args:
        path: where the picture goes. It appears there whole or not at all.
        dry: (channels, samples) or (samples,), full scale 1.
        hall: impulse response, (channels, taps) or (taps,).
        wet: `dry` in the hall, (channels, samples) or (samples,).
        samplerate: of all three, in hertz.

    Raises:
        UnwritableError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    dry, hall, wet = (np.atleast_2d(x) for x in (dry, hall, wet))
    # Nothing at all is drawn as one silent sample.
    dry, hall, wet = (x if x.shape[-1] else np.zeros((len(x), 1)) for x in (dry, hall, wet))
    with house_style():
        figure = Figure(figsize=(1600 / DPI, 1000 / DPI), dpi=DPI)
        _draw_sounds(figure, {"Dry": dry, "In the hall": wet}, samplerate)
        _draw_response(figure, hall, samplerate)
        _draw_decay(figure.add_axes((RIGHT[0], ROWS[2][0], RIGHT[1], ROWS[2][1])), hall, samplerate)
        save(figure, path)


DPI = 150

# (left, width) of the columns and (bottom, height) of the rows, in parts of the figure. Fixed, because
# matplotlib's automatic layouts draw the figure twice to find the same places.
LEFT = (0.064, 0.400)
RIGHT = (0.520, 0.400)
COLOUR_BAR = (0.932, 0.012)
ROWS = ((0.824, 0.136), (0.470, 0.332), (0.080, 0.265))

Y_LABEL = (-0.115, 0.5)  # in parts of the axes, so that the labels of the left column stand in line

LEVELS_DB = (-100.0, -20.0)
LOWEST, HIGHEST = 50.0, 20000.0  # Hz
EARLY_SECONDS = 0.25  # how much of the impulse response is drawn: single reflections need some room
EARLY_FLOOR_DB = -60.0
DECAY_OCTAVES = (
    (125.0, "125 Hz octave", "--"),
    (1000.0, "1 kHz octave", "-."),
    (8000.0, "8 kHz octave", ":"),
)


def _draw_sounds(figure: Figure, sounds: dict[str, np.ndarray], samplerate: int) -> None:
    """A waveform above a spectrogram for each sound, all on the same scales."""
    seconds = max(x.shape[-1] for x in sounds.values()) / samplerate
    hop = max(1, round(seconds * samplerate / 700))  # about a frame a pixel
    highest = min(HIGHEST, samplerate / 2)
    lowest = min(LOWEST, highest / 100)
    edges = np.geomspace(lowest, highest, 301)
    peak = max(np.max(np.abs(x)) for x in sounds.values()) or 1.0
    for (title, x), (left, width) in zip(sounds.items(), (LEFT, RIGHT), strict=True):
        first = left == LEFT[0]
        axes = figure.add_axes((left, ROWS[0][0], width, ROWS[0][1]))
        low, high = envelope(x, 2000)
        low, high = np.min(low, axis=0), np.max(high, axis=0)
        time = (np.arange(low.size) + 0.5) / low.size * x.shape[-1] / samplerate
        axes.fill_between(time, low, high, color=INK, linewidth=0.4)
        axes.set(title=title, xlim=(0, seconds), ylim=(-1.1 * peak, 1.1 * peak))
        axes.locator_params(axis="y", nbins=4)
        axes.tick_params(labelbottom=False, labelleft=first)
        grid(axes)
        if first:
            axes.set_ylabel("Amplitude")
            axes.yaxis.set_label_coords(*Y_LABEL)

        axes = figure.add_axes((left, ROWS[1][0], width, ROWS[1][1]))
        times, frequencies, levels = spectrogram(x, samplerate, _window(samplerate), hop)
        axes.set_facecolor("black")
        image = axes.imshow(
            log_rows(frequencies, levels, edges),
            origin="lower",
            aspect="auto",
            cmap=COLOURS,
            vmin=LEVELS_DB[0],
            vmax=LEVELS_DB[1],
            interpolation="bilinear",
            extent=(-hop / 2 / samplerate, (times.size - 0.5) * hop / samplerate, 0, 1),
        )
        axes.set(xlim=(0, seconds), ylim=(0, 1), xlabel="Time (s)")
        frequency_ticks(axes, lowest, highest, labels=first)
        if first:
            axes.set_ylabel("Frequency (Hz)")
            axes.yaxis.set_label_coords(*Y_LABEL)
    bar = figure.add_axes((COLOUR_BAR[0], ROWS[1][0], COLOUR_BAR[1], ROWS[1][1]))
    figure.colorbar(image, cax=bar, ticks=np.arange(LEVELS_DB[0], LEVELS_DB[1] + 1, 20))
    bar.set_ylabel("Level (dBFS)")


def _draw_response(figure: Figure, hall: np.ndarray, samplerate: int) -> None:
    """The first part of the impulse response, a strip a channel, in dB: reflections stand out as spikes."""
    shown = hall[:2, : max(1, round(EARLY_SECONDS * samplerate))]
    peak = np.max(np.abs(shown)) or 1.0
    _, high = envelope(np.abs(shown), 800)  # (channels, columns)
    levels = 20 * np.log10(np.maximum(high / peak, 10 ** (EARLY_FLOOR_DB / 20)))
    time = np.arange(levels.shape[-1]) / levels.shape[-1] * shown.shape[-1] / samplerate
    left, width = LEFT
    bottom, height = ROWS[2]
    gap = 0.02 if len(levels) > 1 else 0.0
    height = (height - gap * (len(levels) - 1)) / len(levels)
    for index, level in enumerate(levels):
        last = index + 1 == len(levels)
        place = bottom + (len(levels) - 1 - index) * (height + gap)
        axes = figure.add_axes((left, place, width, height))
        axes.fill_between(1000 * time, EARLY_FLOOR_DB, level, color=INK, linewidth=0.6)
        # The direct sound often is the first sample: an edge at 0 would hide it.
        axes.set(xlim=(-15 * time[-1], 1015 * time[-1] + 1e-6), ylim=(EARLY_FLOOR_DB, 3))
        axes.set_yticks((-40, -20, 0))
        axes.tick_params(labelbottom=last)
        grid(axes)
        if len(levels) > 1:
            axes.text(0.985, 0.94, ("left", "right")[index], transform=axes.transAxes, ha="right", va="top")
        if index == 0:
            axes.set_title("Hall: start of the impulse response")
            # One label for all strips, at half the height of the row.
            axes.set_ylabel("Level (dB)")
            axes.yaxis.set_label_coords(Y_LABEL[0], 0.5 if last else -0.5 * gap / height)
        if last:
            axes.set_xlabel("Time (ms)")


def _draw_decay(axes: Axes, hall: np.ndarray, samplerate: int) -> None:
    """The energy decay curve, of all frequencies and of three octaves, with the time of its -60 dB marked."""
    time = np.arange(hall.shape[-1]) / samplerate
    title = "Hall: energy decay curve"
    step = max(1, hall.shape[-1] // 2000)  # a curve this smooth needs no more points than pixels
    for centre, name, dashes in DECAY_OCTAVES:
        if centre * np.sqrt(2) <= samplerate / 2:
            curve = energy_decay_curve(_octave(hall, centre, samplerate))
            axes.plot(time[::step], curve[::step], color="0.45", linewidth=1.0, linestyle=dashes, label=name)
    curve = energy_decay_curve(hall)
    axes.plot(time[::step], curve[::step], color=INK, linewidth=2.0, label="all frequencies")
    decayed = np.flatnonzero(curve <= -60)
    # A curve that a cut or a fade brings down says nothing of the room, but it is what there is to hear.
    if decayed.size:
        end = time[decayed[0]]
        title += f", \N{MINUS SIGN}60 dB after {end:.2f} s"
        axes.plot([0, end, end], [-60, -60, -80], color=INK, linewidth=0.8, linestyle=":")
        axes.plot([end], [-60], color=INK, marker="o", markersize=5)
    axes.set(title=title, xlabel="Time (s)", ylabel="Energy to come (dB)", ylim=(-80, 2))
    axes.set_xlim(0, hall.shape[-1] / samplerate)
    axes.yaxis.set_label_coords(-0.085, 0.5)
    axes.set_yticks(range(-80, 1, 20))
    grid(axes)
    axes.legend(loc="upper right", handlelength=3.2, borderaxespad=0)


def _octave(h: np.ndarray, centre: float, samplerate: int) -> np.ndarray:
    """The part of h (channels, taps) within about half an octave either side of `centre`.

    The edges are smooth: a rectangle's ringing would outlast the decay that the curve is to show.
    """
    size = 2 * h.shape[-1]  # what rings before the start wraps round into the second half
    octaves = np.log2(np.maximum(np.fft.rfftfreq(size, 1 / samplerate), 1e-3) / centre)
    gain = np.cos(0.5 * np.pi * np.clip(octaves, -1, 1)) ** 2
    return np.fft.irfft(np.fft.rfft(h, size) * gain, size)[:, : h.shape[-1]]


def _window(samplerate: int) -> int:
    """About 85 ms, a power of two: neighbouring notes of the middle octaves show as two lines."""
    return max(64, 2 ** round(np.log2(0.085 * samplerate)))
