"""What the tests share."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    """Random numbers of unit scale, the same in every run."""
    return np.random.default_rng(20_261_120)
