"""Every option of `longconv apply`, held against float64 convolutions by scipy, sample by sample."""

import io
import json
import re

import numpy as np
import pytest
import soundfile

from tests.cli.running import RATE, convolve, decaying, fail, fail_each, interleaved, noise, read, succeed, write
from tests.measures import snr

L, K = 6000, 1500
SINGLE, DOUBLE = 130, 280


@pytest.fixture
def folder(tmp_path, rng):
    """A stereo input and a stereo IR, whose taps and samples float32 holds."""
    write(tmp_path / "in.wav", 0.1 * noise(rng, 2, L))
    write(tmp_path / "ir.wav", decaying(rng, 2, K))
    return tmp_path


def applied(folder, *options, irs=("ir.wav",), source="in.wav", target="out.wav") -> np.ndarray:
    """What `apply` makes of the input with these options."""
    succeed("apply", source, *irs, "-o", target, "-y", *options, cwd=folder)
    y = read(folder / target)
    assert y.any()
    assert np.isfinite(y).all()
    return y


def reported(folder, *options, irs=("ir.wav",), source="in.wav", target="out.wav") -> dict:
    """The report that `--json` gives, its output having been written."""
    done = succeed("apply", source, *irs, "-o", target, "-y", "--json", *options, cwd=folder)
    return json.loads(done.stdout)


def signals(folder) -> tuple[np.ndarray, np.ndarray]:
    return read(folder / "in.wav"), read(folder / "ir.wav")


def padded(x, frames, start=0) -> np.ndarray:
    """The signal among zeros."""
    y = np.zeros((len(x), frames))
    y[:, start : start + x.shape[1]] = x
    return y


class TestConvolution:
    def test_each_channel_with_its_own(self, folder):
        x, h = signals(folder)
        y = applied(folder)
        assert y.shape == (2, L + K - 1)
        assert snr(y, convolve(x, h)) >= SINGLE
        assert soundfile.info(folder / "out.wav").subtype == "FLOAT"

    def test_mono_serves_every_channel(self, folder, rng):
        x, _ = signals(folder)
        h = decaying(rng, 1, 9000)  # longer than the input
        write(folder / "mono.wav", h)
        expected = convolve(x, h)
        for mode in ("auto", "mono"):
            assert snr(applied(folder, "--ir-channels", mode, irs=["mono.wav"]), expected) >= SINGLE

    def test_in_series(self, folder, rng):
        x, h = signals(folder)
        g = decaying(rng, 1, 800)
        np.save(folder / "second.npy", g[0])
        y = applied(folder, irs=["ir.wav", "second.npy"])
        assert y.shape == (2, L + K + 800 - 2)
        assert snr(y, convolve(convolve(x, h), g)) >= SINGLE

    def test_many_blocks(self, tmp_path, rng):
        x, h = 0.1 * noise(rng, 2, 900_000), decaying(rng, 2, 20_000)
        write(tmp_path / "in.wav", x)
        write(tmp_path / "ir.wav", h)
        assert snr(applied(tmp_path), convolve(x, h)) >= SINGLE

    def test_the_same_bytes_twice(self, folder):
        for options in (
            ("--subtype", "PCM_16"),
            ("--clip", "scale", "--gain", "30"),
            ("--clip", "limit", "--gain", "30"),
        ):
            applied(folder, *options, target="one.wav")
            applied(folder, *options, target="two.wav")
            assert (folder / "one.wav").read_bytes() == (folder / "two.wav").read_bytes()


class TestIdentity:
    """An IR that changes nothing gives back an integer file as it was, bit for bit."""

    @pytest.mark.parametrize("taps", [[1.0], [1.0] + [0.0] * 3000], ids=["one-tap", "many-taps"])
    @pytest.mark.parametrize(
        ("name", "subtype", "bits"),
        [
            ("wav", "PCM_U8", 8),
            ("wav", "PCM_16", 16),
            ("flac", "PCM_16", 16),
            ("wav", "PCM_24", 24),
            ("wav", "PCM_32", 32),
        ],
    )
    def test_integers(self, tmp_path, rng, name, subtype, bits, taps):
        top = 1 << (bits - 1)
        levels = rng.integers(-top, top, (2, 5000))
        levels[:, :4] = [[-top, top - 1, 0, -1], [top - 1, -top, 1, 0]]
        write(tmp_path / f"in.{name}", levels / top, subtype=subtype)
        write(tmp_path / "ir.wav", taps)
        source = read(tmp_path / f"in.{name}")
        assert np.array_equal(source * top, levels)
        y = applied(tmp_path, "--dither", "none", "--tail", "none", source=f"in.{name}", target=f"out.{name}")
        assert soundfile.info(tmp_path / f"out.{name}").subtype == subtype
        assert np.array_equal(y, source)


