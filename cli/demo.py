"""`longconv demo`: a dry phrase, a hall, and the phrase in the hall, to look at and to listen to."""

from __future__ import annotations

import os
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
    overwrite: Annotated[bool, typer.Option("--overwrite", "-y", help="Replace files that exist.")] = False,
) -> None:
    """Writes a dry phrase and a hall, applies the one to the other, and draws a picture of all three."""
    from longconv_audio.audio_io import AudioReader, AudioWriter
    from longconv_audio.filter_chain import FilterSettings
    from longconv_audio.plotting import draw_overview
    from longconv_audio.rendering import Rendering, RenderSettings
    from longconv_audio.synthesis import hall, plucked_phrase

    dry, ir, wet, picture = (str(folder / name) for name in ("dry.wav", "hall.wav", "wet.wav", "overview.png"))
    for path in (dry, ir, wet, picture):
        if os.path.lexists(path) and not overwrite:
            raise UnwritableError(f"{path}: exists: pass -y to replace it, or name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableError(f"{folder}: cannot be made a folder: {error.strerror}") from error
    sounds = {dry: (plucked_phrase(RATE), "a dry phrase"), ir: (hall(RATE), "a hall's impulse response")}
    for path, (samples, what) in sounds.items():
        with AudioWriter(path, samplerate=RATE, channels=2, subtype="PCM_24", overwrite=overwrite) as writer:
            writer.write(samples)
        say(f"{path}: {what}, {samples.shape[1] / RATE:g} s, stereo, {RATE} Hz, 24 bits")
    report = Rendering(dry, [ir], wet, FilterSettings(), RenderSettings(overwrite=overwrite)).run()
    show(report, dry_run=False, json=False, quiet=False, verbose=False)
    with AudioReader(wet) as reader:
        result = reader.read()
    try:
        draw_overview(picture, sounds[dry][0], sounds[ir][0], result, RATE)
    except OSError as error:
        raise UnwritableError(f"{picture}: cannot be written: {error.strerror}") from error
    say(f"{picture}: waveforms, spectrograms and the hall's energy decay curve")
    say(f"again, or with files of yours: {shlex.join(['longconv', 'apply', dry, ir, '-o', wet, '-y'])}")
