"""What can be said about applying a filter to a file, and what is said when it is done."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .duration import Duration
from .errors import OptionError

CLIPS = ("warn", "error", "scale", "limit")
NON_FINITES = ("error", "zero")
PRECISIONS = {"single": np.float32, "double": np.float64}
# Points of an FFT; beyond these nothing is gained, and memory runs out.
_LARGEST_FFT = 1 << 24


@dataclass(frozen=True)
class RenderSettings:
    """Everything about applying a filter but the filter.

    Args:
        start, duration: the part of the input that is used; None for all.
        tail: "full", "none", or how long the output goes on after the input.
        clip: what to do beyond full scale: "warn", "error", "scale" the whole down, or "limit".
        nonfinite: "error", or "zero" to take NaN and infinity in the input for 0.
        strict: refuse an input with less data than its header says.
        raw_format: the encoding of headerless samples, on standard input and output and in files.
        rate, channels: of a headerless input, in hertz and as a count; they say of any input that it is headerless.
        format, subtype: of the output; None from its name, "keep" as in the input.
        dither: "auto" (16 bits and fewer), "tpdf" or "none".
        metadata: "keep" or "drop" tags and descriptive chunks.
        overwrite: whether an output that exists may be replaced.
        precision: "single", "double", or None: double where the output has 24 bits or more, or is DOUBLE.
        block_size: points of the FFT; None leaves it to the planner.
        device: "cpu", "cuda", "cuda:1" and so on, or "auto": the CPU, but for work that a GPU is sure to do sooner.
    """

    start: Duration | None = None
    duration: Duration | None = None
    tail: str | Duration = "full"
    clip: str = "warn"
    nonfinite: str = "error"
    strict: bool = False
    raw_format: str | None = None
    rate: int | None = None
    channels: int | None = None
    format: str | None = None
    subtype: str = "keep"
    dither: str = "auto"
    metadata: str = "keep"
    overwrite: bool = False
    precision: str | None = None
    block_size: int | None = None
    device: str = "auto"

    def __post_init__(self):
        choices = {"clip": CLIPS, "nonfinite": NON_FINITES, "dither": ("auto", "tpdf", "none")}
        choices |= {"metadata": ("keep", "drop"), "precision": (None, *PRECISIONS)}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise OptionError(f"--{name} {getattr(self, name)}: expected {', '.join(filter(None, known))}")
        if self.block_size is not None and not 2 <= self.block_size <= _LARGEST_FFT:
            raise OptionError(f"--block-size {self.block_size}: expected 2 to {_LARGEST_FFT} points")
        if self.raw_format is None and (self.rate is not None or self.channels is not None):
            raise OptionError("--rate and --channels describe raw samples: pass --raw-format too, such as f32le")


@dataclass
class Report:
    """What was done.

    Attributes:
        input, output: names.
        samplerate: hertz.
        channels_in, channels_out: counts.
        frames_in, frames_out: frames read and written.
        seconds: of the wall clock.
        speed: seconds of output for each of those.
        bytes_out: size of the output's samples, where its encoding gives every sample the same.
        peak_dbfs: the largest sample, as written.
        clipped: samples beyond full scale that an integer format cut off.
        gain_db: gain that was applied beyond the IR's own: --gain, --normalize and --clip scale.
        warnings, notes: one line each.
        plan: how it was convolved.
        device: where.
    """

    input: str
    output: str
    format: str
    subtype: str
    samplerate: int
    channels_in: int
    channels_out: int
    taps: int
    precision: str
    plan: str
    device: str
    frames_in: int | None = 0
    frames_out: int | None = 0
    seconds: float = 0.0
    speed: float = 0.0
    bytes_out: int | None = 0
    peak_dbfs: float = -math.inf
    clipped: int = 0
    limited: int = 0
    gain_db: float = 0.0
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
