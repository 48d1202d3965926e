"""`longconv design` as a person runs it."""

import json

import numpy as np
import pytest
from longconv_audio.cli.design import app
from typer.testing import CliRunner

from longconv_audio.errors import OptionError, UnreadableError
from tests.cli import running
from tests.cli.running import fail_each, run, succeed

CURVE = b"freq,dB\n20,5\n100,0\n1000,-3\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the commands run."""
    (tmp_path / "curve.csv").write_bytes(CURVE)
    (tmp_path / "eq.txt").write_text("Preamp: -2 dB\nFilter 1: ON PK Fc 30 Hz Gain -15 dB Q 20\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def design(*words):
    """The report of a command, run within this process."""
    result = CliRunner().invoke(app, [*words, "--json", "-q"])
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lowpass", "1k", "--taps", "65537", "--rate", "44100"], {"samplerate": 44_100, "latency_samples": 32_768}),
        (["lowpass", "5000", "--taps", "4001", "--method", "least-squares"], {"window": None, "taps": 4001}),
        (["highpass", "20Hz", "--transition", "10", "--stopband", "60"], {"kind": "highpass", "transition_hz": 10}),
        (["bandpass", "300", "3.4kHz", "--phase", "minimum"], {"phase": "minimum", "transition_hz": 30}),
        (
            ["bandstop", "4.9k", "5.1k", "--taps", "4801", "--window", "hann"],
            {"window": "hann", "latency_samples": 2400},
        ),
        (["eq", "curve.csv", "--phase", "minimum"], {"curve": "curve.csv", "phase": "minimum"}),
        (["hilbert", "--lowest", "100"], {"band_hz": [100, 23_900]}),
        (["delay", "480s"], {"latency_samples": 480, "taps": 481, "error_db": None}),
        (["delay", "2.5ms"], {"latency_samples": 120, "latency_ms": 2.5}),
        (["delay", "110.25", "--fractional"], {"latency_samples": 110.25}),
    ],
)
def test_each_command(folder, words, expected):
    report = design(*words, "-o", "h.wav")
    assert report | expected == report
    assert report["warnings"] == []
    taps = running.read(folder / "h.wav")
    assert taps.shape == (1, report["taps"])
    assert np.abs(np.abs(np.fft.rfft(taps)).max() - 10 ** (report["peak_gain_db"] / 20)) < 1e-2
    if "edges_hz" in report:
        edges = [float(word.lower().replace("k", "e3").replace("hz", "")) for word in words[1:3] if word[0].isdigit()]
        assert report["edges_hz"] == pytest.approx(edges, abs=0.1)


def test_a_report_is_of_what_the_file_holds(folder):
    steep = ["lowpass", "5k", "--taps", "2001", "--stopband", "190", "-o"]
    assert design(*steep, "a.npy")["stopband_db"] > 178
    assert design(*steep, "a.wav", "--subtype", "DOUBLE")["stopband_db"] > 178
    single = design(*steep, "b.wav")
    assert 130 < single["stopband_db"] < 170
    assert "where -190 dB was asked for" in single["warnings"][0]
    coarse = design(*steep, "c.wav", "--subtype", "PCM_16")
    assert 50 < coarse["stopband_db"] < 100
    # As the file itself has it.
    spectrum = np.abs(np.fft.rfft(running.read(folder / "c.wav")[0], 1 << 16))
    beyond = np.fft.rfftfreq(1 << 16, 1 / 48_000) > 5000 + coarse["transition_hz"] / 2
    assert -20 * np.log10(spectrum[beyond].max()) == pytest.approx(coarse["stopband_db"], abs=0.1)


def test_what_falls_short_is_said(folder):
    (folder / "spl.csv").write_text("20 70\n1000 75\n20000 60\n")
    mixed = design("bandpass", "300", "3k", "--phase", "mixed", "--stopband", "80", "-o", "a.wav")
    assert "where -80 dB was asked for" in mixed["warnings"][0]
    short = design("lowpass", "100", "--taps", "31", "-o", "b.wav")
    assert (short["passband_ripple_db"], "pass more --taps" in short["warnings"][0]) == (None, True)
    sharp = design("eq", "eq.txt", "--taps", "2048", "-o", "c.wav")
    assert "2048 taps miss the curve by 1" in sharp["warnings"][0]
    measured = design("eq", "spl.csv", "-o", "e.wav")
    assert "is +75 dB: a measurement in dB SPL is no equaliser" in measured["warnings"][0]
    rounded = design("delay", "2.5ms", "--rate", "44100", "-o", "d.wav")
    assert "110.25 samples are rounded to 110: --fractional" in rounded["warnings"][0]


def test_pipes_and_other_files(folder):
    """A curve comes from standard input, and the filter goes to standard output, from where apply takes it."""
    made = run("design", "eq", "-", "--taps", "2047", "-o", "-", cwd=folder, stdin=CURVE)
    assert (made.code, made.stdout[:4]) == (0, b"RIFF")
    assert "within" in made.stderr
    assert "standard input" in made.stderr
    impulse = np.zeros((1, 4800), np.float32)
    impulse[0, 0] = 1
    running.write(folder / "impulse.wav", impulse)
    succeed("apply", "impulse.wav", "-", "-o", "wet.wav", cwd=folder, stdin=made.stdout)
    assert np.abs(running.read(folder / "wet.wav")[0, :2047]).argmax() == 1023
    quiet = succeed("design", "delay", "3", "-o", "three.npy", "-q", cwd=folder)
    assert quiet.stderr == ""
    assert np.load(folder / "three.npy").tolist() == [[0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lowpass", "25k"], "below half the sample rate, 24000 Hz"),
        (["lowpass", "abc"], "lowpass 'abc': expected a frequency in Hz, such as 1000 or 1.5k"),
        (["lowpass", "1k", "--transition", "much"], "--transition 'much'"),
        (["bandpass", "3k", "300"], "expected the lower edge first"),
        (["lowpass", "1000", "--taps", "0"], "taps=0"),
        (["highpass", "30", "--taps", "65536"], "pass 65537 or 65535"),
        (["lowpass", "1000", "--rate", "0"], "samplerate=0 Hz"),
        (["delay", "3.5", "--fractional"], "needs 28.5 at least"),
        (["delay", "5 apples"], "expected samples"),
        (["delay", "5", "--taps", "31"], "--fractional"),
        (["eq", "curve.csv", "--mix", "0.3"], "--mix 0.3 with --phase linear"),
        (["lowpass", "1000", "--json", "-o", "-"], "both go to standard output"),
        (["lowpass", "1000", "-o", ""], "no output was given"),
    ],
)
def test_refusals(folder, words, message):
    words = words if "-o" in words else [*words, "-o", "x.wav"]
    failure = CliRunner().invoke(app, words).exception
    assert isinstance(failure, OptionError)
    assert message in str(failure)
    assert not (folder / "x.wav").exists()


def test_refusals_end_in_one_line(folder):
    (folder / "bad.csv").write_text("20 1\n30 2\n30 3\n")
    (line,) = fail_each(2, [["design", "lowpass", "1000", "--taps", "1000000000", "-o", "x.wav"]], cwd=folder)
    assert "taps=1000000000: expected a whole number from 3 to 16777216" in line
    (line,) = fail_each(3, [["design", "eq", "bad.csv", "-o", "x.wav"]], cwd=folder)
    assert "bad.csv:3: 30 Hz stands there twice, first in line 2" in line
    missing = CliRunner().invoke(app, ["eq", "none.csv", "-o", "x.wav"]).exception
    assert isinstance(missing, UnreadableError)
