"""How long a filter must be: taps, transition and stopband from two of the three."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from numbers import Integral

from longconv_audio.errors import OptionError

KINDS = {"lowpass": 1, "highpass": 1, "bandpass": 2, "bandstop": 2}

# What is stopped by if nothing is said: below 16 bits' noise in most music.
STOPBAND_DB = 80.0
# Below 21 dB no window is needed, and above 200 dB double precision gives no more.
LEAST_STOPBAND_DB, MOST_STOPBAND_DB = 21.0, 200.0
MOST_TAPS = 1 << 24

# The width of the main lobe between its first zeros, in steps of samplerate / taps (F. J. Harris, "On the use of
# windows for harmonic analysis with the discrete Fourier transform", Proceedings of the IEEE 66(1), 1978). A
# transition lies within it.
LOBES = {
    "boxcar": 2,
    "bartlett": 4,
    "hann": 4,
    "hamming": 4,
    "blackman": 6,
    "nuttall": 8,
    "blackmanharris": 8,
    "flattop": 10,
}
WINDOWS = ("kaiser", *LOBES)


@dataclass(frozen=True)
class BandDesign:
    """A filter of bands, ready to be computed.

    Args:
        kind: a key of KINDS.
        edges: where the response is -6 dB, in hertz, rising.
        samplerate: in hertz.
        taps: its length.
        transition: from the end of a passband to the beginning of the next stopband, in hertz.
        window: one of WINDOWS.
        stopband: what a Kaiser window of this length attenuates, in dB; None for other windows.
    """

    kind: str
    edges: tuple[float, ...]
    samplerate: float
    taps: int
    transition: float
    window: str
    stopband: float | None

    @property
    def beta(self) -> float:
        """Of the Kaiser window."""
        from scipy.signal import kaiser_beta

        return float(kaiser_beta(self.stopband))

    @property
    def passbands(self) -> list[tuple[float, float]]:
        """What passes, up to where the transitions begin; empty where they leave no room."""
        return self._bands(self.kind in ("lowpass", "bandstop"))

    @property
    def stopbands(self) -> list[tuple[float, float]]:
        """What is stopped, from where the transitions end."""
        return self._bands(self.kind in ("highpass", "bandpass"))

    @property
    def fits(self) -> bool:
        """Whether the transitions leave something of every band."""
        return len(self.passbands) + len(self.stopbands) == len(self.edges) + 1

    def _bands(self, first: bool) -> list[tuple[float, float]]:
        half = self.transition / 2
        borders = [-half, *self.edges, self.samplerate / 2 + half]
        bands = [(low + half, high - half) for low, high in itertools.pairwise(borders)]
        return [(low, high) for low, high in bands[not first :: 2] if low < high]


def plan_bands(
    kind: str,
    edges: tuple[float, ...],
    samplerate: float,
    taps: int | None = None,
    transition: float | None = None,
    stopband: float | None = None,
    window: str = "kaiser",
) -> BandDesign:
    """Settles a filter's length, steepness and attenuation.

    Args:
        kind: a key of KINDS.
        edges: in hertz, rising.
        samplerate: in hertz.
        taps: None takes what the transition and the stopband need by Kaiser's estimate (scipy.signal.kaiserord), and
            one more where that is even, so that the latency is whole.
        transition: width from passband to stopband, in hertz; None takes what the taps allow, and where these are not
            given either a tenth of the lowest edge (less where an edge is closer than that to half the sample rate).
        stopband: attenuation in dB; None takes what taps and transition allow, and 80 dB where one is missing.
        window: "kaiser", or another whose attenuation is fixed.

    Raises:
        OptionError: arguments that make no filter, by name.
    """
    if kind not in KINDS or len(edges) != KINDS[kind]:
        raise OptionError(f"{kind} with {len(edges)} edges: expected {', '.join(KINDS)} with 1, 1, 2 or 2")
    _check_edges(kind, edges, samplerate)
    if window not in WINDOWS:
        raise OptionError(f"window={window}: expected {', '.join(WINDOWS)}")
    if taps is not None:
        check_taps(taps, kind if kind in ("highpass", "bandstop") else None)
    if stopband is not None:
        if window != "kaiser":
            raise OptionError(f"stopband={stopband:g} with window={window}, whose attenuation is fixed: use kaiser")
        check_stopband(stopband)
        if taps is not None and transition is not None:
            raise OptionError("taps, transition and stopband: two of them give the third: leave one out")
    half = samplerate / 2
    room = 2 * min(edges[0], half - edges[-1], *((edges[1] - edges[0]) / 2 for _ in edges[1:]))
    if transition is None and taps is None:
        transition = min(edges[0] / 10, room / 2)
    if transition is not None and not 0 < transition < room:
        raise OptionError(
            f"transition={transition:g} Hz: expected above 0 and below {room:g} Hz, which is the room that "
            f"{' and '.join(f'{edge:g}' for edge in edges)} Hz leave at a rate of {samplerate:g} Hz"
        )
    if window != "kaiser":
        if taps is None:
            _check_length(transition, LOBES[window] * samplerate / MOST_TAPS, samplerate)
            taps = _odd(LOBES[window] * samplerate / transition)
        elif transition is None:
            transition = LOBES[window] * samplerate / taps
        return BandDesign(kind, tuple(edges), samplerate, taps, transition, window, None)
    taps, transition, stopband = kaiser_order(samplerate, taps, transition, stopband)
    return BandDesign(kind, tuple(edges), samplerate, taps, transition, window, stopband)


def kaiser_order(
    samplerate: float, taps: int | None, transition: float | None, stopband: float | None
) -> tuple[int, float, float]:
    """Taps, transition in hertz and stopband in dB of a Kaiser window's filter, from two of the three.

    Where taps or transition is missing and the stopband too, it is STOPBAND_DB.
    """
    if taps is not None and transition is not None:
        from scipy.signal import kaiser_atten

        stopband = min(float(kaiser_atten(taps, 2 * transition / samplerate)), MOST_STOPBAND_DB)
        return taps, transition, max(stopband, LEAST_STOPBAND_DB)
    stopband = STOPBAND_DB if stopband is None else stopband
    if taps is None:
        return kaiser_taps(stopband, transition, samplerate), transition, stopband
    return taps, kaiser_transition(stopband, taps, samplerate), stopband


def kaiser_taps(stopband: float, transition: float, samplerate: float) -> int:
    """The odd number of taps that a Kaiser window needs (scipy.signal.kaiserord).

    Args:
        stopband: in dB.
        transition: in hertz.
        samplerate: in hertz.

    >>> kaiser_taps(80, 100, 48_000)
    2411
    """
    from scipy.signal import kaiserord

    _check_length(transition, kaiser_transition(stopband, MOST_TAPS, samplerate), samplerate)
    return _odd(kaiserord(stopband, transition / (samplerate / 2))[0])


def kaiser_transition(stopband: float, taps: int, samplerate: float) -> float:
    """The transition of a Kaiser window's filter, in hertz: the estimate of `kaiser_taps` the other way round."""
    return (stopband - 7.95) / (2.285 * math.pi * (taps - 1)) * samplerate / 2


