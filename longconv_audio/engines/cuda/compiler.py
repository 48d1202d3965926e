"""From a kernel's name to a cubin, by NVRTC: neither nvcc nor a host compiler nor a GPU is needed."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import threading
from dataclasses import dataclass, field
from pathlib import Path

from .errors import CompilerError

# What every kernel is compiled with.
OPTIONS = {
    "std": "c++17",  # `if constexpr`, and folding of constants in templates
    # Members of the shapes (sizes, offsets) are plain C++, for the emulator's compiler takes them too.
    "device_as_default_execution_space": True,
}
# Left out on purpose: fast math. It turns divisions and square roots into approximations and drops subnormals, which
# are the tail of every reverb, and the kernels divide nowhere that counts.


@dataclass(frozen=True)
class Cubin:
    """Machine code of one kernel.

    Args:
        code: all of it.
        symbol: the name under which the kernel is found in there.
        cached: whether it was compiled by an earlier run.
    """

    code: bytes
    symbol: str
    cached: bool = field(default=False, compare=False)


def compile_kernel(header: str, name: str, arch: str, folder: Path | None = None) -> Cubin:
    """Compiles one specialisation.

    Args:
        header: a file of `folder` that defines the template.
        name: the template with its arguments.
        arch: such as sm_90a.
        folder: where the sources are; by default the package's own.

    Raises:
        CompilerError: where there is no NVRTC, and where it refuses the source or the architecture.
    """
    cuda_core = _cuda_core()
    # CUDA's headers are not on the path: NVRTC has built in what csrc/ uses, and so a cubin depends on csrc/ alone.
    options = cuda_core.ProgramOptions(arch=arch, include_path=[str(folder or source_folder())], **OPTIONS)
    program = None
    try:
        program = cuda_core.Program(f'#include "{header}"\n', "c++", options)
        done = program.compile("cubin", name_expressions=(name,))
    except Exception as error:  # cuda-core has no one class for them
        log = str(error)
        raise CompilerError(f"{name} does not compile for {arch}: {_first_error(log)}", log) from error
    finally:
        if program is not None:
            program.close()
    return Cubin(bytes(done.code), done.symbol_mapping[name].decode())


def source_folder() -> Path:
    """csrc/: inside the installed package, or beside it in a checkout.

    Raises:
        CompilerError: where it is in neither place.
    """
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "csrc", package.parent / "csrc"):
        if (folder / "arguments.cuh").is_file():
            return folder
    raise CompilerError(
        f"the kernels' sources, csrc/, are neither in {package} nor beside it: install the package again"
    )


def sources_digest(folder: Path) -> str:
    """A hash of all sources: they include each other freely."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.cuh")):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)} ".encode() + content)
    return digest.hexdigest()


@functools.cache
def compiler_version() -> str:
    """NVRTC's.

    Raises:
        CompilerError: where there is none.
    """
    try:
        from cuda.bindings import nvrtc

        status, major, minor = nvrtc.nvrtcVersion()
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise RuntimeError(status.name)
    except Exception as error:  # the library's own classes are not importable where it is broken
        raise _absent(error) from error
    return f"{major}.{minor}"


def check_compiler(arch: str) -> None:
    """Raises CompilerError where nothing can be compiled for the architecture."""
    version = compiler_version()
    if importlib.util.find_spec("cuda.core") is None:
        raise _absent(ModuleNotFoundError("the module cuda.core is not installed"))
    from cuda.bindings import nvrtc

    status, architectures = nvrtc.nvrtcGetSupportedArchs()
    if not status.value and int("".join(filter(str.isdigit, arch))) not in architectures:
        raise CompilerError(f"NVRTC {version} does not know {arch}: install a newer nvidia-cuda-nvrtc")


def _absent(error: Exception) -> CompilerError:
    reason = " ".join(str(error).split())
    return CompilerError(
        f"NVRTC, which compiles the kernels, cannot be used ({reason[:_REASON]}): "
        "pip install 'cuda-core[cu13]' nvidia-cuda-nvrtc, or use engine='torch'"
    )


_REASON = 200  # characters of another library's message that make a line of ours


def _cuda_core():
    try:
        with _importing:
            core = importlib.import_module("cuda.core")
    except Exception as error:
        raise _absent(error) from error
    compiler_version()
    return core


# cuda-core puts its modules together while it is imported, and another thread would get it half done.
_importing = threading.Lock()


def _first_error(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if "error" in line] or [log.strip() or "no reason given"]
    return " ".join(lines[0].split())
