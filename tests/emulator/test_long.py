"""Rows that no block holds, on the emulator: small ones, cut into as many passes and tiles as large ones are."""

import shutil

import harness
import pytest
import torch
from convolution import snr
from long_rows import LongRows

from longconv_audio.engines.cuda import half_planes, long_cuts, single_kernels
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.cuda.outer_kernels import OUTER_FACTORS

SINGLE, HALF = torch.float32, torch.float16
LEAST = {SINGLE: 125.0, HALF: 58.0, torch.bfloat16: 45.0}


@pytest.fixture
def noise(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=generator)


def check(c: LongRows, noise, gradients: bool = True) -> None:
    """y and every gradient. d's is a few numbers, each a sum that may come out near zero."""
    y = c.forward()
    wanted = c.expected()
    assert y.isfinite().all()
    assert snr(y.double().numpy(), wanted.numpy()) >= LEAST[c.dtype]
    if not gradients:
        return
    dy = noise(*wanted.shape)
    got, right = c.gradients(dy), c.expected_gradients(dy)
    assert got.keys() == right.keys()
    for name, g in got.items():
        least = LEAST[SINGLE] if c.dtype == SINGLE else LEAST[c.dtype]
        assert snr(g.double().numpy(), right[name].numpy()) >= least - (20 if name == "d" else 0), name


@pytest.mark.parametrize("outer", OUTER_FACTORS, ids=str)
def test_every_outer_transform(outer, noise, seed):
    length = 128 * outer[0] * outer[1] - 5
    k = noise(2, length) * torch.exp(torch.linspace(0, -6, length))
    check(LongRows((outer,), 128, {"u": noise(1, 2, length), "k": k}, seed=seed), noise, gradients=outer != (16, 32))


@pytest.mark.parametrize("outer", [((1, 8),), ((1, 2), (1, 4)), ((1, 2), (1, 2), (1, 2))], ids=str)
def test_passes(outer, noise, seed):
    """Three, five and seven."""
    rows = (2, 2, 1000)
    tensors = {
        "u": noise(*rows),
        "k": noise(2, 900),
        "d": noise(2),
        "pre_gate": noise(*rows),
        "post_gate": noise(*rows),
    }
    check(LongRows(outer, 128, tensors, seed=seed), noise)


@pytest.mark.parametrize("gate", ["pre_gate", "post_gate"])
@pytest.mark.parametrize("dtype", LEAST, ids=str)
def test_numbers_and_gates(gate, dtype, noise, seed):
    tensors = {"u": noise(2, 2, 1999), "k": noise(1, 300) / 10, gate: noise(2, 2, 1999)}
    check(LongRows(((1, 8),), 256, tensors, dtype=dtype, seed=seed), noise)


@pytest.mark.parametrize(("outer", "inner"), [((4, 16), 256), ((1, 4), 4096), ((1, 16), 1024)], ids=str)
@pytest.mark.parametrize("filters", [(1,), (2,), (2, 4)], ids=str)
def test_half_precision(outer, inner, filters, noise, seed):
    """Rows of any level, one of them silent; with skip terms that make more spectra than there are filters."""
    rows = (2, 4, outer[0] * outer[1] * inner - 3)
    u = noise(*rows) * 10 ** torch.arange(-3, 5).view(2, 4, 1).float().clamp(-3, 1)
    u[0, 0] = 0
    k = noise(*filters, 500) * torch.exp(torch.linspace(0, -6, 500))
    tensors = {"u": u, "k": k, "d": noise(4), "post_gate": noise(*rows)}
    c = LongRows((outer,), inner, tensors, dtype=HALF, seed=seed)
    check(c, noise)
    y, wanted = c.forward(), c.expected()
    assert not y[0, 0].any()
    for row in range(1, 4):
        assert snr(y[1, row].double().numpy(), wanted[1, row].numpy()) >= LEAST[HALF] - 3


def test_prepared_spectra_in_half_precision(noise, seed):
    c = LongRows(((1, 8),), 256, {"u": noise(2, 2, 1800), "k": noise(2, 100)}, dtype=HALF, seed=seed)
    assert torch.equal(c.forward(1800), c.forward())


