"""From the IRs, matrix files and settings that a person gives to one matrix of filters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from . import routing, shaping
from .audio_io.impulse import read_ir
from .audio_io.matrix import read_matrix
from .audio_io.matrix_formats import MOST_DELAY
from .duration import Duration
from .errors import MismatchError, OptionError
from .levels import from_db, to_db
from .routing import FilterMatrix

MATRIX_SUFFIXES = (".toml", ".conf")

# In place of a file, what makes the filters once the signal is known: from its sample rate in hertz, its channels, and
# a list that takes what a person should be told.
FilterMaker = Callable[[int, int, list[str]], FilterMatrix]


@dataclass(frozen=True)
class FilterSettings:
    """How impulse responses become one filter.

    Args:
        mix: 0 (dry) to 1 (wet), both linear and adding up to 1; instead of dry and wet.
        dry, wet: levels in dB; None is silence for dry and 0 dB for wet.
        gain: level of the whole in dB.
        normalize: "none", "peak", "l1", "l2" or "magnitude", of all IRs in series.
        predelay: delay of the wet signal in milliseconds.
        align: "causal" keeps the IR's time; "peak" puts its largest tap at time zero.
        channels: "auto", "mono", "parallel", "true-stereo", or the path of a matrix file, which stands for the IRs.
        order: the channels of a true-stereo IR.
        rate: "resample" or "error", for an IR at another rate.
        offset, length, fade_out: the part of each IR that is used.
    """

    mix: float | None = None
    dry: float | None = None
    wet: float | None = None
    gain: float = 0.0
    normalize: str = "none"
    predelay: float = 0.0
    align: str = "causal"
    channels: str = "auto"
    order: str = routing.DEFAULT_ORDER
    rate: str = "resample"
    offset: Duration = field(default_factory=lambda: Duration.of(0))
    length: Duration | None = None
    fade_out: Duration = field(default_factory=lambda: Duration.of(0))

    def __post_init__(self):
        if self.mix is not None and (self.dry is not None or self.wet is not None):
            raise OptionError("--mix stands beside --dry or --wet: pass one or the other")
        if self.mix is not None and not 0 <= self.mix <= 1:
            raise OptionError(f"--mix {self.mix:g}: expected 0 (dry) to 1 (wet)")
        if not self.predelay >= 0:
            raise OptionError(f"--predelay {self.predelay:g}: expected 0 ms or more")
        for name in ("dry", "wet", "gain"):
            level = getattr(self, name)
            if level is not None and not level <= 200:
                raise OptionError(f"--{name} {level:g}: expected a level in dB, 200 at most")
        if self.align not in ("causal", "peak"):
            raise OptionError(f"--align {self.align}: expected causal or peak")

    @property
    def dry_and_wet(self) -> tuple[float, float]:
        """The linear gains."""
        if self.mix is not None:
            return 1 - self.mix, self.mix
        return 0.0 if self.dry is None else from_db(self.dry), from_db(self.wet or 0.0)


@dataclass(frozen=True)
class FilterChain:
    """One matrix of filters, and what went into it.

    Args:
        matrix: all IRs in series, with every gain and delay.
        normalisation_db: gain that `normalize` gave the IR.
        notes: what a person should know, one line each.
    """

    matrix: FilterMatrix
    normalisation_db: float
    notes: list[str]


def read_filter(
    irs: list[str | FilterMaker], samplerate: int, inputs: int, settings: FilterSettings, strict: bool = False
) -> FilterChain:
    """Reads impulse responses and matrix files and joins them in series.

    Args:
        irs: paths or makers, applied in this order; paths that end in .toml or .conf are matrix files.
        samplerate: of the signal, in hertz.
        inputs: channels of the signal.
        settings: how they are used.
        strict: refuse a file with less data than its header says.

    Raises:
        LongconvError: for what cannot be read, does not fit, or makes no sense; each names its file or option.
    """
    chain, notes = None, []
    sources = list(irs)
    mode = settings.channels
    if mode not in routing.MODES:
        if not _is_matrix_file(mode):
            raise OptionError(
                f"--ir-channels {mode}: expected {', '.join(routing.MODES)} or a matrix file (.toml or .conf)"
            )
        if sources:
            raise OptionError(
                f"--ir-channels {mode} stands beside {sources[0]}: a matrix file names its own IRs; "
                "for a series, name the matrix file among the IRs"
            )
        sources, mode = [mode], "auto"
    if not sources:
        raise OptionError("no IR was given: name one behind the input")
    delay = Duration.of_milliseconds(settings.predelay).samples(samplerate)
    if delay > MOST_DELAY:
        raise OptionError(f"--predelay {settings.predelay:g}: expected {1000 * MOST_DELAY // samplerate} ms at most")
    for source in sources:
        count = inputs if chain is None else chain.outputs
        matrix = _read_one(source, samplerate, count, mode, settings, strict, notes)
        chain = matrix if chain is None else routing.cascade(chain, matrix)
    normalisation = shaping.normalisation_gain(chain, settings.normalize)
    if normalisation != 1:
        chain = routing.scale(chain, normalisation)
    if settings.align == "peak":
        chain = shaping.align_peak(chain)
    dry, wet = settings.dry_and_wet
    chain = shaping.mix(shaping.delay(chain, delay), dry, wet)
    if (dry, wet) != (0.0, 1.0):
        notes.append(f"dry {_in_db(dry)}, wet {_in_db(wet)}")
    if settings.gain:
        chain = routing.scale(chain, from_db(settings.gain))
    return FilterChain(chain, to_db(normalisation), notes)


def _read_one(
    source: str | FilterMaker,
    samplerate: int,
    inputs: int,
    mode: str,
    settings: FilterSettings,
    strict: bool,
    notes: list[str],
) -> FilterMatrix:
    if callable(source):
        return source(samplerate, inputs, notes)
    if _is_matrix_file(source):
        if settings.offset or settings.length is not None or settings.fade_out:
            raise OptionError(
                f"--ir-offset, --ir-length and --fade-out do not reach into {source}: "
                "give its paths an offset and a length"
            )
        matrix = read_matrix(source, samplerate=samplerate, rate=settings.rate, strict=strict, notes=notes)
        if matrix.inputs != inputs:
            raise MismatchError(
                f"{source} takes {matrix.inputs} channels and gets {inputs}: change its paths, or give it such an input"
            )
        return matrix
    ir = read_ir(
        source,
        samplerate=samplerate,
        rate=settings.rate,
        offset=settings.offset,
        length=settings.length,
        fade_out=settings.fade_out,
        strict=strict,
    )
    notes.extend(ir.notes)
    return routing.route(ir.taps, inputs, mode, settings.order, ir.origin)


def _is_matrix_file(name: str) -> bool:
    return name.lower().endswith(MATRIX_SUFFIXES)


def _in_db(gain: float) -> str:
    return f"{round(to_db(gain), 1) + 0.0:+.1f} dB"  # the 0.0 makes +0.0 of -0.0
