"""`longconv demo`: a dry phrase, a hall, and the phrase in the hall, to look at and to listen to."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from longconv_audio.errors import UnwritableError

from .apply import show
from .messages import say

RATE = 48_000


def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write.", show_default=True)] = Path(
        "longconv-demo"
    ),
) -> None:
    """Writes a dry phrase and a hall, applies the one to the other, and draws a picture of all three."""
    from longconv_audio.audio_io import AudioReader, AudioWriter
    from longconv_audio.filter_chain import FilterSettings
    from longconv_audio.plotting import draw_overview
    from longconv_audio.rendering import Rendering, RenderSettings
    from longconv_audio.synthesis import hall, plucked_phrase

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableError(f"{folder}: cannot be made a folder: {error.strerror}") from error
    sounds = {"dry.wav": (plucked_phrase(RATE), "a dry phrase"), "hall.wav": (hall(RATE), "a hall's impulse response")}
    for name, (samples, what) in sounds.items():
        with AudioWriter(str(folder / name), samplerate=RATE, channels=2, subtype="PCM_24", overwrite=True) as writer:
            writer.write(samples)
        say(f"{folder / name}: {what}, {samples.shape[1] / RATE:g} s, stereo, {RATE} Hz, 24 bits")
    dry, ir, wet = (str(folder / name) for name in ("dry.wav", "hall.wav", "wet.wav"))
    report = Rendering(dry, [ir], wet, FilterSettings(), RenderSettings(overwrite=True)).run()
    show(report, dry_run=False, json=False, quiet=False, verbose=False)
    with AudioReader(wet) as reader:
        result = reader.read()
    picture = folder / "overview.png"
    draw_overview(picture, sounds["dry.wav"][0], sounds["hall.wav"][0], result, RATE)
    say(f"{picture}: waveforms, spectrograms and the hall's energy decay curve")
    say(f"again, or with files of yours: {shlex.join(['longconv', 'apply', dry, ir, '-o', wet, '-y'])}")
