"""One of two processes of `test_distributed`: a training step by data parallel means, against one process's own.

python distributed_worker.py RANK RENDEZVOUS; exits with 0 where both agree.
"""

import copy
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from longconv_audio import nn as longconv_nn

WORLD, CHANNELS = 2, 4


def model():
    """A layer of each way to have parameters, with a buffer and a mask among them, and blocks."""
    torch.manual_seed(0)
    masked = longconv_nn.DepthwiseLongConv(CHANNELS, 70)
    masked.sparsify_(keep=0.5, length=200)
    return nn.Sequential(
        longconv_nn.DepthwiseLongConv(CHANNELS, 70, squash=0.001, smooth=1),
        masked,
        longconv_nn.SGConv(CHANNELS, 70, scale_size=8),
        longconv_nn.S4D(CHANNELS, 8),
        longconv_nn.HyenaOperator(CHANNELS, 70, bands=2, width=8),
        longconv_nn.LongConv1d(CHANNELS, CHANNELS, 70, padding="causal"),
        longconv_nn.LongConv1d(CHANNELS, CHANNELS, 70, padding="causal", groups=CHANNELS),
        longconv_nn.ResidualBlock(longconv_nn.DepthwiseLongConv(CHANNELS, 70), CHANNELS, glu=True),
        longconv_nn.UNetStage(longconv_nn.FeedForward(2 * CHANNELS), CHANNELS, 3),
    ).double()


def step(network, x):
    """The gradients, and the parameters after a step, as plain tensors."""
    optimiser = torch.optim.AdamW(longconv_nn.parameter_groups(network, lr=0.01, weight_decay=0.1))
    network(x).square().mean().backward()
    gradients = [whole(p.grad) for p in network.parameters()]
    optimiser.step()
    return gradients, [whole(p) for p in network.parameters()]


def whole(t):
    return t.full_tensor() if hasattr(t, "full_tensor") else t.detach().clone()


def sharded(network):
    """Each layer by itself, then what is left, as for a large model."""
    mesh = init_device_mesh("cpu", (WORLD,))
    for layer in network:
        fully_shard(layer, mesh=mesh)
    return fully_shard(network, mesh=mesh)


def main(rank: int, rendezvous: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=WORLD)
    x = torch.randn(2 * WORLD, CHANNELS, 200, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    network = model()
    expected = step(copy.deepcopy(network), x)
    share = x[2 * rank : 2 * rank + 2]
    for parallel in (DistributedDataParallel, sharded):
        for a, b in zip(step(parallel(copy.deepcopy(network)), share), expected, strict=True):
            assert any(t.abs().max() > 0 for t in a)
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
