"""What is planned: which kernel, how large, and whether C++ says the same of it."""

import contextlib
import re
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "emulator"))
import harness

from longconv_audio.engines.cuda.errors import NoKernelError
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.cuda.specialisations import (
    GRID_Y,
    HALF_FACTORS,
    SINGLE_FACTORS,
    HalfShape,
    SingleShape,
    Sizes,
    all_kernels,
    plan,
    plan_backward,
)
from longconv_audio.engines.cuda.tables import single_tables

H200, A6000 = KNOWN["sm_90a"], KNOWN["sm_86"]
needs_compiler = pytest.mark.skipif(harness.compiler() is None, reason="no C++ compiler")


@needs_compiler
def test_sizes_are_those_of_the_half_kernels():
    asked, wanted, kernels = [], [], []
    for s in [HalfShape(*factors, "fp16") for factors in HALF_FACTORS]:
        f, filters = s.factors, ("threads", "rows", "blocks_per_multiprocessor", "N1", "N2", "N3")
        asked += [f"Tables<{f}>::bytes", *(f"FilterShape<{f}>::{fact}" for fact in filters)]
        wanted += [s.tables_bytes, s.of_filters.threads, s.of_filters.rows, s.of_filters.blocks, *s.of_filters.factors]
        for gpu, aligned in product((H200, KNOWN["sm_80"], A6000), (True, False)):
            if s.forward_keep(gpu) is not None:
                kernels += [s.forward(gpu, True, True, aligned, s.skips), s.forward(gpu, False, True, aligned)]
            if s.backward_keep(gpu) is not None:
                kernels += [s.backward(gpu, True, True, aligned, s.skips), s.backward(gpu, False, False, aligned)]
    for kernel in kernels:
        form = re.sub(
            "half_(forward|backward)_(warp|group)", lambda m: m[2].capitalize() + m[1].capitalize(), kernel.name
        )
        asked += [f"{form}::threads", f"{form}::shared_bytes", f"{form}::blocks_per_multiprocessor"]
        wanted += [kernel.threads, kernel.shared_bytes, kernel.blocks]
    library = harness.build("half.cuh", f"half_tables<{f}>", facts=tuple(asked))
    assert harness.facts(library, len(asked)) == wanted


@needs_compiler
def test_sizes_are_those_of_the_single_kernels():
    asked, wanted = [], []
    for factors in SINGLE_FACTORS:
        s = SingleShape(*factors)
        asked += [f"{s}::threads", f"{s}::rows", f"{s}::blocks_per_multiprocessor", f"single::Tables<{s}>::entries"]
        wanted += [s.threads, s.rows, s.blocks, len(single_tables(*factors))]
        for cells in ("whole", "halved"):
            asked.append(f"single::exchange_bytes<{s}, single::Cells::{cells}>()")
            wanted.append(s.shared_bytes(cells))
        for gpu in (H200, KNOWN["sm_80"], A6000):
            cells, keep = s.kept(gpu)
            kernel = s.backward(gpu, "whole", True, True, True)
            options = f"<{s}, single::Cells::{cells}, single::Keep::{keep}>()"
            asked += [f"single::backward_bytes{options}", f"single::backward_blocks{options}"]
            wanted += [kernel.shared_bytes, kernel.blocks]
    kernel = SingleShape(*SINGLE_FACTORS[0]).backward(H200, "padded", False, False, True)
    library = harness.build(kernel.header, kernel.name, kernel.struct, facts=tuple(asked))
    assert harness.facts(library, len(asked)) == wanted


@pytest.mark.parametrize("gpu", KNOWN.values(), ids=lambda gpu: gpu.arch)
def test_every_kernel_fits_its_device(gpu):
    kernels = list(all_kernels(gpu))
    assert len({k.name for k in kernels}) == len(kernels)
    for kernel in kernels:
        assert kernel.shared_bytes <= gpu.shared_per_block, kernel.name


