"""This machine's GPUs as planning knows them: with rates measured once and kept, or else with published ones.

A file in the user's cache folder has the rates of one kind of GPU under one driver.
"""

from __future__ import annotations

import functools
import json
import math
import re
import warnings
from dataclasses import replace
from pathlib import Path

from ...errors import OptionError, UnreadableError, UnwritableError
from ...planning.devices import Device, estimated
from .cache import cache_folder
from .files import write_whole
from .gpus import gpu_of

RATES = ("memory", "cache", "shared", "fma", "double", "tensor", "launch")
_FORMAT = 1
_AGAIN = "run longconv doctor --calibrate"


def calibrate(index: int = 0) -> Path:
    """Measures a GPU and keeps what came of it. Returns the file.

    Raises:
        UnwritableError: where it cannot be kept.
    """
    from .rates import measure

    name, driver = identity(index)
    path = calibration_file(name, driver)
    if path is None:
        raise UnwritableError("rates of the GPU cannot be kept: there is no home folder: set XDG_CACHE_HOME")
    save(path, name, driver, measure(index))
    device_of.cache_clear()
    return path


@functools.cache
def device_of(index: int = 0) -> Device:
    """A GPU of this machine, for the engine: a calibration that cannot be used is warned of, and done without."""
    try:
        return calibrated(index) or published(index)
    except UnreadableError as error:
        warnings.warn(str(error), RuntimeWarning, stacklevel=2)
        return published(index)


def calibrated(index: int) -> Device | None:
    """A GPU of this machine with the rates measured on it, or None where none were.

    Raises:
        UnreadableError: for a file that is damaged, or was measured on another device or with another driver.
    """
    name, driver = identity(index)
    path = calibration_file(name, driver)
    if path is None or not path.exists():
        return None
    return replace(published(index), **load(path, name, driver))


def published(index: int) -> Device:
    """A GPU of this machine with the published rates of its model, or of one that is like it."""
    import torch

    properties = torch.cuda.get_device_properties(index)
    return estimated(properties.name, gpu_of(index), properties.total_memory, properties.L2_cache_size)


def gpu_index(name: str) -> int | None:
    """The number of the GPU that "cuda" or "cuda:1" names, or None where the name is not of this form.

    Raises:
        OptionError: where there is no such GPU.
    """
    match = re.fullmatch(r"cuda(?::(\d{1,3}))?", name.strip().lower())
    if match is None:
        return None
    import torch

    index, count = int(match[1] or 0), torch.cuda.device_count()
    if index >= count:
        there = f"torch can use {count} here" if count else "there is none here that torch can use"
        raise OptionError(f"device {name}: no such GPU: {there}")
    return index


def identity(index: int) -> tuple[str, str]:
    """What a calibration belongs to: the GPU's name, and the CUDA version of its driver."""
    import torch

    try:
        from cuda.bindings import driver

        status, version = driver.cuDriverGetVersion()
    except Exception:  # of many classes, by what exactly is missing
        status, version = None, 0
    known = "unknown" if status is None or status.value else f"{version // 1000}.{version % 1000 // 10}"
    return torch.cuda.get_device_name(index), known


def calibration_file(name: str, driver: str) -> Path | None:
    """Where the rates of a GPU are kept; None where the user has no home."""
    folder = cache_folder("devices")
    plain = re.sub(r"[^a-z0-9.]+", "-", f"{name} {driver}".lower())
    return None if folder is None else folder / f"{plain}.json"


def save(path: Path, name: str, driver: str, rates: dict[str, float]) -> None:
    """Keeps rates.

    Raises:
        UnwritableError: where the file cannot be written.
    """
    content = {"format": _FORMAT, "device": name, "driver": driver, "rates": rates}
    try:
        write_whole(path, json.dumps(content, indent=2).encode())
    except OSError as error:
        raise UnwritableError(f"{path}: cannot be written: {error.strerror or error}") from error


def load(path: Path, name: str, driver: str) -> dict[str, float]:
    """The rates in a file.

    Raises:
        UnreadableError: where it is damaged, or of another device or driver.
    """
    try:
        content = json.loads(path.read_bytes())
        was = content["device"], content["driver"]
        rates = {key: float(content["rates"][key]) for key in RATES}
        whole = content["format"] == _FORMAT and all(math.isfinite(rate) and rate > 0 for rate in rates.values())
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror or error}: {_AGAIN}") from error
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise UnreadableError(f"{path}: is damaged, expected the rates of a GPU: {_AGAIN}")
    if was != (name, driver):
        raise UnreadableError(
            f"{path}: was measured on {was[0]} with a driver for CUDA {was[1]}, and this is {name} with one for "
            f"{driver}: {_AGAIN}"
        )
    return rates