class TestLevels:
    def test_mix(self, folder):
        x, h = signals(folder)
        wet, dry = convolve(x, h), padded(x, L + K - 1)
        for mix in (0, 0.3, 1):
            assert snr(applied(folder, "--mix", mix), (1 - mix) * dry + mix * wet) >= SINGLE

    def test_dry_and_wet(self, folder):
        x, h = signals(folder)
        wet, dry = convolve(x, h), padded(x, L + K - 1)
        y = applied(folder, "--dry", "-6", "--wet", "-12.5")
        assert snr(y, 10 ** (-6 / 20) * dry + 10 ** (-12.5 / 20) * wet) >= SINGLE
        assert snr(applied(folder, "--dry", "-6"), 10 ** (-6 / 20) * dry + wet) >= SINGLE
        assert snr(applied(folder, "--wet", "3"), 10 ** (3 / 20) * wet) >= SINGLE
        assert snr(applied(folder, "--wet=-inf", "--dry=0"), dry) >= SINGLE

    def test_gain_acts_on_everything_and_is_reported(self, folder):
        x, h = signals(folder)
        expected = 0.5 * (convolve(x, h) + padded(x, L + K - 1)) * 10 ** (-7.5 / 20)
        done = succeed("apply", "in.wav", "ir.wav", "-o", "out.wav", "--gain", "-7.5", "--mix", "0.5", cwd=folder)
        assert snr(read(folder / "out.wav"), expected) >= SINGLE
        assert done.lines[-1].endswith("gain -7.5 dB")

    @pytest.mark.parametrize("kind", ["none", "peak", "l1", "l2", "magnitude"])
    def test_normalize(self, folder, kind):
        x, h = signals(folder)
        size = {
            "none": 1,
            "peak": np.abs(h).max(),
            "l1": np.abs(h).sum(axis=1).max(),
            "l2": np.sqrt((h**2).sum(axis=1).max()),
            "magnitude": np.abs(np.fft.rfft(h, 16 * K)).max(),
        }[kind]
        report = reported(folder, "--normalize", kind, "--dry", "-20")
        expected = convolve(x, h) / size + 0.1 * padded(x, L + K - 1)
        # The largest gain is found on a grid of frequencies, and ours is not the same one.
        assert snr(read(folder / "out.wav"), expected) >= (45 if kind == "magnitude" else SINGLE)
        assert report["gain_db"] == pytest.approx(-20 * np.log10(size), abs=0.05 if kind == "magnitude" else 1e-4)

    def test_l1_cannot_clip(self, folder, rng):
        x = np.sign(noise(rng, 2, L)) * (1 - 2**-15)
        write(folder / "loud.wav", x, subtype="PCM_16")
        assert reported(folder, "--normalize", "l1", source="loud.wav")["clipped"] == 0
        assert reported(folder, source="loud.wav")["clipped"] > 0


class TestClip:
    """A result beyond full scale, in an integer file."""

    @pytest.fixture
    def loud(self, folder):
        x, h = signals(folder)
        y = convolve(x, h) * 10
        assert np.abs(y).max() > 2
        return y

    def test_warn_cuts_off_and_counts(self, folder, loud):
        options = ("--gain", "20", "--subtype", "PCM_24")
        report = reported(folder, *options)
        assert np.abs(read(folder / "out.wav") - np.clip(loud, -1, 1 - 2**-23)).max() < 2e-6
        assert report["clipped"] == np.count_nonzero(np.abs(loud) > 1)
        assert report["peak_dbfs"] == pytest.approx(20 * np.log10(np.abs(loud).max()), abs=1e-4)
        assert [line for line in report["warnings"] if f"{report['clipped']} samples were clipped" in line]

    def test_error(self, folder, loud):
        line = fail(
            6,
            "apply",
            "in.wav",
            "ir.wav",
            "-o",
            "out.wav",
            "--gain",
            "20",
            "--clip",
            "error",
            "--subtype",
            "PCM_16",
            cwd=folder,
        )
        frame, channel = np.argwhere(np.abs(loud.T) > 1)[0]
        assert f"sample {frame} of channel {channel + 1}" in line
        quiet = applied(folder, "--clip", "error", "--subtype", "PCM_24")
        assert snr(quiet, loud / 10) >= 90

    def test_scale(self, folder, loud):
        report = reported(folder, "--gain", "20", "--clip", "scale", "--subtype", "PCM_24")
        gain = (1 - 2**-23) / np.abs(loud).max()
        y = read(folder / "out.wav")
        assert np.abs(y - gain * loud).max() < 2**-21
        assert np.abs(y).max() > 1 - 2**-20
        assert report["gain_db"] == pytest.approx(20 + 20 * np.log10(gain), abs=1e-4)
        assert report["clipped"] == 0
        assert any("scaled by" in line for line in report["notes"])
        assert snr(applied(folder, "--clip", "scale"), loud / 10) >= SINGLE  # what fits stays as it is

    def test_limit(self, folder, loud):
        report = reported(folder, "--gain", "20", "--clip", "limit", "--subtype", "PCM_24")
        y = read(folder / "out.wav")
        assert y.shape == loud.shape
        assert np.abs(y).max() <= 1 - 2**-23
        assert np.abs(y).max() > 0.9
        assert report["clipped"] == 0
        assert report["limited"] > 0
        assert any("limiter" in line for line in report["notes"])
        # A gain between 0 and 1, the same in both channels.
        firm = np.abs(loud).min(axis=0) > 0.1
        gains = y[:, firm] / loud[:, firm]
        assert np.abs(gains[0] - gains[1]).max() < 1e-4
        assert gains.min() > 0.9 / np.abs(loud).max()
        assert gains.max() < 1 + 1e-4
        assert snr(applied(folder, "--clip", "limit"), loud / 10) >= SINGLE

    def test_float_output_is_not_clipped(self, folder, loud):
        report = reported(folder, "--gain", "20")
        assert snr(read(folder / "out.wav"), loud) >= SINGLE
        assert report["clipped"] == 0


