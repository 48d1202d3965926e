"""The half-precision backward kernels against float64: gradients of u, k, d and both gates."""

import numpy as np
import pytest
from half import FACTORS, Convolution, snr
from test_half import DTYPES, LEAST, decaying

# The filter's gradient is a product of two rounded spectra: 3 dB more.
LEAST_FILTER = {dtype: least - 3 for dtype, least in LEAST.items()}


@pytest.fixture
def normal(seed):
    rng = np.random.default_rng(seed)
    return lambda *shape: rng.standard_normal(shape)


def check(convolution: Convolution, dy: np.ndarray) -> None:
    got, wanted = convolution.backward(dy), convolution.expected_gradients(dy)
    assert got.keys() == wanted.keys()
    for name in wanted:
        least = (LEAST_FILTER if name == "dk" else LEAST)[convolution.dtype]
        if name == "dd":
            # Few numbers, each a sum in which much may cancel: held against what it is a sum of.
            scale = np.linalg.norm(wanted["dk"]) / np.sqrt(wanted["dk"].size / wanted["dd"].size)
            assert np.abs(got[name] - wanted[name]).max() < 10 * 10 ** (-least / 20) * scale
        else:
            reached = snr(got[name], wanted[name])
            assert reached >= least, f"{name}: {reached:.1f} dB"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("points", FACTORS)
def test_every_size(points, dtype, normal, seed):
    batch = 7 if points <= 1024 else 3
    shape = (batch, 2, points)
    c = Convolution(
        normal(*shape), decaying(normal, 2, points), normal(*shape), normal(*shape), d=normal(2), dtype=dtype,
        rows_per_block=(batch + 1) // 2, seed=seed,
    )  # fmt: skip
    check(c, normal(*shape))


@pytest.mark.parametrize("gates", ["neither", "pre", "post"])
@pytest.mark.parametrize(("length", "dtype"), [(512, "fp16"), (4095, "bf16")])
def test_gates(length, dtype, gates, normal, seed):
    shape = (3, 2, length)
    gate = normal(*shape)
    c = Convolution(
        normal(*shape), decaying(normal, 2, length), gate if gates == "pre" else None,
        gate if gates == "post" else None, dtype=dtype, seed=seed,
    )  # fmt: skip
    check(c, normal(*shape))


@pytest.mark.parametrize(
    ("length", "out_length", "taps"), [(7, 7, 3), (600, 1000, 401), (1000, 600, 1300), (2600, 4096, 1497)]
)
def test_lengths_that_fit_nothing(length, out_length, taps, normal, seed):
    c = Convolution(normal(2, 2, length), decaying(normal, 2, taps), out_length=out_length, seed=seed)
    check(c, normal(2, 2, out_length))


@pytest.mark.parametrize("shapes", [((3, 4), (1,)), ((3, 4), (2,)), ((3, 4), (3, 2)), ((1, 4), (3, 1)), ((3, 1), (4,))])
@pytest.mark.parametrize("length", [250, 4090])
def test_filter_sharing(length, shapes, normal, seed):
    rows, filters = shapes
    c = Convolution(normal(*rows, length), decaying(normal, *filters, length), rows_per_block=2, seed=seed)
    check(c, normal(c.batch, c.channels, length))


@pytest.mark.parametrize("length", [256, 3000])
@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("direction", [1, -1])
def test_lags(length, circular, direction, normal, seed):
    taps = length + 50
    c = Convolution(
        normal(2, 3, length), decaying(normal, 3, taps), d=normal(3), offset=taps // 3, direction=direction,
        circular=circular, seed=seed,
    )  # fmt: skip
    check(c, normal(2, 3, length))


@pytest.mark.parametrize("length", [1024, 8192])
@pytest.mark.parametrize("level", [1e-4, 1e4])
def test_gradients_of_any_level(length, level, normal, seed):
    # dx is at dy's level times the filter's: both are free, as long as fp16 holds what comes out.
    c = Convolution(normal(2, 1, length), decaying(normal, 1, length) / level / np.sqrt(length), seed=seed)
    check(c, level * normal(2, 1, length))


def test_filter_gradient_over_a_batch_of_64(normal, seed):
    c = Convolution(normal(64, 1, 256), decaying(normal, 1, 256), rows_per_block=32, seed=seed)
    check(c, normal(64, 1, 256))


@pytest.mark.parametrize("length", [1000, 8192])
def test_filters_on_devices_with_less_shared_memory(length, normal, seed):
    c = Convolution(normal(2, 3, length), decaying(normal, 3, length), d=normal(3), cells="halved", seed=seed)
    check(c, normal(2, 3, length))


@pytest.mark.parametrize("length", [1024, 4096])
def test_same_bits_in_any_order(length, normal, seed):
    u, k, dy = normal(3, 1, length), decaying(normal, 1, length), normal(3, 1, length)
    first, second = (Convolution(u, k, seed=seed + i).backward(dy) for i in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


# The real stages at half price, the complex ones in full: four transforms with a gate on y, else three.
@pytest.mark.parametrize("points", FACTORS)
def test_counts(points, normal, seed):
    rows = 8
    shape = (rows, 1, points)
    c = Convolution(normal(*shape), decaying(normal, 1, points), normal(*shape), normal(*shape), seed=seed)
    check(c, normal(*shape))
    n = c.counters["backward"]
    assert n.wavefronts <= 1.01 * n.wavefronts_ideal
    assert n.load_sectors == n.load_sectors_ideal
    assert n.store_sectors == n.store_sectors_ideal
    once = 2 * rows * points
    scratch = 4 * points if points > 8192 else 0
    assert n.device_sectors_read * 32 == 4 * once + c.table_bytes + 4 * points + 32 + scratch
    assert n.device_sectors_written * 32 == 3 * once + 8 * points + scratch
