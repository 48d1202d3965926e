"""The engine's forward pass, run by the emulator in place of a GPU, on the operator's own cases."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))
import emulated
from generators import CASES, Case, expected
from gpu import REQUIRED

from longconv_audio.arguments import broadcast, default_precision
from longconv_audio.engines import torch_long_conv
from longconv_audio.engines.cuda import backward_pass, forward_pass, launch, plans, specialisations
from longconv_audio.engines.cuda.arguments import Arguments
from longconv_audio.engines.cuda.spectra import prepare_spectrum, serves
from longconv_audio.engines.selection import Call

pytestmark = pytest.mark.skipif(emulated.harness.compiler() is None, reason="no C++ compiler for the emulator")

# Few and small, for each specialisation takes the host's compiler seconds; what kernels can do, tests/emulator shows.
SINGLE = CASES
HALF = [c for c in CASES if c.post_gate is None or c.pre_gate is not None]


def call_of(case: Case, precision: str) -> Call:
    return Call(case.mode, case.offset, case.correlate, precision)


def run(case: Case, tensors: dict, on=None, spectrum=None):
    names = ("u", "k", "d", "pre_gate", "post_gate")
    u, k, d, pre, post = broadcast(*(tensors.get(name) for name in names), case.mode)
    call = call_of(case, default_precision(u.dtype))
    return forward_pass.convolve(on or emulated.EmulatedLauncher(), call, u, k, spectrum, d, pre, post)


def check(case: Case, dtype, on=None, spectrum=None):
    tensors = case.tensors(dtype)
    wanted = expected(case, tensors)
    got = run(case, tensors, on, spectrum)
    assert got.dtype == dtype
    assert got.shape == wanted.shape
    noise = np.sum((got.double().numpy() - wanted) ** 2)
    assert noise <= np.sum(wanted**2) * 10 ** (-0.1 * REQUIRED[dtype])


@pytest.mark.parametrize("case", SINGLE, ids=str)
def test_single(case):
    check(case, torch.float32)


@pytest.mark.parametrize("case", HALF, ids=str)
def test_half(case):
    check(case, torch.float16)


def test_bfloat16():
    check(Case((2, 3, 40), (3, 9), pre_gate=(2, 3, 40), post_gate=(2, 3, 40)), torch.bfloat16)


PREPARED = [
    Case((2, 3, 40), (3, 9)),
    Case((2, 3, 40), (3, 9), mode="same", correlate=True, pre_gate=(2, 3, 40)),
    Case((2, 3, 40), (3, 9), mode="full", offset=2, correlate=True),
    Case((2, 2, 40), (2, 2, 9), offset=4),
    Case((2, 3, 40), (3, 9), mode="circular", offset=3),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("case", PREPARED, ids=str)
def test_prepared_spectrum(case, dtype):
    on, call = emulated.EmulatedLauncher(), call_of(case, default_precision(dtype))
    k = case.tensors(dtype)["k"]
    for length in (40,) if case.mode == "circular" else (40, 600):  # for longer signals too
        spectrum = prepare_spectrum(on, call, k, length)
        assert serves(call, length, spectrum.shape[-1], call, 40, 9)
        made = len(on.launches)
        check(case, dtype, on, spectrum)
        check_gradients(case, dtype, on, spectrum)
        again = ["filter_spectrum" in kernel.name for kernel, _ in on.launches[made:]]
        assert sum(again) == (length == 600)  # the backward pass has a smaller transform


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_spectrum_of_causal_calls_serves_full_ones(dtype):
    on, call = emulated.EmulatedLauncher(), Call("causal", 0, False, default_precision(dtype))
    case = Case((2, 3, 40), (3, 9), mode="full", offset=5)
    spectrum = prepare_spectrum(on, call, case.tensors(dtype)["k"], 60)
    assert serves(call, 60, spectrum.shape[-1], call_of(case, call.precision), 40, 9)
    check(case, dtype, on, spectrum)


@pytest.mark.parametrize(
    ("mode", "offset", "correlate", "samples", "right"),
    [
        ("causal", 0, False, 1000, True),
        ("causal", 1, False, 1000, False),
        ("causal", 0, True, 1000, False),
        ("same", 0, False, 1000, False),  # centred
        ("full", 7, False, 1000, True),  # where time zero is, is no matter of lags
        ("full", 0, True, 1000, False),
        ("full", 0, False, 1010, False),  # more output than the transform has room for
    ],
)
def test_what_a_prepared_spectrum_serves(mode, offset, correlate, samples, right):
    made = Call("causal", 0, False, "half")
    assert serves(made, 1010, 1024, Call(mode, offset, correlate, "half"), samples, 20) == right


def test_a_spectrum_has_no_more_taps_than_its_calls_could_see():
    made, call = Call("causal", 0, False, "half"), Call("full", 0, False, "half")
    assert serves(made, 100, 1024, call, 100, 100)
    assert not serves(made, 100, 1024, call, 100, 101)
    assert serves(made, 100, 1024, made, 100, 101)
    circular = Call("circular", 0, False, "half")
    assert serves(circular, 100, 256, circular, 100, 5)
    assert not serves(circular, 100, 256, circular, 99, 5)


@pytest.mark.parametrize(
    ("dtype", "precision"), [(torch.float32, "half"), (torch.float64, "half"), (torch.float64, "single")]
)
def test_wider_signals_are_cast(dtype, precision):
    """A result is that of the signal in the precision's own type, in the dtype that came."""
    case, on = Case((2, 3, 40), (3, 9), pre_gate=(2, 3, 40), d=(3,)), emulated.EmulatedLauncher()
    tensors = case.tensors(dtype)
    narrow = torch.float16 if precision == "half" else torch.float32
    cast = {name: t.to(narrow) if name in ("u", "pre_gate") else t for name, t in tensors.items()}
    u, k, d, pre, post = broadcast(*(tensors.get(name) for name in ("u", "k", "d", "pre_gate", "post_gate")), "causal")
    call = call_of(case, precision)
    y = forward_pass.convolve(on, call, u, k, None, d, pre, post)
    assert y.dtype == dtype
    assert torch.equal(y, run(case, cast, on).to(dtype))
    needs = (True, True, True, True, False)
    dy = torch.randn_like(y)
    got = backward_pass.gradients(on, call, needs, dy, u, k, None, d, pre, post)
    assert [g.dtype for g in got[:4]] == [dtype] * 4
    right = backward_pass.gradients(on, call, needs, dy.to(narrow), cast["u"], k, None, d, cast["pre_gate"], post)
    assert all(torch.equal(a, b.to(dtype)) for a, b in zip(got[:4], right[:4], strict=True))


