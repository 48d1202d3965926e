"""Filters of bands: as scipy has them, as good as was asked, and fast."""

import time

import numpy as np
import pytest
import scipy.signal

from longconv_audio.errors import OptionError
from longconv_audio.filters import design
from longconv_audio.filters.band_report import measure_bands
from longconv_audio.filters.orders import plan_bands
from longconv_audio.filters.phase import mixed_latency

RATE = 48_000
CASES = [("lowpass", (1000,)), ("highpass", (1000,)), ("bandpass", (300, 5000)), ("bandstop", (300, 5000))]
MILLION = 1_000_001


@pytest.mark.parametrize(("kind", "edges"), CASES)
@pytest.mark.parametrize("window", ["hann", "blackman", "kaiser"])
def test_the_window_method_is_scipys(kind, edges, window):
    options = {"stopband": 70} if window == "kaiser" else {}
    found = design.design_bands(kind, edges, RATE, taps=601, window=window, **options)
    theirs = scipy.signal.firwin(
        601,
        edges,
        window=("kaiser", scipy.signal.kaiser_beta(70)) if window == "kaiser" else window,
        pass_zero=kind,
        fs=RATE,
    )
    assert np.abs(found - theirs).max() < 1e-14


def test_the_windowed_sinc_in_closed_form():
    found = design.lowpass(1000, RATE, taps=1023, window="hann")
    n = np.arange(1023) - 511
    closed = np.sinc(2 * 1000 / RATE * n) * np.cos(np.pi * n / 1022) ** 2
    assert np.abs(found - closed / closed.sum()).max() < 1e-15


@pytest.mark.parametrize(("kind", "edges"), CASES)
@pytest.mark.parametrize("stopband", [50, 100])
def test_what_was_asked_for_is_achieved(kind, edges, stopband):
    plan = plan_bands(kind, edges, RATE, transition=150, stopband=stopband)
    h = design.realize_bands(plan)
    assert np.array_equal(h, h[::-1])
    report = measure_bands(h, plan)
    # Where two edges are near, their errors add, to twice the estimate at the most.
    assert report.stopband_db > stopband - (1 if len(edges) == 1 else 6)
    assert report.passband_ripple_db < 2 * 8.7 * 10 ** (-stopband / 20)
    # By 2 % of a transition and more, one tap out of place would move them.
    assert report.edges_hz == pytest.approx(edges, abs=3)


@pytest.mark.parametrize(("kind", "edges"), CASES)
def test_minimum_phase_keeps_the_magnitude(kind, edges):
    plan = plan_bands(kind, edges, RATE, transition=150, stopband=60)
    linear, minimum = design.realize_bands(plan), design.realize_bands(plan, phase="minimum")
    assert len(minimum) == len(linear)
    report = measure_bands(minimum, plan)
    assert report.stopband_db > measure_bands(linear, plan).stopband_db - 1
    assert report.passband_ripple_db < 0.05
    assert report.edges_hz == pytest.approx(edges, abs=2)
    # Half of its energy is there long before the middle.
    energy = np.cumsum(minimum**2)
    assert np.searchsorted(energy, energy[-1] / 2) < len(minimum) / 10


def test_mixed_phase_lies_between():
    plan = plan_bands("lowpass", (1000,), RATE, transition=100, stopband=80)
    peaks, rings = [], []
    for mix in (0.0, 0.1, 0.4, 0.8):
        h = design.realize_bands(plan, phase="mixed", mix=mix)
        report = measure_bands(h, plan)
        assert report.passband_ripple_db < 0.02
        assert report.stopband_db > 68
        peak = int(np.abs(h).argmax())
        peaks.append(peak)
        # What rings before time zero.
        rings.append(np.sum(h[: mixed_latency(mix, len(h))] ** 2) / np.sum(h**2))
    assert peaks == sorted(peaks)
    assert rings == sorted(rings)
    assert np.array_equal(
        design.realize_bands(plan, phase="mixed", mix=0.0), design.realize_bands(plan, phase="minimum")
    )


@pytest.mark.parametrize(
    ("options", "worst"),
    [
        ({}, 79.5),
        ({"phase": "minimum"}, 79),
        ({"method": "least-squares"}, 71),
    ],
)
def test_a_million_taps_in_under_a_second(options, worst):
    plan = plan_bands("lowpass", (1000,), RATE, taps=MILLION)
    seconds = []
    # Processor time, the best of some: other programs have their share of the machine.
    while not seconds or (len(seconds) < 4 and min(seconds) > 0.9):
        start = time.process_time()
        h = design.realize_bands(plan, **options)
        seconds.append(time.process_time() - start)
    assert h.shape == (MILLION,)
    assert min(seconds) < 1.0
    report = measure_bands(h, plan)
    assert report.stopband_db > worst
    assert report.passband_ripple_db < 0.003
    assert report.edges_hz == pytest.approx([1000], abs=0.01)


def test_measurements_on_known_filters():
    """A moving average of four taps, the largest sidelobe of which is -11.3 dB and the first zero at a quarter."""
    plan = plan_bands("lowpass", (8000,), RATE, taps=5, transition=8000)
    report = measure_bands(np.full(4, 0.25), plan)
    frequencies = np.linspace(12_000, 24_000, 100_000)
    x = np.pi * frequencies / RATE
    assert report.stopband_db == pytest.approx(-20 * np.log10(np.abs(np.sin(4 * x) / np.sin(x) / 4).max()), abs=1e-3)
    x = np.pi * 4000 / RATE
    assert report.passband_ripple_db == pytest.approx(-20 * np.log10(np.sin(4 * x) / np.sin(x) / 4), abs=0.01)
    x = np.pi * report.edges_hz[0] / RATE
    assert np.sin(4 * x) / np.sin(x) / 4 == pytest.approx(0.5, abs=1e-5)
    # Too short for a passband beside its transition: no number.
    short = plan_bands("lowpass", (100,), RATE, taps=31)
    assert measure_bands(design.realize_bands(short), short).passband_ripple_db is None
    assert measure_bands(np.ones(1), plan).edges_hz == (None,)


def test_refusals():
    for options, message in (
        ({"phase": "maximum"}, "phase=maximum: expected linear, minimum or mixed"),
        ({"method": "remez"}, "method=remez: expected window or least-squares"),
        ({"method": "least-squares", "window": "hann"}, "window=hann with least squares"),
        ({"method": "least-squares", "taps": 100}, "expected an odd number, such as 101"),
        ({"method": "least-squares", "taps": 31}, "more than there is room for"),
        ({"phase": "mixed", "mix": 1.5}, "mix=1.5"),
    ):
        with pytest.raises(OptionError, match=message):
            design.lowpass(1000, RATE, **options)
