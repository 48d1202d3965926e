"""Where a stream is convolved."""

import sys

import numpy as np
import pytest
import torch

from longconv_audio import backends
from longconv_audio.buffering import plan_for
from longconv_audio.errors import OptionError
from longconv_audio.routing import from_array

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
SINGLE = np.dtype(np.float32)


@pytest.mark.parametrize("device", [None, "cpu", "cpu:0", torch.device("cpu")])
def test_the_cpu(device):
    backend = backends.backend_for(device, SINGLE)
    assert isinstance(backend, backends.CpuBackend)
    assert str(backend) == "cpu"


@NO_GPU
@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda")])
def test_a_gpu_that_is_not_there(device):
    with pytest.raises(OptionError, match=rf"^--device {device}: torch \S+ finds no GPU here"):
        backends.backend_for(device, SINGLE, option="--device")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:one", "cuda:-1", "mps", ""])
def test_a_device_that_does_not_exist(device):
    with pytest.raises(OptionError, match="expected cpu, cuda"):
        backends.backend_for(device, SINGLE)


def test_a_gpu_beyond_the_last(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert backends.find_gpu("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(OptionError, match="there are 2 GPUs: expected cuda:0 to cuda:1"):
        backends.find_gpu("cuda:2")


def test_a_gpu_pays_for_long_work_alone(monkeypatch):
    monkeypatch.setattr(backends, "_driver_is_there", lambda: True)
    monkeypatch.setattr(backends, "available_cores", lambda: 2)
    monkeypatch.delitem(sys.modules, "torch")

    def pays(seconds, channels, taps):
        plan = plan_for(from_array(np.ones(taps), channels), SINGLE, "offline", None, 2, seconds * 48_000)
        samples = seconds * 48_000 * channels
        return backends.gpu_pays(plan, samples, samples, 4)

    assert not pays(10, 2, 48_000)
    assert not pays(600, 2, 48_000)
    assert pays(24 * 3600, 2, 288_000)
    assert pays(3600, 64, 288_000)
    monkeypatch.setattr(backends, "_driver_is_there", lambda: False)
    assert not pays(3600, 64, 288_000)
