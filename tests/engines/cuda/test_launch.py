"""What stands before a launch: why there can be none, what the driver says, and grids. No GPU is needed."""

import contextlib
import ctypes
import re
import sys
import threading
from types import SimpleNamespace

import pytest
import torch

from longconv_audio.engines import selection
from longconv_audio.engines.cuda import backward_pass, compiler, forward_pass, launch, long_conv
from longconv_audio.engines.cuda.arguments import TableArguments
from longconv_audio.engines.cuda.cache import Cubin
from longconv_audio.engines.cuda.errors import CompilerError, LaunchError
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.cuda.specialisations import GRID_Y, Kernel
from longconv_audio.engines.selection import Call, EngineUnavailableError

KERNEL = Kernel("half.cuh", "half_tables<Fp16, F>", 128, 1, 1000, "TableArguments")


class Status:
    """A status of the driver's."""

    def __init__(self, value=0, name="CUDA_SUCCESS"):
        self.value, self.name = value, name


class Driver:
    """What of `cuda.bindings.driver` is called, noting how; `fails` names the one that does not succeed."""

    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES="shared bytes")

    def __init__(self, fails="", status=None):
        self.calls, self.fails, self.status = [], fails, status

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append((name, arguments))
            if name == "cuGetErrorString":
                return Status(), b"some words of the driver"
            return (self.status if name == self.fails else Status()), f"what {name} gave"

        return call


@pytest.fixture
def driver(monkeypatch):
    """A driver of ours and a launcher on it."""
    monkeypatch.setattr(launch, "gpu_of", lambda index: KNOWN["sm_90a"])
    monkeypatch.setattr(launch, "cubin", lambda header, name, arch: Cubin(b"code", "symbol"))
    monkeypatch.setattr(launch, "current_stream", lambda index: 1234)

    def put(**options):
        made = Driver(**options)
        monkeypatch.setattr(launch, "_driver", lambda: made)
        return made

    return put


def test_loads_once_and_launches_on_the_current_stream(driver):
    made, arguments = driver(), TableArguments(77)
    on = launch.Launcher(0)
    on.launch(KERNEL, arguments, (5, 3))
    on.launch(KERNEL, arguments, (6, 2))
    names = [name for name, _ in made.calls]
    assert names == [
        "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent", "cuLibraryLoadData", "cuLibraryGetKernel",
        "cuKernelGetFunction", "cuFuncSetAttribute", "cuLaunchKernel", "cuLaunchKernel",
    ]  # fmt: skip
    given = dict(made.calls)
    assert given["cuFuncSetAttribute"] == ("what cuKernelGetFunction gave", "shared bytes", 1000)
    function, *shape, shared, stream, _, extra = made.calls[-2][1]
    assert function == "what cuKernelGetFunction gave"
    assert (shape, shared, stream, extra) == ([5, 3, 1, 128, 1, 1], 1000, 1234, 0)


def test_each_thread_has_the_context(driver):
    made, on = driver(), launch.Launcher(0)
    on.launch(KERNEL, TableArguments(77), (1, 1))
    thread = threading.Thread(target=on.launch, args=(KERNEL, TableArguments(77), (1, 1)))
    thread.start()
    thread.join()
    names = [name for name, _ in made.calls]
    assert names.count("cuCtxSetCurrent") == 2
    assert names.count("cuDevicePrimaryCtxRetain") == 1


def test_the_argument_is_passed_by_the_address_of_its_address(driver):
    seen = []
    made, arguments = driver(), TableArguments(77)

    def note(*given):
        first = ctypes.cast(given[-2], ctypes.POINTER(ctypes.c_void_p))[0]
        seen.append(TableArguments.from_address(first).tables)
        return (Status(),)

    made.cuLaunchKernel = note
    launch.Launcher(0).launch(KERNEL, arguments, (1, 1))
    assert seen == [77]


@pytest.mark.parametrize(
    ("call", "what"),
    [("cuLibraryLoadData", "loading"), ("cuFuncSetAttribute", "loading"), ("cuLaunchKernel", "launch")],
)
def test_failure_of_the_driver_is_one_of_ours(driver, call, what):
    driver(fails=call, status=Status(2, "CUDA_ERROR_OUT_OF_MEMORY"))
    with pytest.raises(LaunchError, match=f"{what}.*half_tables.*: some words of the driver"):
        launch.Launcher(0).launch(KERNEL, TableArguments(), (1, 1))


@pytest.mark.parametrize("call", ["cuLibraryLoadData", "cuLibraryGetKernel"])
@pytest.mark.parametrize("always", [False, True])
def test_what_the_driver_refuses_of_the_cache_is_compiled_once_anew(driver, monkeypatch, call, always):
    made, asked = driver(fails=call, status=Status(200, "CUDA_ERROR_INVALID_IMAGE")), []

    def cubin(*_, anew=False):
        asked.append(anew)
        made.fails = call if always or not anew else ""
        return Cubin(b"code", "symbol", cached=not anew)

    monkeypatch.setattr(launch, "cubin", cubin)
    with pytest.raises(LaunchError, match="loading") if always else contextlib.nullcontext():
        launch.Launcher(0).launch(KERNEL, TableArguments(), (1, 1))
    assert asked == [False, True]


def test_driver_too_old_is_said(driver):
    driver(fails="cuLibraryLoadData", status=Status(209, "CUDA_ERROR_NO_BINARY_FOR_GPU"))
    with pytest.raises(LaunchError, match="update it"):
        launch.Launcher(0).launch(KERNEL, TableArguments(), (1, 1))


