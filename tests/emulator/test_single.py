"""The single-precision kernels against float64, on the emulator."""

import sys
from pathlib import Path

import numpy as np
import pytest
from single_host import (
    SHAPES,
    Engine,
    Filter,
    build_together,
    convolve,
    convolve_backward,
    filter_gradient,
    filter_spectrum,
    reference,
    reference_gradients,
)

sys.path.insert(0, str(Path(__file__).parents[1]))
from measures import error_level

LEAST = 125.0  # dB, of the signal over the error; and of `error_level` where that is not to be had

# Every switch is tried at one size that fits a warp and at one that takes a block.
TWO_SIZES = pytest.mark.parametrize("points", [256, 4096])


def decibel(signal, noise) -> float:
    signal, noise = np.sum(np.square(signal)), np.sum(np.square(noise))
    return np.inf if noise == 0 else float(10 * np.log10(signal / noise))


def snr(result, expected) -> float:
    assert result.shape == expected.shape
    return decibel(expected, result - expected)


def assert_right(result, expected) -> None:
    """Each row, so that a loud one cannot hide what is wrong with a quiet one."""
    assert snr(result, expected) >= LEAST
    for row in np.ndindex(result.shape[:2]):
        if expected[row].any():
            assert snr(result[row], expected[row]) >= LEAST, row
        else:
            assert not result[row].any(), row


class Case:
    """Random arrays and what becomes of them, on the emulator and in float64."""

    def __init__(self, points: int, seed: int, cells: str = "whole"):
        self.rng = np.random.default_rng(seed)
        self.engine = Engine(SHAPES[points], seed, cells)

    def white(self, *shape):
        return self.engine.device.put(self.rng.standard_normal(shape).astype(np.float32))

    def pink(self, *shape):
        spectrum = np.fft.rfft(self.rng.standard_normal(shape))
        spectrum[..., 1:] /= np.sqrt(np.arange(1, spectrum.shape[-1]))
        signal = np.fft.irfft(spectrum, shape[-1])
        return signal / np.std(signal)

    def decaying(self, *shape):
        """Taps that fall by 60 dB over the filter's length."""
        return (self.rng.standard_normal(shape) * np.exp(-6.9 * np.arange(shape[-1]) / shape[-1])).astype(np.float32)

    def check(
        self, u, k, d=None, pre=None, post=None, lag=None, *, out_length=None, gradients=True, extent="padded",
        **options,
    ):  # fmt: skip
        """y and every gradient."""
        length, out_length = u.shape[-1], out_length or u.shape[-1]
        lengths = {"length": length, "out_length": out_length}
        rows_per_block = options.get("rows_per_block")
        spectrum = self.engine.spectrum(k, d, lag, **lengths)
        y = self.engine.convolve(
            u, spectrum, pre, post, out_length=out_length, rows_per_block=rows_per_block, extent=extent
        )
        assert_right(y, reference(u, k, d, pre, post, lag, out_length=out_length))
        if not gradients:
            return
        dy = self.white(*y.shape)
        du, dpre, dpost, sums = self.engine.gradients(u, spectrum, dy, pre, post, extent=extent, **options)
        dk, dd = self.engine.filter_gradient(sums, k, lag=lag, skip=d is not None, **lengths)
        expected = reference_gradients(u, k, dy, d, pre, post, lag)
        for name, result in {"du": du, "dpre": dpre, "dpost": dpost}.items():
            if result is not None:
                assert_right(result, expected[name])
        for name, result in {"dk": dk, "dd": dd}.items():
            if result is not None and result.size > 100:
                assert_right(result, expected[name])
            elif result is not None:  # a few numbers may come out near zero: held against what they sum
                x, g = (u if pre is None else u * pre), (dy if post is None else dy * post)
                assert decibel(np.linalg.norm(x) * np.linalg.norm(g), result - expected[name]) >= LEAST


@pytest.mark.parametrize("points", SHAPES)
def test_every_size(points, seed):
    shape = SHAPES[points]
    keep = "in_device" if points == 16384 else "in_shared"
    build_together(
        filter_spectrum(shape), convolve(shape, pre=True, post=True), filter_gradient(shape),
        convolve_backward(shape, pre=True, post=True, keep=keep),
    )  # fmt: skip
    case = Case(points, seed)
    # An odd length, in rows of which none but the first is aligned; more of them than a block works on at a time.
    length, batch = points - 3, shape.rows + 2
    u = case.white(batch, 2, length)
    u[1] = case.pink(2, length)
    u[: batch - 1] *= np.logspace(-4, 4, batch - 1, dtype=np.float32)[:, None, None]
    gates = case.white(batch, 2, length), case.white(batch, 2, length)
    case.check(u, case.decaying(1, 2, length), case.white(1, 2), *gates, rows_per_block=batch - 1, keep=keep)


