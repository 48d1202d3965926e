"""A step of the layers in two processes, by DDP and by FSDP2, is that of one with the whole batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed

WORKER = Path(__file__).with_name("distributed_worker.py")


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_take_the_step_of_one(tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, WORKER, str(rank), tmp_path / "rendezvous"], stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    try:
        errors = [worker.communicate(timeout=120)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(errors)
