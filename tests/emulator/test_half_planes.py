"""The half-precision kernels of complex rows against complex128."""

import harness
import numpy as np
import pytest
from convolution import snr
from planes import Planes, decaying, twisted, white

from longconv_audio.engines.cuda import half_planes
from longconv_audio.engines.cuda.half_kernels import HALF_FACTORS

LEAST, LEAST_GRADIENT = 58.0, 57.0  # dB
POINTS = [int(np.prod(factors)) for factors in HALF_FACTORS]


def planes(normal, points, batch=3, sources=2, per_source=2, filters=None, levels=None, **others) -> Planes:
    shape = (batch, sources, per_source, points)
    levels = np.zeros((batch, sources, points // 32)) if levels is None else levels
    return Planes(white(normal, *shape), decaying(normal, filters or sources, per_source, points), levels, **others)


def check(p: Planes, least: float = LEAST) -> None:
    got, wanted = p.forward(), p.expected()
    for row in np.ndindex(got.shape[:-1]):
        reached = decibels(got[row], wanted[row])
        assert reached >= least, f"{row}: {reached:.1f} dB"


def check_gradients(p: Planes, g: np.ndarray, levels: np.ndarray) -> None:
    (dx, dk), (dx_wanted, dk_wanted) = p.gradients(g, levels), p.expected_gradients(g, levels)
    for row in np.ndindex(dx.shape[:-1]):
        reached = decibels(dx[row], dx_wanted[row])
        assert reached >= LEAST_GRADIENT, f"{row}: {reached:.1f} dB"
    for row in np.ndindex(dk.shape[:-1]):
        reached = decibels(dk[row], dk_wanted[row])
        assert reached >= LEAST_GRADIENT, f"filter {row}: {reached:.1f} dB"


def decibels(got, wanted) -> float:
    assert np.abs(wanted).max() > 0
    return snr(got.view(np.float64), wanted.view(np.float64))


@pytest.mark.parametrize("points", POINTS)
def test_every_size(points, normal, seed):
    p = planes(normal, points, batch=9 if points <= 1024 else 3, seed=seed)
    check(p)
    _, (_, chunks) = p.on.launches[-1]
    assert p.x.shape[0] > chunks * (4 if points <= 1024 else 1)


@pytest.mark.parametrize("points", [2048, 8192])
def test_scales_of_a_wide_range(points, normal, seed):
    """Each tile at a level of its own, from 2^-100 on; those far below the row's loudest are lost in its rounding."""
    levels = np.floor(20 * normal(3, 2, points // 32))
    levels[:, 1] -= 100
    p = planes(normal, points, levels=levels, seed=seed)
    check(p)


@pytest.mark.parametrize("points", [4096, 16384])
def test_tiles_in_their_places(points, normal, seed):
    """Tiles at 2^-3 to 2^0 all matter."""
    levels = 60.0 - np.abs(np.floor(3.99 * np.tanh(normal(2, 1, points // 32))))
    check(planes(normal, points, batch=2, sources=1, levels=levels, seed=seed))


def test_silent_tiles_and_rows(normal, seed):
    p = planes(normal, 2048, batch=2, sources=1, seed=seed)
    p.words[0, :, :1024] = 0
    p.scales[0, 0, :32] = 0
    p.words[1] = 0
    p.scales[1] = 0
    got, wanted = p.forward(), p.expected()
    assert not got[1].any()
    assert decibels(got[0], wanted[0]) >= LEAST


def test_loudest_points_there_can_be(normal, seed):
    """All of a row's energy in one bin: sqrt(2 M) times the largest part."""
    p = planes(normal, 16384, batch=1, sources=1, seed=seed)
    n = np.arange(p.points)
    tone = 15.9 * np.sqrt(2) * np.exp(2j * np.pi * n * (700 - 0.25) / p.points)
    x = np.clip(tone.real, -15.9, 15.9) + 1j * np.clip(tone.imag, -15.9, 15.9)
    p.words, p.scales = p.held(np.broadcast_to(x, p.x.shape), p.levels)
    got, wanted = p.forward(), p.expected()
    # The filter may take the tone away, so the error is held against the norms of both; or bring it out.
    for plane in range(2):
        k = p.k[0, 0, plane]
        gain = max(np.linalg.norm(k), abs(twisted(k)[700]))
        error = np.linalg.norm((got - wanted)[0, 0, plane])
        assert 20 * np.log10(np.linalg.norm(x) * gain / error) >= 55


@pytest.mark.parametrize("points", [2048, 8192])
def test_rows_over_those_they_come_of(points, normal, seed):
    p = planes(normal, points, in_place=True, gap=4, seed=seed)
    wanted = p.expected()
    got = p.forward()
    assert decibels(got, wanted) >= LEAST
    assert not p.words[..., points:].any()  # what lies between rows is not touched


@pytest.mark.parametrize(("sources", "filters"), [(4, 1), (4, 2), (3, 3)])
def test_filter_sharing(sources, filters, normal, seed):
    check(planes(normal, 2048, batch=2, sources=sources, per_source=3, filters=filters, seed=seed))


@pytest.mark.parametrize("points", [512, 2048])
def test_filters_of_each_items_own(points, normal, seed):
    x, g = white(normal, 3, 2, 2, points), white(normal, 3, 2, 2, points)
    k, levels = decaying(normal, 3, 1, 2, points), np.zeros((3, 2, points // 32))
    check(Planes(x, k, levels, seed=seed))
    check_gradients(Planes(x, k, levels, seed=seed), g, levels)


@pytest.mark.parametrize(("points", "arch"), [(16384, "sm_80"), (8192, "sm_86")])
def test_spectrum_that_does_not_fit_shared_memory(points, arch, normal, seed):
    p = planes(normal, points, batch=2, sources=1, arch=arch, seed=seed)
    check(p)
    assert p.on.launches[-1][0].name.endswith("false>")


@pytest.mark.parametrize("points", POINTS)
def test_same_bits_in_any_order(points, normal, seed):
    first = planes(normal, points, sources=1, seed=seed)
    second = Planes(first.x, first.k, first.levels, seed=seed + 1)
    np.testing.assert_array_equal(first.forward(), second.forward())


# A row: every stage complex at both ends, the incomplete FFT's columns at half price.
TENSOR_INSTRUCTIONS = {256: 32, 512: 64, 1024: 192, 2048: 384, 4096: 768, 8192: 1536, 16384: 4096}


@pytest.mark.parametrize("points", POINTS)
def test_counts(points, normal, seed):
    rows = 8
    p = planes(normal, points, batch=rows, sources=1, per_source=1, seed=seed)
    check(p)
    n = p.counters
    assert n.tensor_instructions == rows * TENSOR_INSTRUCTIONS[points]
    assert n.wavefronts <= 1.01 * n.wavefronts_ideal
    assert n.load_sectors == n.load_sectors_ideal
    assert n.store_sectors == n.store_sectors_ideal
    constants = p.shape.tables_bytes + 4 * points + 32
    assert n.device_sectors_read * 32 == rows * (4 * points + points // 8) + constants
    assert n.device_sectors_written * 32 == rows * 4 * points + -(-rows * 4 // 32) * 32


@pytest.mark.parametrize("points", POINTS)
def test_gradients_of_every_size(points, normal, seed):
    p = planes(normal, points, batch=9 if points <= 1024 else 3, seed=seed)
    check_gradients(p, white(normal, *p.x.shape), np.zeros_like(p.levels))
    _, (_, chunks) = next(launch for launch in p.on.launches if "half_planes_backward" in launch[0].name)
    assert chunks == 1  # of several rows


@pytest.mark.parametrize("points", [512, 4096])
def test_gradients_of_planes_of_any_level(points, normal, seed):
    levels, g_levels = (np.floor(3 * normal(5, 2, points // 32)) + level for level in (-30, 40))
    p = planes(normal, points, batch=5, levels=levels, seed=seed)
    check_gradients(p, white(normal, *p.x.shape), g_levels)


@pytest.mark.parametrize("points", [256, 2048])
@pytest.mark.parametrize(("sources", "filters"), [(4, 1), (4, 2)])
def test_gradients_of_shared_filters(points, sources, filters, normal, seed):
    p = planes(normal, points, batch=2, sources=sources, per_source=3, filters=filters, seed=seed)
    check_gradients(p, white(normal, *p.x.shape), np.zeros_like(p.levels))


@pytest.mark.parametrize("points", [1024, 8192])
def test_gradients_over_the_planes_they_come_of(points, normal, seed):
    p = planes(normal, points, in_place=True, gap=4, seed=seed)
    check_gradients(p, white(normal, *p.x.shape), np.zeros_like(p.levels))


@pytest.mark.parametrize(("points", "arch"), [(8192, "sm_80"), (4096, "sm_86")])
def test_gradients_where_spectra_do_not_fit_shared_memory(points, arch, normal, seed):
    p = planes(normal, points, sources=1, arch=arch, seed=seed)
    check_gradients(p, white(normal, *p.x.shape), np.zeros_like(p.levels))
    assert any("Keep::in_device" in kernel.name for kernel, _ in p.on.launches)


@pytest.mark.parametrize("points", POINTS)
def test_counts_of_gradients(points, normal, seed):
    rows = 8
    p = planes(normal, points, batch=rows, sources=1, per_source=1, seed=seed)
    check_gradients(p, white(normal, *p.x.shape), np.zeros_like(p.levels))
    n = p.counters
    assert n.tensor_instructions == rows * TENSOR_INSTRUCTIONS[points] * 3 / 2
    assert n.wavefronts <= 1.01 * n.wavefronts_ideal
    assert n.load_sectors == n.load_sectors_ideal
    assert n.store_sectors == n.store_sectors_ideal
    chunks = -(-rows // half_planes.backward_rows(points, rows, 1))
    scratch = chunks * half_planes.scratch_bytes(points, p.on.gpu)
    constants = p.shape.tables_bytes + 4 * points + 32
    assert n.device_sectors_read * 32 == 2 * rows * (4 * points + points // 8) + constants + scratch
    assert n.device_sectors_written * 32 == rows * 4 * points + 32 + chunks * 8 * points + scratch


@pytest.mark.parametrize(
    ("header", "right", "wrong"),
    [
        # the barrier between rows and columns
        ("half_planes_forward.cuh", "    ptx::block_barrier();\n    if (here) {", "    if (here) {"),
        # the barrier between columns and rows
        ("half_planes_forward.cuh", "    ptx::block_barrier();\n    if (item + 2 <", "    if (item + 2 <"),
        # the wait for the next row
        ("half_planes_rows.cuh", "    ptx::async_wait<0>();\n", ""),
        # a tile at its neighbour's level
        ("half_planes_rows.cuh", "<float>(scales + place(tile))", "<float>(scales + place(tile ^ 1))"),
        # the two halves of a run, exchanged
        ("half_planes_rows.cuh", "low[i] = odd ? got : own[i]", "low[i] = odd ? own[i] : got"),
        # a row's level left out of its scale
        ("half_planes_forward.cuh", "kept.filter_scale() * level", "kept.filter_scale()"),
    ],
)  # fmt: skip
def test_fault_planted_in_the_kernel_is_caught(header, right, wrong, tmp_path, normal, seed):
    folder = planted(tmp_path, header, right, wrong)
    levels = 3.0 - np.arange(6 * 256).reshape(6, 1, 256) % 4
    p = planes(normal, 8192, batch=6, sources=1, per_source=1, levels=levels, seed=seed, folder=folder)
    try:
        reached = decibels(p.forward(), p.expected())
    except harness.Fault:
        return
    assert not reached >= 20


@pytest.mark.parametrize("points", [8192, 16384])
@pytest.mark.parametrize(
    ("header", "right", "wrong"),
    [
        # the barrier before the exchange is read
        (
            "half_planes_backward.cuh", "    ptx::block_barrier();\n    const Place at = place(phase + 1);",
            "    const Place at = place(phase + 1);",
        ),
        # the barrier after it is written
        ("half_planes_backward.cuh", "    ptx::block_barrier();\n  };", "  };"),
        # the level of x left out of the sums
        ("half_planes_backward.cuh", "of_sums, unit", "g_level, unit"),
        # the spectrum of x where another thread reads it
        ("half_planes_backward.cuh", "unit, at.lane), unit, at.lane);", "unit, at.lane), unit, at.lane ^ 1);"),
    ],
)  # fmt: skip
def test_fault_planted_in_the_backward_kernel_is_caught(points, header, right, wrong, tmp_path, normal, seed):
    folder = planted(tmp_path, header, right, wrong)
    levels = np.full((6, 1, points // 32), -7.0)
    p = planes(normal, points, batch=6, sources=1, per_source=1, levels=levels, seed=seed, folder=folder)
    g = white(normal, *p.x.shape)
    try:
        results = zip(p.gradients(g, levels), p.expected_gradients(g, levels), strict=True)
        reached = min(decibels(got, wanted) for got, wanted in results)
    except harness.Fault:
        return
    assert not reached >= 20


def planted(folder, header, right, wrong):
    """The kernels' source with a fault in it."""
    for path in harness.CSRC.glob("*.cuh"):
        text = path.read_text()
        if path.name == header:
            assert right in text, "the kernel has changed: plant this fault elsewhere"
            text = text.replace(right, wrong)
        (folder / path.name).write_text(text)
    return folder
