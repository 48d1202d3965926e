"""Matrices of filters as calls of `long_conv`, on torch's CPU."""

import numpy as np
import pytest
import torch

from longconv_audio.devices.routes import Routes, grouped
from longconv_audio.routing import FilterMatrix, Path, from_array, route
from tests.measures import REQUIRED, snr


def random_matrix(rng, inputs, outputs, paths, filters):
    """Any path may be there several times, and share its filter with any other."""
    taps = [rng.standard_normal(length) for length in rng.integers(1, 40, filters)]
    return FilterMatrix(
        inputs,
        outputs,
        tuple(
            Path(int(rng.integers(outputs)), int(rng.integers(inputs)), taps[rng.integers(filters)])
            for _ in range(paths)
        ),
    )


@pytest.mark.parametrize(("dtype", "name"), [(torch.float32, "float32"), (torch.float64, "float64")])
def test_any_matrix(rng, dtype, name):
    for _ in range(30):
        matrix = random_matrix(rng, *rng.integers(1, 7, 2), rng.integers(1, 20), rng.integers(1, 5))
        taps, n = matrix.taps, int(rng.integers(1, 60))
        x = torch.from_numpy(rng.standard_normal((matrix.inputs, n + taps - 1))).to(dtype)
        out = torch.full((matrix.outputs, n), torch.nan, dtype=dtype)
        Routes(matrix, taps, n + taps - 1, dtype, torch.device("cpu")).convolve(x, out)
        expected = np.zeros((matrix.outputs, n))
        for path in matrix.paths:
            whole = np.convolve(x[path.input].double().numpy(), path.taps)
            expected[path.output] += whole[taps - 1 : taps - 1 + n]
        assert snr(out.double().numpy(), expected) > REQUIRED[name]


def test_silence_where_no_path_leads():
    matrix = FilterMatrix(1, 2, (Path(1, 0, np.ones(1)),))
    out = torch.full((2, 5), torch.nan)
    Routes(matrix, 1, 5, torch.float32, torch.device("cpu")).convolve(torch.ones(1, 5), out)
    assert torch.equal(out, torch.tensor([[0.0], [1.0]]).expand(2, 5))


def calls(matrix):
    return [(first, len(filters), len(paths)) for first, filters, paths in grouped(matrix)]


def test_channels_go_in_one_call(rng):
    """(first, filters, rows)"""
    h = rng.standard_normal((4, 10))
    assert calls(from_array(h)) == [(True, 4, 4)]
    assert calls(from_array(h[0], 64)) == [(True, 1, 64)]
    assert calls(route(h, 2, "true-stereo")) == [(True, 2, 2), (False, 2, 2)]
    assert calls(from_array(rng.standard_normal((2, 16, 9)))) == [(True, 2, 2)] + 15 * [(False, 2, 2)]


def test_a_shared_filter_is_transformed_once_a_call(rng):
    """Crossfeed: the same filter straight on both sides, another across."""
    straight, across = rng.standard_normal((2, 10))
    matrix = FilterMatrix(2, 2, (Path(0, 0, straight), Path(0, 1, across), Path(1, 0, across), Path(1, 1, straight)))
    assert calls(matrix) == [(True, 1, 2), (False, 1, 2)]


def test_filters_of_a_call_have_equally_many_users(rng):
    a, b, c = rng.standard_normal((3, 10))
    matrix = FilterMatrix(1, 5, tuple(Path(o, 0, taps) for o, taps in enumerate((a, b, a, c, b))))
    assert calls(matrix) == [(True, 1, 1), (True, 2, 4)]
