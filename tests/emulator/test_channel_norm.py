"""The kernels of normalisation over channels against float64, on the emulator, by the package's own host code."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import harness
import pytest
import torch
from emulated import EmulatedLauncher
from torch.nn import functional as F

from longconv_audio.engines.cuda import channel_norm, norm_kernels
from longconv_audio.engines.cuda.arguments import NormArguments

FP16, BF16, FP32 = torch.float16, torch.bfloat16, torch.float32
TYPES = [(FP32, FP32), (FP32, FP16), (FP32, BF16), (FP16, FP16), (BF16, BF16)]
# dB of the signal over the error: results are rounded once, which moves each by 2^-11 at most in fp16, by 2^-8 in bf16.
LEAST = {FP16: 70.0, BF16: 52.0, FP32: 125.0}
# Of sums of gradients, in float32, over the level of their terms.
LEAST_OF_SUMS = 120.0
SECTOR = 32


class NormLauncher(EmulatedLauncher):
    """Knows which memory the kernels of norms may touch."""

    def _memory(self, kernel, a, grid):
        if not isinstance(a, NormArguments):
            yield "sums", a.sums, 2 * a.channels * a.chunks * 4, False
            yield "dk", a.dk, a.channels * 4, True
            yield "dbias", a.dbias, a.channels * 4, True
            return
        x, y = (4 if "Fp32" in tag else 2 for tag in kernel.name.split("<")[1].split(",")[:2])
        numbers, forward = a.all_tiles // a.tiles * a.channels * a.length, "forward" in kernel.name
        yield "x", a.x, numbers * x, False
        yield "result", a.result, numbers * (y if forward else x), True
        yield "weight", a.weight, a.channels * 4, False
        if forward:
            yield "bias", a.bias, a.channels * 4, False
        else:
            yield "dy", a.dy, numbers * y, False
            yield "sums", a.sums, 2 * a.channels * grid[0] * 4, True


@dataclass
class Norm:
    """One norm, of noise of unit scale about a mean that is rounded to the dtype."""

    normal: object
    shape: tuple[int, int, int]
    types: tuple[torch.dtype, torch.dtype] = (FP32, FP32)
    mean: float = 0.0
    eps: float = 1e-5
    seed: int = 0
    folder: Path = harness.CSRC

    def __post_init__(self) -> None:
        self.on = NormLauncher(seed=self.seed, folder=self.folder)
        channels = self.shape[1]
        kind, self.result = self.types
        self.x = torch.from_numpy(self.normal(*self.shape) + self.mean).to(kind)
        self.dy = torch.from_numpy(self.normal(*self.shape)).to(self.result)
        self.weight, self.bias = (torch.from_numpy(self.normal(channels)).float() for _ in range(2))

    def check(self) -> None:
        """y and every gradient, and a second time in another order of execution bit for bit the same."""
        found = self.run()
        wide = [t.double().requires_grad_() for t in (self.x, self.weight, self.bias)]
        rows = wide[0].transpose(1, 2)
        y = F.layer_norm(rows, rows.shape[2:], *wide[1:], self.eps).transpose(1, 2)
        right = [y, *torch.autograd.grad(y, wide, self.dy.double())]
        kind, result = self.types
        assert [t.dtype for t in found] == [result, kind, FP32, FP32]
        # dx is a difference of terms, the largest of which is the first.
        deviation = torch.sqrt(rows.var(2, correction=0) + self.eps).detach()
        first = self.dy.double() * wide[1][:, None].detach() / deviation[:, None]
        for got, wanted, dtype, level in zip(found[:2], right[:2], (result, kind), (y, first), strict=True):
            assert got.shape == wanted.shape
            assert decibels_below(got, wanted.detach(), level.detach()) >= LEAST[dtype]
        # The terms of a weight's gradient are products of a normed x, whose level is 1.
        level = self.dy.double().norm() / self.shape[1] ** 0.5
        for got, wanted in zip(found[2:], right[2:], strict=True):
            error = (got.double() - wanted).norm() / self.shape[1] ** 0.5
            assert 20 * torch.log10(level / error) >= LEAST_OF_SUMS
        self.on.seed += 1
        assert all(torch.equal(one, other) for one, other in zip(found, self.run(), strict=True))

    def run(self) -> list:
        y = channel_norm.normed(self.on, self.x, self.weight, self.bias, self.eps, self.result)
        return [y, *channel_norm.gradients(self.on, self.dy, self.x, self.weight, self.eps)]

    def counters(self, name: str):
        return next(c for (kernel, _), (_, _, c) in zip(self.on.launches, self.on.counted, strict=True)
                    if name in kernel.name)  # fmt: skip


def decibels_below(got, wanted, level) -> float:
    assert torch.isfinite(got).all()
    return float(20 * torch.log10(level.norm() / (got.double() - wanted).norm().clamp(min=1e-300)))


@pytest.mark.parametrize("types", TYPES, ids=str)
@pytest.mark.parametrize("shape", [(2, 64, 136), (2, 13, 67)], ids=str)
def test_every_dtype(types, shape, normal, seed):
    # Rows of more than a tile; aligned ones of as many channels as warps can hold, and others of fewer.
    Norm(normal, shape, types, seed=seed).check()


@pytest.mark.parametrize("shape", [(1, 2, 1), (3, 7, 5), (2, 100, 66), (2, 67, 3), (1, 150, 66), (1, 131, 31)], ids=str)
def test_channels_and_lengths(shape, normal, seed):
    Norm(normal, shape, seed=seed).check()


def test_one_channel_is_its_bias(normal, seed):
    c = Norm(normal, (2, 1, 40), seed=seed)
    y, dx, dw, db = c.run()
    assert torch.equal(y, c.bias.expand(2, 1, 40))
    assert decibels_below(dx, torch.zeros_like(dx), c.dy.double() * c.weight.double() / c.eps**0.5) >= LEAST[FP32]
    assert dw == 0
    assert abs(float(db) - float(c.dy.double().sum())) < 1e-4


def test_blocks_of_several_tiles(normal, seed, monkeypatch):
    monkeypatch.setattr(norm_kernels, "SUMS", 3)
    channel_norm._backward_launches.cache_clear()
    Norm(normal, (3, 20, 200), eps=0.0, seed=seed).check()
    channel_norm._backward_launches.cache_clear()


@pytest.mark.parametrize("shape", [(2, 64, 70), (1, 150, 64)], ids=str)
def test_far_from_zero(shape, normal, seed):
    """As exact as near to it: what numbers have in common is subtracted before anything else."""
    Norm(normal, shape, mean=1000.0, seed=seed).check()


def test_a_first_channel_far_from_the_others(normal, seed):
    """From which the differences are taken: what they lose is bounded by the count of channels."""
    c = Norm(normal, (2, 64, 70), seed=seed)
    c.x[:, 0] += 1e6
    found = c.run()
    rows = c.x.double().transpose(1, 2)
    y = F.layer_norm(rows, (64,), c.weight.double(), c.bias.double(), c.eps).transpose(1, 2)
    assert decibels_below(found[0], y, y) >= 105


@pytest.mark.parametrize("types", TYPES, ids=str)
def test_traffic(types, normal, seed):
    """Every number of device memory once, shared memory within 10 % of conflict-free."""
    batch, channels, length = 2, 64, 512
    c = Norm(normal, (batch, channels, length), types, seed=seed)
    c.run()
    x, y = (batch * channels * length * t.itemsize // SECTOR for t in types)
    forward, backward = c.counters("forward"), c.counters("backward")
    assert forward.device_sectors_read <= 1.05 * x
    assert forward.device_sectors_written == y
    sums = 2 * channels * c.on.launches[1][1][0]  # which lie apart, for those that add them up
    assert backward.device_sectors_read <= 1.05 * (x + y)
    assert backward.device_sectors_written <= x + sums
    for counters in (forward, backward):
        assert counters.wavefronts <= 1.1 * counters.wavefronts_ideal
    assert forward.store_sectors == forward.store_sectors_ideal


FAULTS = [
    ("ptx::block_barrier();  // the next tile's", "// the next tile's"),
    ("  ptx::block_barrier();\n  UNROLL", "  UNROLL"),
    ("ptx::block_barrier();\n  for", "for"),
    ("mean_square - mean * mean", "mean_square"),
    ("here.inside(t)", "true"),
    ("at(i) < length", "at(i) <= length"),
    ("channel < a.channels);", "true);"),
    ("Index(tile / a.tiles)", "Index(0)"),
    ("sums[3][t] * share - mean * mean_gradient", "sums[3][t] * share"),
]


@pytest.mark.parametrize(("right", "wrong"), FAULTS)
def test_planted_faults_show(right, wrong, normal, seed, tmp_path, monkeypatch):
    for source in harness.CSRC.glob("*.cuh"):
        shutil.copy(source, tmp_path)
    text = (tmp_path / "channel_norm.cuh").read_text()
    assert right in text
    (tmp_path / "channel_norm.cuh").write_text(text.replace(right, wrong))
    monkeypatch.setattr(norm_kernels, "SUMS", 1)  # a block walks several tiles
    channel_norm._backward_launches.cache_clear()
    rest = {"mean": 1.0, "eps": 0.0, "folder": tmp_path}
    with pytest.raises((AssertionError, harness.Fault)):
        harness.in_orders(lambda order: Norm(normal, (2, 13, 67), seed=order, **rest).check(), seed)
    channel_norm._backward_launches.cache_clear()
