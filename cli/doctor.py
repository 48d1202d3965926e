"""`longconv doctor`: what this machine has, which engine each kind of sample gets, and whether each engine is right."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Annotated

import typer

from .calibration import calibrate_all
from .messages import print_json

# Decibels that a small convolution's error must lie below its result, by the type of its samples. Single precision is
# good for 130 and the sum of few samples for somewhat less.
REQUIRED = {"float16": 55.0, "bfloat16": 40.0, "float32": 120.0, "float64": 280.0}
_BATCH, _CHANNELS, _SAMPLES, _TAPS = 2, 3, 1000, 700


def doctor(
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure this machine's GPUs for longconv plan, and nothing else.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Says what this machine has, which engine each dtype gets and why, and tries a small convolution on each.

    Exit code 0 where all that is available is right, 1 otherwise.
    """
    if calibrate:
        calibrate_all(json)
        return
    report = examine()
    if json:
        print_json(report)
    else:
        for line in _lines(report):
            print(line)
    if not report["right"]:
        raise typer.Exit(1)


def examine() -> dict:
    """All that there is to say of this machine."""
    import torch

    devices = [torch.device("cpu"), *(torch.device("cuda", i) for i in range(torch.cuda.device_count()))]
    checks = [_check_numpy(), *(check for device in devices for check in _check_torch(device))]
    return {
        "machine": _machine(),
        "gpus": [_gpu(device) for device in devices[1:]],
        "engines": [choice for device in devices for choice in _choices(device)],
        "checks": checks,
        "right": all(check["right"] for check in checks),
    }


def _machine() -> dict:
    import torch

    return {
        "longconv-audio": _version("longconv-audio"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "numpy": _version("numpy"),
        "torch": torch.__version__,
        "CUDA that torch was built for": torch.version.cuda or "none",
        "NVIDIA driver": _driver(),
        "cuda-core": _version("cuda-core"),
        "NVRTC": _nvrtc(),
        "compiled kernels are kept in": _cache(),
    }


def _choices(device) -> list[dict]:
    """The engine of each dtype on a device, and why it is not the fused one."""
    import torch

    from longconv_audio.arguments import FLOATS, default_precision
    from longconv_audio.engines.cuda import long_conv
    from longconv_audio.engines.selection import EngineUnavailableError, choose

    choices = []
    for dtype in FLOATS:
        precision = default_precision(dtype)
        try:
            engine, _ = choose(None, torch.device(device), precision)
        except EngineUnavailableError as error:
            engine = f"none: {error}"
        choices.append({
            "device": str(device), "dtype": _name(dtype), "precision": precision, "engine": engine,
            "why not the fused kernels": long_conv.why_not(device, precision),
        })  # fmt: skip
    return choices


def _check_numpy() -> dict:
    import numpy as np

    from longconv_audio.functional import fftconvolve

    u, k = _signals()
    y = fftconvolve(u.astype(np.float32), k.astype(np.float32), mode="causal")
    return _verdict("numpy", "cpu", "float32", y, u, k)


def _check_torch(device) -> list[dict]:
    """Every engine that says it can run on the device, in every dtype."""
    import torch

    from longconv_audio import long_conv
    from longconv_audio.arguments import FLOATS, default_precision
    from longconv_audio.engines.selection import ENGINES, EngineUnavailableError, choose

    checks = []
    for engine in reversed(ENGINES):
        for dtype in FLOATS:
            try:
                choose(engine, device, default_precision(dtype))
            except EngineUnavailableError:
                continue
            kind = torch.float64 if dtype == torch.float64 else torch.float32
            u, k = _signals()
            u, k = torch.tensor(u, dtype=dtype, device=device), torch.tensor(k, dtype=kind, device=device)
            try:
                y = long_conv(u, k, engine=engine).double().cpu().numpy()
            except Exception as error:  # whatever it is, it belongs into the report
                failed = {"engine": engine, "device": str(device), "dtype": _name(dtype), "right": False}
                checks.append({**failed, "error_db": None, "failure": " ".join(str(error).split())[:500]})
                continue
            checks.append(_verdict(engine, device, _name(dtype), y, u.double().cpu().numpy(), k.double().cpu().numpy()))
    return checks


def _signals():
    import numpy as np

    rng = np.random.default_rng(1)
    return rng.standard_normal((_BATCH, _CHANNELS, _SAMPLES)), rng.standard_normal((_CHANNELS, _TAPS))


def _verdict(engine: str, device, dtype: str, y, u, k) -> dict:
    """A result held against sums in float64."""
    import numpy as np

    wanted = np.array([[np.convolve(row, taps)[:_SAMPLES] for row, taps in zip(item, k, strict=True)] for item in u])
    noise = float(np.sum((np.asarray(y, np.float64) - wanted) ** 2) / np.sum(wanted**2))
    error = 10 * np.log10(max(noise, 1e-40)) if np.isfinite(noise) else float("inf")
    right = bool(error < -REQUIRED[dtype])
    shown = round(float(error), 1) if np.isfinite(error) else None
    return {"engine": engine, "device": str(device), "dtype": dtype, "right": right, "error_db": shown, "failure": None}


def _gpu(device) -> dict:
    import torch

    from longconv_audio.engines.cuda.gpus import gpu_of

    limits = gpu_of(device.index)
    return {
        "device": str(device),
        "name": torch.cuda.get_device_name(device),
        "architecture": limits.arch,
        "multiprocessors": limits.multiprocessors,
        "shared memory per block": limits.shared_per_block,
        "memory": torch.cuda.get_device_properties(device).total_memory,
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _nvrtc() -> str:
    from longconv_audio.engines.cuda.compiler import compiler_version
    from longconv_audio.engines.cuda.errors import CompilerError

    try:
        return compiler_version()
    except CompilerError as error:
        return str(error)


def _driver() -> str:
    """The newest CUDA that the driver knows, for that is what decides."""
    try:
        from cuda.bindings import driver

        status, version = driver.cuDriverGetVersion()
    except Exception:  # of many classes, by what exactly is missing
        return "none"
    return f"for CUDA {version // 1000}.{version % 1000 // 10}" if not status.value else status.name


def _cache() -> str:
    from longconv_audio.engines.cuda.cache import cache_folder

    return str(cache_folder() or "no place: there is no home folder")


def _name(dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _lines(report: dict):
    for name, value in report["machine"].items():
        yield f"{name:<30} {value}"
    for gpu in report["gpus"]:
        yield f"{gpu['device']:<30} {gpu['name']}, {gpu['architecture']}, {gpu['memory'] / 2**30:.0f} GiB"
    if not report["gpus"]:
        yield f"{'GPUs':<30} none that torch can use"
    yield ""
    for choice in report["engines"]:
        why = choice["why not the fused kernels"]
        yield (
            f"{choice['device']:<8} {choice['dtype']:<9} {choice['precision']:<7} {choice['engine']}"
            f"{f' ({why})' if why else ''}"
        )
    yield ""
    for check in report["checks"]:
        verdict = "right" if check["right"] else "WRONG"
        said = f"{verdict}: {check['failure'] or str(check['error_db']) + ' dB'}"
        yield f"{check['device']:<8} {check['dtype']:<9} {check['engine']:<7} {said}"