@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 125), (torch.float16, 60)])
@pytest.mark.parametrize(("length", "taps"), [(100, 1650), (100, 30000), (100, 300000), (1, 1000), (7, 112), (7, 113)])
def test_filters_that_go_round_many_times(length, taps, dtype, least):
    rows = (2, 2, length)
    case = Case(rows, (2, taps), d=(2,), pre_gate=rows, mode="circular", offset=taps - 30, correlate=length == 7)
    tensors = case.tensors(dtype)
    names = ("u", "k", "d", "pre_gate", "post_gate")
    inputs = broadcast(*(tensors.get(name) for name in names), case.mode)
    wide = [None if t is None else t.double() for t in inputs]
    call, on = call_of(case, default_precision(dtype)), emulated.EmulatedLauncher()
    u, k, *others = inputs

    def check_y(spectrum, d):
        rest = (None if d is None else wide[2], *wide[3:])
        wanted = torch_long_conv.forward(call_of(case, "double"), *wide[:2], None, *rest)
        y = forward_pass.convolve(on, call, u, k, spectrum, d, *others[1:])
        assert decibels(y, wanted) >= least

    check_y(None, inputs[2])
    check_y(prepare_spectrum(on, call, k, length), None)
    dy = torch.randn(rows, generator=torch.Generator().manual_seed(5)).to(dtype)
    needs = (True, True, False, True, False)
    wanted = torch_long_conv.backward(call_of(case, "double"), needs, dy.double(), *wide[:2], None, *wide[2:])
    got = backward_pass.gradients(on, call, needs, dy, u, k, None, *others)
    for i in (0, 1, 3):
        assert got[i].shape == wanted[i].shape
        assert decibels(got[i], wanted[i]) >= least, names[i]


def decibels(got, wanted) -> float:
    """Of what is wanted above the error."""
    return float(10 * torch.log10(wanted.square().sum() / (got.double() - wanted).square().sum()))


@pytest.fixture
def grids_of_two(monkeypatch):
    """Grids end at two blocks, and nothing is known of larger ones."""
    planned = (forward_pass.forward_of, backward_pass.backward_of, specialisations.plan)
    for module in (forward_pass, backward_pass, launch, plans):
        monkeypatch.setattr(module, "GRID_Y", 2)
    for plan in planned:
        plan.cache_clear()
    yield
    for plan in planned:
        plan.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    "case", [Case((5, 2, 24), (5, 1, 9), pre_gate=(5, 2, 24)), Case((5, 2, 24), (2, 9), d=(5, 2))], ids=str
)
def test_more_rows_than_a_grid_has(case, dtype, grids_of_two):
    on = emulated.EmulatedLauncher()
    check(case, dtype, on)
    check_gradients(case, dtype, on)
    for alone in filter(lambda name: getattr(case, name), ("u", "k", "d", "pre_gate")):
        check_gradients(case, dtype, on, only=alone)


