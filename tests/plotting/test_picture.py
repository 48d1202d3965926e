"""Pictures as files: kinds, formats, sizes, names, refusals."""

import os
import sys
import tracemalloc

import numpy as np
import pytest

from longconv_audio.errors import NonFiniteError, OptionError, UnwritableError
from longconv_audio.plotting import KINDS, plot
from longconv_audio.plotting.layout import LEAST_DPI, arrange, default_size
from longconv_audio.plotting.style import frequency_labels
from longconv_audio.plotting.view import STRIP_GAP
from tests.plotting.files import png

RATE = 16000


@pytest.fixture
def room(rng):
    return rng.standard_normal((2, 4000)) * 10 ** (-3 * np.arange(4000) / 3000) + 1e-3


def axes_of(monkeypatch):
    """The axes of the pictures drawn from now on."""
    from matplotlib.figure import Figure

    found, add = [], Figure.add_axes

    def remember(self, *args, **options):
        found.append(add(self, *args, **options))
        return found[-1]

    monkeypatch.setattr(Figure, "add_axes", remember)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_a_picture_of_the_size_asked_for(tmp_path, room, kind):
    path = tmp_path / "a.png"
    picture = plot(path, [("room", room, RATE)], kinds=[kind], size=(640, 400))
    (width, height), lines = png(path)
    assert (width, height) == (picture.width, picture.height) == (640, 400)
    assert (picture.kinds, picture.format, picture.band) == ((kind,), "png", (20.0, 8000.0))
    assert len(set(lines[::97])) > 20  # not a blank sheet
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("SVG", b"<?xml"), ("pdf", b"%PDF")])
def test_formats_are_the_same_bytes_every_time(tmp_path, room, suffix, start):
    sounds = [("room", room[0], RATE)]
    for name in ("a", "b"):
        plot(tmp_path / f"{name}.{suffix}", sounds, kinds=["magnitude", "spectrogram"], size=(700, 500))
    data = (tmp_path / f"a.{suffix}").read_bytes()
    assert data.startswith(start)
    assert data == (tmp_path / f"b.{suffix}").read_bytes()
    assert len(data) > 5000


def test_defaults_by_length(tmp_path, monkeypatch):
    axes = axes_of(monkeypatch)
    picture = plot(tmp_path / "a.png", [("filter", np.ones(9), 1000)])
    assert picture.kinds == ("waveform", "decay", "magnitude", "group-delay", "spectrogram")
    assert picture.band == (5.0, 500.0)
    titles = [a.get_title("left") for a in axes if a.get_title("left")]
    assert [title.split()[0] for title in titles] == ["Waveform", "Energy", "Magnitude", "Group", "Spectrogram,"]
    picture = plot(tmp_path / "b.png", [("recording", np.ones(70_000), 1000)])
    assert picture.kinds == ("waveform", "magnitude", "spectrogram")


def test_a_long_waveform_takes_no_copies_of_it(tmp_path):
    x = np.tile(np.sin(np.arange(8000.0)), 1000)
    tracemalloc.start()
    plot(tmp_path / "p.png", [("x", x, RATE)], kinds=["waveform"])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 0.7 * x.nbytes


