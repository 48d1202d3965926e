"""The time of every fused kernel at a device's rates, predicted with no GPU, and the term that bounds it.

    python benchmarks/kernel_roofline.py [--device H200] [--dtypes float16 float32] [--json FILE] [--measured FILE]

A causal convolution of (batch, channels, L) with L taps a channel, forward and backward, with both gates and with none.
Seven terms, each the time that the whole call would take if nothing else took any:

- memory: bytes of device memory. The emulator counts them: every sector once, and what is read or written again as far
  as the second-level cache does not hold it (see `misses`);
- cache: sectors between the second-level cache and the multiprocessors;
- issue and pipe: instructions, and those of the busiest pipe, counted by a walk through the machine code
  (machine_code.py);
- shared: wavefronts of shared memory;
- tensor: tensor instructions;
- latency: the cycles that one warp takes from its first instruction to its last if it has the device to itself, by the
  number of warps that are there at a time.

How far the terms hide behind each other follows from mean value analysis (Reiser and Lavenberg, Journal of the ACM 27,
1980): resident warps go round between queues, one for each of the first six, and a delay that is what is left of the
latency. One queue as long as all others together gives the largest term; many warps come close to it, few do not.

Of 56 times that an H200 took for 64 rows of 768 channels (float16 and float32, 256 to 16384 samples), 46 are within
15 % of the prediction, all are within 0.74 and 1.21, and the mean ratio is 1.00. Both constants that are fitted
(`DISPATCH` and `CACHE_SHARE`) were so to half-precision kernels that are gone, and foretold those that took their
place. It is 0.75 to 0.85 in half precision at 16K points: warps that a barrier holds together all wait for memory at
once and then all compete for the issue, where the queues let each come at its own time. It is up to 1.2 in single
precision from 512 to 1024 points, where an instruction costs less than `DISPATCH` says.

--measured takes what gpu_long_conv.py wrote with --json, and prints it beside the prediction.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from machine_code import MachineCode, Timing, Walk, busiest_pipe
from measuring import table

from longconv_audio.engines.cuda import cache
from longconv_audio.engines.cuda.gpus import KNOWN, Gpu
from longconv_audio.engines.cuda.report import read_cubin, resident_blocks
from longconv_audio.engines.cuda.specialisations import Kernel

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "emulator"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "engines" / "cuda"))
import counted
from counted import SECTOR, Launch, Work

TERMS = ("memory", "cache", "issue", "pipe", "shared", "tensor")
SCHEDULERS = 4  # of a multiprocessor
OF_SCHEDULER = ("issue", "pipe", "tensor")


@dataclass(frozen=True)
class Device:
    """Rates of a device.

    Args:
        arch: what kernels are compiled for.
        multiprocessors: their number.
        clock: hertz, under load.
        memory: bytes a second that a copy reaches, read and written together.
        cache_bytes, cache: of the second-level cache, and its bytes a second.
        product: floating-point operations a second that a product of large matrices reaches, 16 bit to 32.
        tensor: a cycle and multiprocessor, that `mma.sync` reaches.
        float_lanes: of a multiprocessor.
    """

    arch: str
    multiprocessors: int
    clock: float
    memory: float
    cache_bytes: int
    cache: float
    product: float
    tensor: float
    float_lanes: int = 128

    @property
    def timing(self) -> Timing:
        """Of one scheduler of four."""
        return Timing(tensor=4 * TENSOR_FLOPS / self.tensor, floats=128 / self.float_lanes)

    @property
    def gpu(self) -> Gpu:
        return replace(KNOWN[self.arch], multiprocessors=self.multiprocessors)


# Multiprocessors, clocks, sizes and peaks: the architectures' white papers by NVIDIA (A100 v1.0, GA102 v2.1, H100
# v1.04, Ada v2.1). H200: 4.25 of 4.8 TB/s copied and 785 TFLOP/s multiplied, both measured; the same shares of the
# peaks are taken of the others. `mma.sync` has two thirds of Hopper's peak, by Nsight Compute's own count, and all of
# the others' (Luo et al., arXiv 2402.13499, table 7). Second-level cache: Chips and Cheese, "Nvidia's H100: Funny L2,
# and Tons of Bandwidth", 2023, and its like of other devices.
MB = 1 << 20
DEVICES = {
    "H200": Device("sm_90a", 132, 1.75e9, 4.25e12, 60 * MB, 5.7e12, 785e12, 2731),
    "H100": Device("sm_90a", 132, 1.75e9, 2.97e12, 50 * MB, 5.7e12, 785e12, 2731),
    "A100": Device("sm_80", 108, 1.41e9, 1.81e12, 40 * MB, 4.4e12, 248e12, 2048, 64),
    "RTX 3090": Device("sm_86", 82, 1.70e9, 0.83e12, 6 * MB, 2.0e12, 56e12, 512),
    "RTX 4090": Device("sm_89", 128, 2.52e9, 0.89e12, 72 * MB, 5.0e12, 131e12, 512),
}
# Of the cache, what a working set can rely on. Fitted to the bytes that Nsight Compute counted on an H200; an entry may
# lie in both halves of Hopper's cache, and rows that stream by push others out.
CACHE_SHARE = 0.39
# Cycles that a scheduler takes for an instruction. Fitted to the times measured on an H200. Nsight Compute counts 0.2
# to 0.6 cycles of dispatch stalls for each there, and in no kernel more than 0.75 instructions a cycle.
DISPATCH = 1.3
ROUNDS = 300  # in which the network's mean values settle
LAUNCH = 2e-6  # seconds between the kernels of a graph

TENSOR_FLOPS = 2 * 16 * 8 * 16  # of one instruction


@dataclass(frozen=True)
class Prediction:
    """Of one kernel.

    Args:
        seconds: that it takes.
        terms: seconds of each alone, by name.
        registers, blocks, warps: of a thread; resident on a multiprocessor.
        instructions: that its warps issue.
        device_bytes: that device memory moves.
        tensor_flops: of its tensor instructions.
    """

    kernel: str
    seconds: float
    terms: dict[str, float]
    registers: int
    blocks: int
    warps: int
    instructions: float
    device_bytes: float
    tensor_flops: float

    @property
    def bound(self) -> str:
        return max(self.terms, key=self.terms.get)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=DEVICES, default="H200")
    parser.add_argument("--batch", type=int, default=counted.BATCH)
    parser.add_argument("--channels", type=int, default=counted.CHANNELS)
    parser.add_argument("--lengths", type=int, nargs="*", default=counted.LENGTHS)
    parser.add_argument("--dtypes", nargs="*", default=["float16", "bfloat16", "float32"])
    parser.add_argument("--json", type=Path, help="where to write the predictions")
    parser.add_argument("--measured", type=Path, help="what gpu_long_conv.py wrote with --json")
    options = parser.parse_args()
    device = DEVICES[options.device]
    measured = read_measured(options.measured) if options.measured else {}
    rows, found = [], []
    for work in counted.every_work(*(getattr(torch, name) for name in options.dtypes), lengths=options.lengths):
        kernels = predict(work, device, options.batch, options.channels)
        floor = floor_seconds(work, kernels, device, options.batch, options.channels)
        rows.append(describe(work, kernels, floor, measured.get(str(work))))
        found.append({"work": str(work), "floor": floor, "kernels": [asdict(k) | {"bound": k.bound} for k in kernels]})
        print("|".join(rows[-1]), file=sys.stderr, flush=True)
    print(f"## Predicted on {options.device}: batch {options.batch}, {options.channels} channels\n")
    columns = ["dtype", "L", "gates", "pass", *TERMS, "latency", "bound", "warps", "ms", "x floor"]
    table(columns + (["measured", "of it"] if measured else []), rows, left=4)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def predict(work: Work, device: Device, batch: int, channels: int) -> list[Prediction]:
    """Of every kernel of a call."""
    launches = counted.count(work, device.gpu, batch, channels)
    return [predict_launch(launch, device) for launch in launches]


def floor_seconds(work: Work, kernels: list[Prediction], device: Device, batch: int, channels: int) -> float:
    """The larger of two: bytes that go in or come out, each once, and tensor instructions."""
    moved = channels * (batch * work.row_bytes + work.filter_bytes)
    return max(moved / device.memory, sum(k.tensor_flops for k in kernels) / device.product)


def predict_launch(launch: Launch, device: Device) -> Prediction:
    kernel = launch.kernel
    code, registers, blocks = compiled(kernel, device)
    warps = kernel.threads // 32
    walk = walk_of_block(launch, code, device)
    resident = min(blocks, math.ceil(launch.blocks / device.multiprocessors))
    device_bytes = moved_bytes(launch, device, resident)
    sectors = launch.total("load_sectors") + launch.total("store_sectors")
    # Cycles of a multiprocessor, for one warp of the launch.
    share = 1 / (launch.blocks * warps)
    per_cycle = share * device.multiprocessors * device.clock
    queues = {
        "memory": device_bytes * per_cycle / device.memory,
        "cache": sectors * SECTOR * per_cycle / device.cache,
        "issue": DISPATCH * walk.issued / SCHEDULERS,
        "pipe": busiest_pipe(walk.instructions, device.timing),
        "shared": launch.total("wavefronts") * share,
        "tensor": launch.total("tensor_instructions") * share * TENSOR_FLOPS / device.tensor,
    }
    alone = sum(value * (SCHEDULERS if name in OF_SCHEDULER else 1) for name, value in queues.items())
    delay = max(walk.cycles - alone, 0)
    cycles = launch.blocks * warps / throughput(queues, delay, resident * warps)
    # All multiprocessors are as long at it as the one that has the most blocks.
    most = math.ceil(launch.blocks / device.multiprocessors)
    cycles *= most / launch.blocks
    to_seconds = launch.blocks * warps / device.multiprocessors / device.clock
    terms = {name: value * to_seconds for name, value in queues.items()}
    terms["latency"] = walk.cycles * to_seconds / (resident * warps)
    return Prediction(
        kernel.name, cycles / device.clock + LAUNCH, terms, registers, blocks, resident * warps,
        walk.issued * launch.blocks * warps, device_bytes, launch.total("tensor_instructions") * TENSOR_FLOPS,
    )  # fmt: skip


def throughput(queues: dict[str, float], delay: float, customers: int) -> float:
    """Customers a cycle through a closed network, by Schweitzer's approximate mean value analysis.

    Of the queues that are a scheduler's own, a customer keeps to one of four. Demands are those of the multiprocessor,
    so that there each visit takes four times as long, which the delay has room for.
    """
    copies = {name: SCHEDULERS if name in OF_SCHEDULER else 1 for name in queues}
    visits = {name: demand * copies[name] for name, demand in queues.items()}
    times = dict(visits)
    for _ in range(ROUNDS):
        total = delay + sum(times.values())
        # An arrival finds as many others at a queue as the share of their time says that they spend there.
        found = {name: max(customers / copies[name] - 1, 0) * times[name] / total for name in visits}
        times = {name: visits[name] * (1 + found[name]) for name in visits}
    return customers / (delay + sum(times.values()))


@functools.cache
def compiled(kernel: Kernel, device: Device):
    """Its machine code, registers of a thread, and blocks that are resident on a multiprocessor."""
    cubin = cache.cubin(kernel.header, kernel.name, device.arch)
    facts = read_cubin(cubin)
    shared = facts.static_shared_bytes + kernel.shared_bytes
    blocks = resident_blocks(device.gpu, kernel.threads, facts.registers, shared)
    return MachineCode(cubin.code, device.arch), facts.registers, max(blocks, 1)


def walk_of_block(launch: Launch, code: MachineCode, device: Device) -> Walk:
    """What the first warp of a block does in all of its turns."""
    one, two = (code.walk(given, (0, 0), launch.kernel.threads, device.timing) for given in launch.arguments)
    more = launch.turns - 1 if launch.of_rows else 0
    names = set(one.instructions) | set(two.instructions)
    counts = {n: one.instructions[n] + more * (two.instructions[n] - one.instructions[n]) for n in names}
    return Walk(one.cycles + more * (two.cycles - one.cycles), Counter(counts))


def moved_bytes(launch: Launch, device: Device, resident: int) -> float:
    """Of device memory: every sector once, and again what the second-level cache has lost meanwhile."""
    once = launch.distinct_bytes("device_sectors_read") + launch.distinct_bytes("device_sectors_written")
    often = SECTOR * (launch.total("load_sectors") + launch.total("store_sectors"))
    return once + misses(launch, device, resident) * max(often - once, 0)


def misses(launch: Launch, device: Device, resident: int) -> float:
    """The share of repeated accesses that find their sector gone.

    What a block touches in one turn, times the blocks that are at it, has to share the cache. Where lines leave it in
    no particular order, so much of a working set stays as there is room for.
    """
    touched = ("device_sectors_read", "device_sectors_written")
    turn = SECTOR * sum(launch.of_block[name] + launch.of_turn[name] for name in touched)
    return max(0.0, 1 - CACHE_SHARE * device.cache_bytes / (turn * resident * device.multiprocessors))


_DIRECTION = {False: "forward", True: "backward"}


def read_measured(path: Path) -> dict[str, float]:
    """Seconds by work."""
    return {
        str(Work(getattr(torch, case["dtype"]), case["length"], case["gated"], _DIRECTION[case["backward"]])): case[
            "seconds"
        ]
        for case in json.loads(path.read_text())
    }


def describe(work: Work, kernels: list[Prediction], floor: float, measured: float | None) -> list[str]:
    main = max(kernels, key=lambda k: k.seconds)
    seconds = sum(k.seconds for k in kernels)
    terms = [sum(k.terms[name] for k in kernels) for name in (*TERMS, "latency")]
    row = [
        str(work.dtype).removeprefix("torch."), str(work.length), "both" if work.gated else "none", work.direction,
        *(f"{term * 1e3:.3f}" for term in terms), main.bound, str(main.warps), f"{seconds * 1e3:.3f}",
        f"{seconds / floor:.2f}",
    ]  # fmt: skip
    return row + ([f"{measured * 1e3:.3f}", f"{seconds / measured:.2f}"] if measured else [])


if __name__ == "__main__":
    main()
