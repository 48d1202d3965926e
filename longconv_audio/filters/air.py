"""How much of a sound the air takes."""

from __future__ import annotations

import numpy as np

from longconv_audio.errors import OptionError


def air_absorption(frequencies, humidity: float, temperature: float = 20.0) -> np.ndarray:
    """The attenuation of sound in air at normal pressure.

    Args:
        frequencies: in hertz, any shape.
        humidity: relative, in percent.
        temperature: in degrees Celsius.

    Returns:
        dB per metre, float64, shaped as the frequencies.

    Raises:
        OptionError: a humidity that is not within 0 to 100 %, or a temperature that is not within -20 to 50 degrees.

    Source: ISO 9613-1:1993, equations (3) to (5) and annex B.

    >>> 1000 * air_absorption([1000.0], humidity=70.0, temperature=10.0).round(5)
    array([3.66])
    """
    if not 0 <= humidity <= 100:
        raise OptionError(f"a humidity of {humidity:g} %: expected 0 to 100")
    if not -20 <= temperature <= 50:
        raise OptionError(f"a temperature of {temperature:g} degrees Celsius: expected -20 to 50")
    square = np.asarray(frequencies, dtype=np.float64) ** 2
    kelvin = temperature + 273.15
    ratio = kelvin / 293.15
    # The molar concentration of water vapour in percent; 273.16 K is the triple point of water.
    vapour = humidity * 10 ** (4.6151 - 6.8346 * (273.16 / kelvin) ** 1.261)
    oxygen = 24 + 4.04e4 * vapour * (0.02 + vapour) / (0.391 + vapour)
    nitrogen = ratio**-0.5 * (9 + 280 * vapour * np.exp(-4.170 * (ratio ** (-1 / 3) - 1)))
    relaxation = 0.01275 * np.exp(-2239.1 / kelvin) / (oxygen + square / oxygen)
    relaxation = relaxation + 0.1068 * np.exp(-3352.0 / kelvin) / (nitrogen + square / nitrogen)
    return 8.686 * square * (1.84e-11 * ratio**0.5 + ratio**-2.5 * relaxation)
