"""How the fused kernels are used on a GPU: graphs, streams, threads, memory and time. `pytest -m gpu`."""

import gc
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from gpu import DTYPES, HALF, SINGLE, needs_gpu, random

from longconv_audio import FilterSpectrum, long_conv, prepare
from longconv_audio.engines.cuda import cache, launch
from longconv_audio.engines.cuda.errors import LaunchError
from longconv_audio.engines.cuda.gpus import gpu_of
from longconv_audio.engines.cuda.specialisations import Sizes, plan, plan_backward

pytestmark = needs_gpu


@pytest.fixture
def fresh():
    """A process that has loaded nothing yet."""
    launch.launcher.cache_clear()
    yield
    torch.cuda.synchronize()


def call_of(dtype, length=1000, mode="causal", offset=0, seed=0):
    """Arguments of a gated call, all with gradients, and a gradient of y."""
    samples = 2 * length - 1 if mode == "full" else length
    made = {
        "u": random(5, 4, length, dtype=dtype, seed=seed),
        "k": random(4, length, dtype=SINGLE, seed=seed + 1),
        "d": random(4, dtype=SINGLE, seed=seed + 2),
        "pre_gate": random(5, 4, length, dtype=dtype, seed=seed + 3),
        "post_gate": random(5, 4, samples, dtype=dtype, seed=seed + 4),
    }
    options = {"mode": mode, "offset": offset, "engine": "cuda"}
    return {n: t.requires_grad_() for n, t in made.items()}, options, random(5, 4, samples, dtype=dtype, seed=seed + 5)


def run(tensors, options, dy):
    y = long_conv(**tensors, **options)
    return y, *torch.autograd.grad(y, tensors.values(), dy)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("length", "mode", "offset"), [(1000, "causal", 0), (4096, "same", 3), (700, "full", 9)])
def test_a_graph_captures_the_call_and_its_gradients(fresh, dtype, length, mode, offset):
    tensors, options, dy = call_of(dtype, length, mode, offset)
    prepare(**tensors, **options, backward=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = run(tensors, options, dy)
    for seed in (10, 20):
        others, _, other_dy = call_of(dtype, length, mode, offset, seed)
        with torch.no_grad():
            for name, t in tensors.items():
                t.copy_(others[name])
            dy.copy_(other_dy)
        graph.replay()
        torch.cuda.synchronize()
        for a, b in zip(results, run(others, options, other_dy), strict=True):
            assert torch.equal(a, b)


def test_a_graph_of_a_prepared_spectrum_and_of_wider_signals(fresh):
    u, k = random(3, 4, 2000, dtype=SINGLE), random(4, 2000, dtype=SINGLE)
    spectrum = FilterSpectrum(k, 2000, precision="half")
    prepare(u, spectrum, precision="half")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = long_conv(u, spectrum, precision="half")
    u.copy_(random(3, 4, 2000, dtype=SINGLE, seed=7))
    graph.replay()
    assert torch.equal(y, long_conv(u, spectrum, precision="half"))


def test_torchs_own_graphed_callables(fresh):
    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.k = torch.nn.Parameter(random(4, 500, dtype=SINGLE))

        def forward(self, u):
            return long_conv(u, self.k, engine="cuda")

    layer, u = Layer(), random(3, 4, 500).requires_grad_()
    graphed = torch.cuda.make_graphed_callables(Layer(), (u.detach().clone().requires_grad_(),))
    graphed.load_state_dict(layer.state_dict())
    y, z = layer(u), graphed(u)
    assert torch.equal(y, z)
    dy = torch.randn_like(y)
    for a, b in zip(torch.autograd.grad(y, (u, layer.k), dy), torch.autograd.grad(z, (u, graphed.k), dy), strict=True):
        assert torch.equal(a, b)


def test_a_graph_of_what_was_not_prepared_is_refused_in_words(fresh):
    tensors, options, _ = call_of(HALF)
    with (
        pytest.raises(LaunchError, match=r"call longconv_audio\.prepare"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        long_conv(**tensors, **options)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_current_stream_is_the_one(dtype):
    """Inputs that a stream is still busy with are waited for there, and there alone."""
    tensors, options, dy = call_of(dtype)
    right = run(tensors, options, dy)
    late = {n: torch.zeros_like(t) for n, t in tensors.items()}
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(400_000_000)  # a fifth of a second
        with torch.no_grad():
            for n, t in tensors.items():
                late[n].copy_(t)
        results = run({n: t.requires_grad_() for n, t in late.items()}, options, dy)
        assert not stream.query()  # nothing above waited
    stream.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(results, right, strict=True))


def test_many_threads_at_once(fresh):
    """Each with a stream of its own, in a process where nothing is loaded yet."""
    calls = [call_of(dtype, length) for dtype in DTYPES for length in (300, 1000, 3000)] * 4
    torch.cuda.synchronize()

    def work(call):
        with torch.cuda.stream(torch.cuda.Stream()):
            results = run(*call)
            torch.cuda.current_stream().synchronize()
            return results

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, calls))
    for call, results in zip(calls, found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(results, run(*call), strict=True))