class TestTime:
    def test_predelay_is_exact_to_the_sample(self, folder):
        x, h = signals(folder)
        wet = convolve(x, h)
        y = applied(folder, "--predelay", "10.5")
        assert y.shape == (2, L + K - 1 + 504)
        assert snr(y, padded(wet, L + K - 1 + 504, 504)) >= SINGLE
        # The dry signal stays where it was.
        y = applied(folder, "--predelay", "10.5", "--mix", "0.25")
        frames = L + K - 1 + 504
        assert snr(y, 0.75 * padded(x, frames) + 0.25 * padded(wet, frames, 504)) >= SINGLE

    def test_tail(self, folder):
        whole = convolve(*signals(folder))
        assert snr(applied(folder, "--tail", "none"), whole[:, :L]) >= SINGLE
        assert snr(applied(folder, "--tail", "full"), whole) >= SINGLE
        assert snr(applied(folder, "--tail", "480s"), whole[:, : L + 480]) >= SINGLE
        assert snr(applied(folder, "--tail", "0.01"), whole[:, : L + 480]) >= SINGLE
        # Longer than the filter's own: silence follows.
        longer = applied(folder, "--tail", "0.1")
        assert snr(longer, padded(whole, L + 4800)) >= SINGLE
        assert not longer[:, L + K - 1 :].any()

    def test_align_peak(self, folder, rng):
        x, h = signals(folder)
        h = 0.5 * h
        h[1, 321] = 1.0
        h[0, 400] = -0.9
        write(folder / "late.wav", h)
        whole = convolve(x, h)[:, 321:]
        frames = whole.shape[1]
        peak = ("--align", "peak")
        assert snr(applied(folder, *peak, irs=["late.wav"]), whole) >= SINGLE
        dry = padded(x, frames)
        assert snr(applied(folder, *peak, "--mix", "0.4", irs=["late.wav"]), 0.6 * dry + 0.4 * whole) >= SINGLE
        assert snr(applied(folder, *peak, "--tail", "none", irs=["late.wav"]), whole[:, :L]) >= SINGLE
        # A pre-delay counts from the peak: shorter and longer than what was taken out.
        y = applied(folder, *peak, "--predelay", "5", "--dry", "0", irs=["late.wav"])
        expected = convolve(x, h)[:, 321 - 240 :]
        assert snr(y, expected + padded(x, expected.shape[1])) >= SINGLE
        y = applied(folder, *peak, "--predelay", "10", irs=["late.wav"])
        assert snr(y, padded(convolve(x, h), L + K - 1 + 480 - 321, 480 - 321)) >= SINGLE

    def test_align_peak_of_an_ir_longer_than_the_input(self, tmp_path, rng):
        x, h = 0.1 * noise(rng, 1, 50), 0.1 * decaying(rng, 1, 900)
        h[0, 700] = 1
        write(tmp_path / "in.wav", x)
        write(tmp_path / "ir.wav", h)
        expected = convolve(x, h)[:, 700:]
        assert snr(applied(tmp_path, "--align", "peak"), expected) >= SINGLE
        assert snr(applied(tmp_path, "--align", "peak", "--tail", "none"), expected[:, :50]) >= SINGLE

    def test_start_and_duration(self, folder):
        x, h = signals(folder)
        for options, part in (
            (("--start", "1000s"), x[:, 1000:]),
            (("--duration", "2000s"), x[:, :2000]),
            (("--start", "0.05", "--duration", "20ms"), x[:, 2400:3360]),
            (("--start", "5000s", "--duration", "1"), x[:, 5000:]),
        ):
            assert snr(applied(folder, *options), convolve(part, h)) >= SINGLE
        flac = x / np.abs(x).max()
        write(folder / "in.flac", flac, subtype="PCM_24")
        y = applied(folder, "--start", "1234s", "--subtype", "FLOAT", source="in.flac")
        assert snr(y, convolve(read(folder / "in.flac")[:, 1234:], h)) >= SINGLE
        done = succeed(
            "apply", "-", "ir.wav", "-o", "piped.wav", "--start", "1000s", "--duration", "2000s",
            cwd=folder, stdin=(folder / "in.wav").read_bytes(),
        )  # fmt: skip
        assert "2000 frames + 1499 of tail" in done.lines[-1]
        assert snr(read(folder / "piped.wav"), convolve(x[:, 1000:3000], h)) >= SINGLE


