"""Checkpoints: all that a run needs to go on as if it had not stopped, in one file that is whole or not there."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import torch

from longconv_audio.audio_io.targets import open_target
from longconv_audio.errors import OptionError, UnreadableError, UnwritableError

CHECKPOINT = "checkpoint.pt"
_FORMAT = 1
# Differences that a message names.
_NAMED = 4


def save_checkpoint(run: Path, contents: dict) -> None:
    """Writes a checkpoint; until it is whole, the one before stays.

    Args:
        contents: numbers, texts, lists, dictionaries and tensors.

    Raises:
        UnwritableError: it cannot be written; the one before is there still.
    """
    buffer = io.BytesIO()
    torch.save({"format": _FORMAT, **contents}, buffer)
    write_whole(run / CHECKPOINT, buffer.getbuffer())


def load_checkpoint(run: Path) -> dict:
    """What `save_checkpoint` wrote, on the CPU.

    Raises:
        UnreadableError: there is none, or it is damaged.
    """
    path = run / CHECKPOINT
    try:
        contents = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UnreadableError(f"{path}: there is no checkpoint to go on from: leave --resume out") from None
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # torch raises a dozen kinds for a file that is cut or was never a checkpoint
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnreadableError(f"{path}: is no checkpoint, or a damaged one ({reason})") from None
    if not isinstance(contents, dict) or contents.get("format") != _FORMAT:
        raise UnreadableError(f"{path}: is no checkpoint of this version of longconv")
    return contents


def write_whole(path: Path, data) -> None:
    """Bytes into a file, which has its name when all are there.

    Raises:
        UnwritableError: the file cannot be written.
    """
    target = open_target(str(path), overwrite=True)
    try:
        target.write(data)
        target.finish()
    except OSError as error:
        target.discard()
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
        raise UnwritableError(f"{path}: cannot be written: {reason}; what stood there before is whole") from error
    except BaseException:
        target.discard()
        raise


def check_same(old: dict, new: dict, run: Path) -> None:
    """Refuses to go on with another configuration.

    Args:
        old, new: nested dictionaries.

    Raises:
        OptionError: they differ; it names what, from what, to what.
    """
    old, new = _flat(old), _flat(new)
    changed = [
        f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in [*old, *(name for name in new if name not in old)]
        if old.get(name) != new.get(name)
    ]
    if changed:
        more = f"; and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        raise OptionError(
            f"{run}: cannot be resumed with another configuration: {'; '.join(changed[:_NAMED])}{more}: "
            "pass the old values, or train into another folder"
        )


def _flat(values: dict, prefix: str = "") -> dict:
    flat = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat
