"""Bytes and operations of plans, held to closed forms worked out by hand."""

import dataclasses
from math import log2, prod

import pytest

from longconv_audio.planning import candidates, device_named, plan

H200 = device_named("h200")
UNCACHED, CACHED = (dataclasses.replace(H200, cache_bytes=size) for size in (0, 1 << 30))
BATCH, CHANNELS = 64, 768
ROWS = BATCH * CHANNELS


def fused(length, **options):
    (found,) = (
        p
        for p in candidates(BATCH, CHANNELS, length, length, device=H200, prepared=True, **options)
        if (p.algorithm, p.points) == ("fused", length)
    )
    return found


# Tensor instructions of 4096 operations that a row takes forward, as the emulator counts them.
@pytest.mark.parametrize(("length", "instructions"), [(1024, 128), (4096, 640), (8192, 1280), (16384, 3072)])
def test_half_rows_take_so_many_tensor_instructions(length, instructions):
    assert fused(length, dtype="float16").flops == ROWS * instructions * 4096
    assert fused(length, dtype="bfloat16", backward=True).flops - gradient_flops(length) == (
        ROWS * instructions * 4096 * 3 // 2
    )


def gradient_flops(points):
    """Of a filter's gradient on its way back from its spectrum: 6 M log2(M) a channel."""
    return CHANNELS * 6 * points * (points.bit_length() - 1)


@pytest.mark.parametrize(("length", "bits"), [(128, 7), (2048, 11), (16384, 14)])
def test_single_rows_take_butterflies(length, bits):
    assert fused(length).flops == ROWS * 6 * length * (2 * bits + 1)
    gated = fused(length, backward=True, pre_gate=True, post_gate=True)
    assert gated.flops == ROWS * 6 * length * (4 * bits + 3) + gradient_flops(length)


@pytest.mark.parametrize(
    ("options", "planes"),
    [({}, 2), ({"pre_gate": True}, 3), ({"pre_gate": True, "post_gate": True}, 4)],
)
@pytest.mark.parametrize(("dtype", "sample", "point"), [("float16", 2, 4), ("float32", 4, 8)])
def test_fused_bytes(dtype, sample, point, options, planes):
    """Each input and result once, and each spectrum once."""
    assert fused(4096, dtype=dtype, **options).bytes == planes * ROWS * 4096 * sample + CHANNELS * 4096 * point


@pytest.mark.parametrize(("gates", "planes"), [(False, 3), (True, 7)])
def test_fused_bytes_backward(gates, planes):
    """With more than 256 channels each has one sum of spectra, written and read; and there are taps' gradients."""
    sums = 2 * CHANNELS * 4096 * 8
    rows = planes * ROWS * 4096 * 4 + CHANNELS * 4096 * 8
    found = fused(4096, backward=True, pre_gate=gates, post_gate=gates)
    assert found.bytes == rows + sums + CHANNELS * 4096 * 4


def test_spectra_that_are_not_prepared_are_made_from_the_taps():
    made = plan(BATCH, CHANNELS, 4096, 1000, device=H200)
    there = plan(BATCH, CHANNELS, 4096, 1000, device=H200, prepared=True)
    assert made.bytes - there.bytes == CHANNELS * (1000 * 4 + made.points * 8)
    assert made.flops - there.flops == CHANNELS * 6 * made.points * (made.points.bit_length() - 1)
    shared = plan(BATCH, CHANNELS, 4096, 1000, device=H200, filters=1)
    assert shared.flops - there.flops == (made.flops - there.flops) // CHANNELS
    item = plan(BATCH, CHANNELS, 4096, 1000, device=H200, filters=1, filter_per_item=True)
    assert item.flops - there.flops == BATCH * (shared.flops - there.flops)


def test_filters_of_items_are_read_by_each():
    shared, item = (
        plan(BATCH, 2, 4096, 4096, device=H200, prepared=True, filter_per_item=each) for each in (False, True)
    )
    assert item.bytes - shared.bytes == (BATCH - 1) * 2 * item.points * 8


