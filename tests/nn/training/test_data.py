"""From files to clips: what is found, how it is split and cut, and what is said of bad files."""

import os
import pickle

import numpy as np
import pytest
import soundfile
import torch

from longconv_audio.errors import NonFiniteError, OptionError, UnreadableError
from longconv_audio.nn.training import DataSettings, TrainingData, from_torchaudio, read_data
from longconv_audio.nn.training.clips import Store, place
from longconv_audio.nn.training.recordings import list_recordings
from longconv_audio.nn.training.sound import read_mono
from tests.measures import snr
from tests.nn.training.material import RATE, tone, write_classes

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = DataSettings(clip_seconds=0.1, validation=0.25)

SKIPPING = DataSettings(clip_seconds=0.1, validation=0.25, skip_bad=True)


def names(clips):
    return [stretch.recording.name for stretch in clips.stretches]


def manifest(folder, *lines, name="list.csv"):
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


class TestFolderOfClasses:
    def test_classes_and_split(self, rng, tmp_path):
        data = write_classes(tmp_path / "data", rng)
        (data / "low" / "deeper").mkdir()
        (data / "low" / "0.wav").rename(data / "low" / "deeper" / "0.wav")
        for hidden in (data / "_noise_", data / ".cache"):
            hidden.mkdir()
            (hidden / "1.wav").write_bytes(b"left out")
        (data / "low" / ".1.wav").write_bytes(b"left out")
        (data / "low" / "readme.txt").write_text("left out")
        sets = read_data(data, SHORT)
        assert sets.training.classes == ("high", "low")
        assert (sets.training.rate, sets.training.samples) == (RATE, 200)
        assert (len(sets.training), len(sets.validation)) == (12, 4)
        assert sorted(sets.validation.labels) == [0, 0, 1, 1]
        assert sorted(names(sets.training) + names(sets.validation)) == sorted(
            [f"high/{i}.wav" for i in range(8)] + ["low/deeper/0.wav"] + [f"low/{i}.wav" for i in range(1, 8)]
        )
        for name, label in zip(names(sets.training), sets.training.labels, strict=True):
            assert name.startswith(("high", "low")[label])
        assert not sets.notes

    def test_the_split_is_that_of_the_names_and_the_seed(self, rng, tmp_path):
        data = write_classes(tmp_path / "a", rng)
        again = write_classes(tmp_path / "b", rng)
        first = names(read_data(data, SHORT).validation)
        assert names(read_data(again, SHORT).validation) == first
        others = [names(read_data(data, DataSettings(0.1, validation=0.25, seed=s)).validation) for s in (1, 2, 3)]
        assert any(other != first for other in others)

    def test_a_list_says_what_to_validate_with(self, rng, tmp_path, monkeypatch):
        data = write_classes(tmp_path / "data", rng, count=2)
        listed = manifest(tmp_path, "# heard by nobody", "./high/1.wav", "data/low/0.wav", "", name="held.txt")
        monkeypatch.chdir(tmp_path)
        sets = read_data("data", DataSettings(0.1, validation_list=str(listed)))
        assert names(sets.validation) == ["high/1.wav", "low/0.wav"]
        assert names(sets.training) == ["high/0.wav", "low/1.wav"]
        manifest(tmp_path, "high/9.wav", name="held.txt")
        with pytest.raises(OptionError, match=r"high/9\.wav is not among .* such as high/0\.wav"):
            read_data(data, DataSettings(0.1, validation_list=str(listed)))

    def test_refusals(self, rng, tmp_path):
        for name, expected in {
            "nothing": "no such file or folder; expected a folder for each class",
            "empty": "holds no class folders",
            "hollow": "high: a class with no audio file in it; expected at least 2",
            "lonely": "holds 1 class, low; expected at least 2",
            "single": r"class high: holds 1 audio file, high/0\.wav; expected at least 2",
            "file.wav": "is a file; expected a folder for each class",
        }.items():
            if name == "file.wav":
                (tmp_path / name).write_bytes(b"")
            elif name != "nothing":
                write_classes(tmp_path / name, rng, count=2)
            if name == "empty":
                for path in sorted((tmp_path / name).rglob("*"), reverse=True):
                    path.unlink() if path.is_file() else path.rmdir()
            for path in (tmp_path / name).glob("high/*") if name in ("hollow", "lonely", "single") else ():
                if name != "single" or path.name != "0.wav":
                    path.unlink()
            if name == "lonely":
                (tmp_path / name / "high").rmdir()
            with pytest.raises(UnreadableError, match=expected):
                read_data(tmp_path / name, SHORT)

    @pytest.mark.parametrize("labelled", [True, False])
    def test_places_that_cannot_be_read(self, tmp_path, labelled):
        with pytest.raises(UnreadableError, match="xxx: cannot be read: File name too long; expected "):
            list_recordings(tmp_path / ("x" * 300), labelled)
        (tmp_path / "file").write_text("")
        with pytest.raises(UnreadableError, match="Not a directory; expected "):
            list_recordings(tmp_path / "file" / "data", labelled)

    def test_a_device_is_no_folder(self):
        with pytest.raises(UnreadableError, match="null: is a file; expected a folder"):
            list_recordings(os.devnull, labelled=True)


