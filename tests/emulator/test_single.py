"""The single-precision kernels against float64, on the emulator."""

import harness
import numpy as np
import pytest
from single_host import SHAPES, Engine, Filter, reference, reference_gradients


def snr(result, expected) -> float:
    noise = np.sum((result - expected) ** 2)
    return float(np.inf if noise == 0 else 10 * np.log10(np.sum(expected**2) / noise))


def decaying(rng, shape):
    return (rng.standard_normal(shape) * np.exp(-6.9 * np.arange(shape[-1]) / shape[-1])).astype(np.float32)


@pytest.mark.parametrize("points", SHAPES)
def test_b(points, seed):
    rng = np.random.default_rng(seed)
    engine = Engine(SHAPES[points], seed, "halved" if points==16384 else "whole")
    L = points - 3
    n = lambda *s: engine.device.put(rng.standard_normal(s).astype(np.float32))
    B=3
    u,pre,post,dy = n(B,2,L),n(B,2,L),n(B,2,L),n(B,2,L)
    k = decaying(rng, (1, 1, L)); d=rng.standard_normal((1,1)).astype(np.float32)
    lag=Filter(7)
    spec = engine.spectrum(k, d, lag, length=L, out_length=L)
    y = engine.convolve(u, spec, pre, post)
    print(points, snr(y, reference(u, k, d, pre, post,lag)), engine.counters)
    du,dpre,dpost,sums = engine.gradients(u, spec, dy, pre, post, rows_per_block=2, keep="sums_in_shared" if points==16384 else "in_shared")
    print(engine.counters)
    dk,dd = engine.filter_gradient(sums,k,lag=lag,skip=True,length=L,out_length=L)
    ref = reference_gradients(u,k,dy,d,pre,post,lag)
    for name,got in dict(du=du,dk=dk,dd=dd,dpre=dpre,dpost=dpost).items(): print(name, snr(got,ref[name]))
