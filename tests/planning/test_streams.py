"""Plans as pure functions: what they must always hold, whatever the cost model chooses."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longconv_audio.planning import (
    MODES,
    fast_sizes,
    fft_nanoseconds,
    output_window,
    plan_overlap_save,
    plan_stream,
)

TAPS = st.integers(1, 3_000_000)


@settings(max_examples=80, deadline=None)
@given(taps=TAPS, channels=st.sampled_from([1, 2, 6, 64]), workers=st.integers(1, 4), itemsize=st.sampled_from([4, 8]))
def test_offline_partitions_cover_the_filter_and_alias_nothing(taps, channels, workers, itemsize):
    plan = plan_stream(taps, inputs=channels, outputs=channels, paths=channels, workers=workers, itemsize=itemsize)
    (segment,) = plan.segments
    assert segment.offset == 0
    assert segment.size * segment.count >= taps > segment.size * (segment.count - 1)
    assert segment.fft_size >= segment.size + plan.hop - 1
    # The delay line of spectra moves on by one partition a hop.
    assert segment.count == 1 or segment.size == plan.hop
    assert plan.rows >= 1
    assert plan.memory > 0


@settings(max_examples=80, deadline=None)
@given(taps=TAPS, latency=st.sampled_from(["zero", "block"]), block=st.sampled_from([1, 16, 64, 100, 480, 4096]))
def test_partitions_in_time_are_due_when_they_are_needed(taps, latency, block):
    plan = plan_stream(taps, latency=latency, block_size=block, inputs=2, outputs=2, paths=2)
    base = min(block, 128) if latency == "zero" else block  # a direct head of more taps would cost too much
    reached = plan.head
    assert plan.head == (base if latency == "zero" else 0)
    assert plan.hop == plan.segments[0].size == base
    for number, segment in enumerate(plan.segments):
        assert segment.offset == reached
        reached += segment.size * segment.count
        assert segment.size % base == 0
        assert segment.fft_size >= 2 * segment.size
        if number:  # a block's worth of time to compute in
            assert segment.offset >= 2 * segment.size
    assert reached >= taps


@pytest.mark.parametrize("latency", ["offline", "zero", "block"])
def test_a_longer_filter_never_costs_less(latency):
    costs = [
        plan_stream(taps, latency=latency, block_size=None if latency == "offline" else 64).nanoseconds
        for taps in (1, 100, 1000, 10_000, 100_000, 1_000_000)
    ]
    assert all(longer >= 0.95 * shorter for shorter, longer in pairwise(costs))


def test_a_short_signal_gets_no_large_blocks():
    long, short = (plan_stream(48_000, inputs=2, outputs=2, paths=2, length=n) for n in (100_000_000, 4_800))
    assert short.rows * short.hop < long.rows * long.hop
    assert short.memory < long.memory


def test_memory_depends_on_the_filter_and_not_on_the_signal():
    hour, day = (plan_stream(288_000, inputs=2, outputs=2, paths=2, length=n) for n in (172_800_000, 4_147_200_000))
    assert hour.memory == pytest.approx(day.memory, rel=0.1)
    assert day.memory < 128 << 20


def test_the_given_fft_size_is_used():
    for size in (512, 4096, 1 << 20):
        assert plan_stream(10_000, block_size=size).segments[0].fft_size == size


@given(length=st.integers(1, 10_000_000), taps=st.integers(1, 2_000_000))
@settings(max_examples=60, deadline=None)
def test_overlap_save_blocks_hold_the_filter(length, taps):
    assert plan_overlap_save(length, taps) >= 2 * taps


@given(least=st.integers(1, 10_000_000), factor=st.integers(1, 20))
@settings(max_examples=200, deadline=None)
def test_fast_sizes_are_even_and_smooth(least, factor):
    sizes = fast_sizes(least, least * factor)
    assert sizes == sorted(set(sizes))
    for n in sizes:
        assert n >= least
        assert n % 2 == 0
        for prime in (2, 3, 5):
            while n % prime == 0:
                n //= prime
        assert n == 1


def test_rows_in_a_vector_are_cheaper_than_alone():
    assert fft_nanoseconds(4096, 4, 4) < 3 * fft_nanoseconds(4096, 1, 4)
    assert fft_nanoseconds(1 << 22, 1, 4) > 4 * fft_nanoseconds(1 << 20, 1, 4)


@given(length=st.integers(0, 50), taps=st.integers(0, 50))
def test_windows_lie_within_the_full_convolution(length, taps):
    full = max(length + taps - 1, 0) if length and taps else 0
    for mode in MODES[:-1]:
        start, samples = output_window(mode, length, taps)
        assert start >= 0
        assert start + samples <= full
    assert output_window("full", length, taps) == (0, full)


def test_a_plan_prints_as_a_sentence():
    text = str(plan_stream(288_000, latency="zero", inputs=2, outputs=2, paths=2))
    assert "288000 taps as 64 taps directly" in text
    assert "ns a sample" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"latency": "soon"}, "latency is 'soon'"),
        ({"latency": "block"}, "block_size"),
        ({"block_size": 0}, "at least 1"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        plan_stream(100, **arguments)
    with pytest.raises(ValueError, match="mode is 'wrap'"):
        output_window("wrap", np.int64(3), 3)
