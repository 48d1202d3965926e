"""Training from the command line, what is left when it stops, and what is refused."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from longconv_audio.cli import app
from longconv_audio.cli.training_report import TrainingReport
from typer.testing import CliRunner

from longconv_audio.errors import OptionError, UnreadableError, UnwritableError
from longconv_audio.nn.models import from_pretrained
from longconv_audio.nn.training import Clips, Step
from longconv_audio.nn.training.checkpoints import load_checkpoint
from tests.cli.running import ENVIRONMENT, fail, started, wait_for
from tests.measures import snr
from tests.nn.training.material import write_classes

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ["--channels", "8", "--layers", "2", "--kernel", "60", "--clip-seconds", "100ms", "--device", "cpu"]
AUGMENTED = ["--rooms", "synthetic", "--noise", "10:40", "--gain", "-6:6", "--shift", "10ms"]
ONE_THREAD = ENVIRONMENT | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("data") / "tones", np.random.default_rng(3), count=10, seconds=0.15)


def train(*arguments):
    """`longconv train` within this process; standard error, which must be all there is."""
    result = CliRunner().invoke(app, ["train", *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    assert result.stdout == ""
    return result.stderr


def weights(run):
    return load_checkpoint(run)["model"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class TestRun:
    def test_what_is_said_and_left(self, data, tmp_path):
        run = tmp_path / "run"
        said = train(data, "-o", run, *SMALL, *AUGMENTED, "--epochs", 3).splitlines()
        assert "18 clips of 2 classes to train on, 2 to validate with, of 0.1 s at 2000 Hz; Classifier" in said[0]
        assert [line.split(":")[0] for line in said[1:4]] == ["epoch 1", "epoch 2", "epoch 3"]
        assert "is kept: accuracy" in said[4]
        assert len(said) == 5
        names = {path.name for path in run.iterdir()}
        expected = {
            "checkpoint.pt",
            "config.json",
            "history.jsonl",
            "model.safetensors",
            "tensorboard",
            "training.json",
        }
        assert names == expected
        model = from_pretrained(run)
        assert model.config.classes == ("high", "low")
        assert (model.config.sample_rate, model.config.channels, model.config.kernel_size) == (2000, 8, 60)
        assert len((run / "history.jsonl").read_text().splitlines()) == 3

    def test_resumed_from_another_folder(self, data, tmp_path, monkeypatch):
        (tmp_path / "halls").mkdir()
        hall = np.random.default_rng(0).standard_normal((50, 1)) / 10
        soundfile.write(tmp_path / "halls" / "hall.wav", hall, 2000, subtype="FLOAT")
        (tmp_path / "list.txt").write_text("low/0.wav\nhigh/0.wav\n")
        monkeypatch.chdir(tmp_path)
        options = ["--rooms", "halls", "--validation", "list.txt", "--epochs", 1]
        train(data, "-o", tmp_path / "run", *SMALL, *options)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert "is kept" in train(data, "-o", tmp_path / "run", "--resume")

    def test_it_learns(self, data, tmp_path):
        said = train(data, "-o", tmp_path / "run", *SMALL, "--pooling", "4,4", "--epochs", 12, "--lr", 0.03, "-q")
        assert said == ""
        history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
        assert history[-1]["training_loss"] < 0.3 * history[0]["training_loss"]
        assert max(record["validation_accuracy"] for record in history) == 1.0

    def test_a_waveform_model(self, data, tmp_path):
        options = ["--model", "waveform", *SMALL, "--layers", 1, "--pooling", 2, "--layer", "depthwise", "--epochs", 2]
        said = train(data / "low", "-o", tmp_path / "run", *options)
        assert "bits per sample" in said
        model = from_pretrained(tmp_path / "run")
        assert (type(model).__name__, model.config.pooling) == ("WaveformModel", (2,))

    def test_rates_that_differ_and_files_that_are_bad(self, rng, tmp_path):
        data = write_classes(tmp_path / "data", rng, count=3)
        soundfile.write(str(data / "low" / "9.flac"), 0.1 * rng.standard_normal((600, 2)), 4000)
        (data / "low" / "8.wav").write_bytes(b"RIFF")
        with pytest.raises(UnreadableError, match=r"low/8\.wav"):
            train(data, "-o", tmp_path / "run", *SMALL, "--epochs", 1)
        assert not (tmp_path / "run").exists()
        said = train(data, "-o", tmp_path / "run", *SMALL, "--epochs", 1, "--skip-bad").splitlines()
        assert said[:2] == ["1 recording at 4000 Hz, resampled to 2000 Hz", "1 recording of 2 channels, mixed to one"]
        assert said[2].startswith("skipped: ")
        assert "low/8.wav" in said[2]


def test_the_line_of_progress(monkeypatch, capsys):
    """Throughput and time left are of this process: a resumed run has steps behind it."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    report = TrainingReport(Path("run"), quiet=False)
    clips = Clips(2000, 1000, ("a", "b"), [0, 1] * 9)
    sets = SimpleNamespace(training=clips, validation=clips, notes=[])
    report.start(sets, torch.nn.Linear(3, 4))
    report.step(Step(epoch=1, epochs=3, step=21, steps=60, clips=4, loss=math.nan))
    now[0] += 10
    report.step(Step(epoch=2, epochs=3, step=40, steps=60, clips=80, loss=0.25))
    drawn = capsys.readouterr().err.split("\r")[-1].rstrip()
    assert drawn == " 67 %  epoch 2/3, loss 0.25, 8 clips/s, 4 x real time, 0:10 left"
    report.line.close()
    assert capsys.readouterr().err.strip() == ""


