"""The overlap-save engines, each by its own plan, against float64 convolutions."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.signal

from longconv_audio.buffering import Stream
from longconv_audio.engines import fft
from longconv_audio.planning import Segment, plan_stream
from longconv_audio.routing import FilterMatrix, Path, from_array
from tests.measures import REQUIRED, snr

# (taps, factors of the transform): small ones, so that many blocks are run through.
MONARCH = [(1, (2, 6)), (100, (16, 20)), (700, (32, 54)), (3000, (64, 90)), (9000, (256, 300))]


def monarch_plan(taps, factors):
    n = factors[0] * factors[1]
    segment = Segment(taps, 0, 1, n, factors)
    return replace(plan_stream(taps), hop=n - taps + 1, rows=1, segments=(segment,))


def convolve(matrix, plan, x, workers, size=777):
    stream = Stream(matrix, plan, x.dtype, workers)
    pieces = [stream.push(x[:, n : n + size]) for n in range(0, x.shape[1], size)]
    pieces.append(stream.finish(stream.held + matrix.taps - 1))
    stream.engine.close()
    return np.concatenate(pieces, axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(("taps", "factors"), MONARCH)
def test_monarch(rng, taps, factors, workers, dtype):
    x = rng.standard_normal((2, 5 * factors[0] * factors[1] + 11)).astype(dtype)
    h = rng.standard_normal((2, taps)) * 10 ** (-3 * np.arange(taps) / taps)
    y = convolve(from_array(h), monarch_plan(taps, factors), x, workers)
    assert snr(y, scipy.signal.fftconvolve(x.astype(np.float64), h, axes=1)) > REQUIRED[np.dtype(dtype).name]


@pytest.mark.parametrize("workers", [1, 2])
def test_monarch_routes(rng, workers):
    """One input may feed several outputs, with shared taps or not; an output without a path is silent."""
    x, a, b = rng.standard_normal((2, 3000)), rng.standard_normal(300), rng.standard_normal(200)
    matrix = FilterMatrix(2, 4, (Path(0, 1, a), Path(1, 0, b), Path(3, 1, a)))
    y = convolve(matrix, monarch_plan(300, (16, 50)), x, workers)
    assert snr(y[0], np.convolve(x[1], a)) > 280
    assert snr(y[1, :3199], np.convolve(x[0], b)) > 280
    assert not y[2].any()
    np.testing.assert_array_equal(y[3], y[0])


def test_monarch_goes_on_after_a_past(rng):
    x, h = rng.standard_normal((1, 4000)), rng.standard_normal(500)
    stream = Stream(from_array(h, 1), monarch_plan(500, (16, 50)), np.float64)
    stream.push(rng.standard_normal((1, 1234)))
    stream.restart(x[:, :2500])
    y = np.concatenate([stream.push(x[:, 2500:]), stream.finish(stream.held)], axis=1)
    assert snr(y[0], np.convolve(x[0], h)[2500:4000]) > 280


@pytest.mark.parametrize("taps", [48_000, 288_000])
def test_what_the_planner_chooses_for_long_filters(rng, taps):
    """The real sizes, at least one block and a bit."""
    plan = plan_stream(taps, inputs=1, outputs=1, paths=1, workers=2)
    x = rng.standard_normal((1, plan.rows * plan.hop + 20_000)).astype(np.float32)
    h = rng.standard_normal(taps) * 10 ** (-3 * np.arange(taps) / taps)
    y = convolve(from_array(h, 1), plan, x, 2, size=100_000)
    assert snr(y[0], scipy.signal.fftconvolve(x[0].astype(np.float64), h)) > 130


def test_long_filters_are_convolved_in_two_steps():
    assert plan_stream(288_000, inputs=2, outputs=2, paths=2, workers=2).segments[0].factors is not None
    assert plan_stream(288_000, inputs=2, outputs=2, paths=4, parallel=False).segments[0].factors is None


@pytest.mark.parametrize("plan", [monarch_plan(500, (16, 50)), plan_stream(500, block_size=256, workers=2)])
def test_a_failure_in_a_thread_arrives_and_leaves_the_others_free(rng, plan, monkeypatch):
    stream = Stream(from_array(rng.standard_normal(500), 4), plan, np.float64, 2)
    monkeypatch.setattr(fft, "irfft", lambda *_: 1 / 0)
    monkeypatch.setattr(fft, "columns_irfft", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        stream.push(rng.standard_normal((4, 50 * stream.span)))
    stream.engine.close()


@pytest.mark.parametrize("cores", [1, 2, 8, 64, 192])
def test_many_cores_do_not_make_the_blocks_longer_without_end(cores):
    """A mono file, and a matrix of two outputs."""
    for shape in ({"inputs": 1, "outputs": 1, "paths": 1}, {"inputs": 2, "outputs": 2, "paths": 4, "parallel": False}):
        plan = plan_stream(288_000, workers=cores, **shape)
        assert plan.memory < 200 << 20
        assert plan.rows * plan.hop < 40 * 48_000
