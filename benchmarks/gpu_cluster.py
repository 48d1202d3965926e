"""An all-to-all exchange through the distributed shared memory of thread-block clusters: does it beat device memory?

    python benchmarks/gpu_cluster.py [--sizes 1 2 4 8 16] [--kilobytes 64 96 192] [--json FILE]

A cluster can keep a transform on chip that is too long for one block if its blocks exchange their points between the
outer and the inner DFTs: block a takes chunk a of every block of its cluster, its own included. Rates are terabytes of
points a second over the whole GPU, each point counted once in a round: loaded from one block's shared memory and stored
in another's, with two cluster barriers a round. What stays in its block, one part in the cluster's size, counts too, in
favour of clusters. In a cluster of 1 a block exchanges within its own shared memory. As many clusters run as the GPU
holds at a time (column "blocks"). "read" loads from the other blocks and stores at home, "write" the other way round;
accesses of 16, 8 and 4 bytes, where the other block's are contiguous or, as those of a transposition, 37 apart: a
complex point has 4 bytes in half precision, 8 in single. What arrived is compared with what should have, word for word.
Clusters of 16 blocks are not portable: Hopper's data-centre GPUs have them.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from gpu_long_conv import copy_rate, median_time
from measuring import table, version

from longconv_audio.engines.cuda.compiler import compile_kernel

# Bytes a second, all blocks together, from which a row kept on chip by a cluster is faster than its three passes over
# device memory, by a cost model of half precision; larger rows need more.
BREAK_EVEN = 8e12
STRIDE = 37
ROUNDS = 501  # odd, so that chunks end up transposed
HELD = 256  # bytes of points that a thread holds in registers
TYPES = {16: "uint4", 8: "uint2", 4: "unsigned"}
PATTERNS = ((16, 1), (16, STRIDE), (8, STRIDE), (4, STRIDE))  # bytes of an access, stride
PORTABLE = 8  # blocks of a cluster


@dataclass(frozen=True)
class Exchange:
    """One kernel of cluster_exchange.cu.

    Args:
        size: blocks of a cluster.
        kilobytes: of points, a block.
        width: bytes of an access.
        stride: pieces from one access to the next, in the other block.
        writes: to the other blocks, else it reads from them.
    """

    size: int
    kilobytes: int
    width: int
    stride: int
    writes: bool

    @property
    def threads(self) -> int:
        return self.bytes // HELD

    @property
    def bytes(self) -> int:
        return self.kilobytes * 1024

    @property
    def name(self) -> str:
        count = HELD // self.width
        writes = "true" if self.writes else "false"
        return f"exchange<{TYPES[self.width]}, {self.size}, {self.threads}, {count}, {self.stride}, {writes}>"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1, 2, 4, 8, 16])
    parser.add_argument("--kilobytes", type=int, nargs="*", default=[64, 96, 192])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if torch.cuda.get_device_capability() < (9, 0):
        sys.exit(
            f"{torch.cuda.get_device_name()} has no thread-block clusters: expected compute capability 9.0 or higher"
        )
    copy = copy_rate()
    print(f"## Exchange through distributed shared memory on {torch.cuda.get_device_name()}\n")
    print(
        f"{version('torch')}, copy in device memory {copy / 1e12:.2f} TB/s, read and written together: an exchange ",
        end="",
    )
    print(f"through it, which writes and reads every point, moves {copy / 2e12:.2f} TB/s as counted here\n")
    rows, rates = [], {}
    for size in options.sizes:
        for kilobytes in options.kilobytes:
            cells = []
            for width, stride in PATTERNS:
                for writes in (False, True):
                    exchange = Exchange(size, kilobytes, width, stride, writes)
                    blocks, rates[exchange] = measure(exchange)
                    cells.append(f"{rates[exchange] / 1e12:.2f}")
            rows.append([size, kilobytes, blocks, *cells])
            print(*rows[-1], file=sys.stderr, flush=True)
    heads = [
        f"{width} B {'strided ' * (stride > 1)}{way}" for width, stride in PATTERNS for way in ("read", "write")
    ]  # fmt: skip
    table(["cluster", "KB a block", "blocks", *heads], rows)
    clusters = {exchange: rate for exchange, rate in rates.items() if exchange.size > 1}
    if clusters:
        print(verdict(clusters))
    if options.json:
        options.json.write_text(
            json.dumps([vars(exchange) | {"rate": rate} for exchange, rate in rates.items()], indent=1)
        )


def verdict(rates: dict[Exchange, float]) -> str:
    """Whether any exchange between blocks reaches the break-even, and the best of each cluster size."""
    best = {}
    for exchange, rate in rates.items():
        best[exchange.size] = max(rate, best.get(exchange.size, 0.0))
    figures = ", ".join(
        f"{rate / 1e12:.2f} TB/s in clusters of {size} ({rate * (1 - 1 / size) / 1e12:.2f} of it between blocks)"
        for size, rate in best.items()
    )
    winners = [str(size) for size, rate in best.items() if rate > BREAK_EVEN]
    answer = f"above it in clusters of {', '.join(winners)}" if winners else "below it in clusters of every size"
    return f"Break-even {BREAK_EVEN / 1e12:.0f} TB/s; the best exchange moves {figures}: {answer}."


def measure(exchange: Exchange) -> tuple[int, float]:
    """The blocks that run at a time, and bytes a second.

    Raises:
        RuntimeError: where the points that arrived are not those that should have.
    """
    kernel = Loaded(exchange)
    words = exchange.bytes // 4
    result = torch.zeros(kernel.clusters, exchange.size * words, dtype=torch.int32, device="cuda")
    seconds = median_time(lambda: kernel.launch(result, ROUNDS), 5)
    wrong = int((result != expected(exchange, ROUNDS)).sum())
    if wrong:
        raise RuntimeError(
            f"{exchange}: {wrong} of {result.numel()} words are wrong after {ROUNDS} rounds; expected none"
        )
    blocks = kernel.clusters * exchange.size
    return blocks, blocks * exchange.bytes * ROUNDS / seconds


def expected(exchange: Exchange, rounds: int) -> torch.Tensor:
    """A cluster's words after an odd number of rounds: chunks transposed between blocks, pieces permuted in a chunk."""
    words = exchange.bytes // 4
    chunk = exchange.bytes // exchange.width // exchange.size
    start = torch.arange(exchange.size * words, dtype=torch.int32, device="cuda")
    start = start.view(exchange.size, exchange.size, chunk, exchange.width // 4)
    factor = pow(exchange.stride, -rounds if exchange.writes else rounds, chunk)
    return start.transpose(0, 1)[:, :, torch.arange(chunk, device="cuda") * factor % chunk].reshape(-1)


class Loaded:
    """An exchange's kernel on the current device, and its launch in as many clusters as run at a time."""

    def __init__(self, exchange: Exchange):
        from cuda.bindings import driver

        major, minor = torch.cuda.get_device_capability()
        code = compile_kernel("cluster_exchange.cu", exchange.name, f"sm_{major}{minor}", Path(__file__).parent)
        self.driver = driver
        torch.cuda.current_stream().synchronize()  # makes torch's context the current one
        self.module = checked(driver.cuModuleLoadData(code.code))
        self.function = checked(driver.cuModuleGetFunction(self.module, code.symbol.encode()))
        names = driver.CUfunction_attribute
        attributes = {names.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: exchange.bytes}
        if exchange.size > PORTABLE:
            attributes[names.CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED] = 1
        for name, value in attributes.items():
            checked(driver.cuFuncSetAttribute(self.function, name, value))
        self.exchange = exchange
        self.clusters = checked(driver.cuOccupancyMaxActiveClusters(self.function, self.configuration(1)))

    def configuration(self, clusters: int):
        driver, exchange = self.driver, self.exchange
        attribute = driver.CUlaunchAttribute()
        attribute.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
        value = driver.CUlaunchAttributeValue()
        value.clusterDim.x, value.clusterDim.y, value.clusterDim.z = exchange.size, 1, 1
        attribute.value = value
        config = driver.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = clusters * exchange.size, 1, 1
        config.blockDimX, config.blockDimY, config.blockDimZ = exchange.threads, 1, 1
        config.sharedMemBytes = exchange.bytes
        config.hStream = torch.cuda.current_stream().cuda_stream
        config.attrs, config.numAttrs = [attribute], 1
        return config

    def launch(self, result: torch.Tensor, rounds: int) -> None:
        arguments = (result.data_ptr(), rounds), (ctypes.c_void_p, ctypes.c_int)
        checked(self.driver.cuLaunchKernelEx(self.configuration(self.clusters), self.function, arguments, 0))


def checked(answer: tuple):
    """What a function of the driver gave.

    Raises:
        RuntimeError: where it failed.
    """
    status, *given = answer
    if status.value:
        raise RuntimeError(f"the CUDA driver answers {status.name}")
    return given[0] if given else None


if __name__ == "__main__":
    main()
