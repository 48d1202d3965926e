"""The long convolution, against direct sums in float64."""

import copy
import io
import math
import pickle
import warnings

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import forward_ad

from longconv_audio import FilterSpectrum, LongconvError, long_conv, prepare
from longconv_audio.engines import selection, torch_long_conv, torch_rows
from longconv_audio.engines.selection import EngineUnavailableError
from tests.generators import CASES, REQUIRED, Case, expected
from tests.measures import error_level, snr

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=str)
DTYPES = list(REQUIRED)


def gradients(y, tensors, dy):
    return torch.autograd.grad(y, list(tensors.values()), dy.to(y.dtype))


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=False)


def wide(t):
    return t.detach().double().numpy()


@EVERY_CASE
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_is_the_sum(case, dtype):
    tensors = case.tensors(dtype)
    y = long_conv(**tensors, **case.options)
    assert y.dtype == dtype
    assert y.is_contiguous()
    target = expected(case, tensors)
    assert y.shape == target.shape
    if np.any(target):
        assert snr(wide(y), target) > REQUIRED[dtype]
    else:
        assert not y.any()


@EVERY_CASE
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_gradients_are_those_of_double(case, dtype):
    tensors = case.tensors(dtype, requires_grad=True)
    y = long_conv(**tensors, **case.options)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = gradients(y, tensors, dy)
    exact = {name: t.detach().double().requires_grad_() for name, t in tensors.items()}
    targets = gradients(long_conv(**exact, **case.options), exact, dy)
    for name, gradient, target in zip(tensors, found, targets, strict=True):
        assert gradient.dtype == tensors[name].dtype
        assert gradient.shape == tensors[name].shape
        if target.any():
            assert snr(wide(gradient), wide(target)) > REQUIRED[dtype] - 5, name


@EVERY_CASE
def test_gradients_are_derivatives(case):
    tensors = case.tensors(requires_grad=True)
    call = lambda *values: long_conv(**dict(zip(tensors, values, strict=True)), **case.options)  # noqa: E731
    assert torch.autograd.gradcheck(call, tuple(tensors.values()), fast_mode=True)
    assert torch.autograd.gradgradcheck(call, tuple(tensors.values()), fast_mode=True)


@EVERY_CASE
def test_any_subset_of_gradients(case):
    """What is not asked for is not computed, and what is asked for stays the same."""
    tensors = case.tensors(requires_grad=True)
    y = long_conv(**tensors, **case.options)
    dy = torch.randn_like(y)
    every = dict(zip(tensors, gradients(y, tensors, dy), strict=True))
    for name in tensors:
        alone = {n: t.detach().requires_grad_(n == name) for n, t in tensors.items()}
        (gradient,) = torch.autograd.grad(long_conv(**alone, **case.options), alone[name], dy)
        torch.testing.assert_close(gradient, every[name], rtol=0, atol=1e-12)


@EVERY_CASE
@pytest.mark.parametrize("points", [1, 64, 200])
def test_chunks_change_nothing(case, points, monkeypatch):
    tensors = case.tensors(requires_grad=True)
    whole = long_conv(**tensors, **case.options)
    dy = torch.randn_like(whole)
    expected_gradients = gradients(whole, tensors, dy)
    monkeypatch.setattr(torch_rows, "_POINTS_CPU", points)
    y = long_conv(**tensors, **case.options)
    torch.testing.assert_close(y, whole, rtol=0, atol=1e-12)
    for gradient, target in zip(gradients(y, tensors, dy), expected_gradients, strict=True):
        torch.testing.assert_close(gradient, target, rtol=0, atol=1e-12)


