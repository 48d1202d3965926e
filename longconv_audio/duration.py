"""Lengths of time as people type them on a command line: seconds, milliseconds or samples."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral, Real

from longconv_audio.errors import OptionError

EXPECTED = "expected seconds (2.5), minutes (1:30 or 10min), milliseconds (20ms) or samples (4800s)"

# The digits are bounded so that no text can ask for a number of a million places.
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{0,20})?|\.[0-9]{1,20}"
_PLAIN = re.compile(rf"({_NUMBER})(e[+-]?[0-9]{{1,2}})?(ms|s|min)?", re.ASCII | re.IGNORECASE)
_CLOCK = re.compile(r"(?:([0-9]{1,6}):)?([0-9]{1,6}):([0-9]{1,2}(?:\.[0-9]{0,20})?)", re.ASCII)


@dataclass(frozen=True)
class Duration:
    """A length of time, kept exactly as it was given: in seconds, or in samples of a rate not yet known.

    Args:
        amount: how much, 0 or more.
        unit: "seconds" or "samples".

    >>> Duration.parse("20ms").samples(48000)
    960
    >>> Duration.parse("4800s").samples(44100)
    4800
    >>> str(Duration.parse("1:30"))
    '90 s'
    """

    amount: Fraction
    unit: str = "seconds"

    @classmethod
    def parse(cls, text: str, trailing_s: str = "samples") -> Duration:
        """Reads a duration as it is typed.

        Args:
            text: "2.5" seconds, "1:30" minutes and seconds, "1:02:03.5" hours, minutes and seconds, "10min" minutes,
                "20ms" milliseconds, or "4800s" samples: the trailing s counts samples, as in SoX.
            trailing_s: "seconds" where it counts these.

        Raises:
            OptionError: the text is none of these, is negative, or counts a part of a sample.
        """
        stripped = text.strip()
        if match := _CLOCK.fullmatch(stripped):
            hours, minutes, seconds = match.groups()
            if Fraction(seconds) >= 60 or (hours is not None and int(minutes) >= 60):
                raise OptionError(f"duration {text!r}: what follows a colon is below 60; {EXPECTED}")
            return cls(3600 * int(hours or 0) + 60 * int(minutes) + Fraction(seconds))
        match = _PLAIN.fullmatch(stripped)
        if match is None:
            reason = "a duration cannot be negative" if stripped.startswith("-") else EXPECTED
            raise OptionError(f"duration {text!r}: {reason}")
        number, exponent, suffix = match.groups()
        amount = Fraction(number + (exponent or ""))
        if suffix is None:
            return cls(amount)
        if suffix.lower() == "ms":
            return cls(amount / 1000)
        if suffix.lower() == "min":
            return cls(60 * amount)
        if trailing_s == "seconds":
            return cls(amount)
        if amount.denominator != 1:
            raise OptionError(
                f"duration {text!r}: a trailing s counts whole samples, as in SoX; write {number} for seconds"
            )
        return cls(amount, "samples")

    @classmethod
    def of(cls, value: Duration | str | float) -> Duration:
        """Takes a duration, a text as `parse` reads it, or a number of seconds."""
        if isinstance(value, Duration):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        if not isinstance(value, Real) or not math.isfinite(value) or value < 0:
            raise OptionError(f"duration {value!r}: expected a number of seconds of 0 or more")
        # The shortest decimal that gives this float is what the caller wrote: 0.1 means a tenth exactly.
        return cls(Fraction(int(value)) if isinstance(value, Integral) else Fraction(repr(float(value))))

    @classmethod
    def of_samples(cls, count: int) -> Duration:
        """A duration of a whole number of samples, whatever the rate."""
        if not isinstance(count, Integral) or count < 0:
            raise OptionError(f"duration of {count!r} samples: expected a whole number of 0 or more")
        return cls(Fraction(int(count)), "samples")

    @classmethod
    def of_milliseconds(cls, value: float) -> Duration:
        """A duration of a number of milliseconds."""
        return cls(cls.of(value).amount / 1000)

    def samples(self, rate: int | None) -> int:
        """The duration in samples, rounded to the nearest, halves up.

        Args:
            rate: sample rate in hertz; needed unless the duration counts samples or is 0.

        Raises:
            OptionError: the duration is in seconds and the rate is None.
        """
        if self.unit == "samples" or not self.amount:
            return int(self.amount)
        if rate is None:
            raise OptionError(f"duration {self}: no sample rate is known here; give samples, as in 4800s")
        return math.floor(self.amount * rate + Fraction(1, 2))

    def __bool__(self) -> bool:
        return bool(self.amount)

    def __str__(self) -> str:
        if self.unit == "samples":
            return f"{int(self.amount)} samples"
        return f"{float(self.amount):g} s"
