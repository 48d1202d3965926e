"""Devices by name, and what is known of them."""

from dataclasses import replace

import pytest

from longconv_audio.engines.cuda.gpus import KNOWN
from longconv_audio.errors import OptionError
from longconv_audio.planning import DEVICES, device_named
from longconv_audio.planning.devices import estimated

PEAKS = {"a100": (2039, 312), "h100": (3350, 989), "h200": (4800, 989), "rtx3090": (936, 71), "rtx4090": (1008, 165)}


@pytest.mark.parametrize("name", ["H200", " h200", "h-200"])
def test_names_are_read_as_people_write_them(name):
    assert device_named(name) == DEVICES["h200"]


@pytest.mark.parametrize(("family", "name"), [("rtx30", "rtx3090"), ("RTX 40", "rtx4090"), ("rtx50", "rtx5090")])
def test_families(family, name):
    assert device_named(family).name == name


def test_unknown_device_lists_those_that_are_known():
    with pytest.raises(OptionError, match=r"device 'gtx1080' is not known: expected one of a100, h100, .*rtx50$"):
        device_named("gtx1080")


@pytest.mark.parametrize("name", PEAKS)
def test_rates_stay_below_the_peaks(name):
    device, (memory, tensor) = DEVICES[name], PEAKS[name]
    assert 0.8 < device.memory / (memory * 1e9) < 1
    assert 0.7 < device.tensor / (tensor * 1e12) < 1


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_figures_are_of_the_right_order(device):
    assert device.gpu.arch in KNOWN
    assert device.memory < device.cache < device.shared
    assert device.double < device.fma < device.tensor
    assert device.cache_bytes < 2e8 < 2e10 < device.memory_bytes


class TestEstimated:
    def test_device_whose_model_is_known(self):
        gpu = replace(KNOWN["sm_89"], multiprocessors=128)
        found = estimated("NVIDIA GeForce RTX 4090", gpu, 25 * 10**9, 72 << 20)
        wanted = DEVICES["rtx4090"]
        assert found == replace(wanted, name="NVIDIA GeForce RTX 4090", memory_bytes=25 * 10**9)

    def test_smaller_one_of_an_architecture(self):
        gpu = replace(KNOWN["sm_89"], multiprocessors=64)
        found = estimated("NVIDIA L40-like", gpu, 10**10, 36 << 20)
        assert found.memory == DEVICES["rtx4090"].memory / 2
        assert found.launch == DEVICES["rtx4090"].launch
        assert (found.gpu, found.memory_bytes, found.cache_bytes) == (gpu, 10**10, 36 << 20)

    @pytest.mark.parametrize(("arch", "like"), [("sm_87", "a100"), ("sm_100", "h100")])
    def test_architecture_that_nothing_is_known_of(self, arch, like):
        gpu = replace(KNOWN[arch], multiprocessors=DEVICES[like].gpu.multiprocessors)
        assert estimated("another", gpu, 10**11, 10**8).tensor == DEVICES[like].tensor