@EVERY_CASE
def test_prepared_spectrum(case):
    tensors = case.tensors(torch.float32)
    k = tensors.pop("k")
    tensors = {name: t.requires_grad_() for name, t in tensors.items()}
    extra = 0 if case.mode == "circular" else 5
    spectrum = FilterSpectrum(k, case.u[2] + extra, mode=case.mode)
    y, target = long_conv(k=spectrum, **tensors, **case.options), long_conv(k=k, **tensors, **case.options)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    for a, b in zip([y, *gradients(y, tensors, dy)], [target, *gradients(target, tensors, dy)], strict=True):
        assert not b.any() or snr(wide(a), wide(b)) > 125


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_shape(data):
    draw = data.draw
    batch, length, taps = draw(st.integers(1, 3)), draw(st.integers(1, 70)), draw(st.integers(1, 90))
    groups, per_group = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    inputs = draw(st.sampled_from([groups * per_group, 1]))
    channels = groups if inputs == 1 else inputs
    mode = draw(st.sampled_from(["causal", "full", "same", "circular"]))
    samples = length + taps - 1 if mode == "full" else length
    case = Case(
        (batch, inputs, length),
        (*draw(st.sampled_from([(), (batch,)])), groups, taps),
        d=draw(st.sampled_from([None, (channels,), (batch, channels)])),
        pre_gate=draw(st.sampled_from([None, (batch, inputs, length)])),
        post_gate=draw(st.sampled_from([None, (batch, channels, samples)])),
        mode=mode,
        offset=draw(st.integers(0, taps - 1)),
        correlate=draw(st.booleans()),
        strided=draw(st.booleans()),
    )
    tensors = case.tensors(seed=draw(st.integers(0, 1000)), requires_grad=True)
    y, target = long_conv(**tensors, **case.options), expected(case, tensors)
    size = np.linalg.norm(wide(tensors["u"])) * np.linalg.norm(wide(tensors["k"])) + 1
    np.testing.assert_allclose(wide(y), target, rtol=0, atol=1e-12 * size)
    # <dy, y> is linear in each argument: the gradient at it gives the value back.
    dy = torch.randn_like(y)
    value = (y * dy).sum().item()
    for name, gradient in zip(tensors, gradients(y, tensors, dy), strict=True):
        inner = (gradient * tensors[name]).sum().item()
        if name == "k" and "d" in tensors:
            (skip,) = torch.autograd.grad(long_conv(**tensors, **case.options), tensors["d"], dy)
            inner += (skip * tensors["d"]).sum().item()
        if name != "d":
            assert math.isclose(inner, value, rel_tol=0, abs_tol=1e-10 * size * (1 + dy.norm().item())), name


@pytest.mark.parametrize("mode", ["full", "same"])
@pytest.mark.parametrize("correlate", [False, True])
@pytest.mark.parametrize(("length", "taps"), [(40, 7), (40, 8), (9, 9)])
def test_is_scipy(rng, mode, correlate, length, taps):
    u, k = rng.standard_normal(length), rng.standard_normal(taps)
    y = long_conv(torch.from_numpy(u)[None, None], torch.from_numpy(k)[None], mode=mode, correlate=correlate)
    scipys = scipy.signal.correlate if correlate else scipy.signal.convolve
    assert snr(y[0, 0].numpy(), scipys(u, k, mode, method="direct")) > 280


def test_two_sided_filter_has_zero_phase(rng):
    half = rng.standard_normal(20)
    k = torch.from_numpy(np.concatenate([half[:0:-1], half]))[None]
    u = torch.zeros(1, 1, 101, dtype=torch.float64)
    u[..., 50] = 1
    y = long_conv(u, k, offset=19)
    torch.testing.assert_close(y, y.flip(-1))
    torch.testing.assert_close(y, long_conv(u, k, mode="same"))


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("color", ["white", "pink"])
@pytest.mark.parametrize(("length", "taps"), [(4095, 4096), (30_000, 48_000), (65_536, 65_536)])
def test_long_rows(rng, scale, color, length, taps):
    u = rng.standard_normal((2, 2, length))
    if color == "pink":
        spectrum = np.fft.rfft(u)
        u = np.fft.irfft(spectrum / np.sqrt(np.arange(spectrum.shape[-1]) + 1), length)
    u = torch.from_numpy(u * scale / u.std()).float()
    k = torch.from_numpy(rng.standard_normal((2, taps)) * np.exp(-6.9 * np.arange(taps) / taps)).float()
    u, k = u.requires_grad_(), k.requires_grad_()
    y = long_conv(u, k)
    target = scipy.signal.fftconvolve(wide(u), wide(k)[None], axes=-1)[..., :length]
    assert snr(wide(y), target) > REQUIRED[torch.float32]
    dy = torch.from_numpy(rng.standard_normal(y.shape)).float()
    du, dk = torch.autograd.grad(y, (u, k), dy)
    late = scipy.signal.fftconvolve(wide(dy), wide(k)[None, :, ::-1], axes=-1)[..., taps - 1 :]
    assert snr(wide(du), late) > 125
    taps_late = scipy.signal.fftconvolve(wide(dy), wide(u)[..., ::-1], axes=-1)[..., length - 1 :].sum(0)
    padded = np.zeros((2, taps))
    padded[:, : taps_late.shape[1]] = taps_late[:, :taps]
    assert snr(wide(dk), padded) > 125