class TestRouting:
    def test_true_stereo(self, folder, rng):
        x, _ = signals(folder)
        h = decaying(rng, 4, 300)
        write(folder / "four.wav", h)
        conv = [[convolve(x[i : i + 1], h[c])[0] for c in range(4)] for i in range(2)]
        expected = [conv[0][0] + conv[1][2], conv[0][1] + conv[1][3]]  # LL + RL, LR + RR
        assert snr(applied(folder, "--ir-channels", "true-stereo", irs=["four.wav"]), expected) >= SINGLE
        expected = [conv[0][0] + conv[1][1], conv[0][2] + conv[1][3]]
        options = ("--ir-channels", "true-stereo", "--ir-order", "LL,RL,LR,RR")
        assert snr(applied(folder, *options, irs=["four.wav"]), expected) >= SINGLE

    def test_toml(self, folder):
        x, h = signals(folder)
        (folder / "matrix.toml").write_text(
            "inputs = 2\noutputs = 3\n"
            "[[path]]\ninput = 1\noutput = 1\nfile = 'ir.wav'\nchannel = 2\ngain_db = -6.0\n"
            "[[path]]\ninput = 2\noutput = 1\nfile = 'ir.wav'\ngain = 0.5\ndelay_samples = 77\n"
            "[[path]]\ninput = 2\noutput = 2\nfile = 'ir.wav'\noffset = '100s'\nlength = '200s'\n"
            "[[path]]\ninput = 1\noutput = 3\ndirect = true\ndelay_ms = 1.0\n"
        )
        frames = L + K - 1 + 77
        one = 10 ** (-6 / 20) * padded(convolve(x[:1], h[1]), frames)
        one += 0.5 * padded(convolve(x[1:], h[0]), frames, 77)
        two = padded(convolve(x[1:], h[0, 100:300]), frames)
        expected = np.concatenate([one, two, padded(x[:1], frames, 48)])
        assert snr(applied(folder, irs=["matrix.toml"]), expected) >= SINGLE
        assert snr(applied(folder, "--ir-channels", "matrix.toml", irs=[]), expected) >= SINGLE

    def test_jconvolver(self, folder):
        x, h = signals(folder)
        (folder / "matrix.conf").write_text(
            "# comment\n/convolver/new 2 2 256 4096\n"
            "#              in out gain delay offset length chan file\n"
            "/impulse/read   1   1  0.5     0      0      0    1 ir.wav\n"
            "/impulse/read   2   1 -0.3    10     50    600    2 ir.wav\n"
            "/impulse/read   2   2  1.0     0      0      0    2 ir.wav\n"
        )
        frames = L + K - 1
        one = 0.5 * convolve(x[:1], h[0]) - 0.3 * padded(convolve(x[1:], h[1, 50:650]), frames, 10)
        expected = np.concatenate([one, convolve(x[1:], h[1])])
        assert snr(applied(folder, irs=["matrix.conf"]), expected) >= SINGLE

    def test_the_advice_for_a_stereo_ir_on_a_mono_input(self, folder):
        x, h = signals(folder)
        write(folder / "mono.wav", x[:1])
        line = fail(4, "apply", "mono.wav", "ir.wav", "-o", "out.wav", cwd=folder)
        assert "longconv apply in.wav matrix.toml -o out.wav" in line
        (folder / "matrix.toml").write_text(line.partition("holds: ")[2])
        expected = convolve(np.repeat(x[:1], 2, axis=0), h)  # once, not twice
        assert snr(applied(folder, source="mono.wav", irs=["matrix.toml"]), expected) >= SINGLE
        options = ("-y", "--ir-channels", "matrix.toml")
        line = fail(2, "apply", "mono.wav", "ir.wav", "-o", "out.wav", *options, cwd=folder)
        assert "for a series, name the matrix file among the IRs" in line

    def test_a_matrix_then_an_ir(self, folder):
        x, h = signals(folder)
        (folder / "swap.toml").write_text(
            "".join(f"[[path]]\ninput = {i}\noutput = {3 - i}\ndirect = true\n" for i in (1, 2))
        )
        assert snr(applied(folder, irs=["swap.toml", "ir.wav"]), convolve(x[::-1], h)) >= SINGLE


