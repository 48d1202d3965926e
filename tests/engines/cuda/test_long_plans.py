"""How long rows are cut: as plans say, but for races on the device; what is said where memory is not there."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from longconv_audio import LongconvError, long_conv, prepare
from longconv_audio.engines.cuda import autotune, long_cuts, long_pass, long_plans, long_questions, long_tuning, taps
from longconv_audio.engines.cuda.errors import NoKernelError
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.cuda.long_plans import Lags, plan_long
from longconv_audio.engines.selection import Call
from longconv_audio.planning import device_named, plan
from longconv_audio.planning.devices import with_limits

H200 = device_named("h200")
PRECISIONS = {torch.float16: "half", torch.bfloat16: "half", torch.float32: "single"}


def asked(u, k, mode="causal", pre_gate=None, post_gate=None, backward=False):
    call = Call(mode, 0, False, PRECISIONS[u.dtype])
    number = "fp32" if u.dtype == torch.float32 else "fp16"
    filters = taps.linear_taps(call, k, None, u.shape[-1])
    return long_questions.question(call, number, u, k, filters, None, pre_gate, post_gate, backward)


def chosen(question, device=H200):
    lags, precision, points, work = question
    return plan_long(lags, device.gpu, precision, points, work, device)


@pytest.mark.parametrize("device", ["h200", "a100", "rtx4090"])
@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("mode", ["causal", "full", "same", "circular"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("rows", [(1, 1), (1, 2), (4, 12)], ids=str)
def test_the_engine_does_what_a_plan_says(device, dtype, mode, backward, rows):
    device = device_named(device)
    for length, filter_taps in (
        (40_000, 10), (40_000, 3000), (100_003, 100_003), (1 << 18, 20_000), (1 << 20, 1 << 20), (3_000_000, 999),
        (3_000_000, 288_000),
    ):  # fmt: skip
        u, k = (torch.empty(shape, device="meta") for shape in ((*rows, length), (rows[1], filter_taps)))
        u = u.to(dtype)
        gate = u if filter_taps % 2 else None
        found = chosen(asked(u, k, mode, gate, gate, backward), device)
        wanted = plan(
            *u.shape, filter_taps, mode=mode, dtype=str(dtype)[6:], pre_gate=gate is not None,
            post_gate=gate is not None, backward=backward, device=device,
        )  # fmt: skip
        assert (found.points, found.tiles) == (wanted.points, wanted.tiles)
        assert tuple(shape.size for shape in found.outer) == wanted.outer
        assert (found.inner, min(found.hop, wanted.convolution.out_length)) == (wanted.inner_points, wanted.hop)


def test_few_rows_get_shorter_tiles_than_many():
    """A multiprocessor has a tile at least, where transforms of many points are fewer than multiprocessors."""
    few, many = (chosen(asked(torch.empty(*rows, 50_000), torch.empty(rows[1], 100))) for rows in ((1, 1), (64, 64)))
    assert few.points < many.points


def test_a_spectrum_that_is_there_decides():
    question = asked(torch.empty(1, 2, 500_000), torch.empty(2, 1000))
    for points in (8192, 1 << 19):
        assert chosen(question._replace(points=points)).points == points


def test_a_filter_beyond_every_transform_is_named():
    with pytest.raises(NoKernelError, match="a filter of 600000000 taps on rows of 10 samples"):
        plan_long(Lags(10, 600_000_009, 600_000_000, 0, 1), H200.gpu)


@pytest.mark.parametrize("gpu", KNOWN.values(), ids=KNOWN)
def test_rates_of_limits(gpu):
    assert with_limits(gpu).gpu == gpu
    assert with_limits(H200.gpu) == H200


class Race:
    """A launcher for calls that take as long as is said of the points of their transform."""

    gpu, rates = H200.gpu, H200

    def __init__(self, monkeypatch, **seconds):
        self.ran, self.times = [], seconds
        monkeypatch.setattr(long_pass, "convolve", self._run(False))
        monkeypatch.setattr(long_pass, "gradients", self._run(True))

    def _run(self, backward):
        def run(on, call, *given):
            number = "fp32" if call.precision == "single" else "fp16"
            given = given[-6:]
            points = chosen(long_pass.question_of(call, number, *given, backward)).points
            self.ran.append((backward, points))

        return run

    def seconds(self, call):
        call()
        return self.times.get(f"at{self.ran[-1][1]}", 1.0)

    def tune(self, u, k, needs=()):
        long_tuning.tune(self, Call("causal", 0, False, "single"), needs, u, k, None, None, None, "a GPU", self.seconds)


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(autotune, "_winners", {})
    monkeypatch.setattr(long_plans, "_winners", {})
    plan_long.cache_clear()
    yield
    plan_long.cache_clear()


U, K = torch.zeros(1, 2, 200_000), torch.zeros(2, 5000)


def test_later_calls_take_what_won_a_race(monkeypatch):
    first = chosen(asked(U, K)).points
    race = Race(monkeypatch)
    race.tune(U, K)
    timed = [points for _, points in race.ran]
    assert len(set(timed)) == len(timed) == 3
    assert timed[0] == first
    assert chosen(asked(U, K)).points == first
    autotune._winners.clear()
    (entry,) = autotune.cache_folder("autotune").iterdir()
    entry.unlink()
    Race(monkeypatch, **{f"at{timed[2]}": 0.5}).tune(U, K)
    assert chosen(asked(U, K)).points == timed[2]
    assert chosen(asked(U[..., 1:], K)).points == first
    long_plans._winners.clear()  # as another process has it
    autotune._winners.clear()
    plan_long.cache_clear()
    later = Race(monkeypatch)
    later.tune(U, K)
    assert not later.ran
    assert chosen(asked(U, K)).points == timed[2]


def test_gradients_have_a_race_of_their_own(monkeypatch):
    race = Race(monkeypatch)
    race.tune(U, K, needs=[True, True, False, False, False])
    assert [backward for backward, _ in race.ran] == [False] * 3 + [True] * 3
    assert chosen(asked(U, K, backward=True)).points == race.ran[3][1]


def test_nothing_is_remembered_of_a_race_that_nobody_finished(monkeypatch):
    race = Race(monkeypatch)
    race.seconds = None
    monkeypatch.setattr(long_pass, "convolve", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        long_tuning.tune(
            race, Call("causal", 0, False, "single"), (), U, K, None, None, None, "a GPU", lambda call: call()
        )
    assert not long_plans._winners


def test_prepare_races_where_an_engine_can(monkeypatch):
    called = []
    engine = SimpleNamespace(tune=lambda *_: called.append("tune"), prepare=lambda *_: called.append("prepare"))
    monkeypatch.setattr("longconv_audio.operators.choose", lambda *_: ("cuda", engine))
    prepare(U, K, autotune=True)
    assert called == ["tune", "prepare"]
    prepare(U, K)
    assert called[2:] == ["prepare"]


def test_prepare_has_nothing_to_choose_on_a_cpu():
    prepare(U, K, autotune=True)
    assert not long_plans._winners


def test_memory_that_is_not_there_is_told_by_the_call(monkeypatch):
    """What is needed, what there is, and the largest block that fits - which does."""

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has ...")

    left = 30 << 30
    small = dataclasses.replace(H200, memory_bytes=left)
    engine = SimpleNamespace(
        forward=full, backward=full, shortage=lambda *given: long_questions.shortage(*given, H200, left)
    )
    monkeypatch.setattr("longconv_audio.operators.choose", lambda *_: ("cuda", engine))
    u = torch.zeros(1).expand(1, 64, 1 << 26)
    with pytest.raises(LongconvError, match=r"1 x 64 rows of 67,108,864 samples with 5,000 taps") as caught:
        long_conv(u, torch.zeros(64, 5000))
    text = str(caught.value)
    assert "\n" not in text
    assert " GB, and h200 has 32.2 GB left: the largest block of rows that fits has " in text
    block = int(text.split("that fits has ")[1].split(" samples")[0].replace(",", ""))
    assert 0 < block < 1 << 26
    assert plan(1, 64, block, 5000, device=small).memory <= left
    with pytest.raises(LongconvError, match="Tried to allocate"):  # the planner sees no reason
        long_conv(u[..., :1000], torch.zeros(64, 5000))


def test_cuts_cover_rows():
    for lags in (Lags(100_000, 100_000, 3000, 0, 1), Lags(50_000, 100_000, 700, 650, -1)):
        for cut in long_cuts.cuts(lags, H200.gpu, "single"):
            assert cut.tiles * cut.hop >= lags.out_length > (cut.tiles - 1) * cut.hop
            assert cut.tiles == 1 or cut.hop + lags.latest + lags.earliest <= 2 * cut.points
