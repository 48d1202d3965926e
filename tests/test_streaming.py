"""The Convolver: any split of the signal gives the whole convolution."""

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longconv_audio import backends
from longconv_audio.routing import FilterMatrix, Path
from longconv_audio.streaming import Convolver
from tests.measures import REQUIRED, snr

pytestmark = pytest.mark.usefixtures("one_thread")

LATENCIES = [
    ("zero", None),
    ("zero", 16),
    ("block", 1),
    ("block", 48),
    ("block", 256),
    ("offline", None),
    ("offline", 512),
]
# The engine for a GPU runs on torch's CPU here: all of it but page-locked memory and CUDA's streams.
ON_DEVICE = [("block", 300), ("offline", None), ("offline", 3000)]
CASES = [("cpu", *case) for case in LATENCIES] + [("device", *case) for case in ON_DEVICE]
EACH_ENGINE = pytest.mark.parametrize("engine", ["cpu", "device"], indirect=True)


def each_case(cases):
    return pytest.mark.parametrize(("engine", "latency", "block_size"), cases, indirect=["engine"])


@pytest.fixture
def engine(request, monkeypatch):
    """What carries out a Convolver's work."""
    if request.param == "device":
        monkeypatch.setattr(backends, "find_gpu", lambda *_: torch.device("cpu"))
    return request.param


def full(x, h):
    return scipy.signal.fftconvolve(x.astype(np.float64), h.astype(np.float64), axes=-1)


def in_pieces(convolver, x, sizes, flush=True):
    pieces, start = [], 0
    for size in sizes:
        pieces.append(convolver.process(x[..., start : start + size]))
        start += size
    pieces.append(convolver.process(x[..., start:]))
    if flush:
        pieces.append(convolver.flush())
    return np.concatenate(pieces, axis=-1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_case(CASES)
@pytest.mark.parametrize(("length", "taps"), [(1, 1), (5, 300), (3000, 1), (3000, 65), (9000, 7000), (40_000, 12_345)])
def test_whole_signal(rng, engine, latency, block_size, length, taps, dtype):
    if block_size == 1:  # a transform a sample
        length, taps = min(length, 1500), min(taps, 700)
    x = rng.standard_normal((2, length)).astype(dtype)
    h = rng.standard_normal((2, taps)).astype(dtype)
    convolver = Convolver(h, latency=latency, block_size=block_size)
    y = in_pieces(convolver, x, rng.integers(0, 700, 5))
    assert y.dtype == dtype
    assert snr(y, full(x, h)) > REQUIRED[np.dtype(dtype).name]
    assert convolver.tail_samples == taps - 1


@EACH_ENGINE
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 400), max_size=12),
    length=st.integers(0, 2500),
    taps=st.integers(1, 1500),
    latency=st.data(),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_split_is_the_whole(engine, sizes, length, taps, latency, seed):
    rng = np.random.default_rng(seed)
    latency = latency.draw(st.sampled_from(ON_DEVICE if engine == "device" else LATENCIES[:2] + LATENCIES[3:]))
    x, h = rng.standard_normal(length), rng.standard_normal(taps)
    convolver = Convolver(h, latency=latency[0], block_size=latency[1])
    y = in_pieces(convolver, x, sizes)
    expected = np.convolve(x, h) if length else np.zeros(0)  # of nothing comes nothing
    np.testing.assert_allclose(y, expected, atol=1e-11)


def test_zero_latency_answers_each_sample(rng):
    x, h = rng.standard_normal(700), rng.standard_normal(2000)
    convolver = Convolver(h, latency="zero")
    y = [convolver.process(x[n : n + 1]) for n in range(700)]
    assert all(piece.shape == (1,) for piece in y)
    assert snr(np.concatenate(y), full(x, h)[:700]) > 280
    assert convolver.latency_samples == 0


def test_block_latency_answers_each_block(rng):
    x, h = rng.standard_normal((2, 96 * 30)), rng.standard_normal((2, 1000))
    convolver = Convolver(h, latency="block", block_size=96)
    pieces = [convolver.process(x[:, n : n + 96]) for n in range(0, 96 * 30, 96)]
    assert all(piece.shape == (2, 96) for piece in pieces)
    assert convolver.latency_samples == 95