@pytest.mark.parametrize("gpu", KNOWN.values(), ids=lambda gpu: gpu.arch)
@pytest.mark.parametrize("number", ["fp16", "bf16", "fp32"])
def test_every_planned_kernel_is_in_the_list(gpu, number):
    listed = {k.name for k in all_kernels(gpu)}
    for length in (1, 100, 128, 200, 256, 1000, 1024, 3000, 4096, 8000, 8192):
        for out_length in (length, length + 90):
            for *gates, sparse in ((False, True, False), (True, True, True)):
                sizes = Sizes(number, length, out_length, 3, 5, False, *gates, length % 8 == 0, sparse=sparse)
                try:
                    p = plan(sizes, gpu)
                except NoKernelError:
                    assert gpu.shared_per_block < 100 * 1024 or out_length > 8192
                    continue
                kernels = [p.rows, p.spectrum, p.tables]
                with contextlib.suppress(NoKernelError):
                    p = plan_backward(sizes, gpu)
                    kernels += [p.rows, p.gradient, p.spectrum, p.tables]
                for kernel in filter(None, kernels):
                    assert kernel.name in listed
                    assert kernel.shared_bytes <= gpu.shared_per_block


@pytest.mark.parametrize(
    ("length", "out_length", "points", "extent"),
    [(1, 1, 128, "padded"), (128, 128, 128, "whole"), (127, 127, 128, "padded"), (100, 150, 128, "doubled"),
     (100, 156, 128, "doubled"), (100, 158, 256, "padded"), (129, 129, 256, "padded"), (16384, 16384, 16384, "whole"),
     (2048, 2048, 2048, "whole")],
)  # fmt: skip
def test_single_size_and_extent(length, out_length, points, extent):
    p = plan(Sizes("fp32", length, out_length), H200)
    assert p.points == points
    assert f"Extent::{extent}" in p.rows.name


@pytest.mark.parametrize(
    ("length", "points"), [(1, 256), (256, 256), (257, 512), (1025, 2048), (2049, 4096), (16384, 16384)]
)
def test_half_size(length, points):
    assert plan(Sizes("fp16", length, length), H200).points == points


@pytest.mark.parametrize("number", ["fp16", "fp32"])
def test_rows_that_fit_no_block(number):
    with pytest.raises(NoKernelError, match=r"16385 .*sm_90a.*16384 .*engine='torch'"):
        plan(Sizes(number, 16385, 16385), H200)
    smaller = plan(Sizes("fp32", 16384, 16384), A6000)
    assert "halved" in smaller.rows.name
    with pytest.raises(NoKernelError, match="sm_86"):
        plan(Sizes("fp16", 16384, 16384), A6000)


def test_prepared_spectrum_decides_the_size():
    assert plan(Sizes("fp32", 100, 100, least_points=1024), H200).points == 1024
    assert plan(Sizes("fp16", 100, 100, least_points=1024), H200).points == 1024


@pytest.mark.parametrize("number", ["fp16", "fp32"])
@pytest.mark.parametrize("length", [256, 1024, 16384])
@pytest.mark.parametrize("batch", [1, 3, 64, 10**6])
@pytest.mark.parametrize("channels", [1, 64, 10**5])
def test_rows_are_dealt_within_the_grid(number, length, batch, channels):
    p = plan(Sizes(number, length, length, batch, channels), H200)
    assert p.rows_per_block >= 1
    assert -(-batch // p.rows_per_block) <= GRID_Y


def test_filter_of_each_items_own_has_blocks_of_its_own():
    assert plan(Sizes("fp16", 1000, 1000, 50, 1, filter_per_item=True), H200).rows_per_block == 1


@pytest.mark.parametrize("factors", SINGLE_FACTORS)
def test_single_tables_are_roots_of_unity(factors):
    table = single_tables(*factors)
    assert table.dtype == np.complex64
    np.testing.assert_allclose(np.abs(table), 1, atol=1e-6)


def test_sums_are_cut_by_sizes_alone():
    for number, length in (("fp16", 1024), ("fp32", 1000), ("fp32", 8192)):
        for batch, channels in ((64, 1), (64, 768), (3, 5)):
            sizes = Sizes(number, length, length, batch, channels)
            cuts = {plan_backward(sizes, gpu).rows_per_block for gpu in KNOWN.values()}
            assert len(cuts) == 1
