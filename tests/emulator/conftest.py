"""The kernels' tests need a C++ compiler; without one they are skipped, and say so."""

import os
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from longconv_audio.engines.cuda import plans

sys.path.insert(0, str(Path(__file__).parent))
import harness


@pytest.fixture(autouse=True)
def _compiler():
    if harness.compiler() is None:
        pytest.skip("no C++ compiler (g++, clang++ or $CXX) to build the kernels for the emulator with")


@pytest.fixture(autouse=True)
def _few_blocks(monkeypatch):
    """Small batches are cut as large ones are: blocks have several rows, and sums have several blocks."""
    monkeypatch.setattr(plans, "WAVES", 1)
    monkeypatch.setattr(plans, "SUMS", 4)


@pytest.fixture
def seed(request) -> int:
    """Of the data and of the emulator's order of execution: each test's own, the same in every run.

    Printed where a test fails. Another EMULATOR_SEED in the environment gives every test another.
    """
    value = zlib.crc32(f"{os.environ.get('EMULATOR_SEED', '')} {request.node.nodeid}".encode())
    print("seed", value)
    return value


@pytest.fixture
def normal(seed):
    """Noise of unit scale in the shape that is asked for."""
    rng = np.random.default_rng(seed)
    return lambda *shape: rng.standard_normal(shape)
