"""What is planned of short convolutions, and whether C++ says the same of it."""

import re
import sys
from itertools import product
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "emulator"))
import harness

from longconv_audio.engines.cuda import report, short_kernels
from longconv_audio.engines.cuda.compiler import compile_kernel, compiler_version
from longconv_audio.engines.cuda.errors import CompilerError, NoKernelError
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.cuda.specialisations import all_kernels
from longconv_audio.short_convolution import MOST_TAPS

try:
    compiler_version()
    NO_COMPILER = ""
except CompilerError as error:
    NO_COMPILER = str(error)


GATES = ((False, False), (True, False), (False, True))


@pytest.mark.skipif(harness.compiler() is None, reason="no C++ compiler")
def test_sizes_are_those_of_the_kernels():
    asked = ["short_conv::tile", "short_conv::group", "short_conv::warps", "short_conv::threads_of_sums / 32"]
    wanted = [short_kernels.TILE, short_kernels.GROUP, short_kernels.WARPS, short_kernels.WARPS]
    for number, pre_gate, side in product(["fp32"], (False, True), ("none", "gate", "input")):
        kernel = short_kernels.rows(number, pre_gate, side, True)
        tag, flag = f"short_conv::{number.capitalize()}", str(pre_gate).lower()
        asked.append(f"short_conv::Room<{tag}, {flag}, short_conv::Side::{side}>::of_block")
        asked.append(f"short_conv::blocks(short_conv::Side::{side}, {flag})")
        wanted += [kernel.shared_bytes, kernel.blocks]
    library = harness.build("short_rows.cuh", short_kernels.rows("fp32", False, "none", True).name, facts=tuple(asked))
    assert harness.facts(library, len(asked)) == wanted
    asked, wanted = ["short_conv::most_taps"], [short_kernels.MOST_TAPS]
    for pre_gate in (False, True):
        flag = str(pre_gate).lower()
        asked += [f"4 * short_conv::SumStages<short_conv::Fp16, {flag}>::bytes"]
        wanted.append(short_kernels.product_sums("fp16", pre_gate, True).shared_bytes)
    kernel = short_kernels.product_sums("fp16", True, True)
    library = harness.build(kernel.header, kernel.name, facts=tuple(asked))
    assert harness.facts(library, len(asked)) == wanted
    asked, wanted = ["short_conv::gram_slots"], [short_kernels.FUSED_SLOTS]
    wanted_steps = {4: 2, 17: 2, 18: 5, 64: 5, 65: 5, 66: 10, 135: 10}
    for (slots, steps), pre_gate, side in product(wanted_steps.items(), (False, True), ("gate", "input")):
        if side == "input" and slots > short_kernels.FUSED_SLOTS:
            continue
        kernel = short_kernels.products("fp16", slots, pre_gate, side, True)
        flags = f"{steps}, {str(pre_gate).lower()}, short_conv::Side::{side}"
        stages = f"short_conv::ProductStages<short_conv::Fp16, {flags}>"
        asked.append(f"4 * ({stages}::bytes + 4 * short_conv::padded_slots({steps}))")
        asked.append(f"short_conv::blocks_of_products({flags})")
        wanted += [kernel.shared_bytes, kernel.blocks]
    library = harness.build(kernel.header, kernel.name, facts=tuple(asked))
    assert harness.facts(library, len(asked)) == wanted
    asked, wanted = ["short_conv::times_of_few"], [short_kernels.TIMES_OF_FEW]
    for taps, gates in product((4, 16), GATES):
        kernel = short_kernels.channels("fp16", taps, *gates, True)
        asked.append(f"short_conv::blocks_of_few({taps}, {str(any(gates)).lower()})")
        wanted.append(kernel.blocks)
    library = harness.build(kernel.header, kernel.name, facts=tuple(asked))
    assert harness.facts(library, len(asked)) == wanted
    asked = ["short_conv::times_of_tile", "short_conv::times", "short_conv::warps_of_channels"]
    kernel = short_kernels.channels("fp16", 128, False, False, True)
    library = harness.build(kernel.header, kernel.name, facts=tuple(asked))
    assert harness.facts(library, 3) == [short_kernels.TIMES, short_kernels.GROUP, short_kernels.WARPS]


def test_as_many_taps_as_the_kernels_have_room_for():
    assert short_kernels.MOST_TAPS == MOST_TAPS


@pytest.mark.parametrize("gpu", KNOWN.values(), ids=lambda gpu: gpu.arch)
def test_every_kernel_is_in_the_list_and_fits(gpu):
    listed = [kernel for kernel in all_kernels(gpu) if kernel.name.startswith("short_conv::")]
    assert listed == list(short_kernels.all_kernels())
    for kernel in listed:
        assert kernel.shared_bytes <= gpu.shared_per_block


@pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER)
@pytest.mark.skipif(report.disassembler() is None, reason="no nvdisasm")
@pytest.mark.parametrize("kernel", [k for k in short_kernels.all_kernels() if "true>" in k.name], ids=lambda k: k.name)
def test_the_compiler_keeps_the_arithmetic(kernel):
    """NVRTC parses some sources otherwise than the emulator's compiler, and says nothing of what it then leaves out."""
    if "Bf16" in kernel.name:
        pytest.skip("as fp16")
    found = report.count_instructions(compile_kernel(kernel.header, kernel.name, "sm_90a").code)
    # At the least: a step of products, or each of eight taps with each of eight samples.
    assert found["HMMA"] >= 4 if "short_product" in kernel.name else found["FFMA"] >= 32, found


def test_no_loop_pragma_is_what_a_condition_decides_on():
    """Where `if constexpr` discards one, NVRTC drops code that follows, without a word."""
    sources = list(harness.CSRC.glob("*.cuh"))
    assert len(sources) > 20
    for source in sources:
        assert not re.search(r"if constexpr[^;{}]*\)\s*(NO_)?UNROLL", source.read_text()), source


@pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER)
@pytest.mark.parametrize("arch", ["sm_80", "sm_90a", "sm_100"])
def test_those_that_hold_most_stay_in_registers(arch):
    kernels = [
        short_kernels.rows("fp32", True, "input", True),
        *(short_kernels.products("fp16", slots, True, "none", True) for slots in (16, 64, 135)),
        short_kernels.products("fp16", 17, True, "input", True),
        short_kernels.channel_sums("fp16", True, False),
        *(short_kernels.channels("fp16", taps, *gates, False) for taps in (4, 16) for gates in GATES),
    ]
    for kernel in kernels:
        row = report.row(kernel, compile_kernel(kernel.header, kernel.name, arch), KNOWN[arch])
        assert row.good, row


@pytest.mark.parametrize("tiles", [1, 7, 100, 10**6])
@pytest.mark.parametrize("channels", [1, 3, 768, 10**6])
def test_chunks_cover_the_tiles(tiles, channels):
    chunks = short_kernels.chunks_of(tiles, channels)
    assert (chunks.number - 1) * chunks.tiles < tiles <= chunks.number * chunks.tiles
    assert chunks.number * channels <= 2 * max(short_kernels.SUMS, channels)


def test_what_does_not_fit_32_bits_is_refused():
    with pytest.raises(NoKernelError, match=r"2147483647 samples .* use engine='torch'"):
        short_kernels.blocks_of(1, 2**31 - 1)
    with pytest.raises(NoKernelError, match="by 4294967296 warps"):
        short_kernels.blocks_of(2**32, 10)
    assert short_kernels.blocks_of(9, 10) == 3
