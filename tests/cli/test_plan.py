"""`longconv plan`, and `longconv doctor --calibrate`, where there is no GPU and where one is made up."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from longconv_audio.engines.cuda import calibration, rates
from longconv_audio.planning import DEVICES, device_named, plan

cli = pytest.importorskip("longconv_audio.cli")

EXAMPLE = ("--length", "10min", "--rate", "48000", "--ir", "6s", "--channels", "2", "--device", "h200")
MEASURED = {name: 1e12 * (i + 1) for i, name in enumerate(calibration.RATES)}


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Runs a command; gives its exit code and what it printed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main(list(arguments))
        return end.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU whose rates are the published ones until they are measured."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr(calibration, "identity", lambda index: ("NVIDIA H200", "13.0"))
    monkeypatch.setattr(calibration, "published", lambda index: replace(DEVICES["h200"], name="NVIDIA H200"))
    monkeypatch.setattr(rates, "measure", lambda index: MEASURED)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)


def test_paragraph(run):
    code, out, err = run("plan", *EXAMPLE)
    assert code == 0
    assert not err
    assert max(map(len, out.splitlines())) <= 100
    wanted = plan(1, 2, 28_800_000, 288_000, device=device_named("h200"))
    assert " ".join(out.split()) == str(wanted)
    assert wanted.algorithm == "overlap-save"


def test_json_has_all_of_it(run):
    options = (
        *("--batch", "8", "--channels", "4", "--dtype", "bfloat16", "--precision", "single", "--mode", "full"),
        *("--gates", "both", "--backward", "--prepared", "--filters", "2", "--filter-per-item", "--sparsity", "0.5"),
    )
    code, out, _ = run("plan", "--length", "4096", "--ir", "100", *options, "--device", "rtx40", "--json")
    assert code == 0
    wanted = plan(
        8, 4, 4096, 100, mode="full", dtype="bfloat16", precision="single", pre_gate=True, post_gate=True, filters=2,
        filter_per_item=True, prepared=True, backward=True, sparsity=0.5, device=device_named("rtx4090"),
    )  # fmt: skip
    report = json.loads(out)
    assert report["convolution"] == vars(wanted.convolution)
    assert report == json.loads(json.dumps(wanted.as_dict()))
    assert report["runner_up"]["seconds"] >= report["seconds"] > 0
    assert report["order"] == len(report["factors"])


@pytest.mark.parametrize(
    ("arguments", "samples", "taps"),
    [
        (("--length", "16384"), 16384, 16384),
        (("--length", "1:30", "--rate", "100", "--ir", "500ms"), 9000, 50),
        (("--length", "2.5", "--rate", "10"), 25, 25),
    ],
)
def test_lengths(run, arguments, samples, taps):
    code, out, _ = run("plan", *arguments, "--device", "h100", "--json")
    assert code == 0
    convolution = json.loads(out)["convolution"]
    assert (convolution["length"], convolution["taps"]) == (samples, taps)


def test_nothing_heavy_is_loaded():
    script = (
        "import sys; from longconv_audio.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert end.code == 0\nprint(*sys.modules)"
    )
    command = [sys.executable, "-c", script, "plan", *EXAMPLE]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert "longconv_audio.planning.convolutions" in loaded
    assert not {"torch", "numpy", "scipy", "soundfile"} & loaded


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--length", "10min", "--device", "h200"), "--length 10min: expected a number of samples: pass --rate"),
        (("--length", "0", "--device", "h200"), "--length 0: expected at least 1 sample"),
        (("--length", "1", "--rate", "0", "--device", "h200"), "--rate 0"),
        (("--length", "soon", "--rate", "48000", "--device", "h200"), "duration 'soon'"),
        (("--length", "100", "--ir", "-3", "--device", "h200"), "--ir -3"),
        (("--length", "100", "--batch", "0", "--device", "h200"), "batch is 0"),
        (("--length", "100", "--channels", "3", "--filters", "2", "--device", "h200"), "filters is 2"),
        (("--length", "100", "--sparsity", "2", "--device", "h200"), "sparsity is 2.0"),
        (("--length", "100", "--device", "gtx1080"), "device 'gtx1080' is not known: expected one of a100, h100"),
        (("--length", "100", "--device", "cudax"), "device 'cudax' is not known"),
        (("--length", "100", "--mode", "valid", "--device", "h200"), "'--mode'"),
        (
            ("--length", "4194304", "--batch", "64", "--channels", "768", "--device", "h200"),
            "the largest block of rows",
        ),
    ],
)
def test_usage(run, arguments, words):
    code, out, err = run("plan", *arguments)
    assert code == 2
    assert words in err
    assert len(err.splitlines()) == 1
    assert not out


@pytest.mark.parametrize("arguments", [("plan", "--length", "100"), ("doctor", "--calibrate")])
def test_without_a_gpu(run, no_gpu, arguments):
    code, out, err = run(*arguments)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "there is no" in err or "there is none" in err
    assert not out


def test_this_machines_gpu_before_and_after_it_is_measured(run, gpu):
    code, before, err = run("plan", "--length", "100", "--json")
    assert code == 0
    assert "longconv doctor --calibrate" in err
    code, out, _ = run("doctor", "--calibrate")
    assert code == 0
    for words in ("NVIDIA H200: kept in ", "memory         1.00 TB/s", "tensor         6.00 TFLOP/s", "launch"):
        assert words in out
    code, after, err = run("plan", "--length", "100", "--device", "cuda:0", "--json")
    assert code == 0
    assert not err
    assert json.loads(after)["seconds"] != json.loads(before)["seconds"]
    assert json.loads(after)["device"] == "NVIDIA H200"


def test_calibration_as_json(run, gpu):
    code, out, _ = run("doctor", "--calibrate", "--json")
    assert code == 0
    ((made,),) = (json.loads(out)["calibrated"],)
    assert (made["device"], made["driver"], made["rates"]) == ("NVIDIA H200", "13.0", MEASURED)


def test_damaged_calibration_is_exit_code_3(run, gpu):
    _, out, _ = run("doctor", "--calibrate", "--json")
    file = json.loads(out)["calibrated"][0]["file"]
    with open(file, "w") as damaged:
        damaged.write("{")
    code, out, err = run("plan", "--length", "100")
    assert code == 3
    assert file in err
    assert "is damaged" in err
    assert not out


def test_index_beyond_the_gpus(run, gpu):
    assert torch.cuda.device_count() == 1
    code, _, err = run("plan", "--length", "100", "--device", "cuda:1")
    assert code == 2
    assert "--device cuda:1: no such GPU: torch can use 1 here" in err
