"""The half-precision kernels against float64: every size and type, every switch, every kind of filter."""

import harness
import numpy as np
import pytest
import torch
from convolution import Convolution, assert_rows, snr

from longconv_audio.engines.cuda.specialisations import HALF_FACTORS

FP16, BF16 = torch.float16, torch.bfloat16
DTYPES = pytest.mark.parametrize("dtype", [FP16, BF16], ids=["fp16", "bf16"])
LEAST = {FP16: 60.0, BF16: 50.0}  # dB; bfloat16 is computed in fp16, so what is left is how it rounds the results
POINTS = [int(np.prod(factors)) for factors in HALF_FACTORS]
SHARING = [
    ((3, 4), (1,)),  # one filter for all
    ((3, 4), (2,)),  # grouped
    ((3, 4), (4,)),  # depthwise
    ((3, 4), (3, 2)),  # grouped, and each item its own
    ((1, 4), (3, 1)),  # each item its own, one input for all
    ((3, 1), (4,)),  # many filters on one input
]


def decaying(normal, *shape):
    return normal(*shape) * np.exp(-5 * np.arange(shape[-1]) / shape[-1])


def gates_of(gates: str, normal, *shape):
    return {gate: normal(*shape) for gate in ("pre_gate", "post_gate") if gates in ("both", gate)}


def check(convolution: Convolution) -> None:
    least = LEAST[convolution.dtype]
    assert_rows(convolution.forward(), convolution.expected(), least, least - 3)


@DTYPES
@pytest.mark.parametrize("points", POINTS)
def test_every_size(points, dtype, normal, seed):
    # More rows than warps or groups walk at a time, so that each walks several.
    shape = (9 if points <= 1024 else 3, 2, points)
    c = Convolution(
        normal(*shape), decaying(normal, 2, points), **gates_of("both", normal, *shape), dtype=dtype, seed=seed
    )
    check(c)
    _, (_, chunks), _ = c.launch("half_forward")
    assert shape[0] > chunks * (4 if points <= 1024 else 1)


@DTYPES
@pytest.mark.parametrize(("points", "arch"), [(16384, "sm_80"), (8192, "sm_86")])
def test_spectrum_that_does_not_fit_shared_memory(points, arch, dtype, normal, seed):
    shape = (3, 1, points)
    gates = gates_of("both", normal, *shape)
    c = Convolution(normal(*shape), decaying(normal, 1, points), **gates, dtype=dtype, arch=arch, seed=seed)
    check(c)
    assert c.launch("half_forward")[0].name.endswith("false>")


@pytest.mark.parametrize("gates", ["neither", "pre_gate", "post_gate"])
@pytest.mark.parametrize(("length", "dtype"), [(500, FP16), (1024, BF16), (4095, FP16)])
def test_gates(length, dtype, gates, normal, seed):
    shape = (3, 2, length)
    gates = gates_of(gates, normal, *shape)
    check(Convolution(normal(*shape), decaying(normal, 2, length), **gates, dtype=dtype, seed=seed))


@pytest.mark.parametrize(
    ("length", "taps", "mode"),
    [(1, 1, "causal"), (7, 3, "causal"), (255, 255, "causal"), (257, 100, "causal"), (600, 401, "full"),
     (1000, 1000, "causal"), (4001, 9000, "causal"), (2600, 1497, "full"), (1, 4096, "full"), (5000, 1, "same")],
)  # fmt: skip
def test_lengths_that_fit_nothing(length, taps, mode, normal, seed):
    check(Convolution(normal(2, 2, length), decaying(normal, 2, taps), dtype=FP16, mode=mode, seed=seed))


@pytest.mark.parametrize(("length", "points"), [(304, 1024), (1008, 4096)])
def test_rows_that_are_mostly_zeros(length, points, normal, seed):
    c = Convolution(normal(2, 1, length), decaying(normal, 1, length), dtype=FP16, prepared_for=points, seed=seed)
    check(c)
    # What is not there is not stored.
    assert c.launch("half_forward")[2].device_sectors_written == 2 * length * 2 / 32


