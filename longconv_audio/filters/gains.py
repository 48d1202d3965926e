"""Levels that are given in dB."""

from __future__ import annotations

from longconv_audio.errors import OptionError
from longconv_audio.levels import from_db

# Far beyond what anyone means, and well inside single precision.
LARGEST_DB = 300.0


def gain_of(level_db: float) -> float:
    """A level in dB as a linear gain.

    Raises:
        OptionError: not finite, or beyond 300 dB up or down.
    """
    if not abs(level_db) <= LARGEST_DB:
        raise OptionError(f"a level of {level_db} dB: expected {-LARGEST_DB:g} to {LARGEST_DB:g}")
    return from_db(level_db)
