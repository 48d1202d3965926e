"""Files over each other in one picture: what is drawn, where, and how it is named."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longconv_audio.errors import NonFiniteError, OptionError, UnwritableError
from longconv_audio.levels import peak

from .frequency_panels import draw_group_delay, draw_magnitude, draw_phase
from .layout import arrange, default_size, draw_header, header_height
from .style import ANONYMOUS, LINES, house_style, save
from .time_panels import draw_decay, draw_spectrogram, draw_waveform
from .view import Sound, View
from .waterfall_panel import draw_waterfall

PANELS = {
    "waveform": draw_waveform,
    "decay": draw_decay,
    "magnitude": draw_magnitude,
    "phase": draw_phase,
    "group-delay": draw_group_delay,
    "spectrogram": draw_spectrogram,
    "waterfall": draw_waterfall,
}
KINDS = tuple(PANELS)
IMAGES = {"spectrogram", "waterfall"}
FORMATS = tuple(ANONYMOUS)

# What is shown where nothing is named. What lasts longer is taken for a recording, which has no decay or delay.
OF_A_FILTER = ("waveform", "decay", "magnitude", "group-delay", "spectrogram")
OF_A_RECORDING = ("waveform", "magnitude", "spectrogram")
LONGEST_FILTER_SECONDS = 60.0

AUDIBLE = (20.0, 20_000.0)
WIDEST = 1e6  # from end to end of a frequency axis: the labels of more decades would meet


@dataclass(frozen=True)
class Drawn:
    """A sound in a picture.

    Args:
        name: as it is called there.
        samplerate: in hertz.
        channels: how many are drawn.
        samples: of each.
        seconds: its length.
        peak: the largest magnitude of a sample.
    """

    name: str
    samplerate: int
    channels: int
    samples: int
    seconds: float
    peak: float


@dataclass(frozen=True)
class Picture:
    """What was drawn.

    Args:
        output: its name.
        format: "png", "svg" or "pdf".
        width, height: in pixels; of an SVG or PDF, what it would have as a PNG.
        kinds: the panels.
        band: ends of the frequency axes, in hertz.
        smoothing: over 1/smoothing octave; None for none.
        sounds: what is in it.
        notes: what a person should be told, one line each.
    """

    output: str
    format: str
    width: int
    height: int
    kinds: tuple[str, ...]
    band: tuple[float, float]
    smoothing: float | None
    sounds: list[Drawn]
    notes: list[str]


def plot(
    target,
    sounds: Sequence[tuple[str, np.ndarray, int]],
    *,
    kinds: Sequence[str] | None = None,
    smoothing: float | None = 12.0,
    band: tuple[float, float] | None = None,
    unwrap: bool = False,
    title: str | None = None,
    size: tuple[int, int] | None = None,
    format: str | None = None,
    overwrite: bool = False,
) -> Picture:
    """Draws impulse responses or recordings, over each other where there are several.

    Args:
        target: a path, "-" for standard output, or a binary file object.
        sounds: one to four of (name, taps, samplerate): taps (taps,) or (channels, taps), samplerate in hertz. Each
            channel is a line; of more than four in all, the first of each sound are drawn.
        kinds: of panels, out of `KINDS`, in their order; None is `OF_A_FILTER`, or `OF_A_RECORDING` where a sound is
            longer than a minute.
        smoothing: magnitude, phase, group delay and waterfall over 1/smoothing octave; None does none.
        band: ends of the frequency axes in hertz; None is 20 to 20000, as far as the sample rates reach.
        unwrap: whether phases are unwrapped.
        title: above the picture; None is the name of a single sound.
        size: width and height in pixels; None is 1600 x 1000, and higher where there are many panels.
        format: out of `FORMATS`; None takes it from the name, and PNG where there is none.
        overwrite: whether a file that exists may be replaced.

    Raises:
        OptionError: an argument that makes no sense.
        NonFiniteError: NaN or infinity among the taps.
        UnwritableError: the picture cannot be written, or matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UnwritableError(f"{target}: a picture takes matplotlib: pip install matplotlib") from None

    format = picture_format(target, format)
    shown, notes = _sounds(sounds)
    kinds = _kinds(kinds, max(sound.seconds for sound in shown))
    if smoothing is not None and not (smoothing > 0 and math.isfinite(smoothing)):
        raise OptionError(f"smoothing over 1/{smoothing:g} octave: expected a number above 0, such as 6")
    low, high = _band(band, max(sound.samplerate for sound in shown))
    lines = sum(len(sound.samples) for sound in shown)
    view = View(shown, list(LINES[:lines]), low, high, smoothing, unwrap)
    title = _printable(title) if title is not None else shown[0].name if len(shown) == 1 else ""
    # Images are named one by one, and their channels averaged.
    legend = [] if lines == 1 or IMAGES.issuperset(kinds) else [label for sound in shown for label in sound.labels]
    size = size or default_size(kinds)
    layout = arrange(kinds, size, header_height(title, legend), lines, len(shown))
    with house_style():
        figure = Figure(figsize=(layout.width, layout.height), dpi=layout.dpi)
        draw_header(figure, title, legend, view.styles)
        for kind, place in zip(kinds, layout.places, strict=True):
            PANELS[kind](figure, place, view)
        name = save(figure, target, format, overwrite)
    drawn = [
        Drawn(sound.name, sound.samplerate, *sound.samples.shape, sound.seconds, peak(sound.samples)) for sound in shown
    ]
    return Picture(name, format, *size, kinds, (low, high), smoothing, drawn, notes)