@pytest.mark.parametrize("grid", [(0, 1), (1, 0), (2**31, 1), (1, GRID_Y + 1)])
def test_grid_that_no_device_takes(driver, grid):
    driver()
    with pytest.raises(LaunchError, match=f"{grid[0]} x {grid[1]} blocks"):
        launch.Launcher(0).launch(KERNEL, TableArguments(), grid)


def test_reasons(monkeypatch):
    assert "cpu" in long_conv.why_not(torch.device("cpu"), "single")
    assert "double" in long_conv.why_not(torch.device("cuda", 0), "double")


@pytest.fixture
def machine(monkeypatch):
    """One on which the fused kernels run; `machine(name=value, ...)` changes what is there."""
    pytest.importorskip("cuda.bindings")
    there = {
        "hip": None, "capability": (9, 0), "compiler": "13.0", "driver": (Status(), 13000), "cuda_core": object(),
        "architectures": [80, 90], "sources": "csrc",
    }  # fmt: skip

    def given(name):
        if isinstance(there[name], Exception):
            raise there[name]
        return there[name]

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: given("capability"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "An Old One")
    monkeypatch.setattr(compiler, "compiler_version", lambda: given("compiler"))
    monkeypatch.setattr(compiler, "source_folder", lambda: given("sources"))
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: given("cuda_core"))
    nvrtc = SimpleNamespace(nvrtcGetSupportedArchs=lambda: (Status(), given("architectures")))
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", nvrtc)
    monkeypatch.setattr("cuda.bindings.nvrtc", nvrtc, raising=False)
    monkeypatch.setattr(launch, "_driver", lambda: SimpleNamespace(cuDriverGetVersion=lambda: given("driver")))
    launch._why_not.cache_clear()
    yield lambda **changed: there.update(changed)
    launch._why_not.cache_clear()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, None),
        ({"driver": (Status(), 13020), "compiler": "13.3"}, None),
        ({"capability": (7, 5)}, r"An Old One has compute capability 7\.5"),
        ({"compiler": CompilerError("NVRTC cannot be used: pip install it")}, "pip install it"),
        ({"cuda_core": None}, "cuda.core is not installed.*pip install"),
        ({"architectures": [80]}, r"NVRTC 13\.0 does not know sm_90a"),
        ({"sources": CompilerError("the kernels' sources are nowhere")}, "nowhere"),
        ({"driver": LaunchError("the NVIDIA driver cannot be used")}, "driver cannot be used"),
        ({"driver": (Status(), 12040)}, r"driver is for CUDA 12\.4 and NVRTC is 13\.0: update"),
    ],
)
def test_what_is_missing_on_a_machine(machine, changed, words):
    """It is said once and torch.fft runs instead, unless the fused kernels were asked for by name."""
    machine(**changed)
    device = torch.device("cuda", 0)
    said = long_conv.why_not(device, "single")
    if words is None:
        assert said is None
        return
    assert re.search(words, said)
    assert "\n" not in said
    selection._ready.cache_clear()
    with pytest.warns(UserWarning, match=words):
        assert selection.choose(None, device, "single")[0] == "torch"
    with pytest.raises(EngineUnavailableError, match=words):
        selection.choose("cuda", device, "single")
    selection._ready.cache_clear()


@pytest.mark.parametrize("precision", ["half", "single"])
@pytest.mark.parametrize(("length", "mode"), [(0, "full"), (100, "causal"), (16384, "full"), (16385, "causal")])
def test_calls_of_any_length_are_carried_out(monkeypatch, length, mode, precision):
    monkeypatch.setattr(long_conv, "gpu_of", lambda index: KNOWN["sm_90a"])
    call = Call(mode, 0, False, precision)
    assert long_conv.why_not_call(call, torch.empty(2, 3, length), torch.empty(3, 9)) is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_masks_beyond_the_kernels(monkeypatch, dtype):
    monkeypatch.setattr(long_conv, "gpu_of", lambda index: KNOWN["sm_90a"])
    call = Call("causal", 0, False, "half" if dtype == torch.float16 else "single")
    u, k = torch.empty(2, 3, 100, dtype=dtype), torch.empty(3, 9)
    assert long_conv.why_not_call(call, u, k, torch.ones(16384, dtype=torch.bool)) is None
    assert "32768 points does not fit" in long_conv.why_not_call(call, u, k, torch.ones(32768, dtype=torch.bool))


def test_what_is_prepared_is_loaded_before_the_call(driver, monkeypatch):
    made, on = driver(), launch.Launcher(0)
    on.device = "cpu"
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index: SimpleNamespace(synchronize=lambda: None))
    for dtype, precision in ((torch.float16, "half"), (torch.float32, "single")):
        u, k, d = torch.ones(2, 4, 100, dtype=dtype), torch.ones(4, 50), torch.ones(4)
        call, needs = Call("causal", 3, False, precision), (True, True, True, False, True)
        forward_pass.prepare(on, call, u, k, None, d, None, u)
        backward_pass.prepare(on, call, needs, u, k, d, None, u)
        made.calls.clear()
        y = forward_pass.convolve(on, call, u, k, None, d, None, u)
        backward_pass.gradients(on, call, needs, y, u, k, None, d, None, u)
        assert {name for name, _ in made.calls} == {"cuLaunchKernel"}


def test_nothing_is_loaded_while_a_graph_is_captured(driver, monkeypatch):
    driver()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(LaunchError, match=r"half_tables.* call longconv_audio\.prepare"):
        launch.Launcher(0).launch(KERNEL, TableArguments(), (1, 1))
    with pytest.raises(LaunchError, match=r"longconv_audio\.prepare"):
        launch.Launcher(0).tables("some", lambda: None)
