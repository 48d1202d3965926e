"""The kernels of complex rows as the host plans them, and as C++ has them."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "emulator"))
import harness

from longconv_audio.engines.cuda import half_planes
from longconv_audio.engines.cuda.errors import NoKernelError
from longconv_audio.engines.cuda.gpus import KNOWN

H200, A6000 = KNOWN["sm_90a"], KNOWN["sm_86"]


@pytest.mark.skipif(harness.compiler() is None, reason="no C++ compiler")
def test_sizes_are_those_of_the_kernels():
    kernels = {kernel.name: kernel for gpu in KNOWN.values() for kernel in half_planes.all_kernels(gpu)}
    asked, wanted = [], []
    for kernel in kernels.values():
        form = re.sub(
            "half_planes_(forward|backward)_(warp|group)",
            lambda m: f"{m[2].capitalize()}Planes{m[1].capitalize()}",
            kernel.name,
        )
        asked += [f"{form}::threads", f"{form}::shared_bytes", f"{form}::blocks_per_multiprocessor"]
        wanted += [kernel.threads, kernel.shared_bytes, kernel.blocks]
    library = harness.build("half_planes.cuh", kernel.name, facts=tuple(asked))
    assert harness.facts(library, len(asked)) == wanted


def test_rows_that_no_kernel_takes():
    with pytest.raises(NoKernelError, match=r"rows of 3000 .*expected one of \[256, .*16384\]"):
        half_planes.planes_forward(3000, H200)
    with pytest.raises(NoKernelError, match=r"Factors<32, 16, 32>.* sm_86 has 101376: take rows of fewer points"):
        half_planes.planes_forward(16384, A6000)


def test_rows_are_dealt_so_that_the_device_is_busy():
    assert half_planes.forward_rows(16384, H200, 64, 1) == 1
    assert half_planes.forward_rows(16384, H200, 64, 768) == 64
    assert half_planes.forward_rows(16384, H200, 64, 768, filter_per_item=True) == 1
    assert half_planes.forward_rows(1024, H200, 3, 1) == 4
