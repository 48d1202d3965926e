import pathlib

import numpy as np
import pytest
import soundfile

from longconv_audio import shaping
from longconv_audio.audio_io.matrix import read_matrix
from longconv_audio.errors import LongconvError, MismatchError, NonFiniteError, OptionError, UnreadableError
from longconv_audio.routing import dense

INSTALLED = pathlib.Path("/usr/share/jconvolver/config-files")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


HALL = noise(2, 500, seed=1)
ROOM = noise(1, 300, seed=2)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "irs").mkdir()
    soundfile.write(tmp_path / "hall.wav", HALL.T, 48000, subtype="DOUBLE")
    soundfile.write(tmp_path / "irs" / "room.wav", ROOM.T, 48000, subtype="DOUBLE")
    soundfile.write(tmp_path / "hall44.wav", HALL.T, 44100, subtype="DOUBLE")
    return tmp_path


def read(folder, text, name="matrix.toml", **options):
    (folder / name).write_text(text)
    return read_matrix(folder / name, **{"samplerate": 48000, **options})


def fails(folder, text, kind, name="matrix.toml", **options):
    """The message, which must be one line that names the matrix file."""
    with pytest.raises(kind) as caught:
        read(folder, text, name, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert name in message
    return message


def path_table(*lines):
    return "\n".join(["[[path]]", *lines, ""])


class TestToml:
    def test_every_key(self, folder):
        matrix = read(
            folder,
            """
            inputs = 2
            outputs = 3
            [[path]]
            input = 1
            output = 2
            file = "hall.wav"
            channel = 2
            gain_db = -20.0
            delay_samples = 7
            offset = "100s"
            length = "50s"
            [[path]]
            input = "2"
            output = "3"
            file = "irs/room.wav"
            gain = -2
            delay_ms = 1.0
            offset = 0.001
            [[path]]
            input = 2
            output = 1
            direct = true
            delay_ms = 0.125
            """,
        )
        expected = np.zeros((3, 2, 48 + 300 - 48))
        expected[1, 0, 7:57] = 0.1 * HALL[1, 100:150]
        expected[2, 1, 48:] = -2 * ROOM[0, 48:]
        expected[0, 1, 6] = 1
        assert matrix.origin == 0
        assert np.allclose(dense(matrix), expected, rtol=0, atol=1e-15)

    def test_the_smallest(self, folder):
        matrix = read(folder, 'path = [{input=1, output=2, file="hall.wav"}]')
        assert (matrix.inputs, matrix.outputs) == (1, 2)
        assert np.array_equal(dense(matrix)[1, 0], HALL[0])

    def test_relative_to_the_matrix_file(self, folder, monkeypatch):
        monkeypatch.chdir("/")
        (folder / "irs" / "m.toml").write_text(
            f'path = [{{input=1, output=1, file="../hall.wav"}}, {{input=1, output=2, file="{folder}/irs/room.wav"}}]'
        )
        h = dense(read_matrix(folder / "irs" / "m.toml", samplerate=48000))
        assert np.array_equal(h[0, 0], HALL[0])
        assert np.array_equal(h[1, 0, :300], ROOM[0])

    def test_equal_parts_are_shared(self, folder):
        rows = ", ".join(f'{{input={c}, output={c}, file="hall.wav", gain=0.5}}' for c in range(1, 17))
        matrix = read(folder, f"path = [{rows}]", samplerate=44100)
        assert len(matrix.paths) == 16
        assert len({id(path.taps) for path in matrix.paths}) == 1

    def test_several_between_the_same_channels_add_up(self, folder):
        line = '{input=1, output=1, file="hall.wav", channel=%d}'
        matrix = read(folder, f'path = [{line % 1}, {line % 2}, {{input=1, output=1, file="irs/room.wav"}}]')
        expected = HALL.sum(axis=0)
        expected[:300] += ROOM[0]
        assert len(matrix.paths) == 1
        assert np.allclose(matrix.paths[0].taps, expected, rtol=0, atol=1e-14)

    def test_resampled_paths_meet_at_one_origin(self, folder):
        notes = []
        matrix = read(
            folder,
            'path = [{input=1, output=1, file="hall44.wav", delay_samples=5}, {input=1, output=2, file="hall.wav"}, '
            '{input=1, output=3, file="hall.wav"}, {input=1, output=3, file="hall44.wav", delay_samples=5}, '
            "{input=1, output=4, direct=true, delay_samples=3}]",
            notes=notes,
        )
        resampled, origin = shaping.resample(np.pad(HALL[:1], ((0, 0), (5, 0))), 44100, 48000)
        assert matrix.origin == origin > 0
        h = dense(matrix)[:, 0]
        assert np.array_equal(h[0], resampled[0])
        assert np.array_equal(h[1, origin : origin + 500], HALL[0])
        assert not h[1, :origin].any()
        assert np.allclose(h[2], h[0] + h[1], rtol=0, atol=1e-14)
        assert np.flatnonzero(h[3]).tolist() == [origin + 3]
        assert notes == [f"{folder / 'matrix.toml'}: filters resampled from 44100 to 48000 Hz"]

    def test_another_rate_refused(self, folder):
        text = 'path = [{input=1, output=1, file="hall.wav"}, {input=1, output=2, file="hall44.wav"}]'
        message = fails(folder, text, MismatchError, rate="error")
        assert "path 2" in message
        assert "hall44.wav" in message
        with pytest.raises(OptionError):
            read(folder, text, rate="perhaps")

    def test_arrays_are_at_the_inputs_rate(self, folder):
        np.save(folder / "ir.npy", HALL)
        matrix = read(folder, 'path = [{input=1, output=1, file="ir.npy", channel=2}]', samplerate=11025)
        assert np.array_equal(matrix.paths[0].taps, HALL[1])

    def test_silence_and_damage_are_notes(self, folder):
        soundfile.write(folder / "hall.wav", np.zeros(5), 48000)
        notes = []
        assert read(folder, 'path = [{input=1, output=1, file="hall.wav"}]', notes=notes).taps == 5
        assert len(notes) == 1

    @pytest.mark.parametrize(
        ("lines", "kind", "says"),
        [
            (["gian = 2"], UnreadableError, "'gian'"),
            (["gain = 2", "gain_db = 3"], UnreadableError, "gain_db"),
            (["delay_ms = 2", "delay_samples = 3"], UnreadableError, "delay_samples"),
            (["direct = true"], UnreadableError, "direct"),
            (["gain = nan"], UnreadableError, "gain"),
            (['gain = "loud"'], UnreadableError, "'loud'"),
            (["gain_db = 1e9"], UnreadableError, "gain_db"),
            (["delay_ms = -1"], UnreadableError, "-1"),
            (["delay_ms = 1e15"], OptionError, "delay"),
            (["delay_samples = 1.5"], UnreadableError, "delay_samples = 1.5"),
            (["delay_samples = true"], UnreadableError, "delay_samples = True"),
            (["channel = 0"], UnreadableError, "channel = 0"),
            (["channel = 3"], MismatchError, "channel 3"),
            (['offset = "long"'], UnreadableError, "'long'"),
            (['offset = "500s"'], OptionError, "500"),
            (["length = 0"], OptionError, "nothing"),
            (["length = [1]"], UnreadableError, "length"),
        ],
    )
    def test_bad_paths(self, folder, lines, kind, says):
        good = path_table("input = 1", "output = 1", 'file = "hall.wav"')
        bad = path_table("input = 1", "output = 2", 'file = "hall.wav"', *lines)
        message = fails(folder, good + bad, kind)
        assert "path 2" in message
        assert says in message

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "empty"),
            ("# nothing\n", "empty"),
            ("inputs = ", "TOML"),
            ("just text", "TOML"),
            ("inputs = 2", "[[path]]"),
            ("path = 3", "[[path]]"),
            ("paths = []", "'paths'"),
            ('path = [{output=1, file="hall.wav"}]', "input is missing"),
            ("path = [{input=1, output=1}]", "file"),
            ("path = [{input=1, output=1, file=3}]", "file name"),
            ("path = [{input=1, output=1, direct=true, channel=1}]", "channel"),
            ('inputs = 1\npath = [{input=2, output=1, file="hall.wav"}]', "input 2; expected 1 to 1"),
            ('inputs = 0\npath = [{input=1, output=1, file="hall.wav"}]', "inputs = 0"),
            ('path = [{input=0, output=1, file="hall.wav"}]', "input = 0"),
            ('path = [{input=1, output=5000, file="hall.wav"}]', "output = 5000"),
            ('path = [{input=1, output=1, file="missing.wav"}]', "missing.wav"),
        ],
    )
    def test_bad_files(self, folder, text, says):
        assert says in fails(folder, text, UnreadableError)

    def test_no_samples_and_no_numbers(self, folder):
        soundfile.write(folder / "hall.wav", np.zeros((0, 1)), 48000)
        assert "path 1" in fails(folder, 'path = [{input=1, output=1, file="hall.wav"}]', UnreadableError)
        soundfile.write(folder / "hall.wav", np.array([1, np.nan]), 48000, subtype="DOUBLE")
        message = fails(folder, 'path = [{input=1, output=1, file="hall.wav"}]', NonFiniteError)
        assert "path 1" in message
        assert "channel 1 (of 1), sample 1" in message

    def test_not_there_a_folder_or_not_text(self, folder):
        for name in ("missing.toml", "irs", "hall.wav"):
            with pytest.raises(UnreadableError, match=name):
                read_matrix(folder / name, samplerate=48000)


