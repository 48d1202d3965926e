"""What the commands for headphones have in common: their filter on a file or pipe, or as files for `apply`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from longconv_audio.errors import OptionError

from .apply import Clip, Subtype, When, run, show
from .filter_output import plain
from .messages import print_json, say

if TYPE_CHECKING:
    from longconv_audio.filter_chain import FilterMaker
    from longconv_audio.routing import FilterMatrix

LEVELS, OUTPUT, REPORTING = "Levels", "Output", "Reporting"


def option(text: str, group: str, *names: str, **more):
    """An option in a panel of the help."""
    return typer.Option(*names, help=text, rich_help_panel=group, **more)


Input = Annotated[
    str | None, typer.Argument(metavar="[INPUT]", help="Audio file, or - for standard input.", show_default=False)
]
Output = Annotated[
    str, typer.Option("--output", "-o", help="Audio file, or - for standard output.", show_default=False)
]
FilterOnly = Annotated[
    bool,
    option(
        "Write the filter, with no INPUT: NAME.toml with NAME.wav; of 2 channels also a true-stereo WAV.",
        OUTPUT,
        "--filter-only",
    ),
]
Rate = Annotated[int | None, option("Sample rate in hertz, under --filter-only.", OUTPUT)]
Gain = Annotated[float, option("Level of the whole in dB.", LEVELS)]
Clipping = Annotated[Clip, option("Beyond full scale: cut off and warn, fail, scale the whole down, or limit.", LEVELS)]
Tail = Annotated[str, option("full, none, or how long to go on after the input's end.", OUTPUT)]
SampleFormat = Annotated[Subtype, option("Sample format.", OUTPUT, show_default="keep; FLOAT of a filter")]
Overwrite = Annotated[bool, option("Replace an output that exists.", OUTPUT, "--overwrite", "-y")]
Json = Annotated[bool, option("The report as JSON on standard output.", REPORTING, "--json")]
Quiet = Annotated[bool, option("Nothing but failures.", REPORTING, "--quiet", "-q")]
Progressing = Annotated[When, option("A progress line; auto: where there is a terminal.", REPORTING)]


def check(input: str | None, output: str, filter_only: bool, rate: int | None, json: bool) -> None:
    """Refuses, before any work, what does not go together."""
    if not output:
        raise OptionError("no output was given: pass -o FILE, or -o - for standard output")
    if json and output == "-":
        raise OptionError("--json and -o -: both go to standard output: write to a file")
    if filter_only and input is not None:
        raise OptionError(f"--filter-only writes the filter alone: leave {input} out")
    if not filter_only and not input:
        raise OptionError("no INPUT was given: name a file, - for standard input, or pass --filter-only")
    if rate is not None and not filter_only:
        raise OptionError(f"--rate {rate}: goes with --filter-only; otherwise the rate is the input's")
    if rate is not None and not 1 <= rate <= 10_000_000:
        raise OptionError(f"--rate {rate}: expected 1 to 10 million hertz")


def play(
    input: str,
    output: str,
    make: FilterMaker,
    *,
    gain: float,
    clip: Clip,
    tail: str,
    subtype: Subtype,
    overwrite: bool,
    json: bool,
    quiet: bool,
    progress: When,
) -> None:
    """Applies a filter to a file or pipe as `apply` does, and says so."""
    from longconv_audio.duration import Duration
    from longconv_audio.filter_chain import FilterSettings
    from longconv_audio.rendering import Rendering, RenderSettings

    settings = RenderSettings(
        tail=tail if tail in ("full", "none") else Duration.parse(tail),
        clip=clip.value,
        subtype=subtype.value,
        overwrite=overwrite,
    )
    rendering = Rendering(input, [make], output, FilterSettings(gain=gain), settings)
    run(rendering, progress.value if not quiet else "off")
    show(rendering.report, dry_run=False, json=json, quiet=quiet, verbose=False)


def save(
    output: str,
    matrix: FilterMatrix,
    samplerate: int,
    notes: list[str],
    *,
    gain: float,
    subtype: Subtype,
    overwrite: bool,
    json: bool,
    quiet: bool,
) -> None:
    """Writes a filter as `apply` takes it, and says what it is."""
    import numpy as np

    from longconv_audio.audio_io import write_matrix
    from longconv_audio.levels import from_db
    from longconv_audio.routing import dense, scale

    if not gain <= 200:
        raise OptionError(f"--gain {gain:g}: expected a level in dB, 200 at most")
    wanted = None if subtype is Subtype.keep else subtype.value
    names = write_matrix(output, scale(matrix, from_db(gain)), samplerate, subtype=wanted, overwrite=overwrite)
    latency = int(np.abs(dense(matrix)).max(axis=(0, 1)).argmax())
    if json:
        facts = {"inputs": matrix.inputs, "outputs": matrix.outputs, "taps": matrix.taps, "samplerate": samplerate}
        print_json(plain({"output": names, **facts, "gain_db": gain, "latency_samples": latency, "notes": notes}))
    if quiet:
        return
    for line in notes:
        say(line)
    place = "-" if output == "-" else names[0]
    option = "" if names[0].endswith(".toml") else " --ir-channels true-stereo"
    say(
        f"{' and '.join(names)}: {matrix.inputs} to {matrix.outputs} channels, {matrix.taps} taps at {samplerate} Hz, "
        f"latency {latency} samples ({1000 * latency / samplerate:.4g} ms), "
        f"gain {gain + 0.0:+.1f} dB; apply it with: longconv apply INPUT {place}{option} -o OUT"
    )


def said_gain(matrix: FilterMatrix, samplerate: int, gain: float) -> str:
    """What to say of a matrix's largest gain, with a level in dB that comes on top."""
    from longconv_audio.filters.binaural import largest_gain

    level, frequency = largest_gain(matrix, samplerate)
    level = round(level + gain, 2) + 0.0
    return f"largest gain {level:+.2f} dB at {frequency:.5g} Hz, all channels at their worst"
