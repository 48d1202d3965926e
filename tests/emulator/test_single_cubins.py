"""What the device's compiler makes of the single-precision kernels: all in registers, nothing in double precision."""

import io
import re

import pytest
from harness import CSRC
from single_host import SHAPES, Kernel, convolve, convolve_backward, filter_gradient, filter_spectrum

core = pytest.importorskip("cuda.core")
nvrtc = pytest.importorskip("cuda.bindings.nvrtc")

SHARED = {"sm_80": 163, "sm_86": 99, "sm_89": 99, "sm_90a": 227, "sm_100": 227, "sm_120": 99}  # KB a block may have


def kernels(points: int, architecture: str) -> list[Kernel]:
    """Those that hold most at a time; the others are parts of them."""
    shape, gates = SHAPES[points], {"pre": True, "post": True}
    cells = "whole" if shape.shared_bytes("whole") <= SHARED[architecture] << 10 else "halved"
    fits = shape.backward_bytes("halved", "sums_in_shared") <= SHARED[architecture] << 10
    if points < 16384:
        return [convolve(shape, extent="doubled", **gates), convolve_backward(shape, **gates)]
    return [
        filter_spectrum(shape, cells), filter_gradient(shape, cells), convolve(shape, cells, extent="doubled", **gates),
        convolve_backward(shape, "halved", keep="sums_in_shared" if fits else "in_device", **gates),
    ]  # fmt: skip


def compiler_report(kernel: Kernel, architecture: str) -> str:
    options = core.ProgramOptions(std="c++17", arch=architecture, include_path=[str(CSRC)], ptxas_options=["-v"])
    log = io.StringIO()
    program = core.Program(f'#include "{kernel.header}"\n', "c++", options)
    program.compile("cubin", name_expressions=(kernel.name,), logs=log)
    return log.getvalue()


def ptx_of(kernel: Kernel, architecture: str) -> str:
    """By NVRTC itself: cuda-core asks for a driver before it makes PTX."""

    def checked(error, *values):
        assert error == nvrtc.nvrtcResult.NVRTC_SUCCESS, error
        return values[0] if values else None

    source = f'#include "{kernel.header}"\n'.encode()
    options = [b"--std=c++17", f"--gpu-architecture={architecture}".encode(), f"--include-path={CSRC}".encode()]
    program = checked(*nvrtc.nvrtcCreateProgram(source, b"kernel.cu", 0, [], []))
    checked(*nvrtc.nvrtcAddNameExpression(program, kernel.name.encode()))
    checked(*nvrtc.nvrtcCompileProgram(program, len(options), options))
    ptx = b" " * checked(*nvrtc.nvrtcGetPTXSize(program))
    checked(*nvrtc.nvrtcGetPTX(program, ptx))
    return ptx.decode()


@pytest.mark.parametrize("points", [128, 1024, 16384])
@pytest.mark.parametrize("architecture", SHARED)
def test_everything_stays_in_registers(points, architecture):
    for kernel in kernels(points, architecture):
        report = compiler_report(kernel, architecture)
        stacks = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report)
        assert stacks, report
        assert all(int(number) == 0 for stack in stacks for number in stack), f"{kernel.name}\n{report}"


@pytest.mark.parametrize("architecture", ["sm_90a", "sm_120"])
def test_nothing_in_double_precision(architecture):
    for kernel in kernels(16384, architecture):
        ptx = ptx_of(kernel, architecture.replace("sm_", "compute_"))
        assert "fma.rn.f32" in ptx
        assert ".f64" not in ptx, kernel.name
        assert ".local" not in ptx, kernel.name
