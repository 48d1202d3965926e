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


# A spectrum has a peak where one of its bins is so many times their root mean square. White noise has none.
PEAK = 4.0


def error_level(result, expected, u, k) -> float:
    """The error of a convolution of two signals, in dB against the largest output that such signals can have.

    Rounding leaves errors in either spectrum that are as small a part of its norm as the last bit is of a number, and
    the other spectrum multiplies them. So the measure is ||u|| ||k||, in 2-norms, or ||y|| where that is more: its own
    rounding is in proportion to it, and ||y|| may be sqrt(K) times the product, as for a tone through a filter that is
    one.

    Where both are such lines, an error that falls into one bin of the one meets the peak of the other. It comes out
    like a signal of that norm at that frequency, whatever the frequency of the signal itself. The measure is then how
    loud that can be: ||u|| times the largest gain of k, or ||k|| times that of u, whichever is less.
    """
    u, k, expected = (np.asarray(x, np.float64) for x in (u, k, expected))
    bins = u.size + k.size - 1
    norms = np.linalg.norm(u) * np.linalg.norm(k)
    if not norms:
        return -np.inf if not np.any(result) else np.inf
    # The mean of a spectrum's squared magnitudes is the squared norm of the signal.
    crests = [np.abs(np.fft.rfft(x, bins)).max() / np.linalg.norm(x) for x in (u, k)]
    most = norms * (min(crests) if min(crests) > PEAK else 1.0)
    error = np.linalg.norm(result - expected)
    return 20 * np.log10(max(error, np.finfo(np.float64).tiny) / max(most, np.linalg.norm(expected)))