@pytest.mark.parametrize("signal", ["tone", "constant", "noise"])
@pytest.mark.parametrize("filters", ["difference", "delta", "noise"])
def test_error_against_the_norms(rng, signal, filters):
    n = np.arange(8192)
    u = {"tone": np.sin(0.01 * n), "constant": np.ones(8192), "noise": rng.standard_normal(8192)}[signal]
    k = {"difference": [1.0, -1.0], "delta": np.eye(1, 3000, 2999)[0], "noise": rng.standard_normal(8192)}[filters]
    u, k = torch.from_numpy(u).float()[None, None], torch.tensor(np.asarray(k)).float()[None]
    y, expected = long_conv(u, k), scipy.signal.convolve(wide(u)[0, 0], wide(k)[0])[:8192]
    assert error_level(wide(y)[0, 0], expected, wide(u), wide(k)) < -125


def test_filters_gradient_over_a_large_batch(rng):
    u, dy = (torch.from_numpy(rng.standard_normal((64, 2, 4096))).float() for _ in range(2))
    k = torch.from_numpy(rng.standard_normal((2, 4096))).float().requires_grad_()
    y = long_conv(u, k)
    (dk,) = torch.autograd.grad(y, k, dy)
    exact = k.detach().double().requires_grad_()
    target_y = long_conv(u.double(), exact)
    (target,) = torch.autograd.grad(target_y, exact, dy.double())
    assert snr(wide(dk), wide(target)) > snr(wide(y), wide(target_y)) - 3