@pytest.mark.parametrize("points", [1024, 16384])
def test_error_of_any_signal_through_any_filter(points, seed):
    """Where the filter takes the signal away, no float32 FFT keeps the signal-to-noise ratio: see `error_level`."""
    n = np.arange(points)
    tone = np.sin(0.777 * n)
    signals = np.stack([np.ones(points), tone, np.cos(np.pi * n), n == 5, np.zeros(points)])
    filters = np.zeros((7, points))
    filters[0, :2] = 1, -1
    filters[1, :3] = 1, -2, 1
    filters[2, points // 3] = 1
    filters[3] = 1
    filters[4, : points // 2] = 1
    filters[5, -1] = -1e4
    filters[6] = tone
    case = Case(points, seed)
    u = case.engine.device.put(np.repeat(signals[:, None], len(filters), axis=1).astype(np.float32))
    ones = case.engine.device.put(np.ones(u.shape, np.float32))  # the specialisation that is there already
    k = filters[None].astype(np.float32)
    y = case.engine.convolve(u, case.engine.spectrum(k, length=points, out_length=points), ones, ones)
    expected = reference(u, k)
    assert np.isfinite(y).all()
    assert not y[4].any()
    for signal, taps in np.ndindex(4, len(filters)):
        level = error_level(y[signal, taps], expected[signal, taps], u[signal, taps], k[0, taps])
        assert level <= -LEAST, (signal, taps)


def test_no_output_in_float32_keeps_to_the_product_of_the_norms():
    """A tone of 16K samples through a filter that is one: ||y|| is 34 dB above ||u|| ||k||, and what is rounded right,
    to 152 dB below ||y||, 118 dB below the product of the norms."""
    tone = np.sin(0.777 * np.arange(16384)).astype(np.float32)
    y = reference(tone[None, None], tone[None, None])[0, 0]
    rounding = y.astype(np.float32) - y
    assert -decibel(np.linalg.norm(tone) ** 2, rounding) > -LEAST
    assert error_level(y.astype(np.float32), y, tone, tone) < -150


@TWO_SIZES
@pytest.mark.parametrize("gates", ["neither", "pre", "post"])
def test_gates(points, gates, seed):
    case = Case(points, seed)
    pre = case.white(3, 2, points) if gates == "pre" else None
    post = case.white(3, 2, points) if gates == "post" else None
    build_together(*(kernel(SHAPES[points], pre=gates == "pre", post=gates == "post")
                     for kernel in (convolve, convolve_backward)))  # fmt: skip
    case.check(case.white(3, 2, points), case.decaying(1, 2, 50), None, pre, post)


@TWO_SIZES
@pytest.mark.parametrize(("items", "filters"), [(1, 1), (1, 2), (1, 4), (3, 1), (3, 4)])
def test_filter_sharing(points, items, filters, seed):
    case = Case(points, seed)
    k, d = case.decaying(items, filters, points // 2), case.white(items, filters)
    case.check(case.white(3, 4, points - 1), k, d, rows_per_block=1 if items > 1 else 2)


@TWO_SIZES
def test_many_filters_on_one_input(points, seed):
    case = Case(points, seed)
    u = np.broadcast_to(case.white(2, 1, points), (2, 3, points))
    case.check(u, case.decaying(1, 3, points))


@TWO_SIZES
def test_rows_with_gaps_between_them(points, seed):
    case = Case(points, seed)
    u = case.white(2, 3, points + 5)[:, ::2, 1 : points - 3]
    case.check(u, case.decaying(1, 2, points))


@TWO_SIZES
@pytest.mark.parametrize(
    "lag", [Filter(), Filter(20), Filter(39), Filter(7, -1), Filter(30, 1, True), Filter(3, -1, True)], ids=str
)
@pytest.mark.parametrize("taps", [1, 40, 1000])
def test_lags(points, lag, taps, seed):
    """More taps than samples too, and circular filters that go round several times."""
    if lag.offset >= taps:
        pytest.skip("the offset lies outside the filter")
    case = Case(points, seed)
    case.check(case.white(2, 2, points // 2 + 3), case.decaying(1, 2, taps), case.white(1, 2), lag=lag)


@TWO_SIZES
def test_longer_than_the_points(points, seed):
    """Up to 2M samples in and out, whose real and imaginary parts both count."""
    build_together(*(kernel(SHAPES[points], extent="doubled") for kernel in (convolve, convolve_backward)))
    case = Case(points, seed)
    # The whole convolution: 2 M in all. A causal one of more than M samples, with few taps.
    case.check(
        case.white(2, 2, points - 9), case.decaying(1, 2, points + 1), out_length=2 * points - 9, extent="doubled"
    )
    case.check(case.white(2, 2, points + 9), case.decaying(1, 2, points - 20), out_length=points - 10, extent="doubled")


@TWO_SIZES
def test_whole_rows(points, seed):
    case = Case(points, seed)
    case.check(case.white(3, 1, points), case.decaying(1, 1, points), extent="whole", gradients=False)


@pytest.mark.parametrize("keep", ["sums_in_shared", "in_device"])
def test_devices_with_less_shared_memory(keep, seed):
    points, gates = 16384, {"pre": True, "post": True}
    shape = SHAPES[points]
    build_together(
        filter_spectrum(shape, "halved"), convolve(shape, "halved", **gates), filter_gradient(shape, "halved"),
        convolve_backward(shape, "halved", keep=keep, **gates),
    )  # fmt: skip
    case = Case(points, seed, "halved")
    u, pre, post = (case.white(3, 1, points) for _ in range(3))
    case.check(u, case.decaying(1, 1, points), None, pre, post, lag=Filter(5, 1, True), rows_per_block=2, keep=keep)


@TWO_SIZES
def test_without_the_filter_gradient(points, seed):
    case = Case(points, seed)
    u, k, dy = case.white(2, 1, points), case.decaying(1, 1, points), case.white(2, 1, points)
    spectrum = case.engine.spectrum(k, length=points, out_length=points)
    du, _, _, sums = case.engine.gradients(u, spectrum, dy, filter_gradient=False)
    assert sums is None
    assert_right(du, reference_gradients(u, k, dy)["du"])


def test_same_bits_in_every_order_of_execution(seed):
    def run(order):
        case = Case(256, seed)
        case.engine.seed = order
        u, k, dy = case.white(20, 2, 255), case.decaying(1, 1, 255), case.white(20, 2, 255)
        spectrum = case.engine.spectrum(k, length=255, out_length=255)
        du, _, _, sums = case.engine.gradients(u, spectrum, dy, rows_per_block=10)
        dk, _ = case.engine.filter_gradient(sums, k, length=255, out_length=255)
        return [a.copy() for a in (case.engine.convolve(u, spectrum), du, dk)]

    for first, second in zip(run(1), run(2), strict=True):
        assert np.array_equal(first, second)


@pytest.mark.parametrize("decaying", [False, True])
def test_gradient_of_a_batch_is_as_accurate_as_the_forward_pass(decaying, seed):
    """At the same signals, that is. An FFT's error lies on all lags alike, those that nobody asks for too, and the
    signal-to-noise ratio falls with the share of the energy that is left on the others: half of it for white u and dy,
    whatever the filter, but nearly all of a convolution with a filter that decays: 2.7 dB, and torch.fft's gradient
    lies as far below its forward pass."""
    points, case = 256, Case(256, seed)
    u, dy = case.white(64, 1, points), case.white(64, 1, points)
    k = case.decaying(1, 1, points) if decaying else case.white(1, 1, points)
    lengths = {"length": points, "out_length": points}
    spectrum = case.engine.spectrum(k, **lengths)
    y, expected = case.engine.convolve(u, spectrum), reference(u, k)
    *_, sums = case.engine.gradients(u, spectrum, dy)
    dk, _ = case.engine.filter_gradient(sums, k, **lengths)
    expected_dk = reference_gradients(u, k, dy)["dk"]
    every_lag = np.fft.irfft((np.conj(np.fft.rfft(u, 2 * points)) * np.fft.rfft(dy, 2 * points)).sum(0), 2 * points)
    whole = decibel(reference(u, k, out_length=2 * points), expected), decibel(every_lag, expected_dk)
    assert snr(dk, expected_dk) + whole[1] >= snr(y, expected) + whole[0] - 3


@TWO_SIZES
def test_traffic(points, seed):
    """Device memory within 5 % of what has to move, shared memory without a bank conflict."""
    case = Case(points, seed)
    batch = 24
    u, k, dy = case.white(batch, 1, points), case.decaying(1, 1, points), case.white(batch, 1, points)
    row, sums = points * 4 // 32, points * 8 // 32  # sectors
    spectrum = case.engine.spectrum(k, length=points, out_length=points)

    case.engine.convolve(u, spectrum, extent="whole")
    counters = case.engine.counters
    assert counters.device_sectors_read <= 1.05 * (batch * row + sums)
    assert counters.device_sectors_written == batch * row
    assert counters.load_sectors == counters.load_sectors_ideal
    assert counters.store_sectors == counters.store_sectors_ideal
    assert counters.wavefronts == counters.wavefronts_ideal

    case.engine.gradients(u, spectrum, dy)
    counters = case.engine.counters
    assert counters.device_sectors_read <= 1.05 * (2 * batch * row + sums)
    assert counters.device_sectors_written == batch * row + sums
    assert counters.wavefronts == counters.wavefronts_ideal
