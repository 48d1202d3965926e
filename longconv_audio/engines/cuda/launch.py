"""Loaded kernels, and their launch on torch's device and current stream.

cuda-core compiles; the driver's own functions (cuda.bindings, on which cuda-core stands) load and launch, for cuda-core
takes no struct by value as an argument.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Callable
from typing import Any

from ...planning.devices import Device
from .cache import cubin
from .calibration import device_of
from .compiler import Cubin
from .errors import LaunchError
from .gpus import LOWEST, Gpu, arch_name, gpu_of
from .specialisations import GRID_Y, Kernel

_OnePointer = ctypes.c_void_p * 1


class Launcher:
    """One GPU: its kernels, loaded at their first launch, and its tables.

    Args:
        index: torch's number of the device.
    """

    def __init__(self, index: int):
        self.index = index
        self.gpu: Gpu = gpu_of(index)
        self.device = f"cuda:{index}"
        self._functions: dict[str, Any] = {}
        self._tables: dict[Any, Any] = {}
        self._thread = threading.local()
        self._context = None  # the device's own, kept for as long as the process runs
        self._making = threading.RLock()

    @functools.cached_property
    def rates(self) -> Device:
        """What a plan knows of the GPU beside its limits."""
        return device_of(self.index)

    def launch(self, kernel: Kernel, arguments: ctypes.Structure, grid: tuple[int, int]) -> None:
        """Starts a kernel on the current stream. Whoever calls has made the device current.

        Raises:
            CompilerError: where the kernel cannot be compiled.
            LaunchError: where the driver refuses it.
        """
        blocks, chunks = grid
        if not (0 < blocks < 2**31 and 0 < chunks <= GRID_Y):
            check_grid(kernel, grid)
        if not hasattr(self._thread, "context"):
            self._thread.context = self._make_context_current()
        function = self._functions.get(kernel.name) or self.load(kernel)
        parameters = _OnePointer(ctypes.addressof(arguments))
        (status, *_) = _driver().cuLaunchKernel(
            function, blocks, chunks, 1, kernel.threads, 1, 1, kernel.shared_bytes, current_stream(self.index),
            ctypes.addressof(parameters), 0,
        )  # fmt: skip
        if status.value:
            _check((status,), f"launch of {kernel.name} in {blocks} x {chunks} blocks")

    def load(self, kernel: Kernel):
        """The kernel on the device, compiled or from the cache; at its first launch, if not before.

        Raises:
            CompilerError, LaunchError: as `launch`.
        """
        with self._making:
            function = self._functions.get(kernel.name)
            if function is None:
                self._refuse_while_capturing(kernel.name)
                if not hasattr(self._thread, "context"):
                    self._thread.context = self._make_context_current()
                function = self._functions[kernel.name] = self._load(kernel)
            return function

    def tables(self, key, make: Callable[[], Any]):
        """What `make` gave when it was first asked for `key` here; then every stream may read it."""
        found = self._tables.get(key)
        return self._make_table(key, make) if found is None else found

    def _make_table(self, key, make: Callable[[], Any]):
        import torch

        with self._making:
            found = self._tables.get(key)
            if found is None:
                self._refuse_while_capturing("a table")
                found = make()
                torch.cuda.current_stream(self.index).synchronize()
                self._tables[key] = found
            return found

    def _refuse_while_capturing(self, what: str) -> None:
        import torch

        if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            raise LaunchError(
                f"{what} is not loaded, and a CUDA graph is being captured: call longconv_audio.prepare with the "
                "arguments of the call, before the capture"
            )

    def _make_context_current(self):
        """What the CUDA runtime does at its first call in a thread: torch may have made none in this one."""
        driver, what = _driver(), f"using GPU {self.index}"
        with self._making:
            if self._context is None:
                device = _check(driver.cuDeviceGet(self.index), what)
                self._context = _check(driver.cuDevicePrimaryCtxRetain(device), what)
        _check(driver.cuCtxSetCurrent(self._context), what)
        return self._context

    def _load(self, kernel: Kernel):
        """The kernel on the device. What the driver refuses of an earlier run's code is compiled anew, once."""
        named = (kernel.header, kernel.name, self.gpu.arch)
        made = cubin(*named)
        try:
            return self._load_code(kernel, made)
        except LaunchError:
            if not made.cached:
                raise
        return self._load_code(kernel, cubin(*named, anew=True))

    def _load_code(self, kernel: Kernel, made: Cubin):
        driver = _driver()
        what = f"loading {kernel.name} for {self.gpu.arch}"
        library = _check(driver.cuLibraryLoadData(made.code, None, None, 0, None, None, 0), what)
        loaded = _check(driver.cuLibraryGetKernel(library, made.symbol.encode()), what)
        function = _check(driver.cuKernelGetFunction(loaded), what)
        attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        _check(driver.cuFuncSetAttribute(function, attribute, kernel.shared_bytes), what)
        return function