@each_case(CASES[1:])
def test_matrix(rng, engine, latency, block_size):
    x, h = rng.standard_normal((3, 5000)), rng.standard_normal((2, 3, 900))
    h[1, 0] = 0
    expected = sum(full(x[i : i + 1], h[:, i]) for i in range(3))
    convolver = Convolver(h, latency=latency, block_size=block_size)
    assert snr(in_pieces(convolver, x, [100, 0, 1, 2000]), expected) > 280


@each_case(CASES[1:])
def test_several_paths_add_up_and_outputs_without_path_are_silent(rng, engine, latency, block_size):
    x = rng.standard_normal((2, 3000))
    a, b = rng.standard_normal(800), rng.standard_normal(300)
    matrix = FilterMatrix(2, 3, (Path(2, 0, a), Path(0, 1, b), Path(2, 1, b), Path(2, 0, b)))
    y = in_pieces(Convolver(matrix, latency=latency, block_size=block_size), x, [999])
    expected = np.zeros((3, 3799))
    for path in matrix.paths:
        expected[path.output, : 2999 + len(path.taps)] += np.convolve(x[path.input], path.taps)
    assert snr(y, expected) > 280
    assert not y[1].any()


@each_case(CASES[1:])
def test_origin_takes_the_lead_out(rng, engine, latency, block_size):
    x, h = rng.standard_normal((1, 2000)), rng.standard_normal(500)
    matrix = FilterMatrix(1, 1, (Path(0, 0, h),), origin=123)
    convolver = Convolver(matrix, latency=latency, block_size=block_size)
    assert snr(in_pieces(convolver, x, [50, 700]), full(x, h[None])[:, 123:]) > 280
    assert convolver.tail_samples == 376


@EACH_ENGINE
def test_one_filter_serves_any_leading_shape(rng, engine):
    x, h = rng.standard_normal((2, 3, 1000)).astype(np.float32), rng.standard_normal(64)
    convolver = Convolver(h, dtype="float64")
    y = np.concatenate([convolver.process(x), convolver.flush()], axis=-1)
    assert y.dtype == np.float32
    assert snr(y, full(x, h[None, None])) > 140


@EACH_ENGINE
@pytest.mark.parametrize("shape", [(300,), (1, 300)])
def test_flush_starts_anew(rng, engine, shape):
    x, h = rng.standard_normal((1, 800)), rng.standard_normal(shape)
    convolver = Convolver(h, latency="offline")
    first, second = in_pieces(convolver, x, [10]), in_pieces(convolver, x, [500])
    np.testing.assert_allclose(first, second, atol=1e-10)
    convolver.process(x)
    convolver.reset()
    np.testing.assert_allclose(in_pieces(convolver, x, []), first, atol=1e-10)


@each_case(CASES[1:])
@pytest.mark.parametrize("taps", [40, 3000])
def test_state_goes_on_elsewhere(rng, engine, latency, block_size, taps):
    x, h = rng.standard_normal((2, 9000)), rng.standard_normal((2, taps))
    settings = {"latency": latency, "block_size": block_size}
    if block_size == 1:
        x = x[:, :3000]
    first, second = Convolver(h, **settings), Convolver(h, **settings)
    begun = first.process(x[:, :1777])
    second.process(x)  # what stands in the second is forgotten
    second.set_state(first.get_state())
    rest = in_pieces(second, x[:, 1777:], [5, 400])
    assert snr(np.concatenate([begun, rest], axis=1), full(x, h)) > 280
    with pytest.raises(ValueError, match="taps"):
        Convolver(h[:, 1:], **settings).set_state(first.get_state())


@each_case(CASES[1:])
@pytest.mark.parametrize(("before", "after"), [(500, 500), (2000, 100), (100, 1500)])
@pytest.mark.parametrize("fade", [0, 250])
def test_set_ir_fades_between_the_two_convolutions(rng, engine, latency, block_size, before, after, fade):
    x, g, h = rng.standard_normal((2, 6000)), rng.standard_normal((2, before)), rng.standard_normal((2, after))
    change = 2100 if after <= before else 80  # a longer filter reaches back no further than the shorter one did
    convolver = Convolver(g, latency=latency, block_size=block_size)
    pieces = [convolver.process(x[:, :change])]
    convolver.set_ir(h, crossfade=fade)
    pieces += [convolver.process(x[:, change : change + 77]), convolver.process(x[:, change + 77 :]), convolver.flush()]
    y = np.concatenate(pieces, axis=1)
    length = 6000 + after - 1
    old, new = np.zeros((2, 9000)), np.zeros((2, 9000))
    old[:, : 6000 + before - 1], new[:, :length] = full(x, g), full(x, h)
    weight = np.clip((np.arange(9000) - change + 1) / (fade + 1), 0, 1)
    expected = (1 - weight) * old + weight * new
    assert snr(y[:, :length], expected[:, :length]) > 270
    assert not y[:, length:].any() or np.abs(y[:, length:]).max() < 1e-9


