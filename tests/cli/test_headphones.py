"""`longconv binaural` and `longconv crossfeed`: sounds, filters for apply, and pipes."""

import io

import numpy as np
import pytest
import soundfile

from longconv_audio.filters import bauer_crossfeed, read_loudspeakers
from longconv_audio.routing import dense
from tests.cli.running import convolve, fail, fail_each, noise, read, run_each, succeed, write
from tests.filters.sofa_files import write_sphere
from tests.measures import snr


def through(x, h):
    """The sound of inputs (inputs, n) through filters (outputs, inputs, taps)."""
    return np.stack([sum(convolve(channel[None], taps)[0] for channel, taps in zip(x, row, strict=True)) for row in h])


def test_crossfeed_and_its_filter(tmp_path, rng):
    x = 0.1 * noise(rng, 2, 3000)
    write(tmp_path / "in.wav", x)
    options = ("--preset", "cmoy", "--gain", "-3")
    played, filtered = run_each(
        [
            ("crossfeed", "in.wav", "-o", "out.wav", *options),
            ("crossfeed", "--filter-only", "-o", "filter.wav", *options),
        ],
        cwd=tmp_path,
    )
    assert (played.code, filtered.code) == (0, 0), (played.stderr, filtered.stderr)
    ll, lr, rl, rr = 10 ** (-3 / 20) * bauer_crossfeed(48_000, 700, 6)
    wanted = through(x, np.array([[ll, rl], [lr, rr]]))
    assert snr(read(tmp_path / "out.wav"), wanted) > 110
    assert "feed 6 dB" in played.stderr
    assert "largest gain -3.00 dB at 0 Hz" in played.stderr
    assert "gain -3.0 dB" in played.lines[-1]
    assert "--ir-channels true-stereo" in filtered.stderr
    succeed("apply", "in.wav", "filter.wav", "--ir-channels", "true-stereo", "-o", "again.wav", cwd=tmp_path)
    assert snr(read(tmp_path / "again.wav"), wanted) > 110


def test_binaural_and_its_filter(tmp_path, rng):
    pytest.importorskip("h5py")
    write_sphere(tmp_path / "ears.sofa")
    x = 0.1 * noise(rng, 6, 3000)
    write(tmp_path / "in.wav", x)
    given = ("binaural", "--hrir", "ears.sofa", "--layout", "5.1", "--filter-only")
    played, nearest, filtered = run_each(
        [
            ("binaural", "in.wav", "--hrir", "ears.sofa", "-o", "-", "--lfe", "-6"),
            (*given, "-o", "n.toml", "--lfe", "-6", "--nearest"),
            (*given, "-o", "f.toml", "--lfe", "-6"),
        ],
        cwd=tmp_path,
    )
    assert (played.code, nearest.code, filtered.code) == (0, 0, 0), (played.stderr, nearest.stderr, filtered.stderr)
    wanted = through(x, dense(read_loudspeakers(tmp_path / "ears.sofa", "5.1", lfe=-6.0)[0]))
    samples, rate = soundfile.read(io.BytesIO(played.stdout))
    assert rate == 48_000
    assert snr(samples.T, wanted) > 110
    assert "FL FR FC LFE SL SR" in played.stderr
    assert "largest gain +" in played.stderr
    assert "f.toml and f.wav: 6 to 2 channels" in filtered.lines[-1]
    succeed("apply", "in.wav", "f.toml", "-o", "again.wav", cwd=tmp_path)
    assert snr(read(tmp_path / "again.wav"), wanted) > 110
    succeed("apply", "in.wav", "n.toml", "-o", "nearest.wav", cwd=tmp_path)
    other = through(x, dense(read_loudspeakers(tmp_path / "ears.sofa", "5.1", lfe=-6.0, interpolate=False)[0]))
    heard = read(tmp_path / "nearest.wav")
    assert snr(heard, other[:, : heard.shape[1]]) > 110
    size = min(other.shape[1], wanted.shape[1])
    assert snr(wanted[:, :size], other[:, :size]) < 60


def test_refusals(tmp_path, rng):
    write(tmp_path / "two.wav", noise(rng, 2, 10))
    write(tmp_path / "three.wav", noise(rng, 3, 10))
    ears = ("--hrir", "two.wav")
    refused = [
        ("no INPUT", ("crossfeed", "-o", "x.wav")),
        ("leave two.wav out", ("crossfeed", "two.wav", "--filter-only", "-o", "x.wav")),
        ("goes with --filter-only", ("crossfeed", "two.wav", "--rate", "48000", "-o", "x.wav")),
        ("--feed 99", ("crossfeed", "two.wav", "--feed", "99", "-o", "x.wav")),
        ("no ears", ("binaural", "two.wav", "-o", "x.wav")),
        ("needs a --layout", ("binaural", *ears, "--filter-only", "-o", "x.wav")),
        ("--lfe loud", ("binaural", "two.wav", *ears, "--lfe", "loud", "-o", "x.wav")),
        ("no output", ("binaural", "two.wav", *ears)),
    ]
    lines = fail_each(2, [arguments for _, arguments in refused], cwd=tmp_path)
    for (words, _), line in zip(refused, lines, strict=True):
        assert words in line
    misfits = [
        ("crossfeed takes 2", ("crossfeed", "three.wav", "-o", "x.wav")),
        ("1 (mono), 2 (stereo)", ("binaural", "three.wav", *ears, "-o", "x.wav")),
        ("HeSuVi", ("binaural", "two.wav", *ears, "-o", "x.wav")),
        ("must be equal", ("binaural", "two.wav", *ears, "--layout", "7.1", "-o", "x.wav")),
    ]
    lines = fail_each(4, [arguments for _, arguments in misfits], cwd=tmp_path)
    for (words, _), line in zip(misfits, lines, strict=True):
        assert words in line
    assert "none.sofa: no such file" in fail(
        3, "binaural", "two.wav", "--hrir", "none.sofa", "-o", "x.wav", cwd=tmp_path
    )
