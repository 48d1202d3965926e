"""The half-precision backward kernels against float64: gradients of u, k, d and both gates."""

import numpy as np
import pytest
from convolution import Convolution, snr
from test_half import BF16, DTYPES, FP16, LEAST, POINTS, SHARING, decaying, gates_of

# The filter's gradient is a product of two rounded spectra: 3 dB more.
LEAST_FILTER = {dtype: least - 3 for dtype, least in LEAST.items()}


def check(c: Convolution, dy: np.ndarray) -> None:
    got, wanted = c.gradients(dy), c.expected_gradients(dy)
    assert got.keys() == wanted.keys()
    for name in wanted:
        least = (LEAST_FILTER if name == "k" else LEAST)[c.dtype]
        if name == "d":
            # Few numbers, each a sum in which much may cancel: held against what it is a sum of.
            scale = np.linalg.norm(wanted["k"]) / np.sqrt(wanted["k"].size / wanted["d"].size)
            assert np.abs(got[name] - wanted[name]).max() < 10 * 10 ** (-least / 20) * scale
        else:
            reached = snr(got[name], wanted[name])
            assert reached >= least, f"{name}: {reached:.1f} dB"


@DTYPES
@pytest.mark.parametrize("points", POINTS)
def test_every_size(points, dtype, normal, seed):
    shape = (9 if points <= 1024 else 3, 2, points)
    gates = gates_of("both", normal, *shape)
    c = Convolution(normal(*shape), decaying(normal, 2, points), **gates, d=normal(2), dtype=dtype, seed=seed)
    check(c, normal(*shape))
    _, (_, chunks), _ = c.launch("half_backward")
    assert chunks == 2  # of several rows


@pytest.mark.parametrize("gates", ["neither", "pre_gate", "post_gate"])
@pytest.mark.parametrize(("length", "dtype"), [(512, FP16), (4095, BF16)])
def test_gates(length, dtype, gates, normal, seed):
    shape = (3, 2, length)
    gates = gates_of(gates, normal, *shape)
    check(Convolution(normal(*shape), decaying(normal, 2, length), **gates, dtype=dtype, seed=seed), normal(*shape))


@pytest.mark.parametrize(
    ("length", "taps", "mode"),
    [(7, 3, "causal"), (600, 401, "full"), (1000, 1300, "causal"), (2600, 1497, "full")],
)
def test_lengths_that_fit_nothing(length, taps, mode, normal, seed):
    c = Convolution(normal(2, 2, length), decaying(normal, 2, taps), dtype=FP16, mode=mode, seed=seed)
    check(c, normal(2, 2, length + taps - 1 if mode == "full" else length))


@pytest.mark.parametrize("shapes", SHARING)
@pytest.mark.parametrize("length", [250, 4090])
def test_filter_sharing(length, shapes, normal, seed):
    rows, filters = shapes
    c = Convolution(normal(*rows, length), decaying(normal, *filters, length), dtype=FP16, seed=seed)
    check(c, normal(3, 4, length))


@pytest.mark.parametrize("length", [256, 3000])
@pytest.mark.parametrize("mode", ["causal", "circular"])
@pytest.mark.parametrize("correlate", [False, True])
def test_lags(length, mode, correlate, normal, seed):
    taps = length + 50
    c = Convolution(
        normal(2, 3, length), decaying(normal, 3, taps), d=normal(3), dtype=FP16, mode=mode, offset=taps // 3,
        correlate=correlate, seed=seed,
    )  # fmt: skip
    check(c, normal(2, 3, length))


@pytest.mark.parametrize("length", [1024, 8192])
@pytest.mark.parametrize("level", [1e-4, 1e4])
def test_gradients_of_any_level(length, level, normal, seed):
    # dx is at dy's level times the filter's: both are free, as long as fp16 holds what comes out.
    k = decaying(normal, 1, length) / level / np.sqrt(length)
    check(Convolution(normal(2, 1, length), k, dtype=FP16, seed=seed), level * normal(2, 1, length))


def test_filter_gradient_over_a_batch_of_64(normal, seed):
    check(Convolution(normal(64, 1, 256), decaying(normal, 1, 256), dtype=FP16, seed=seed), normal(64, 1, 256))


@pytest.mark.parametrize(("points", "arch", "keep"), [(8192, "sm_80", "in_device"), (4096, "sm_86", "in_device")])
def test_devices_with_less_shared_memory(points, arch, keep, normal, seed):
    shape = (3, 1, points)
    gates = gates_of("both", normal, *shape)
    c = Convolution(normal(*shape), decaying(normal, 1, points), **gates, d=normal(1), dtype=FP16, arch=arch, seed=seed)
    check(c, normal(*shape))
    assert f"Keep::{keep}>" in c.launch("half_backward")[0].name


@pytest.mark.parametrize("points", [512, 4096, 16384])
def test_rows_off_their_alignment(points, normal, seed):
    shape = (3, 1, points)
    gates = gates_of("both", normal, *shape)
    c = Convolution(normal(*shape), decaying(normal, 1, points), **gates, dtype=FP16, shift=3, seed=seed)
    check(c, normal(*shape))
    assert "Switches<true, true, false>" in c.launch("half_backward")[0].name


@pytest.mark.parametrize("length", [1024, 4096])
def test_same_bits_in_any_order(length, normal, seed):
    u, k, dy = normal(3, 1, length), decaying(normal, 1, length), normal(3, 1, length)
    first, second = (Convolution(u, k, dtype=FP16, seed=seed + i).gradients(dy) for i in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("points", POINTS)
def test_counts(points, normal, seed):
    rows = 8
    shape = (rows, 1, points)
    gates = gates_of("both", normal, *shape)
    c = Convolution(normal(*shape), decaying(normal, 1, points), **gates, dtype=FP16, seed=seed)
    check(c, normal(*shape))
    _, (_, chunks), n = c.launch("half_backward")
    assert n.wavefronts <= 1.01 * n.wavefronts_ideal
    assert n.load_sectors == n.load_sectors_ideal
    assert n.store_sectors == n.store_sectors_ideal
    once = 2 * rows * points
    scratch = chunks * 4 * points if points > 8192 else 0
    assert n.device_sectors_read * 32 == 4 * once + c.table_bytes("half") + 4 * points + 32 + scratch
    assert n.device_sectors_written * 32 == 3 * once + chunks * 8 * points + scratch
