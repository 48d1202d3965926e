"""The kernels' tests need a C++ compiler; without one they are skipped, and say so."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import harness


@pytest.fixture(autouse=True)
def _compiler():
    if harness.compiler() is None:
        pytest.skip("no C++ compiler (g++, clang++ or $CXX) to build the kernels for the emulator with")


@pytest.fixture
def seed() -> int:
    """Of the data and of the emulator's order of execution; fresh each time and printed where a test fails."""
    value = int(np.random.SeedSequence().generate_state(1)[0])
    print("seed", value)
    return value
