"""What is planned of norms over channels, and whether C++ and the device's compiler say the same of it."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "emulator"))
import harness

from longconv_audio.engines.cuda import channel_norm, norm_kernels, report
from longconv_audio.engines.cuda.compiler import compile_kernel, compiler_version
from longconv_audio.engines.cuda.errors import CompilerError
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.cuda.specialisations import all_kernels

try:
    compiler_version()
    NO_COMPILER = ""
except CompilerError as error:
    NO_COMPILER = str(error)


@pytest.mark.skipif(harness.compiler() is None, reason="no C++ compiler")
def test_as_many_blocks_as_in_the_sources():
    asked, wanted = ["channel_norm::group"], [norm_kernels.GROUP]
    for kernel in norm_kernels.all_kernels():
        _, _, _, warps, held, aligned = kernel.name.split("<")[1].rstrip(">").split(", ")
        most = "true" if "backward<short_conv::Fp32, short_conv::Fp32" in kernel.name else "false"
        asked.append(f"channel_norm::blocks({warps}, {held}, {aligned}, {most})")
        wanted.append(kernel.blocks)
    kernel = norm_kernels.forward(("fp32", "fp32"), 13, False)
    assert harness.facts(harness.build(kernel.header, kernel.name, facts=tuple(asked)), len(asked)) == wanted


@pytest.mark.parametrize("gpu", KNOWN.values(), ids=lambda gpu: gpu.arch)
def test_every_kernel_is_in_the_list_and_fits(gpu):
    listed = [kernel for kernel in all_kernels(gpu) if kernel.name.startswith("channel_norm::")]
    assert listed == list(norm_kernels.all_kernels())
    assert len({kernel.name for kernel in listed}) == len(listed)
    for kernel in listed:
        assert kernel.shared_bytes <= gpu.shared_per_block


@pytest.mark.parametrize("channels", [1, 64, 65, 128, 129, 2048])
def test_a_call_gets_a_kernel_of_the_list(channels):
    for types in norm_kernels.TYPES:
        for make in (norm_kernels.forward, norm_kernels.backward):
            assert make(types, channels, True) in list(norm_kernels.all_kernels())


@pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER)
@pytest.mark.parametrize("arch", ["sm_80", "sm_90a", "sm_100"])
def test_those_that_hold_most_stay_in_registers(arch):
    for types in (("fp32", "fp32"), ("fp32", "bf16"), ("bf16", "bf16")):
        for channels, aligned in ((64, True), (64, False), (128, True), (300, True)):
            kernel = norm_kernels.backward(types, channels, aligned)
            compiled = report.read_cubin(compile_kernel(kernel.header, kernel.name, arch))
            assert not compiled.local_bytes, kernel.name


@pytest.mark.parametrize("tiles", [1, 511, 512, 513, 4000, 10**6])
def test_chunks_cover_the_tiles(tiles):
    chunks = norm_kernels.chunks_of(tiles)
    assert (chunks.number - 1) * chunks.tiles < tiles <= chunks.number * chunks.tiles
    assert chunks.number <= norm_kernels.SUMS


def test_what_there_is_no_kernel_for():
    x = torch.empty(2, 3, 5)
    assert "from torch.float64" in channel_norm.why_not(x.double(), torch.float64)
    assert "no samples" in channel_norm.why_not(x[..., :0], torch.float32)
    assert "3000 channels" in channel_norm.why_not(x.new_empty(1, 3000, 2), torch.float32)
    assert "32 bits" in channel_norm.why_not(x[:1, :1, :1].expand(1, 1, 2**31), torch.float32)
    assert "not (C,)" in channel_norm.why_not(x, torch.float32, torch.ones(3), torch.ones(4))
    assert "not (C,)" in channel_norm.why_not(x, torch.float32, torch.ones(3, device="meta"))
    assert "NVIDIA GPUs" in channel_norm.why_not(x, torch.float32)