class TestImpulseResponse:
    def test_offset_length_and_fade(self, folder):
        x, h = signals(folder)
        assert snr(applied(folder, "--ir-offset", "100s"), convolve(x, h[:, 100:])) >= SINGLE
        assert snr(applied(folder, "--ir-length", "700s"), convolve(x, h[:, :700])) >= SINGLE
        options = ("--ir-offset", "5ms", "--ir-length", "0.01", "--fade-out", "100s")
        part = h[:, 240:720].copy()
        part[:, -100:] *= np.cos(np.pi / 2 * np.arange(1, 101) / 101) ** 2
        assert snr(applied(folder, *options), convolve(x, part)) >= SINGLE

    def test_another_rate(self, folder):
        """A filter of limited bandwidth, sampled at two rates, is the same filter."""

        def bell(rate):
            time = np.arange(round(0.02 * rate)) / rate
            return np.exp(-(((time - 0.01) / 0.0004) ** 2)) * np.cos(9000 * time) / rate

        x, _ = signals(folder)
        write(folder / "ir44.wav", bell(44_100), rate=44_100, subtype="DOUBLE")
        y = applied(folder, "--subtype", "DOUBLE", irs=["ir44.wav"])
        expected = convolve(x, bell(RATE))
        assert snr(y[:, : expected.shape[1]], expected) >= 120
        late = y[:, expected.shape[1] :]
        assert np.abs(late).max() < 1e-6 * np.abs(y).max()
        options = ("--ir-rate", "error", "-o", "refused.wav")
        assert "44100" in fail(4, "apply", "in.wav", "ir44.wav", *options, cwd=folder)


