"""The convolutions as functions, against scipy and sums in float64."""

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from longconv_audio import functional as F
from longconv_audio.planning import plan_overlap_save
from tests.measures import REQUIRED, snr

DTYPES = ["float32", "float64", "complex64", "complex128"]
SIZES = [(1, 1), (7, 7), (1, 9), (9, 1), (100, 33), (33, 100), (1000, 999), (5000, 64), (64, 5000), (30_000, 4097)]
KINDS = ["numpy", "torch"]


def random(rng, shape, dtype="float64"):
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def direct(x, h):
    """The full convolution by its sum, in double precision."""
    wide = np.complex128 if np.iscomplexobj(x) or np.iscomplexobj(h) else np.float64
    return np.convolve(x.astype(wide), h.astype(wide))


def expected(x, h, mode):
    full, length = direct(x, h), len(x)
    if mode == "causal":
        return full[:length]
    if mode == "circular":
        return np.array([full[n::length].sum() for n in range(length)])
    return scipy.signal.convolve(x.astype(full.dtype), h.astype(full.dtype), mode, method="direct")


def call(kind, function, *arrays, **options):
    if kind == "numpy":
        return function(*arrays, **options)
    torch = pytest.importorskip("torch")
    result = function(*(torch.from_numpy(a) for a in arrays), **options)
    return tuple(r.numpy() for r in result) if isinstance(result, tuple) else result.numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["full", "same", "valid", "causal", "circular"])
@pytest.mark.parametrize("function", [F.fftconvolve, F.oaconvolve])
def test_modes(rng, kind, dtype, mode, function):
    for length, taps in SIZES:
        x, h = random(rng, length, dtype), random(rng, taps, dtype)
        y = call(kind, function, x, h, mode=mode)
        assert y.dtype == dtype
        assert snr(y, expected(x, h, mode)) > REQUIRED[dtype], (length, taps)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_used_and_right(rng, kind):
    x, h = random(rng, 200_000, "float32"), random(rng, 300, "float32")
    assert plan_overlap_save(200_000, 300) < 50_000
    y = call(kind, F.oaconvolve, x, h)
    assert snr(y, scipy.signal.oaconvolve(x.astype(np.float64), h.astype(np.float64))) > 130


