"""What the device's compiler makes of the kernels, with no device: all in registers, nothing in double precision.

Those that hold most at a time; the others are parts of them. All there are: ``longconv kernels``.
"""

import pytest
from test_half import TENSOR_INSTRUCTIONS

from longconv_audio.engines.cuda import half_planes, report
from longconv_audio.engines.cuda.compiler import compile_kernel, compiler_version
from longconv_audio.engines.cuda.errors import CompilerError
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.cuda.specialisations import HALF_FACTORS, SINGLE_FACTORS, HalfShape, SingleShape

try:
    compiler_version()
except CompilerError as error:
    pytestmark = pytest.mark.skip(reason=str(error))
SHAPES = {shape.points: shape for shape in (SingleShape(*factors) for factors in SINGLE_FACTORS)}
FACTORS = {HalfShape(*factors, "fp16").points: factors for factors in HALF_FACTORS}


def rows(kernels, gpu):
    """What is to be said of each kernel, of which each must be good."""
    for kernel in kernels:
        row = report.row(kernel, compile_kernel(kernel.header, kernel.name, gpu.arch), gpu)
        assert row.good, row
        yield row


@pytest.mark.parametrize(
    ("arch", "points"),
    [("sm_80", 1024), ("sm_86", 512), ("sm_86", 256), ("sm_89", 4096), ("sm_80", 8192), ("sm_90a", 16384)],
)
def test_half_precision(arch, points):
    gpu = KNOWN[arch]
    for number in ("fp16", "bf16"):
        shape = HalfShape(*FACTORS[points], number)
        for row in rows([shape.forward(gpu, True, True, True)], gpu):
            # All products are unrolled but for loops over columns, of which a warp has one or two.
            assert row.tensor_instructions is None or row.tensor_instructions <= TENSOR_INSTRUCTIONS[points]
        assert list(rows([shape.backward(gpu, True, True, True)], gpu))
        kernels = [shape.tables()] + ([shape.spectrum(gpu), shape.gradient(gpu)] if number == "fp16" else [])
        for row in rows(kernels, gpu):
            assert not row.tensor_instructions


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
def test_complex_rows_in_half_precision(arch):
    assert len(list(rows(half_planes.all_kernels(KNOWN[arch]), KNOWN[arch]))) >= 2 * len(FACTORS) - 1


@pytest.mark.parametrize("points", [128, 1024, 16384])
@pytest.mark.parametrize("arch", ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120"])
def test_single_precision(points, arch):
    if (points, arch) == (16384, "sm_100"):
        pytest.xfail("the gated backward pass of 16K points spills 8 bytes there")
    gpu, shape = KNOWN[arch], SHAPES[points]
    kernels = [shape.forward(gpu, "doubled", True, True), shape.backward(gpu, "padded", True, True, True)]
    if points == 16384:
        kernels += [shape.spectrum(gpu), shape.gradient(gpu)]
    if (points, arch) == (16384, "sm_90a"):  # with a look at the instructions, which takes as long as the compiler
        assert list(rows(kernels, gpu))
        return
    for kernel in kernels:
        assert not report.read_cubin(compile_kernel(kernel.header, kernel.name, arch)).local_bytes, kernel.name