def check_grid(kernel: Kernel, grid: tuple[int, int]) -> None:
    """Raises LaunchError for a grid that no device takes."""
    if not (0 < grid[0] < 2**31 and 0 < grid[1] <= GRID_Y):
        raise LaunchError(f"{kernel.name} in {grid[0]} x {grid[1]} blocks; expected at most {2**31 - 1} x {GRID_Y}")


def current_stream(index: int) -> int:
    """The handle of torch's current stream on the device."""
    import torch

    return torch._C._cuda_getCurrentRawStream(index)


@functools.cache
def launcher(index: int) -> Launcher:
    """The device's."""
    return Launcher(index)


def current(index: int):
    """The device made torch's current one, for which nothing is to be done where it is."""
    import torch

    return _NOTHING if torch.cuda.current_device() == index else torch.cuda.device(index)


_NOTHING = contextlib.nullcontext()


def available(device) -> str | None:
    """Why no kernel can run on a torch device, in words; None where they can."""
    if device.type != "cuda":
        return f"the fused kernels run on NVIDIA GPUs, and the device is {device}"
    import torch

    index = torch.cuda.current_device() if device.index is None else device.index
    return _why_not(index)


@functools.cache
def _why_not(index: int) -> str | None:
    import torch

    from .compiler import check_compiler, compiler_version, source_folder
    from .errors import CompilerError

    if torch.version.hip:
        return "the fused kernels run on NVIDIA GPUs, and this is torch for ROCm"
    major, minor = torch.cuda.get_device_capability(index)
    if (major, minor) < LOWEST:
        lowest = ".".join(map(str, LOWEST))
        return (
            f"{torch.cuda.get_device_name(index)} has compute capability {major}.{minor}; "
            f"the fused kernels need {lowest} or higher"
        )
    try:
        check_compiler(arch_name((major, minor)))
        source_folder()
        _check_driver(compiler_version())
    except (CompilerError, LaunchError) as error:
        return str(error)
    return None


def _check_driver(compiler: str) -> None:
    """Raises LaunchError where there is no driver, or one that cannot load what the compiler makes.

    A driver loads what any compiler of its own major version made (CUDA Compatibility, "Minor Version Compatibility").
    """
    version = _check(_driver().cuDriverGetVersion(), "asking for the driver's version")
    if version // 1000 < int(compiler.split(".")[0]):
        raise LaunchError(
            f"the NVIDIA driver is for CUDA {version // 1000}.{version % 1000 // 10} and NVRTC is {compiler}: update "
            "the driver"
        )


@functools.cache
def _driver():
    try:
        from cuda.bindings import driver

        driver.cuDriverGetVersion()
    except Exception as error:  # of many classes, by what exactly is missing
        raise LaunchError(f"the NVIDIA driver cannot be used ({' '.join(str(error).split())})") from error
    return driver


def _check(result, what: str):
    """The driver's answer without its status; an error of ours where that is no success."""
    status, *values = result
    if status.value:
        driver = _driver()
        text = driver.cuGetErrorString(status)[1]
        text = text.decode() if text else status.name
        old = " (the driver is older than this kernel needs: update it, or use engine='torch')"
        too_old = status.name in ("CUDA_ERROR_NO_BINARY_FOR_GPU", "CUDA_ERROR_UNSUPPORTED_PTX_VERSION")
        raise LaunchError(f"{what}: {text}{old if too_old else ''}")
    return values[0] if values else None
