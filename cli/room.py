"""`longconv room`: the impulse response of a box by its images, or of a hall by its reverberation time."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from longconv_audio.errors import OptionError

from .filter_output import check_output, write_filter

BOX, HALL, BOTH, REPORTING = "Box (image sources)", "Hall (shaped noise)", "Output", "Reporting"


def _option(text: str, group: str, *names: str, **more):
    return typer.Option(*names, help=text, rich_help_panel=group, **more)


def room(
    output: Annotated[
        str, _option("Audio file, .npy, .txt, or - for standard output.", BOTH, "--output", "-o", show_default=False)
    ] = "",
    size: Annotated[str | None, _option("Length x width x height in metres: 6x4x3.", BOX)] = None,
    source: Annotated[
        list[str] | None, _option("x,y,z in metres from the corner of west, south and floor. Repeat for more.", BOX)
    ] = None,
    receiver: Annotated[
        list[str] | None, _option("x,y,z. Channels: all receivers of the first source, then of the next.", BOX)
    ] = None,
    absorption: Annotated[
        list[str] | None,
        _option(
            "Share of the energy that a wall takes: 0.2, or by frequency 125=0.1,1k=0.3. Repeat with a wall's name "
            "for one wall: floor:0.5 (west, east, south, north, floor, ceiling; west is x = 0, south y = 0).",
            BOX,
            show_default="0.2",
        ),
    ] = None,
    max_order: Annotated[int | None, _option("Most reflections.", BOX, show_default="all that arrive in time")] = None,
    humidity: Annotated[
        float | None, _option("Of the air in percent, at 20 degrees.", BOX, show_default="no loss in air")
    ] = None,
    highpass: Annotated[float, _option("Cutoff against rumble in hertz; 0 for none.", BOX)] = 20.0,
    t60: Annotated[str | None, _option("Seconds, or by frequency: 500=1.8,1k=1.6,4k=1.1.", HALL)] = None,
    channels: Annotated[int | None, _option("Independent channels.", HALL, show_default="2")] = None,
    predelay: Annotated[float | None, _option("Silence ahead in milliseconds.", HALL, show_default="0")] = None,
    seed: Annotated[int | None, _option("Of the noise.", HALL, show_default="1983")] = None,
    seconds: Annotated[
        str | None, _option("Length: seconds, 20ms, 4800s (samples).", BOTH, show_default="until it has decayed")
    ] = None,
    rate: Annotated[int, _option("Sample rate in hertz.", BOTH)] = 48_000,
    subtype: Annotated[str | None, _option("PCM_24, FLOAT, DOUBLE, ...", BOTH, show_default="float")] = None,
    overwrite: Annotated[bool, _option("Replace an output that exists.", BOTH, "--overwrite", "-y")] = False,
    json: Annotated[bool, _option("The report as JSON on standard output.", REPORTING, "--json")] = False,
    quiet: Annotated[bool, _option("Nothing but failures.", REPORTING, "--quiet", "-q")] = False,
) -> None:
    """Makes the impulse response of a room.

    A box, by the images of its sources: the direct sound comes when it would, and from a metre away at 0 dB.

        longconv room --size 6x4x3 --source 1,1,1.5 --receiver 4,2,1.5 --absorption 0.2 -o room.wav

    Or the diffuse sound of a hall by its reverberation time, without the direct sound, each channel of energy 1.

        longconv room --t60 500=1.8,1k=1.6,4k=1.1 --channels 2 -o hall.wav
    """
    check_output(output, json, overwrite)
    box = {"--size": size, "--source": source, "--receiver": receiver, "--absorption": absorption}
    box |= {"--max-order": max_order, "--humidity": humidity}
    hall = {"--channels": channels, "--predelay": predelay, "--seed": seed}
    if (size is None) == (t60 is None):
        raise OptionError("a room is a box (--size 6x4x3) or a hall (--t60 1.8): pass one of the two")
    for name, value in (box if t60 is not None else hall).items():
        if value is not None:
            raise OptionError(f"{name} is for {'a box: leave it out beside --t60' if t60 else 'a hall (--t60)'}")
    from longconv_audio.duration import Duration

    if not 1 <= rate <= 10_000_000:
        raise OptionError(f"--rate {rate}: expected 1 to 10 million hertz")
    length = None if seconds is None else Duration.parse(seconds).samples(rate) / rate
    if t60 is not None:
        taps, report = _hall(t60, rate, length, channels, predelay, seed)
    else:
        taps, report = _box(size, source, receiver, absorption, rate, length, max_order, humidity, highpass)
    write_filter(output, taps, rate, subtype=subtype, overwrite=overwrite, json=json, quiet=quiet, **report)


def _hall(t60, rate, seconds, channels, predelay, seed):
    from longconv_audio.filters.band_values import parse_values
    from longconv_audio.filters.halls import SEED, statistical_hall

    silence = (predelay or 0.0) / 1000
    times = parse_values(t60, "--t60")
    seed = SEED if seed is None else seed
    if seed < 0:
        raise OptionError(f"--seed {seed}: expected 0 or more")
    taps = statistical_hall(times, rate, seconds, 2 if channels is None else channels, predelay=silence, seed=seed)
    # Noise comes from everywhere at once: what is late is the silence ahead of it.
    return taps, {"latency": round(silence * rate), "facts": {"t60": times, "seed": seed}}


def _box(size, source, receiver, absorption, rate, seconds, max_order, humidity, highpass):
    from longconv_audio.filters.rooms import SPEED_OF_SOUND, eyring_t60, shoebox

    if not source or not receiver:
        raise OptionError("a box needs a --source and a --receiver: x,y,z in metres, such as --source 1,1,1.5")
    size = _numbers(size, "--size", "x")
    sources = [_numbers(text, "--source", ",") for text in source]
    receivers = [_numbers(text, "--receiver", ",") for text in receiver]
    walls = _absorption(absorption or ["0.2"])
    taps = shoebox(
        size,
        sources,
        receivers,
        rate,
        absorption=walls,
        seconds=seconds,
        max_order=max_order,
        humidity=humidity,
        highpass=highpass,
    )
    taps = taps.reshape(-1, taps.shape[-1])
    expected = eyring_t60(size, walls, humidity=humidity)
    nearest = min(math.dist(a, b) for a in sources for b in receivers)
    facts = {"sources": sources, "receivers": receivers, "eyring_t60": expected}
    report = {"facts": facts, "latency": round(nearest / SPEED_OF_SOUND * rate, 2)}
    lowest, highest = min(expected.values()), max(expected.values())
    said = f"{lowest:.2f} s" if highest - lowest < 0.005 else f"{lowest:.2f} to {highest:.2f} s by octave band"
    return taps, report | {"said": [f"reverberation time after Eyring: {said}"]}


def _absorption(texts: list[str]):
    """One value for all walls, or one a wall."""
    from longconv_audio.filters.band_values import parse_values
    from longconv_audio.filters.rooms import WALLS

    given, everywhere = {}, None
    for text in texts:
        wall, colon, value = text.rpartition(":")
        if colon and wall not in WALLS:
            raise OptionError(f"--absorption {text}: there is no wall {wall}; expected {', '.join(WALLS)}")
        if wall in given or (not colon and everywhere is not None):
            raise OptionError(f"--absorption {text}: {wall or 'all walls'} had a value before: name each once")
        points = parse_values(value, "--absorption")
        if colon:
            given[wall] = points
        else:
            everywhere = points
    if not given:
        return everywhere
    return {wall: given.get(wall, 0.2 if everywhere is None else everywhere) for wall in WALLS}


def _numbers(text: str, option: str, separator: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.lower().split(separator))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        example = separator.join(("6", "4", "3"))
        raise OptionError(f"{option} {text}: expected three numbers in metres, such as {example}")
    return numbers
