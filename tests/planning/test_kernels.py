"""The transforms that plans choose from."""

from math import prod

import pytest

from longconv_audio.engines.cuda.errors import NoKernelError
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.cuda.plans import Sizes
from longconv_audio.engines.cuda.specialisations import plan, plan_backward
from longconv_audio.planning.kernels import transforms

PRECISIONS = {"half": "fp16", "single": "fp32"}


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("gpu", KNOWN.values(), ids=KNOWN)
def test_rows_in_a_block_are_those_of_the_engine(gpu, precision, backward):
    rows = [t for t in transforms(precision, gpu, backward) if not t.outer]
    for t in rows:
        sizes = Sizes(PRECISIONS[precision], t.points, t.points)
        made = plan_backward(sizes, gpu) if backward else plan(sizes, gpu)
        assert tuple(n for n in made.factors if n > 1) == t.factors
        assert made.points == t.points
    longer = Sizes(PRECISIONS[precision], 2 * rows[-1].points, 2 * rows[-1].points)
    with pytest.raises(NoKernelError):
        plan_backward(longer, gpu) if backward else plan(longer, gpu)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_transforms_with_outer_passes(precision):
    found = transforms(precision, KNOWN["sm_90a"])
    assert len({(t.outer, t.row) for t in found}) == len(found)
    for t in found:
        assert prod(t.factors) == t.points
        assert max(t.factors) <= 32
        assert len(t.outer) <= 2
    assert max(t.points for t in found) >= 1 << 24
