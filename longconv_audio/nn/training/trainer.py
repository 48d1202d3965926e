"""A run under way: steps, validation, checkpoints.

Every random number of a run depends on its seed and on what it is for - the epoch and the clip, or the step and the
process - and on nothing that happened before. So a run that goes on from a checkpoint has no state of a generator to
restore, and the clips of a step are the same on one process and on eight.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from dataclasses import asdict

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from longconv_audio.errors import NonFiniteError

from . import distributed, run_folder
from .batches import seed_of, training_batches, validation_batches
from .checkpoints import check_same, load_checkpoint, save_checkpoint
from .optimization import adamw, rate_factor, set_rate
from .progress import Position, Result, Step

# Steps between two looks at the losses: each has the host wait for the device.
CHECK_STEPS = 10
# Seconds after which a long epoch is saved on the way.
CHECKPOINT_SECONDS = 600.0

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Trainer:
    """A run under way."""

    def __init__(self, model, data, settings, run, task, augment, device, interruption):
        self.model, self.data, self.settings, self.run, self.task = model.to(device), data, settings, run, task
        self.augment = augment.to(device) if isinstance(augment, nn.Module) else augment
        self.device, self.interruption = device, interruption
        self.optimizer = adamw(self.model, settings)
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self.position, self.log = Position(), None
        self.batches = math.ceil(len(data.training) / settings.batch_size)
        self.pending: list[tuple[int, int, torch.Tensor]] = []  # step, its clips, its losses' sum and gradient's norm
        self.clips, self.saved_step, self.saved_time = 0, 0, time.monotonic()
        self.forward = self.model
        if torch.distributed.is_initialized():
            self.forward = DistributedDataParallel(self.model, None if device.type == "cpu" else [device])

    def open(self, config: dict, resume: bool, overwrite: bool) -> None:
        """Makes the folder, or takes up what is in it."""
        self.config = json.loads(json.dumps(self._describe() | config))

        def first():
            if not resume:
                run_folder.check_free(self.run, overwrite)
                run_folder.begin(self.run, self.config)
                return None
            contents = load_checkpoint(self.run)
            check_same(contents["config"], self.config, self.run)
            return contents

        contents = distributed.from_first(first)
        if contents is not None:
            self.model.load_state_dict(contents["model"])
            self.optimizer.load_state_dict(contents["optimizer"])
            self.scaler.load_state_dict(contents["scaler"])
            self.position = Position(**contents["position"])
            self.saved_step = self.position.step
        if distributed.rank() == 0:
            self.log = run_folder.Log(self.run, self.position.step)
        if contents is None:
            self._save()

    def train(self) -> Result:
        """All that is left of the run."""
        position, patience = self.position, self.settings.patience
        while position.epoch < self.settings.epochs and not self._tired():
            self._train_epoch()
            self._end_epoch(self._validate())
        best = position.history[position.best]
        return Result(position.history, best, bool(patience) and position.epoch < self.settings.epochs)

    def _tired(self) -> bool:
        """Whether epoch after epoch was no better."""
        position, patience = self.position, self.settings.patience
        return bool(patience) and position.best is not None and position.epoch - 1 - position.best >= patience

    def _train_epoch(self) -> None:
        position, settings = self.position, self.settings
        self.forward.train()
        batches = training_batches(
            self.data.training,
            settings.batch_size,
            settings.seed,
            position.epoch,
            position.batch,
            distributed.rank(),
            distributed.ranks(),
        )
        with contextlib.closing(batches):
            for batch in batches:
                self._step(batch)
                position.batch += 1
                position.step += 1
                self.clips += batch.total
                alone = distributed.ranks() == 1
                if (
                    position.batch % CHECK_STEPS == 0
                    or position.batch == self.batches
                    or (alone and self.interruption.asked)
                ):
                    self._look()
                self.on_step(self._progress())

    def _step(self, batch) -> None:
        """One step of the optimizer, on a batch of which this process has a share."""
        position, settings = self.position, self.settings
        clips, labels, weights = (
            x.to(self.device, non_blocking=True) for x in (batch.clips, batch.labels, batch.weights)
        )
        if self.augment is not None:
            with torch.no_grad():
                clips = self.augment(clips, batch.generators)
        torch.manual_seed(seed_of(settings.seed, "step", position.step, distributed.rank()))  # dropout's
        set_rate(self.optimizer, rate_factor(position.step, settings.epochs * self.batches, settings.warmup))
        with self._autocast():
            losses, _ = self.task.losses(self.forward, clips, labels)
        loss = (losses * weights).sum()
        # The gradients of all processes are averaged: theirs is the mean over the batch.
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss * (distributed.ranks() / batch.total)).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip or math.inf)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.pending.append((position.step, batch.total, torch.stack([loss.detach(), norm.detach()])))

    def _look(self) -> None:
        """Reads the losses since the last look; ends the run where one is no number or somebody asked for it."""
        pending, self.pending = self.pending, []
        if pending:
            values = torch.stack([value for _, _, value in pending])
            losses = distributed.summed(values[:, 0].contiguous(), self.device).tolist()
            for (step, clips, _), loss, norm in zip(pending, losses, values[:, 1].tolist(), strict=True):
                # An infinite gradient of a scaled loss is the scaler's business: it skips the step.
                if not math.isfinite(loss) or not (math.isfinite(norm) or self.scaler.is_enabled()):
                    what = "loss" if not math.isfinite(loss) else "gradient"
                    self._refuse(f"training's {what} is {loss if what == 'loss' else norm}", step)
                self.position.loss_sum += loss
                self.position.clips += clips
            if self.log is not None:
                rate = rate_factor(step, self.settings.epochs * self.batches, self.settings.warmup)
                rate *= self.settings.learning_rate
                self.log.step(step + 1, {"step/loss": loss / clips, "step/gradient": norm, "step/learning_rate": rate})
        due = time.monotonic() - self.saved_time > CHECKPOINT_SECONDS
        asked, due = distributed.largest([self.interruption.asked, int(due)], self.device)
        if asked or due:
            self._save()
        if asked:
            self.interruption.asked = self.interruption.asked or asked
            self.interruption.deliver()
            raise KeyboardInterrupt

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """The figures of the validation set."""
        self.model.eval()
        sums = torch.zeros(3, dtype=torch.float64)
        shares = validation_batches(
            self.data.validation, self.settings.batch_size, distributed.rank(), distributed.ranks()
        )
        with contextlib.closing(shares):
            for batch in shares:
                if self.interruption.asked and distributed.ranks() == 1:
                    self._look()
                with self._autocast():
                    losses, taken = self.task.losses(
                        self.model, batch.clips.to(self.device), batch.labels.to(self.device)
                    )
                right = (taken.cpu() == batch.labels).double()
                for index, part in enumerate((losses.cpu().double(), right, torch.ones(()))):
                    sums[index] += (part * batch.weights).sum()
        loss, right, count = distributed.summed(sums, self.device).tolist()
        if not math.isfinite(loss):
            self._refuse(f"validation's loss is {loss}", self.position.step - 1)
        return self.task.figures(loss / count, right / count)

    def _end_epoch(self, figures: dict[str, float]) -> None:
        """Writes down an epoch, keeps the model if it is the best, and saves."""
        position = self.position
        record = {
            "epoch": position.epoch + 1,
            "step": position.step,
            "training_loss": position.loss_sum / position.clips,
        }
        record |= {f"validation_{name}": value for name, value in figures.items()}
        position.history.append(record)
        best = None if position.best is None else _figures(position.history[position.best])
        if best is None or self.task.rank(figures) > self.task.rank(best):
            position.best = position.epoch
            if distributed.rank() == 0:
                self.model.save_pretrained(self.run)
        position.epoch, position.batch, position.loss_sum, position.clips = position.epoch + 1, 0, 0.0, 0
        self._save()
        if self.log is not None:
            self.log.epoch(position.step, position.history)
        self.on_epoch({**record, "best": position.best == position.epoch - 1})
        self._look()

    def _save(self) -> None:
        if distributed.rank() == 0:
            contents = {
                "config": self.config,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "position": asdict(self.position),
            }
            save_checkpoint(self.run, contents)
        self.saved_step, self.saved_time = self.position.step, time.monotonic()

    def _refuse(self, what: str, step: int) -> None:
        error = NonFiniteError(
            f"{what} at step {step + 1} (epoch {self.position.epoch + 1}): {self.run} keeps the checkpoint of step "
            f"{self.saved_step}: train anew with a lower --lr, or with --precision single"
        )
        error.said = distributed.rank() > 0
        raise error

    def _progress(self) -> Step:
        position, settings = self.position, self.settings
        loss = position.loss_sum / position.clips if position.clips else math.nan
        steps = settings.epochs * self.batches
        return Step(position.epoch + 1, settings.epochs, position.step, steps, self.clips, loss)

    def _autocast(self):
        dtype = _AUTOCAST.get(self.settings.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)

    def _describe(self) -> dict:
        """What must be the same when the run is resumed."""
        config = getattr(self.model, "config", None)
        fields = asdict(config) if dataclasses.is_dataclass(config) else {"parameters": _size(self.model)}
        training = self.data.training
        return {
            "model": {"kind": type(self.model).__name__, **fields},
            "training": asdict(self.settings),
            "data": {
                "rate": training.rate,
                "clip_samples": training.samples,
                "training_clips": len(training),
                "validation_clips": len(self.data.validation),
                "training_digest": training.digest(),
                "validation_digest": self.data.validation.digest(),
            },
        }


def _figures(record: dict) -> dict[str, float]:
    """The validation figures in an epoch's record."""
    start = "validation_"
    return {name.removeprefix(start): value for name, value in record.items() if name.startswith(start)}


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
