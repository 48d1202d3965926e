"""`longconv doctor`: what it says of this machine, whatever that is."""

import json

import pytest
import torch

cli = pytest.importorskip("longconv_audio.cli")
from longconv_audio.engines import torch_long_conv  # noqa: E402


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(["doctor", *arguments])
    return end.value.code, capsys.readouterr().out


def test_all_is_right(capsys):
    code, out = run(capsys, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["right"]
    assert report["machine"]["torch"] == torch.__version__
    on_cpu = [c for c in report["engines"] if c["device"] == "cpu"]
    assert [c["dtype"] for c in on_cpu] == ["float16", "bfloat16", "float32", "float64"]
    assert all(c["engine"] == "torch" and c["why not the fused kernels"] for c in on_cpu)
    tried = {(c["engine"], c["dtype"]) for c in report["checks"] if c["device"] == "cpu"}
    assert tried == {("numpy", "float32"), *(("torch", c["dtype"]) for c in on_cpu)}


def test_words(capsys):
    code, out = run(capsys)
    assert code == 0
    for words in ("python", "NVRTC", "NVIDIA driver", "cpu      float32   torch   right"):
        assert words in out


def test_wrong_result_is_exit_code_1(capsys, monkeypatch):
    monkeypatch.setattr(torch_long_conv, "forward", lambda call, u, k, *_: torch.zeros_like(u))
    code, out = run(capsys)
    assert code == 1
    assert "numpy   right" in out
    assert "torch   WRONG: 0.0 dB" in out


def test_failure_is_reported_and_exit_code_1(capsys, monkeypatch):
    def fail(*_):
        raise RuntimeError("no memory\nat all")

    monkeypatch.setattr(torch_long_conv, "forward", fail)
    code, out = run(capsys, "--json")
    assert code == 1
    assert "no memory at all" in out
