import itertools
import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from longconv_audio.audio_io.targets import FileTarget
from longconv_audio.errors import UnwritableError
from longconv_audio.filters import energy_decay_curve
from longconv_audio.plotting import SILENCE_DB, draw_overview, envelope, overview, spectrogram
from longconv_audio.plotting.spectrograms import log_rows
from longconv_audio.plotting.style import save
from tests.plotting.files import png

RATE = 48000


def noise(*shape):
    return np.random.default_rng(7).standard_normal(shape)


def exponential(t60, seconds, samplerate=RATE):
    return 10 ** (-3 * np.arange(round(seconds * samplerate)) / samplerate / t60)


class TestEnergyDecayCurve:
    def test_equals_the_sum_written_out(self):
        h = noise(200)
        energy = [np.sum(h[n:] ** 2) for n in range(200)]
        assert np.allclose(energy_decay_curve(h), 10 * np.log10(energy / energy[0]), rtol=0, atol=1e-9)

    def test_falls_60_db_in_t60(self):
        curve = energy_decay_curve(exponential(0.5, 3.0))
        assert curve[0] == 0
        assert curve[RATE // 2] == pytest.approx(-60, abs=0.01)

    def test_adds_the_channels_energies(self):
        h = noise(2, 100)
        energy = np.cumsum(np.sum(h**2, axis=0)[::-1])[::-1]
        assert np.allclose(energy_decay_curve(h), 10 * np.log10(energy / energy[0]))

    def test_zeros_at_the_end(self):
        curve = energy_decay_curve(np.array([1.0, 1.0, 0.0]))
        assert curve[1] == pytest.approx(10 * np.log10(0.5))
        assert curve[2] == -np.inf

    def test_silence_and_nothing(self):
        assert np.array_equal(energy_decay_curve(np.zeros(3)), np.full(3, -np.inf))
        assert energy_decay_curve(np.zeros(0)).shape == (0,)

    def test_integers_do_not_overflow(self):
        assert energy_decay_curve(np.full(4, 30000, dtype=np.int16).astype(np.float32))[0] == 0


class TestSpectrogram:
    def test_a_full_scale_sine_reads_0_db_at_its_frequency(self):
        x = np.sin(2 * np.pi * 3000 * np.arange(RATE) / RATE)
        times, frequencies, levels = spectrogram(x, RATE, 1024, 480)
        assert levels.shape == (frequencies.size, times.size) == (513, 100)
        middle = levels[:, 50]
        assert frequencies[np.argmax(middle)] == 3000
        assert np.max(middle) == pytest.approx(0, abs=1e-6)
        assert np.all(middle[np.abs(frequencies - 3000) > 1000] < -80)

    @pytest.mark.parametrize("window", [64, 65])
    def test_a_click_shows_in_the_frame_at_its_time(self, window):
        x = np.zeros(1000)
        x[400] = 1.0
        times, _, levels = spectrogram(x, 1000, window, 10)
        assert times[np.argmax(np.max(levels, axis=0))] == pytest.approx(0.4)

    def test_one_frame_equals_a_transform_written_out(self):
        x = noise(512)
        times, _, levels = spectrogram(x, RATE, 128, 100)
        assert times[2] == 200 / RATE
        n = np.arange(128)
        shape = 0.5 - 0.5 * np.cos(2 * np.pi * n / 128)
        bins = np.exp(-2j * np.pi * np.outer(np.arange(65), n) / 128) @ (shape * x[136:264])
        assert np.allclose(levels[:, 2], 20 * np.log10(np.abs(bins) * 2 / np.sum(shape)), atol=1e-8)

    def test_averages_the_channels_powers(self):
        x = np.sin(2 * np.pi * 3000 * np.arange(4800) / RATE)
        _, _, both = spectrogram(np.stack([x, 0 * x]), RATE, 1024, 480)
        _, _, one = spectrogram(x, RATE, 1024, 480)
        assert np.max(both) == pytest.approx(np.max(one) - 10 * np.log10(2), abs=1e-6)

    @pytest.mark.parametrize(("samples", "frames"), [(0, 0), (1, 1), (100, 1), (101, 2), (5000, 50)])
    def test_frames(self, samples, frames):
        times, _, levels = spectrogram(np.ones(samples), RATE, 256, 100)
        assert times.shape == (frames,)
        assert levels.shape == (129, frames)
        assert np.all(np.isfinite(levels))
        assert not frames or np.max(levels) > -60

    def test_silence_has_a_floor(self):
        assert np.all(spectrogram(np.zeros(1000), RATE, 64, 64)[2] == SILENCE_DB)


class TestEnvelope:
    @pytest.mark.parametrize("columns", [1, 7, 64, 999, 1000])
    def test_equals_the_extremes_of_the_parts(self, columns):
        x = noise(1000)
        low, high = envelope(x, columns)
        edges = [c * 1000 // columns for c in range(columns + 1)]
        parts = [x[a:b] for a, b in itertools.pairwise(edges)]
        assert np.array_equal(low, [part.min() for part in parts])
        assert np.array_equal(high, [part.max() for part in parts])

    def test_fewer_samples_than_columns(self):
        low, high = envelope(np.array([1.0, -2.0]), 10)
        assert np.array_equal(low, [1, -2])
        assert np.array_equal(high, [1, -2])

    def test_channels_and_nothing(self):
        x = noise(2, 50)
        low, high = envelope(x, 5)
        assert np.array_equal(low, x.reshape(2, 5, 10).min(-1))
        assert np.array_equal(high, x.reshape(2, 5, 10).max(-1))
        assert envelope(np.zeros((2, 0)), 5)[0].shape == (2, 0)


class TestLogRows:
    def test_a_line_lands_on_its_row(self):
        frequencies = np.arange(1025) * (RATE / 2048)
        edges = np.geomspace(50, 20000, 301)
        for bin_ in (10, 100, 800):
            levels = np.full((1025, 2), -100.0)
            levels[bin_] = 0.0
            rows = log_rows(frequencies, levels, edges)
            row = int(np.argmax(rows[:, 0]))
            assert rows.shape == (300, 2)
            spacing = max(RATE / 2048, edges[row + 1] - edges[row])
            assert abs(np.sqrt(edges[row] * edges[row + 1]) - frequencies[bin_]) <= spacing
            assert rows[row, 0] > -15


@pytest.fixture(scope="module")
def sounds():
    hall = exponential(0.3, 0.5) * noise(2, RATE // 2)
    dry = 0.1 * exponential(0.5, 1.0) * noise(2, RATE)
    size = dry.shape[1] + hall.shape[1] - 1
    wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(hall, size), size) / 30
    return dry, hall, wet


class TestDrawOverview:
    def test_writes_one_png(self, tmp_path, sounds):
        path = tmp_path / "overview.png"
        draw_overview(path, *sounds, RATE)
        size, lines = png(path)
        assert size == (1600, 1000)
        assert len(set(lines[::997])) > 50  # not a blank sheet
        assert os.listdir(tmp_path) == ["overview.png"]

    def test_depends_on_no_settings_and_changes_none(self, tmp_path, sounds):
        import matplotlib

        draw_overview(tmp_path / "a.png", *sounds, RATE)
        with matplotlib.rc_context({"font.size": 20.0, "savefig.bbox": "tight", "axes.grid": True}):
            before = dict(matplotlib.rcParams)
            draw_overview(tmp_path / "b.png", *sounds, RATE)
            assert dict(matplotlib.rcParams) == before
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    def test_marks_the_time_of_60_db(self, sounds):
        from matplotlib.figure import Figure

        axes = Figure().add_subplot()
        hall = np.atleast_2d(exponential(0.3, 0.5))
        overview._draw_decay(axes, hall, RATE)
        assert axes.get_title().endswith("60 dB after 0.30 s")
        assert axes.lines[-1].get_xdata()[0] == pytest.approx(0.3, abs=0.001)

    def test_a_curve_that_stays_above_60_db_has_no_mark(self):
        from matplotlib.figure import Figure

        axes = Figure().add_subplot()
        overview._draw_decay(axes, np.ones((1, 1000)), RATE)
        assert "after" not in axes.get_title()

    @pytest.mark.parametrize(("samples", "taps", "samplerate"), [(0, 0, RATE), (1, 1, 8000), (4000, 3000, 100)])
    def test_odd_shapes(self, tmp_path, samples, taps, samplerate):
        path = tmp_path / "overview.png"
        wet = np.zeros(max(samples + taps - 1, 0))
        draw_overview(path, noise(samples), np.ones(taps), wet, samplerate)
        assert png(path)[0] == (1600, 1000)

    def test_replaces_a_file(self, tmp_path, sounds):
        path = tmp_path / "overview.png"
        path.write_bytes(b"old")
        draw_overview(str(path), *sounds, RATE)
        assert png(path)[0] == (1600, 1000)
        mask = os.umask(0)
        os.umask(mask)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask

    @pytest.mark.parametrize("place", ["missing/overview.png", "", "file/overview.png"])
    def test_unwritable_places_are_one_line(self, tmp_path, place):
        from matplotlib.figure import Figure

        (tmp_path / "file").write_bytes(b"")
        path = tmp_path / place
        with pytest.raises(UnwritableError) as caught:
            save(Figure(), path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
        assert os.listdir(tmp_path) == ["file"]

    def test_a_failure_midway_leaves_the_old_file(self, tmp_path, sounds, monkeypatch):
        def full(self, data):
            self._file.write(data[:10])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(FileTarget, "write", full)
        path = tmp_path / "overview.png"
        path.write_bytes(b"old")
        with pytest.raises(UnwritableError, match="No space left on device"):
            draw_overview(path, *sounds, RATE)
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["overview.png"]


def run(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MPLBACKEND": "tkagg"}
    return subprocess.run([sys.executable, "-c", code, *arguments], env=environment).returncode


def test_importing_loads_no_matplotlib():
    assert run("import sys, longconv_audio.plotting; sys.exit('matplotlib' in sys.modules)") == 0


def test_drawing_needs_no_pyplot_and_no_display(tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from longconv_audio.plotting import draw_overview\n"
        "draw_overview(sys.argv[1], np.ones(9), np.ones(9), np.ones(17), 8000)\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert run(code, str(tmp_path / "overview.png")) == 0
    assert png(tmp_path / "overview.png")[0] == (1600, 1000)