@EACH_ENGINE
def test_a_change_during_a_fade(rng, engine):
    x = rng.standard_normal((1, 4000))
    f, g, h = (rng.standard_normal((1, 300)) for _ in range(3))
    convolver = Convolver(f, **{"latency": "zero"} if engine == "cpu" else {"latency": "block", "block_size": 20})
    pieces = [convolver.process(x[:, :1000])]
    convolver.set_ir(g, crossfade=400)
    pieces.append(convolver.process(x[:, 1000:1200]))
    convolver.set_ir(h, crossfade=100)
    with pytest.raises(ValueError, match="crossfade"):
        convolver.get_state()
    pieces.append(convolver.process(x[:, 1200:]))
    convolver.get_state()
    y = np.concatenate([*pieces, convolver.flush()], axis=1)
    n = np.arange(y.shape[1])
    first = np.clip((n - 999) / 401, 0, 1)
    second = np.clip((n - 1199) / 101, 0, 1)
    expected = (1 - second) * ((1 - first) * full(x, f) + first * full(x, g)) + second * full(x, h)
    assert snr(y, expected) > 270


def test_fades_that_never_began_are_replaced(rng):
    x, f, h = rng.standard_normal((1, 800)), rng.standard_normal((1, 90)), rng.standard_normal((1, 70))
    convolver = Convolver(f, latency="zero")
    first = convolver.process(x[:, :300])
    for _ in range(1500):  # a slider that moves while nothing plays
        convolver.set_ir(rng.standard_normal((1, 50)), crossfade=100)
    convolver.set_ir(h, crossfade=100)
    y = np.concatenate([first, convolver.process(x[:, 300:]), convolver.flush()], axis=1)
    weight = np.clip((np.arange(869) - 299) / 101, 0, 1)
    expected = (1 - weight) * full(x, f)[:, :869] + weight * full(x, h)
    assert snr(y, expected) > 270


def test_too_many_fades_at_once_are_refused(rng):
    convolver = Convolver(np.ones(10), latency="zero", channels=1)
    for _ in range(16):
        convolver.set_ir(rng.standard_normal(10), crossfade=10_000)
        convolver.process(rng.standard_normal((1, 10)))
    with pytest.raises(ValueError, match="16 crossfades"):
        convolver.set_ir(rng.standard_normal(10), crossfade=10_000)


def test_a_switch_without_a_fade_leaves_no_fade_behind(rng):
    convolver = Convolver(np.ones(10), latency="zero", channels=1)
    convolver.process(rng.standard_normal((1, 100)))
    convolver.set_ir(np.ones(5))
    convolver.get_state()


def test_a_state_can_be_set_during_a_fade(rng):
    x, f, h = rng.standard_normal((1, 500)), rng.standard_normal((1, 90)), rng.standard_normal((1, 90))
    first, second = Convolver(h, latency="zero"), Convolver(f, latency="zero")
    begun = first.process(x[:, :200])
    second.process(x)
    second.set_ir(h, crossfade=1000)
    second.set_state(first.get_state())
    rest = in_pieces(second, x[:, 200:], [5])
    assert snr(np.concatenate([begun, rest], axis=1), full(x, h)) > 280


@EACH_ENGINE
def test_before_the_first_block(engine):
    convolver = Convolver(np.ones(10))
    convolver.reset()
    assert convolver.tail_samples == 9
    assert convolver.flush().shape == (0,)
    if engine == "cpu":
        assert Convolver(np.ones(10), latency="zero").latency_samples == 0
    assert Convolver(np.ones(10), latency="block", block_size=32).latency_samples == 31
    assert Convolver(np.ones(10), channels=2).flush("float32").dtype == np.float32


@each_case([(e, *case) for e in ("cpu", "device") for case in [("block", 509), ("block", 4093), ("offline", 131_101)]])
def test_sizes_that_are_not_smooth(rng, engine, latency, block_size):
    x, h = rng.standard_normal((1, 60_000)).astype(np.float32), rng.standard_normal(20_000)
    y = in_pieces(Convolver(h, latency=latency, block_size=block_size), x, [100])
    assert snr(y, full(x, h[None])) > 130


