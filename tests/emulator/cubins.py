"""What the compiler makes of the kernels, with no GPU: registers, local memory, instructions, by way of NVRTC.

Prints a row for each specialisation of the half-precision kernels and ends with 1 where one does not fit its registers:

    python tests/emulator/cubins.py --arch sm_80,sm_90a --points 1024,16384
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90a")
CSRC = Path(__file__).parents[2] / "csrc"
TENSOR, DOUBLE, LOCAL = r"HMMA", r"D(?:ADD|MUL|FMA|SETP|MNMX)", r"(?:LDL|STL)"


@dataclass
class Report:
    kernel: str
    arch: str
    registers: int
    stack: int
    instructions: Counter

    def count(self, pattern: str) -> int:
        return sum(n for name, n in self.instructions.items() if re.match(pattern + r"\b", name))

    @property
    def fits(self) -> bool:
        return self.stack == 0 and not self.count(LOCAL) and not self.count(DOUBLE)


def tool(name: str) -> Path | None:
    """A program of the CUDA toolkit from triton's wheel, which brings it along."""
    try:
        import triton
    except ImportError:
        return None
    path = Path(triton.__file__).parent / "backends/nvidia/bin" / name
    return path if path.exists() else None


def compile_kernels(header: str, kernels: list[str], arch: str) -> list[Report]:
    """One program, all kernels: NVRTC reads the headers once."""
    from cuda.core import Program, ProgramOptions

    options = ProgramOptions(arch=arch, include_path=str(CSRC), std="c++17", device_as_default_execution_space=True)
    program = Program(f'#include "{header}"\n', "c++", options)
    cubin = program.compile("cubin", name_expressions=kernels)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernels.cubin")
        path.write_bytes(cubin.code)
        usage = subprocess.run([tool("cuobjdump"), "-res-usage", path], capture_output=True, text=True, check=True)
        text = usage.stdout + usage.stderr
        resources = {
            name: (int(registers), int(stack))
            for name, registers, stack in re.findall(r"Function (\S+):\s+REG:(\d+) STACK:(\d+)", text)
        }
        code = subprocess.run([tool("nvdisasm"), "-c", path], capture_output=True, text=True, check=True).stdout
    instructions: dict[str, Counter] = {}
    for part in re.split(r"\.section\s+\.text\.", code)[1:]:
        name = re.match(r"[^,\s]+", part)[0]
        found = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?\s*([A-Z][A-Z0-9]+)", part)
        instructions[name] = Counter(found)
    symbols = cubin.symbol_mapping
    reports = []
    for kernel in kernels:
        name = symbols[kernel]
        name = name.decode() if isinstance(name, bytes) else name
        reports.append(Report(kernel, arch, *resources[name], instructions[name]))
    return reports


def half_kernels(points: list[int], *, every: bool = True) -> list[str]:
    """Names of the half-precision kernels of these sizes: every specialisation, or the fully gated aligned ones."""
    from half import FACTORS

    kernels = []
    flags = ("true", "false")
    for n in points:
        factors = "Factors<{}, {}, {}>".format(*FACTORS[n])
        for cells in ("whole", "halved"):
            kernels += [f"half_filter_{what}<{factors}, single::Cells::{cells}>" for what in ("spectrum", "gradient")]
        for number in ("Fp16", "Bf16"):
            kernels.append(f"half_tables<{number}, {factors}>")
            for pre, post, aligned in itertools.product(flags, repeat=3) if every else [("true",) * 3]:
                form = f"{number}, {factors}, Switches<{pre}, {post}, {aligned}>"
                if n <= 1024:
                    kernels += [f"half_forward_warp<{form}>", f"half_backward_warp<{form}>"]
                else:
                    kernels += [f"half_forward_group<{form}, {groups}>" for groups in ((1, 2) if n > 8192 else (1,))]
                    kernels += [f"half_backward_group<{form}, {r}>" for r in (flags if n <= 8192 else ("false",))]
    return kernels


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parent))
    from half import FACTORS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default=",".join(ARCHITECTURES))
    parser.add_argument("--points", default=",".join(map(str, FACTORS)))
    parser.add_argument("--gated", action="store_true", help="the fully gated, aligned kernels alone")
    given = parser.parse_args()
    failed = False
    for arch, points in itertools.product(given.arch.split(","), map(int, given.points.split(","))):
        for r in compile_kernels("half.cuh", half_kernels([points], every=not given.gated), arch):
            failed |= not r.fits
            print(
                f"{arch:7} {r.kernel:90} registers {r.registers:3}  stack {r.stack:3}  tensor {r.count(TENSOR):4}  "
                f"double {r.count(DOUBLE)}  local {r.count(LOCAL)}{'' if r.fits else '  <--'}",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
