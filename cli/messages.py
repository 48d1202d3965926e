"""What people read, on standard error, and what programs read, on standard output."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable

from longconv_audio.errors import UnwritableError

# Seconds between two drawings of the progress line, and from the start to the first.
_REDRAW, _FIRST = 0.1, 0.5


def complain(text: str) -> None:
    """A failure, as one line."""
    _stderr(f"longconv: {' '.join(text.split())}")


def warn(text: str) -> None:
    """A warning, as one line."""
    _stderr(f"longconv: warning: {' '.join(text.split())}")


def say(text: str) -> None:
    """A line for people."""
    _stderr(" ".join(text.split()))


def print_json(values: dict) -> None:
    """One JSON object on standard output; what is not finite becomes null."""
    put(json.dumps(values, default=str, allow_nan=False, indent=2))


def put(text: str) -> None:
    """Text on standard output, at once: what cannot be written is known here."""
    if sys.stdout is None:
        raise UnwritableError("standard output: is closed")
    print(text, flush=True)


def finite(value: float) -> float | None:
    """The value, or None where JSON has no word for it."""
    return value if math.isfinite(value) else None


class Line:
    """A line that is drawn over itself, on a terminal.

    Args:
        mode: "auto" (where standard error is a terminal), "on" or "off".
    """

    _WIDTH = 78

    def __init__(self, mode: str):
        self._shown = mode == "on" or (mode == "auto" and sys.stderr.isatty())
        self._next = time.monotonic() + (0 if mode == "on" else _FIRST)
        self._drawn = False

    def draw(self, text: Callable[[], str]) -> None:
        """Draws what `text` gives, if it is time to."""
        now = time.monotonic()
        if not self._shown or now < self._next:
            return
        self._next = now + _REDRAW
        sys.stderr.write(f"\r{text():<{self._WIDTH}}")
        sys.stderr.flush()
        self._drawn = True

    def close(self) -> None:
        """Wipes the line away."""
        if self._drawn:
            sys.stderr.write(f"\r{'':<{self._WIDTH}}\r")
            sys.stderr.flush()
            self._drawn = False


class Progress(Line):
    """How far the work on a signal is.

    Args:
        total: frames of the whole, None where not known.
        samplerate: hertz.
        mode: as for `Line`.
    """

    def __init__(self, total: int | None, samplerate: int, mode: str):
        super().__init__(mode)
        self._total, self._rate = total, samplerate
        self._began = time.monotonic()

    def __call__(self, frames: int) -> None:
        self.draw(lambda: self._text(frames))

    def _text(self, frames: int) -> str:
        elapsed = max(time.monotonic() - self._began, 1e-9)
        speed = frames / self._rate / elapsed
        text = f"{clock(frames / self._rate)}, {speed:.0f} x real time"
        if self._total:
            left = elapsed * (self._total - frames) / max(frames, 1)
            text = f"{100 * frames / self._total:3.0f} %  {text}, {clock(left)} left"
        return text


def clock(seconds: float) -> str:
    """A time as h:mm:ss or m:ss.

    >>> clock(3725)
    '1:02:05'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _stderr(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:
        pass  # nobody listens
