"""The half-precision kernels against float64: every size and type, every switch, every kind of filter."""

import harness
import numpy as np
import pytest
from half import FACTORS, Convolution, points_for, snr

LEAST = {"fp16": 60.0, "bf16": 44.0}  # dB
DTYPES = ["fp16", "bf16"]


@pytest.fixture
def normal(seed):
    rng = np.random.default_rng(seed)
    return lambda *shape: rng.standard_normal(shape)


def decaying(normal, *shape):
    return normal(*shape) * np.exp(-5 * np.arange(shape[-1]) / shape[-1])


def check(convolution: Convolution, least: float | None = None) -> None:
    got, wanted = convolution.forward(), convolution.expected()
    reached = snr(got, wanted)
    assert reached >= (least or LEAST[convolution.dtype]), f"{reached:.1f} dB"
    for row in np.ndindex(got.shape[:2]):  # no row may hide behind the others
        assert snr(got[row], wanted[row]) >= (least or LEAST[convolution.dtype]) - 3, row


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("points", FACTORS)
def test_every_size(points, dtype, normal, seed):
    # More rows than warps or groups walk at a time, so that each walks several.
    batch = 9 if points <= 1024 else 3
    c = Convolution(
        normal(batch, 2, points), decaying(normal, 2, points), normal(batch, 2, points), normal(batch, 2, points),
        dtype=dtype, seed=seed,
    )  # fmt: skip
    check(c)


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_groups_of_warps(dtype, normal, seed):
    c = Convolution(
        normal(5, 1, 16384), decaying(normal, 1, 16384), normal(5, 1, 16384), normal(5, 1, 16384), dtype=dtype,
        groups=2, seed=seed,
    )  # fmt: skip
    check(c)


@pytest.mark.parametrize("gates", ["neither", "pre", "post"])
@pytest.mark.parametrize(("length", "dtype"), [(500, "fp16"), (1024, "bf16"), (4095, "fp16")])
def test_gates(length, dtype, gates, normal, seed):
    gate = normal(3, 2, length)
    c = Convolution(
        normal(3, 2, length), decaying(normal, 2, length), gate if gates == "pre" else None,
        gate if gates == "post" else None, dtype=dtype, seed=seed,
    )  # fmt: skip
    check(c)


@pytest.mark.parametrize(
    ("length", "out_length", "taps"),
    [(1, 1, 1), (7, 7, 3), (255, 255, 255), (257, 257, 100), (600, 1000, 401), (1000, 600, 1000), (4001, 4001, 9000),
     (2600, 4096, 1497), (5000, 5000, 1)],
)  # fmt: skip
def test_lengths_that_fit_nothing(length, out_length, taps, normal, seed):
    c = Convolution(normal(2, 2, length), decaying(normal, 2, taps), out_length=out_length, seed=seed)
    check(c)


@pytest.mark.parametrize(("length", "points"), [(304, 1024), (1008, 4096)])
def test_rows_that_are_mostly_zeros(length, points, normal, seed):
    c = Convolution(normal(2, 1, length), decaying(normal, 1, length), points=points, seed=seed)
    check(c)
    # What is not there is not loaded: u once (plus the look at its level), filter, tables, y.
    assert c.counters["forward"].device_sectors_written == 2 * length * 2 / 32


@pytest.mark.parametrize("length", [512, 4096])
@pytest.mark.parametrize("shift", [2, 8])
def test_rows_off_their_alignment(length, shift, normal, seed):
    c = Convolution(
        normal(2, 2, length),
        decaying(normal, 2, length),
        normal(2, 2, length),
        normal(2, 2, length),
        shift=shift,
        seed=seed,
    )
    check(c)


@pytest.mark.parametrize(
    "shapes",
    [
        ((3, 4), (1,)),  # one filter for all
        ((3, 4), (2,)),  # grouped
        ((3, 4), (4,)),  # depthwise
        ((3, 4), (3, 2)),  # grouped, and each item its own
        ((1, 4), (3, 1)),  # each item its own, one input for all
        ((3, 1), (4,)),  # many filters on one input
    ],
)
@pytest.mark.parametrize("length", [250, 4090])
def test_filter_sharing(length, shapes, normal, seed):
    rows, filters = shapes
    check(Convolution(normal(*rows, length), decaying(normal, *filters, length), rows_per_block=2, seed=seed))


@pytest.mark.parametrize("length", [256, 3000])
@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("direction", [1, -1])
def test_lags(length, circular, direction, normal, seed):
    # Two-sided filters, correlation, circular ones longer than the row; and the skip term, which is a tap.
    taps = length + 50
    c = Convolution(
        normal(2, 3, length), decaying(normal, 3, taps), d=normal(3), offset=taps // 3, direction=direction,
        circular=circular, seed=seed,
    )  # fmt: skip
    check(c)