def check_taps(taps: int, kind: str | None = None) -> None:
    """Refuses a number of taps that makes no filter; of a high-pass or a band-stop an even one, too."""
    if not isinstance(taps, Integral) or not 3 <= taps <= MOST_TAPS:
        raise OptionError(f"taps={taps}: expected a whole number from 3 to {MOST_TAPS}")
    if kind is not None and taps % 2 == 0:
        raise OptionError(
            f"taps={taps} of a {kind}: an even number stops half the sample rate, too: pass {taps + 1} or {taps - 1}"
        )


def check_stopband(stopband: float) -> None:
    """Refuses an attenuation that no window gives."""
    if not LEAST_STOPBAND_DB <= stopband <= MOST_STOPBAND_DB:
        raise OptionError(f"stopband={stopband:g} dB: expected {LEAST_STOPBAND_DB:g} to {MOST_STOPBAND_DB:g} dB")


def check_rate(samplerate: float) -> None:
    """Refuses a sample rate that is none."""
    if not 0 < samplerate < math.inf:
        raise OptionError(f"samplerate={samplerate:g} Hz: expected a number above 0, such as 48000")


def _odd(taps: float) -> int:
    """The next odd number that is not less."""
    return math.ceil(taps) | 1


def _check_length(transition: float, narrowest: float, samplerate: float) -> None:
    if transition < narrowest:
        raise OptionError(
            f"transition={transition:g} Hz at a rate of {samplerate:g} Hz needs more than {MOST_TAPS} taps: expected "
            f"{narrowest:.2g} Hz or more"
        )


def _check_edges(kind: str, edges: tuple[float, ...], samplerate: float) -> None:
    check_rate(samplerate)
    for edge in edges:
        if not 0 < edge < samplerate / 2:
            raise OptionError(
                f"{kind} at {edge:g} Hz: expected above 0 and below half the sample rate, {samplerate / 2:g} Hz"
            )
    if any(low >= high for low, high in itertools.pairwise(edges)):
        raise OptionError(f"{kind} from {edges[0]:g} to {edges[1]:g} Hz: expected the lower edge first")