class TestOutput:
    @pytest.mark.parametrize(
        ("subtype", "least"), [("PCM_16", 60), ("PCM_24", 110), ("PCM_32", 150), ("FLOAT", 130), ("DOUBLE", 280)]
    )
    def test_subtype(self, folder, subtype, least):
        x, h = signals(folder)
        y = applied(folder, "--subtype", subtype)
        assert soundfile.info(folder / "out.wav").subtype == subtype
        assert snr(y, convolve(x, h)) >= least

    @pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
    def test_keep(self, folder, subtype):
        write(folder / "other.wav", signals(folder)[0], subtype=subtype)
        applied(folder, source="other.wav")
        assert soundfile.info(folder / "out.wav").subtype == subtype

    def test_format(self, folder):
        x, h = signals(folder)
        expected = convolve(x, h)
        assert snr(applied(folder, "--format", "FLAC", "--subtype", "PCM_24", target="out.wav"), expected) >= 110
        assert soundfile.info(folder / "out.wav").format == "FLAC"
        y = applied(folder, target="out.flac")  # by the name, in the nearest encoding, with a note
        assert soundfile.info(folder / "out.flac").subtype == "PCM_24"
        assert snr(y, expected) >= 110
        assert applied(folder, target="out.ogg").shape == (2, L + K - 1)
        assert soundfile.info(folder / "out.ogg").subtype == "VORBIS"
        assert snr(applied(folder, target="out.aiff"), expected) >= SINGLE
        assert snr(applied(folder, "--format", "rf64", target="out.rf64.wav"), expected) >= SINGLE
        assert soundfile.info(folder / "out.rf64.wav").format == "RF64"

    def test_a_device(self, folder):
        succeed("apply", "in.wav", "ir.wav", "-o", "/dev/null", cwd=folder)

    def test_dither(self, folder):
        expected = convolve(*signals(folder))
        plain = applied(folder, "--subtype", "PCM_16", "--dither", "none")
        levels = np.rint(expected * 32768)
        near = np.abs(expected * 32768 - levels) < 0.49  # single precision may round the rest the other way
        assert np.array_equal(plain[near] * 32768, levels[near])
        for name, options in {"auto": (), "tpdf": ("--dither", "tpdf")}.items():
            y = applied(folder, "--subtype", "PCM_16", *options)
            error = (y - expected) * 32768
            # Rounding has a variance of 1/12 level, triangular dither of two levels one of 1/6 more.
            assert np.var(error) == pytest.approx(1 / 4, rel=0.05), name
            assert np.abs(error).max() <= 1.51
        y24 = applied(folder, "--subtype", "PCM_24", "--dither", "tpdf", "--precision", "double")
        assert np.var((y24 - expected) * 2**23) == pytest.approx(1 / 4, rel=0.05)
        y24 = applied(folder, "--subtype", "PCM_24", "--precision", "double")  # auto: not at 24 bits
        assert np.var((y24 - expected) * 2**23) == pytest.approx(1 / 12, rel=0.05)

    def test_metadata(self, folder):
        x, _ = signals(folder)
        with soundfile.SoundFile(folder / "tagged.wav", "w", RATE, 2, "PCM_24") as file:
            file.title, file.artist = "A hall", "Somebody"
            file.write(x.T)
        applied(folder, source="tagged.wav")
        with soundfile.SoundFile(folder / "out.wav") as file:
            assert (file.title, file.artist) == ("A hall", "Somebody")
        applied(folder, source="tagged.wav", target="out.flac")
        with soundfile.SoundFile(folder / "out.flac") as file:
            assert (file.title, file.artist) == ("A hall", "Somebody")
        applied(folder, "--metadata", "drop", source="tagged.wav")
        with soundfile.SoundFile(folder / "out.wav") as file:
            assert (file.title, file.artist) == ("", "")

    def test_overwrite(self, folder):
        expected = convolve(*signals(folder))
        for option in ("-y", "--overwrite"):
            (folder / "out.wav").write_bytes(b"old")
            (folder / "out.wav").chmod(0o640)
            succeed("apply", "in.wav", "ir.wav", "-o", "out.wav", option, cwd=folder)
            assert snr(read(folder / "out.wav"), expected) >= SINGLE
            assert (folder / "out.wav").stat().st_mode & 0o777 == 0o640
        (folder / "link.wav").symlink_to("out.wav")
        succeed("apply", "in.wav", "ir.wav", "-o", "link.wav", "-y", cwd=folder)
        assert (folder / "link.wav").is_symlink()


class TestEngine:
    def test_precision(self, folder):
        expected = convolve(*signals(folder))
        assert snr(applied(folder, "--precision", "double", "--subtype", "DOUBLE"), expected) >= DOUBLE
        assert reported(folder, "--subtype", "DOUBLE")["precision"] == "double"
        assert reported(folder, "--subtype", "FLOAT")["precision"] == "single"
        single = applied(folder, "--precision", "single", "--subtype", "DOUBLE")
        assert SINGLE <= snr(single, expected) < 200

    @pytest.mark.parametrize("size", [2, 64, 1024, 4096])
    def test_block_size(self, folder, size):
        expected = convolve(*signals(folder))
        assert snr(applied(folder, "--block-size", size), expected) >= SINGLE
        if size > 2:
            plan = reported(folder, "--block-size", size)["plan"]
            assert f"FFT {size}" in plan

    def test_a_block_size_that_takes_long_is_warned_of(self, folder):
        for size, words in ((2, 1), (4096, 0)):
            options = ("-n", "--block-size", size)
            done = succeed("apply", "in.wav", "ir.wav", "-o", "out.wav", *options, cwd=folder)
            assert len(re.findall(rf"warning: --block-size {size}: about \d+ times", done.stderr)) == words
        done = succeed("apply", "in.wav", "ir.wav", "-o", "out.wav", "-n", "-q", "--block-size", 2, cwd=folder)
        assert done.stderr == ""

    def test_nonfinite_zero(self, folder):
        x, h = signals(folder)
        bad = x.copy()
        bad[0, 100], bad[1, 5000], bad[1, 5001] = np.nan, np.inf, -np.inf
        write(folder / "bad.wav", bad)
        report = reported(folder, "--nonfinite", "zero", source="bad.wav")
        bad[~np.isfinite(bad)] = 0
        assert snr(read(folder / "out.wav"), convolve(bad, h)) >= SINGLE
        assert any(line.startswith("3 samples") for line in report["warnings"])

    def test_devices(self, folder):
        expected = convolve(*signals(folder))
        for device in ("cpu", "auto"):  # which stays there for so little work
            assert snr(applied(folder, "--device", device), expected) >= SINGLE
            assert reported(folder, "--device", device)["device"] == "cpu"

    def test_strict_changes_nothing_for_a_sound_file(self, folder):
        assert snr(applied(folder, "--strict"), convolve(*signals(folder))) >= SINGLE


