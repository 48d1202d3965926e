"""The single-precision kernels against float64, on the emulator."""

import numpy as np
import pytest
from convolution import Convolution, assert_rows, decibel, snr

from longconv_audio.engines.cuda.specialisations import SINGLE_FACTORS, SingleShape

LEAST = 125.0  # dB, of the signal over the error; and below the product of the norms where that is not to be had
SHAPES = {shape.points: shape for shape in (SingleShape(*factors) for factors in SINGLE_FACTORS)}

# Every switch is tried at one size that fits a warp and at one that takes a block.
TWO_SIZES = pytest.mark.parametrize("points", [256, 4096])


def pink(normal, *shape):
    spectrum = np.fft.rfft(normal(*shape))
    spectrum[..., 1:] /= np.sqrt(np.arange(1, spectrum.shape[-1]))
    signal = np.fft.irfft(spectrum, shape[-1])
    return signal / np.std(signal)


def decaying(normal, *shape):
    """Taps that fall by 60 dB over the filter's length."""
    return normal(*shape) * np.exp(-6.9 * np.arange(shape[-1]) / shape[-1])


def check(c: Convolution, normal) -> None:
    """y and every gradient."""
    y = c.forward()
    assert_rows(y, c.expected(), LEAST)
    dy = normal(*y.shape)
    got, wanted = c.gradients(dy), c.expected_gradients(dy)
    assert got.keys() == wanted.keys()
    for name, result in got.items():
        if name in ("k", "d") and result.size <= 100:
            # A few numbers may come out near zero: held against what they sum.
            x = c.u if c.pre_gate is None else c.u * c.pre_gate
            g = dy if c.post_gate is None else dy * c.post_gate
            x, g = np.broadcast_to(x, (*y.shape[:2], x.shape[-1])), np.broadcast_to(g, y.shape)
            assert decibel(np.linalg.norm(x) * np.linalg.norm(g), result - wanted[name]) >= LEAST, name
        else:
            assert_rows(result, wanted[name], LEAST)


@pytest.mark.parametrize("points", SHAPES)
def test_every_size(points, normal, seed):
    # An odd length, in rows of which none but the first is aligned; more of them than a block works on at a time.
    length, batch = points - 3, 4 * SHAPES[points].rows + 1
    shape = (batch, 2, length)
    u = normal(*shape)
    u[1] = pink(normal, 2, length)
    u[: batch - 1] *= np.logspace(-4, 4, batch - 1)[:, None, None]
    c = Convolution(u, decaying(normal, 2, length), normal(*shape), normal(*shape), normal(2), seed=seed)
    check(c, normal)
    for name in ("convolve<", "convolve_backward<"):
        assert batch > c.launch(name)[1][1] * SHAPES[points].rows  # each block has several turns