@pytest.mark.parametrize("kind", KINDS)
def test_a_circular_convolution_goes_in_blocks_too(rng, kind, monkeypatch):
    x, h = random(rng, 100_000), random(rng, 200)
    engine = pytest.importorskip(f"longconv_audio.engines.{kind}_fft")
    calls = []
    original = engine.overlap_save
    monkeypatch.setattr(engine, "overlap_save", lambda *arguments: calls.append(1) or original(*arguments))
    assert snr(call(kind, F.oaconvolve, x, h, mode="circular"), expected(x, h, "circular")) > 280
    assert calls


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", [F.fftconvolve, F.oaconvolve])
@pytest.mark.parametrize("mode", ["full", "valid", "causal", "circular"])
def test_the_quiet_end_of_a_long_filter(rng, kind, function, mode):
    """Pink noise, and a filter longer than it that decays by 60 dB: "valid" is the filter's quiet part."""
    spectrum = np.fft.rfft(rng.standard_normal(3000)) / np.sqrt(np.arange(1501) + 1)
    x = np.fft.irfft(spectrum, 3000).astype(np.float32)
    h = (rng.standard_normal(5000) * 10 ** (-3 * np.arange(5000) / 5000)).astype(np.float32)
    assert snr(call(kind, function, x, h, mode=mode), expected(x, h, mode)) > 130


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", [F.fftconvolve, F.oaconvolve])
@pytest.mark.parametrize(
    ("shape_x", "shape_h"),
    [((3, 900), (50,)), ((900,), (3, 50)), ((2, 1, 900), (4, 50)), ((2, 4, 900), (2, 4, 50)), ((4, 50), (1, 900))],
)
def test_leading_axes_broadcast(rng, kind, function, shape_x, shape_h):
    x, h = random(rng, shape_x), random(rng, shape_h)
    lead = np.broadcast_shapes(shape_x[:-1], shape_h[:-1])
    xs, hs = np.broadcast_to(x, (*lead, shape_x[-1])), np.broadcast_to(h, (*lead, shape_h[-1]))
    whole = np.empty((*lead, 949))
    for index in np.ndindex(lead):
        whole[index] = direct(xs[index], hs[index])
    assert snr(call(kind, function, x, h), whole) > 280


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", [F.fftconvolve, F.oaconvolve])
@pytest.mark.parametrize(("length", "taps"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_in_nothing_out(kind, function, length, taps):
    for mode in ("full", "same", "valid", "causal"):
        assert call(kind, function, np.zeros((2, length)), np.zeros(taps), mode=mode).shape == (2, 0)
    assert call(kind, function, np.zeros((0, 5)), np.zeros(3)).shape == (0, 7)


@pytest.mark.parametrize("kind", KINDS)
def test_strides_do_not_matter(rng, kind):
    x, h = random(rng, (2000, 4)), random(rng, 300)
    y = call(kind, F.oaconvolve, x.T, np.ascontiguousarray(h)[::2])
    assert snr(y, np.stack([direct(x[:, c], h[::2]) for c in range(4)])) > 280


@pytest.mark.parametrize("function", [F.fftconvolve, F.oaconvolve])
@settings(max_examples=40, deadline=None)
@given(length=st.integers(1, 400), taps=st.integers(1, 400), shift=st.integers(0, 50), seed=st.integers(0, 2**32 - 1))
def test_linear_and_shift_invariant(function, length, taps, shift, seed):
    rng = np.random.default_rng(seed)
    x, z, h = rng.standard_normal(length), rng.standard_normal(length), rng.standard_normal(taps)
    y = function(x, h)
    np.testing.assert_allclose(function(3 * x - 2 * z, h), 3 * y - 2 * function(z, h), atol=1e-10)
    late = function(np.concatenate([np.zeros(shift), x]), h)
    np.testing.assert_allclose(late[shift:], y, atol=1e-11)
    np.testing.assert_allclose(function(h, x), y, atol=1e-11)
    np.testing.assert_allclose(function(x, h, mode="causal"), y[:length], atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_fftfilt_in_pieces(rng, kind, dtype):
    x, h = random(rng, (2, 3000), dtype), random(rng, 700, dtype)
    zi, pieces = None, []
    for start, stop in [(0, 1000), (1000, 1000), (1000, 1001), (1001, 1300), (1300, 3000)]:
        y, zi = call(kind, F.fftfilt, x[:, start:stop], h, **({} if zi is None else {"zi": zi}))
        assert y.dtype == zi.dtype == np.dtype(dtype)
        pieces.append(y)
    whole = np.stack([direct(row, h) for row in x])
    assert snr(np.concatenate([*pieces, zi], axis=1), whole) > REQUIRED[dtype]


def test_fftfilt_is_lfilter(rng):
    x, h, zi = random(rng, 50), random(rng, 20), random(rng, 19)
    y, zf = F.fftfilt(x, h, zi)
    expected_y, expected_zf = scipy.signal.lfilter(h, 1, x, zi=zi)
    np.testing.assert_allclose(y, expected_y, atol=1e-12)
    np.testing.assert_allclose(zf, expected_zf, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["full", "same", "valid", "causal", "circular"])
@pytest.mark.parametrize(("length", "taps"), [(500, 400), (20_000, 300)])
def test_matrix(rng, kind, mode, length, taps):
    x, H = random(rng, (2, 3, length), "float32"), random(rng, (4, 3, taps), "float32")
    y = call(kind, F.convolve_matrix, x, H, mode=mode)
    for b in range(2):
        for o in range(4):
            assert snr(y[b, o], sum(expected(x[b, i], H[o, i], mode) for i in range(3))) > 130


@pytest.mark.parametrize("function", [F.fftconvolve, F.oaconvolve])
@pytest.mark.parametrize("mode", ["full", "same", "valid", "causal", "circular"])
def test_gradients(function, mode):
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(1)
    for length, taps in [(6, 4), (4, 7)]:
        x = torch.randn(2, length, dtype=torch.float64, generator=generator, requires_grad=True)
        h = torch.randn(taps, dtype=torch.float64, generator=generator, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, h: function(x, h, mode=mode), (x, h))


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: F.fftconvolve(np.ones(3), np.ones(2), mode="wrap"), ValueError, "wrap"),
        (lambda: F.fftconvolve(np.ones((2, 3)), np.ones((3, 2))), ValueError, r"\(2, 3\)"),
        (lambda: F.oaconvolve(np.float64(1), np.ones(2)), ValueError, "time axis"),
        (lambda: F.oaconvolve(np.arange(3), np.ones(2)), TypeError, "int64"),
        (lambda: F.oaconvolve(np.ones(3, np.float16), np.ones(2)), TypeError, "float16"),
        (lambda: F.fftfilt(np.ones(3), np.ones(2), np.ones(2)), ValueError, "expected 1"),
        (lambda: F.fftfilt(np.ones(3), np.ones(0)), ValueError, "0 taps"),
        (lambda: F.fftfilt(np.ones(3), np.ones(2), np.ones((4, 1))), ValueError, "broadcasts"),
        (lambda: F.fftfilt(np.ones(3), np.ones(2), np.ones(1) * 1j), ValueError, "real state"),
        (lambda: F.convolve_matrix(np.ones((2, 3)), np.ones((2, 3, 4))), ValueError, "inputs"),
    ],
)
def test_bad_arguments_are_named(build, error, words):
    with pytest.raises(error, match=words):
        build()


def test_bad_tensors_are_named():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="ndarray"):
        F.fftconvolve(torch.ones(3), np.ones(2))
    with pytest.raises(TypeError, match="bfloat16"):
        F.fftconvolve(torch.ones(3, dtype=torch.bfloat16), torch.ones(2))
    with pytest.raises(ValueError, match="meta"):
        F.fftconvolve(torch.ones(3), torch.ones(2, device="meta"))
