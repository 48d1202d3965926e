"""The loop: that it learns, and that a run goes on from a checkpoint as if it had never stopped."""

import json
import os
import signal
import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from longconv_audio.errors import MismatchError, NonFiniteError, OptionError, UnreadableError, UnwritableError
from longconv_audio.nn.training import CLASSIFICATION, DataSettings, Task, TrainingSettings, read_data, train
from longconv_audio.nn.training import trainer as trainer_module
from longconv_audio.nn.training.batches import epoch_order, training_batches, validation_batches
from longconv_audio.nn.training.checkpoints import load_checkpoint
from longconv_audio.nn.training.interruption import Interruption
from longconv_audio.transforms import Compose, RandomGain, RandomImpulseResponse, RandomNoise, SyntheticRooms
from tests.nn.training.material import Tiny, TinyConfig, write_classes

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = TrainingSettings(epochs=3, batch_size=4, learning_rate=0.02, patience=0, seed=5)
DROPPING = TinyConfig(dropout=0.3)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_classes(tmp_path_factory.mktemp("data"), np.random.default_rng(1), count=9, seconds=0.15)
    return read_data(folder, DataSettings(clip_seconds=0.1, validation=0.2))


def run_it(data, run, settings=QUICK, model=None, **options):
    """Trains; the model and the result. Augmentation and dropout are on, for they must be repeatable."""
    model = model or Tiny(DROPPING)
    options = {"task": CLASSIFICATION, "augment": Compose([RandomNoise(10, 30), RandomGain(-3, 3)])} | options
    return model, train(model, data, settings, run=run, device="cpu", **options)


def weights(run):
    return load_checkpoint(run)["model"]


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


class Stop:
    """Sends this process a signal after a number of steps."""

    def __init__(self, step, number=signal.SIGINT):
        self.step, self.number = step, number

    def __call__(self, step):
        if step.step == self.step:
            os.kill(os.getpid(), self.number)


