"""What is said while a model is trained."""

from __future__ import annotations

import math
import time
from pathlib import Path

from .messages import Line, clock, say


class TrainingReport:
    """Lines for people, and on a terminal one that shows how far it is.

    Args:
        run: the folder of the run.
        quiet: say nothing.
    """

    def __init__(self, run: Path, quiet: bool):
        self.run, self.quiet, self.line = run, quiet, Line("off" if quiet else "auto")
        self.started, self.seconds_per_clip = 0.0, 0.0
        self.first: int | None = None

    def say(self, text: str) -> None:
        if not self.quiet:
            self.line.close()
            say(text)

    def file(self, done: int, total: int) -> None:
        self.line.draw(lambda: f"reading recordings: {done} of {total}")

    def start(self, data, model) -> None:
        for note in data.notes:
            self.say(note)
        clips = data.training
        classes = f" of {len(clips.classes)} classes" if clips.classes else ""
        size = sum(parameter.numel() for parameter in model.parameters())
        self.say(
            f"{len(clips)} clips{classes} to train on, {len(data.validation)} to validate with, of "
            f"{clips.samples / clips.rate:g} s at {clips.rate} Hz; {type(model).__name__} of {size} parameters"
        )
        self.started, self.seconds_per_clip = time.monotonic(), clips.samples / clips.rate

    def step(self, step) -> None:
        if self.first is None:  # a resumed run has steps behind it that took none of this time
            self.first = step.step - 1

        def text() -> str:
            elapsed = max(time.monotonic() - self.started, 1e-9)
            speed = step.clips / elapsed
            left = elapsed * (step.steps - step.step) / max(step.step - self.first, 1)
            loss = "" if math.isnan(step.loss) else f"loss {step.loss:.4g}, "
            return (
                f"{100 * step.step / step.steps:3.0f} %  epoch {step.epoch}/{step.epochs}, {loss}{speed:.0f} clips/s, "
                f"{speed * self.seconds_per_clip:.0f} x real time, {clock(left)} left"
            )

        self.line.draw(text)

    def epoch(self, record: dict) -> None:
        self.say(
            f"epoch {record['epoch']}: training loss {record['training_loss']:.4g}, validation {_figures(record)}"
            + (", the best so far" if record["best"] else "")
        )

    def end(self, result) -> None:
        why = "; no epoch after it was better" if result.stopped_early else ""
        self.say(
            f"{self.run}: epoch {result.best['epoch']} of {len(result.history)} is kept: {_figures(result.best)}{why}"
        )


def _figures(record: dict) -> str:
    """The validation figures of an epoch."""
    words = []
    if "validation_accuracy" in record:
        words.append(f"accuracy {100 * record['validation_accuracy']:.1f} %")
    if "validation_bits_per_sample" in record:
        words.append(f"{record['validation_bits_per_sample']:.3f} bits per sample")
    return ", ".join([*words, f"loss {record['validation_loss']:.4g}"])
