"""What the device's compiler makes of the single-precision kernels: all in registers, nothing in double precision."""

import io
import re

import pytest
from harness import CSRC
from single_host import SHAPES, Kernel, convolve, convolve_backward, filter_gradient, filter_spectrum

core = pytest.importorskip("cuda.core")

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


def compile_with_report(kernel: Kernel, architecture: str, target: str) -> tuple[bytes, str]:
    options = core.ProgramOptions(
        std="c++17", arch=architecture, include_path=[str(CSRC)], ptxas_options=["-v"] if target == "cubin" else None
    )
    log = io.StringIO()
    program = core.Program(f'#include "{kernel.header}"\n', "c++", options)
    try:
        return program.compile(target, name_expressions=(kernel.name,), logs=log).code, log.getvalue()
    except Exception as error:
        if "NVRTC" in str(error) and "COMPILATION" not in str(error):
            pytest.skip(f"NVRTC cannot be used here: {error}")
        raise


@pytest.mark.parametrize("points", [128, 1024, 16384])
@pytest.mark.parametrize("architecture", SHARED)
def test_everything_stays_in_registers(points, architecture):
    for kernel in kernels(points, architecture):
        _, report = compile_with_report(kernel, architecture, "cubin")
        stacks = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report)
        assert stacks, report
        assert all(int(number) == 0 for stack in stacks for number in stack), f"{kernel.name}\n{report}"


@pytest.mark.parametrize("architecture", ["sm_90a", "sm_120"])
def test_nothing_in_double_precision(architecture):
    for kernel in kernels(16384, architecture):
        code, _ = compile_with_report(kernel, architecture, "ptx")
        ptx = code.decode()
        assert "fma.rn.f32" in ptx
        assert ".f64" not in ptx, kernel.name
        assert ".local" not in ptx, kernel.name