class TestLearning:
    def test_it_learns(self, data, tmp_path):
        records, steps = [], []
        settings = TrainingSettings(epochs=12, batch_size=4, learning_rate=0.03, patience=0)
        model, result = run_it(data, tmp_path / "run", settings, on_epoch=records.append, on_step=steps.append)
        assert result.best["validation_accuracy"] == 1.0
        assert result.history[-1]["training_loss"] < 0.5 * result.history[0]["training_loss"]
        assert [record["epoch"] for record in records] == list(range(1, 13))
        assert [step.step for step in steps] == list(range(1, 49))
        assert steps[-1].steps == 48
        written = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
        assert written == result.history
        assert list((tmp_path / "run" / "tensorboard").iterdir())
        best = pytest.importorskip("safetensors.torch").load_file(tmp_path / "run" / "model.safetensors")
        last_best = max(result.history, key=lambda r: (r["validation_accuracy"], -r["validation_loss"]))
        assert result.best == last_best
        model.load_state_dict(best)
        model.eval()
        loss = 0.0
        for index in range(len(data.validation)):
            x = torch.from_numpy(data.validation.load(index))[None, None]
            loss += torch.nn.functional.cross_entropy(model(x), torch.tensor([data.validation.labels[index]])).item()
        assert loss / len(data.validation) == pytest.approx(result.best["validation_loss"], rel=1e-5)

    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_autocast(self, data, tmp_path, precision):
        settings = TrainingSettings(epochs=4, batch_size=4, learning_rate=0.03, precision=precision)
        seen = []
        model = Tiny()
        model.head.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
        _, result = run_it(data, tmp_path / "run", settings, model)
        assert set(seen) == {torch.bfloat16 if precision == "bf16" else torch.float16}
        assert result.history[-1]["training_loss"] < result.history[0]["training_loss"]
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}

    def test_one_step_is_adamw_on_the_mean_gradient(self, data, tmp_path):
        """Against the same in float64 by hand: the joint gradient, clipped, AdamW's first step, the schedule's rate."""
        settings = TrainingSettings(epochs=1, batch_size=100, learning_rate=0.01, weight_decay=0.1, clip=0.05)
        model, result = run_it(data, tmp_path / "run", settings, Tiny(), augment=None)
        oracle = Tiny().double()
        batch = next(iter(training_batches(data.training, 100, settings.seed, 0, 0)))
        assert len(batch.clips) == len(data.training) == 14
        loss = torch.nn.functional.cross_entropy(oracle(batch.clips.double()), batch.labels)
        loss.backward()
        norm = torch.cat([p.grad.flatten() for p in oracle.parameters()]).norm()
        assert norm > 0.05
        assert result.history[0]["training_loss"] == pytest.approx(loss.item(), rel=1e-5)
        for new, p in zip(model.parameters(), oracle.parameters(), strict=True):
            g = p.grad * 0.05 / norm
            decay = 0.1 if p.ndim > 1 else 0.0
            expected = p * (1 - 0.01 * decay) - 0.01 * g / (g.abs() + 1e-8)
            assert torch.allclose(new.double(), expected, atol=1e-4 * 0.01)

    def test_early_stopping(self, data, tmp_path):
        settings = TrainingSettings(epochs=40, batch_size=14, learning_rate=1e-9, patience=2)
        figures = iter([0.1, 0.5, 0.4, 0.5, 0.9])
        task = Task("by rote", CLASSIFICATION.losses, lambda *_: {"loss": next(figures)}, lambda f: (f["loss"],))
        _, result = run_it(data, tmp_path / "run", settings, task=task)
        assert result.stopped_early
        assert (len(result.history), result.best["epoch"]) == (4, 2)
        again = run_it(data, tmp_path / "run", settings, task=task, resume=True)[1]
        assert again == result


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Of a run that nobody stopped: the last weights, and the result."""
    run = tmp_path_factory.mktemp("whole") / "run"
    _, result = run_it(data, run)
    return weights(run), result


class TestGoingOn:
    """Each against one run that nobody stopped."""

    def test_twice_the_same(self, data, tmp_path, whole):
        torch.manual_seed(99)
        model, result = run_it(data, tmp_path / "run")
        assert result == whole[1]
        assert same(model.state_dict(), whole[0])

    @pytest.mark.parametrize("step", [1, 3, 4, 7, 11])
    def test_after_ctrl_c(self, data, tmp_path, whole, step):
        with pytest.raises(KeyboardInterrupt):
            run_it(data, tmp_path / "run", on_step=Stop(step))
        assert load_checkpoint(tmp_path / "run")["position"]["step"] in (step, step + 1)
        model, result = run_it(data, tmp_path / "run", model=Tiny(DROPPING, seed=1), resume=True)
        assert result == whole[1]
        assert same(model.state_dict(), whole[0])

    def test_stopped_twice_and_by_other_signals(self, data, tmp_path, whole):
        caught = []
        before = signal.signal(signal.SIGTERM, lambda *_: caught.append("term"))
        try:
            with pytest.raises(KeyboardInterrupt):
                run_it(data, tmp_path / "run", on_step=Stop(2, signal.SIGTERM))
            assert caught == ["term"]
            with pytest.raises(KeyboardInterrupt):
                run_it(data, tmp_path / "run", on_step=Stop(9), resume=True)
        finally:
            signal.signal(signal.SIGTERM, before)
        model, result = run_it(data, tmp_path / "run", resume=True)
        assert result == whole[1]
        assert same(model.state_dict(), whole[0])
        assert run_it(data, tmp_path / "run", resume=True)[1] == result  # there is nothing left to do

    def test_after_a_kill_in_a_long_epoch(self, data, tmp_path, whole, monkeypatch):
        """Nothing is caught: what counts is what was saved on the way."""
        monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", 0.0)
        monkeypatch.setattr(trainer_module, "CHECK_STEPS", 2)

        def die(step):
            if step.step == 7:
                raise RuntimeError("killed")

        with pytest.raises(RuntimeError, match="killed"):
            run_it(data, tmp_path / "run", on_step=die)
        assert load_checkpoint(tmp_path / "run")["position"]["step"] == 6
        monkeypatch.undo()
        model, result = run_it(data, tmp_path / "run", resume=True)
        assert result == whole[1]
        assert same(model.state_dict(), whole[0])


class TestRefusals:
    def test_another_configuration(self, data, tmp_path):
        run_it(data, tmp_path / "run")
        other = TrainingSettings(**{**vars(QUICK), "learning_rate": 0.5, "batch_size": 2})
        with pytest.raises(OptionError, match=r"training\.batch_size: 4 -> 2; training\.learning_rate: 0\.02 -> 0\.5"):
            run_it(data, tmp_path / "run", other, resume=True)
        with pytest.raises(OptionError, match=r"model\.channels: 6 -> 7"):
            run_it(data, tmp_path / "run", model=Tiny(TinyConfig(7, 0.3)), resume=True)
        with pytest.raises(OptionError, match=r"rooms: none -> halls"):
            run_it(data, tmp_path / "run", config={"rooms": "halls"}, resume=True)

    def test_a_folder_in_use(self, data, tmp_path):
        run = tmp_path / "run"
        with pytest.raises(UnreadableError, match="there is no checkpoint to go on from"):
            run_it(data, run, resume=True)
        run_it(data, run)
        before = weights(run)
        with pytest.raises(UnwritableError, match="exists: pass --resume to go on with it, or --overwrite"):
            run_it(data, run)
        assert same(weights(run), before)
        (run / "notes.txt").write_text("mine")
        run_it(data, run, TrainingSettings(**{**vars(QUICK), "seed": 6}), overwrite=True)
        assert not same(weights(run), before)
        assert (run / "notes.txt").read_text() == "mine"
        assert len(list((run / "tensorboard").iterdir())) == 1
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "notes.txt").write_text("mine")
        with pytest.raises(UnwritableError, match="exists: pass --overwrite"):
            run_it(data, tmp_path / "other")
        with pytest.raises(UnwritableError, match="is a file"):
            run_it(data, tmp_path / "other" / "notes.txt")

    def test_a_model_that_does_not_fit(self, data, tmp_path):
        @dataclass
        class Config:
            classes: tuple = ("low", "high")
            sample_rate: int = 2000

        with pytest.raises(MismatchError, match="has the classes low, high and the clips high, low"):
            run_it(data, tmp_path / "run", model=Tiny(DROPPING).configured(Config()))
        with pytest.raises(MismatchError, match="for 16000 Hz and the clips are at 2000 Hz"):
            run_it(data, tmp_path / "run", model=Tiny(DROPPING).configured(Config(("high", "low"), 16_000)))
        with pytest.raises(TypeError, match="Linear without save_pretrained"):
            run_it(data, tmp_path / "run", model=torch.nn.Linear(1, 1))

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", None])
    def test_a_damaged_checkpoint(self, data, tmp_path, content):
        run_it(data, tmp_path / "run", TrainingSettings(epochs=1))
        path = tmp_path / "run" / "checkpoint.pt"
        path.write_bytes(path.read_bytes()[:-700] if content is None else content)
        with pytest.raises(UnreadableError, match=r"checkpoint\.pt: is no checkpoint, or a damaged one"):
            run_it(data, tmp_path / "run", TrainingSettings(epochs=1), resume=True)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"epochs": 0},
            {"batch_size": -1},
            {"learning_rate": float("nan")},
            {"warmup": 1.0},
            {"clip": -1.0},
            {"precision": "half"},
        ],
    )
    def test_settings(self, wrong):
        with pytest.raises(OptionError, match=f"{next(iter(wrong))}.*expected"):
            TrainingSettings(**wrong)


class TestInterruption:
    def test_the_second_signal_does_not_wait(self):
        handler = signal.getsignal(signal.SIGINT)
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGINT)
            assert interruption.asked == signal.SIGINT
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is handler

    def test_what_is_ignored_stays_ignored(self):
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with Interruption() as interruption:
                os.kill(os.getpid(), signal.SIGHUP)
                assert not interruption.asked
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_in_a_thread_there_is_nothing_to_hold_back(self, data, tmp_path):
        results = []
        thread = threading.Thread(target=lambda: results.append(run_it(data, tmp_path / "run")[1]))
        thread.start()
        thread.join()
        assert len(results[0].history) == 3


class TestMishaps:
    def test_a_loss_that_is_nan(self, data, tmp_path):
        calls = []

        def losses(model, clips, labels):
            values, taken = CLASSIFICATION.losses(model, clips, labels)
            calls.append(model.training)
            return values * (torch.nan if sum(calls) == 6 else 1), taken

        task = Task("breaks", losses, CLASSIFICATION.figures, CLASSIFICATION.rank)
        with pytest.raises(NonFiniteError, match=r"loss is nan at step 6 \(epoch 2\).* checkpoint of step 4"):
            run_it(data, tmp_path / "run", task=task)
        contents = load_checkpoint(tmp_path / "run")
        assert contents["position"]["step"] == 4
        assert all(torch.isfinite(value).all() for value in contents["model"].values())
        _, result = run_it(data, tmp_path / "run", resume=True)
        assert len(result.history) == 3

    def test_a_gradient_that_is_infinite(self, data, tmp_path):
        model = Tiny()
        model.filters.weight.register_hook(lambda gradient: gradient * torch.inf)
        with pytest.raises(NonFiniteError, match=r"gradient is (nan|inf) at step 1 .* checkpoint of step 0"):
            run_it(data, tmp_path / "run", model=model)

    def test_a_disk_that_is_full(self, data, tmp_path):
        """No file may grow beyond what the first checkpoint takes."""
        resource = pytest.importorskip("resource")
        run = tmp_path / "run"
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        def fill(step):
            if step.step == 5:
                resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))

        try:
            with pytest.raises(UnwritableError, match=r"checkpoint\.pt: cannot be written: .*is whole|model"):
                run_it(data, run, on_step=fill)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, previous)
        assert load_checkpoint(run)["position"]["step"] == 4
        assert not [path for path in run.iterdir() if path.name.endswith(".part")]
        assert len(run_it(data, run, resume=True)[1].history) == 3

    def test_a_disk_that_is_full_of_curves(self, data, tmp_path, capfd):
        """TensorBoard writes from a thread of its own."""
        resource = pytest.importorskip("resource")
        pytest.importorskip("tensorboard")

        def draw(log):
            for step in range(1000):
                log.step(step, {"loss": 1.0})
                log.epoch(step, [{"epoch": 1, "loss": 1.0}])

        (tmp_path / "run").mkdir()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        previous, hook = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), threading.excepthook
        log = trainer_module.run_folder.Log(tmp_path / "run", 0)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
            with pytest.raises(
                UnwritableError, match=r"tensorboard: cannot be written: .*the last checkpoint is whole"
            ):
                draw(log)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, previous)
            log.close()
        assert threading.excepthook is hook
        assert capfd.readouterr().err == ""


class TestBatches:
    def test_an_epoch_has_each_clip_once(self, data):
        orders = [epoch_order(14, 5, epoch) for epoch in range(3)]
        assert all(sorted(order) == list(range(14)) for order in orders)
        assert orders[0] != orders[1] != orders[2]

    def test_processes_share_what_one_has(self, data):
        """Three of them, and a last batch of two: one has no share and stands by with a weight of zero."""
        alone = list(training_batches(data.training, 4, 5, 1, 0))
        shares = [list(training_batches(data.training, 4, 5, 1, 0, rank, 3)) for rank in range(3)]
        assert [len(batch.clips) for batch in alone] == [4, 4, 4, 2]
        for number, batch in enumerate(alone):
            parts = [share[number] for share in shares]
            assert all(part.total == len(batch.clips) for part in parts)
            together = torch.cat([part.clips[part.weights > 0] for part in parts])
            rows = {tuple(clip.flatten().tolist()) for clip in together}
            assert len(together) == len(batch.clips)
            assert rows == {tuple(clip.flatten().tolist()) for clip in batch.clips}
            drawn = {torch.rand(1, generator=g).item() for part in parts for g in part.generators}
            assert drawn == {torch.rand(1, generator=g).item() for g in batch.generators}
        assert shares[2][3].weights.tolist() == [0.0]

    def test_from_the_middle(self, data):
        rest = list(training_batches(data.training, 4, 5, 1, 2))
        whole = list(training_batches(data.training, 4, 5, 1, 0))
        assert len(rest) == 2
        assert torch.equal(rest[0].clips, whole[2].clips)

    def test_validation_is_in_order(self, data):
        batches = list(validation_batches(data.validation, 3))
        assert torch.cat([batch.labels for batch in batches]).tolist() == data.validation.labels


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
class TestGpu:
    """With nothing but torch: neither curves nor the best model are written."""

    class Unsaved(Tiny):
        def save_pretrained(self, folder):
            pass

    class NoLog:
        def __init__(self, run, step):
            pass

        def step(self, *values):
            pass

        epoch = step

        def close(self):
            pass

    def run_it(self, data, run, monkeypatch, settings, **options):
        monkeypatch.setattr(trainer_module.run_folder, "Log", self.NoLog)
        model = self.Unsaved(DROPPING)
        rooms = RandomImpulseResponse(SyntheticRooms(2000, max_t60=0.3), p=0.5)
        augment = Compose([rooms, RandomGain(-3, 3)])
        options = {"task": CLASSIFICATION, "augment": augment, "run": run, "device": "cuda"} | options
        return model, train(model, data, settings, **options)

    @pytest.mark.parametrize("precision", ["single", "bf16", "fp16"])
    def test_a_run_goes_on(self, data, tmp_path, monkeypatch, precision):
        settings = TrainingSettings(**{**vars(QUICK), "precision": precision})
        whole, result = self.run_it(data, tmp_path / "whole", monkeypatch, settings)
        assert next(whole.parameters()).is_cuda
        with pytest.raises(KeyboardInterrupt):
            self.run_it(data, tmp_path / "run", monkeypatch, settings, on_step=Stop(6))
        model, again = self.run_it(data, tmp_path / "run", monkeypatch, settings, resume=True)
        assert again == result
        assert same(model.state_dict(), whole.state_dict())