def test_two_over_each_other_differ_in_dashes_and_in_grey(tmp_path, monkeypatch, room):
    axes = axes_of(monkeypatch)
    sounds = [("one", room[0], RATE), ("other", room[0, :1000], 2 * RATE)]
    picture = plot(tmp_path / "a.png", sounds, kinds=["magnitude", "decay", "waveform", "phase"], unwrap=True)
    assert [(sound.name, sound.samples, sound.seconds) for sound in picture.sounds] == [
        ("one", 4000, 0.25),
        ("other", 1000, 1000 / (2 * RATE)),
    ]
    first, second = axes[0].lines
    assert first.get_linestyle() != second.get_linestyle()
    red, green, blue = (np.array([int(line.get_color()[i : i + 2], 16) for line in (first, second)]) for i in (1, 3, 5))
    luminance = (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255
    assert abs(luminance[0] - luminance[1]) > 0.25
    # Each ends at half of its own rate.
    assert first.get_xdata().max() == pytest.approx(RATE / 2, rel=0.01)
    assert second.get_xdata().max() == pytest.approx(RATE, rel=0.01)
    texts = [text.get_text() for text in axes[0].figure.texts]
    assert texts == ["one", "other"]


def test_waterfalls_beside_each_other_have_the_same_time(tmp_path, monkeypatch, room):
    axes = axes_of(monkeypatch)
    sounds = [("one", room[0], RATE), ("shorter", room[0] * 0.99 ** np.arange(4000), RATE)]
    plot(tmp_path / "a.png", sounds, kinds=["waterfall"])
    one, other = ([text.get_text() for text in a.texts] for a in axes)
    assert "Time (ms)" in one
    assert one[1:] == other[1:]
    assert (one[0], other[0]) == ("one", "shorter")


def test_the_curves_are_those_of_the_data(tmp_path, monkeypatch):
    axes = axes_of(monkeypatch)
    h = np.zeros(64)
    h[[10, 12]] = 1.0
    plot(tmp_path / "a.png", [("comb", h, RATE)], kinds=["magnitude", "phase", "group-delay"], smoothing=None)
    magnitude, phase, delay = (a.lines[0].get_xydata() for a in axes)
    inside = magnitude[:, 0] < 3000  # of the notch at 4 kHz
    expected = 20 * np.log10(2 * np.abs(np.cos(2 * np.pi * magnitude[:, 0] / RATE)))
    # A column's extremes stand beside each other within it, which is 0.6 % wide.
    assert np.abs(magnitude[:, 1] - expected)[inside].max() < 0.15
    inside = phase[:, 0] < 3500
    assert np.abs(phase[:, 1] + 360 * phase[:, 0] / RATE)[inside].max() < 0.1
    assert "0.625 ms" in axes[1].get_title("left")
    assert np.nanmax(np.abs(delay[:, 1] - 1000 * 11 / RATE)) < 1e-6


def test_the_cut_and_the_ticks(tmp_path, monkeypatch, rng):
    axes = axes_of(monkeypatch)
    time = np.arange(RATE) / RATE
    h = rng.standard_normal(RATE) * 10 ** (-3 * time / 0.3) + 3e-3 * rng.standard_normal(RATE)
    plot(tmp_path / "a.png", [("room", h, 48000)], kinds=["decay", "magnitude", "waterfall"])
    decay, magnitude, fall = axes
    assert "cut" in decay.get_title("left")
    dots = [line for line in decay.lines if line.get_marker() == "o"]
    assert dots[0].get_ydata()[0] == pytest.approx(-50, abs=5)
    labels = [label.get_text() for label in magnitude.get_xticklabels()]
    assert {"20", "100", "1k", "10k", "20k"} <= set(labels)
    assert magnitude.get_xlabel() == "Frequency (Hz)"
    assert len(fall.lines) > 20


@pytest.mark.parametrize(("low", "high"), [(20, 20_000), (1010, 1050), (0.02, 20_000), (900, 1100), (15_000, 15_001)])
@pytest.mark.parametrize("inches", [2.2, 4.5, 10])
def test_labels_of_frequencies_do_not_meet(low, high, inches):
    places, names = frequency_labels(low, high, inches)
    assert len(places) >= 2
    assert places == sorted(places)
    at = np.log(np.array(places) / low) / np.log(high / low) * inches
    widths = np.array([0.062 * len(name) for name in names])  # of a digit, at the size of the labels
    assert np.all(np.diff(at) > (widths[1:] + widths[:-1]) / 2)


@pytest.mark.parametrize(
    ("shape", "rate", "name"),
    [
        ((1,), 48000, "one"),
        ((2, 2), 192_000, "two taps"),
        ((16, 300), 8000, "many_$x$_日本_" + 40 * "long "),
        ((3, 100), 8000, "_hidden\n\udce4.wav"),
        ((1, 70_000), 100, "slow"),
    ],
)
def test_odd_sounds(tmp_path, shape, rate, name, rng):
    h = rng.standard_normal(shape)
    picture = plot(tmp_path / "a.png", [(name, h, rate)], kinds=KINDS)
    assert png(tmp_path / "a.png")[0] == (1600, 1300)
    assert len(picture.notes) == (shape[0] == 16)


def test_silence(tmp_path, monkeypatch):
    axes = axes_of(monkeypatch)
    picture = plot(tmp_path / "a.svg", [("silence", np.zeros((2, 500)), RATE)], kinds=KINDS, smoothing=None)
    assert [sound.peak for sound in picture.sounds] == [0]
    assert sum("silence" in [text.get_text() for text in a.texts] for a in axes) == 5


@pytest.mark.parametrize("lines", [1, 2, 4])
@pytest.mark.parametrize("count", range(1, 8))
def test_panels_do_not_meet_and_stay_on_the_sheet(lines, count):
    kinds = KINDS[:count]
    for size in (default_size(kinds), (4000, 4000), (1100, 1200)):
        layout = arrange(kinds, size, 0.7, lines, min(lines, 2))
        assert layout.width * layout.dpi == pytest.approx(size[0])
        for i, one in enumerate(layout.places):
            assert one.left > 0.6
            assert one.bottom > 0.45
            assert one.left + one.width < layout.width
            assert one.bottom + one.height < layout.height - 0.9
            for other in layout.places[:i]:
                beside = abs(one.left - other.left) >= min(one.width, other.width) + 0.7
                above = other.bottom >= one.bottom + one.height + 0.7
                assert beside or above
        strips = layout.places[0].strips(lines)
        assert min(strip.height for strip in strips) > 0.25
        if lines > 1:
            assert strips[0].bottom - strips[1].bottom - strips[1].height == pytest.approx(STRIP_GAP)


def test_a_size_too_small_names_one_that_is_not(room):
    with pytest.raises(OptionError, match="expected at least") as caught:
        arrange(KINDS, (200, 2000), 0.4)
    width, height = map(int, str(caught.value).split("at least ")[1].split(",")[0].split("x"))
    assert arrange(KINDS, (width, height), 0.4).dpi == pytest.approx(LEAST_DPI)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ["wave"]}, "panel 'wave': expected some of waveform, decay"),
        ({"kinds": ["phase", "phase"]}, "phase twice"),
        ({"kinds": []}, "no panels"),
        ({"smoothing": 0}, "smoothing over 1/0 octave"),
        ({"smoothing": np.nan}, "smoothing over 1/nan"),
        ({"band": (2000, 20)}, "rising order"),
        ({"band": (0, 20)}, "above 0"),
        ({"band": (20, 9000)}, "8000 Hz at the most"),
        ({"band": (0.001, 8000)}, "a factor of 1e.06 between them"),
        ({"size": (0, 100)}, "expected 1 to 20000 pixels"),
        ({"size": (99, 99)}, "expected at least"),
        ({"format": "gif"}, "expected png, svg, pdf"),
    ],
)
def test_refusals(tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        plot(tmp_path / "a.png", [("x", np.ones(9), RATE)], **options)
    assert os.listdir(tmp_path) == []


def test_refused_sounds_and_places(tmp_path):
    sound = ("x", np.ones(9), RATE)
    for sounds in (
        [],
        [sound] * 5,
        [("x", np.ones((2, 0)), RATE)],
        [("x", np.ones((1, 2, 3)), RATE)],
        [("x", [1.0], 0)],
    ):
        with pytest.raises(OptionError):
            plot(tmp_path / "a.png", sounds)
    with pytest.raises(NonFiniteError, match="x: a sample is NaN"):
        plot(tmp_path / "a.png", [("x", [1.0, np.nan], RATE)])
    with pytest.raises(OptionError, match=r"a\.bmp: \.bmp is not"):
        plot(tmp_path / "a.bmp", [sound])
    with pytest.raises(UnwritableError, match="make it first"):
        plot(tmp_path / "none" / "a.png", [sound], kinds=["waveform"])
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(UnwritableError, match="exists: pass -y"):
        plot(tmp_path / "a.png", [sound], kinds=["waveform"])
    assert (tmp_path / "a.png").read_bytes() == b"old"
    plot(tmp_path / "a.png", [sound], kinds=["waveform"], overwrite=True)
    assert png(tmp_path / "a.png")[0] == (1600, 1000)


@pytest.mark.parametrize("level", [2e-7, 4e-4, 0.09, 0.1, 1.0, 900.0, 4e6])
def test_amplitudes_have_short_names(tmp_path, monkeypatch, room, level):
    axes = axes_of(monkeypatch)
    plot(tmp_path / "a.png", [("room", level * room[0] / np.abs(room[0]).max(), RATE)], kinds=["waveform"])
    (strip,) = axes
    labels = [label.get_text().replace("\N{MINUS SIGN}", "-") for label in strip.get_yticklabels()]
    assert all(len(label) <= 5 for label in labels)
    named = {"": 1.0, " (10⁻³)": 1e-3, " (10⁻⁶)": 1e-6, " (10⁻⁹)": 1e-9, " (10⁶)": 1e6}
    scale = named[strip.get_ylabel().removeprefix("Amplitude")]
    assert np.allclose([scale * float(label) for label in labels], strip.get_yticks(), atol=1e-6 * level)


def test_a_missing_matplotlib_is_said(tmp_path, monkeypatch, room):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UnwritableError, match="pip install matplotlib"):
        plot(tmp_path / "a.png", [("room", room, RATE)])
    assert not os.listdir(tmp_path)
