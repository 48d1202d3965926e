"""Frequency-sparse convolution: masks, what chooses them, and the masked convolution against plain matrices."""

import copy
import math

import pytest
import torch
from torch.library import opcheck

from longconv_audio import FilterSpectrum, FrequencyMask, band, long_conv, prepare, sparsify
from longconv_audio.engines.cuda.half_kernels import HALF_FACTORS
from longconv_audio.frequency_mask import BANDS, bin_frequencies
from longconv_audio.reference import convolve_masked
from longconv_audio.windows import window

pytestmark = pytest.mark.usefixtures("one_thread")

POINTS = 256
CALLS = [  # samples, taps, options
    (256, 256, {}),
    (200, 90, {}),
    (100, 400, {}),
    (130, 127, {"mode": "full"}),
    (130, 127, {"mode": "full", "offset": 50, "correlate": True}),
    (256, 101, {"mode": "same"}),
    (250, 600, {"offset": 300}),
    (250, 600, {"offset": 200, "correlate": True}),
    (250, 90, {"mode": "circular", "offset": 20}),
    (250, 600, {"mode": "circular", "offset": 20, "correlate": True}),
    (1, 1, {}),
]
EVERY_CALL = pytest.mark.parametrize(
    ("samples", "taps", "options"),
    CALLS,
    ids=lambda x: str(x) if isinstance(x, int) else "-".join(map(str, x.values())),
)


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def random_mask(points=POINTS, share=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return FrequencyMask(points, torch.rand(FrequencyMask.units(points), BANDS, generator=generator) < share)


def expected(u, k, mask, mode="causal", offset=0, correlate=False):
    """By plain matrices: each tap at its lag on the mask's circle, where a negative lag has its sign turned."""
    samples, size = u.shape[-1], mask.points
    place = window(mode, samples, k.shape[-1], offset, correlate)
    taps = torch.zeros(*k.shape[:-1], 2 * size, dtype=torch.float64)
    for j in range(k.shape[-1]):
        time = j - place.origin if not correlate else place.origin - j  # that a tap delays by
        delays = {time} if mode != "circular" else {time % samples, time % samples - samples}
        for lag in (delay - place.first for delay in delays):
            if -samples < lag < place.length:
                taps[..., lag % (2 * size)] += k[..., j] if lag >= 0 else -k[..., j]
    return convolve_masked(u, taps, mask.bins)[..., : place.length]


def assert_close(got, wanted, least=1e-12):
    assert got.shape == wanted.shape
    assert float((got - wanted).detach().norm() / wanted.detach().norm()) < least


@EVERY_CALL
def test_is_the_masked_product(samples, taps, options):
    u, k, mask = noise(2, 3, samples), noise(3, taps, seed=1), random_mask()
    assert_close(long_conv(u, k, mask=mask, **options), expected(u, k, mask, **options))


@EVERY_CALL
def test_gradients_are_those_of_the_masked_product(samples, taps, options):
    mask, gates = random_mask(), options.get("mode") != "full"
    inputs = [noise(2, 4, samples), noise(2, taps, seed=1)]
    inputs += [noise(2, 4, samples, seed=2), noise(2, 4, samples, seed=3)] if gates else []
    inputs = [t.requires_grad_() for t in inputs]

    def plain(u, k, pre=None, post=None):
        v = u if pre is None else u * pre
        y = expected(v, k.repeat_interleave(2, 0), mask, **options)
        return y if post is None else y * post

    def own(u, k, pre=None, post=None):
        return long_conv(u, k, pre_gate=pre, post_gate=post, mask=mask, **options)

    target = plain(*inputs)
    y, dy = own(*inputs), noise(*target.shape, seed=4)
    assert_close(y, target)
    wanted = torch.autograd.grad(target, inputs, dy)
    for a, b in zip(torch.autograd.grad(y, inputs, dy), wanted, strict=True):
        assert_close(a, b, 1e-11)


def test_all_kept_is_the_linear_convolution():
    u, k = noise(2, 3, 300), noise(3, 200, seed=1)
    mask = FrequencyMask.from_bins(torch.ones(512, dtype=torch.bool))
    assert mask.zeros == 0
    assert_close(long_conv(u, k, mask=mask), long_conv(u, k))
    assert_close(long_conv(u, k, mask=mask, mode="circular"), long_conv(u, k, mode="circular"))


def test_none_kept_is_silence():
    mask = FrequencyMask.from_bins(torch.zeros(512, dtype=torch.bool))
    k = noise(3, 200, seed=1).requires_grad_()
    y = long_conv(noise(2, 3, 300), k, mask=mask)
    assert y.shape == (2, 3, 300)
    assert not y.any()
    assert not torch.autograd.grad(y.sum(), k)[0].any()


@pytest.mark.parametrize("shape", [(3, 40), (2, 3, 40), (1, 40)])
@pytest.mark.parametrize("options", [{}, {"mode": "full", "offset": 5}], ids=["causal", "full"])
def test_skip_term_is_not_masked(shape, options):
    u, k, d, mask = noise(2, 3, 70), noise(*shape, seed=1), noise(3, seed=2), random_mask()
    impulse = torch.zeros(3, 40, dtype=torch.float64)
    impulse[:, options.get("offset", 0)] = d
    wanted = long_conv(u, k, mask=mask, **options) + long_conv(u, impulse, **options)
    assert_close(long_conv(u, k, d=d, mask=mask, **options), wanted)


def test_what_is_masked_of_a_filter_gets_no_gradient():
    """The gradient of the taps has no energy but in the bins that are kept."""
    u, k, mask = noise(4, 1, POINTS), noise(1, POINTS, seed=1).requires_grad_(), random_mask(share=0.3)
    (dk,) = torch.autograd.grad(long_conv(u, k, mask=mask), k, noise(4, 1, POINTS, seed=2))
    (whole,) = torch.autograd.grad(long_conv(u, k), k, noise(4, 1, POINTS, seed=2))
    # A real-part projection: the masked gradient is what the mask leaves of a complex one whose real part is `whole`.
    assert 0 < float(dk.norm()) < float(whole.norm())
    twist = torch.polar(torch.ones(POINTS).double(), torch.arange(POINTS).double() * (math.pi / 2 / POINTS))
    direction = torch.fft.ifft(torch.fft.fft(noise(POINTS, seed=3) * twist) * ~mask.bins) * twist.conj()
    change = direction.real - torch.fft.ifft(torch.fft.fft(direction.real * twist) * mask.bins).mul(twist.conj()).real
    y = long_conv(u, k.detach() + change, mask=mask) - long_conv(u, k.detach(), mask=mask)
    torch.testing.assert_close((dk * change).sum(), (y * noise(4, 1, POINTS, seed=2)).sum())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_precisions(dtype):
    least = {torch.float16: 1e-3, torch.bfloat16: 1e-2, torch.float32: 1e-6}[dtype]
    u, k, mask = noise(2, 3, 200, dtype=dtype), noise(3, 200, seed=1, dtype=torch.float32), random_mask()
    y = long_conv(u, k, mask=mask)
    assert y.dtype == dtype
    assert_close(y.double(), expected(u.double(), k.double(), mask), least)


@pytest.mark.parametrize("options", [{}, {"mode": "same", "offset": 3}, {"mode": "circular"}], ids=str)
def test_prepared_spectrum(options):
    u, k, mask, d = noise(2, 3, 200), noise(3, 90, seed=1), random_mask(), noise(3, seed=2)
    spectrum = FilterSpectrum(k, 200, mask=mask, **options)
    for prepared in (spectrum, copy.deepcopy(spectrum), spectrum.to("cpu")):
        assert torch.equal(long_conv(u, prepared, **options), long_conv(u, k, mask=mask, **options))
        assert torch.equal(long_conv(u, prepared, d=d, **options), long_conv(u, k, d=d, mask=mask, **options))
    if not options:  # another call than it was made for is as right
        assert torch.equal(long_conv(u[..., :150], spectrum), long_conv(u[..., :150], k, mask=mask))
        assert torch.equal(long_conv(u, spectrum, offset=3), long_conv(u, k, mask=mask, offset=3))


def test_derivatives_of_the_operator():
    """Twice, in forward mode, by vmap, and in compiled code."""
    mask = random_mask(seed=2)
    inputs = tuple(t.requires_grad_() for t in (noise(2, 2, 9), noise(2, 7, seed=1), noise(2, seed=2), noise(2, 2, 9)))

    def call(u, k, d, gate):
        return long_conv(u, k, d=d, pre_gate=gate, mask=mask)

    check = {"check_undefined_grad": False, "fast_mode": True}
    assert torch.autograd.gradcheck(call, inputs, check_forward_ad=True, **check)
    assert torch.autograd.gradgradcheck(call, inputs, check_fwd_over_rev=True, **check)
    many = tuple(torch.stack([t, 2 * t, -t]).detach() for t in inputs)
    loop = torch.stack([call(*items) for items in zip(*many, strict=True)])
    torch.testing.assert_close(torch.vmap(call)(*many), loop)
    grad = torch.func.grad(lambda *x: call(*x).pow(3).sum(), argnums=1)
    loop = torch.stack([grad(*items) for items in zip(*many, strict=True)])
    torch.testing.assert_close(torch.vmap(grad)(*many), loop)
    torch._dynamo.reset()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs), call(*inputs))
    torch.testing.assert_close(
        torch.autograd.grad(compiled(*inputs).sum(), inputs), torch.autograd.grad(call(*inputs).sum(), inputs)
    )


