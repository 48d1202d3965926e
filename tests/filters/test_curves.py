"""Curves: what texts of every kind mean, and the lines they are refused for."""

import io
import math

import numpy as np
import pytest
import scipy.signal

from longconv_audio.errors import OptionError, UnreadableError
from longconv_audio.filters.biquads import Biquad, shelf_q
from longconv_audio.filters.curves import Curve, read_curve

RATE = 48_000
REW_FILTERS = """Filter Settings file

Room EQ V5.20
Dated: Jan 1, 2026 10:00:00 AM

Notes: the left, twice

Equaliser: Generic
left 1
Filter  1: ON  PK       Fc   63.0 Hz  Gain  -5.0 dB  Q  4.32
Filter  2: ON  PK       Fc   1,053 Hz  Gain   2.5 dB  Q  1.00
Filter  3: OFF PK       Fc   200 Hz  Gain  9.0 dB  Q  1.00
Filter  4: ON  None
Filter  5: ON  LS Q     Fc   80.0 Hz  Gain   3.0 dB  Q  0.70
"""
AUTOEQ = """Preamp: -6.1 dB
Filter 1: ON PK Fc 105 Hz Gain 7.3 dB Q 0.70
Filter 2: ON HSC Fc 10000 Hz Gain -2.5 dB Q 0.70
"""


def read(text, encoding="utf-8"):
    return read_curve(io.BytesIO(text.encode(encoding)))