@pytest.mark.parametrize("length", [1024, 8192])
@pytest.mark.parametrize("level", [1e-4, 1e-2, 1e2, 1e4])
@pytest.mark.parametrize("color", ["white", "pink", "tone"])
def test_any_level(length, level, color, normal, seed):
    """A tone's whole energy meets in one bin, sqrt(M) times its largest sample."""
    u = normal(2, 1, length)
    if color == "pink":
        spectrum = np.fft.rfft(u)
        spectrum[..., 1:] /= np.sqrt(np.arange(1, spectrum.shape[-1]))
        u = np.fft.irfft(spectrum, length)
        u /= u.std()
    if color == "tone":
        u = np.broadcast_to(np.cos(np.arange(length) * np.pi * 40 / length), u.shape)
    # The filter brings the output back to where fp16 can hold it: its own level is free too.
    k = decaying(normal, 1, length) / level / np.sqrt(length)
    convolution = Convolution(level * u, k, seed=seed)
    if color != "tone":
        return check(convolution)
    # One bin is all of a tone. A filter may take it away, so the error is held against the norms of both; and what
    # rounds there is not averaged over other bins.
    error = convolution.forward() - convolution.expected()
    for row in range(2):
        norms = np.linalg.norm(convolution.u[row]) * np.linalg.norm(convolution.k)
        assert 20 * np.log10(norms / np.linalg.norm(error[row])) >= 56


def test_gated_level_beyond_fp16(normal, seed):
    # u times gate reaches 1e6, past fp16's end; the other gate and the filter bring it back.
    u, pre, post = 3e3 * normal(2, 1, 512), 3e2 * normal(2, 1, 512), 1e-2 * normal(2, 1, 512)
    check(Convolution(u, 1e-3 * decaying(normal, 1, 512), pre, post, seed=seed))


@pytest.mark.parametrize("length", [256, 4096])
def test_zeros_and_nothing_else(length, normal, seed):
    c = Convolution(np.zeros((2, 1, length)), decaying(normal, 1, length), seed=seed)
    assert not c.forward().any()
    c = Convolution(normal(2, 1, length), np.zeros((1, length)), seed=seed)
    assert not c.forward().any()


@pytest.mark.parametrize("points", FACTORS)
def test_same_bits_in_any_order(points, normal, seed):
    u, k = normal(3, 1, points), decaying(normal, 1, points)
    first, second = (Convolution(u, k, seed=seed + i).forward() for i in range(2))
    np.testing.assert_array_equal(first, second)


# Tensor instructions that the factors ask for, a row: real first stage and real last one at half price, the incomplete
# FFT's columns at half price.
TENSOR_INSTRUCTIONS = {256: 16 * 2 - 8, 512: 48, 1024: 128, 4096: 640, 8192: 1280, 16384: 3072}


@pytest.mark.parametrize("points", FACTORS)
def test_counts(points, normal, seed):
    rows = 8
    c = Convolution(
        normal(rows, 1, points),
        decaying(normal, 1, points),
        normal(rows, 1, points),
        normal(rows, 1, points),
        seed=seed,
    )
    check(c)
    n = c.counters["forward"]
    assert n.tensor_instructions == rows * TENSOR_INSTRUCTIONS[points]
    assert n.wavefronts <= 1.01 * n.wavefronts_ideal
    assert n.load_sectors == n.load_sectors_ideal
    assert n.store_sectors == n.store_sectors_ideal
    constants = c.table_bytes + 4 * points + 32
    assert n.device_sectors_read * 32 == 3 * rows * points * 2 + constants
    assert n.device_sectors_written * 32 == rows * points * 2


def test_size_is_the_first_that_fits():
    assert [points_for(n) for n in (1, 256, 257, 1025, 16384)] == [256, 256, 512, 4096, 16384]


@pytest.mark.parametrize(
    ("header", "right", "wrong"),
    [
        # the barrier between columns and rows
        ("half_forward.cuh", "    meet();\n    look_at(item + GROUPS);", "    look_at(item + GROUPS);"),
        # the barrier between rows and columns
        ("half_forward.cuh", "    meet();\n    // Columns again.", "    // Columns again."),
        # the last copy's wait
        ("half_forward.cuh", "  ptx::async_wait<0>();\n", ""),
        # two blocks of 8 rows of a fragment, exchanged
        ("half_exchange.cuh", "x.re[0][j] = r[0], x.re[1][j] = r[1]", "x.re[0][j] = r[1], x.re[1][j] = r[0]"),
        # one sample past the end of each row
        ("half_rows.cuh", "n + 2 * i < length", "n + 2 * i <= length"),
    ],
)
def test_fault_planted_in_the_kernel_is_caught(header, right, wrong, tmp_path, normal, seed):
    for path in harness.CSRC.glob("*.cuh"):
        text = path.read_text()
        if path.name == header:
            assert right in text, "the kernel has changed: plant this fault elsewhere"
            text = text.replace(right, wrong)
        (tmp_path / path.name).write_text(text)
    c = Convolution(normal(3, 1, 3900), decaying(normal, 1, 3900), seed=seed, folder=tmp_path)
    try:
        reached = snr(c.forward(), c.expected())
    except harness.Fault:
        return
    assert reached < 20
