"""Exponential sine sweeps: the excitation that measures impulse responses and distortion at once."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from longconv_audio.errors import OptionError
from longconv_audio.levels import from_db

from .excitation import Excitation

# What begins the text that a sweep's file carries.
TAG = "longconv sweep "

# The sweep's own ends, unless told: its full level then holds from 20 Hz to 20 kHz and a little more, or to 0.43 of
# the sample rate where that is less.
START, END, END_OF_RATE = 14.0, 22_000.0, 0.46

# Octaves that the fades take unless their length is given: what the band's edges ring like (see `inversion`).
FADE_IN_OCTAVES, FADE_OUT_OCTAVES = 1 / 2, 1 / 12

# Longer signals, of all channels together, are a slip of the hand: an hour at 48 kHz.
MOST_SAMPLES = 3600 * 48_000


@dataclass(frozen=True)
class Sweep:
    """A measurement's excitation: synchronised exponential sweeps, one after another.

    Channel 1 plays all its repeats, then channel 2, and so on; after each sweep there is silence for the room to
    die away in. The same values give the same samples.

    Args:
        samplerate: in hertz.
        start: where the sweep begins, in hertz.
        end: where it ends, in hertz; None is 22 kHz, or 0.46 of the sample rate where that is less.
        seconds: its length, which is rounded so that the rate `rate_seconds` makes it synchronised.
        level: its peak in dBFS.
        fade_in, fade_out: half cosines within the sweep, in seconds; None is half an octave and a twelfth.
        before: silence ahead of everything, in seconds.
        after: silence after each sweep, in seconds: as long as the longest decay to be measured.
        repeats: of each channel.
        channels: that play, in turn.

    Raises:
        OptionError: values that make no sweep.

    A. Farina, "Simultaneous measurement of impulse response and distortion with a swept-sine technique", AES 108th
    convention, 2000; A. Novak, P. Lotton, L. Simon, "Synchronized swept-sine: theory, application and
    implementation", JAES 63(10), 2015.

    >>> sweep = Sweep(48_000, start=20, end=20_000, seconds=5, repeats=2)
    >>> round(sweep.rate_seconds * sweep.start, 9)  # a whole number: harmonics are delayed copies
    14.0
    >>> sweep.signal().shape == (1, sweep.frames)
    True
    """

    samplerate: int = 48_000
    start: float = START
    end: float | None = None
    seconds: float = 10.0
    level: float = -6.0
    fade_in: float | None = None
    fade_out: float | None = None
    before: float = 0.5
    after: float = 2.0
    repeats: int = 1
    channels: int = 1

    def __post_init__(self):
        rate = self.samplerate
        if not isinstance(rate, int) or rate < 1:
            raise OptionError(f"sweep at {rate} Hz: expected a whole sample rate of 1 Hz or more")
        if self.end is None:
            object.__setattr__(self, "end", min(END, END_OF_RATE * rate))
        _positive("start frequency", self.start, "Hz")
        _positive("sweep of", self.seconds, "s")
        if not self.start < self.end <= rate / 2:
            raise OptionError(
                f"sweep from {self.start:g} to {self.end:g} Hz at {rate} Hz: expected a rising one that ends at half "
                f"the sample rate ({rate / 2:g} Hz) at the most"
            )
        if not (math.isfinite(self.level) and self.level <= 0):
            raise OptionError(f"level {self.level:g} dBFS: expected 0 or less")
        for name, count, most in (("repeats", self.repeats, 1000), ("channels", self.channels, 1024)):
            if not isinstance(count, int) or not 1 <= count <= most:
                raise OptionError(f"{name} {count}: expected a whole number from 1 to {most}")
        for name in ("fade_in", "fade_out", "before", "after"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise OptionError(f"{name.replace('_', '-')} {value:g} s: expected 0 or more")
        if self.seconds * self.start < math.log(self.end / self.start):
            raise OptionError(
                f"sweep of {self.seconds:g} s from {self.start:g} to {self.end:g} Hz: too fast to begin with a whole "
                f"period: pass {math.log(self.end / self.start) / self.start:.3g} s or more, or a higher start"
            )
        if self.frames * self.channels > MOST_SAMPLES:
            raise OptionError(
                f"sweeps of {self.frames / rate:.0f} s in all, of {self.channels} channels: expected at most "
                f"{MOST_SAMPLES / rate / self.channels:.0f} s"
            )
        if sum(self.fades) > self.sweep_frames:
            raise OptionError(
                f"fades of {self.fades[0] / rate:g} and {self.fades[1] / rate:g} s in a sweep of "
                f"{self.sweep_frames / rate:.4g} s: expected them to fit in"
            )

    @cached_property
    def rate_seconds(self) -> float:
        """L of exp(t / L), in seconds: the frequency rises e-fold in it. A whole number of the start's periods."""
        periods = max(round(self.start * self.seconds / math.log(self.end / self.start)), 1)
        return periods / self.start

    @property
    def sweep_frames(self) -> int:
        """Samples of one sweep without silence."""
        return math.floor(self.rate_seconds * math.log(self.end / self.start) * self.samplerate)

    @property
    def period(self) -> int:
        """Samples from the start of one sweep to the start of the next."""
        return self.sweep_frames + round(self.after * self.samplerate)

    @property
    def frames(self) -> int:
        """Samples of the whole."""
        return round(self.before * self.samplerate) + self.channels * self.repeats * self.period

    @property
    def fades(self) -> tuple[int, int]:
        """Samples of the fades at the sweep's start and end."""
        octave = self.rate_seconds * math.log(2)
        fade_in = FADE_IN_OCTAVES * octave if self.fade_in is None else self.fade_in
        fade_out = FADE_OUT_OCTAVES * octave if self.fade_out is None else self.fade_out
        return round(fade_in * self.samplerate), round(fade_out * self.samplerate)

    @property
    def band(self) -> tuple[float, float]:
        """The frequencies between the fades, where the sweep has its full level, in hertz."""
        fade_in, fade_out = self.fades
        per_frame = 1 / (self.rate_seconds * self.samplerate)
        return self.start * math.exp(fade_in * per_frame), self.start * math.exp(
            (self.sweep_frames - fade_out) * per_frame
        )

    def excitation(self) -> Excitation:
        """What `deconvolve` must know of it."""
        x = exponential_sweep(self.samplerate, self.start, self.rate_seconds, self.sweep_frames, self.fades)
        return Excitation(
            signal=from_db(self.level) * x,
            samplerate=self.samplerate,
            band=self.band,
            edges=(self.start, self.end),
            first=round(self.before * self.samplerate),
            period=self.period,
            repeats=self.repeats,
            channels=self.channels,
            rate_seconds=self.rate_seconds,
        )

    def signal(self) -> np.ndarray:
        """Everything that is played: (channels, frames), float64."""
        once = self.excitation()
        played = np.zeros((self.channels, self.frames))
        for channel in range(self.channels):
            for start in once.starts[channel]:
                played[channel, start : start + self.sweep_frames] = once.signal
        return played

    def tag(self) -> str:
        """The values as a line of text, for a file's comment."""
        return TAG + json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def of_tag(cls, text: str) -> Sweep | None:
        """The sweep whose values are in a file's comment; None where it has none, or none that make a sweep."""
        if not text.startswith(TAG):
            return None
        try:
            return cls(**json.loads(text[len(TAG) :]))
        except (ValueError, TypeError):
            return None


def exponential_sweep(
    samplerate: int, start: float, rate_seconds: float, frames: int, fades: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """One exponential sine sweep of amplitude 1: sin(2 pi start L exp(t / L)).

    Args:
        samplerate: in hertz.
        start: its first frequency in hertz.
        rate_seconds: L, in seconds; synchronised where start L is a whole number (Novak et al. 2015).
        frames: samples.
        fades: samples of the half cosines at its start and end.

    Returns:
        (frames,), float64.
    """
    t = np.arange(frames) / samplerate
    # Whole turns are taken off before the sine, where its argument still has its digits.
    x = np.sin(2 * np.pi * np.mod(start * rate_seconds * np.exp(t / rate_seconds), 1.0))
    for count, part in zip(fades, (x, x[::-1]), strict=True):
        part[:count] *= 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / max(count, 1))
    return x


def _positive(name: str, value: float, unit: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise OptionError(f"{name} {value:g} {unit}: expected more than 0")
