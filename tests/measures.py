"""Measures of error that the tests share."""

import numpy as np

# Signal-to-noise ratio, in dB, against a float64 convolution, that every mode of operation must reach.
REQUIRED = {"float32": 130.0, "complex64": 130.0, "float64": 280.0, "complex128": 280.0}


def snr(result, expected) -> float:
    """The ratio of the expected energy to that of the error, in dB; the expected must not be silence."""
    result, expected = np.asarray(result), np.asarray(expected)
    assert result.shape == expected.shape
    signal, noise = np.sum(np.abs(expected) ** 2), np.sum(np.abs(result - expected) ** 2)
    assert signal > 0
    return np.inf if noise == 0 else 10 * np.log10(signal / noise)
