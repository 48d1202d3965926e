"""What is done with a trained model: evaluating it, predicting with it, generating with it."""

import json
import subprocess

import numpy as np
import pytest
import soundfile
import torch
from longconv_audio.cli import EXIT_CODES, app
from typer.testing import CliRunner

from longconv_audio.errors import NonFiniteError, OptionError, PartialError, UnreadableError, UnwritableError
from longconv_audio.nn.models import (
    Classifier,
    ClassifierConfig,
    WaveformModel,
    WaveformModelConfig,
    from_pretrained,
)
from longconv_audio.nn.training import DataSettings, TrainingSettings, read_data, train
from tests.cli.running import LONGCONV, started
from tests.nn.training.material import RATE, tone, write_classes

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("data") / "tones", np.random.default_rng(3), count=8, seconds=0.15)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A classifier that has learned some of it."""
    folder = tmp_path_factory.mktemp("run") / "run"
    options = ["--channels", "8", "--layers", "2", "--kernel", "60", "--clip-seconds", "0.1", "--validation", "0.25"]
    call("train", data, "-o", folder, *options, "--epochs", 4, "--lr", 0.02, "-q")
    return folder


@pytest.fixture(scope="module")
def waveform(tmp_path_factory):
    """A waveform model that has learned nothing, as `save_pretrained` leaves one."""
    folder = tmp_path_factory.mktemp("wave") / "wave"
    torch.manual_seed(0)
    config = WaveformModelConfig(RATE, channels=4, layers=1, layer="depthwise", kernel_size=20, pooling=(2,))
    WaveformModel(config).save_pretrained(folder)
    return folder


def call(*arguments) -> str:
    """`longconv` within this process; its standard output."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if result.exception is not None:
        raise result.exception
    return result.stdout


def logits(folder, *signals):
    """Of a classifier, in float64, for signals (n,)."""
    model = from_pretrained(folder).double()
    with torch.no_grad():
        return torch.cat([model(torch.from_numpy(np.asarray(x, np.float64))[None, None]) for x in signals])


def clips(data):
    """Each recording's middle, 0.1 s of 0.15, and its class."""
    for label in (0, 1):
        for path in sorted((data / ("high", "low")[label]).iterdir()):
            yield soundfile.read(path)[0][50:250], label


class TestEvaluate:
    def test_against_the_model_by_hand(self, data, trained):
        result = json.loads(call("evaluate", trained, data, "--json"))
        signals, labels = zip(*clips(data), strict=True)
        expected = logits(trained, *signals)
        taken = expected.argmax(1).tolist()
        confusion = [
            [sum(t == c and y == r for t, y in zip(taken, labels, strict=True)) for c in (0, 1)] for r in (0, 1)
        ]
        assert result["confusion"] == confusion
        assert result["clips"] == 16
        assert result["classes"] == ["high", "low"]
        assert result["accuracy"] == sum(confusion[i][i] for i in (0, 1)) / 16
        loss = torch.nn.functional.cross_entropy(expected, torch.tensor(labels)).item()
        assert result["loss"] == pytest.approx(loss, rel=1e-4)

    def test_the_table(self, data, trained):
        result = json.loads(call("evaluate", trained, data, "--json"))
        lines = call("evaluate", trained, data).splitlines()
        assert lines[0].split() == ["is", "\\", "taken", "for", "high", "low", "right"]
        assert lines[1].split()[:3] == ["high", *map(str, result["confusion"][0])]
        assert len({len(line) for line in lines[:3]}) == 1
        assert lines[3].startswith(f"accuracy {100 * result['accuracy']:.1f} % (")

    def test_a_part(self, data, trained, tmp_path):
        best = max(
            (json.loads(line) for line in (trained / "history.jsonl").read_text().splitlines()),
            key=lambda record: (record["validation_accuracy"], -record["validation_loss"]),
        )
        result = json.loads(call("evaluate", trained, data, "--split", "validation", "--json"))
        assert result["clips"] == 4
        assert result["loss"] == pytest.approx(best["validation_loss"], rel=1e-5)
        (tmp_path / "list.csv").write_text(f"path,label,split\n{data}/low/1.wav,low,test\n{data}/low/2.wav,low,train\n")
        result = json.loads(call("evaluate", trained, tmp_path / "list.csv", "--split", "test", "--json"))
        assert [sum(row) for row in result["confusion"]] == [0, 1]

    def test_a_waveform_model(self, data, waveform):
        assert "bits per sample" in call("evaluate", waveform, data / "low")

    def test_refusals(self, data, trained, tmp_path, rng):
        with pytest.raises(OptionError, match="no recording is in the test split"):
            call("evaluate", trained, data, "--split", "test")
        other = write_classes(tmp_path / "other", rng, count=1)
        (other / "low").rename(other / "middle")
        with pytest.raises(
            OptionError, match="has the class middle, which the model does not know; expected high, low"
        ):
            call("evaluate", trained, other)
        with pytest.raises(UnreadableError, match=r"config\.json: cannot be read"):
            call("evaluate", tmp_path, data)
        (tmp_path / "early").mkdir()
        (tmp_path / "early" / "checkpoint.pt").write_bytes(b"")
        with pytest.raises(UnreadableError, match="has no model yet: its first epoch is not done"):
            call("evaluate", tmp_path / "early", data)