@pytest.mark.parametrize("precision", ["half", "single", "double"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_precision_can_be_chosen(dtype, precision):
    case = CASES[3]
    tensors = case.tensors(dtype)
    y = long_conv(**tensors, **case.options, precision=precision)
    assert y.dtype == dtype
    bound = min(REQUIRED[dtype], {"half": 60.0, "single": 130.0, "double": 280.0}[precision])
    assert snr(wide(y), expected(case, tensors)) > bound


@EVERY_CASE
def test_the_same_on_every_run(case):
    tensors = case.tensors(torch.float32, requires_grad=True)
    runs = []
    for _ in range(2):
        y = long_conv(**tensors, **case.options)
        runs.append([y, *gradients(y, tensors, torch.ones_like(y))])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_saves_its_arguments_and_nothing_else():
    case = Case((8, 4, 1000), (4, 1000), d=(4,), pre_gate=(8, 4, 1000), post_gate=(8, 4, 1000))
    tensors = case.tensors(torch.float32, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        long_conv(**tensors)
    assert {t.data_ptr() for t in saved} <= {t.data_ptr() for t in tensors.values()}
    assert len(saved) <= len(tensors)


@pytest.mark.parametrize("mode", ["causal", "full", "same", "circular"])
@pytest.mark.parametrize("shape", [(2, 3, 0), (0, 3, 5), (2, 0, 5), (0, 0, 0)])
def test_nothing_in_nothing_out(shape, mode):
    channels = shape[1]
    tensors = {
        "u": torch.ones(shape, requires_grad=True),
        "k": torch.ones(3 if channels else 1, 4, requires_grad=True),
        "d": torch.ones(channels, requires_grad=True),
        "pre_gate": torch.ones(shape, requires_grad=True),
    }
    y = long_conv(**tensors, mode=mode, offset=1)
    samples = shape[2] + 3 if mode == "full" and shape[2] else shape[2]
    assert y.shape == (*shape[:2], samples)
    for gradient, t in zip(gradients(y, tensors, torch.ones_like(y)), tensors.values(), strict=True):
        assert gradient.shape == t.shape
        assert not gradient.any()


@pytest.mark.parametrize("inputs", [0, 1])
def test_no_filters_no_channels(inputs):
    u, k = torch.ones(2, inputs, 5, requires_grad=True), torch.ones(0, 4, requires_grad=True)
    y = long_conv(u, k)
    assert y.shape == (2, 0, 5)
    assert [g.shape for g in torch.autograd.grad(y.sum(), (u, k))] == [u.shape, k.shape]
    assert long_conv(u, FilterSpectrum(k.detach(), 10)).shape == (2, 0, 5)


U, K = torch.ones(2, 4, 10), torch.ones(4, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"u": torch.ones(4, 10)}, ValueError, r"u has shape \(4, 10\); expected \(batch"),
        ({"k": torch.ones(5)}, ValueError, r"k has shape \(5,\)"),
        ({"k": torch.ones(1, 2, 4, 5)}, ValueError, r"k has shape \(1, 2, 4, 5\)"),
        ({"k": torch.ones(4, 0)}, ValueError, "at least one tap"),
        ({"k": torch.ones(3, 5)}, ValueError, r"u has shape \(2, 4, 10\) and k \(3, 5\)"),
        ({"k": torch.ones(0, 5)}, ValueError, r"k \(0, 5\)"),
        ({"k": torch.ones(8, 5)}, ValueError, r"k \(8, 5\)"),
        ({"k": torch.ones(3, 4, 5)}, ValueError, r"k \(3, 4, 5\)"),
        ({"d": torch.ones(3)}, ValueError, r"d has shape \(3,\)"),
        ({"d": torch.ones(1, 4, 1)}, ValueError, r"d has shape \(1, 4, 1\)"),
        ({"pre_gate": torch.ones(2, 4, 9)}, ValueError, r"pre_gate has shape \(2, 4, 9\)"),
        ({"pre_gate": torch.ones(1, 2, 4, 10)}, ValueError, r"pre_gate has shape \(1, 2, 4, 10\)"),
        ({"post_gate": torch.ones(2, 4, 10), "mode": "full"}, ValueError, r"post_gate .* \(2, 4, 14\)"),
        ({"post_gate": torch.ones(3, 4, 10)}, ValueError, r"post_gate has shape \(3, 4, 10\)"),
        ({"u": torch.ones(2, 4, 10, dtype=torch.int32)}, TypeError, "u of shape .*int32"),
        ({"u": torch.ones(2, 4, 10, dtype=torch.complex64)}, TypeError, "u of shape .*complex64"),
        ({"k": torch.ones(4, 5, dtype=torch.int64)}, TypeError, "k of shape .*int64"),
        ({"u": np.ones((2, 4, 10))}, TypeError, "u is a ndarray"),
        ({"d": 1.0}, TypeError, "d is a float"),
        ({"pre_gate": torch.ones(2, 4, 10).half()}, TypeError, "pre_gate .*float16 and u torch.float32"),
        ({"k": torch.ones(4, 5, device="meta")}, ValueError, "k of shape .* on meta and u on cpu"),
        ({"mode": "valid"}, ValueError, "mode is 'valid'"),
        ({"mode": None}, ValueError, "mode is None"),
        ({"precision": "float"}, ValueError, "precision is 'float'"),
        ({"engine": "fftw"}, ValueError, "engine is 'fftw'"),
        ({"offset": np.int64(7)}, ValueError, "offset is 7"),
        ({"offset": None}, TypeError, "offset is None"),
        ({"offset": 1.0}, TypeError, "offset is 1.0"),
        ({"offset": True}, TypeError, "offset is True"),
        ({"offset": 5}, ValueError, r"offset is 5 and k has shape \(4, 5\)"),
        ({"offset": -1}, ValueError, "offset is -1"),
        ({"offset": torch.tensor(1.5)}, TypeError, r"offset is tensor\(1.5000\), a Tensor; expected an integer"),
        ({"offset": torch.tensor(True)}, TypeError, r"offset is tensor\(True\), a Tensor"),
        ({"offset": torch.tensor([1, 2])}, TypeError, r"offset is tensor\(\[1, 2\]\), a Tensor"),
        ({"offset": np.array([1, 2])}, TypeError, r"offset is array\(\[1, 2\]\), a ndarray"),
        ({"offset": np.ones((9, 9))}, TypeError, r"offset is array.*\.\.\..*, a ndarray; expected an integer"),
        ({"correlate": 1}, TypeError, "correlate is 1, a int; expected True or False"),
        ({"correlate": None}, TypeError, "correlate is None"),
        ({"u": torch.ones(2, 4, 10).to_sparse()}, TypeError, "u has layout torch.sparse_coo; expected a dense"),
        ({"u": torch.nested.nested_tensor([U[0], U[1]])}, TypeError, "u is nested; expected a dense"),
        ({"k": torch.ones(4, 5).to_sparse_csr()}, TypeError, "k has layout torch.sparse_csr"),
        ({"d": torch.ones(4).to_mkldnn()}, TypeError, "d has layout torch._mkldnn"),
    ],
)
def test_bad_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        long_conv(**{"u": U, "k": K, **arguments})


