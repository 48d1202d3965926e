"""Models in folders: `model.safetensors`, the tensors, and `config.json`, what makes the model they belong to."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from pathlib import Path

import torch

from ...errors import MismatchError, UnreadableError, UnwritableError
from ..streaming import Streamable

TENSORS, CONFIG = "model.safetensors", "config.json"
# Names that an error lists of many.
_NAMED = 3


class Pretrained(Streamable):
    """A model that is made from a configuration, and saved with it.

    Subclasses have a `Config`, a dataclass, and keep the one that they are made from as `config`.
    """

    Config: type

    def save_pretrained(self, folder) -> None:
        """Writes the model into a folder, which is made where there is none. What is there before stays whole until
        all is written.

        Raises:
            UnwritableError: where it cannot be written: not allowed, a full disk.
        """
        from safetensors.torch import save

        tensors = {name: t.detach().cpu().contiguous().clone() for name, t in self.state_dict().items()}
        config = {"model": type(self).__name__, **dataclasses.asdict(self.config)}
        _write({TENSORS: save(tensors), CONFIG: json.dumps(config, indent=2).encode() + b"\n"}, Path(folder))

    @classmethod
    def from_pretrained(cls, folder, *, device="cpu"):
        """The model that is saved in a folder, in evaluation.

        Raises:
            UnreadableError: where a file is missing or damaged.
            MismatchError: where it is another model, or tensors and configuration do not fit.
        """
        name, fields = read_config(folder)
        if name != cls.__name__:
            raise MismatchError(f"{Path(folder) / CONFIG}: model is {name!r}; expected {cls.__name__!r}")
        return cls._loaded(Path(folder), fields, device)

    @classmethod
    def _loaded(cls, folder: Path, fields: dict, device):
        model = cls(_configuration(cls.Config, fields, folder / CONFIG))
        tensors = _read_tensors(folder / TENSORS)
        _load(model, tensors, folder / TENSORS)
        return model.to(device).eval()


def read_config(folder) -> tuple[str, dict]:
    """The name of the model that is saved in a folder, and the fields of its configuration.

    Raises:
        UnreadableError: where there is no such file, or it is no configuration.
    """
    path = Path(folder) / CONFIG
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror}; expected a saved model's folder") from error
    except ValueError as error:
        raise UnreadableError(f"{path}: is not JSON: {error}") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("model"), str):
        raise UnreadableError(f"{path}: names no model; expected what save_pretrained writes")
    return fields.pop("model"), fields


def _configuration(kind: type, fields: dict, path: Path):
    known = [field.name for field in dataclasses.fields(kind)]
    for name in fields:
        if name not in known:
            raise MismatchError(f"{path}: {name} is no field of {kind.__name__}; expected {', '.join(known)}")
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        raise MismatchError(f"{path}: {error}") from error


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror}") from error
    except (SafetensorError, ValueError) as error:
        raise UnreadableError(f"{path}: is damaged: {error}") from error


def _load(model, tensors: dict, path: Path) -> None:
    """Names tensors that have other shapes, that are missing, and that nobody knows."""
    expected = model.state_dict()
    shapes = [
        f"{name} {tuple(tensors[name].shape)} where the configuration has {tuple(expected[name].shape)}"
        for name in expected.keys() & tensors.keys()
        if expected[name].shape != tensors[name].shape
    ]
    # Layers take what they have no place for as yet, such as masks.
    missing, unknown = ((), ()) if shapes else model.load_state_dict(tensors, strict=False)
    for what, names in (("has", shapes), ("is without", missing), ("has besides", unknown)):
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            listed = ", ".join(sorted(names)[:_NAMED])
            raise MismatchError(f"{path}: {what} {listed}{more}: tensors and configuration are of different models")


def _write(files: dict[str, bytes], folder: Path) -> None:
    """All files under other names first, then renamed: a full disk leaves what was there."""
    parts = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            handle, part = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=".part")
            parts.append((part, folder / name))
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(part, 0o666 & ~_umask())
        for part, path in parts:
            os.replace(part, path)
    except OSError as error:
        raise UnwritableError(f"{folder}: the model cannot be written: {error.strerror or error}") from error
    finally:
        for part, _ in parts:
            with contextlib.suppress(OSError):
                os.unlink(part)


def _umask() -> int:
    """What the process keeps from others in files that it makes; a temporary file is kept from all."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
