"""The air's absorption against the table of ISO 9613-2."""

import numpy as np
import pytest

from longconv_audio.errors import OptionError
from longconv_audio.filters import air_absorption
from longconv_audio.filters.bands import octave_bands


@pytest.mark.parametrize(
    ("temperature", "humidity", "decibels"),
    [
        (10, 70, [0.1, 0.4, 1.0, 1.9, 3.7, 9.7, 32.8, 117]),
        (20, 70, [0.1, 0.3, 1.1, 2.8, 5.0, 9.0, 22.9, 76.6]),
        (30, 70, [0.1, 0.3, 1.0, 3.1, 7.4, 12.7, 23.1, 59.3]),
        (15, 20, [0.3, 0.6, 1.2, 2.7, 8.2, 28.2, 88.8, 202]),
        (15, 50, [0.1, 0.5, 1.2, 2.2, 4.2, 10.8, 36.2, 129]),
        (15, 80, [0.1, 0.3, 1.1, 2.4, 4.1, 8.3, 23.7, 82.8]),
    ],
)
def test_octaves_from_63_hz_to_8_khz(temperature, humidity, decibels):
    """ISO 9613-2:1996, table 2, in dB per kilometre, which has three digits and one behind the point."""
    centres = np.array([band.centre for band in octave_bands(1, 63, 8000)])
    found = 1000 * air_absorption(centres, humidity, temperature)
    assert np.abs(found - decibels).max() < 0.6
    assert np.allclose(found, decibels, rtol=0.005, atol=0.051)


def test_refusals():
    for arguments, words in (((101,), "humidity"), ((50, 80), "temperature"), ((np.nan,), "humidity")):
        with pytest.raises(OptionError, match=words):
            air_absorption([1000.0], *arguments)