@pytest.mark.parametrize(("dtype", "sample", "point"), [("float16", 2, 4), ("float32", 4, 8)])
def test_three_passes_cross_memory_three_times(dtype, sample, point):
    """u in, plane out; plane in, plane out; plane in, y out - where the planes do not stay in the cache."""
    length = 1 << 20
    small_cache = candidates(8, 4, length, length, dtype=dtype, device=UNCACHED, prepared=True)
    found = next(p for p in small_cache if p.algorithm == "three-pass" and p.points == length)
    assert found.passes == 3
    assert found.bytes == 32 * length * (2 * sample + 4 * point) + 4 * length * point
    # The inner factors, of which in half precision the last takes 16 where it is 32.
    widths = sum(max(n, 16) for n in inner_factors(found)[:-1]) + 16
    rows = {"float16": 2 * 8 * widths, "float32": 6 * (2 * log2(found.inner_points) + 1)}[dtype]
    outer = 2 * 6 * log2(length // found.inner_points)
    assert found.flops == 32 * length * (rows + outer)


def inner_factors(found):
    """The last factors, as many as make the points of a row within a block."""
    return next(f for f in (found.factors[first:] for first in range(9)) if prod(f) == found.inner_points)


def test_planes_that_stay_in_the_cache_cost_no_device_memory():
    length = 1 << 17
    found = next(
        p
        for p in candidates(64, 4, length, length, dtype="float16", device=CACHED, prepared=True)
        if p.algorithm == "three-pass" and p.points == length
    )
    assert found.bytes == 256 * length * 2 * 2 + 4 * length * 4


def test_overlap_save_reads_the_overlaps_again():
    length, taps = 1_000_000, 5000
    found = next(
        p
        for p in candidates(1, 2, length, taps, device=H200, prepared=True)
        if p.algorithm == "overlap-save" and p.points == 16384
    )
    assert found.hop == 2 * 16384 - taps + 1
    assert found.tiles == -(-length // found.hop)
    assert found.passes == 1
    assert found.bytes == 2 * 4 * (length + (found.tiles - 1) * (taps - 1) + length) + 2 * 16384 * 8
    assert found.flops == 2 * found.tiles * 6 * 16384 * (2 * 14 + 1)


def test_tiles_of_half_rows_are_planes():
    """A block would convolve them in single precision; of planes a tile has both parts of the fold."""
    found = [p for p in candidates(1, 2, 1_000_000, 5000, dtype="float16", device=H200) if p.tiles > 1]
    assert all(p.outer and p.hop == 2 * p.points - 5000 + 1 for p in found)
    assert min(p.points for p in found) == 32768


def test_a_shorter_filter_takes_less():
    """K = L / 8: a third of the work and of the memory beyond inputs and results, at most."""
    length = 1 << 24
    for backward in (False, True):
        dense, partial = (plan(1, 64, length, k, device=H200, backward=backward) for k in (length, length // 8))
        tensors = (3 if backward else 2) * 64 * length * 4
        assert partial.memory - tensors < (dense.memory - tensors) / 3
        assert partial.seconds < dense.seconds


def test_zero_blocks_are_not_multiplied():
    """Of 32 x 16 x 32 the share of all factors but the first: 16 + 16 of 32 / 2 + 16 + 16 as instructions see them."""
    dense, sparse = (fused(16384, dtype="float16", sparsity=s) for s in (0.0, 0.75))
    assert sparse.flops / dense.flops == pytest.approx(1 - 0.75 * 32 / 48)
    assert dense.bytes - sparse.bytes == 0.75 * CHANNELS * 16384 * 4
    assert sparse.seconds < dense.seconds


def test_rows_of_another_type_are_copied_first():
    own = fused(4096, dtype="float16")
    cast = fused(4096, dtype="float32", precision="half")
    assert cast.bytes - own.bytes == 2 * ROWS * 4096 * (4 + 2)


def test_double_precision_goes_through_torch():
    found = plan(BATCH, CHANNELS, 4096, 4096, dtype="float64", device=H200)
    assert found.algorithm == "torch.fft"
    assert 2 * found.points >= 2 * 4096 - 1
    assert found.bytes > 2 * ROWS * 4096 * 8


@pytest.mark.parametrize(("dtype", "sample", "point"), [("float16", 2, 4), ("float32", 4, 8)])
def test_memory(dtype, sample, point):
    """Inputs, results and taps; spectra; backward, sums; and with outer DFTs planes of the rows that are at work."""
    tensors = ROWS * 4096 * sample + CHANNELS * 4096 * 4
    spectra = CHANNELS * 4096 * point
    forward, backward = (fused(4096, dtype=dtype, backward=b) for b in (False, True))
    assert forward.memory == tensors + ROWS * 4096 * sample + spectra
    assert backward.memory == tensors + 2 * ROWS * 4096 * sample + CHANNELS * 4096 * (4 + 8) + spectra
    long = plan(1, 4, 1 << 20, 1 << 20, dtype=dtype, device=H200)
    planes = long.group * long.points * point
    assert planes <= 256 << 20
    spectra = 4 * long.points * (point + 8)  # and the planes of taps
    assert long.memory == 4 * (1 << 20) * (2 * sample + 4) + spectra + planes
