"""Delays by parts of a sample, and 90 degrees."""

import numpy as np
import pytest

from longconv_audio.errors import OptionError
from longconv_audio.filters import phase_shifters as shifters

RATE = 48_000


def response(h, frequencies):
    n = np.arange(len(h))
    return np.exp(-2j * np.pi * np.outer(frequencies / RATE, n)) @ h


@pytest.mark.parametrize("samples", [123.4567, 123.5, 40.01, 999.99])
@pytest.mark.parametrize("accuracy", [30, 60, 80, 120])
def test_delays(samples, accuracy):
    plan = shifters.plan_delay(samples + 20, RATE, accuracy=accuracy)
    h = shifters.realize_delay(plan)
    frequencies = np.concatenate([np.linspace(0, 20_000, 200), np.linspace(20_000, plan.band[1], 400)])
    error = np.abs(response(h, frequencies) - np.exp(-2j * np.pi * frequencies / RATE * (samples + 20)))
    assert plan.band == (0, 0.9 * RATE / 2)
    # Within 3 dB of the estimate.
    assert 20 * np.log10(error.max()) < 3 - accuracy
    assert shifters.phase_error(h, plan) == pytest.approx(20 * np.log10(error.max()), abs=0.1)


def test_a_delayed_sine_is_the_sine_later():
    n = np.arange(2000)
    x, h = np.sin(0.3 * n), shifters.delay(70.3, RATE, accuracy=100)
    late = np.convolve(x, h)[300:1900]
    assert np.abs(late - np.sin(0.3 * (n[300:1900] - 70.3))).max() < 1e-5
    # A tenth of a sample beside that, it would not be.
    assert np.abs(late - np.sin(0.3 * (n[300:1900] - 70.4))).max() > 1e-2


def test_whole_delays_are_one_tap():
    for samples in (0, 1, 480):
        h = shifters.delay(samples, RATE)
        assert h.tolist() == [0.0] * samples + [1.0]
        assert shifters.phase_error(h, shifters.plan_delay(samples, RATE)) < -280


def test_of_a_delay_two_give_the_third():
    assert shifters.plan_delay(99.5, RATE, taps=32, bandwidth=20_000).accuracy == pytest.approx(76.1, abs=0.1)
    assert shifters.plan_delay(99.5, RATE, taps=32, accuracy=60).band[1] == pytest.approx(20_870, abs=1)
    assert shifters.plan_delay(99.5, RATE, bandwidth=20_000, accuracy=60).taps == 27
    plan = shifters.plan_delay(99.5, RATE, taps=33)
    assert plan.accuracy == 80
    h = shifters.realize_delay(plan)
    assert len(np.flatnonzero(h)) in (32, 33)


@pytest.mark.parametrize("taps", [101, 102, 4001])
@pytest.mark.parametrize("accuracy", [40, 60, 90])
def test_hilbert_transformers(taps, accuracy):
    plan = shifters.plan_hilbert(RATE, taps, accuracy=accuracy)
    h = shifters.realize_hilbert(plan)
    assert np.array_equal(h, -h[::-1])
    frequencies = np.linspace(*plan.band, 500)
    ours = response(h, frequencies) * np.exp(2j * np.pi * frequencies / RATE * (taps - 1) / 2)
    # 90 degrees late at every frequency, but for rounding, and of magnitude 1 within 3 dB of the estimate.
    assert np.abs(ours.real).max() < 1e-11
    assert np.abs(ours.imag + 1).max() < 1.42 * 10 ** (-accuracy / 20)
    assert shifters.phase_error(h, plan, -90) < 3 - accuracy
    top = abs(response(h, np.array([RATE / 2]))[0])
    assert top < 1e-12 if taps % 2 else top > 0.99


def test_hilbert_makes_sines_of_cosines():
    h = shifters.hilbert(RATE, lowest=300)
    n, middle = np.arange(4000), (len(h) - 1) // 2
    found = np.convolve(np.cos(0.2 * n), h)[1000 + middle : 3000 + middle]
    assert np.abs(found - np.sin(0.2 * n[1000:3000])).max() < 1.5e-3


def test_of_a_hilbert_transformer_two_give_the_third():
    plan = shifters.plan_hilbert(RATE)
    assert (plan.band, plan.accuracy, plan.latency) == ((20, 23_980), 60, (plan.taps - 1) / 2)
    assert shifters.plan_hilbert(RATE, taps=101, lowest=1000).accuracy == pytest.approx(61.8, abs=0.1)
    assert shifters.plan_hilbert(RATE, taps=102).band[1] == 24_000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shifters.delay(-1, RATE), "a delay of -1 samples"),
        (lambda: shifters.delay(float("nan"), RATE), "a delay of nan samples"),
        (lambda: shifters.delay(1e9, RATE), "expected 0 to 16777216"),
        (lambda: shifters.delay(3.5, RATE), "its interpolator of 57 taps needs 28.5 at least"),
        (lambda: shifters.delay(99.5, RATE, bandwidth=24_000), "bandwidth=24000 Hz: expected above 0 and below half"),
        (lambda: shifters.delay(99.5, RATE, accuracy=250), "stopband=256 dB"),
        (lambda: shifters.delay(99.5, RATE, taps=3), "taps=3: too few for 80 dB"),
        (lambda: shifters.delay(99.5, RATE, taps=32, bandwidth=9000, accuracy=60), "leave one out"),
        (lambda: shifters.delay(99.5, 0), "samplerate=0"),
        (lambda: shifters.hilbert(RATE, taps=1), "taps=1: expected"),
        (lambda: shifters.hilbert(RATE, taps=5), "taps=5: too few"),
        (lambda: shifters.hilbert(RATE, lowest=0), "lowest=0 Hz"),
        (lambda: shifters.hilbert(RATE, lowest=12_000), "below a quarter of the rate, 12000"),
        (lambda: shifters.hilbert(RATE, taps=99, lowest=100, accuracy=60), "leave one out"),
        (lambda: shifters.hilbert(-1), "samplerate=-1"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(OptionError) as caught:
        call()
    assert message in str(caught.value)