class TestJconvolver:
    def test_every_command(self, folder):
        notes = []
        matrix = read(
            folder,
            """
# a comment
/convolver/new 2 3 256 400 0.5

/input/name   1 In.L  system:capture_1
/output/name  3 "Out
/impulse/read\t1 1 0.5 10 100 50 2 hall.wav
/impulse/copy  2 2 1 1
/cd irs
/impulse/read  2 3 -1 0 0 0 1 "room.wav"
/impulse/dirac 2 3 0.25 4
/impulse/dirac 1 1 3 0
""",
            name="matrix.conf",
            notes=notes,
        )
        expected = np.zeros((3, 2, 300))
        expected[0, 0, 10:60] = 0.5 * HALL[1, 100:150]
        expected[0, 0, 0] += 3
        expected[1, 1] = expected[0, 0]  # a copy takes in what was added later
        expected[2, 1] = -ROOM[0]
        expected[2, 1, 4] += 0.25
        assert (matrix.inputs, matrix.outputs, matrix.origin) == (2, 3, 0)
        assert np.allclose(dense(matrix), expected, rtol=0, atol=1e-15)
        by_pair = {(path.output, path.input): path.taps for path in matrix.paths}
        assert by_pair[0, 0] is by_pair[1, 1]
        assert notes == []

    def test_longer_than_maxsize_is_not_cut_but_said(self, folder):
        notes = []
        matrix = read(folder, "/convolver/new 1 1 64 400\n/impulse/read 1 1 1 0 0 0 1 hall.wav", notes=notes)
        assert np.array_equal(matrix.paths[0].taps, HALL[0])
        assert len(notes) == 1
        assert "400" in notes[0]

    @pytest.mark.parametrize("delay", [147, 100])
    def test_unit_impulses_keep_in_time_with_resampled_files(self, folder, delay):
        taps = np.zeros(300)
        taps[delay] = 1
        soundfile.write(folder / "hall44.wav", taps, 44100, subtype="DOUBLE")
        matrix = read(
            folder,
            f"/convolver/new 1 2 64 4000\n/impulse/dirac 1 1 1 {delay}\n/impulse/read 1 2 1 0 0 0 1 hall44.wav",
        )
        h = dense(matrix)[:, 0]
        times = (np.arange(h.shape[1]) - matrix.origin) / 48000
        for frequency in (100, 1000, 15000):
            turns = np.exp(-2j * np.pi * frequency * times)
            exact = np.exp(-2j * np.pi * frequency * delay / 44100)
            assert np.abs(h @ turns - exact).max() < 2e-3
        if delay == 147:  # 160 samples at 48 kHz
            assert np.flatnonzero(h[0]).tolist() == [matrix.origin + 160]

    def test_unit_impulses_beside_several_rates(self, folder):
        head = (
            "/convolver/new 1 1 64 4000\n/impulse/read 1 1 1 0 0 0 1 hall.wav\n"
            "/impulse/read 1 1 1 0 0 0 1 hall44.wav\n/impulse/dirac 1 1 1 "
        )
        assert "line 4" in fails(folder, head + "5", MismatchError)
        assert read(folder, head + "0").paths[0].taps.any()

    @pytest.mark.parametrize(
        ("line", "kind", "says"),
        [
            ("/impulse/hilbert 1 1 1 0 8", UnreadableError, "/impulse/hilbert"),
            ("/impulse/frobnicate", UnreadableError, "/impulse/frobnicate"),
            ("hello", UnreadableError, "hello"),
            ("/impulse/read 1 1 1 0 0 0 1", UnreadableError, "7 values"),
            ("/impulse/read 1 1 1 0 0 0 1 a b.wav", UnreadableError, "9 values"),
            ('/impulse/read 1 1 1 0 0 0 1 "a b.wav', UnreadableError, "quotation"),
            ("/impulse/read 3 1 1 0 0 0 1 hall.wav", UnreadableError, "input 3"),
            ("/impulse/read 1 0 1 0 0 0 1 hall.wav", UnreadableError, "output = '0'"),
            ("/impulse/read 1 1 x 0 0 0 1 hall.wav", UnreadableError, "gain = 'x'"),
            ("/impulse/read 1 1 1 -5 0 0 1 hall.wav", UnreadableError, "delay = '-5'"),
            ("/impulse/read 1 1 1 0 0 0 3 hall.wav", MismatchError, "channel 3"),
            ("/impulse/read 1 1 1 0 500 0 1 hall.wav", OptionError, "nothing"),
            ("/impulse/read 1 1 1 0 0 0 1 missing.wav", UnreadableError, "missing.wav"),
            ("/impulse/dirac 1 1 1", UnreadableError, "3 values"),
            ("/impulse/copy 1 2 3 1", UnreadableError, "from-input"),
            ("/impulse/copy 1 2 2 2", UnreadableError, "nothing to copy"),
            ("/impulse/copy 1 2 1 2", UnreadableError, "circle"),
            ("/convolver/new 1 1 1 1", UnreadableError, "second"),
            ("/cd", UnreadableError, "0 values"),
        ],
    )
    def test_bad_lines(self, folder, line, kind, says):
        text = f"# first\n/convolver/new 2 2 64 4000\n\n/impulse/read 1 1 1 0 0 0 1 hall.wav\n{line}\n"
        message = fails(folder, text, kind, name="matrix.conf")
        assert "line 5" in message
        assert says in message

    def test_order_and_emptiness(self, folder):
        assert "line 1" in fails(folder, "/impulse/read 1 1 1 0 0 0 1 hall.wav", UnreadableError)
        assert "no filters" in fails(folder, "/convolver/new 1 1 1 1", UnreadableError)
        assert "3 values" in fails(folder, "/convolver/new 1 1 1", UnreadableError)

    @pytest.mark.skipif(not INSTALLED.is_dir(), reason="jconvolver's configuration files are not installed")
    def test_real_ones(self):
        understood = 0
        for path in sorted(INSTALLED.rglob("*.conf")):
            matrix, message = None, ""
            try:
                matrix = read_matrix(path, samplerate=48000)
            except LongconvError as error:
                message = str(error)
            if matrix is None:  # most name files that come separately, or filters made on the spot
                assert str(path) in message
                assert "no such file" in message or "hilbert" in message
            else:
                understood += 1
                assert np.abs(dense(matrix)).max() > 0.01
        assert understood >= 3

    @pytest.mark.skipif(not INSTALLED.is_dir(), reason="jconvolver's configuration files are not installed")
    def test_the_real_crosstalk_canceller(self):
        matrix = read_matrix(INSTALLED / "xtalk-cancel" / "EYCv2-48.conf", samplerate=48000)
        same, other = (
            soundfile.read(INSTALLED / "xtalk-cancel" / f"EYCv2{side}48.wav", dtype="float64")[0][:, 0] for side in "LR"
        )
        assert np.array_equal(dense(matrix), [[same, other], [other, same]])
        assert len({id(path.taps) for path in matrix.paths}) == 2