@pytest.mark.parametrize(
    "text",
    [
        "freq,dB\n20,1.5\n100,-3.5\n1000,2",
        "20;1.5\n100;-3.5\n1000;2",
        "20;1,5\n100;-3,5\n1000;2,0\n",
        "20\t1,5\t12,5\n100\t-3,5\t90\n1000\t2,0\t0",
        '"20","1.5"\r\n"100","-3.5"\r\n"1000","2"\r\n',
        "20, 1.5\n 100 ,  -3.5\n1e3, +2",
        "\n# a\n// b\n* c\n* Freq(Hz) SPL(dB) Phase(degrees)\n20.000 1.500 12.1\n100.000 -3.500 0\n1000.000 2.000 -7",
        "GraphicEQ: 20 1.5; 100 -3.5; 1000 2.0",
        "20,000;1,500\n100,000;-3,500\n1.000,000;2,000",
        "20,1.5,\n100,-3.5,\n1000,2,",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables(text, encoding):
    curve = read(text, encoding)
    (table,) = curve.tables
    assert table.tolist() == [[20, 1.5], [100, -3.5], [1000, 2]]
    assert not curve.notes
    assert not curve.filters


def test_between_points_and_beyond_the_ends():
    curve = read("100 0\n10000 -6\n")
    frequencies = np.array([0, 1, 100, 1000, 10_000 / 10**0.5, 10_000, 24_000])
    assert np.abs(curve.levels(frequencies, RATE) - [0, 0, 0, -3, -4.5, -6, -6]).max() < 1e-12


def test_unsorted_points_are_sorted_and_said():
    curve = read("1000 2\n20 1\n")
    assert curve.tables[0].tolist() == [[20, 1], [1000, 2]]
    assert "sorted" in curve.warnings(RATE)[0]


def test_points_out_of_reach_are_said():
    curve = read("0 5\n20 1\n20000 3\n30000 2")
    assert ["0 Hz" in curve.warnings(RATE)[0], "1 point above" in curve.warnings(RATE)[1]] == [True, True]
    assert len(curve.warnings(96_000)) == 1
    assert curve.levels([20_000.0], RATE) == pytest.approx([3.0])
    with pytest.raises(OptionError, match="all points are at or above half"):
        curve.levels([10.0], 40)


def test_filter_lines():
    curve = read(REW_FILTERS)
    found = [(f.kind, f.frequency, f.gain_db, f.q) for f in curve.filters]
    assert found == [("peaking", 63, -5, 4.32), ("peaking", 1053, 2.5, 1), ("low shelf", 80, 3, 0.7)]
    curve = read(AUTOEQ)
    assert curve.preamp_db == -6.1
    assert [f.kind for f in curve.filters] == ["peaking", "high shelf"]
    # At its middle a band has its gain; a shelf half of it.
    alone = read("Filter 1: ON PK Fc 1,5 kHz Gain -7,3 dB Q 0,70")
    assert alone.levels([1500.0], RATE) == pytest.approx([-7.3])
    together = read("Preamp: 1 dB\nFilter: ON HSQ Fc 1000 Hz Gain 6 dB Q 0.5\nGraphicEQ: 20 1; 1000 2")
    assert together.levels([1000.0], RATE) == pytest.approx([1 + 3 + 2])
    off = read("Filter 1: OFF PK Fc 100 Hz Gain 3 dB Q 1\nFilter 2: ON AP Fc 100 Hz Q 1")
    assert off.levels([100.0], RATE) == [0]
    assert ["all-pass" in off.notes[0], "flat" in off.notes[1]] == [True, True]


def test_thousands_are_told_from_decimals_by_the_rest_of_the_line():
    def frequency(text):
        return read(f"Filter 1: ON PK {text}").filters[0].frequency

    assert frequency("Fc 1,053 Hz Gain -5.0 dB Q 1.0") == 1053
    assert frequency("Fc 1,053 Hz Gain -5 dB Q 1") == 1053
    assert frequency("Fc 1.053 Hz Gain -5,0 dB Q 1") == 1053
    assert frequency("Fc 1\u00a0053 Hz Gain -5,0 dB Q 1") == 1053
    assert frequency("Fc 31,5 Hz Gain -5,0 dB Q 1") == 31.5


def cookbook(kind, frequency, gain, q, rate=RATE):
    """The coefficients as the Audio EQ Cookbook lists them."""
    w, a = 2 * np.pi * frequency / rate, 10 ** (gain / 40)
    c, alpha = np.cos(w), np.sin(w) / (2 * q)
    root = 2 * np.sqrt(a) * alpha
    return {
        "low-pass": ([(1 - c) / 2, 1 - c, (1 - c) / 2], [1 + alpha, -2 * c, 1 - alpha]),
        "high-pass": ([(1 + c) / 2, -1 - c, (1 + c) / 2], [1 + alpha, -2 * c, 1 - alpha]),
        "band-pass": ([alpha, 0, -alpha], [1 + alpha, -2 * c, 1 - alpha]),
        "notch": ([1, -2 * c, 1], [1 + alpha, -2 * c, 1 - alpha]),
        "peaking": ([1 + alpha * a, -2 * c, 1 - alpha * a], [1 + alpha / a, -2 * c, 1 - alpha / a]),
        "low shelf": (
            [a * (a + 1 - (a - 1) * c + root), 2 * a * (a - 1 - (a + 1) * c), a * (a + 1 - (a - 1) * c - root)],
            [a + 1 + (a - 1) * c + root, -2 * (a - 1 + (a + 1) * c), a + 1 + (a - 1) * c - root],
        ),
        "high shelf": (
            [a * (a + 1 + (a - 1) * c + root), -2 * a * (a - 1 + (a + 1) * c), a * (a + 1 + (a - 1) * c - root)],
            [a + 1 - (a - 1) * c + root, 2 * (a - 1 - (a + 1) * c), a + 1 - (a - 1) * c - root],
        ),
    }[kind]


@pytest.mark.parametrize("kind", ["low-pass", "high-pass", "band-pass", "notch", "peaking", "low shelf", "high shelf"])
@pytest.mark.parametrize(("frequency", "q"), [(63, 4.3), (1000, 0.7), (20_000, 1.2)])
def test_biquads_are_the_cookbooks(kind, frequency, q):
    frequencies = np.linspace(10, RATE / 2 - 10, 999)
    _, response = scipy.signal.freqz(*cookbook(kind, frequency, -7.5, q), frequencies, fs=RATE)
    found = Biquad(kind, frequency, q, -7.5).levels(frequencies, RATE)
    assert np.abs(10 ** (found / 20) - np.abs(response)).max() < 1e-9
    ends = Biquad(kind, frequency, q, -7.5).levels(np.array([0, RATE / 2]), RATE)
    dead = {"low-pass": [0, -200], "high-pass": [-200, 0], "band-pass": [-200, -200]}
    alive = {"low shelf": [-7.5, 0], "high shelf": [0, -7.5]}
    assert np.abs(ends - (dead | alive).get(kind, [0, 0])).max() < 1e-6


def test_slopes_and_bandwidths():
    # A shelf of slope 1 is Butterworth's at small gains; a band one octave wide falls to half its gain at the edges.
    assert shelf_q(1.0, 0.01) == pytest.approx(0.5**0.5)
    octave = read("Filter 1: ON PK Fc 1000 Hz Gain 6 dB BW Oct 1").filters[0]
    assert octave.levels(1000 * 2.0 ** np.array([-0.5, 0, 0.5]), 1e7) == pytest.approx([3, 6, 3], abs=1e-3)
    # Near half the sample rate the Cookbook's bandwidth keeps the lower edge where it is, within what warping leaves.
    high = read("Filter 1: ON PK Fc 10 kHz Gain 6 dB BW Oct 1").filters[0]
    q = 1 / (2 * math.sinh(math.log(2) / 2 * (w := 2 * math.pi * 10_000 / RATE) / math.sin(w)))
    frequencies = np.linspace(100, RATE / 2, 50)
    assert np.allclose(
        high.levels(frequencies, RATE), Biquad("peaking", 10_000, q, 6.0).levels(frequencies, RATE), atol=1e-9
    )
    assert Biquad("peaking", RATE / 2 - 1e-6, None, 6.0, octaves=20.0).levels(frequencies, RATE).max() <= 6.0 + 1e-9
    shelf = read("Filter 1: ON LSC 12 dB Fc 100 Hz Gain 6 dB").filters[0]
    assert (shelf.frequency, shelf.q) == (100, shelf_q(1.0, 6.0))
    plain = read("Filter 1: ON LS Fc 100 Hz Gain 6 dB").filters[0]
    assert (plain.frequency, plain.q) == (100, shelf_q(0.9, 6.0))
    assert [read(f"Filter 1: ON {kind} Fc 100 Hz").filters[0].q for kind in ("NO", "LP", "HP")] == pytest.approx(
        [30, 0.5**0.5, 0.5**0.5]
    )
    assert read("Preamp: -2 dB\nPreamp: -1.5 dB\nFilter 1: ON NO Fc 100 Hz").preamp_db == -3.5
    doubtful = read("Filter 1: ON LS Fc 100 Hz Gain 6 dB Q 0.7\nFilter 2: ON LSC Fc 100 Hz Gain 6 dB Q 0.7")
    assert doubtful.filters[0].frequency == doubtful.filters[1].frequency == 100
    (note,) = doubtful.notes
    assert "input:1: LS with a Q: Fc is taken for the shelf's middle" in note
    corners = read("Filter 1: ON LS 6dB Fc 100 Hz Gain 6 dB\nFilter 2: ON HS 6dB Fc 100 Hz Gain -6 dB").filters
    assert corners[0].frequency * corners[1].frequency == pytest.approx(100**2)
    assert corners[0].frequency == pytest.approx(100 * 10 ** (6 / 40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "input: is empty"),
        ("* nothing\n", "input: is empty"),
        ("freq,dB\n", "holds no points"),
        ("20 1\n", "input:1: 1 point: a curve needs two"),
        ("GraphicEQ: 20 -1.2", "input:1: 1 point: a curve needs two"),
        ("GraphicEQ: 20 -1.2; 30", "input:1: expected pairs"),
        ("GraphicEQ: 20 -1.2; 20 3", "input:1: 20 Hz stands there twice"),
        ("# a\n20 1\n30 2\n20 3", "input:4: 20 Hz stands there twice, first in line 2"),
        ("20 1\n\n30 two\n", "input:3: 'two' is not a number"),
        ("20 1\nand then\n", "input:2: 'and' is not a number"),
        ("20 1\nonward\n", "input:2: 'onward': expected a frequency"),
        ("20 1\n30 nan\n", "input:2: 'nan' is not a finite"),
        ("20 1\n30 -inf\n", "input:2: '-inf' is not a finite"),
        ("20 1\n-30 1\n", "input:2: -30 Hz"),
        ("20 1\n30 500\n", "input:2: 500 dB"),
        ("20,1,2,3\n", "input:1: '20,1,2,3'"),
        ("20.5;1,5\n", "input:1: points and commas"),
        (AUTOEQ + "Chanel: L\n", "input:4: 'Chanel: L' is not known"),
        (REW_FILTERS + "Filtr 6: ON PK\n", "input:15: 'Filtr 6: ON PK' is not known"),
        ("Filter 1: ON XY Fc 100 Hz\n", "input:1: a filter of type 'XY' is not known"),
        ("Filter 1: ON PK Fc 100 Hz Gain 3 dB\n", "input:1: a filter PK without Q"),
        ("Filter 1: ON PK Gain 3 dB Q 1\n", "input:1: a filter PK without Fc"),
        ("Filter 1: ON LS Fc 30 Hz\n", "input:1: a filter LS without Gain"),
        ("Filter 1: ON PK Fc 100 Hz Gain 3 dB Q 0\n", "input:1: Q of 0: expected 0.001 to 10000"),
        ("Filter 1: ON PK Fc 100 Hz Gain 3 dB Q 1 Q 2\n", "says one thing twice"),
        ("Filter 1: ON PK Fc 100 Hz Gain 3 dB Q 1 W 2\n", "input:1: 'W 2' is not known"),
        ("Filter 1: ON LSC 18 dB Fc 100 Hz Gain 3 dB\n", "input:1: a slope of 18 dB per octave: expected 0.1 to 12"),
        ("Filter 1: ON LP Fc 1.2.3 Hz\n", "input:1: '1.2.3' is not a number"),
        ("Filter 1: ON PK Fc 100 Hz Gain 3 dB BW Oct 5000\n", "input:1: a bandwidth of 5000 octaves"),
        ("Filter 1: ON PK Fc 0 Hz Gain 3 dB Q 1\n", "input:1: Fc of 0 Hz: expected 0.001 to 1e+06 Hz"),
        ("Preamp: -500 dB\n", "input:1: -500 dB"),
        ("RIFF\0\0\0WAVE", "is not a text"),
    ],
)
def test_refusals_name_the_line(text, message):
    with pytest.raises(UnreadableError) as caught:
        read(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_refusals(tmp_path):
    with pytest.raises(UnreadableError, match="no such file"):
        read_curve(tmp_path / "none.csv")
    with pytest.raises(OptionError, match="input:3: 18000 Hz is not below half the sample rate, 16000 Hz"):
        read(AUTOEQ.replace("10000", "18000")).levels([100.0], 32_000)
    for frequencies, levels in (([20], [1]), ([20, 20], [1, 2]), ([20, np.nan], [1, 2]), ([-1, 2], [1, 2])):
        with pytest.raises(OptionError):
            Curve.of_points(frequencies, levels)
