"""Undoing an excitation: the spectrum that turns what was recorded into an impulse response."""

from __future__ import annotations

import numpy as np
import scipy.fft

from longconv_audio.errors import OptionError

from .excitation import Excitation
from .spectra import smooth_octaves

METHODS = ("inversion", "inverse-filter")

# Regularisation as a part of the excitation's power. Within the band it costs the response 1e-6 of itself (-120 dB);
# outside, 1 keeps what is not there from being raised out of the noise.
INSIDE, OUTSIDE = 1e-6, 1.0


def inverse_spectrum(excitation: Excitation, size: int, method: str = "inversion") -> np.ndarray:
    """The spectrum G by which a recording's is multiplied: X G is 1 within the band and falls to 0 beyond it.

    Args:
        excitation: of which X is the spectrum.
        size: points of the transform.
        method: "inversion" is conj(X) / (|X|^2 + beta(f) S), with S the excitation's power smoothed over third
            octaves and beta rising from the band to its edges (O. Kirkeby, P. A. Nelson, "Digital filter design for
            inversion problems in sound reproduction", JAES 47(7/8), 1999): exact within the band. "inverse-filter"
            is the exponential sweep reversed, its envelope falling by 6 dB per octave (Farina 2000): conj(X) over
            the power that a sweep without ends has, so the ripple of the sweep's ends stays.

    Returns:
        (size // 2 + 1,), complex.

    Raises:
        OptionError: an unknown method, or the inverse filter of what is no exponential sweep.
    """
    if method not in METHODS:
        raise OptionError(f"--method {method}: expected {' or '.join(METHODS)}")
    spectrum = scipy.fft.rfft(excitation.signal, size)
    frequencies = scipy.fft.rfftfreq(size, 1 / excitation.samplerate)
    (low, high), (start, end) = excitation.band, excitation.edges
    if method == "inverse-filter":
        if excitation.rate_seconds is None:
            raise OptionError(
                "--method inverse-filter: the excitation is not known to be an exponential sweep: pass --start and "
                "--end of one, or use inversion"
            )
        # By stationary phase |X(f)|^2 = A^2 L / (4 f) fs^2; A is the peak of a signal that holds its level.
        amplitude = np.abs(excitation.signal).max()
        scale = 4 / (amplitude**2 * excitation.rate_seconds * excitation.samplerate**2)
        return spectrum.conj() * (scale * frequencies)
    power = np.abs(spectrum) ** 2
    typical = smooth_octaves(frequencies, np.sqrt(power), 3) ** 2
    first, last = np.searchsorted(frequencies, (low, high))
    last = min(int(last), len(frequencies) - 1)
    typical[:first], typical[last:] = typical[first], typical[last]
    octaves = np.log2(np.maximum(frequencies, frequencies[1] / 2))
    below = (np.log2(low) - octaves) / max(np.log2(low / start), 1e-9)
    above = (octaves - np.log2(high)) / max(np.log2(end / high), 1e-9)
    outside = np.clip(np.maximum(below, above), 0, 1)
    # 1 less the squared power of a half cosine, which is what a fade makes of the sweep's power: the response then
    # leaves the band as smoothly as the sweep does, and noise there is raised no more than within.
    beta = np.maximum(INSIDE, OUTSIDE * (1 - np.cos(0.5 * np.pi * outside) ** 4))
    return spectrum.conj() / (power + beta * typical)
