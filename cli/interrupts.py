"""Ctrl-C while the program's modules are still being imported, where nothing would catch it: imported first of all."""

from __future__ import annotations

import os
import signal
from contextlib import suppress


def release() -> None:
    """Python's own handler again: the imports are done."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number, frame) -> None:
    """No exception: one in the middle of an import comes out as a traceback, or as an ImportError."""
    with suppress(OSError):
        os.write(2, b"longconv: interrupted\n")
    os._exit(130)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    with suppress(ValueError):  # not in the main thread: somebody imports this as a module
        signal.signal(signal.SIGINT, _end)