@pytest.mark.parametrize("filters", [(1,), (2,), (4,), (2, 1), (2, 4)], ids=str)
@pytest.mark.parametrize("group", [1 << 13, 1 << 15, 1 << 20], ids=str)
def test_filter_sharing(filters, group, noise, seed):
    """In groups of one window, of a few, and of all."""
    k, d = noise(*filters, 500), noise(*filters[:-1], 4 if filters[-1] == 4 else 1)
    check(LongRows(((1, 8),), 128, {"u": noise(2, 4, 1024), "k": k, "d": d}, group=group, seed=seed), noise)


def test_many_filters_on_one_input(noise, seed):
    tensors = {"u": noise(2, 1, 1000), "k": noise(3, 400), "pre_gate": noise(2, 1, 1000)}
    check(LongRows(((1, 8),), 128, tensors, seed=seed), noise)


MODES = [
    ("causal", 20, False), ("causal", 299, False), ("causal", 7, True), ("full", 3, False), ("full", 0, True),
    ("same", 0, False), ("same", 30, True), ("circular", 30, False), ("circular", 3, True),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "offset", "correlate"), MODES)
@pytest.mark.parametrize("taps", [300, 1500])
def test_modes(mode, offset, correlate, taps, noise, seed):
    tensors = {"u": noise(1, 2, 700), "k": noise(2, taps), "d": noise(2)}
    call = {"mode": mode, "offset": offset, "correlate": correlate}
    check(LongRows(((1, 16),), 128, tensors, **call, seed=seed), noise)


@pytest.mark.parametrize(("mode", "offset", "correlate"), MODES[:7])
@pytest.mark.parametrize(("outer", "inner"), [(((1, 4),), 128), ((), 512)], ids=["planes", "blocks"])
def test_tiles(mode, offset, correlate, outer, inner, noise, seed):
    """A filter much shorter than its rows, which are no whole number of tiles."""
    rows = (2, 2, 3333)
    tensors = {"u": noise(*rows), "k": noise(1, 300), "d": noise(2), "pre_gate": noise(*rows)}
    if mode != "full":
        tensors["post_gate"] = noise(*rows)
    call = {"mode": mode, "offset": offset, "correlate": correlate}
    check(LongRows(outer, inner, tensors, **call, group=1 << 14, seed=seed), noise)


@pytest.mark.parametrize(("outer", "inner"), [(((1, 4),), 128), ((), 256)], ids=["planes", "blocks"])
def test_tiles_of_filters_for_each_item(outer, inner, noise, seed):
    tensors = {"u": noise(3, 2, 2000), "k": noise(3, 2, 100), "post_gate": noise(3, 2, 2000)}
    check(LongRows(outer, inner, tensors, seed=seed), noise)
    check(LongRows(outer, inner, {**tensors, "k": noise(2, 100), "d": noise(3, 2)}, seed=seed), noise)


@pytest.mark.parametrize("length", [1000, 3333])
@pytest.mark.parametrize(("outer", "inner"), [(((1, 8),), 128), ((), 256)], ids=["planes", "blocks"])
def test_prepared_spectra(outer, inner, length, noise, seed):
    for k in (noise(2, 100), noise(2, 1, 100)):
        c = LongRows(outer, inner, {"u": noise(2, 2, length), "k": k}, offset=5, seed=seed)
        assert torch.equal(c.forward(length), c.forward())


def test_gradients_that_take_another_precision_than_the_spectrum(noise, seed):
    """One input's gradient is a sum over its filters, made in single precision."""
    rows, length = LongRows(((1, 8),), 256, {"u": noise(2, 1, 1800), "k": noise(3, 100)}, dtype=HALF, seed=seed), 1800
    dy = noise(2, 3, length)
    got, right = rows.gradients(dy, prepared_for=length), rows.expected_gradients(dy)
    for name in ("u", "k"):
        assert snr(got[name].double().numpy(), right[name].numpy()) >= LEAST[HALF]


