"""Plans of long convolutions on GPUs: which algorithm, how long it takes, and what they must always hold."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longconv_audio.errors import OptionError
from longconv_audio.planning import DEVICES, candidates, device_named, plan
from longconv_audio.planning.cost import seconds
from longconv_audio.planning.torch_work import torch_passes

H200 = device_named("h200")
ROOMY = replace(H200, memory_bytes=10**15)  # rows were measured a part at a time, where all do not fit
LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384)
# Milliseconds that an H200 took, by dtype and backward: README.md, 64 rows of 768 channels, both gates.
MEASURED = {
    ("float16", False): (0.042, 0.069, 0.134, 0.347, 0.673, 1.288, 2.962),
    ("float16", True): (0.095, 0.156, 0.356, 0.961, 1.831, 3.808, 9.693),
    ("float32", False): (0.068, 0.123, 0.242, 0.530, 1.115, 2.515, 5.575),
    ("float32", True): (0.170, 0.341, 0.640, 1.423, 3.094, 7.107, 16.017),
}
# The same with (backward, both gates), in float32.
LONG_LENGTHS = (1 << 15, 1 << 16, 1 << 20, 1 << 22)
MEASURED_LONG = {
    (False, True): (23.9, 48.8, 834, 3763),
    (True, True): (59, 122, 2099, 9903),
    (False, False): (20.7, 41.6, 709, 3209),
    (True, False): (33.7, 67, 1216, 5923),
}
# With both gates: batch, channels and samples, dtype, backward.
MEASURED_GATED = [
    ((16, 768, 1 << 16), "float16", False, 7.798),
    ((16, 768, 1 << 16), "float16", True, 20.09),
    ((16, 768, 1 << 16), "float32", False, 12.00),
    ((16, 768, 1 << 16), "float32", True, 30.81),
    ((32, 24, 1 << 20), "float16", False, 9.016),
    ((32, 24, 1 << 20), "float16", True, 21.98),
    ((32, 24, 1 << 20), "float32", False, 12.25),
    ((32, 24, 1 << 20), "float32", True, 31.80),
    ((1, 192, 1 << 20), "float16", False, 4.735),
    ((1, 192, 1 << 20), "float16", True, 11.96),
    ((1, 192, 1 << 20), "float32", False, 5.534),
    ((1, 192, 1 << 20), "float32", True, 13.77),
    ((1, 48, 1 << 22), "float16", False, 5.173),
    ((1, 48, 1 << 22), "float16", True, 12.59),
    ((1, 48, 1 << 22), "float32", False, 5.876),
    ((1, 48, 1 << 22), "float32", True, 14.53),
]
SHAPES = {
    "dtype": st.sampled_from(["float16", "float32", "float64"]),
    "mode": st.sampled_from(["causal", "full", "same", "circular"]),
    "pre_gate": st.booleans(),
    "post_gate": st.booleans(),
    "backward": st.booleans(),
    "prepared": st.booleans(),
    "sparsity": st.sampled_from([0.0, 0.5]),
    "device": st.sampled_from(list(DEVICES.values())),
}
LOGARITHMIC = st.floats(0, 22).map(lambda bits: int(2**bits))
# Of rounding alone.
SLACK = 1 - 1e-12


@pytest.mark.parametrize(("dtype", "backward"), MEASURED)
def test_the_model_against_what_was_measured(dtype, backward):
    """Within 20 % of each of the times."""
    for length, ms in zip(LENGTHS, MEASURED[dtype, backward], strict=True):
        options = {"dtype": dtype, "backward": backward, "pre_gate": True, "post_gate": True}
        found = plan(64, 768, length, length, device=H200, **options)
        assert found.algorithm == "fused"
        assert found.points == length
        assert found.seconds * 1e3 == pytest.approx(ms, rel=0.2)


@pytest.mark.parametrize(("backward", "gates"), MEASURED_LONG)
def test_the_model_of_long_rows_against_what_was_measured(backward, gates):
    """Within 20 % of each of the times."""
    for length, ms in zip(LONG_LENGTHS, MEASURED_LONG[backward, gates], strict=True):
        found = plan(64, 768, length, length, backward=backward, pre_gate=gates, post_gate=gates, device=ROOMY)
        assert found.algorithm == "three-pass"
        assert found.points == length
        assert found.seconds * 1e3 == pytest.approx(ms, rel=0.2)


@pytest.mark.parametrize(("shape", "dtype", "backward", "ms"), MEASURED_GATED)
def test_the_model_of_other_rows_against_what_was_measured(shape, dtype, backward, ms):
    """With both gates, many rows a filter or one: within 20 %."""
    options = {"dtype": dtype, "backward": backward, "pre_gate": True, "post_gate": True}
    assert plan(*shape, shape[-1], device=H200, **options).seconds * 1e3 == pytest.approx(ms, rel=0.2)


@pytest.mark.parametrize(
    ("shape", "options", "ms"),
    [
        ((1, 2, 28_800_000, 288_000), {}, 0.78),  # ten minutes of stereo, six seconds of impulse response
        ((1, 2, 28_800_000, 288_000), {"prepared": True}, 0.74),
        ((8, 64, 1_000_000, 1000), {}, 1.875),
        ((8, 64, 1_000_000, 8000), {}, 2.414),
        ((8, 64, 1_000_000, 60_000), {}, 5.424),
        ((8, 64, 1_000_000, 1000), {"dtype": "float16"}, 2.793),
        ((8, 64, 1_000_000, 60_000), {"dtype": "float16"}, 3.783),
    ],
)
def test_the_model_of_tiles_against_what_was_measured(shape, options, ms):
    """Within 20 %."""
    found = plan(*shape, device=H200, **options)
    assert found.algorithm == "overlap-save"
    assert found.seconds * 1e3 == pytest.approx(ms, rel=0.2)


@pytest.mark.parametrize(
    ("length", "gates", "faster"), [(16384, True, 1.38), (4096, True, 1.29), (16384, False, 1.56), (4096, False, 1.43)]
)
def test_the_model_of_masks_against_what_was_measured(length, gates, faster):
    """With three quarters of the units skipped: within 20 %."""
    options = {"dtype": "float16", "pre_gate": gates, "post_gate": gates, "device": H200}
    dense, sparse = (plan(64, 768, length, length, sparsity=s, **options) for s in (0.0, 0.75))
    assert dense.seconds / sparse.seconds == pytest.approx(faster, rel=0.2)


def test_a_mask_saves_nothing_elsewhere():
    for shape, options in (((2, 3, 5000, 5000), {"dtype": "float32"}), ((64, 30, 300_000, 300), {"dtype": "float16"})):
        sparse = plan(*shape, sparsity=0.75, device=H200, **options)
        assert sparse.algorithm == ("fused" if shape[2] == 5000 else "torch.fft")
        assert sparse.seconds >= plan(*shape, device=H200, **options).seconds


@pytest.mark.parametrize("backward", [False, True])
def test_the_model_of_torch_fft_against_what_was_measured(backward):
    """In float32, as README.md has it by its ratios: within 20 % from 512 samples on."""
    faster = (5.4, 5.5, 4.9, 4.5, 4.0, 3.8) if backward else (6.4, 6.5, 5.9, 6.1, 5.6, 5.7)
    for length, ms, ratio in zip(LENGTHS[1:], MEASURED["float32", backward][1:], faster, strict=True):
        found = plan(64, 768, length, length, backward=backward, pre_gate=True, post_gate=True, device=H200)
        passes = torch_passes(found.convolution, 2 * length)
        assert seconds(passes, H200) * 1e3 == pytest.approx(ms * ratio, rel=0.2)


def cost(*shape, **options):
    try:
        return plan(*shape, **options).seconds
    except OptionError:  # too large for the device
        return float("inf")


@settings(max_examples=150, deadline=None)
@given(
    batch=st.sampled_from([1, 3, 64]), channels=st.sampled_from([1, 2, 100]), length=LOGARITHMIC, more=LOGARITHMIC,
    taps=LOGARITHMIC, options=st.fixed_dictionaries(SHAPES),
)  # fmt: skip
def test_more_never_costs_less(batch, channels, length, more, taps, options):
    """Longer rows, with the same filter or one as long as they; more taps; more batch items."""
    one = cost(batch, channels, length, taps, **options)
    assert cost(batch, channels, length + more, taps, **options) >= one * SLACK
    assert cost(batch, channels, length, taps + more, **options) >= one * SLACK
    assert cost(batch + more % 8, channels, length, taps, **options) >= one * SLACK
    whole = cost(batch, channels, length, length, **options)
    assert cost(batch, channels, length + more, length + more, **options) >= whole * SLACK


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_dense_sweep_of_lengths_never_costs_less(dtype):
    sizes = sorted({int(64 * 1.09**i) for i in range(140)})
    for taps in (None, 30_000):
        costs = [cost(1, 2, n, taps or n, dtype=dtype, device=H200) for n in sizes]
        assert all(longer >= shorter * SLACK for shorter, longer in pairwise(costs))


@settings(max_examples=100, deadline=None)
@given(length=LOGARITHMIC, taps=LOGARITHMIC, options=st.fixed_dictionaries(SHAPES))
def test_transforms_are_large_enough(length, taps, options):
    """No output of a tile may alias with another, and the tiles must reach the end of the row."""
    try:
        plans = candidates(1, 2, length, taps, **options)
    except OptionError:
        return
    assert [p.seconds for p in plans] == sorted(p.seconds for p in plans)
    assert len({(p.algorithm, p.outer, p.inner_points, p.tiles) for p in plans}) == len(plans)
    for p, after in zip(plans, [*plans[1:], None], strict=True):
        c = p.convolution
        assert c.mode in ("full", "same") or c.taps == min(taps, length)
        assert p.tiles * p.hop >= c.out_length > (p.tiles - 1) * p.hop
        window = 2 * p.points
        if p.algorithm == "overlap-save":
            assert p.hop + c.taps - 1 <= window
        elif p.algorithm != "torch.fft":
            assert max(length, c.out_length) <= window
            assert p.tiles == 1
            fits = p.algorithm == "fused" and c.precision == "half" and max(length, c.out_length) <= p.points
            assert fits or length + c.taps // (2 if c.mode == "same" else 1) - 1 <= 2 * p.points
            assert fits or c.mode != "circular" or 2 * length - 1 <= 2 * p.points
        assert p.points == p.inner_points * product(p.outer)
        assert p.order == 0 or p.points == product(p.factors)
        assert 0 < p.memory <= options["device"].memory_bytes
        assert (p.runner_up is None) == (after is None)
        assert after is None or p.runner_up.seconds == after.seconds


def product(numbers):
    total = 1
    for n in numbers:
        total *= n
    return total


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(("length", "algorithm"), [(16384, "fused"), (65536, "three-pass"), (1 << 22, "three-pass")])
def test_algorithms_by_length(length, algorithm, dtype):
    assert plan(1, 768 if length < 1 << 20 else 16, length, length, dtype=dtype, device=H200).algorithm == algorithm


def test_a_consumer_device_has_smaller_blocks():
    rows = {"channels": 768, "length": 16384, "taps": 16384, "dtype": "float16"}
    assert plan(64, **rows, device=H200).algorithm == "fused"
    assert plan(16, **rows, device=device_named("rtx3090")).algorithm == "three-pass"


def test_beyond_three_passes():
    found = plan(1, 1, 1 << 25, 1 << 25, device=H200)
    assert found.algorithm == "five-pass"
    assert (found.passes, len(found.outer)) == (5, 2)


def test_a_reverb_on_an_hour_of_audio_goes_in_tiles():
    found = plan(1, 2, 3600 * 48000, 288_000, device=H200)
    assert found.algorithm == "overlap-save"
    assert found.tiles > 1
    assert found.runner_up is not None


def test_a_plan_prints_as_a_paragraph():
    text = str(plan(1, 2, 28_800_000, 288_000, device=H200))
    assert "\n" not in text
    for words in (
        "1 x 2 rows of 28,800,000 samples with 288,000 taps (causal, float32 in single precision) on h200",
        "overlap-save: ", "tiles a row with a hop of ", "complex points", "of order ", "in 3 passes", "Predicted: ",
        "moved in device memory", "FLOP", "of memory", "Runner-up: ",
    ):  # fmt: skip
        assert words in text
    gated = str(plan(1, 2, 100, 100, dtype="bfloat16", pre_gate=True, backward=True, device=H200))
    assert "(gradients, causal, bfloat16 in half precision, gated before)" in gated
    alone = str(plan(1, 2, 100, 100, dtype="float64", device=H200))
    assert "torch.fft: an FFT of " in alone
    assert alone.endswith("Runner-up: none.")


def test_rows_that_do_not_fit_the_device():
    """How much is needed, how much there is, and the largest block that fits - which does."""
    shape, options = (64, 768), {"dtype": "float16", "device": H200}
    with pytest.raises(
        OptionError, match=r"need \d+\.\d GB, and h200 has 141\.0 GB: .* has ([\d,]+) samples"
    ) as caught:
        plan(*shape, 1 << 22, 1 << 22, **options)
    assert "\n" not in str(caught.value)
    block = int(str(caught.value).split("has ")[-1].split(" samples")[0].replace(",", ""))
    assert plan(*shape, block, 1 << 22, **options).memory <= H200.memory_bytes
    with pytest.raises(OptionError, match="need"):
        plan(*shape, block + 1, 1 << 22, **options)
    with pytest.raises(OptionError, match="no block of these rows fits"):
        plan(*shape, 1 << 22, 1 << 22, device=replace(H200, memory_bytes=1000))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"batch": 0}, "batch is 0; expected at least 1"),
        ({"taps": -1}, "taps is -1"),
        ({"out_length": 0}, "out_length is 0"),
        ({"mode": "valid"}, "mode is 'valid'; expected one of causal, full, same, circular"),
        ({"dtype": "int16"}, "dtype is 'int16'; expected one of float16, bfloat16, float32, float64"),
        ({"precision": "best"}, "precision is 'best'"),
        ({"sparsity": 1.5}, "sparsity is 1.5"),
        ({"sparsity": float("nan")}, "sparsity is nan"),
        ({"filters": 2}, "filters is 2; expected a divisor of 3 channels"),
    ],
)
def test_bad_arguments_are_named(given, words):
    with pytest.raises(OptionError, match=words):
        plan(**{"batch": 1, "channels": 3, "length": 100, "taps": 10, "device": H200, **given})


def test_planning_loads_no_torch():
    script = (
        "import sys; from longconv_audio import planning; "
        "planning.plan(1, 2, 1000, 100, device=planning.device_named('h200')); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "longconv_audio.planning.convolutions" in loaded
    assert not {"torch", "numpy", "scipy"} & set(loaded)