@pytest.mark.parametrize("points", [1024, 16384])
def test_error_against_the_norms_of_input_and_filter(points, normal, seed):
    """Where the filter takes the signal away, no float32 FFT keeps the signal-to-noise ratio. Nor is the norm of a
    filter that heaps all of its energy up in one place of the spectrum (a moving sum) the measure: its gain is."""
    n = np.arange(points)
    signals = np.stack([np.ones(points), np.sin(0.777 * n), np.cos(np.pi * n), n == 5, np.zeros(points)])
    filters = np.zeros((5, points))
    filters[0, :2] = 1, -1
    filters[1, :3] = 1, -2, 1
    filters[2, points // 3] = 1
    filters[moving_sum := 3] = 1
    filters[4, -1] = -1e4
    u = np.repeat(signals[:, None], 5, axis=1)
    c = Convolution(u, filters, seed=seed)
    y, expected = c.forward(), c.expected()
    assert np.isfinite(y).all()
    assert not y[4].any()
    for signal, taps in np.ndindex(4, 5):
        gain = np.abs(np.fft.rfft(filters[taps])).max() if taps == moving_sum else np.linalg.norm(filters[taps])
        error = y[signal, taps] - expected[signal, taps]
        assert decibel(np.linalg.norm(u[signal, taps]) * gain, error) >= LEAST, (signal, taps)


@TWO_SIZES
@pytest.mark.parametrize("gate", [None, "pre_gate", "post_gate"])
def test_gates(points, gate, normal, seed):
    length = points - 5
    gates = {gate: normal(3, 2, length)} if gate else {}
    check(Convolution(normal(3, 2, length), decaying(normal, 1, 50), **gates, seed=seed), normal)


@TWO_SIZES
@pytest.mark.parametrize("filters", [(1,), (2,), (4,), (3, 1), (3, 4)], ids=str)
def test_filter_sharing(points, filters, normal, seed):
    k, d = decaying(normal, *filters, points // 2), normal(*filters[:-1], filters[-1] if filters[-1] == 4 else 1)
    check(Convolution(normal(3, 4, points - 1), k, d=d, seed=seed), normal)


@TWO_SIZES
def test_many_filters_on_one_input(points, normal, seed):
    check(Convolution(normal(2, 1, points - 2), decaying(normal, 3, points), seed=seed), normal)


@TWO_SIZES
def test_rows_with_gaps_between_them(points, normal, seed):
    check(Convolution(normal(2, 2, points - 4), decaying(normal, 2, points), shift=1, seed=seed), normal)


@TWO_SIZES
@pytest.mark.parametrize(
    ("mode", "offset", "correlate"),
    [("causal", 0, False), ("causal", 20, False), ("causal", 39, False), ("causal", 7, True), ("circular", 30, False),
     ("circular", 3, True)],
)  # fmt: skip
@pytest.mark.parametrize("taps", [1, 40, 1000])
def test_lags(points, mode, offset, correlate, taps, normal, seed):
    """More taps than samples too, and circular filters that go round several times."""
    if offset >= taps:
        pytest.skip("the offset lies outside the filter")
    # The transform has to have room for every lag that is seen.
    u, k, d = normal(2, 2, points - 29), decaying(normal, 2, taps), normal(2)
    check(Convolution(u, k, d=d, mode=mode, offset=offset, correlate=correlate, seed=seed), normal)


@TWO_SIZES
@pytest.mark.parametrize("missing", [29, 200])
def test_longer_than_the_points(points, missing, normal, seed):
    """The whole convolution, up to 2M samples, whose real and imaginary parts both count."""
    length = points - missing
    c = Convolution(normal(2, 2, length), decaying(normal, 2, 2 * missing + 2), mode="full", seed=seed)
    check(c, normal)
    for name in ("convolve<", "convolve_backward<"):
        assert f"{SHAPES[points]}" in c.launch(name)[0].name
        assert "doubled" in c.launch(name)[0].name


@TWO_SIZES
def test_one_sample_and_as_many_taps_as_there_is_room_for(points, normal, seed):
    c = Convolution(normal(2, 2, 1), decaying(normal, 2, 2 * points), mode="full", seed=seed)
    assert_rows(c.forward(), c.expected(), LEAST)


@TWO_SIZES
def test_whole_rows(points, normal, seed):
    c = Convolution(normal(3, 1, points), decaying(normal, 1, points), seed=seed)
    check(c, normal)
    assert "whole" in c.launch("convolve<")[0].name


@pytest.mark.parametrize(
    ("arch", "cells", "keep"), [("sm_90a", "halved", "sums_in_shared"), ("sm_80", "whole", "in_device"),
                                ("sm_86", "halved", "in_device")],
)  # fmt: skip
def test_devices_with_less_shared_memory(arch, cells, keep, normal, seed):
    shape = (3, 1, 16384)
    c = Convolution(
        normal(*shape), decaying(normal, 1, 16384), normal(*shape), normal(*shape), mode="circular", offset=5,
        arch=arch, seed=seed,
    )  # fmt: skip
    check(c, normal)
    name = c.launch("convolve_backward<")[0].name
    assert f"Cells::{cells}" in name
    assert f"Keep::{keep}" in name


@TWO_SIZES
def test_without_the_filter_gradient(points, normal, seed):
    c = Convolution(normal(2, 1, points), decaying(normal, 1, points), seed=seed)
    dy = normal(2, 1, points)
    got = c.gradients(dy, without=("k",))
    assert list(got) == ["u"]
    assert_rows(got["u"], c.expected_gradients(dy, without=("k",))["u"], LEAST)
    assert c.launch("convolve_backward<")[0].name.endswith("false>")


def test_same_bits_in_every_order_of_execution(normal):
    u, k, dy = normal(20, 2, 255), decaying(normal, 1, 255), normal(20, 2, 255)
    calls = [Convolution(u, k, seed=order) for order in (1, 2)]
    assert np.array_equal(*(c.forward() for c in calls))
    first, second = (c.gradients(dy) for c in calls)
    for name in ("u", "k"):
        assert np.array_equal(first[name], second[name])


def test_gradient_of_a_batch_is_as_accurate_as_the_forward_pass(normal, seed):
    """With a filter that does not decay: its convolution too has half its energy past the end, where nobody looks."""
    c, dy = Convolution(normal(64, 1, 256), normal(1, 256), seed=seed), normal(64, 1, 256)
    assert snr(c.gradients(dy)["k"], c.expected_gradients(dy)["k"]) >= snr(c.forward(), c.expected()) - 3


@TWO_SIZES
def test_traffic(points, normal, seed):
    """Device memory within 5 % of what has to move, shared memory without a bank conflict."""
    batch = 24
    c = Convolution(normal(batch, 1, points), decaying(normal, 1, points), seed=seed)
    row, spectrum = points * 4 // 32, points * 8 // 32  # sectors

    c.forward()
    counters = c.launch("convolve<")[2]
    assert counters.device_sectors_read <= 1.05 * (batch * row + spectrum)
    assert counters.device_sectors_written == batch * row
    assert counters.load_sectors == counters.load_sectors_ideal
    assert counters.store_sectors == counters.store_sectors_ideal
    assert counters.wavefronts == counters.wavefronts_ideal

    c.gradients(normal(batch, 1, points))
    _, (_, chunks), counters = c.launch("convolve_backward<")
    assert counters.device_sectors_read <= 1.05 * (2 * batch * row + spectrum)
    assert counters.device_sectors_written == batch * row + chunks * spectrum
    assert counters.wavefronts == counters.wavefronts_ideal
