"""The half-precision kernels of complex rows on a GPU: `pytest -m gpu`."""

import numpy as np
import pytest
from gpu import needs_gpu
from planes import Planes, decaying, white

from longconv_audio.engines.cuda import half_planes
from longconv_audio.engines.cuda.errors import NoKernelError
from longconv_audio.engines.cuda.half_kernels import HALF_FACTORS
from longconv_audio.engines.cuda.launch import launcher

pytestmark = needs_gpu
POINTS = [int(np.prod(factors)) for factors in HALF_FACTORS]


@pytest.mark.parametrize("points", POINTS)
def test_rows_and_gradients(points, rng):
    """And a second time bit for bit the same, over what they come of."""
    on = launcher(0)
    try:
        half_planes.planes_backward(points, on.gpu)
    except NoKernelError as error:
        pytest.skip(str(error))
    shape = (5, 2, 3, points)
    x, g = (white(lambda *of: rng.standard_normal(of), *shape) for _ in range(2))
    k = decaying(lambda *of: rng.standard_normal(of), *shape[1:])
    levels, g_levels = (rng.integers(-3, 4, (*shape[:2], points // 32)) for _ in range(2))

    def results(**options):
        forward, backward = (Planes(x, k, levels, on=on, **options) for _ in range(2))
        return forward.forward(), *backward.gradients(g, g_levels)

    p = Planes(x, k, levels, on=on)
    wanted = p.expected(), *p.expected_gradients(g, g_levels)
    for got, again, right in zip(results(), results(in_place=True, gap=4), wanted, strict=True):
        assert 20 * np.log10(np.linalg.norm(right) / np.linalg.norm(got - right)) >= 57
        np.testing.assert_array_equal(got, again)
