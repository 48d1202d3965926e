"""`longconv ir from-sofa`: the impulse responses of both ears for a direction."""

from __future__ import annotations

from typing import Annotated

import typer

from longconv_audio.errors import OptionError

from .filter_output import check_output, write_filter

# Degrees to the nearest measured direction from which a person should be told.
FAR = 15.0


def from_sofa(
    file: Annotated[str, typer.Argument(metavar="FILE", help="SOFA file (AES69) of head-related impulse responses.")],
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="Audio file, .npy, .txt, or - for standard output.", show_default=False),
    ] = "",
    azimuth: Annotated[float, typer.Option(help="Degrees: 0 ahead, 90 to the left.")] = 0.0,
    elevation: Annotated[float, typer.Option(help="Degrees: 90 above.")] = 0.0,
    interpolate: Annotated[
        bool, typer.Option("--interpolate", help="Between the three directions around; otherwise the nearest.")
    ] = False,
    rate: Annotated[int | None, typer.Option(help="Sample rate in hertz.", show_default="the file's")] = None,
    subtype: Annotated[str | None, typer.Option(help="PCM_24, FLOAT, DOUBLE, ...", show_default="float")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", "-y", help="Replace an output that exists.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The report as JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but failures.")] = False,
) -> None:
    """Writes the impulse responses of the left and the right ear for a direction.

    longconv ir from-sofa ears.sofa --azimuth 30 -o left.wav
    """
    check_output(output, json, overwrite)
    if rate is not None and not 1 <= rate <= 10_000_000:
        raise OptionError(f"--rate {rate}: expected 1 to 10 million hertz")
    from longconv_audio import shaping
    from longconv_audio.filters.hrir import hrir_at, time_of_arrival
    from longconv_audio.filters.sofa import read_sofa

    sofa = read_sofa(file)
    pair = hrir_at(sofa, azimuth, elevation, interpolate=interpolate)
    rate = rate or pair.samplerate
    taps, _ = shaping.resample(pair.taps, pair.samplerate, rate)
    onsets = [1000 * time_of_arrival(ear) / pair.samplerate for ear in pair.taps]
    side = "right" if onsets[0] > onsets[1] else "left"
    how = f"interpolated from {pair.directions} directions, the" if pair.directions > 1 else "the"
    said = [
        f"{how} nearest of {len(sofa.irs)}: azimuth {pair.azimuth:.1f}, elevation {pair.elevation:.1f}, "
        f"{pair.distance:.3g} m away, {pair.angle:.1f} degrees from what was asked for",
        f"the {side} ear hears it {abs(onsets[0] - onsets[1]):.3f} ms before the other",
    ]
    warnings = []
    if pair.angle > FAR:
        warnings.append(f"{file}: nothing was measured within {pair.angle:.0f} degrees of that direction")
    facts = {
        "azimuth": pair.azimuth,
        "elevation": pair.elevation,
        "distance_m": pair.distance,
        "angle_degrees": pair.angle,
        "directions": pair.directions,
        "delays_samples": pair.delays,
        "onsets_ms": onsets,
        "native_samplerate": pair.samplerate,
    }
    write_filter(
        output,
        taps,
        rate,
        subtype=subtype,
        overwrite=overwrite,
        facts=facts,
        said=said,
        warnings=warnings,
        json=json,
        quiet=quiet,
    )