@pytest.mark.parametrize("dtype", [HALF, SINGLE], ids=str)
@pytest.mark.parametrize("shape", [(64, 256, 1024), (64, 256, 8192), (64, 128, 16384)])
def test_training_takes_no_more_than_its_tensors(shape, dtype):
    def tensors():
        made = [random(*shape, dtype=dtype, seed=i).requires_grad_() for i in range(3)]
        return made[0], random(*shape[1:], dtype=SINGLE).requires_grad_(), *made[1:]

    def step(u, k, pre, post):
        y = long_conv(u, k, pre_gate=pre, post_gate=post, engine="cuda")
        return y, *torch.autograd.grad(y, (u, k, pre, post), torch.ones_like(y))

    step(*tensors())  # what stays for good: kernels and tables
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    inputs = tensors()
    torch.cuda.reset_peak_memory_stats()
    outputs = step(*inputs)
    torch.cuda.synchronize()
    dy = outputs[0]
    named = sum(t.numel() * t.element_size() for t in (*inputs, *outputs, dy))
    assert torch.cuda.max_memory_allocated() - before <= 1.05 * named


def test_no_memory_is_said_in_one_line():
    u, k = torch.empty(1, 1, 64, dtype=HALF, device="cuda").expand(2**20, 2**15, 64), random(1, 64, dtype=SINGLE)
    with pytest.raises(torch.OutOfMemoryError, match=r"cuda:0 has no memory .*u \(1048576, 32768, 64\)") as caught:
        long_conv(u, k, engine="cuda")
    assert "\n" not in str(caught.value)


class Nothing(torch.autograd.Function):
    """What autograd itself takes for a call and its gradients."""

    @staticmethod
    def forward(ctx, u, *others):
        ctx.save_for_backward(u, *others)
        return u.new_empty(u.shape)

    @staticmethod
    def backward(ctx, dy):
        return ctx.saved_tensors


@pytest.mark.parametrize("dtype", [HALF, SINGLE], ids=str)
@pytest.mark.parametrize(("gates", "gradients"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_calls_share_of_the_hosts_time(dtype, gates, gradients):
    """Tiny calls one after the other, of which the device has each done before the next is ready."""
    tensors, options, _ = call_of(dtype, 256)
    if not gates:
        tensors = {n: tensors[n] for n in "uk"}
    tensors = {n: t.detach().requires_grad_(gradients) for n, t in tensors.items()}
    own = shortest(lambda: long_conv(**tensors, **options))
    autograds = shortest(lambda: Nothing.apply(*tensors.values())) if gradients else 0.0
    kind = f"{dtype}, {'gated' if gates else 'bare'}, {'training' if gradients else 'inference'}"
    print(f"\n{kind}: {own * 1e6:.1f} us, of which autograd's {autograds * 1e6:.1f}")
    assert own - autograds < 30e-6


@pytest.mark.parametrize("dtype", [HALF, SINGLE], ids=str)
def test_a_backward_passs_share_of_the_hosts_time(dtype):
    tensors, options, dy = call_of(dtype, 256)
    y, nothing = long_conv(**tensors, **options), Nothing.apply(*tensors.values())
    inputs = list(tensors.values())
    own = shortest(lambda: torch.autograd.grad(y, inputs, dy, retain_graph=True))
    autograds = shortest(lambda: torch.autograd.grad(nothing, inputs, dy, retain_graph=True))
    print(f"\n{dtype}, backward: {own * 1e6:.1f} us, of which autograd's {autograds * 1e6:.1f}")
    assert own - autograds < 60e-6


def shortest(call) -> float:
    """Seconds of a call, the least of many: the device's own work goes on behind it."""
    best = float("inf")
    for _ in range(20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(50):
            call()
        best = min(best, (time.perf_counter() - start) / 50)
    return best


@pytest.mark.parametrize("number", ["fp16", "fp32"])
@pytest.mark.parametrize("length", [256, 1024, 4096, 16384])
def test_first_use(number, length, tmp_path, monkeypatch):
    """From nothing, and from the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    gpu = gpu_of(0)
    sizes = Sizes(number, length, length, 2, 2, pre_gate=True, post_gate=True)
    there, back = plan(sizes, gpu), plan_backward(sizes, gpu)
    for kernel in filter(None, (there.rows, there.spectrum, there.tables, back.rows, back.gradient)):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            cache.cubin(kernel.header, kernel.name, gpu.arch)
            times.append(time.perf_counter() - start)
        assert times[0] < 2, kernel.name
        assert min(times[1:]) < 0.02, kernel.name
