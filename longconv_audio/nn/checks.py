"""Checks of the numbers that layers are made from."""

from __future__ import annotations

from ..arguments import integer


def check_count(name: str, value, least: int = 1) -> int:
    """The value as an int. Raises TypeError where it is no integer, ValueError where it is below the least."""
    value = integer(name, value, f"at least {least}")
    if value < least:
        raise ValueError(f"{name} is {value}; expected at least {least}")
    return value


def check_share(name: str, value: float) -> None:
    """Raises ValueError for what is no share of a whole that leaves something over."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value}; expected a share of at least 0 and below 1")
