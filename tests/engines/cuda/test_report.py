"""What is read out of cubins, and how many blocks a multiprocessor holds."""

import ctypes

import pytest

from longconv_audio.engines.cuda import report
from longconv_audio.engines.cuda.arguments import Arguments, FilterArguments, TableArguments
from longconv_audio.engines.cuda.cache import cubin
from longconv_audio.engines.cuda.compiler import Cubin, compile_kernel, compiler_version
from longconv_audio.engines.cuda.errors import CompilerError, CudaEngineError
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.cuda.specialisations import Kernel, Sizes, plan, plan_backward

try:
    compiler_version()
except CompilerError as error:
    pytestmark = pytest.mark.skip(reason=str(error))

STRUCTS = {"Arguments": Arguments, "FilterArguments": FilterArguments, "TableArguments": TableArguments}
ARCHITECTURES = ["sm_80", "sm_90a", "sm_120"]
needs_disassembler = pytest.mark.skipif(report.disassembler() is None, reason="no nvdisasm")


@pytest.fixture
def sources(tmp_path):
    """Kernels of which is known what the compiler must make."""
    (tmp_path / "k.cuh").write_text("""
template <int> __global__ void __launch_bounds__(96) shared(float* to) {
  __shared__ float held[100];
  held[threadIdx.x] = to[threadIdx.x];
  __syncthreads();
  to[threadIdx.x] = held[95 - threadIdx.x];
}
template <int> __global__ void local(float* to, const int* at) {
  float held[50] = {};
  for (int i = 0; i < 100; i++) held[at[i]] += to[i];
  for (int i = 0; i < 100; i++) to[i] = held[at[100 + i]];
}
template <int> __global__ void doubled(double* to) { to[0] = to[0] * to[1] + to[2]; }
template <int> __global__ void to_double(double* to, const float* from) { to[0] = from[0]; }
template <int> __global__ void to_float(float* to, const double* from) { to[0] = (float)from[0]; }
template <int> __global__ void of_integer(double* to, const int* from) { to[0] = from[0]; }
template <int> __global__ void to_integer(long long* to, const double* from) { to[0] = (long long)from[0]; }
template <int> __global__ void rounded(double* to) { to[0] = floor(to[1]); }
""")
    return tmp_path


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_small_kernels(sources, arch):
    shared = report.read_cubin(compile_kernel("k.cuh", "shared<0>", arch, sources))
    assert 0 < shared.registers < 32
    assert shared.static_shared_bytes == 400
    assert shared.local_bytes == 0
    assert shared.parameter_bytes == 8
    assert shared.max_threads == 96
    assert report.read_cubin(compile_kernel("k.cuh", "local<0>", arch, sources)).local_bytes >= 200


@needs_disassembler
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_row_that_is_not_good(sources, arch):
    for name in ("local", "doubled", "to_double", "to_float", "of_integer", "to_integer", "rounded"):
        made = compile_kernel("k.cuh", f"{name}<0>", arch, sources)
        row = report.row(Kernel("k.cuh", name, 128, 1, 0), made, KNOWN[arch])
        assert row.fits
        assert not row.good
        assert bool(row.double_instructions) == (name != "local")
        assert bool(row.local_instructions) == (name == "local")


def test_row_that_does_not_fit(sources):
    made = compile_kernel("k.cuh", "shared<0>", "sm_86", sources)
    assert not report.row(Kernel("k.cuh", "shared", 96, 1, 100 * 1024), made, KNOWN["sm_86"]).good
    assert not report.row(Kernel("k.cuh", "shared", 128, 1, 0), made, KNOWN["sm_86"]).good  # of 96 threads at most


@pytest.mark.parametrize("number", ["fp16", "fp32"])
def test_our_kernels_take_the_structs_that_we_hand_them(number):
    sizes = Sizes(number, 200, 200)
    p, back = plan(sizes, KNOWN["sm_90a"]), plan_backward(sizes, KNOWN["sm_90a"])
    for kernel in filter(None, (p.rows, p.spectrum, p.tables, back.rows, back.gradient)):
        made = report.read_cubin(cubin(kernel.header, kernel.name, "sm_90a"))
        assert made.parameter_bytes == ctypes.sizeof(STRUCTS[kernel.struct])
        assert made.max_threads == kernel.threads


@needs_disassembler
def test_our_forward_kernels():
    gpu = KNOWN["sm_90a"]
    for number, tensor in (("fp16", 24), ("fp32", 0)):
        kernel = plan(Sizes(number, 256, 256, pre_gate=True, post_gate=True), gpu).rows
        row = report.row(kernel, cubin(kernel.header, kernel.name, gpu.arch), gpu)
        assert row.good
        assert row.tensor_instructions == tensor
        assert row.blocks >= row.intended_blocks


def test_no_cubin():
    for code in (b"", b"\x7fELF\x02\x01" + bytes(10), b"something else altogether"):
        with pytest.raises(CudaEngineError, match="not a cubin"):
            report.read_cubin(Cubin(code, "kernel"))


@pytest.mark.parametrize(
    ("arch", "threads", "registers", "shared", "blocks"),
    [
        ("sm_90a", 128, 32, 0, 16),  # 2048 threads
        ("sm_90a", 32, 16, 0, 32),  # blocks
        ("sm_90a", 256, 128, 0, 2),  # 65536 registers
        ("sm_90a", 256, 129, 0, 1),  # which are given in pieces of 8 a thread
        ("sm_90a", 32, 16, 100 * 1024, 2),  # 228 KB, 1 of them a block the driver's
        ("sm_86", 512, 128, 60 * 1024, 1),
        ("sm_86", 512, 128, 100 * 1024, 0),
    ],
)
def test_resident_blocks(arch, threads, registers, shared, blocks):
    assert report.resident_blocks(KNOWN[arch], threads, registers, shared) == blocks
