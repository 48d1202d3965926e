"""Seconds of passes whose sum can be done by hand."""

from dataclasses import replace

import pytest

from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.planning import Device
from longconv_audio.planning.cost import seconds
from longconv_audio.planning.work import Pass

# Everything at 1000 units a second, ten multiprocessors, a second a launch.
GPU = replace(KNOWN["sm_90a"], multiprocessors=10)
DEVICE = Device("one", GPU, 10**9, 1e3, 10**6, 1e3, 1e3, 1e3, 1e3, 1e3, 1.0)
NOTHING = Pass("none", 0, 0, 0, 0, "fma", 0, 0, 0)


@pytest.mark.parametrize("term", ["device_bytes", "cache_bytes", "shared_bytes"])
def test_bytes_over_their_bandwidth(term):
    assert seconds([replace(NOTHING, **{term: 5000})], DEVICE) == pytest.approx(5)


def test_launches():
    assert seconds([replace(NOTHING, launches=3)] * 2, DEVICE) == 6


@pytest.mark.parametrize("unit", ["tensor", "planes", "fma", "double"])
def test_a_share_of_the_rate_of_products(unit):
    took = seconds([replace(NOTHING, flops=5000, unit=unit)], DEVICE)
    assert 5 < took < 20
    assert seconds([replace(NOTHING, flops=5000, unit=unit, factor=1.5)], DEVICE) == pytest.approx(1.5 * took)
    assert seconds([replace(NOTHING, flops=3000, lost=2000, unit=unit)], DEVICE) == pytest.approx(took)


def test_shorter_terms_hide_behind_the_longest_but_not_wholly():
    work = replace(NOTHING, device_bytes=5000)
    both = seconds([replace(work, cache_bytes=1000)], DEVICE)
    assert 5 < both < 6
    assert seconds([replace(work, cache_bytes=5000)], DEVICE) < 10


@pytest.mark.parametrize(
    ("pieces", "at_once", "waves"),
    [(10, 10, 1), (11, 11, 2), (1, 1, 1), (30, 10, 3), (31, 10, 4), (30, 15, 4), (2.5, 2.5, 1)],
)
def test_waves(pieces, at_once, waves):
    """A wave takes as long as a piece on one multiprocessor: a tenth of the device."""
    work = replace(NOTHING, shared_bytes=100 * pieces, pieces=pieces, at_once=at_once)
    assert seconds([work], DEVICE) == pytest.approx(waves * 100 / 100)
