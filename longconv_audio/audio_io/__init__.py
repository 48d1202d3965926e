"""Audio files and pipes, in and out, block by block in fixed memory."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .formats import choose_subtype
    from .impulse import read_ir
    from .impulse_writer import write_ir
    from .matrix_writer import write_matrix
    from .pcm import RawLayout
    from .reader import AudioReader
    from .writer import AudioWriter

__all__ = ["AudioReader", "AudioWriter", "RawLayout", "choose_subtype", "read_ir", "write_ir", "write_matrix"]

_HOMES = {
    "AudioReader": "reader",
    "AudioWriter": "writer",
    "RawLayout": "pcm",
    "choose_subtype": "formats",
    "read_ir": "impulse",
    "write_ir": "impulse_writer",
    "write_matrix": "matrix_writer",
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
