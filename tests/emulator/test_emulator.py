"""The emulator itself: right on a right kernel, and not to be fooled by a wrong one."""

import harness
import numpy as np
import pytest

from longconv_audio.engines.cuda.arguments import Arguments

SEEDS = range(5)


def run(fault: str, seed: int):
    rng = np.random.default_rng(seed)
    device = harness.Device()
    u = device.put(rng.standard_normal((64, 16)).astype(np.float16))
    matrix = rng.standard_normal((16, 16)).astype(np.float16)
    lane = np.arange(32)
    rows = lane[:, None, None] // 4 + 8 * np.array([0, 1, 0, 1])[None, :, None]
    columns = 2 * (lane[:, None, None] % 4) + np.arange(2) + 8 * np.array([0, 0, 1, 1])[None, :, None]
    tables = device.put(matrix[rows, columns])
    y = device.empty((64, 16), np.float32)
    arguments = Arguments(u=u.ctypes.data, tables=tables.ctypes.data, y=y.ctypes.data)
    library = harness.build("planted.cuh", f"planted<Fault::{fault}>", folder=harness.HERE, include=(harness.CSRC,))
    counters = device.launch(library, arguments, (1,), 64, 3072, seed)
    wanted = u.astype(np.float64) @ matrix.T.astype(np.float64)
    return np.array_equal(np.isfinite(y), np.isfinite(wanted)) and np.abs(y - wanted).max() < 1e-4, counters


@pytest.mark.parametrize("seed", SEEDS)
def test_right_kernel_is_right_in_every_order(seed):
    right, counters = run("none", seed)
    assert right
    assert counters.tensor_instructions == 8
    assert counters.device_sectors_read == (64 * 16 * 2 + 16 * 16 * 2) / 32
    assert counters.device_sectors_written == 64 * 16 * 4 / 32
    assert counters.store_sectors == counters.store_sectors_ideal


@pytest.mark.parametrize("fault", ["no_block_barrier", "no_warp_barrier", "swapped_fragment", "no_wait"])
def test_fault_makes_the_result_wrong(fault):
    def caught(seed):
        try:
            return not run(fault, seed)[0]
        except harness.Fault:
            return True

    assert all(caught(seed) for seed in SEEDS)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("past_the_end", "outside every array"),
        ("past_shared", "past its 3072 bytes"),
        ("misaligned", "not aligned"),
        ("divergent_barrier", "deadlock"),
        ("no_wait", "under way"),
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_fault_is_trapped(fault, message, seed):
    with pytest.raises(harness.Fault, match=message):
        run(fault, seed)
