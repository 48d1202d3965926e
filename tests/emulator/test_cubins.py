"""The kernels as compiled for GPUs that need not be there. All specialisations: ``python tests/emulator/cubins.py``."""

import cubins
import pytest
from half import FACTORS
from test_half import TENSOR_INSTRUCTIONS


@pytest.mark.parametrize(
    ("arch", "points"),
    [("sm_80", 1024), ("sm_86", 512), ("sm_86", 256), ("sm_89", 4096), ("sm_80", 8192), ("sm_90a", 16384)],
)
def test_half_precision_fits_its_registers(arch, points):
    pytest.importorskip("cuda.core", reason="cuda-core compiles the kernels")
    if cubins.tool("cuobjdump") is None or cubins.tool("nvdisasm") is None:
        pytest.skip("no cuobjdump and nvdisasm, which triton's wheel brings")
    for report in cubins.compile_kernels("half.cuh", cubins.half_kernels([points], every=False), arch):
        # 227 KB, which two groups of warps ask for, is sm_90's; its code for others is of no use.
        if report.kernel.endswith(", 2>") and arch != "sm_90a":
            continue
        assert report.fits, report
        if report.kernel.startswith("half_forward"):
            # All products are unrolled but for loops over columns and k1, which each of 8 warps goes through in turn.
            assert report.count(cubins.TENSOR) <= TENSOR_INSTRUCTIONS[points]
        elif "filter" in report.kernel or "tables" in report.kernel:
            assert report.count(cubins.TENSOR) == 0


def test_every_specialisation_has_a_name():
    names = cubins.half_kernels(list(FACTORS))
    assert len(names) == len(set(names)) > 200
