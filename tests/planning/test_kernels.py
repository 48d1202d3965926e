"""The transforms that plans choose from."""

from math import prod

import pytest

from longconv_audio.engines.cuda import half_planes, long_cuts, single_kernels
from longconv_audio.engines.cuda.errors import NoKernelError
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.cuda.plans import Sizes
from longconv_audio.engines.cuda.single_kernels import plan_planes
from longconv_audio.engines.cuda.specialisations import plan, plan_backward
from longconv_audio.planning.kernels import fused_transforms, long_transforms

PRECISIONS = {"half": "fp16", "single": "fp32"}


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("gpu", KNOWN.values(), ids=KNOWN)
def test_rows_in_a_block_are_those_of_the_engine(gpu, precision, backward):
    rows = fused_transforms(precision, gpu, backward)
    for t in rows:
        sizes = Sizes(PRECISIONS[precision], t.points, t.points)
        made = plan_backward(sizes, gpu) if backward else plan(sizes, gpu)
        assert tuple(n for n in made.factors if n > 1) == t.factors
        assert made.points == t.points
    longer = Sizes(PRECISIONS[precision], 2 * rows[-1].points, 2 * rows[-1].points)
    with pytest.raises(NoKernelError):
        plan_backward(longer, gpu) if backward else plan(longer, gpu)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("gpu", KNOWN.values(), ids=KNOWN)
def test_longer_transforms_are_those_of_the_engine(gpu, precision):
    """One for each size up to the largest, with kernels that the engine has for such planes."""
    found = long_transforms(precision, gpu)
    least = 7 if precision == "single" else single_kernels.planes_points(gpu)[-1].bit_length()
    assert [t.points for t in found] == [1 << bits for bits in range(least, 29)]
    for t in found:
        outer, inner, used = long_cuts.transform(t.points, gpu, precision)
        assert (t.shapes, t.row.points, t.precision) == (outer, inner, used)
        assert prod(t.factors) == t.points
        assert max(t.factors) <= 32
        assert all(shape.fits(gpu) for shape in t.shapes)
        if t.precision == "half":
            assert len(t.shapes) == 1
            assert half_planes.planes_forward(inner, gpu).name
        else:
            assert plan_planes(inner, 1, 1, gpu).factors == tuple([1] * (3 - len(t.row.factors)) + [*t.row.factors])