class TestRaw:
    @pytest.mark.parametrize(
        ("name", "dtype", "least"),
        [("f32le", "<f4", 130), ("f64be", ">f8", 280), ("s16le", "<i2", 60), ("s32be", ">i4", 150)],
    )
    def test_files(self, folder, name, dtype, least):
        x, h = signals(folder)
        scale = 1 if dtype[1] == "f" else 2.0 ** (8 * int(dtype[2]) - 1)
        stored = interleaved(np.rint(x * scale) if scale > 1 else x, dtype)
        (folder / "in.raw").write_bytes(stored)
        options = ("--raw-format", name, "--rate", RATE, "--channels", 2)
        succeed("apply", "in.raw", "ir.wav", "-o", "out.raw", *options, cwd=folder)
        y = np.frombuffer((folder / "out.raw").read_bytes(), dtype).reshape(-1, 2).T / scale
        x = np.frombuffer(stored, dtype).reshape(-1, 2).T / scale
        assert snr(y, convolve(x, h)) >= least

    def test_what_is_missing_is_asked_for(self, folder):
        (folder / "in.raw").write_bytes(bytes(8000))
        for options in ((), ("--raw-format", "f32le"), ("--raw-format", "f32le", "--rate", "48000")):
            line = fail(2, "apply", "in.raw", "ir.wav", "-o", "out.wav", *options, cwd=folder)
            assert "--channels" in line

    @pytest.mark.parametrize("name", ["take.f32", "take.dat", "take"])
    def test_rate_and_channels_make_any_input_raw(self, folder, name):
        x, h = signals(folder)
        (folder / name).write_bytes(interleaved(x))
        options = ("--raw-format", "f32le", "--rate", RATE, "--channels", 2)
        assert snr(applied(folder, *options, source=name), convolve(x, h)) >= SINGLE

    @pytest.mark.parametrize("suffix", ["raw", "pcm", "f32", "f64", "s16", "s24", "s32", "u8"])
    def test_suffixes_of_raw_output(self, folder, suffix):
        expected = convolve(*signals(folder))
        succeed("apply", "in.wav", "ir.wav", "-o", f"out.{suffix}", "--raw-format", "f32be", cwd=folder)
        y = np.frombuffer((folder / f"out.{suffix}").read_bytes(), ">f4").reshape(-1, 2).T
        assert snr(y, expected) >= SINGLE

    def test_no_option_is_dropped_in_silence(self, folder):
        raw = ("--raw-format", "f32le")
        cases = [
            (("-o", "out.wav", *raw), "neither in.wav nor out.wav is raw"),
            (("-o", "-", "--format", "WAV", *raw), "neither in.wav nor - is raw"),
            (("-o", "out.wav", *raw, "--rate", RATE, "--channels", 2), "in.wav: has a header"),
            (("-o", "out.raw", *raw, "--rate", RATE), "in.wav: has a header"),
            (("-o", "-", *raw, "--subtype", "PCM_16"), "--subtype PCM_16 stands beside --raw-format f32le"),
        ]
        commands = [("apply", "in.wav", "ir.wav", *options) for options, _ in cases]
        for line, (_, words) in zip(fail_each(2, commands, cwd=folder), cases, strict=True):
            assert words in line

    def test_a_header_is_believed_whatever_the_name(self, folder):
        (folder / "in.raw").write_bytes((folder / "in.wav").read_bytes())
        assert snr(applied(folder, source="in.raw"), convolve(*signals(folder))) >= SINGLE

    def test_format_goes_before_raw(self, folder):
        x, h = signals(folder)
        options = ("--raw-format", "f32le", "--rate", RATE, "--channels", 2, "--format", "wav", "--subtype", "PCM_24")
        done = succeed("apply", "-", "ir.wav", "-o", "-", *options, cwd=folder, stdin=interleaved(x))
        y, rate = soundfile.read(io.BytesIO(done.stdout), always_2d=True)
        assert rate == RATE
        assert snr(y.T, convolve(x, h)) >= 110


