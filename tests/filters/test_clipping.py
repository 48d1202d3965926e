"""Flat tops, and tops that are flat by rounding."""

import math

import numpy as np

from longconv_audio.filters import deconvolve
from longconv_audio.filters.clipping import find_clipping
from tests.filters.measuring import RATE, SWEEP, played


def test_clipping_is_found():
    t = np.arange(RATE) / RATE
    tone = 0.9 * np.sin(2 * np.pi * 101 * t)
    assert find_clipping(tone, RATE) == []
    # Low tones in few bits have flat tops without being clipped.
    coarse = np.round(np.sin(2 * np.pi * 20 * t) * 3000) / 32_768
    assert np.count_nonzero(coarse == coarse.max()) > 3
    assert find_clipping(coarse, RATE) == []
    clipped = np.stack([tone, np.clip(tone, -0.5, 0.6)])
    clipped[1, : RATE // 2] = 0
    (found,) = find_clipping(clipped, RATE)
    assert found.channel == 2
    assert found.samples == np.count_nonzero((clipped[1] == 0.6) | (clipped[1] == -0.5))
    assert 0.5 <= found.first_seconds < 0.51
    assert math.isclose(found.level, 0.6) or math.isclose(found.level, 0.5)
    # Four to six samples a period.
    high = np.clip(0.9 * np.sin(2 * np.pi * 1003.7 * t), -1, 0.5)
    (short,) = find_clipping(high, RATE)
    assert 0.9 * np.count_nonzero(high == 0.5) < short.samples <= np.count_nonzero(high == 0.5)
    y = played(SWEEP, np.ones(1))
    assert "channel 1" in deconvolve(np.clip(2 * y, -0.7, 0.7), RATE, SWEEP).warnings[0]
