"""Magnitude, phase and group delay against closed forms."""

import numpy as np
import pytest

from longconv_audio.errors import OptionError
from longconv_audio.plotting import responses
from longconv_audio.plotting.responses import group_delays, magnitude_levels, phases, wrapped

RATE = 48000
POLE = 0.9


def one_pole(taps=400):
    return POLE ** np.arange(taps)[None]


def expected(frequencies):
    """The response of y[n] = x[n] + POLE y[n - 1] and its group delay in seconds."""
    w = 2 * np.pi * frequencies / RATE
    delay = (POLE * np.cos(w) - POLE**2) / (1 - 2 * POLE * np.cos(w) + POLE**2)
    return 1 / (1 - POLE * np.exp(-1j * w)), delay / RATE


def test_a_first_order_filter():
    frequencies, levels = magnitude_levels(one_pole(), RATE)
    response, delay = expected(frequencies)
    assert np.abs(levels[0] - 20 * np.log10(np.abs(response))).max() < 1e-9
    _, radians, taken = phases(one_pole(), RATE)
    assert taken == 0
    assert np.abs(radians[0] - np.angle(response)).max() < 1e-9
    assert np.abs(group_delays(one_pole(), RATE)[1][0] - delay).max() < 1e-9


def test_a_smooth_response_is_not_changed_by_smoothing():
    frequencies, levels = magnitude_levels(one_pole(), RATE, 24)
    response, delay = expected(frequencies)
    assert np.abs(levels[0] - 20 * np.log10(np.abs(response))).max() < 0.05
    _, radians, _ = phases(one_pole(), RATE, 24)
    assert np.abs(radians[0] - np.angle(response)).max() < 0.02
    assert np.abs(group_delays(one_pole(), RATE, 24)[1][0] - delay).max() < 0.02 * delay.max()


@pytest.mark.parametrize("smoothing", [None, 6])
def test_a_delay(smoothing):
    h = np.zeros((2, 500))
    h[0, 70] = 2.0
    h[1, 82] = -1.0
    frequencies, levels = magnitude_levels(h, RATE, smoothing)
    assert np.abs(levels - [[20 * np.log10(2)], [0]]).max() < 1e-9
    _, seconds = group_delays(h, RATE, smoothing)
    assert np.abs(seconds * RATE - [[70], [82]]).max() < 1e-6
    _, radians, taken = phases(h, RATE, smoothing)
    assert taken == 70
    assert np.abs(radians[0]).max() < 1e-9
    # The second channel stays 12 samples behind, and upside down; below, before the windows see it turn.
    low = frequencies < 300
    late = wrapped(radians[1] + np.pi + 2 * np.pi * frequencies * 12 / RATE)
    assert np.abs(late[low if smoothing else slice(None)]).max() < (0.01 if smoothing else 1e-8)


def test_smoothed_group_delay_weights_by_power():
    """A strong direct sound, and noise behind it in a notch: what is not heard counts for nothing."""
    h = np.zeros((1, 4000))
    h[0, 100], h[0, 3000] = 1.0, 0.1
    _, seconds = group_delays(h, RATE, 3)
    # The mean over whole periods of the ripple: sum of n h^2 over sum of h^2.
    assert seconds[0, 5000:-5000].mean() * RATE == pytest.approx((100 + 3000 * 0.01) / 1.01, rel=1e-3)


def test_what_has_no_response_has_no_phase_and_no_delay():
    h = np.stack([np.zeros(8), np.full(8, 0.125)])
    _, levels = magnitude_levels(h, RATE)
    assert np.all(levels[0] == -200)
    _, radians, _ = phases(h, RATE)
    _, seconds = group_delays(h, RATE)
    assert np.all(np.isnan(radians[0]))
    assert np.all(np.isnan(seconds[0]))
    # Eight equal taps have a zero at an eighth of the sample rate, and 3.5 samples of delay elsewhere.
    assert np.nanmax(np.abs(seconds[1] * RATE - 3.5)) < 1e-6
    assert np.isnan(seconds[1, responses.FEWEST_POINTS // 8])


def test_long_signals_over_frames_have_the_power_of_the_whole(monkeypatch, rng):
    h = rng.standard_normal((2, 40_000)) * np.linspace(0, 1, 40_000)
    h[0, 1:] += h[0, :-1]
    whole_frequencies, whole = magnitude_levels(h, RATE, 1)
    monkeypatch.setattr(responses, "LONGEST", 1000)
    monkeypatch.setattr(responses, "FRAME", 4096)
    frequencies, levels = magnitude_levels(h, RATE, 1)
    assert frequencies.size == 2049
    for row, other in zip(levels, whole, strict=True):
        assert np.abs(row - np.interp(frequencies, whole_frequencies, other))[100:].max() < 0.2


def test_wrapped():
    assert np.allclose(
        wrapped(np.array([0.5, 3.5, -3.5, 20.0])), [0.5, 3.5 - 2 * np.pi, 2 * np.pi - 3.5, 20 - 6 * np.pi]
    )


def test_recordings_have_no_phase():
    h = np.zeros((1, responses.MOST_SAMPLES + 1), dtype=np.int8)
    for response in (phases, group_delays):
        with pytest.raises(OptionError, match=r"of 4194305 samples: expected .* --seconds"):
            response(h, RATE)
