"""The FFT, through scipy's extension module and through scipy.fft, against NumPy's in double precision."""

import subprocess
import sys

import numpy as np
import pytest

from longconv_audio.engines import fft
from tests.measures import snr

ROADS = {"extension": lambda: fft._from_extension(fft._extension()), "scipy": fft._from_scipy}


@pytest.fixture(params=ROADS)
def road(request):
    if request.param == "extension" and fft._extension() is None:
        pytest.skip("this scipy has another extension")
    return ROADS[request.param]()


@pytest.mark.parametrize("n", [2, 30, 1000, 4096])
@pytest.mark.parametrize("out", [False, True])
def test_real(rng, road, n, out):
    rfft, irfft, *_ = road
    x = rng.standard_normal((5, n))
    spectrum = np.empty((5, n // 2 + 1), complex) if out else None
    result = rfft(x, spectrum)
    assert snr(result, np.fft.rfft(x)) > 290
    if out:
        np.testing.assert_array_equal(spectrum, result)
    back = irfft(result, n, np.empty((5, n)) if out else None)
    assert snr(back, n * x) > 290


def test_single_precision_stays_single(rng, road):
    x = rng.standard_normal((4, 512)).astype(np.float32)
    assert road[0](x).dtype == np.complex64
    assert road[1](road[0](x), 512).dtype == np.float32


def test_overlapping_windows_need_no_copy(rng, road):
    x = rng.standard_normal(1000)
    windows = np.lib.stride_tricks.sliding_window_view(x, 400)[::100]
    assert snr(road[0](windows), np.fft.rfft(windows)) > 290


def test_complex_forth_and_back(rng, road):
    x = rng.standard_normal((3, 60)) + 1j * rng.standard_normal((3, 60))
    assert snr(road[2](x), np.fft.fft(x)) > 290
    assert snr(road[2](road[2](x), forward=False), 60 * x) > 290


def test_columns_forth_and_back(rng, road):
    x = rng.standard_normal((16, 30))
    spectrum = np.empty((9, 38), complex)[:, :30]
    road[3](x, spectrum)
    assert snr(spectrum, np.fft.rfft(x, axis=0)) > 290
    assert snr(road[4](spectrum, 16, np.empty((16, 30))), 16 * x) > 290


def test_complex_in_place(rng, road):
    x = rng.standard_normal((3, 60)) + 1j * rng.standard_normal((3, 60))
    padded = np.zeros((3, 68), complex)
    padded[:, :60] = x
    road[2](padded[:, :60], out=padded[:, :60])
    assert snr(padded[:, :60], np.fft.fft(x)) > 290
    assert not padded[:, 60:].any()


def test_partition_spectra_cut_and_pad(rng):
    taps = rng.standard_normal(50)
    spectra = fft.partition_spectra(taps, 20, 4, 64, np.float64)
    assert spectra.shape == (4, 33)
    parts = [np.fft.irfft(row, 64) * 64 for row in spectra]
    np.testing.assert_allclose(np.concatenate([part[:20] for part in parts])[:50], taps, atol=1e-13)
    np.testing.assert_allclose(parts[2][10:], 0, atol=1e-13)
    assert not spectra[3].any()


@pytest.mark.parametrize("order", ["scipy.fft, {}", "{}, scipy.fft", "scipy.signal, {}", "{}, torch, scipy.fft"])
def test_scipy_shares_the_extension(order):
    """Loaded a second time under another name, it crashes some interpreters when they end."""
    names = order.format("longconv_audio.engines.fft")
    if "torch" in names:
        pytest.importorskip("torch")
    code = (
        f"import {names}, numpy as np; x = np.arange(8.0); "
        "assert abs(scipy.fft.rfft(x) - longconv_audio.engines.fft.rfft(x)).max() < 1e-12"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
