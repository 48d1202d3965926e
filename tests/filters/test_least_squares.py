"""Least squares: scipy's on short filters, and next to it on long ones."""

import numpy as np
import pytest
import scipy.signal

from longconv_audio.errors import OptionError
from longconv_audio.filters import design
from longconv_audio.filters.band_report import measure_bands
from longconv_audio.filters.least_squares import least_squares, long_least_squares
from longconv_audio.filters.orders import plan_bands

RATE = 48_000
CASES = [("lowpass", (1000,)), ("highpass", (1000,)), ("bandpass", (3000, 9000)), ("bandstop", (3000, 9000))]


def firls(plan):
    bands = sorted(plan.passbands + plan.stopbands)
    gains = [[1, 1] if band in plan.passbands else [0, 0] for band in bands]
    return scipy.signal.firls(plan.taps, np.ravel(bands), np.ravel(gains), fs=RATE)


def mean_square(h, plan):
    """Over its bands, on a grid as fine as eight points a tap."""
    size = 8 * len(h)
    frequencies = np.fft.rfftfreq(size, 1 / RATE)
    zero_phase = np.fft.rfft(np.roll(np.pad(h, (0, size - len(h))), -(len(h) // 2))).real
    total = 0.0
    for bands, gain in ((plan.passbands, 1.0), (plan.stopbands, 0.0)):
        for low, high in bands:
            inside = (frequencies >= low) & (frequencies <= high)
            total += np.sum((zero_phase[inside] - gain) ** 2)
    return total


@pytest.mark.parametrize(("kind", "edges"), CASES)
@pytest.mark.parametrize(("taps", "transition"), [(31, 1500), (301, 300), (2001, 100)])
def test_scipys_on_short_filters(kind, edges, taps, transition):
    plan = plan_bands(kind, edges, RATE, taps=taps, transition=transition)
    assert np.abs(least_squares(plan) - firls(plan)).max() < 1e-12


@pytest.mark.parametrize(("kind", "edges"), CASES)
@pytest.mark.parametrize("product", [1, 3, 6, 8])
def test_long_filters_are_next_to_the_least(kind, edges, product):
    plan = plan_bands(kind, edges, RATE, taps=4001, transition=product * RATE / 4001)
    h = long_least_squares(plan)
    assert np.array_equal(h, h[::-1])
    least = mean_square(firls(plan), plan)
    assert mean_square(h, plan) < 1.1 * least
    # The window method is not: the bound above means something.
    assert mean_square(design.realize_bands(plan), plan) > 1.2 * least


def test_at_the_change_of_method():
    before = plan_bands("lowpass", (5000,), RATE, taps=2001, transition=120)
    after = plan_bands("lowpass", (5000,), RATE, taps=2003, transition=120)
    one, other = (measure_bands(least_squares(plan), plan) for plan in (before, after))
    assert one.stopband_db == pytest.approx(other.stopband_db, abs=1.5)
    assert len(least_squares(after)) == 2003


def test_steeper_than_it_can_be():
    """Beyond what double precision solves for, the stopband stays as deep as it gets."""
    for product in (10, 30, 300):
        plan = plan_bands("bandpass", (5000, 15_000), RATE, taps=50_001, transition=product * RATE / 50_001)
        report = measure_bands(least_squares(plan), plan)
        assert report.stopband_db > 135
        assert report.passband_ripple_db < 1e-5
        assert report.edges_hz == pytest.approx((5000, 15_000), abs=1e-3)


def test_refusals():
    with pytest.raises(OptionError, match="taps=100 with least squares: expected an odd number, such as 101"):
        least_squares(plan_bands("lowpass", (1000,), RATE, taps=100))
    with pytest.raises(OptionError, match="more than there is room for beside 1000 Hz"):
        least_squares(plan_bands("lowpass", (1000,), RATE, taps=31))
