"""The single-precision kernels against float64, on the emulator."""

import numpy as np
import pytest
from single_host import SHAPES, Engine, Filter, reference


def snr(result, expected) -> float:
    noise = np.sum((result - expected) ** 2)
    return float(np.inf if noise == 0 else 10 * np.log10(np.sum(expected**2) / noise))


def decaying(rng, shape):
    """Noise that falls by 60 dB over the filter's length."""
    return (rng.standard_normal(shape) * np.exp(-6.9 * np.arange(shape[-1]) / shape[-1])).astype(np.float32)


@pytest.mark.parametrize("points", SHAPES)
def test_first(points, seed):
    rng = np.random.default_rng(seed)
    engine = Engine(SHAPES[points], seed)
    u = engine.device.put(rng.standard_normal((1, 1, points)).astype(np.float32))
    k = decaying(rng, (1, 1, points))
    y = engine.convolve(u, engine.spectrum(k, length=points, out_length=points), extent="whole")
    print(snr(y, reference(u, k)), engine.counters)
    assert snr(y, reference(u, k)) > 125