@pytest.mark.parametrize("length", [512, 4096])
@pytest.mark.parametrize("shift", [1, 4])
def test_rows_off_their_alignment(length, shift, normal, seed):
    shape = (2, 2, length)
    gates = gates_of("both", normal, *shape)
    c = Convolution(normal(*shape), decaying(normal, 2, length), **gates, dtype=FP16, shift=shift, seed=seed)
    check(c)
    assert "Switches<true, true, false>" in c.launch("half_forward")[0].name


@pytest.mark.parametrize(("length", "taps", "shift"), [(8192, 2, 3), (8191, 3, 0), (8190, 10, 0)])
def test_rows_off_their_alignment_that_end_in_the_middle(length, taps, shift, normal, seed):
    """Of the longest transform, whose second half is not looked at: the row's end lies in what comes with it."""
    check(Convolution(normal(2, 1, length), normal(1, taps), dtype=FP16, mode="full", shift=shift, seed=seed))


@pytest.mark.parametrize("shapes", SHARING)
@pytest.mark.parametrize("length", [250, 4090])
def test_filter_sharing(length, shapes, normal, seed):
    rows, filters = shapes
    check(Convolution(normal(*rows, length), decaying(normal, *filters, length), dtype=FP16, seed=seed))


@pytest.mark.parametrize("length", [256, 3000])
@pytest.mark.parametrize("mode", ["causal", "circular"])
@pytest.mark.parametrize("correlate", [False, True])
def test_lags(length, mode, correlate, normal, seed):
    # Two-sided filters, correlation, circular ones longer than the row; and the skip term, which is a tap.
    taps = length + 50
    c = Convolution(
        normal(2, 3, length), decaying(normal, 3, taps), d=normal(3), dtype=FP16, mode=mode, offset=taps // 3,
        correlate=correlate, seed=seed,
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
        u = np.tile(np.cos(np.arange(length) * np.pi * 40 / length), (2, 1, 1))
    # The filter brings the output back to where fp16 can hold it: its own level is free too.
    k = decaying(normal, 1, length) / level / np.sqrt(length)
    c = Convolution(level * u, k, dtype=FP16, seed=seed)
    if color != "tone":
        return check(c)
    # A filter may take the tone away, so the error is held against the norms of both; or raise it, and its error with
    # it, so against the output's where that is more. What rounds in the one bin there is is not averaged over others.
    expected = c.expected()
    for error, row, out in zip(c.forward() - expected, c.u, expected, strict=True):
        reference = max(np.linalg.norm(row) * np.linalg.norm(k), np.linalg.norm(out))
        assert 20 * np.log10(reference / np.linalg.norm(error)) >= 56


def test_gated_level_beyond_fp16(normal, seed):
    # u times gate reaches 1e6, past fp16's end; the other gate and the filter bring it back.
    u, pre, post = 3e3 * normal(2, 1, 512), 3e2 * normal(2, 1, 512), 1e-2 * normal(2, 1, 512)
    check(Convolution(u, 1e-3 * decaying(normal, 1, 512), pre, post, dtype=FP16, seed=seed))


@DTYPES
@pytest.mark.parametrize("gate", ["pre_gate", "post_gate"])
def test_gates_at_the_end_of_their_type(gate, dtype, normal, seed):
    largest, quiet = (4e4, 1e-3) if dtype == FP16 else (2e38, 1e-38)
    loud = largest * (2 * (normal(2, 1, 256) > 0) - 1)
    k = decaying(normal, 1, 256)
    check(Convolution(quiet * normal(2, 1, 256), k, **{gate: loud}, dtype=dtype, seed=seed))


@pytest.mark.parametrize("gain", [1e-37, 1e-30, 1e-20, 1e18, 1e20, 1e30])
def test_any_gain_of_the_filter(gain, normal, seed):
    u, k = normal(2, 1, 256) / gain, gain * decaying(normal, 1, 256)
    check(Convolution(u, k, dtype=BF16, seed=seed))


@pytest.mark.parametrize("length", [256, 4096])
def test_zeros_and_nothing_else(length, normal, seed):
    silence, nothing = np.zeros((2, 1, length)), np.zeros((1, length))
    assert not Convolution(silence, decaying(normal, 1, length), dtype=FP16, seed=seed).forward().any()
    assert not Convolution(normal(2, 1, length), nothing, dtype=FP16, seed=seed).forward().any()


@pytest.mark.parametrize("points", POINTS)
def test_same_bits_in_any_order(points, normal, seed):
    u, k = normal(3, 1, points), decaying(normal, 1, points)
    first, second = (Convolution(u, k, dtype=FP16, seed=seed + i).forward() for i in range(2))
    np.testing.assert_array_equal(first, second)


# Tensor instructions that the factors ask for, a row: real first stage and real last one at half price, the incomplete
# FFT's columns at half price.
TENSOR_INSTRUCTIONS = {256: 16 * 2 - 8, 512: 48, 1024: 128, 2048: 320, 4096: 640, 8192: 1280, 16384: 3072}


@pytest.mark.parametrize("points", POINTS)
def test_counts(points, normal, seed):
    rows = 8
    shape = (rows, 1, points)
    gates = gates_of("both", normal, *shape)
    c = Convolution(normal(*shape), decaying(normal, 1, points), **gates, dtype=FP16, seed=seed)
    check(c)
    n = c.launch("half_forward")[2]
    assert n.tensor_instructions == rows * TENSOR_INSTRUCTIONS[points]
    assert n.wavefronts <= 1.01 * n.wavefronts_ideal
    assert n.load_sectors == n.load_sectors_ideal
    assert n.store_sectors == n.store_sectors_ideal
    constants = c.table_bytes("half") + 4 * points + 32
    assert n.device_sectors_read * 32 == 3 * rows * points * 2 + constants
    assert n.device_sectors_written * 32 == rows * points * 2
    of_filter = c.launch("half_filter_spectrum")[2]
    assert of_filter.wavefronts <= 1.01 * of_filter.wavefronts_ideal
    assert of_filter.store_sectors == of_filter.store_sectors_ideal
    assert of_filter.device_sectors_read * 32 <= 4 * points + c.table_bytes("single") + 32
    assert of_filter.device_sectors_written * 32 == 4 * points + 32


@pytest.mark.parametrize(
    ("header", "right", "wrong"),
    [
        # the barrier between rows and columns
        ("half_forward.cuh", "    meet();\n    if (here) {\n      // Columns", "    if (here) {\n      // Columns"),
        # the barrier between columns and rows
        ("half_forward.cuh", "    meet();\n    if (item + 2 < rows.end) {", "    if (item + 2 < rows.end) {"),
        # the wait for the next row
        ("half_rows.cuh", "    ptx::async_wait<0>();\n    if (ALIGNED) return;", "    if (ALIGNED) return;"),
        # two blocks of 8 rows of a fragment, exchanged
        (
            "half_exchange.cuh", "x.re[block][j] = r[0], x.re[block + 1][j] = r[1]",
            "x.re[block][j] = r[1], x.re[block + 1][j] = r[0]",
        ),
        # one sample past the end of each row
        ("half_rows.cuh", "store_if(2 * i < left", "store_if(2 * i <= left"),
    ],
)  # fmt: skip
def test_fault_planted_in_the_kernel_is_caught(header, right, wrong, tmp_path, normal, seed):
    for path in harness.CSRC.glob("*.cuh"):
        text = path.read_text()
        if path.name == header:
            assert right in text, "the kernel has changed: plant this fault elsewhere"
            text = text.replace(right, wrong)
        (tmp_path / path.name).write_text(text)
    # Nine rows, so that blocks walk several.
    c = Convolution(normal(9, 1, 3900), decaying(normal, 1, 3900), dtype=FP16, seed=seed, folder=tmp_path)
    try:
        reached = snr(c.forward(), c.expected())
    except harness.Fault:
        return
    assert not reached >= 20
