"""What the tests share."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

_HERE = Path(__file__).parent
# What several test files share lies in modules beside them.
sys.path[:0] = [str(_HERE), str(_HERE / "emulator"), str(_HERE / "engines" / "cuda")]
# Tests that compile kernels and run them, or read what the compiler made of them.
_EMULATED = (_HERE / "emulator", _HERE / "engines" / "cuda" / "test_long_conv.py")


def pytest_collection_modifyitems(items):
    """Marks what runs kernels with no GPU, so that it can be left out."""
    for item in items:
        if any(item.path.is_relative_to(place) for place in _EMULATED):
            item.add_marker(pytest.mark.emulator)


@pytest.fixture
def rng():
    """Random numbers of unit scale, the same in every run."""
    return np.random.default_rng(20_261_120)


@pytest.fixture(scope="module")
def one_thread():
    """Threads that wait for each other over a few samples make small cases slow on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
