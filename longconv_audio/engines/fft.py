"""The FFT that scipy.fft is made of, called with an `out` argument and without scipy's import time.

scipy.fft's transforms are PocketFFT (Reinecke) and, from scipy 1.18 on, its successor in DUCC, both vectorised over
four rows in single precision and two in double. `import scipy.fft` costs a quarter of a second, most of it for array
interfaces that nothing here uses, and its functions allocate their result, which for blocks of megabytes costs as
much as part of the transform. So the extension module is loaded by its file. Where scipy ships another one,
scipy.fft serves.

None of the transforms is scaled. They run along the last axis, or down the columns where their name says so.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import numpy as np

COMPLEX_OF = {np.dtype(np.float32): np.dtype(np.complex64), np.dtype(np.float64): np.dtype(np.complex128)}

_UNSCALED = 0
_EXTENSIONS = (("_pocketfft", "pypocketfft"), ("_duccfft", "pyduccfft"))


def _extension():
    """scipy's extension module, or None where this scipy has neither.

    It is loaded under its own name, so that scipy.fft, imported before or after, has the same one: loaded twice, it
    would be torn down twice when the interpreter ends.
    """
    scipy = importlib.util.find_spec("scipy")
    for folder in scipy.submodule_search_locations if scipy else ():
        for package, name in _EXTENSIONS:
            full_name = f"scipy.fft.{package}.{name}"
            if full_name in sys.modules:
                return sys.modules[full_name]
            for suffix in importlib.machinery.EXTENSION_SUFFIXES:
                file = Path(folder, "fft", package, name + suffix)
                if file.is_file():
                    loader = importlib.machinery.ExtensionFileLoader(full_name, str(file))
                    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(full_name, loader))
                    loader.exec_module(module)
                    sys.modules[full_name] = module
                    return module
    return None


def _from_extension(module):
    def rfft(x, out=None):
        return module.r2c(x, (-1,), True, _UNSCALED, out, 1)

    def irfft(spectrum, n, out=None):
        return module.c2r(spectrum, (-1,), n, False, _UNSCALED, out, 1)

    def fft(x, forward=True, out=None):
        return module.c2c(x, (-1,), forward, _UNSCALED, out, 1)

    def columns_rfft(x, out):
        return module.r2c(x, (0,), True, _UNSCALED, out, 1)

    def columns_irfft(spectrum, n, out):
        return module.c2r(spectrum, (0,), n, False, _UNSCALED, out, 1)

    return rfft, irfft, fft, columns_rfft, columns_irfft


def _from_scipy():
    import scipy.fft

    def into(out, result):
        if out is None:
            return result
        out[...] = result
        return out

    def rfft(x, out=None):
        return into(out, scipy.fft.rfft(x))

    def irfft(spectrum, n, out=None):
        return into(out, scipy.fft.irfft(spectrum, n, norm="forward"))

    def fft(x, forward=True, out=None):
        return into(out, scipy.fft.fft(x) if forward else scipy.fft.ifft(x, norm="forward"))

    def columns_rfft(x, out):
        return into(out, scipy.fft.rfft(x, axis=0))

    def columns_irfft(spectrum, n, out):
        return into(out, scipy.fft.irfft(spectrum, n, axis=0, norm="forward"))

    return rfft, irfft, fft, columns_rfft, columns_irfft


def _load():
    try:
        module = _extension()
        if module is not None:
            return _from_extension(module)
    except (ImportError, AttributeError):
        pass  # a scipy with other insides: its public face does the same, more slowly
    return _from_scipy()


rfft, irfft, fft, columns_rfft, columns_irfft = _load()


def partition_spectra(taps: np.ndarray, size: int, count: int, fft_size: int, dtype) -> np.ndarray:
    """The spectra of a filter's partitions, scaled for an unscaled inverse: `(count, fft_size // 2 + 1)`.

    They are computed in float64 and then rounded: the filter is transformed once, and every output carries its
    error.
    """
    spectra = np.empty((count, fft_size // 2 + 1), COMPLEX_OF[np.dtype(dtype)])
    for p in range(count):
        part = np.zeros(fft_size)
        cut = taps[p * size : (p + 1) * size]
        part[: len(cut)] = cut
        part /= fft_size
        spectra[p] = rfft(part)
    return spectra