class TestPredict:
    @pytest.mark.parametrize(("name", "seconds"), [("short", 0.03), ("long", 0.7)])
    def test_a_file_and_its_stream(self, rng, trained, tmp_path, name, seconds):
        """In stereo; the short one is padded with zeros to the clips' 0.1 s."""
        x = np.stack([tone(rng, 300, seconds), tone(rng, 400, seconds)])
        path = tmp_path / f"{name}.wav"
        soundfile.write(str(path), x.T, RATE, subtype="DOUBLE")
        mono = x.mean(axis=0)
        expected = logits(trained, np.pad(mono, (0, max(200 - len(mono), 0)))).softmax(1)[0].tolist()
        (result,) = json.loads(call("predict", trained, path, "--json"))["files"]
        assert result["file"] == str(path)
        (one,) = result["predictions"]
        assert list(one["probabilities"].values()) == pytest.approx(expected, abs=1e-5)
        assert one["label"] == ("high", "low")[int(np.argmax(expected))]
        assert one["end"] == pytest.approx(seconds)
        (streamed,) = json.loads(call("predict", trained, path, "--stream", "--block", "13ms", "--json"))["files"]
        assert list(streamed["predictions"][-1]["probabilities"].values()) == pytest.approx(expected, abs=1e-5)
        ends = [prediction["end"] for prediction in streamed["predictions"]]
        assert ends[:3] == pytest.approx([0.013, 0.026, min(0.039, seconds)])
        middle = streamed["predictions"][1]["probabilities"]
        assert list(middle.values()) == pytest.approx(logits(trained, mono[:52]).softmax(1)[0].tolist(), abs=1e-5)

    def test_lines_and_windows(self, rng, trained, tmp_path):
        x = np.concatenate([tone(rng, 500), tone(rng, 120), tone(rng, 500, 0.04)])
        soundfile.write(str(tmp_path / "x.wav"), x, RATE, subtype="DOUBLE")
        lines = [
            line.split("\t") for line in call("predict", trained, tmp_path / "x.wav", "--window", "100ms").splitlines()
        ]
        assert [line[1:3] for line in lines] == [["0.000", "0.100"], ["0.100", "0.200"], ["0.200", "0.240"]]
        for line, part in zip(lines, (x[:200], x[200:400], np.pad(x[400:], (0, 120))), strict=True):
            shares = logits(trained, part).softmax(1)[0]
            assert line[3] == ("high", "low")[int(shares.argmax())]
            assert float(line[4]) == pytest.approx(shares.max().item(), abs=1e-4)

    def test_a_long_file_goes_through_in_blocks(self, rng, trained, tmp_path):
        x = tone(rng, 300, 33.0)
        soundfile.write(str(tmp_path / "x.wav"), x, RATE, subtype="DOUBLE")
        (result,) = json.loads(call("predict", trained, tmp_path / "x.wav", "--json"))["files"]
        expected = logits(trained, x).softmax(1)[0].tolist()
        assert list(result["predictions"][0]["probabilities"].values()) == pytest.approx(expected, abs=1e-4)

    def test_another_rate_is_the_same_sound(self, trained, tmp_path):
        for rate in (RATE, 3 * RATE):
            time = np.arange(round(0.5 * rate)) / rate
            soundfile.write(str(tmp_path / f"{rate}.wav"), 0.5 * np.sin(2 * np.pi * 120 * time), rate, subtype="FLOAT")
        one, other = (
            json.loads(call("predict", trained, tmp_path / f"{rate}.wav", "--stream", "--block", "100ms", "--json"))
            for rate in (RATE, 3 * RATE)
        )
        shares = [files["files"][0]["predictions"][-1]["probabilities"]["low"] for files in (one, other)]
        assert shares[0] == pytest.approx(shares[1], abs=0.02)

    def test_standard_input_as_it_comes(self, data, trained, tmp_path):
        """A pipe that has given half of its WAV has been answered for that half."""
        content = (data / "low" / "0.wav").read_bytes()
        options = ["predict", trained, "-", "--stream", "--block", "50ms"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with started(*options, cwd=tmp_path, **pipes) as process:
            process.stdin.write(content[:-600])
            process.stdin.flush()
            first = process.stdout.readline().decode().split("\t")
            assert first[:3] == ["-", "0.000", "0.050"]
            process.stdin.write(content[-600:])
            process.stdin.close()
            rest = process.stdout.read().decode().splitlines()
            assert process.wait(timeout=30) == 0
        assert [line.split("\t")[2] for line in rest] == ["0.100", "0.150"]

    def test_some_that_fail(self, data, trained, tmp_path):
        (tmp_path / "bad.wav").write_bytes(b"no audio")
        good = [data / "low" / "0.wav", data / "high" / "0.wav"]
        done = CliRunner().invoke(app, ["predict", *map(str, (trained, good[0], tmp_path / "bad.wav", good[1]))])
        assert EXIT_CODES[type(done.exception)] == 7
        assert str(done.exception) == "1 of 3 files failed; the others are done"
        assert [line.split("\t")[0] for line in done.stdout.splitlines()] == list(map(str, good))
        assert "bad.wav" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_refusals(self, rng, data, trained, waveform, tmp_path):
        with pytest.raises(OptionError, match="holds a WaveformModel; expected a Classifier"):
            call("predict", waveform, data / "low" / "0.wav")
        with pytest.raises(OptionError, match="expected one of them"):
            call("predict", trained, "x.wav", "--stream", "--window", "1")
        with pytest.raises(OptionError, match="given twice"):
            call("predict", trained, "-", "-")
        with pytest.raises(OptionError, match="--block 0 s: expected a length above 0"):
            call("predict", trained, "x.wav", "--stream", "--block", "0")
        x = tone(rng, 100)
        x[30] = np.inf
        soundfile.write(str(tmp_path / "x.wav"), x, RATE, subtype="FLOAT")
        with pytest.raises(NonFiniteError, match=r"x\.wav: NaN or infinity at frame 30"):
            call("predict", trained, tmp_path / "x.wav")
        soundfile.write(str(tmp_path / "x.wav"), x[:0], RATE)
        for more in ([], ["--stream"], ["--window", "1"]):
            with pytest.raises(UnreadableError, match="holds no samples"):
                call("predict", trained, tmp_path / "x.wav", *more)
        with pytest.raises(PartialError, match="2 of 2 files failed"):
            call("predict", trained, "a.wav", "b.wav")

    def test_models_that_longconv_train_did_not_train(self, rng, data, tmp_path):
        """One from Python, whose clips say how far to pad, and one that nobody trained, of which nothing is known."""
        sets = read_data(data, DataSettings(clip_seconds=0.1))
        config = ClassifierConfig(("high", "low"), RATE, channels=4, layers=1, kernel_size=20, pooling=(2,))
        train(Classifier(config), sets, TrainingSettings(epochs=1), run=tmp_path / "run", device="cpu")
        Classifier(config).save_pretrained(tmp_path / "saved")
        x = tone(rng, 300, 0.03)
        soundfile.write(str(tmp_path / "x.wav"), x, RATE, subtype="DOUBLE")
        for name, heard in (("run", np.pad(x, (0, 140))), ("saved", x)):
            (result,) = json.loads(call("predict", tmp_path / name, tmp_path / "x.wav", "--json"))["files"]
            expected = logits(tmp_path / name, heard).softmax(1)[0].tolist()
            assert list(result["predictions"][0]["probabilities"].values()) == pytest.approx(expected, abs=1e-5)
            assert "accuracy" in call("evaluate", tmp_path / name, data)

    def test_a_model_that_looks_ahead_does_not_stream(self, data, tmp_path):
        options = ["--channels", 4, "--layers", 1, "--kernel", 30, "--clip-seconds", 0.1, "--epochs", 1]
        call("train", data, "-o", tmp_path / "run", *options, "--bidirectional", "-q")
        assert "low/0.wav" in call("predict", tmp_path / "run", data / "low" / "0.wav")
        with pytest.raises(OptionError, match="--stream: this model cannot: "):
            call("predict", tmp_path / "run", data / "low" / "0.wav", "--stream")


class TestGenerate:
    def test_a_file(self, waveform, tmp_path):
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            call("generate", waveform, "-o", tmp_path / f"{name}.wav", "--seconds", "300s", "--seed", seed)
        info = soundfile.info(tmp_path / "a.wav")
        assert (info.samplerate, info.channels, info.frames, info.subtype) == (RATE, 1, 300, "PCM_16")
        a, b, c = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in "abc")
        assert a.std() > 0.01
        assert np.array_equal(a, b)
        assert not np.array_equal(a, c)
        model = from_pretrained(waveform)
        expected = model.generate(300, generator=torch.Generator().manual_seed(1))[0].numpy()
        assert np.abs(a - expected).max() <= 2**-15

    def test_a_prompt_and_the_likeliest(self, rng, waveform, tmp_path):
        x = tone(rng, 100).astype(np.float32)
        soundfile.write(str(tmp_path / "x.wav"), x, RATE, subtype="FLOAT")
        output = tmp_path / "y.wav"
        call(
            "generate", waveform, "-o", output, "--seconds", "60ms", "--temperature", 0, "--prompt", tmp_path / "x.wav"
        )
        model = from_pretrained(waveform)
        expected = model.generate(120, prompt=torch.from_numpy(x), temperature=0.0)[0].numpy()
        assert np.abs(soundfile.read(output)[0] - expected).max() <= 2**-15

    def test_a_pipe(self, waveform, tmp_path):
        """The header says how long it is before all is there."""
        command = [*LONGCONV, "generate", waveform, "-o", "-", "--seconds", "0.2"]
        done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, timeout=60, check=True)
        (tmp_path / "x.wav").write_bytes(done.stdout)
        assert soundfile.info(tmp_path / "x.wav").frames == 400
        assert done.stderr.decode() == "standard output: 400 samples, 0.2 s at 2000 Hz\n"

    def test_refusals(self, trained, waveform, tmp_path):
        with pytest.raises(OptionError, match="holds a Classifier; expected a WaveformModel"):
            call("generate", trained, "-o", tmp_path / "x.wav")
        with pytest.raises(OptionError, match="pass -o FILE"):
            call("generate", waveform)
        for wrong, expected in (
            (["--temperature", "-1"], "--temperature -1: expected 0 or more"),
            (["--seconds", "0"], "--seconds 0: expected a length above 0"),
        ):
            with pytest.raises(OptionError, match=expected):
                call("generate", waveform, "-o", tmp_path / "x.wav", *wrong)
        code = CliRunner().invoke(app, ["generate", str(waveform), "-o", "x.wav", "--seed", str(2**63)]).exit_code
        assert code == 2
        with pytest.raises(UnreadableError, match="no such file"):
            call("generate", waveform, "-o", tmp_path / "x.wav", "--prompt", tmp_path / "none.wav")
        (tmp_path / "x.wav").write_bytes(b"mine")
        with pytest.raises(UnwritableError, match="exists"):
            call("generate", waveform, "-o", tmp_path / "x.wav")
        assert (tmp_path / "x.wav").read_bytes() == b"mine"