class TestManifest:
    def test_splits(self, rng, tmp_path):
        write_classes(tmp_path / "sub", rng, count=2)
        listed = manifest(
            tmp_path,
            "split, label, path, comment",
            "train, a, sub/high/0.wav, x",
            "TRAIN, b, sub/low/0.wav, x",
            "dev, a, sub/high/1.wav, x",
            "test, b, sub/low/1.wav, x",
        )
        sets = read_data(listed, SHORT)
        assert (names(sets.training), names(sets.validation)) == (
            ["sub/high/0.wav", "sub/low/0.wav"],
            ["sub/high/1.wav"],
        )
        assert (sets.training.classes, sets.training.labels) == (("a", "b"), [0, 1])

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            (["file,label", "a,b"], "has the columns file, label; expected path,label"),
            ([""], "has the columns none"),
            (["path,label"], "has no line below its first"),
            (["path,label", "a.wav,"], "line 2 has no label"),
            (["path,label,split", "a.wav,b,later"], "line 2 has the split 'later'"),
            (["path,label,split", "a.wav,b,train", "b.wav,b,"], r"b\.wav has no split and others have one"),
            (["path,label", "a.wav,b", "a.wav,c"], r"line 3 names a\.wav again"),
            (["path,label", "a.wav,b", "./x/../a.wav,c"], r"line 3 names \./x/\.\./a\.wav again"),
            (["path,label", "a.wav,b", f"{'x' * 200_000},c"], "line 3 is no CSV: field larger"),
            (["path,label", "a.wav,b", "b.wav,c"], r"a\.wav: no such file"),
        ],
    )
    def test_refusals(self, tmp_path, lines, expected):
        with pytest.raises(UnreadableError, match=expected):
            read_data(manifest(tmp_path, *lines), SHORT)

    def test_no_validation(self, tmp_path):
        listed = manifest(tmp_path, "path,label,split", "a.wav,b,train")
        with pytest.raises(OptionError, match="no recording is in the validation split"):
            read_data(listed, SHORT)


class TestRatesAndChannels:
    def test_the_most_common_rate_and_one_channel(self, rng, tmp_path):
        data = write_classes(tmp_path, rng, count=4)
        time = np.arange(480) / 4800
        x = np.stack([np.sin(2 * np.pi * 100 * time), 0 * time], axis=1)
        soundfile.write(str(data / "low" / "0.wav"), x, 4800, subtype="FLOAT")
        sets = read_data(data, SHORT)
        assert sets.training.rate == RATE
        assert sets.notes == ["1 recording at 4800 Hz, resampled to 2000 Hz", "1 recording of 2 channels, mixed to one"]
        clips = next(c for c in (sets.training, sets.validation) if "low/0.wav" in names(c))
        y = clips.load(names(clips).index("low/0.wav"))
        inner = slice(40, 160)  # the edges of what was cut are not band limited
        assert snr(y[inner], 0.5 * np.sin(2 * np.pi * 100 * np.arange(200) / RATE)[inner]) > 40
        assert read_data(data, DataSettings(0.1, rate=1000)).training.samples == 100

    def test_what_lies_beside_the_classes_is_said(self, rng, tmp_path):
        data = write_classes(tmp_path, rng)
        (data / "low" / "0.wav").rename(data / "stray.wav")
        (data / "notes.txt").write_text("no audio")
        sets = read_data(data, DataSettings(clip_seconds=0.1))
        assert sets.notes == ["1 recording beside the class folders, left out"]
        assert len(sets.training) + len(sets.validation) == 15

    def test_a_store_with_no_room_reads_the_same(self, rng, tmp_path):
        for rate in (RATE, 3000):
            soundfile.write(str(tmp_path / "x.wav"), tone(rng, 100, rate=rate), rate, subtype="FLOAT")
            stores = [Store(RATE), Store(RATE, room=0)]
            for store in stores:
                store.add(str(tmp_path / "x.wav"), read_mono(str(tmp_path / "x.wav"), RATE)[0])
            one, other = (store.read(str(tmp_path / "x.wav"), 30, 50) for store in stores)
            assert one.std() > 0.05
            assert np.array_equal(one, other)
            copy = pickle.loads(pickle.dumps(stores[0]))
            assert np.array_equal(copy.read(str(tmp_path / "x.wav"), 30, 50), one)
            (tmp_path / "x.wav").unlink()  # kept by now, in the copy as well
            assert np.array_equal(copy.read(str(tmp_path / "x.wav"), 30, 50), one)
            with pytest.raises(UnreadableError, match="no such file"):
                stores[1].read(str(tmp_path / "x.wav"), 30, 50)


