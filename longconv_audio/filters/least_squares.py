"""Filters of bands with the least mean square error, from tens of taps to a million."""

from __future__ import annotations

import numpy as np

from longconv_audio.errors import OptionError

from .orders import BandDesign

# Up to here scipy.signal.firls, which solves a dense system: a tenth of a second at this length.
FIRLS_TAPS = 2001

# Of the filter that a long one's window is taken from.
_PROTOTYPE_TAPS = 1001
# The product of taps and transition up to which firls is exact: about 150 dB. A steeper window serves for all beyond.
_MOST_PRODUCT = 10.0


def least_squares(design: BandDesign) -> np.ndarray:
    """The linear-phase filter whose mean square error over its bands is least; the transitions are left free.

    Args:
        design: an odd number of taps.

    Returns:
        float64, (taps,): up to FIRLS_TAPS as scipy.signal.firls has it. A longer filter is a sinc under the window
        that makes the error of a single edge least. That window depends on the product of taps and transition alone,
        and is taken from a short half-band filter of the same product. It is the least-squares filter but for what
        edges do to each other, to 0 Hz and to half the sample rate: from 4001 taps on, with ten transitions in
        between, its mean square error is within a tenth of the least there is.

    Raises:
        OptionError: an even number of taps; transitions that leave nothing of a band.
    """
    if design.taps % 2 == 0:
        raise OptionError(f"taps={design.taps} with least squares: expected an odd number, such as {design.taps + 1}")
    if not design.fits:
        raise OptionError(
            f"{design.taps} taps need transitions of {design.transition:.5g} Hz, more than there is room for beside "
            f"{' and '.join(f'{edge:g}' for edge in design.edges)} Hz: pass more taps, or method window"
        )
    return _firls(design) if design.taps <= FIRLS_TAPS else long_least_squares(design)


def long_least_squares(design: BandDesign) -> np.ndarray:
    """As `least_squares` has it for long filters, at any length."""
    middle = design.taps // 2
    n = np.arange(-middle, middle + 1)
    h = np.zeros(design.taps)
    h[middle] = design.kind in ("highpass", "bandstop")  # what passes above the last edge
    passes = design.kind in ("lowpass", "bandstop")  # below the first
    for edge in design.edges:
        step = 2 * edge / design.samplerate
        h += (1 if passes else -1) * step * np.sinc(step * n)
        passes = not passes
    return h * _window(design)


def _firls(design: BandDesign) -> np.ndarray:
    from scipy.signal import firls

    bands = sorted([*design.passbands, *design.stopbands])
    desired = [float(band in design.passbands) for band in bands]
    return firls(design.taps, np.ravel(bands), np.repeat(desired, 2), fs=design.samplerate)


def _window(design: BandDesign) -> np.ndarray:
    """Between the odd taps of the half-band filter (the even ones are 0) the window is a smooth curve."""
    from scipy.interpolate import CubicSpline
    from scipy.signal import firls

    product = min(design.taps * design.transition / design.samplerate, _MOST_PRODUCT)
    half = product / _PROTOTYPE_TAPS / 2
    prototype = firls(_PROTOTYPE_TAPS, [0, 0.25 - half, 0.25 + half, 0.5], [1, 1, 0, 0], fs=1)
    odd = np.arange(-(_PROTOTYPE_TAPS // 2) + 1, _PROTOTYPE_TAPS // 2, 2)
    window = CubicSpline(odd / _PROTOTYPE_TAPS, prototype[odd + _PROTOTYPE_TAPS // 2] / (0.5 * np.sinc(0.5 * odd)))
    later = window(np.arange(design.taps // 2 + 1) / design.taps) / window(0.0)
    return np.concatenate([later[:0:-1], later])