def test_zero_latency_with_a_large_block_size_keeps_a_small_head(rng):
    convolver = Convolver(rng.standard_normal((2, 50_000)), latency="zero", block_size=16_384)
    assert convolver.plan.head <= 128
    assert convolver.process(rng.standard_normal((2, 16_384))).shape == (2, 16_384)


@EACH_ENGINE
def test_bytes_in_another_order(rng, engine):
    x, h = rng.standard_normal((1, 300)), rng.standard_normal(40)
    convolver = Convolver(h.astype(">f8"), latency="block", block_size=10)
    assert snr(in_pieces(convolver, x.astype(">f8"), [7]), full(x, h[None])) > 280


def test_crossfade_does_not_click(rng):
    n = np.arange(20_000)
    x = np.sin(2 * np.pi * 100 * n / 48_000)
    convolver = Convolver(np.array([1.0]), latency="zero")
    pieces = [convolver.process(x[:10_000])]
    convolver.set_ir(np.array([-0.5]), crossfade=4800)
    y = np.concatenate([*pieces, convolver.process(x[10_000:])])
    steepest = 2 * np.pi * 100 / 48_000
    assert np.abs(np.diff(y)).max() < 1.1 * steepest
    np.testing.assert_allclose(y[15_000:], -0.5 * x[15_000:], atol=1e-12)


@EACH_ENGINE
def test_torch_tensors_in_and_out(rng, engine):
    x, h = torch.from_numpy(rng.standard_normal((2, 900))), torch.from_numpy(rng.standard_normal(100))
    convolver = Convolver(h)
    y = torch.cat([convolver.process(x), convolver.flush()], dim=-1)
    assert snr(y.numpy(), full(x.numpy(), h.numpy()[None])) > 280


def test_workers_do_not_change_the_result(rng):
    x, h = rng.standard_normal((3, 70_000)), rng.standard_normal((3, 5000))
    one = in_pieces(Convolver(h, workers=1), x, [1000])
    many = in_pieces(Convolver(h, workers=5), x, [1000])
    assert snr(one, many) > 290


def test_a_shared_filter_is_transformed_once(monkeypatch):
    from longconv_audio.engines import fft

    calls = []
    original = fft.partition_spectra
    monkeypatch.setattr(fft, "partition_spectra", lambda *args: calls.append(args) or original(*args))
    Convolver(np.ones(1000), channels=64)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Convolver(np.zeros(0)), "one or more"),
        (lambda: Convolver(np.zeros((1, 1, 1, 1))), "shape"),
        (lambda: Convolver(np.ones(3), latency="none"), "latency"),
        (lambda: Convolver(np.ones(3), latency="block"), "block_size"),
        (lambda: Convolver(np.ones(3), latency="zero", block_size=0), "block_size"),
        (lambda: Convolver(np.ones(3), dtype="float16"), "dtype"),
        (lambda: Convolver(np.ones((2, 3))).process(np.ones((3, 5))), "2 channels"),
        (lambda: Convolver(np.ones(3)).process(np.float64(1)), "number"),
        (lambda: Convolver(np.ones(3)).process(np.zeros((0, 5))), "at least one channel"),
        (lambda: Convolver(np.ones(3)).flush("int16"), "dtype"),
        (lambda: Convolver(np.ones(3)).latency_samples, "not known yet"),
        (lambda: Convolver(np.ones(3), channels=1).set_ir(np.ones((2, 2, 3))), "2 channels"),
        (lambda: Convolver(np.ones(3), channels=1).set_ir(np.ones((2, 1, 3))), "2 outputs"),
        (lambda: Convolver(np.ones(3), channels=1).set_ir(np.ones(3), crossfade=-1), "crossfade"),
        (lambda: Convolver(np.ones(3), device="cuda0"), "device cuda0: expected cpu, cuda"),
        (lambda: Convolver(np.ones(3), device="mps"), "device mps: expected cpu, cuda"),
    ],
)
def test_bad_arguments_are_named(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@EACH_ENGINE
def test_integers_are_refused(engine):
    with pytest.raises(TypeError, match="int64"):
        Convolver(np.ones(3)).process(np.arange(5))