def picture_format(target, format: str | None) -> str:
    """The format of a picture, out of `FORMATS`: the one given, or by the target's name; PNG where it has none.

    Raises:
        OptionError: none of them.
    """
    suffix = os.path.splitext(os.fsdecode(target))[1] if isinstance(target, (str, os.PathLike)) else ""
    named = format if format is not None else suffix[1:] or "png"
    if named.lower() not in FORMATS:
        what = f"{os.fsdecode(target)}: {suffix}" if format is None else f"format {format}"
        raise OptionError(f"{what} is not a format of pictures here: expected {', '.join(FORMATS)}")
    return named.lower()


def _kinds(kinds: Sequence[str] | None, seconds: float) -> tuple[str, ...]:
    if kinds is None:
        return OF_A_FILTER if seconds <= LONGEST_FILTER_SECONDS else OF_A_RECORDING
    for index, kind in enumerate(kinds):
        if kind not in PANELS:
            raise OptionError(f"panel {kind!r}: expected some of {', '.join(KINDS)}")
        if kind in kinds[:index]:
            raise OptionError(f"panel {kind} twice: expected each once")
    if not kinds:
        raise OptionError(f"no panels: expected some of {', '.join(KINDS)}")
    return tuple(kinds)


def _band(band: tuple[float, float] | None, samplerate: int) -> tuple[float, float]:
    """Ends of the frequency axes; at low sample rates two decades below the highest."""
    nyquist = samplerate / 2
    if band is None:
        high = min(AUDIBLE[1], nyquist)
        return min(AUDIBLE[0], high / 100), high
    low, high = band
    if not 0 < low < high < math.inf:
        raise OptionError(f"range {low:g}:{high:g}: expected two frequencies above 0 in rising order, such as 20:20000")
    if high / low > WIDEST:
        raise OptionError(f"range {low:g}:{high:g}: expected a factor of {WIDEST:g} between them at the most")
    if high > nyquist:
        raise OptionError(
            f"range {low:g}:{high:g} reaches above half the sample rate: expected {nyquist:g} Hz at the most"
        )
    return float(low), float(high)


def _sounds(sounds: Sequence[tuple[str, np.ndarray, int]]) -> tuple[list[Sound], list[str]]:
    """What is drawn of each, and a note where that is not all."""
    if not 1 <= len(sounds) <= len(LINES):
        raise OptionError(f"{len(sounds)} sounds over each other: expected 1 to {len(LINES)}")
    shown, notes = [], []
    for name, taps, samplerate in sounds:
        taps = np.atleast_2d(np.asarray(taps, dtype=np.float64))
        if taps.ndim != 2 or not taps.size:
            raise OptionError(
                f"{name}: taps of shape {np.shape(taps)}: expected (taps,) or (channels, taps), not empty"
            )
        if not samplerate > 0:
            raise OptionError(f"{name}: sample rate {samplerate}: expected hertz, above 0")
        if not np.isfinite(taps).all():
            raise NonFiniteError(f"{name}: a sample is NaN or infinite: it cannot be drawn")
        most = len(LINES) // len(sounds)
        if len(taps) > most:
            notes.append(f"{name}: {most} of {len(taps)} channels drawn: name others with --channel")
        drawn = taps[:most]
        name = _printable(str(name))
        labels = [name] if len(taps) == 1 else [f"channel {c + 1}" for c in range(len(drawn))]
        if len(sounds) > 1 and len(taps) > 1:
            labels = [f"{name}, {label}" for label in labels]
        shown.append(Sound(name, drawn, samplerate, labels))
    return shown, notes


def _printable(text: str) -> str:
    """Names of files may hold what no font has a shape for."""
    text = text.encode("utf-8", "replace").decode()
    return "".join(letter if letter.isprintable() else "?" for letter in text)
