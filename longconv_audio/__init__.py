"""Long convolution for audio and time series.

The public names load on first use: importing the package imports neither torch nor scipy.
"""

import importlib

_HOME = {
    "fftconvolve": "functional",
    "oaconvolve": "functional",
    "fftfilt": "functional",
    "convolve_matrix": "functional",
    "long_conv": "convolution",
    "FilterSpectrum": "convolution",
    "prepare": "convolution",
    "FrequencyMask": "frequency_mask",
    "sparsify": "sparse",
    "band": "sparse",
    "short_conv": "short_convolution",
    "Convolver": "streaming",
    "AudioReader": "audio_io",
    "AudioWriter": "audio_io",
    "RawLayout": "audio_io",
    "read_ir": "audio_io",
    "write_ir": "audio_io",
    "FilterMatrix": "routing",
    "LongconvError": "errors",
}

# Whole modules that load on first use.
_MODULES = ("filters", "nn", "transforms")

__all__ = sorted([*_HOME, *_MODULES])
__version__ = "0.1.0"


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__():
    return [*globals(), *__all__]