class TestClips:
    def test_cut_and_padded(self, rng, tmp_path):
        data = write_classes(tmp_path, rng, count=4, seconds=0.25)
        sets = read_data(data, SHORT)
        x = soundfile.read(data / names(sets.training)[0], dtype="float32")[0]
        assert np.array_equal(sets.training.load(0), x[150:350])
        starts = set()
        for seed in range(40):
            y = sets.training.load(0, torch.Generator().manual_seed(seed))
            (start,) = (s for s in range(301) if np.array_equal(x[s : s + 200], y))
            starts.add(start)
        assert min(starts) < 60 < 240 < max(starts)
        long = read_data(data, DataSettings(1.0))
        y = long.training.load(0, torch.Generator())
        x = soundfile.read(data / names(long.training)[0], dtype="float32")[0]
        assert np.array_equal(y, np.pad(x, (0, 1500)))

    def test_places(self):
        assert place(10, 4, None) == 3
        assert place(3, 4, torch.Generator()) == 0
        assert {place(5, 4, torch.Generator().manual_seed(s)) for s in range(20)} == {0, 1}


class TestUnlabelled:
    def test_one_file_is_cut_and_its_end_is_held_back(self, rng, tmp_path):
        x = tone(rng, 100, seconds=1.05).astype(np.float32)
        soundfile.write(str(tmp_path / "x.wav"), x, RATE, subtype="FLOAT")
        sets = read_data(tmp_path / "x.wav", SHORT, labelled=False)
        assert [s.start for s in sets.training.stretches] == list(range(0, 1600, 200))
        assert [s.start for s in sets.validation.stretches] == [1600, 1800, 1900]
        assert np.array_equal(sets.validation.load(2), x[1900:])
        with pytest.raises(UnreadableError, match=r"holds 2 clips of 0\.6 s; expected at least 3"):
            read_data(tmp_path / "x.wav", DataSettings(0.6), labelled=False)

    def test_a_folder_is_split_by_file(self, rng, tmp_path):
        write_classes(tmp_path, rng, count=3, seconds=0.3)
        sets = read_data(tmp_path, SHORT, labelled=False)
        assert not sets.training.classes
        assert (len(sets.training), len(sets.validation)) == (12, 6)
        assert not set(names(sets.training)) & set(names(sets.validation))
        (tmp_path / "empty").mkdir()
        with pytest.raises(UnreadableError, match="holds no audio file"):
            read_data(tmp_path / "empty", SHORT, labelled=False)


class TestBadFiles:
    @pytest.mark.parametrize("kind", ["garbage", "empty", "no samples", "nan", "broken"])
    def test_named_or_skipped(self, rng, tmp_path, kind):
        data = write_classes(tmp_path, rng, count=3)
        bad, error, expected = data / "low" / "1.wav", UnreadableError, r"low/1\.wav"
        if kind == "garbage":
            bad.write_bytes(rng.bytes(3000))
        elif kind == "empty":
            bad.write_bytes(b"")
        elif kind == "no samples":
            soundfile.write(str(bad), np.zeros(0), RATE)
        elif kind == "nan":
            x = tone(rng, 100)
            x[77] = np.nan
            soundfile.write(str(bad), x, RATE, subtype="FLOAT")
            error, expected = NonFiniteError, r"low/1\.wav: NaN or infinity at frame 77"
        else:
            bad.unlink()
            bad = bad.with_suffix(".flac")
            soundfile.write(str(bad), rng.uniform(-0.9, 0.9, 40_000), RATE)
            content = bytearray(bad.read_bytes())
            content[30_000:31_000] = bytes(1000)
            bad.write_bytes(content)
            expected = r"low/1\.flac: decoding failed after"
        with pytest.raises(error, match=expected):
            read_data(data, SHORT)
        sets = read_data(data, SKIPPING)
        assert len(sets.training) + len(sets.validation) == 5
        assert [note for note in sets.notes if note.startswith("skipped: ") and bad.name in note]

    def test_a_class_of_which_nothing_is_left(self, rng, tmp_path):
        data = write_classes(tmp_path, rng, count=2)
        for path in (data / "low").iterdir():
            path.write_bytes(b"nothing")
        with pytest.raises(UnreadableError, match="holds 1 class, high"):
            read_data(data, SKIPPING)
        for path in (data / "high").iterdir():
            path.write_bytes(b"nothing")
        with pytest.raises(UnreadableError, match="none of 4 recordings can be read, of which the first"):
            read_data(data, SKIPPING)

    def test_cut_short_is_said(self, rng, tmp_path):
        data = write_classes(tmp_path, rng, count=2)
        content = (data / "low" / "1.wav").read_bytes()
        (data / "low" / "1.wav").write_bytes(content[:-400])
        sets = read_data(data, SHORT)
        assert len(sets.notes) == 1
        assert "low/1.wav" in sets.notes[0]


