"""The options that the commands of `longconv design` share, and what all of them end with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, NamedTuple

import numpy as np
import typer

from longconv_audio.errors import OptionError

from .filter_output import check_output, write_filter


class Phase(str, Enum):
    linear, minimum, mixed = "linear", "minimum", "mixed"


class Method(str, Enum):
    window, least_squares = "window", "least-squares"


class Window(str, Enum):
    kaiser, boxcar, bartlett, hann, hamming = "kaiser", "boxcar", "bartlett", "hann", "hamming"
    blackman, nuttall, blackmanharris, flattop = "blackman", "nuttall", "blackmanharris", "flattop"


class Subtype(str, Enum):
    FLOAT, DOUBLE = "FLOAT", "DOUBLE"
    PCM_16, PCM_24, PCM_32 = "PCM_16", "PCM_24", "PCM_32"


DESIGN, OUTPUT, REPORTING = "Design", "Output", "Reporting"


def option(text: str, group: str, *names: str, **more):
    return typer.Option(*names, help=text, rich_help_panel=group, **more)


def edge(name: str, text: str):
    return typer.Argument(metavar=name, help=text, show_default=False)


Output = Annotated[str, option(".wav, .npy, .txt, ..., or - (WAV).", OUTPUT, "--output", "-o", show_default=False)]
Rate = Annotated[int, option("Sample rate in Hz.", OUTPUT)]
Sub = Annotated[Subtype | None, option("Sample format.", OUTPUT, show_default="FLOAT")]
Overwrite = Annotated[bool, option("Replace an output that exists.", OUTPUT, "--overwrite", "-y")]
Json = Annotated[bool, option("The report as JSON on standard output.", REPORTING, "--json")]
Quiet = Annotated[bool, option("Nothing but failures.", REPORTING, "--quiet", "-q")]
Taps = Annotated[int | None, option("Length.", DESIGN, show_default="what transition and stopband need")]
Transition = Annotated[
    str | None,
    option(
        "Width from passband to stopband in Hz.",
        DESIGN,
        show_default="what the taps allow, or a tenth of the lowest edge",
    ),
]
Stopband = Annotated[
    float | None, option("Attenuation in dB.", DESIGN, show_default="80, or what taps and transition allow")
]
Windows = Annotated[Window, option("Of the window method; kaiser alone has a choice of stopband.", DESIGN)]
Methods = Annotated[Method, option("Windowed sinc, or least mean square error.", DESIGN)]
Phases = Annotated[Phase, option("linear rings before and after; minimum is the least late.", DESIGN)]
Mix = Annotated[
    float | None, option("Of mixed phase: 0 is minimum, 1 linear.", DESIGN, min=0, max=1, show_default="0.5")
]


class Shape(NamedTuple):
    """What the options say of a filter of bands."""

    taps: int | None
    transition: str | None
    stopband: float | None
    window: Window
    method: Method
    phase: Phase
    mix: float | None


@dataclass(frozen=True)
class Target:
    """Where a filter goes and how it is spoken of, checked before any work."""

    output: str
    rate: int
    subtype: Subtype | None
    overwrite: bool
    json: bool
    quiet: bool

    def __post_init__(self) -> None:
        check_output(self.output, self.json, self.overwrite)

    def rounded(self, h: np.ndarray) -> np.ndarray:
        """The taps as the file will hold them."""
        if self.output.lower().endswith((".npy", ".txt")) or self.subtype is Subtype.DOUBLE:
            return h
        if self.subtype in (None, Subtype.FLOAT):
            return h.astype(np.float32).astype(np.float64)
        steps = 2.0 ** (int(self.subtype.value.removeprefix("PCM_")) - 1)
        return np.round(h * steps) / steps

    def write(self, h: np.ndarray, latency: float | None, facts: dict, said: str, warnings: list[str]) -> None:
        """Writes the filter; arguments as `write_filter` takes them."""
        write_filter(
            self.output,
            h,
            self.rate,
            subtype=None if self.subtype is None else self.subtype.value,
            overwrite=self.overwrite,
            latency=latency,
            facts=facts,
            said=[said],
            warnings=warnings,
            json=self.json,
            quiet=self.quiet,
        )


def share(phase: Phase, mix: float | None) -> float:
    """How much of a mixed phase is linear."""
    if mix is not None and phase is not Phase.mixed:
        raise OptionError(f"--mix {mix:g} with --phase {phase.value}: expected --phase mixed, or no --mix")
    return 0.5 if mix is None else mix


def hertz(text: str | None, name: str) -> float | None:
    """A frequency as it is typed: 1000, 1k, 1.5k, 20Hz, 20kHz."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)(e[0-9]{1,2})?\s*(k?)(hz)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise OptionError(f"{name} {text!r}: expected a frequency in Hz, such as 1000 or 1.5k")
    return float(match[1] + (match[2] or "")) * (1000 if match[3] else 1)


def samples(text: str, rate: int) -> float:
    """A delay as it is typed, in samples."""
    match = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)(s|ms)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise OptionError(f"delay {text!r}: expected samples (123.4567, 480s) or milliseconds (2.5ms), 0 or more")
    amount = float(match[1])
    # To a millionth, lest 2.5 ms at 48000 Hz come out beside 120 samples.
    return round(amount * rate / 1000, 6) if (match[2] or "").lower() == "ms" else amount
