"""The single-precision kernels against float64, on the emulator."""

import numpy as np
import pytest
from convolution import Convolution, assert_rows, decibel, snr
from measures import error_level

from longconv_audio.engines.cuda.specialisations import SINGLE_FACTORS, SingleShape

LEAST = 125.0  # dB, of the signal over the error; and of `error_level` where that is not to be had
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
def test_error_of_any_signal_through_any_filter(points, seed):
    """Where the filter takes the signal away, no float32 FFT keeps the signal-to-noise ratio: see `error_level`."""
    n = np.arange(points)
    tone = np.sin(0.777 * n)
    signals = np.stack([np.ones(points), tone, np.cos(np.pi * n), n == 5, np.zeros(points)]).astype(np.float32)
    filters = np.zeros((7, points), np.float32)
    filters[0, :2] = 1, -1
    filters[1, :3] = 1, -2, 1
    filters[2, points // 3] = 1
    filters[3] = 1
    filters[4, : points // 2] = 1
    filters[5, -1] = -1e4
    filters[6] = tone
    c = Convolution(np.repeat(signals[:, None], len(filters), axis=1), filters, seed=seed)
    y, expected = c.forward(), c.expected()
    assert np.isfinite(y).all()
    assert not y[4].any()
    for signal, taps in np.ndindex(4, len(filters)):
        level = error_level(y[signal, taps], expected[signal, taps], signals[signal], filters[taps])
        assert level <= -LEAST, (signal, taps)


def test_no_output_in_float32_keeps_to_the_product_of_the_norms():
    """A tone of 16K samples through a filter that is one: ||y|| is 34 dB above ||u|| ||k||, and what is rounded right,
    to 152 dB below ||y||, 118 dB below the product of the norms."""
    tone = np.sin(0.777 * np.arange(16384)).astype(np.float32)
    y = Convolution(tone[None, None], tone[None]).expected()[0, 0]
    rounding = y.astype(np.float32) - y
    assert -decibel(np.linalg.norm(tone) ** 2, rounding) > -LEAST
    assert error_level(y.astype(np.float32), y, tone, tone) < -150


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


@pytest.mark.parametrize("decays", [False, True])
def test_gradient_of_a_batch_is_as_accurate_as_the_forward_pass(decays, normal, seed):
    """At the same signals, that is. An FFT's error lies on all lags alike, those that nobody asks for too, and the
    signal-to-noise ratio falls with the share of the energy that is left on the others: half of it for white u and dy,
    whatever the filter, but nearly all of a convolution with a filter that decays: 2.7 dB, and torch.fft's gradient
    lies as far below its forward pass."""
    points = 256
    u, dy = normal(64, 1, points), normal(64, 1, points)
    k = decaying(normal, 1, points) if decays else normal(1, points)
    c = Convolution(u, k, seed=seed)
    y, expected, dk = c.forward(), c.expected(), c.gradients(dy)["k"]
    expected_dk = c.expected_gradients(dy)["k"]
    wide = Convolution(u, k, mode="full").expected()
    every_lag = np.fft.irfft((np.conj(np.fft.rfft(u, 2 * points)) * np.fft.rfft(dy, 2 * points)).sum(0), 2 * points)
    whole = decibel(wide, expected), decibel(every_lag, expected_dk)
    assert snr(dk, expected_dk) + whole[1] >= snr(y, expected) + whole[0] - 3


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