class TestGoingOn:
    def test_options_are_those_of_the_run(self, data, tmp_path):
        run, options = tmp_path / "run", [*SMALL, *AUGMENTED, "--epochs", 2, "--patience", 0, "--seed", 4]
        train(data, "-o", run, *options)
        assert "is kept" in train(data, "-o", run, "--resume")
        assert "is kept" in train(data, "-o", run, *options, "--resume")
        for given, difference in {
            ("--lr", 0.5): r"training\.learning_rate: 0\.001 -> 0\.5",
            ("--channels", 9): r"model\.channels: 8 -> 9",
            ("--noise", "0:9"): r"augmentation\.noise: \[10\.0, 40\.0\] -> \[0\.0, 9\.0\]",
            ("--seed", 1): r"training\.seed: 4 -> 1; data\.training_digest",
        }.items():
            with pytest.raises(OptionError, match=difference):
                train(data, "-o", run, "--resume", *given)

    def test_ctrl_c(self, data, tmp_path):
        """A process that is interrupted, and what goes on from it, against one that is not."""
        options = [*SMALL, *AUGMENTED, "--dropout", 0.2, "--epochs", 12, "--patience", 0, "--batch-size", 2]
        train(data, "-o", tmp_path / "whole", *options, "-q")
        run = tmp_path / "run"
        # On as many threads as here: with another number, sums round otherwise.
        with started("train", data, "-o", run, *options, "-q", cwd=tmp_path, env=ONE_THREAD) as process:
            wait_for(lambda: (run / "history.jsonl").exists(), seconds=60)
            process.send_signal(signal.SIGINT)
            said = process.stderr.read().decode()
            assert process.wait(timeout=30) == 130
        assert said == "longconv: interrupted\n"
        position = load_checkpoint(run)["position"]
        assert 0 < position["step"] < 12 * 9
        assert not list(run.glob(".*.part"))
        train(data, "-o", run, "--resume", "-q")
        assert (run / "history.jsonl").read_text() == (tmp_path / "whole" / "history.jsonl").read_text()
        assert same(weights(run), weights(tmp_path / "whole"))


