from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longconv_audio.duration import Duration
from longconv_audio.errors import OptionError


@pytest.mark.parametrize(
    ("text", "rate", "samples"),
    [
        ("2.5", 48000, 120000),
        ("0", 48000, 0),
        (".5", 44100, 22050),
        ("5.", 10, 50),
        (" 1:30 ", 1000, 90000),
        ("1:02:03.5", 2, 2 * 3723 + 1),
        ("90:00", 1, 5400),
        ("4800s", 44100, 4800),
        ("4800S", 8000, 4800),
        ("20ms", 44100, 882),
        ("10min", 48000, 28_800_000),
        ("1.5MIN", 10, 900),
        ("0.5ms", 48000, 24),
        ("1e-3", 48000, 48),
        ("0.00001", 50000, 1),  # half a sample rounds up
        ("0.0000099", 50000, 0),
    ],
)
def test_texts(text, rate, samples):
    assert Duration.parse(text).samples(rate) == samples


@pytest.mark.parametrize(
    "text",
    [
        *["", "s", "abc", "-1", "1:60", "1:60:00", "1:2:3:4", "nan", "inf", "1e999999", "2 s", "1,5", "5sec"],
        "1" * 5000,
        "\N{ARABIC-INDIC DIGIT THREE}",
    ],
)
def test_bad_texts(text):
    with pytest.raises(OptionError) as caught:
        Duration.parse(text)
    assert "\n" not in str(caught.value)


def test_a_trailing_s_that_counts_seconds():
    assert Duration.parse("6s", trailing_s="seconds").samples(48000) == 288_000
    assert Duration.parse("2.5s", trailing_s="seconds").samples(10) == 25
    assert Duration.parse("20ms", trailing_s="seconds").samples(1000) == 20


def test_part_of_a_sample_says_how_to_write_seconds():
    with pytest.raises(OptionError, match=r"write 2\.5 for seconds"):
        Duration.parse("2.5s")


def test_numbers_are_seconds_as_written():
    assert Duration.of(0.1).amount == Fraction(1, 10)
    assert Duration.of(3).samples(48000) == 144000
    assert Duration.of("3s").samples(48000) == 3
    assert Duration.of(Duration.of_samples(7)).samples(None) == 7
    assert Duration.of_milliseconds(12.5).samples(48000) == 600
    for bad in (-1, float("nan"), float("inf"), None, 1j):
        with pytest.raises(OptionError):
            Duration.of(bad)
    for bad in (-1, 1.5):
        with pytest.raises(OptionError):
            Duration.of_samples(bad)


def test_seconds_need_a_rate():
    with pytest.raises(OptionError, match="no sample rate"):
        Duration.of(1).samples(None)
    assert Duration.of(0).samples(None) == 0


@given(st.integers(0, 10**9), st.integers(1, 768000))
def test_whole_samples_survive(count, rate):
    assert Duration(Fraction(count, rate)).samples(rate) == count
    assert Duration.parse(f"{count}s").samples(rate) == count
    assert bool(Duration.of_samples(count)) == (count > 0)


@given(st.floats(0, 1e6), st.integers(1, 768000))
def test_rounds_to_the_nearest(seconds, rate):
    assert abs(Duration.of(seconds).samples(rate) - Fraction(repr(seconds)) * rate) <= Fraction(1, 2)
