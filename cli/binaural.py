"""`longconv binaural`: loudspeaker layouts on headphones."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from longconv_audio.errors import MismatchError, OptionError

from . import headphones
from .apply import Clip, Subtype, When
from .headphones import option


class Layout(str, Enum):
    auto = "auto"
    mono = "mono"
    stereo = "stereo"
    five = "5.1"
    seven = "7.1"


EARS = "Loudspeakers"


def binaural(
    input: headphones.Input = None,
    output: headphones.Output = "",
    hrir: Annotated[
        str,
        typer.Option(help="SOFA file, or HeSuVi WAV (7 or 14 channels).", metavar="FILE", show_default=False),
    ] = "",
    layout: Annotated[
        Layout, option("In WAV's order (FL FR FC LFE BL BR SL SR); auto: by the channels of INPUT.", EARS)
    ] = Layout.auto,
    nearest: Annotated[
        bool, option("The measured direction nearest to each loudspeaker, none in between.", EARS, "--nearest")
    ] = False,
    lfe: Annotated[
        str, option("Level of the low-frequency effects in dB, at both ears alike; off leaves them out.", EARS)
    ] = "0",
    gain: headphones.Gain = 0.0,
    clip: headphones.Clipping = Clip.warn,
    tail: headphones.Tail = "full",
    subtype: headphones.SampleFormat = Subtype.keep,
    filter_only: headphones.FilterOnly = False,
    rate: headphones.Rate = None,
    overwrite: headphones.Overwrite = False,
    json: headphones.Json = False,
    quiet: headphones.Quiet = False,
    progress: headphones.Progressing = When.auto,
) -> None:
    """Plays mono, stereo, 5.1 or 7.1 on headphones, through measured ears.

    Loudspeakers stand at 30 degrees (FL, FR), 0 (FC), 110 (5.1: SL, SR), 90 and 135 (7.1: SL, SR and BL, BR).

    The levels are those of the file of ears: the largest gain is said, and --gain changes it.

        longconv binaural film.wav --hrir ears.sofa -o headphones.wav

    As a filter for apply, as it is:

        longconv binaural --hrir ears.sofa --layout 7.1 --filter-only -o surround.toml
    """
    headphones.check(input, output, filter_only, rate, json)
    if not hrir:
        raise OptionError("no ears were given: pass --hrir FILE, a SOFA file or a HeSuVi WAV")
    if filter_only and layout is Layout.auto:
        raise OptionError("--filter-only needs a --layout: mono, stereo, 5.1 or 7.1")
    level = _level(lfe)
    from longconv_audio.filters.binaural import LAYOUTS, layout_of, read_loudspeakers

    def make(samplerate: int | None, name: str, notes: list[str]):
        matrix, samplerate = read_loudspeakers(hrir, name, samplerate, interpolate=not nearest, lfe=level, notes=notes)
        notes.append(f"{name}: {' '.join(LAYOUTS[name])}, through {hrir}")
        notes.append(headphones.said_gain(matrix, samplerate, gain))
        return matrix, samplerate

    def for_input(samplerate: int, channels: int, notes: list[str]):
        name = layout_of(channels) if layout is Layout.auto else layout.value
        if len(LAYOUTS[name]) != channels:
            raise MismatchError(
                f"the input has {channels} channels and --layout {name} {len(LAYOUTS[name])}: they must be equal"
            )
        return make(samplerate, name, notes)[0]

    common = {"gain": gain, "subtype": subtype, "overwrite": overwrite, "json": json, "quiet": quiet}
    if filter_only:
        notes: list[str] = []
        matrix, samplerate = make(rate, layout.value, notes)
        headphones.save(output, matrix, samplerate, notes, **common)
    else:
        headphones.play(input, output, for_input, clip=clip, tail=tail, progress=progress, **common)


def _level(text: str) -> float | None:
    if text == "off":
        return None
    try:
        level = float(text)
    except ValueError:
        level = float("nan")
    if not -200 <= level <= 200:
        raise OptionError(f"--lfe {text}: expected a level in dB, -200 to 200, or off")
    return level