def test_fused_engine_is_refused_where_it_is_not():
    with pytest.raises(EngineUnavailableError, match="engine='cuda' cannot run on cpu"):
        long_conv(U, K, engine="cuda")
    assert issubclass(EngineUnavailableError, RuntimeError)
    assert torch.equal(long_conv(U, K, engine="torch"), long_conv(U, K))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: FilterSpectrum(K.clone().requires_grad_(), 10), "requires a gradient"),
        (lambda: FilterSpectrum(torch.ones(5), 10), r"k has shape \(5,\)"),
        (lambda: FilterSpectrum(K, 0), "length is 0"),
        (
            lambda: long_conv(U.to("meta"), FilterSpectrum(K, 10)),
            r"FilterSpectrum of shape \(4, 5\) is on cpu and u on",
        ),
        (lambda: long_conv(U, FilterSpectrum(K, 9)), "at most 9 samples"),
        (lambda: long_conv(U, FilterSpectrum(K, 11, mode="circular"), mode="circular"), "for 11 samples"),
        (lambda: long_conv(U, FilterSpectrum(K, 10), mode="circular"), "causal, full and same"),
        (lambda: long_conv(U, FilterSpectrum(K, 10, mode="circular")), "prepared for circular"),
        (lambda: long_conv(U.double(), FilterSpectrum(K, 10)), "prepared in 'single'"),
        (lambda: long_conv(U, FilterSpectrum(K, 10), engine="cuda"), "prepared for 'torch'"),
    ],
)
def test_bad_preparations_are_named(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def test_a_spectrum_is_of_the_filters_as_they_were():
    k = K.clone()
    spectrum, target = FilterSpectrum(k, 10), long_conv(U, K)
    k.zero_()
    torch.testing.assert_close(long_conv(U, spectrum), target)
    gate = torch.ones_like(U, requires_grad=True)
    torch.testing.assert_close(long_conv(U, spectrum, pre_gate=gate), target)


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s)), saved],
    ids=["copy", "deepcopy", "pickle", "save"],
)
def test_a_spectrum_can_be_copied(copied):
    spectrum = FilterSpectrum(torch.randn(4, 5), np.int64(10), mode="same", offset=2, correlate=True, engine="torch")
    other = copied(spectrum)
    assert other is not spectrum
    assert repr(other) == repr(spectrum)
    assert (other.call, other.engine, other.device) == (spectrum.call, spectrum.engine, spectrum.device)
    assert torch.equal(long_conv(U, other, mode="same"), long_conv(U, spectrum, mode="same"))


def test_a_spectrum_can_be_moved():
    spectrum = FilterSpectrum(K, 10)
    assert spectrum.to("cpu") is spectrum
    moved = spectrum.to("meta")
    assert moved.device == torch.device("meta")
    assert long_conv(U.to("meta"), moved).shape == U.shape


def test_a_spectrum_made_for_inference_serves_training():
    with torch.inference_mode():
        spectrum = FilterSpectrum(K.clone(), 10)
    u = U.clone().requires_grad_()
    long_conv(u, spectrum).sum().backward()
    target = torch.autograd.grad(long_conv(u, K).sum(), u)
    torch.testing.assert_close((u.grad,), target)


