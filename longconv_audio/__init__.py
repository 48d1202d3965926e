"""Long convolution for audio and time series.

The public names load on first use: importing the package imports neither torch nor scipy.
"""

from .lazy import lazy_names

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
_MODULES = ("filters", "nn", "plotting", "transforms")

__all__ = sorted([*_HOME, *_MODULES])
__version__ = "0.1.0"

__getattr__, __dir__ = lazy_names(__name__, {**_HOME, **dict.fromkeys(_MODULES)})
