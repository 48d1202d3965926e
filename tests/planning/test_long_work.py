"""Bytes, operations and memory of rows that no block holds, held to closed forms worked out by hand."""

import dataclasses

import pytest

from longconv_audio.planning import candidates, device_named, plan

UNCACHED = dataclasses.replace(device_named("h200"), cache_bytes=0)
BATCH, CHANNELS, LENGTH = 8, 4, 1 << 20
ROWS = BATCH * CHANNELS


def with_points(points, taps, **options):
    found = candidates(BATCH, CHANNELS, LENGTH, taps, device=UNCACHED, prepared=True, **options)
    return next(p for p in found if p.points == points)


@pytest.mark.parametrize(("dtype", "sample", "point"), [("float16", 2, 4), ("float32", 4, 8)])
def test_gradients_of_whole_rows(dtype, sample, point):
    """u and dy to planes, both and du's through the blocks, du; the sums of each group, and the taps of each sum."""
    found = with_points(LENGTH, LENGTH, dtype=dtype, backward=True)
    assert (found.algorithm, found.group) == ("three-pass", 32)
    planes = ROWS * LENGTH * point
    sums = ROWS // BATCH * LENGTH * 8
    of_taps = CHANNELS * LENGTH * (2 * 8 + 4 + 6 * 4)  # their transform, zeros, a sum to these, and a copy
    assert found.bytes == 3 * ROWS * LENGTH * sample + 6 * planes + CHANNELS * LENGTH * point + 2 * sums + of_taps


def test_a_gate_behind_takes_another_convolution_backward():
    """Of u's planes, which are there, to the gate's gradient: planes read, written, read; dy read, dpost written."""
    gated, plain = (with_points(LENGTH, LENGTH, backward=True, post_gate=gate) for gate in (True, False))
    more = 3 * ROWS * LENGTH * 8 + CHANNELS * LENGTH * 8 + 3 * ROWS * LENGTH * 4
    assert gated.bytes - plain.bytes == more
    assert gated.flops > plain.flops


def test_gradients_of_tiles_in_blocks():
    """The input's is a convolution of dy, whose filters' spectra are made anew; the taps' reads u and dy once more."""
    taps = 5000
    found = with_points(16384, taps, backward=True)
    assert (found.algorithm, found.passes, found.outer) == ("overlap-save", 1, ())
    seen = LENGTH + (found.tiles - 1) * (taps - 1)
    spectra = CHANNELS * (taps * 4 + 16384 * 8)
    convolution = 4 * ROWS * (seen + LENGTH) + CHANNELS * 16384 * 8 + spectra
    gradient = 4 * ROWS * (seen + LENGTH) + CHANNELS * 16384 * 8 + CHANNELS * taps * 4 * 4
    assert found.bytes == convolution + gradient


def test_two_gradients_are_two_launches_of_tiles():
    """With a gate in front u's gradient and the gate's are written by one each: all that either reads is read twice."""
    gated, plain = (with_points(16384, 5000, backward=True, pre_gate=gate) for gate in (True, False))
    seen = LENGTH + (plain.tiles - 1) * 4999
    once = 4 * ROWS * (seen + LENGTH) + CHANNELS * 16384 * 8
    assert gated.bytes - plain.bytes == once + 4 * ROWS * (2 * LENGTH + seen)


@pytest.mark.parametrize(("dtype", "point"), [("float16", 4), ("float32", 8)])
def test_planes_of_a_group_are_256_megabytes_at_most(dtype, point):
    found = plan(64, 768, 1 << 18, 1 << 18, dtype=dtype, device=UNCACHED, prepared=True)
    assert found.group * found.points * 8 == 256 << 20
    tensors = 2 * 64 * 768 * (1 << 18) * (point // 2) + 768 * (1 << 18) * 4
    planes, spectra = found.group * found.points * point, 768 * found.points * (point + 8)
    assert found.memory == tensors + planes + spectra


def test_spectra_that_are_made_are_those_of_a_group():
    """Two channels of 64 rows at a time: two filters' spectra, and their planes."""
    made, there = (plan(64, 768, 1 << 18, 1 << 18, device=UNCACHED, prepared=p) for p in (False, True))
    assert made.group == 128
    assert there.memory - made.memory == (768 - 2) * made.points * 16
