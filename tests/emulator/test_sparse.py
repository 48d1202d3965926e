"""Frequency-sparse convolutions in the kernels against float64: what is masked is zero, whole units are passed over."""

import numpy as np
import pytest
import torch
from convolution import Convolution, assert_rows

from longconv_audio import FrequencyMask
from longconv_audio.engines.cuda.specialisations import HALF_FACTORS
from longconv_audio.frequency_mask import BANDS

FP16, BF16, SINGLE = torch.float16, torch.bfloat16, torch.float32
# dB. A masked filter's response goes round the whole circle, and half of it is in the imaginary parts that nobody asks
# for: the half that is left is smaller against the errors, which are as large as without a mask.
LEAST = {FP16: 58.0, BF16: 50.0, SINGLE: 123.0}
FACTORS = {int(np.prod(factors)): factors for factors in HALF_FACTORS}
SKIPPING = [points for points in FACTORS if points > 512]


def decaying(normal, *shape):
    return normal(*shape) * np.exp(-5 * np.arange(shape[-1]) / shape[-1])


def of_units(points: int, kept) -> FrequencyMask:
    blocks = torch.zeros(FrequencyMask.units(points), BANDS, dtype=torch.bool)
    blocks[kept] = True
    return FrequencyMask(points, blocks)


def masks(points: int) -> dict[str, FrequencyMask]:
    """All kinds of them: whole units, in every place; bands, of which every unit has some; and both."""
    units = FrequencyMask.units(points)
    bands = torch.zeros(units, BANDS, dtype=torch.bool)
    bands[:, [2, 3, 12, 13]] = True
    mixed = torch.rand(units, BANDS, generator=torch.Generator().manual_seed(points)) < 0.3
    mixed[: units // 2] = False
    return {
        "first": of_units(points, [0]),
        "last": of_units(points, [units - 1]),
        "quarter": of_units(points, list(range(1, units, 4)) or [0]),
        "band": FrequencyMask(points, bands),
        "mixed": FrequencyMask(points, mixed),
    }


def gated(normal, points: int, dtype, mask, seed, rows: int = 3, **options) -> Convolution:
    shape = (rows, 2, options.pop("length", points))
    return Convolution(
        normal(*shape), decaying(normal, 2, shape[-1]), normal(*shape), normal(*shape), dtype=dtype, mask=mask.bins,
        seed=seed, **options,
    )  # fmt: skip


def check_forward(c: Convolution) -> None:
    assert_rows(c.forward(), c.expected(), LEAST[c.dtype], LEAST[c.dtype] - 3)


def check_gradients(c: Convolution, dy) -> None:
    wanted = c.expected_gradients(dy)
    for name, got in c.gradients(dy).items():
        least = LEAST[c.dtype] if name != "k" else min(LEAST[c.dtype], 60.0) if c.dtype != SINGLE else 120.0
        assert_rows(got, wanted[name], least - 1, least - 6)


@pytest.mark.parametrize("kind", ["first", "last", "quarter", "band", "mixed"])
@pytest.mark.parametrize("points", FACTORS)
def test_every_size_and_mask(points, kind, normal, seed):
    c = gated(normal, points, BF16 if kind == "last" else FP16, masks(points)[kind], seed, 5 if points <= 1024 else 2)
    check_forward(c)
    name = c.launch("half_forward")[0].name
    assert ("Switches<true, true, true, true>" in name) == (points > 512)


@pytest.mark.parametrize("kind", ["quarter", "mixed"])
@pytest.mark.parametrize("points", FACTORS)
def test_gradients_of_every_size(points, kind, normal, seed):
    c = gated(normal, points, FP16, masks(points)[kind], seed, 5 if points <= 1024 else 2)
    check_gradients(c, normal(*c.u.shape))
    assert ("Switches<true, true, true, true>" in c.launch("half_backward")[0].name) == (points > 512)


@pytest.mark.parametrize("arch", ["sm_80", "sm_86"])
@pytest.mark.parametrize("points", [4096, 8192, 16384])
def test_other_devices(points, arch, normal, seed):
    """Where spectra stay in device memory; where the longest rows do not fit they are no kernel's."""
    if (points, arch) == (16384, "sm_86"):
        pytest.skip("no kernel of half precision")
    c = gated(normal, points, FP16, masks(points)["quarter"], seed, 2, arch=arch)
    check_forward(c)
    check_gradients(c, normal(*c.u.shape))


@pytest.mark.parametrize("kind", ["quarter", "mixed"])
@pytest.mark.parametrize("points", [256, 1024, 4096])
def test_single_precision(points, kind, normal, seed):
    c = gated(normal, points, SINGLE, masks(points)[kind], seed)
    check_forward(c)
    check_gradients(c, normal(*c.u.shape))


@pytest.mark.parametrize("dtype", [FP16, SINGLE], ids=["fp16", "fp32"])
@pytest.mark.parametrize("gates", [(), ("pre_gate",), ("post_gate",)])
def test_rows_shorter_than_the_mask(dtype, gates, normal, seed):
    """In the mask's transform, and off their alignment too."""
    for length in (1000, 1003):
        shape = (2, 2, length)
        given = {gate: normal(*shape) for gate in gates}
        mask = masks(2048)["quarter"].bins
        c = Convolution(normal(*shape), decaying(normal, 2, 700), **given, dtype=dtype, mask=mask, seed=seed)
        check_forward(c)
        check_gradients(c, normal(*shape))


@pytest.mark.parametrize("dtype", [FP16, SINGLE], ids=["fp16", "fp32"])
@pytest.mark.parametrize(
    "options", [{"mode": "full", "offset": 7}, {"mode": "circular", "offset": 9, "correlate": True}]
)
def test_modes(dtype, options, normal, seed):
    c = Convolution(
        normal(2, 2, 600), decaying(normal, 2, 401), dtype=dtype, mask=masks(1024)["mixed"].bins, seed=seed, **options
    )
    check_forward(c)
    check_gradients(c, normal(2, 2, 1000 if options["mode"] == "full" else 600))


@pytest.mark.parametrize("prepared", [1024, 4096])
def test_prepared_spectrum_is_masked(prepared, normal, seed):
    check_forward(gated(normal, prepared, FP16, masks(prepared)["mixed"], seed, prepared_for=prepared))


@pytest.mark.parametrize("points", SKIPPING)
def test_all_kept_is_the_same_bits(points, normal, seed):
    u, k, dy = normal(2, 1, points), decaying(normal, 1, points), normal(2, 1, points)
    dense = Convolution(u, k, u, u, dtype=FP16, seed=seed)
    kept = Convolution(u, k, u, u, dtype=FP16, seed=seed, mask=torch.ones(points, dtype=torch.bool))
    np.testing.assert_array_equal(dense.forward(), kept.forward())
    wanted = dense.gradients(dy)
    for name, got in kept.gradients(dy).items():
        np.testing.assert_array_equal(got, wanted[name])
    for name in ("half_forward", "half_backward"):
        ours, theirs = kept.launch(name)[2], dense.launch(name)[2]
        assert ours.tensor_instructions == theirs.tensor_instructions


@pytest.mark.parametrize("points", SKIPPING)
def test_none_kept_is_silence(points, normal, seed):
    u, k, dy = normal(2, 1, points), decaying(normal, 1, points), normal(2, 1, points)
    c = Convolution(u, k, u, u, dtype=FP16, seed=seed, mask=torch.zeros(points, dtype=torch.bool))
    assert not c.forward().any()
    assert not any(gradient.any() for gradient in c.gradients(dy).values())
    assert c.launch("half_forward")[2].tensor_instructions == 0
    assert c.launch("half_backward")[2].tensor_instructions == 0


def tensor_instructions(points: int, units, transforms: int = 2) -> int:
    """Of a row, where the units named are kept.

    A DFT of N points, N of 16 or twice 16, of a unit of 16 rows takes 4 products of 16 x N numbers with N columns, one
    instruction each 16 x 16 x 8, real input or output half of them. With Q = 16 C columns the inner transforms are, for
    each unit kept, a DFT of its rows (but in a warp's row, where the rows' DFT is the outermost) and C DFTs of 16
    columns. The outermost has, of N x N, the blocks of 16 kept rows, going in, and their columns, coming out.
    """
    n1, p, q = FACTORS[points]
    tiles = q // 8
    of_columns = 4 * tiles
    of_unit = of_columns + (4 * tiles if n1 > 1 else 0)
    first, columns = (n1, p) if n1 > 1 else (p, 1)
    per_block = FrequencyMask.units(points) // (first // 16)
    blocks = len({unit // per_block for unit in units})
    outermost = blocks * (first // 16) * 2 * tiles * columns
    return transforms * (len(units) * of_unit + outermost)


@pytest.mark.parametrize("share", [2, 4, 16])
@pytest.mark.parametrize("points", SKIPPING)
def test_tensor_instructions_fall_in_proportion(points, share, normal, seed):
    """Forward, two transforms a row; backward four, or three where no gate needs y."""
    rows, units = 1 if points > 1024 else 5, FrequencyMask.units(points)
    kept = list(range(0, units, share))
    mask = of_units(points, kept).bins
    u, k, dy = normal(rows, 1, points), decaying(normal, 1, points), normal(rows, 1, points)
    gate = normal(rows, 1, points)
    c = Convolution(u, k, gate, gate, dtype=FP16, mask=mask, seed=seed)
    c.forward()
    assert c.launch("half_forward")[2].tensor_instructions == rows * tensor_instructions(points, kept)
    c.gradients(dy)
    assert c.launch("half_backward")[2].tensor_instructions == rows * tensor_instructions(points, kept, 4)
    c = Convolution(u, k, dtype=FP16, mask=mask, seed=seed)
    c.gradients(dy)
    assert c.launch("half_backward")[2].tensor_instructions == rows * tensor_instructions(points, kept, 3)


def test_units_next_to_one_another_save_the_outermost_transform_too(normal, seed):
    """Of 16K points: half of the units in one half of the spectrum's residues is half of all instructions."""
    assert tensor_instructions(16384, range(16)) == tensor_instructions(16384, range(32)) / 2
    c = Convolution(
        normal(1, 1, 16384), decaying(normal, 1, 16384), dtype=FP16, mask=of_units(16384, list(range(16, 32))).bins,
        seed=seed,
    )  # fmt: skip
    check_forward(c)
    assert c.launch("half_forward")[2].tensor_instructions == tensor_instructions(16384, range(16, 32))
