"""The blocks of a stream on a device."""

import re

import pytest

from longconv_audio.devices.planning import plan_device_stream

HALL = {"taps": 288_000, "inputs": 2, "outputs": 2, "filters": 2}


def test_a_long_filter_gets_transforms_of_several_times_its_length():
    for taps in (1, 1000, 48_000, 288_000, 5_000_000):
        plan = plan_device_stream(taps, inputs=2, outputs=2, filters=2)
        assert plan.hop >= taps // 2
        assert plan.work < 3
        assert plan.window == plan.hop + taps - 1


def test_many_channels_get_shorter_windows():
    few, many = (plan_device_stream(1000, inputs=n, outputs=n, filters=1) for n in (2, 64))
    assert many.hop < few.hop
    assert many.memory < 3 * few.memory


def test_a_block_is_answered_at_once():
    assert plan_device_stream(**HALL, latency="block", block_size=256).hop == 256


@pytest.mark.parametrize(
    ("size", "hop"), [(1_500_000, 924_002), (1_000_000, 500_000), (400_000, 200_000), (2, 1), (1, 1)]
)
def test_a_block_size_is_that_of_the_transform_where_the_filter_leaves_room(size, hop):
    assert plan_device_stream(**HALL, block_size=size).hop == hop


def test_a_short_signal_gets_no_large_blocks():
    assert plan_device_stream(**HALL, length=1000).hop == 288_999


def test_little_memory_makes_short_blocks():
    plenty = plan_device_stream(**HALL)
    little = plan_device_stream(**HALL, available=plenty.memory - 1)
    assert plenty.hop / 2 < little.hop < plenty.hop
    assert little.memory < plenty.memory
    assert plan_device_stream(**HALL, available=plenty.memory) == plenty


def test_a_block_that_does_not_fit_is_refused_with_the_largest_that_does():
    available = 200 << 20
    with pytest.raises(ValueError, match=r"need .* GiB and the device has 200\.0 MiB left") as caught:
        plan_device_stream(**HALL, block_size=1 << 23, available=available)
    largest = int(re.search(r"largest block size that fits is (\d+)", str(caught.value))[1])
    assert plan_device_stream(**HALL, block_size=largest, available=available).memory <= available
    with pytest.raises(ValueError, match="largest"):
        plan_device_stream(**HALL, block_size=largest + largest // 8, available=available)


def test_a_filter_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"^2 filters of 288000 taps need .* and the device has 1\.0 MiB left: use"):
        plan_device_stream(**HALL, available=1 << 20)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"latency": "zero"}, "sample by sample"),
        ({"latency": "none"}, "latency is 'none'"),
        ({"latency": "block"}, "needs block_size"),
        ({"block_size": 0}, "block_size is 0"),
    ],
)
def test_settings_that_do_not_exist(settings, words):
    with pytest.raises(ValueError, match=words):
        plan_device_stream(**HALL, **settings)


def test_it_prints_as_a_sentence():
    assert re.fullmatch(
        r"offline: 288000 taps on windows of \d+ samples, \d+ of them new; about \d+ MiB on the device",
        str(plan_device_stream(**HALL)),
    )
