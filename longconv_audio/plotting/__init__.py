"""Pictures of long filters, and of what they do to a sound.

The numbers are prepared by functions of their own, without matplotlib; drawing comes after. The public names load on
first use.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "plot": "picture",
    "Picture": "picture",
    "KINDS": "picture",
    "picture_format": "picture",
    "draw_overview": "overview",
    "envelope": "reduction",
    "spectrogram": "spectrograms",
    "SILENCE_DB": "spectrograms",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