@pytest.mark.parametrize("case", SINGLE, ids=str)
def test_gradients_single(case):
    check_gradients(case, torch.float32)


@pytest.mark.parametrize("case", HALF, ids=str)
def test_gradients_half(case):
    check_gradients(case, torch.float16)


def test_gradients_of_rows_that_half_precision_has_no_room_for():
    on = emulated.EmulatedLauncher("sm_80")
    case = Case((1, 1, 16384), (1, 5))
    check_gradients(case, torch.float16, on)
    assert any("single::convolve_backward" in kernel.name for kernel, _ in on.launches)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("alone", [None, "u", "pre_gate"])
def test_one_input_of_filters_that_cancel(dtype, alone):
    """Its gradient is a sum over the filters, far below each of theirs, which float16 may not even hold."""
    names = ("u", "k", "d", "pre_gate", "post_gate")
    case = Case((2, 1, 40), (50, 30), pre_gate=(2, 1, 40))
    tensors = case.tensors(dtype)
    tensors["k"] -= tensors["k"].mean(0) * (1 - 0.003)
    for scale in (1, 1e5):
        given = {**tensors, "k": tensors["k"] * scale}
        inputs = broadcast(*(given.get(name) for name in names), case.mode)
        dy = torch.ones(2, 50, 40, dtype=dtype)
        needs = [t is not None and alone in (None, name) for name, t in zip(names, inputs, strict=True)]
        wide = [None if t is None else t.double() for t in inputs]
        wanted = torch_long_conv.backward(call_of(case, "double"), needs, dy.double(), *wide[:2], None, *wide[2:])
        on = emulated.EmulatedLauncher()
        got = backward_pass.gradients(on, call_of(case, "half"), needs, dy, *inputs[:2], None, *inputs[2:])
        for name, need, one, other in zip(names, needs, got, wanted, strict=True):
            if need:
                noise = (one.double() - other).square().sum()
                assert noise <= other.square().sum() * 10 ** (-0.1 * REQUIRED[dtype]), (name, scale)


def test_filters_gradients_of_one_input_stay_in_half_precision():
    case, on = Case((2, 1, 40), (3, 30)), emulated.EmulatedLauncher()
    check_gradients(case, torch.float16, on, only="k")
    assert not any("single::convolve" in kernel.name for kernel, _ in on.launches)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_gradients_of_rows_that_nobody_wants_take_one_items_room(dtype):
    rows = (5, 2, 24)
    case = Case(rows, (2, 9), d=(2,), pre_gate=rows, post_gate=(5, 2, 32), mode="full")
    for only in ("k", "d", "u", "pre_gate", "post_gate"):
        on = emulated.EmulatedLauncher()
        check_gradients(case, dtype, on, only=only)
        (given,) = (Arguments.from_buffer_copy(a) for kernel, a, _ in on.counted if "_backward" in kernel.name)
        made = {"u": (given.du, given.du_strides), "pre_gate": (given.dpre_gate, given.dpre_strides)}
        made["post_gate"] = given.dpost_gate, given.dpost_strides
        unwanted = [made[name] for name in made if name != only]
        assert len({at for at, _ in unwanted}) == 1
        assert all(strides.batch == 0 for _, strides in unwanted)
        assert only not in made or (made[only][0] != unwanted[0][0] and made[only][1].batch)


def check_gradients(case: Case, dtype, on=None, spectrum=None, only=None):
    """Against torch.fft in float64: all of them, or the one of this name."""
    tensors = case.tensors(dtype)
    names = ("u", "k", "d", "pre_gate", "post_gate")
    inputs = broadcast(*(tensors.get(name) for name in names), case.mode)
    wide = [None if t is None else t.double() for t in inputs]
    shape = torch_long_conv.forward(call_of(case, "double"), wide[0], wide[1], None, *wide[2:]).shape
    dy = torch.randn(shape, generator=torch.Generator().manual_seed(5)).to(dtype)
    needs = [t is not None and only in (None, name) for name, t in zip(names, inputs, strict=True)]
    wanted = torch_long_conv.backward(
        call_of(case, "double"), needs, dy.double(), wide[0], wide[1], None, *wide[2:]
    )  # fmt: skip
    call = call_of(case, default_precision(dtype))
    got = backward_pass.gradients(
        on or emulated.EmulatedLauncher(), call, needs, dy, *inputs[:2], spectrum, *inputs[2:]
    )
    for name, t, need, one, other in zip(names, inputs, needs, got, wanted, strict=True):
        if not need:
            assert one is None
            continue
        assert (one.shape, one.dtype) == (t.shape, t.dtype), name
        noise, signal = float((one.double() - other).square().sum()), float(other.square().sum())
        assert noise <= signal * 10 ** (-0.1 * REQUIRED[dtype]), name