@pytest.mark.parametrize("gpu", KNOWN.values(), ids=list(KNOWN))
@pytest.mark.parametrize("precision", ["single", "half"])
def test_every_size_has_kernels_on_every_device(gpu, precision):
    points = {"single": single_kernels.planes_points, "half": half_planes.planes_points}
    for size in long_cuts.sizes(gpu):
        outer, inner, used = long_cuts.transform(size, gpu, precision)
        assert inner in points[used](gpu) or not outer
        assert all(shape.fits(gpu) for shape in outer)


def test_same_bits_in_every_order_of_execution(noise):
    tensors, dy = {"u": noise(3, 2, 1000), "k": noise(1, 700)}, noise(3, 2, 1000)
    first, second = (LongRows(((4, 16),), 128, tensors, group=1 << 18, seed=order) for order in (1, 2))
    assert torch.equal(first.forward(), second.forward())
    for a, b in zip(first.gradients(dy).values(), second.gradients(dy).values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("outer", [(1, 16), (4, 16)], ids=str)
def test_traffic(outer, noise, seed):
    """Three crossings of device memory and no more, in whole sectors; and no bank conflict on the way."""
    size = outer[0] * outer[1]
    shape, points = (2, 3, 128 * size), 128 * size
    tensors = {"u": noise(*shape), "k": noise(3, points), "pre_gate": noise(*shape), "post_gate": noise(*shape)}
    c = LongRows((outer,), 128, tensors, seed=seed)
    c.forward()
    counted = {kernel.name.split("<")[0]: counters for kernel, _, counters in c.on.counted}
    windows, samples, planes = 6, points * 4 // 32, points * 8 // 32
    into, out_of = counted["outer::outer_forward"], counted["outer::outer_inverse"]
    assert (into.device_sectors_read, into.device_sectors_written) == (2 * windows * samples, windows * planes)
    assert (out_of.device_sectors_read, out_of.device_sectors_written) == (
        windows * (planes + samples),
        windows * samples,
    )
    inner = counted["single::convolve"]
    assert inner.device_sectors_written == windows * planes
    assert windows * planes + 3 * planes <= inner.device_sectors_read <= 1.05 * (windows * planes + 3 * planes)
    for counters in (into, out_of):
        assert counters.load_sectors == counters.load_sectors_ideal
        assert counters.store_sectors == counters.store_sectors_ideal
        assert counters.wavefronts == counters.wavefronts_ideal


@pytest.mark.parametrize(
    ("header", "right", "wrong"),
    [
        ("outer_shape.cuh", "  ptx::block_barrier();\n", ""),
        ("outer_forward.cuh", "(4 * c + S::R - 1)", "(4 * c + S::R)"),
        ("outer_inverse.cuh", "result == 0 ? a.gate : a.second_gate", "a.gate"),
        ("single_rows.cuh", "step >= before", "true"),
        ("single_bins.cuh", "* planes + plane)", "* planes)"),
    ],
)
def test_fault_planted_in_a_kernel_is_caught(header, right, wrong, tmp_path, noise, seed):
    folder = tmp_path / "csrc"
    shutil.copytree(harness.CSRC, folder)
    text = (folder / header).read_text()
    assert right in text, "the kernel has changed: plant this fault elsewhere"
    (folder / header).write_text(text.replace(right, wrong))
    outer, inner = ((), 256) if header == "single_rows.cuh" else (((4, 16),), 128)
    rows = (1, 2, 3000)
    tensors = {"u": noise(*rows), "k": noise(2, 150), "pre_gate": noise(*rows)}
    c = LongRows(outer, inner, tensors, seed=seed, folder=folder)
    try:
        y, dy = c.forward(), noise(*rows)
        worst = min(
            snr(y.numpy(), c.expected().numpy()),
            *(
                snr(g.numpy(), r.numpy())
                for g, r in zip(c.gradients(dy).values(), c.expected_gradients(dy).values(), strict=True)
            ),
        )
    except harness.Fault:
        return
    assert not worst >= 100
