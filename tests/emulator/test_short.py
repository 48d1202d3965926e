"""The kernels of short convolutions against float64, on the emulator, by the package's own host code."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import harness
import numpy as np
import pytest
import torch
from convolution import assert_rows, decibel
from emulated import EmulatedLauncher

from longconv_audio.engines import torch_short_conv
from longconv_audio.engines.cuda import short_conv, short_kernels
from longconv_audio.engines.cuda.arguments import ShortArguments
from longconv_audio.engines.short_call import ShortCall

FP16, BF16, FP32 = torch.float16, torch.bfloat16, torch.float32
DTYPES = pytest.mark.parametrize("dtype", [FP16, BF16, FP32], ids=str)
LAYOUTS = pytest.mark.parametrize("channels_last", [False, True], ids=["time_dense", "channels_dense"])
# dB of the signal over the error. Sums are in float32, and rounding the results moves each by 2^-11 at most in fp16, by
# 2^-8 in bf16: 66.2 and 48.2 dB, even of a row whose numbers all fall between two.
LEAST = {FP16: 70.0, BF16: 52.0, FP32: 125.0}
LEAST_OF_A_ROW = {FP16: 66.0, BF16: 48.0, FP32: 120.0}
NAMES = ("u", "k", "bias", "gate")
SECTOR = 32


class ShortLauncher(EmulatedLauncher):
    """Knows which memory the kernels of short convolutions may touch."""

    def launched(self, name: str) -> bool:
        return any(name in kernel.name for kernel, _ in self.launches)

    def _memory(self, kernel, a, grid):
        if not isinstance(a, ShortArguments):
            terms = (a.chunks - 1) * a.chunk_step + (a.channels - 1) * a.channel_step
            slots = max(a.first_slot + a.taps - 1, a.bias_slot) * a.slot_step
            yield "sums", a.sums, (terms + slots + 1) * 4, False
            found = [("dk", a.filters * a.taps * 4), ("dbias", a.channels * 4)]
            yield from ((name, at, size, True) for name, size in found if (at := getattr(a, name)))
            return
        sample, dense = 4 if "Fp32" in kernel.name else 2, "channels" not in kernel.name
        sums_of_channels = "channels_sums" in kernel.name
        window, results = (a.out_length, a.length) if sums_of_channels else (a.length, a.out_length)
        for name, strides, length, writes in (
            ("x", "x", window, False), ("pre_gate", "pre", window, False), ("side", "side", results, False),
            ("y", "y", results, True),
        ):  # fmt: skip
            at, steps = getattr(a, name), getattr(a, f"{strides}_strides")
            rows, inner = (a.channels, length) if dense else (length, a.channels)
            if at and length:
                last = (a.batch - 1) * steps.batch + (rows - 1) * steps.channel + inner
                yield name, at, last * sample, writes
        filters = a.channels // a.channels_per_filter if dense else a.channels
        products = {"short_product_sums": 128, "short_products": short_kernels.FUSED_SLOTS}
        of_rows = products.get(kernel.name.split("::")[1].split("<")[0], -(-(a.lead % 4 + a.taps) // 8) * 8)
        slots = of_rows if dense else a.taps
        for name, size, writes in (
            ("k", filters * a.taps, False), ("bias", a.channels, False),
            ("sums", a.chunks * a.channels * (slots + 1), True),
        ):  # fmt: skip
            if at := getattr(a, name):
                yield name, at, size * 4, writes


@dataclass
class Short:
    """One call of the engine, on noise of unit scale that is rounded to the dtype."""

    normal: object
    shape: tuple[int, int, int]  # batch, channels, samples
    taps: int
    dtype: torch.dtype = FP32
    padding: tuple[int, int] | None = None  # causal
    correlate: bool = False
    channels_last: bool = False
    filters: int | None = None  # as many as channels
    bias: bool = True
    gate: bool = True
    shift: int = 0  # samples that u is moved off its alignment
    seed: int = 0
    folder: Path = harness.CSRC
    tensors: list = field(init=False)

    def __post_init__(self) -> None:
        self.on = ShortLauncher(seed=self.seed, folder=self.folder)
        left, right = self.padding or ((0, self.taps - 1) if self.correlate else (self.taps - 1, 0))
        self.call = ShortCall(left, right, self.correlate, self.channels_last)
        _, channels, _ = self.shape
        u, k = self.rows(*self.shape), self.normal(self.filters or channels, self.taps)
        if self.shift:
            room = u.new_zeros(*u.shape[:2], u.shape[2] + 2 * self.shift)
            u = room[..., self.shift : self.shift + u.shape[2]].copy_(u)
        k, bias = torch.from_numpy(k).float(), torch.from_numpy(self.normal(channels)).float()
        batch, samples = self.shape[0], self.call.samples(u, k)
        gate = self.rows(batch, channels, samples)
        self.dy = self.rows(batch, channels, samples)
        self.tensors = [u, k, bias if self.bias else None, gate if self.gate else None]

    def rows(self, *shape) -> torch.Tensor:
        t = torch.from_numpy(self.normal(*shape)).to(self.dtype)
        return t.transpose(1, 2).contiguous() if self.channels_last else t

    def check(self) -> None:
        """y and every gradient, and a second time in another order of execution bit for bit the same."""
        wide = [None if t is None else t.double() for t in self.tensors]
        needs = [t is not None for t in self.tensors]
        y = short_conv.convolve(self.on, self.call, *self.tensors)
        self.assert_samples(y, torch_short_conv.forward(self.call, *wide))
        found = short_conv.gradients(self.on, self.call, needs, self.dy, *self.tensors)
        right = torch_short_conv.backward(self.call, needs, self.dy.double(), *wide)
        for name, one, other, owner in zip(NAMES, found, right, self.tensors, strict=True):
            if owner is None:
                assert one is None
                continue
            assert one.shape == owner.shape
            assert one.dtype == owner.dtype
            if name in ("k", "bias"):  # in float32, of terms that may cancel
                one, other = one.double().numpy(), other.numpy()
                level = np.linalg.norm(self.dy.double()) * (np.linalg.norm(wide[0]) if name == "k" else 1)
                if self.gate and self.on.launched("product_sums"):  # of gate dy as it is rounded
                    assert decibel(other if name == "k" else level, one - other) >= LEAST_OF_A_ROW[self.dtype], name
                else:
                    # 2^-24 for each of some thousand sums, one on another.
                    assert decibel(level, one - other) >= 105, name
                    assert name == "bias" or decibel(other, one - other) >= 75, name
            else:
                self.assert_samples(one, other)
        self.on.seed += 1
        again = short_conv.gradients(self.on, self.call, needs, self.dy, *self.tensors)
        assert all(a is b is None or torch.equal(a, b) for a, b in zip(found, again, strict=True))

    def assert_samples(self, got, wanted) -> None:
        got, wanted = (t.double().transpose(1, 2) if self.channels_last else t.double() for t in (got, wanted))
        assert_rows(got.numpy(), wanted.numpy(), LEAST[self.dtype], LEAST_OF_A_ROW[self.dtype])

    def counters(self, name: str):
        """Of the last launch of a kernel of this name."""
        return next(c for (kernel, _), (_, _, c) in reversed([*zip(self.on.launches, self.on.counted, strict=True)])
                    if name in kernel.name)  # fmt: skip


@DTYPES
@LAYOUTS
@pytest.mark.parametrize("taps", [1, 4, 9, 30, 128])
def test_every_number_of_taps(taps, channels_last, dtype, normal, seed):
    # Rows of more than a tile, none but the first aligned; several batch items.
    Short(normal, (2, 3, 1101), taps, dtype, channels_last=channels_last, seed=seed).check()


@DTYPES
@LAYOUTS
@pytest.mark.parametrize(
    ("padding", "correlate"),
    [((2, 2), False), ((1, 2), True), ((4, 4), False), ((0, 0), True), ((0, 4), False), ((9, 20), False),
     ((-3, 2), False), ((600, 7), True)],
)  # fmt: skip
def test_padding(padding, correlate, channels_last, dtype, normal, seed):
    Short(normal, (2, 2, 560), 5, dtype, padding, correlate, channels_last, seed=seed).check()


@LAYOUTS
@DTYPES
@pytest.mark.parametrize("length", [64, 512, 1024])
def test_aligned(length, dtype, channels_last, normal, seed):
    c = Short(normal, (3, 4, length), 4, dtype, channels_last=channels_last, seed=seed)
    c.check()
    assert all(kernel.name.endswith("true>") for kernel, _ in c.on.launches if kernel is not short_kernels.SUM)


@LAYOUTS
@pytest.mark.parametrize("dtype", [FP16, FP32], ids=str)
@pytest.mark.parametrize(("bias", "gate"), [(False, False), (True, False), (False, True)])
def test_with_and_without_bias_and_gate(bias, gate, dtype, channels_last, normal, seed):
    Short(normal, (2, 2, 700), 7, dtype, channels_last=channels_last, bias=bias, gate=gate, seed=seed).check()


@LAYOUTS
@pytest.mark.parametrize("filters", [1, 3])
def test_shared_filters(filters, channels_last, normal, seed):
    Short(normal, (2, 6, 530), 6, filters=filters, channels_last=channels_last, seed=seed).check()


@LAYOUTS
@pytest.mark.parametrize("dtype", [FP16, FP32], ids=str)
def test_rows_that_lie_apart(dtype, channels_last, normal, seed):
    Short(normal, (2, 66, 40), 5, dtype, channels_last=channels_last, shift=1, seed=seed).check()


@LAYOUTS
@pytest.mark.parametrize(("length", "taps", "padding"), [(1, 4, None), (3, 100, None), (5, 128, (127, 127)),
                                                         (0, 3, (4, 4)), (2, 3, (0, 0))])  # fmt: skip
def test_fewer_samples_than_taps(length, taps, padding, channels_last, normal, seed):
    c = Short(normal, (2, 2, length), taps, padding=padding, channels_last=channels_last, seed=seed)
    if c.dy.numel() and length:
        c.check()
    else:
        y = short_conv.convolve(c.on, c.call, *c.tensors)
        np.testing.assert_allclose(y, torch_short_conv.forward(c.call, *c.tensors), rtol=1e-6)
        needs = (True,) * 4
        found = short_conv.gradients(c.on, c.call, needs, c.dy, *c.tensors)
        for one, other in zip(found, torch_short_conv.backward(c.call, needs, c.dy, *c.tensors), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@LAYOUTS
def test_chunks_of_several_tiles(channels_last, normal, seed, monkeypatch):
    monkeypatch.setattr(short_kernels, "SUMS", 6)
    Short(normal, (3, 2, 1600), 11, FP16, channels_last=channels_last, seed=seed).check()


@LAYOUTS
@DTYPES
def test_traffic(dtype, channels_last, normal, seed, monkeypatch):
    """Device memory within 5 % of what has to move, shared memory within 10 % of conflict-free."""
    monkeypatch.setattr(short_kernels, "SUMS", 64)  # as few for each sample as there are in a large batch
    batch, channels, length = 4, 64, 2048
    c = Short(normal, (batch, channels, length), 4, dtype, channels_last=channels_last, seed=seed)
    plane = batch * channels * length * dtype.itemsize // SECTOR
    short_conv.convolve(c.on, c.call, *c.tensors)
    of_rows = "short_rows<" if dtype == FP32 else "short_products<"
    forward = c.counters("short_channels_few<" if channels_last else of_rows)
    assert forward.device_sectors_read <= 1.05 * 2 * plane
    assert forward.device_sectors_written == plane
    assert forward.load_sectors <= 1.5 * forward.load_sectors_ideal
    assert forward.store_sectors == forward.store_sectors_ideal
    assert forward.wavefronts <= 1.1 * forward.wavefronts_ideal

    short_conv.gradients(c.on, c.call, (True,) * 4, c.dy, *c.tensors)
    backward = c.counters("short_channels_sums" if channels_last else "Side::input")
    assert backward.device_sectors_read <= 1.05 * 3 * plane
    assert backward.device_sectors_written <= (0 if channels_last else plane) + 0.05 * 3 * plane


@pytest.mark.parametrize("dtype", [FP16, BF16], ids=str)
@pytest.mark.parametrize("taps", [9, 64, 128])
def test_traffic_and_instructions_of_products(taps, dtype, normal, seed, monkeypatch):
    """As many products as Toeplitz matrices of two parts need, and the sums of all 128 taps one in sixteen samples."""
    monkeypatch.setattr(short_kernels, "SUMS", 64)
    batch, channels, length = 2, 64, 4096
    c = Short(normal, (batch, channels, length), taps, dtype, seed=seed)
    plane = batch * channels * length * dtype.itemsize // SECTOR
    short_conv.convolve(c.on, c.call, *c.tensors)
    counters = c.counters("short_products<")
    assert counters.device_sectors_read <= 1.05 * 2 * plane
    assert counters.device_sectors_written == plane
    assert counters.load_sectors <= 1.35 * counters.load_sectors_ideal  # a tile is read with what lies before it
    assert counters.wavefronts <= 1.1 * counters.wavefronts_ideal
    steps = {9: 2, 64: 5, 128: 10}[taps]
    assert counters.tensor_instructions == batch * channels * length // 128 * 2 * steps
    if taps >= short_kernels.FUSED_SLOTS:
        short_conv.gradients(c.on, c.call, (True,) * 4, c.dy, *c.tensors)
        counters = c.counters("short_product_sums<")
        assert counters.device_sectors_read <= 1.05 * 3 * plane
        assert counters.device_sectors_written <= 0.1 * plane
        assert counters.wavefronts <= 1.1 * counters.wavefronts_ideal
        assert counters.tensor_instructions <= 1.1 * batch * channels * length // 16


@pytest.mark.parametrize("dtype", [FP16, BF16], ids=str)
def test_gradients_of_few_taps_are_rounded_once(dtype, normal, seed):
    c = Short(normal, (2, 4, 2000), 16, dtype, seed=seed)
    du, *_ = short_conv.gradients(c.on, c.call, (True,) * 4, c.dy, *c.tensors)
    wide = [t.double() for t in c.tensors]
    right, *_ = torch_short_conv.backward(c.call, (True,) * 4, c.dy.double(), *wide)
    # Nothing but the rounding of the results is to be seen: of gate dy as it is rounded, there would be 3 dB less.
    rounded = right.to(dtype).double()
    assert decibel(right.numpy(), (du - right).numpy()) >= decibel(right.numpy(), (rounded - right).numpy()) - 0.5


# What stands in csrc/, and what a mistake would make of it. One row alone may end within a piece and yet be aligned.
ONE_ROW, ROWS_APART = (1, 1, 1030), (3, 1, 1029)
FAULTS = [
    (ONE_ROW, FP32, "short_rows.cuh", "ptx::warp_barrier();\n\n    float s[run]", "float s[run]"),
    (ONE_ROW, FP32, "short_rows.cuh", "ptx::async_wait<0>();", ""),
    (ROWS_APART, FP32, "short_rows.cuh", "ptx::warp_barrier();\n    side.template put", "side.template put"),
    (
        ONE_ROW,
        FP32,
        "short_rows.cuh",
        "load(window[r], 1 - r)",
        "load(window[r], -r)",
    ),
    (ONE_ROW, FP32, "short_rows.cuh", "-2 - b - r", "-1 - b - r"),
    (ONE_ROW, FP16, "short_tile.cuh", "n < 0 || left < 0 ? 0 : left < piece ? left : piece", "piece"),
    (ONE_ROW, FP16, "short_tile.cuh", "n >= 0 && n + piece <= length", "n >= 0"),
    (ONE_ROW, FP16, "short_tile.cuh", "if (whole >= begin && whole < begin + tile)", "if (false)"),
    (ROWS_APART, FP16, "short_tile.cuh", "n + 1, end", "n + 1, end + 1"),
    (ONE_ROW, FP16, "short_stages.cuh", "async_wait<copies * (stages - 1)>", "async_wait<copies * stages>"),
    (ONE_ROW, FP16, "short_stages.cuh", "ahead.number >= end", "ahead.number > end"),
    (ONE_ROW, FP16, "short_products.cuh", "column + STEPS - 1 - step", "column + STEPS - 2 - step"),
    (ONE_ROW, FP16, "short_products.cuh", "(254 - kept) << 23", "(255 - kept) << 23"),
    (ROWS_APART, FP16, "short_products.cuh", "ptx::warp_barrier();  // another tile", "// another tile"),
    (ONE_ROW, FP16, "short_gram.cuh", "row + 16 - lane", "row + 15 - lane"),
    (ONE_ROW, FP16, "short_gram.cuh", "(first > 0 ? first : 0)", "0"),
    (ONE_ROW, FP16, "short_products.cuh", "gram.add(stage.gates, stage.side, a.first, lane);", ";"),
    (ONE_ROW, FP16, "short_product_sums.cuh", "0x5432 : 0x3210", "0x3210 : 0x3210"),
    (ONE_ROW, FP16, "short_product_sums.cuh", "- g + t * 2", "- g + t"),
]


@pytest.mark.parametrize(("shape", "dtype", "header", "right", "wrong"), FAULTS)
def test_planted_faults_show(shape, dtype, header, right, wrong, normal, seed, tmp_path, monkeypatch):
    for source in harness.CSRC.glob("*.cuh"):
        shutil.copy(source, tmp_path)
    text = (tmp_path / header).read_text()
    assert right in text
    (tmp_path / header).write_text(text.replace(right, wrong))
    monkeypatch.setattr(short_kernels, "SUMS", 1)  # a warp walks several tiles
    taps = 12 if header in ("short_gram.cuh", "short_rows.cuh") or "gram" in right else 20
    with pytest.raises((AssertionError, harness.Fault)):
        harness.in_orders(lambda order: Short(normal, shape, taps, dtype, seed=order, folder=tmp_path).check(), seed)
