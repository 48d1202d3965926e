"""Rates of a GPU that were measured once: kept, found again, and refused where they are damaged or another's."""

import json
from dataclasses import replace

import pytest
from gpu import needs_gpu

from longconv_audio.engines.cuda import calibration, rates
from longconv_audio.errors import OptionError, UnreadableError, UnwritableError
from longconv_audio.planning import DEVICES

MEASURED = {name: 1e12 + 1e9 * i for i, name in enumerate(calibration.RATES)}
H200 = DEVICES["h200"]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with a GPU, none of whose rates were measured, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "identity", lambda index: ("NVIDIA H200", "13.0"))
    monkeypatch.setattr(calibration, "published", lambda index: replace(H200, name="NVIDIA H200"))
    monkeypatch.setattr(rates, "measure", lambda index: MEASURED)
    calibration.device_of.cache_clear()
    yield tmp_path / "longconv-audio" / "devices"
    calibration.device_of.cache_clear()


def test_rates_are_found_again(machine):
    assert calibration.calibrated(0) is None
    assert calibration.device_of(0).memory == H200.memory
    path = calibration.calibrate(0)
    assert [*machine.iterdir()] == [path]
    found = calibration.calibrated(0)
    assert {name: getattr(found, name) for name in MEASURED} == MEASURED
    assert (found.name, found.gpu, found.memory_bytes) == ("NVIDIA H200", H200.gpu, H200.memory_bytes)
    assert calibration.device_of(0) == found


def test_another_driver_is_another_file(machine, monkeypatch):
    calibration.calibrate(0)
    monkeypatch.setattr(calibration, "identity", lambda index: ("NVIDIA H200", "13.2"))
    assert calibration.calibrated(0) is None


def damage(content: dict) -> list[bytes]:
    text = json.dumps(content).encode()
    fewer = {name: rate for name, rate in MEASURED.items() if name != "cache"}
    return [
        b"", text[:-1], b"\xff\xfe", b"[]", b"null",
        json.dumps({**content, "format": 0}).encode(),
        json.dumps({**content, "rates": fewer}).encode(),
        *(json.dumps({**content, "rates": {**MEASURED, "fma": wrong}}).encode()
          for wrong in (0, -1e12, float("nan"), float("inf"), "fast", None)),
    ]  # fmt: skip


def test_damaged_file_is_one_line_and_the_engine_does_without(machine):
    path = calibration.calibrate(0)
    for content in damage(json.loads(path.read_bytes())):
        path.write_bytes(content)
        with pytest.raises(UnreadableError, match=r"is damaged.*doctor --calibrate") as caught:
            calibration.calibrated(0)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        calibration.device_of.cache_clear()
        with pytest.warns(RuntimeWarning, match="is damaged"):
            assert calibration.device_of(0).memory == H200.memory
    calibration.calibrate(0)
    assert calibration.calibrated(0).memory == MEASURED["memory"]


def test_file_of_another_device(machine):
    path = calibration.calibrate(0)
    path.write_text(path.read_text().replace("NVIDIA H200", "NVIDIA A100"))
    with pytest.raises(UnreadableError, match=r"was measured on NVIDIA A100 .* and this is NVIDIA H200 .*--calibrate"):
        calibration.calibrated(0)


def test_no_place(machine, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UnwritableError, match="cannot be written"):
        calibration.calibrate(0)
    monkeypatch.setattr(calibration, "cache_folder", lambda kind: None)
    assert calibration.calibrated(0) is None
    with pytest.raises(UnwritableError, match="no home folder"):
        calibration.calibrate(0)


def test_gpus_by_name(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [calibration.gpu_index(name) for name in ("cuda", "CUDA:1", "h200", "cuda:", "cuda:x")] == [
        0, 1, None, None, None,
    ]  # fmt: skip
    with pytest.raises(OptionError, match=r"device cuda:2: no such GPU: torch can use 2 here"):
        calibration.gpu_index("cuda:2")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(OptionError, match="device cuda: no such GPU: there is none"):
        calibration.gpu_index("cuda")


class TestOnGpu:
    pytestmark = needs_gpu

    def test_rates_are_of_the_right_order(self):
        """Within a factor of two of the published ones, or of those of a device that is like it."""
        there, here = calibration.published(0), rates.measure(0)
        assert set(here) == set(calibration.RATES)
        for name, rate in here.items():
            assert 0.5 < rate / getattr(there, name) < 2.0 or name in ("launch", "cache"), name
        assert 2e-7 < here["launch"] < 2e-5
        assert here["cache"] > here["memory"]

    def test_kept_on_this_machine(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert calibration.calibrate(0).parent.is_relative_to(tmp_path)
        assert calibration.calibrated(0).memory > 0
        calibration.device_of.cache_clear()
