"""Lengths: taps, transition and stopband from two of the three, as scipy has them."""

import numpy as np
import pytest
import scipy.signal

from longconv_audio.errors import OptionError
from longconv_audio.filters.orders import LOBES, MOST_TAPS, kaiser_taps, kaiser_transition, plan_bands

RATE = 48_000


@pytest.mark.parametrize("stopband", [21, 40, 60, 96.5, 180])
@pytest.mark.parametrize("transition", [0.5, 37, 5000])
def test_kaiser_orders_are_scipys(stopband, transition):
    theirs, beta = scipy.signal.kaiserord(stopband, transition / (RATE / 2))
    ours = plan_bands("lowpass", (10_000,), RATE, transition=transition, stopband=stopband)
    assert ours.taps in (theirs, theirs + 1)
    assert ours.taps % 2 == 1
    assert ours.beta == pytest.approx(beta)
    # The estimate turned round: one tap fewer would need a wider transition.
    taps = kaiser_taps(stopband, transition, RATE)
    assert kaiser_transition(stopband, taps, RATE) <= transition < kaiser_transition(stopband, taps - 2, RATE)


def test_two_give_the_third():
    design = plan_bands("lowpass", (1000,), RATE, taps=801, transition=200)
    assert design.stopband == pytest.approx(scipy.signal.kaiser_atten(801, 200 / 24_000))
    design = plan_bands("lowpass", (1000,), RATE, taps=801, stopband=60)
    assert design.transition == pytest.approx((60 - 7.95) / (2.285 * 3.141592653589793 * 800) * 24_000)
    assert plan_bands("lowpass", (1000,), RATE, taps=801).stopband == 80
    design = plan_bands("bandpass", (1000, 4000), RATE)
    assert (design.transition, design.stopband) == (100, 80)
    # A tenth of the edge would leave nothing above 23.9 kHz.
    assert plan_bands("lowpass", (23_900,), RATE).fits


@pytest.mark.parametrize(("window", "lobes"), LOBES.items())
def test_main_lobes(window, lobes):
    """Between its first zeros, a window's transform is as wide as the table says."""
    taps = 255
    spectrum = np.abs(np.fft.rfft(scipy.signal.get_window(window, taps, fftbins=False), 64 * taps))
    spectrum[: 64 // 2] = spectrum[0]  # a flat top need not fall at once
    first = int(np.argmax(np.diff(spectrum) > 0)) / 64
    assert first == pytest.approx(lobes / 2, rel=0.03)
    assert plan_bands("highpass", (5000,), RATE, transition=480, window=window).taps == 100 * lobes + 1


def test_bands():
    design = plan_bands("lowpass", (1000,), RATE, transition=200)
    assert (design.passbands, design.stopbands) == ([(0, 900)], [(1100, 24_000)])
    design = plan_bands("highpass", (1000,), RATE, transition=200)
    assert (design.passbands, design.stopbands) == ([(1100, 24_000)], [(0, 900)])
    design = plan_bands("bandpass", (1000, 2000), RATE, transition=200)
    assert (design.passbands, design.stopbands) == ([(1100, 1900)], [(0, 900), (2100, 24_000)])
    design = plan_bands("bandstop", (1000, 2000), RATE, transition=200)
    assert (design.passbands, design.stopbands) == ([(0, 900), (2100, 24_000)], [(1100, 1900)])
    assert design.fits
    short = plan_bands("bandpass", (100, 23_000), RATE, taps=31)
    assert not short.fits
    assert len(short.stopbands) == 0


@pytest.mark.parametrize(
    ("kind", "edges", "options", "message"),
    [
        ("lowpass", (0,), {}, "lowpass at 0 Hz: expected above 0 and below half the sample rate, 24000 Hz"),
        ("lowpass", (24_000,), {}, "lowpass at 24000 Hz"),
        ("lowpass", (float("nan"),), {}, "lowpass at nan Hz"),
        ("bandpass", (2000, 1000), {}, "bandpass from 2000 to 1000 Hz: expected the lower edge first"),
        ("bandstop", (1000, 1000), {}, "expected the lower edge first"),
        ("bandstop", (1000,), {}, "bandstop with 1 edges"),
        ("comb", (1000,), {}, "comb with 1 edges"),
        ("lowpass", (1000,), {"taps": 0}, "taps=0: expected a whole number from 3"),
        ("lowpass", (1000,), {"taps": -5}, "taps=-5"),
        ("lowpass", (1000,), {"taps": 10.5}, "taps=10.5"),
        ("lowpass", (1000,), {"taps": 10**9}, "taps=1000000000"),
        ("highpass", (1000,), {"taps": 100}, "pass 101 or 99"),
        ("bandstop", (1000, 2000), {"taps": 100}, "pass 101 or 99"),
        ("lowpass", (1000,), {"transition": 0}, "transition=0 Hz"),
        ("lowpass", (1000,), {"transition": 2000}, "below 2000 Hz"),
        ("bandpass", (1000, 1100), {"transition": 100}, "below 100 Hz"),
        ("lowpass", (1000,), {"transition": 1e-300}, f"needs more than {MOST_TAPS} taps"),
        ("lowpass", (1000,), {"transition": 1e-300, "window": "hann"}, f"needs more than {MOST_TAPS} taps"),
        ("lowpass", (1000,), {"stopband": 20}, "stopband=20 dB: expected 21 to 200"),
        ("lowpass", (1000,), {"stopband": float("inf")}, "stopband=inf dB"),
        ("lowpass", (1000,), {"stopband": 60, "window": "hann"}, "stopband=60 with window=hann"),
        ("lowpass", (1000,), {"window": "hat"}, "window=hat: expected kaiser, boxcar"),
        ("lowpass", (1000,), {"taps": 99, "transition": 9, "stopband": 60}, "leave one out"),
    ],
)
def test_refusals(kind, edges, options, message):
    with pytest.raises(OptionError) as caught:
        plan_bands(kind, edges, RATE, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("rate", [0, -48_000, float("nan"), float("inf")])
def test_rates(rate):
    with pytest.raises(OptionError, match="samplerate"):
        plan_bands("lowpass", (1000,), rate)
