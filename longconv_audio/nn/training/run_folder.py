"""The folder of a run: the best model, the checkpoint, its settings and what became of it, epoch by epoch."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from pathlib import Path

from longconv_audio.errors import UnreadableError, UnwritableError

from .checkpoints import CHECKPOINT, write_whole

SETTINGS, HISTORY, EVENTS = "training.json", "history.jsonl", "tensorboard"
_OURS = (CHECKPOINT, SETTINGS, HISTORY, EVENTS, "model.safetensors", "config.json")


def check_free(run: Path, overwrite: bool) -> None:
    """Raises UnwritableError where a run would replace what is there and that was not asked for."""
    try:
        if run.exists() and not run.is_dir():
            raise UnwritableError(f"{run}: is a file; expected a folder for the run")
        free = overwrite or not run.is_dir() or not any(run.iterdir())
        going = not free and (run / CHECKPOINT).exists()
    except OSError as error:
        raise UnwritableError(f"{run}: cannot be made a folder for the run: {error.strerror}") from None
    if not free:
        what = "--resume to go on with it, or --overwrite to begin anew" if going else "--overwrite to write into it"
        raise UnwritableError(f"{run}: exists: pass {what}")


def begin(run: Path, settings: dict) -> None:
    """An empty run in its folder: files of a run before it go, others stay.

    Raises:
        UnwritableError: the folder cannot be written into.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        for name in _OURS:
            if (run / name).is_dir():
                shutil.rmtree(run / name)
            else:
                (run / name).unlink(missing_ok=True)
    except OSError as error:
        raise UnwritableError(f"{run}: cannot be made a folder for the run: {error.strerror}") from error
    write_whole(run / SETTINGS, (json.dumps(settings, indent=2) + "\n").encode())


def read_settings(run: Path) -> dict:
    """What a run was trained with.

    Raises:
        UnreadableError: it is not the folder of a run.
    """
    path = Path(run) / SETTINGS
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableError(
            f"{path}: cannot be read: {error.strerror}; expected a folder that longconv train wrote"
        ) from None
    except ValueError as error:
        raise UnreadableError(f"{path}: is damaged: {error}") from None


class Log:
    """What is written down of a run as it goes: a line of history an epoch, and curves for TensorBoard.

    Args:
        run: the folder.
        step: from which on curves are drawn; what an interrupted run drew after it is hidden.
    """

    def __init__(self, run: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        self._run, self._hook = run, threading.excepthook
        threading.excepthook = self._on_thread_failure
        with self._guarded():
            self._writer = SummaryWriter(str(run / EVENTS), purge_step=step or None)

    def step(self, step: int, values: dict[str, float]) -> None:
        """Numbers of a step."""
        with self._guarded():
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def epoch(self, step: int, history: list[dict]) -> None:
        """All epochs so far, the last of which is new."""
        lines = "".join(json.dumps(record) + "\n" for record in history)
        write_whole(self._run / HISTORY, lines.encode())
        numbers = {f"epoch/{name}": value for name, value in history[-1].items() if name != "epoch"}
        self.step(step, numbers)
        with self._guarded():
            self._writer.flush()

    def close(self) -> None:
        """Lets go of the files."""
        with contextlib.suppress(OSError):
            self._writer.close()
        threading.excepthook = self._hook

    def _on_thread_failure(self, failure) -> None:
        """A full disk meets TensorBoard's thread first, which would print it, and our next call then."""
        if not (type(failure.thread).__module__.startswith("tensorboard.") and issubclass(failure.exc_type, OSError)):
            self._hook(failure)

    @contextlib.contextmanager
    def _guarded(self):
        try:
            yield
        except OSError as error:
            raise UnwritableError(
                f"{self._run / EVENTS}: cannot be written: {error.strerror or error}; the last checkpoint is whole"
            ) from error
