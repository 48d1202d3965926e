"""What can fail in this engine, each with one line that says so."""

from __future__ import annotations

from ...errors import LongconvError


class CudaEngineError(LongconvError, RuntimeError):
    """The fused engine cannot do what was asked of it."""


class CompilerError(CudaEngineError):
    """A kernel could not be compiled: no NVRTC, or it refused the source.

    Args:
        log: all that the compiler said, where it ran.
    """

    def __init__(self, message: str, log: str = ""):
        super().__init__(message)
        self.log = log


class NoKernelError(CudaEngineError):
    """No kernel is made for these sizes on this device."""


class LaunchError(CudaEngineError):
    """The driver refused to load or to start a kernel."""
