"""Pictures of long filters, and of what they do to a sound.

The numbers are prepared by functions of their own, without matplotlib; drawing comes after. The public names load on
first use.
"""

from __future__ import annotations

from longconv_audio.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