def test_two_processes_are_as_one_with_the_joint_batch(data, tmp_path):
    """18 clips in batches of 5, so that the shares differ and the last batch is of 3; augmentation is on."""
    options = [*SMALL, *AUGMENTED, "--dropout", 0, "--epochs", 3, "--batch-size", 5, "--lr", 0.01, "--patience", 0]
    train(data, "-o", tmp_path / "one", *options)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "longconv_audio.cli"]
    command = [*launch, "train", data, "-o", tmp_path / "two", *options]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, env=ONE_THREAD, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr.decode().count("epoch 2:") == 1
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert len(one) == len(two) == 3
    for alone, shared in zip(one, two, strict=True):
        assert shared == pytest.approx(alone, rel=1e-4)
    # It moved: else any two runs would agree.
    assert abs(one[2]["training_loss"] - one[0]["training_loss"]) > 1e-2
    # Where a gradient is next to nothing, AdamW makes a step of its rounding error.
    assert (
        snr(*(torch.cat([value.flatten() for value in weights(tmp_path / name).values()]) for name in ("two", "one")))
        > 40
    )


class TestRefusals:
    def test_a_code_and_a_line(self, tmp_path):
        """In a process of its own: nothing is written."""
        (tmp_path / "data" / "empty").mkdir(parents=True)
        line = fail(3, "train", "data", "-o", "run", cwd=tmp_path)
        assert "data/empty: a class with no audio file in it" in line

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            (["--pooling", "4,x"], "--pooling 4,x: expected whole numbers"),
            (["--noise", "40:10"], "--noise 40:10: expected two numbers of dB"),
            (["--gain", "6"], "--gain 6: expected two numbers"),
            (["--validation", "list.txt"], r"--validation list\.txt: expected a share"),
            (["--validation", "1.5"], r"validation 1\.5: expected a share"),
            (["--clip-seconds", "0"], "clip_seconds 0"),
            (["--clip-seconds", "100s"], "counts samples, of a rate that is not given"),
            (["--clip-seconds", "15s", "--rate", "2000"], "a clip has 15 samples, and .* one time step of 64"),
            (["--rate", "2147483648"], "rate 2147483648: expected hertz, 1 to 10000000"),
            (["--clip-seconds", "100s", "--rate", "0"], "counts samples, of a rate that is not given"),
            (["--epochs", "0"], "epochs 0: expected 1 or more"),
            (["--seed", str(2**63)], r"seed 9223372036854775808: expected less than 2\*\*63"),
            (["--augment-p", "2"], r"augment_p 2\.0: expected a probability"),
            (["--lr", "nan"], "learning_rate nan"),
            (["--channels", "0"], "channels is 0"),
            (["--kernel", "-4"], "kernel_size is -4"),
            (["--model", "waveform", "--bidirectional"], "--bidirectional: a waveform model has none"),
            (["--device", "tpu"], "--device tpu: cannot be used here"),
            (["--resume", "--overwrite"], "expected one of them"),
        ],
    )
    def test_options(self, data, tmp_path, given, expected):
        with pytest.raises(OptionError, match=expected):
            train(data, "-o", tmp_path / "run", *SMALL[:6], *given)
        assert not (tmp_path / "run").exists()

    def test_places(self, data, tmp_path):
        with pytest.raises(OptionError, match="pass -o RUN"):
            train(data)
        with pytest.raises(UnreadableError, match=r"training\.json: cannot be read"):
            train(data, "-o", tmp_path / "run", "--resume")
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "notes.txt").write_text("mine")
        with pytest.raises(UnwritableError, match="full: exists: pass --overwrite"):
            train(data, "-o", tmp_path / "full")
        with pytest.raises(UnreadableError, match="no such folder; expected one with impulse responses"):
            train(data, "-o", tmp_path / "run", *SMALL, "--rooms", tmp_path / "halls")
        with pytest.raises(UnwritableError, match="cannot be made a folder for the run: File name too long"):
            train(data, "-o", tmp_path / ("x" * 300))
        if os.geteuid():
            (tmp_path / "locked").mkdir(mode=0o500)
            with pytest.raises(UnwritableError, match="cannot be made a folder"):
                train(data, "-o", tmp_path / "locked" / "run", *SMALL)
