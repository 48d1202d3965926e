"""The --channel option of commands that look at channels."""

from __future__ import annotations

import re
from collections.abc import Sequence

from longconv_audio.errors import OptionError


def channel_numbers(given: Sequence[str]) -> list[int]:
    """The channels, from 1, of an option that holds several numbers, stands there several times, or both.

    >>> channel_numbers(["1,3", "2"])
    [1, 3, 2]
    """
    text = ",".join(given)
    if not re.fullmatch(r"[1-9][0-9]{0,5}(,[1-9][0-9]{0,5})*", text):
        raise OptionError(f"--channel {text}: expected numbers from 1, such as 1 or 1,3")
    return [int(number) for number in text.split(",")]