def test_operator_is_what_torch_expects():
    u, k = noise(2, 2, 9).requires_grad_(), noise(2, 7, seed=1).requires_grad_()
    tensors, options = (u, k, None, None, None, None, random_mask().bins), ("causal", 0, False, "double", None)
    opcheck(torch.ops.longconv_audio.long_conv.default, (*tensors, *options))
    arguments = ([True, True, False, False, False], noise(2, 2, 9, seed=2).requires_grad_(), *tensors, *options)
    opcheck(torch.ops.longconv_audio.long_conv_backward.default, arguments)
    with pytest.raises(NotImplementedError, match="one mask for a whole batch"):
        torch.vmap(lambda mask: torch.ops.longconv_audio.long_conv(*tensors[:6], mask, *options))(
            random_mask().bins.expand(3, -1)
        )


def test_prepare_takes_a_mask():
    prepare(noise(2, 3, 9), noise(3, 7).requires_grad_(), d=noise(3), mask=random_mask(), backward=True)


# ---- masks


@pytest.mark.parametrize("points", [256, 512, 1024, 2048, 4096, 8192, 16384, 32768])
def test_blocks_are_units_of_residues_and_bands(points):
    units = {256: 1, 512: 1, 1024: 2, 2048: 8, 4096: 16, 8192: 16}.get(points, 32)
    assert FrequencyMask.units(points) == units
    one = torch.zeros(units, BANDS, dtype=torch.bool)
    one[-1, 3] = True
    mask = FrequencyMask(points, one)
    kept = mask.bins.nonzero()[:, 0]
    assert len(kept) == points // units // BANDS
    assert mask.zeros == 1 - 1 / (units * BANDS)
    assert mask.skipped == (units - 1) / units
    residues = {1024: 32, 2048: 16}.get(points, units)
    together = residues // units
    assert set((kept % residues).tolist()) == set(range(residues - together, residues))
    assert set((kept // (points // BANDS)).tolist()) == {3}


def test_units_are_those_of_the_kernels():
    """A unit is what a warp transforms at once: 16 rows of the second factor, the outermost of a row of two."""
    for n1, p, q in HALF_FACTORS:
        in_a_row = n1 == 1
        assert FrequencyMask.units(n1 * p * q) == (p // 16 if in_a_row else n1 * p // 16)


def test_masks_are_rounded_outward_and_say_by_how_much():
    kept = torch.zeros(4096, dtype=torch.bool)
    kept[[5, 5 + 16, 4095]] = True  # two of one block, and one of another
    mask = FrequencyMask.from_bins(kept)
    assert mask.bins[kept].all()
    assert int(mask.blocks.sum()) == 2
    assert mask.added == 2 * 16 - 3
    assert int(mask.bins.sum()) == 32
    again = FrequencyMask.from_bins(mask.bins)
    assert torch.equal(again.blocks, mask.blocks)
    assert again.added == 0
    moved = mask.to("cpu")
    assert (moved.added, moved.device) == (mask.added, torch.device("cpu"))


def test_masks_of_frequencies():
    kept = torch.zeros(129, dtype=torch.bool)
    kept[64:] = True  # from a quarter of the sample rate on
    mask = FrequencyMask.from_frequencies(kept, 4096)
    frequency = bin_frequencies(4096).abs()
    assert mask.bins[frequency >= 0.25].all()
    assert not mask.bins[frequency < 0.25 - 2 / 16].any()


def test_sparsify_keeps_the_units_with_the_most_energy():
    """Filters that have energy in two units alone lose nothing; in the others they lose what the report says."""
    points, wanted = 4096, [3, 9]
    blocks = torch.zeros(16, BANDS, dtype=torch.bool)
    blocks[wanted] = True
    own = FrequencyMask(points, blocks)
    impulse = torch.zeros(2, 1, points, dtype=torch.float64)
    impulse[..., 0] = 1
    k = long_conv(impulse, noise(1, points), mask=own)[:, 0]
    u = noise(4, 1, points, seed=3)
    mask, report = sparsify(k, keep=0.5)
    assert mask.blocks[wanted].all()
    assert report == (report.error_db, 0.5, 0.5, 0)
    y = long_conv(u, k[:1])
    whole = FrequencyMask.from_bins(torch.ones(points, dtype=torch.bool))
    assert_close(long_conv(u, k[:1], mask=whole), y)
    # White noise in all of the circle's 2M samples would lose exactly so much; M of them come close.
    for keep in (0.25, 0.5, 0.75):
        mask, report = sparsify(noise(3, points), keep=keep)
        error = long_conv(noise(6, 3, points, seed=5), noise(3, points), mask=mask) - long_conv(
            noise(6, 3, points, seed=5), noise(3, points), mask=whole
        )
        signal = long_conv(noise(6, 3, points, seed=5), noise(3, points), mask=whole)
        measured = 20 * math.log10(float(error.norm() / signal.norm()))
        assert measured == pytest.approx(report.error_db, abs=0.5)
    assert sparsify(k, keep=1)[1] == (-math.inf, 1.0, 0.0, 0)
    assert sparsify(k, keep=0.01)[0].skipped == 15 / 16
    assert sparsify(k, length=5000)[0].points == 8192


def test_band_keeps_a_band():
    """A tone in it comes through, and one outside does not."""
    rate, points = 48000, 8192
    k = torch.zeros(1, points, dtype=torch.float64)
    k[0, 0] = 1
    mask, report = band(k, 6100, 8900, rate)
    assert report.skipped == 0
    assert report.kept == pytest.approx(2 / 16, abs=1e-9)  # the band from 6 to 9 kHz, and its negative frequencies
    asked = 2 * 2800 / rate * points
    assert asked <= points / 8 - report.added <= asked + 2 * 3  # with the bins next to each edge
    assert report.error_db == pytest.approx(10 * math.log10(14 / 16), abs=1e-6)
    time = torch.arange(points, dtype=torch.float64)
    # Away from the row's ends, where a tone begins and stops.
    for hertz, share in ((7000, 1), (3000, 0), (15000, 0)):
        frequency = (round(hertz / rate * points) - 0.25) / points
        u = torch.cos(2 * math.pi * frequency * time)[None, None]
        y = long_conv(u, k, mask=mask)[..., points // 4 : 3 * points // 4]
        gain = float(y.norm() / u[..., points // 4 : 3 * points // 4].norm())
        assert gain == pytest.approx(share, abs=2e-2)


# ---- what is wrong


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: FrequencyMask(4096, torch.ones(16, 8, dtype=torch.bool)), ValueError, r"expected \(16, 16\)"),
        (lambda: FrequencyMask(4096, torch.ones(16, 16)), TypeError, "float32; expected a torch tensor of bool"),
        (lambda: FrequencyMask(5000, torch.ones(16, 16, dtype=torch.bool)), ValueError, "points is 5000"),
        (lambda: FrequencyMask.from_bins(torch.ones(300, dtype=torch.bool)), ValueError, "points is 300"),
        (lambda: FrequencyMask.from_bins(torch.ones(2, 256, dtype=torch.bool)), ValueError, r"shape \(2, 256\)"),
        (lambda: FrequencyMask.from_bins(torch.ones(256)), TypeError, "kept is of torch.float32"),
        (lambda: FrequencyMask.from_frequencies(torch.ones(9), 256), ValueError, "kept is of torch.float32"),
        (lambda: sparsify(noise(3, 300), keep=0), ValueError, "keep is 0; expected the share"),
        (lambda: sparsify(noise(3, 300), length=0), ValueError, "length is 0"),
        (lambda: band(noise(3, 300), 100, 30000, 48000), ValueError, "high 30000 Hz at a sample rate of 48000 Hz"),
        (lambda: long_conv(noise(2, 3, 300), noise(3, 9), mask=random_mask()), ValueError, "mask has 256 points"),
        (lambda: long_conv(noise(2, 3, 200), noise(3, 99), mask=random_mask(), mode="full"), ValueError, "298 in the"),
        (lambda: long_conv(noise(2, 3, 9), noise(3, 9), mask=random_mask().bins), TypeError, "mask is a Tensor"),
        (lambda: long_conv(noise(1, 3, 9), FilterSpectrum(noise(3, 9), 9), mask=random_mask()), ValueError, "mask "),
        (lambda: FilterSpectrum(noise(3, 9), 300, mask=random_mask()), ValueError, "mask has 256 points"),
    ],
)  # fmt: skip
def test_bad_masks(make, error, message):
    with pytest.raises(error, match=message):
        make()