@pytest.mark.parametrize("length", [10.0, "10", True, None, torch.tensor(True)])
def test_a_spectrums_length_is_an_integer(length):
    with pytest.raises(TypeError, match=r"length is .*; expected an integer, the number of samples"):
        FilterSpectrum(K, length)


def test_a_spectrum_passes_no_tangent_on():
    with forward_ad.dual_level(), pytest.raises(ValueError, match=r"k of shape \(4, 5\) has a tangent"):
        FilterSpectrum(forward_ad.make_dual(K, K), 10)


def test_engines_are_asked_in_their_order(monkeypatch):
    """An engine that is plugged in gets the calls that it can carry out, and the others pass it by."""
    seen = []

    class Fused:
        def why_not(device, precision):
            return "not in double" if precision == "double" else None

        def why_not_call(call, u, k, mask):
            return "causal calls alone" if call.mode != "causal" else None

        def forward(call, u, k, *others):
            seen.append(call)
            return torch_long_conv.forward(call, u, k, *others)

    def load(name, device, precision):
        if name == "torch":
            return torch_long_conv, None
        reason = Fused.why_not(device, precision)
        return (Fused, None) if reason is None else (None, reason)

    monkeypatch.setattr(selection, "_ready", load)
    long_conv(U, K)
    long_conv(U, K, mode="full")
    long_conv(U.double(), K)
    assert [call.mode for call in seen] == ["causal"]
    with pytest.raises(EngineUnavailableError, match="causal calls alone"):
        long_conv(U, K, mode="full", engine="cuda")


def test_preparing_checks_as_the_call_does():
    prepare(U, K, mode="full")
    prepare(U, FilterSpectrum(K, 10))
    prepare(U, K.clone().requires_grad_(), backward=True)
    with pytest.raises(ValueError, match="no argument requires a gradient"):
        prepare(U, K, backward=True)
    with pytest.raises(ValueError, match=r"k has shape \(5,\)"):
        prepare(U, torch.ones(5))
    with pytest.raises(EngineUnavailableError):
        prepare(U, K, engine="cuda")


def test_no_memory_is_one_line_of_ours(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has a\ntotal of ...")

    u = U.clone().requires_grad_()
    y = long_conv(u, K)
    monkeypatch.setattr(torch_long_conv, "forward", full)
    monkeypatch.setattr(torch_long_conv, "backward", full)
    for work in (lambda: long_conv(U, K), lambda: y.sum().backward()):
        with pytest.raises(
            torch.OutOfMemoryError, match=r"cpu .*u \(2, 4, 10\) with k \(4, 5\): .*9.00 GiB$"
        ) as caught:
            work()
        assert isinstance(caught.value, LongconvError)


def test_no_memory_on_a_cpu():
    u = torch.ones(1).expand(1 << 20, 4, 1 << 25)
    with pytest.raises(
        torch.OutOfMemoryError, match=r"^cpu has no memory for the convolution of u .*: [^.]*allocate \d+ bytes"
    ) as caught:
        long_conv(u, K)
    assert isinstance(caught.value, LongconvError)


def test_no_memory_for_what_is_prepared(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has a\ntotal of ...")

    monkeypatch.setattr(torch_long_conv, "prepare", full)
    monkeypatch.setattr(torch_long_conv, "filter_spectrum", full)
    with pytest.raises(LongconvError, match=r"convolution of u \(2, 4, 10\) with k \(4, 5\): .*9.00 GiB$"):
        prepare(U, K)
    with pytest.raises(LongconvError, match=r"^cpu has no memory for the spectrum of k \(4, 5\): .*9.00 GiB$"):
        FilterSpectrum(K, 10)


def test_a_gpu_that_cannot_says_so_once(monkeypatch):
    class Fused:
        why_not = staticmethod(lambda device, precision: "its compute capability is 7.5")

    monkeypatch.setattr(selection, "engine_module", lambda name: Fused if name == "cuda" else torch_long_conv)
    device = torch.device("cuda", 99)
    with pytest.warns(UserWarning, match=r"torch.fft on cuda:99: its compute capability is 7\.5"):
        assert selection.choose(None, device, "single") == ("torch", torch_long_conv)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert selection.choose(None, device, "single") == ("torch", torch_long_conv)
    selection._ready.cache_clear()
