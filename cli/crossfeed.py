"""`longconv crossfeed`: a part of each channel for the other ear."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from longconv_audio.errors import MismatchError

from . import headphones
from .apply import Clip, Subtype, When
from .headphones import option


class Preset(str, Enum):
    default, cmoy, jmeier = "default", "cmoy", "jmeier"


FEED = "Crossfeed"
RATE = 48_000


def crossfeed(
    input: headphones.Input = None,
    output: headphones.Output = "",
    preset: Annotated[
        Preset, option("default: 700 Hz, 4.5 dB; cmoy: 700 Hz, 6 dB; jmeier: 650 Hz, 9.5 dB.", FEED)
    ] = Preset.default,
    cutoff: Annotated[
        float | None,
        option("Of the lowpass to the other ear in hertz, 300 to 2000.", FEED, show_default="the preset's"),
    ] = None,
    feed: Annotated[
        float | None,
        option(
            "How much softer the other ear hears low frequencies in dB, 1 to 15.", FEED, show_default="the preset's"
        ),
    ] = None,
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
    """Brings a part of each channel of a stereo recording to the other ear, for headphones.

    As Bauer's stereophonic-to-binaural circuit does (libbs2b): no frequency gets louder.

    Mono keeps its level at low frequencies, and comes out 1 to 2 dB softer at high ones.

        longconv crossfeed album.flac -o headphones.flac --preset cmoy

    As a filter for apply, as it is:

        longconv crossfeed --filter-only --rate 44100 -o crossfeed.wav
    """
    headphones.check(input, output, filter_only, rate, json)
    from longconv_audio.filters.crossfeed import PRESETS, bauer_crossfeed, mono_drop_db
    from longconv_audio.routing import route

    usual = PRESETS[preset.value]
    cutoff, feed = usual[0] if cutoff is None else cutoff, usual[1] if feed is None else feed

    def make(samplerate: int, channels: int, notes: list[str]):
        if channels != 2:
            raise MismatchError(f"the input has {channels} channels and a crossfeed takes 2")
        matrix = route(bauer_crossfeed(samplerate, cutoff, feed), 2, "true-stereo")
        notes.append(
            f"crossfeed: cutoff {cutoff:g} Hz, feed {feed:g} dB; mono is {mono_drop_db(feed):.2f} dB softer at high "
            "frequencies than at low ones"
        )
        notes.append(headphones.said_gain(matrix, samplerate, gain))
        return matrix

    common = {"gain": gain, "subtype": subtype, "overwrite": overwrite, "json": json, "quiet": quiet}
    if filter_only:
        notes: list[str] = []
        matrix = make(rate or RATE, 2, notes)
        headphones.save(output, matrix, rate or RATE, notes, **common)
    else:
        headphones.play(input, output, make, clip=clip, tail=tail, progress=progress, **common)
