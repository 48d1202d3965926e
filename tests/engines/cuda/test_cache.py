"""Compiling with NVRTC, and the cache of what came of it. Needs cuda-core and NVRTC, no GPU."""

import multiprocessing
import sys
import time

import pytest

from longconv_audio.engines.cuda import cache, compiler
from longconv_audio.engines.cuda.errors import CompilerError
from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.engines.cuda.specialisations import HalfShape

try:
    compiler.compiler_version()
except CompilerError as error:
    pytestmark = pytest.mark.skip(reason=str(error))

SOURCE = "template <int N> __global__ void fill(float* to) { to[threadIdx.x] = N; }\n"
KERNEL = ("fill.cuh", "fill<3>", "sm_90a")


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A folder with one small kernel, and a cache of its own."""
    folder = tmp_path / "csrc"
    folder.mkdir()
    (folder / "fill.cuh").write_text(SOURCE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_complained", set())
    return folder


def entries():
    return sorted(cache.cache_folder().glob("*"))


@pytest.fixture
def compilations(monkeypatch):
    """What was compiled."""
    made = []
    monkeypatch.setattr(
        cache, "compile_kernel", lambda *arguments: made.append(arguments) or compiler.compile_kernel(*arguments)
    )
    return made


def test_second_time_from_the_cache(sources, compilations):
    first = cache.cubin(*KERNEL, sources)
    assert first.code.startswith(b"\x7fELF")
    assert "fill" in first.symbol
    assert cache.cubin(*KERNEL, sources) == first
    assert len(compilations) == 1
    assert len(entries()) == 1


@pytest.mark.parametrize("other", [("fill.cuh", "fill<4>", "sm_90a"), ("fill.cuh", "fill<3>", "sm_80")])
def test_other_kernel_or_architecture_is_another_entry(sources, other):
    assert cache.cubin(*KERNEL, sources) != cache.cubin(*other, sources)
    assert len(entries()) == 2


def test_other_source_is_another_entry(sources, compilations):
    cache.cubin(*KERNEL, sources)
    (sources / "fill.cuh").write_text(SOURCE.replace("= N", "= N + 1"))
    cache.cubin(*KERNEL, sources)
    assert len(compilations) == 2


@pytest.mark.parametrize("name", ["compiler_version", "OPTIONS"])
def test_other_compiler_or_options_is_another_entry(sources, monkeypatch, name):
    one = cache._entry(*KERNEL, sources)
    monkeypatch.setattr(cache, name, {"compiler_version": lambda: "99.0", "OPTIONS": {"std": "c++20"}}[name])
    assert cache._entry(*KERNEL, sources) != one


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b[:-1], lambda b: b[:100] + b"\0" + b[101:], lambda b: b"x" + b]
)
def test_damaged_entry_is_rebuilt(sources, compilations, damage):
    whole = cache.cubin(*KERNEL, sources)
    (entry,) = entries()
    entry.write_bytes(damage(entry.read_bytes()))
    assert cache.cubin(*KERNEL, sources) == whole
    assert len(compilations) == 2
    assert cache.cubin(*KERNEL, sources) == whole
    assert len(compilations) == 2


def test_no_byte_of_an_entrys_head_may_be_wrong(sources, compilations):
    whole = cache.cubin(*KERNEL, sources)
    (entry,) = entries()
    content = entry.read_bytes()
    for at in range(cache._HEAD.size + cache._LENGTH.size + len(whole.symbol)):
        for bit in (1, 128):
            entry.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
            assert cache._read(entry) is None
    assert cache.cubin(*KERNEL, sources) == whole
    assert len(compilations) == 2
    assert entry.read_bytes() == content


def test_anew_is_compiled_whatever_the_cache_has(sources, compilations):
    first = cache.cubin(*KERNEL, sources)
    assert not first.cached
    assert cache.cubin(*KERNEL, sources).cached
    assert not cache.cubin(*KERNEL, sources, anew=True).cached
    assert len(compilations) == 2
    assert len(entries()) == 1


def test_folder_that_cannot_be_written_is_said_once(sources, monkeypatch, tmp_path, recwarn):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="cannot be kept in .*file"):
        cache.cubin(*KERNEL, sources)
    recwarn.clear()
    assert cache.cubin(*KERNEL, sources).code
    assert not recwarn


def test_nothing_unfinished_stays_behind(sources, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        cache.cubin(*KERNEL, sources)
    assert not entries()


def _in_another_process(folder):
    return cache.cubin(*KERNEL, folder)


def test_many_processes_at_once(sources):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        made = pool.map(_in_another_process, [sources] * 8)
    assert len(set(made)) == 1
    assert len(entries()) == 1


def test_refused_source_is_one_line(sources):
    (sources / "fill.cuh").write_text("template <int N> __global__ void fill(float* to) { nonsense; }")
    with pytest.raises(CompilerError, match=r"fill<3> does not compile for sm_90a: .*nonsense") as caught:
        cache.cubin(*KERNEL, sources)
    assert "\n" not in str(caught.value)
    assert caught.value.log


def test_unknown_architecture(sources):
    with pytest.raises(CompilerError, match="sm_12345"):
        cache.cubin("fill.cuh", "fill<3>", "sm_12345", sources)


def test_without_cuda_core(sources, monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.core", None)
    with pytest.raises(CompilerError, match="pip install"):
        cache.cubin(*KERNEL, sources)


def test_a_kernel_of_ours_and_how_fast_it_is_found_again(sources):
    kernel = HalfShape(1, 16, 16, "fp16").forward(KNOWN["sm_90a"], True, True, True)
    cache.cubin(kernel.header, kernel.name, "sm_90a")
    times = []
    for _ in range(5):
        start = time.perf_counter()
        cache.cubin(kernel.header, kernel.name, "sm_90a")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02