class TestReports:
    def test_dry_run_writes_nothing(self, folder):
        done = succeed("apply", "in.wav", "ir.wav", "-o", "out.wav", "-n", cwd=folder)
        assert done.after == done.before
        assert done.stdout == b""
        assert "6000 frames + 1499 of tail" in done.stderr
        assert "nothing was written" in done.stderr
        done = succeed("apply", "in.wav", "ir.wav", "-o", "out.wav", "-n", "--json", cwd=folder)
        assert done.after == done.before
        report = json.loads(done.stdout)
        assert report["dry_run"] is True
        assert (report["frames_in"], report["frames_out"], report["bytes_out"]) == (L, L + K - 1, 8 * (L + K - 1))

    def test_json(self, folder):
        done = succeed("apply", "in.wav", "ir.wav", "-o", "out.wav", "--json", "--gain", "-3", cwd=folder)
        report = json.loads(done.stdout)
        y = read(folder / "out.wav")
        exact = {
            "input": "in.wav",
            "output": "out.wav",
            "format": "WAV",
            "subtype": "FLOAT",
            "samplerate": RATE,
            "channels_in": 2,
            "channels_out": 2,
            "taps": K,
            "precision": "single",
            "device": "cpu",
            "frames_in": L,
            "frames_out": L + K - 1,
            "bytes_out": 8 * (L + K - 1),
            "clipped": 0,
            "limited": 0,
            "gain_db": -3.0,
            "warnings": [],
            "notes": [],
            "dry_run": False,
        }
        measured = {"plan", "seconds", "speed", "peak_dbfs"}
        assert report.keys() == exact.keys() | measured
        assert {key: report[key] for key in exact} == exact
        assert report["peak_dbfs"] == pytest.approx(20 * np.log10(np.abs(y).max()), abs=1e-6)
        assert report["speed"] == pytest.approx((L + K - 1) / RATE / report["seconds"])

    def test_json_of_silence_and_of_pipes(self, folder):
        write(folder / "silent.wav", np.zeros((2, 100)))
        report = reported(folder, source="silent.wav")
        assert report["peak_dbfs"] is None
        done = succeed(
            "apply", "-", "ir.wav", "-o", "out.wav", "-y", "--json", cwd=folder, stdin=(folder / "in.wav").read_bytes()
        )
        report = json.loads(done.stdout)
        assert (report["input"], report["frames_in"], report["frames_out"]) == ("standard input", L, L + K - 1)
        assert report["bytes_out"] == 8 * (L + K - 1)

    def test_quiet(self, folder):
        done = succeed(
            "apply", "in.wav", "ir.wav", "-o", "out.wav", "-q", "--subtype", "PCM_16", "--gain", "30", cwd=folder
        )
        assert (done.stdout, done.stderr) == (b"", "")
        done = succeed("apply", "in.wav", "ir.wav", "-o", "out.wav", "-y", "-q", "--progress", "on", cwd=folder)
        assert (done.stdout, done.stderr) == (b"", "")

    def test_the_last_line(self, folder):
        done = succeed("apply", "in.wav", "ir.wav", "-o", "out.wav", cwd=folder)
        (line,) = done.lines
        pattern = (
            r"out\.wav: 6000 frames \+ 1499 of tail, [\d.]+ x real time, peak -?\d+\.\d dBFS, 0 clipped, gain \+0\.0 dB"
        )
        assert re.fullmatch(pattern, line)
        assert done.stdout == b""

    def test_dry_and_wet_in_db(self, folder):
        done = succeed("apply", "in.wav", "ir.wav", "-o", "out.wav", "--mix", "0.5", cwd=folder)
        assert "dry -6.0 dB, wet -6.0 dB" in done.lines

    def test_seconds_typed_as_samples_are_pointed_out(self, folder):
        for tail, count in (("10s", 1), ("48s", 0), ("4800s", 0), ("0s", 0), ("10", 0)):
            done = succeed("apply", "in.wav", "ir.wav", "-o", "out.wav", "-n", "--tail", tail, cwd=folder)
            assert done.stderr.count("--tail 10s: 10 samples, less than a millisecond; write 10 for seconds") == count
            assert len(done.lines) == 1 + count

    def test_a_name_with_a_newline_is_one_line(self, folder):
        done = succeed("apply", "in.wav", "ir.wav", "-o", "two\nlines.wav", cwd=folder)
        assert len(done.lines) == 1
        assert (folder / "two\nlines.wav").exists()

    def test_verbose(self, folder):
        done = succeed("apply", "in.wav", "ir.wav", "-o", "out.wav", "-v", cwd=folder)
        assert any("single precision on cpu" in line and "FFT" in line for line in done.lines)

    def test_progress(self, folder):
        done = succeed("apply", "in.wav", "ir.wav", "-o", "out.wav", "--progress", "on", cwd=folder)
        assert "\r" in done.stderr
        assert " %" in done.stderr
        done = succeed("apply", "in.wav", "ir.wav", "-o", "out.wav", "-y", "--progress", "off", cwd=folder)
        assert "\r" not in done.stderr
