"""Harmonic distortion of polynomials, whose harmonics are known."""

import numpy as np
import pytest
import scipy.fft
import scipy.signal

from longconv_audio.filters import Sweep, deconvolve
from tests.filters.measuring import RATE, decay, drifted, error_db


@pytest.fixture
def room(rng):
    return decay(rng)


class TestDistortion:
    # A cubic's third harmonic ends at the rate's half: nothing is folded back.
    SWEEP = Sweep(48_000, start=14, end=7900, seconds=6, after=0.5, level=-3)

    def test_of_a_cubic(self, rng):
        a, amplitude = 0.2, 10 ** (-3 / 20)
        x = self.SWEEP.signal()[0]
        y = x + a * x**3
        found = deconvolve(y + 1e-5 * rng.standard_normal(len(y)), 48_000, self.SWEEP, drift="none")
        # (A sin)^3 = A^3 (3 sin - sin of three times the angle) / 4.
        gain = 1 + 0.75 * a * amplitude**2
        thd = 100 * 0.25 * a * amplitude**2 / gain
        assert error_db(found, np.array([gain])) < -60
        distortion = found.distortion[0]
        bands = [band for band in distortion.bands if 3 * band.frequency < 6000]
        assert len(bands) > 15
        for band in bands:
            assert abs(band.thd_percent / thd - 1) < 0.05
            assert abs(band.orders_percent[1] / thd - 1) < 0.05
            assert abs(band.thd_db - 20 * np.log10(thd / 100)) < 0.4
            assert (band.orders_percent[2] or 0) < 0.01 * thd  # no fourth harmonic
            assert band.noise_percent < 0.1
        assert abs(distortion.orders_percent[1] / thd - 1) < 0.05
        third = found.harmonics[1, 0]
        assert abs(int(np.abs(third).argmax()) - found.lead) <= 1

    def test_of_a_square_and_of_nothing(self, rng):
        a, amplitude = 0.05, 10 ** (-3 / 20)
        x = self.SWEEP.signal()[0]
        noise = 1e-5 * rng.standard_normal(len(x))
        found = deconvolve(x + a * x**2 + noise, 48_000, self.SWEEP, drift="none").distortion[0]
        middle = [band for band in found.bands if 30 < band.frequency < 3000]
        assert len(middle) > 15
        for band in middle:
            assert abs(band.orders_percent[0] / (100 * 0.5 * a * amplitude) - 1) < 0.05
        clean = deconvolve(x + noise, 48_000, self.SWEEP, drift="none").distortion[0]
        assert all(band.thd_percent is None or band.thd_percent < 0.01 for band in clean.bands)
        assert deconvolve(x, 48_000, self.SWEEP, drift="none", orders=1).distortion is None

    def test_orders_add_up_by_their_power_and_noise_is_none(self, rng):
        a, b, amplitude = 0.1, 0.2, 10 ** (-3 / 20)
        x = self.SWEEP.signal()[0]
        gain = 1 + 0.75 * b * amplitude**2
        second, third = 100 * 0.5 * a * amplitude / gain, 100 * 0.25 * b * amplitude**2 / gain
        y = x + a * x**2 + b * x**3 + 1e-5 * rng.standard_normal(len(x))
        found = deconvolve(y, 48_000, self.SWEEP, drift="none").distortion[0]
        for band in (band for band in found.bands if 30 < band.frequency < 2000):
            assert abs(band.thd_percent / np.hypot(second, third) - 1) < 0.05
            assert abs(band.orders_percent[0] / second - 1) < 0.05
        noise = 0.03 * rng.standard_normal(len(x))
        found = deconvolve(x + noise, 48_000, self.SWEEP, drift="none").distortion[0]
        percents = [percent for band in found.bands for percent in band.orders_percent]
        assert sum(percent is not None for percent in percents) <= 0.05 * len(percents)
        assert all(band.noise_percent > 0.1 for band in found.bands)

    def test_noise_has_no_harmonics(self, rng):
        sweep = Sweep(RATE, start=20, end=7600, seconds=3, after=0.5)
        x = sweep.signal()[0]
        for _ in range(8):
            found = deconvolve(x + 1e-3 * rng.standard_normal(len(x)), RATE, sweep, drift="none").distortion[0]
            assert found.thd_percent is None
            assert len(found.bands) > 15

    def test_beside_a_room_noise_and_drift(self, room, rng):
        """All at once, as the world has it."""
        sweep = Sweep(RATE, start=14, end=2600, seconds=4, after=0.7, repeats=2)
        x = sweep.signal()[0]
        y = drifted(scipy.signal.fftconvolve(x + 0.1 * x**3, room), 100e-6)
        gain = 1 + 0.075 * 10 ** (-6 / 10)
        found = deconvolve(y, RATE, sweep)
        assert abs(found.drift_ppm - 100) < 1e-3
        assert error_db(found, gain * room) < -60
        found = deconvolve(y + 1e-2 * rng.standard_normal(len(y)), RATE, sweep)
        low, high = found.band
        variance = 1e-4 / 2 * 4 * (high**2 - low**2) / (10 ** (-6 / 10) * sweep.rate_seconds * RATE**3)
        # The response beyond the band is no part of the comparison.
        points = np.abs(scipy.fft.rfft(room, 1 << 16)) ** 2
        inside = slice(round(low / RATE * (1 << 16)), round(high / RATE * (1 << 16)))
        energy = gain**2 * 2 * np.sum(points[inside]) / (1 << 16)
        expected = 10 * np.log10(variance * found.taps.shape[1] / energy)
        assert abs(error_db(found, gain * room) - expected) < 1