class TestFromTorchaudio:
    def items(self, rng, labels):
        return [(torch.from_numpy(tone(rng, 100, rate=4000)[None]).float(), 4000, name, "speaker") for name in labels]

    def test_items_become_clips(self, rng):
        items = self.items(rng, ["up", "down", "up"])
        clips = from_torchaudio(items, sample_rate=4000, clip_seconds=0.05)
        assert (clips.classes, clips.labels) == (("down", "up"), [1, 0, 1])
        assert np.array_equal(clips.load(1), items[1][0][0, 100:300].numpy())
        half = from_torchaudio(items, sample_rate=2000, clip_seconds=0.2).load(0)
        assert half.shape == (400,)
        assert half[:200].std() > 0.05
        assert not half[200:].any()
        TrainingData(clips, from_torchaudio(items[:2], sample_rate=4000, clip_seconds=0.05, classes=clips.classes))

    def test_metadata_is_enough_for_the_labels(self, rng):
        class Lazy(list):
            def get_metadata(self, index):
                return ("path", 4000, "up" if index else "down", "speaker")

            def __getitem__(self, index):
                raise AssertionError("decoded")

        assert from_torchaudio(Lazy(range(3))).labels == [0, 1, 1]

    @pytest.mark.filterwarnings("ignore")
    def test_speech_commands(self, rng, tmp_path):
        """torchaudio's own class, on a folder like the one that it downloads."""
        datasets = pytest.importorskip("torchaudio.datasets", exc_type=Exception)
        words = tmp_path / "SpeechCommands" / "speech_commands_v0.02"
        expected = {}
        for word in ("yes", "no"):
            (words / word).mkdir(parents=True)
            for speaker in ("a1", "b2"):
                expected[word, speaker] = np.round(2**15 * tone(rng, 300, 0.05, 16_000)) / 2**15
                name = words / word / f"{speaker}_nohash_0.wav"
                soundfile.write(str(name), expected[word, speaker], 16_000, subtype="PCM_16")
        (words / "validation_list.txt").write_text("yes/b2_nohash_0.wav\nno/b2_nohash_0.wav\n")
        (words / "testing_list.txt").write_text("")
        data = TrainingData(
            *(
                from_torchaudio(datasets.SPEECHCOMMANDS(tmp_path, subset=subset), clip_seconds=0.05)
                for subset in ("training", "validation")
            )
        )
        assert data.training.classes == ("no", "yes")
        for clips, speaker in ((data.training, "a1"), (data.validation, "b2")):
            assert sorted(clips.labels) == [0, 1]
            for index, label in enumerate(clips.labels):
                assert np.array_equal(clips.load(index), expected[clips.classes[label], speaker].astype(np.float32))

    def test_refusals(self, rng):
        items = self.items(rng, ["up", "down"])
        with pytest.raises(ValueError, match="label 'down'; expected one of up"):
            from_torchaudio(items, classes=["up"])
        with pytest.raises(ValueError, match="is empty"):
            from_torchaudio([])
        one, other = from_torchaudio(items), from_torchaudio(items, clip_seconds=2.0)
        with pytest.raises(OptionError, match=r"16000 samples .* and the validation set 32000 samples"):
            TrainingData(one, other)


def test_names_are_those_of_the_data(rng, tmp_path):
    data = write_classes(tmp_path, rng, count=1)
    assert [r.name for r in list_recordings(data, labelled=True)] == ["high/0.wav", "low/0.wav"]
