"""`longconv kernels` where there is no GPU."""

import gc
import json

import pytest

from longconv_audio.engines.cuda import compiler, gpus, specialisations
from longconv_audio.engines.cuda.errors import CompilerError
from longconv_audio.engines.cuda.report import disassembler

cli = pytest.importorskip("longconv_audio.cli")
try:
    compiler.compiler_version()
    reason = ""
except CompilerError as error:
    reason = str(error)
needs_compiler = pytest.mark.skipif(bool(reason), reason=reason)

ONLY = "half_filter_spectrum<Factors<1, 16, 16>, single::Cells::whole>"


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Runs a command; gives its exit code and what it printed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # Programs of earlier tests, which cuda-core may complain about as they go, shall not do so in this one.
    gc.collect()
    capsys.readouterr()

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main(list(arguments))
        return end.value.code, *capsys.readouterr()

    return run


@needs_compiler
def test_rows(run):
    code, out, err = run("kernels", "--arch", "sm_80, sm_90a,sm_80", "--only", ONLY)
    assert code == 0
    heading, *rows = out.splitlines()
    words = ("registers", "spilled", "shared", "tensor", "double", "local", "blocks", "arch", "kernel")
    assert tuple(heading.split()) == words
    assert [row.removesuffix(ONLY).split()[-1] for row in rows] == ["sm_80", "sm_90a"]
    assert "2 kernels by NVRTC" in err


@needs_compiler
def test_json(run):
    code, out, _ = run("kernels", "--arch", "sm_90a", "--only", ONLY, "--json")
    assert code == 0
    report = json.loads(out)
    (row,) = report["kernels"]
    assert row["kernel"] == ONLY
    assert row["arch"] == "sm_90a"
    assert row["good"]
    assert row["spilled_bytes"] == 0
    assert row["shared_bytes"] == 128 * 17 * 8
    assert 0 < row["registers"] <= 255
    assert row["blocks"] > 0
    assert (row["tensor_instructions"] is None) == (disassembler() is None)
    assert report["failures"] == []


@needs_compiler
def test_without_a_disassembler_the_columns_stay_empty(run, monkeypatch):
    monkeypatch.setattr("longconv_audio.engines.cuda.report.disassembler", lambda: None)
    code, out, err = run("kernels", "--arch", "sm_90a", "--only", ONLY)
    assert code == 0
    assert len(out.splitlines()[1].split(ONLY)[0].split()) == 5
    assert "nvdisasm" in err


@needs_compiler
def test_kernel_that_does_not_fit_is_exit_code_1(run, monkeypatch):
    every = list(specialisations.all_kernels(gpus.KNOWN["sm_90a"]))
    monkeypatch.setattr(gpus, "KNOWN", {"sm_90a": gpus.Gpu("sm_90a", 1024, 1024, 64, 1)})
    monkeypatch.setattr(specialisations, "all_kernels", lambda gpu: every)
    code, out, err = run("kernels", "--arch", "sm_90a", "--only", ONLY)
    assert code == 1
    assert "<- not as it should be" in out
    assert "1 not as they should be" in err


@needs_compiler
def test_kernel_that_does_not_compile_is_exit_code_1(run, monkeypatch, tmp_path):
    (tmp_path / "half.cuh").write_text("nonsense")
    (tmp_path / "arguments.cuh").write_text("")
    monkeypatch.setattr("longconv_audio.engines.cuda.cache.source_folder", lambda: tmp_path)
    code, _, err = run("kernels", "--arch", "sm_90a", "--only", ONLY)
    assert code == 1
    assert f"{ONLY} does not compile for sm_90a" in err
    assert "1 not compiled" in err


@pytest.mark.parametrize(("option", "value"), [("--arch", "sm_61"), ("--arch", ""), ("--only", "no such kernel")])
def test_usage(run, option, value):
    code, out, err = run("kernels", option, value)
    assert code == 2
    assert option in err
    assert not out


def test_without_nvrtc(run, monkeypatch):
    def absent():
        raise CompilerError("NVRTC cannot be used (gone): pip install it")

    monkeypatch.setattr(compiler, "compiler_version", absent)
    code, out, err = run("kernels")
    assert code == 1
    assert err.splitlines() == ["longconv: NVRTC cannot be used (gone): pip install it"]
    assert not out
