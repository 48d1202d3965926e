"""Audio files and pipes, in and out, block by block in fixed memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longconv_audio.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
