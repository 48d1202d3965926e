"""Small convolutions and their gradients under NVIDIA's compute-sanitizer: `pytest -m gpu`, minutes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gpu import needs_gpu

SANITIZER = shutil.which("compute-sanitizer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/cuda/bin"]))
pytestmark = [*needs_gpu, pytest.mark.skipif(SANITIZER is None, reason="no compute-sanitizer")]

# Each size of a row that fits a warp and two of those that take a block, on and off their alignment; and rows that no
# block holds, whole and in tiles.
PROGRAM = """
import torch
from longconv_audio import long_conv
for dtype in (torch.float16, torch.bfloat16, torch.float32):
    for length in (100, 501, 1000, 2000, 4001):
        rows = [torch.randn(5, 2, length, device="cuda", dtype=dtype, requires_grad=True) for _ in range(3)]
        k = torch.randn(2, length, device="cuda", requires_grad=True)
        y = long_conv(rows[0], k, pre_gate=rows[1], post_gate=rows[2], engine="cuda")
        y.backward(torch.randn_like(y))
        long_conv(rows[0], k, engine="cuda").sum().backward()
    for taps in (140001, 300):
        u = torch.randn(1, 2, 140001, device="cuda", dtype=dtype, requires_grad=True)
        k = torch.randn(2, taps, device="cuda", requires_grad=True)
        long_conv(u, k, pre_gate=u, post_gate=u, engine="cuda").sum().backward()
torch.cuda.synchronize()
assert torch.isfinite(k.grad).all()
print("computed")
"""


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
def test_sanitizer_finds_nothing(tool):
    # CUDA's own libraries ask the driver for functions that it may not have, which is no error of ours.
    options = ["--report-api-errors", "no"] if tool == "memcheck" else []
    command = [SANITIZER, "--tool", tool, "--error-exitcode", "9", *options, sys.executable, "-c", PROGRAM]
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=900)
    assert "computed" in done.stdout, done.stderr[-2000:]
    assert done.returncode == 0, done.stdout[-3000:]
