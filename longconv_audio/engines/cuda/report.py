"""What the compiler made of a kernel: registers, memory and instructions, read from its cubin.

A cubin is an ELF file. The sections .nv.info (of all kernels) and .nv.info.NAME (of one) are lists of attributes: a
byte of format, a byte of what it is, two bytes that are the value or the length of one that follows. Their meanings
are in no document of NVIDIA's, but `nvdisasm` prints them by name (EIATTR_...).
"""

from __future__ import annotations

import functools
import re
import shutil
import struct
import subprocess
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from .compiler import Cubin
from .errors import CudaEngineError
from .gpus import Gpu
from .specialisations import RESERVED, Kernel

_FRAME_SIZE, _REGISTER_COUNT, _MAX_THREADS, _PARAMETER_BYTES = 0x11, 0x2F, 0x05, 0x19  # EIATTR_...
_VALUE_FOLLOWS = 4  # the format of an attribute of more than two bytes
_NOBITS = 8  # the kind of a section that takes no room in the file
_REGISTERS = 65536  # of a multiprocessor, on every architecture from sm_80 on
_REGISTER_UNIT = 256  # they are given to warps in such pieces


@dataclass(frozen=True)
class Compiled:
    """What a cubin says of its kernel.

    Args:
        registers: of a thread.
        local_bytes: of a thread's stack: spilled registers, and arrays that could not be kept in registers.
        static_shared_bytes: shared memory that the kernel declares itself.
        parameter_bytes: of its arguments.
        max_threads: of a block.
    """

    registers: int
    local_bytes: int
    static_shared_bytes: int
    parameter_bytes: int
    max_threads: int


@dataclass(frozen=True)
class Row:
    """One line of `longconv kernels`.

    Args:
        kernel, arch: what was compiled.
        registers, spilled_bytes: of a thread.
        shared_bytes: of a block, static and dynamic.
        tensor_instructions, double_instructions, local_instructions: in the machine code, None without `nvdisasm`.
        blocks, intended_blocks: that can be resident on a multiprocessor, and that the kernel is made for.
        fits: whether a block fits the device at all.
    """

    kernel: str
    arch: str
    threads: int
    registers: int
    spilled_bytes: int
    shared_bytes: int
    tensor_instructions: int | None
    double_instructions: int | None
    local_instructions: int | None
    blocks: int
    intended_blocks: int
    fits: bool

    @property
    def good(self) -> bool:
        """Nothing spilled, no double precision, and a block fits."""
        return self.fits and not (self.spilled_bytes or self.double_instructions or self.local_instructions)

    def as_dict(self) -> dict:
        return {**asdict(self), "good": self.good}


def row(kernel: Kernel, cubin: Cubin, gpu: Gpu) -> Row:
    """All that is to be said of a specialisation on a device."""
    compiled = read_cubin(cubin)
    instructions = count_instructions(cubin.code)
    shared = compiled.static_shared_bytes + kernel.shared_bytes
    blocks = resident_blocks(gpu, kernel.threads, compiled.registers, shared)
    fits = blocks > 0 and shared <= gpu.shared_per_block and kernel.threads <= compiled.max_threads
    return Row(
        kernel.name, gpu.arch, kernel.threads, compiled.registers, compiled.local_bytes, shared,
        _count(instructions, _TENSOR), _count(instructions, _DOUBLE), _count(instructions, _LOCAL),
        blocks, kernel.blocks, fits,
    )  # fmt: skip


def resident_blocks(gpu: Gpu, threads: int, registers: int, shared_bytes: int) -> int:
    """How many blocks a multiprocessor holds at a time (CUDA C++ Best Practices Guide, "Occupancy")."""
    warps = -(-threads // 32)
    of_a_warp = -(-registers * 32 // _REGISTER_UNIT) * _REGISTER_UNIT
    return min(
        gpu.blocks_per_multiprocessor,
        gpu.threads_per_multiprocessor // (warps * 32),
        _REGISTERS // of_a_warp // warps,
        gpu.shared_per_multiprocessor // (shared_bytes + RESERVED),
    )


def read_cubin(cubin: Cubin) -> Compiled:
    """What is written in a cubin.

    Raises:
        CudaEngineError: where it is not one, or not of the kernel.
    """
    try:
        sections = _sections(cubin.code)
        own = dict(_attributes(sections[f".nv.info.{cubin.symbol}"].content))
        of_all = _of_symbol(sections, cubin.symbol)
        shared = sections.get(f".nv.shared.{cubin.symbol}")
        # From sm_90 on the driver's own kilobyte is counted in, which `resident_blocks` adds for all.
        driver_bytes = RESERVED if ".nv.shared.reserved.0" in sections else 0
        threads = struct.unpack("<3I", own[_MAX_THREADS]) if _MAX_THREADS in own else (1024, 1, 1)
        return Compiled(
            registers=of_all[_REGISTER_COUNT],
            local_bytes=of_all.get(_FRAME_SIZE, 0),
            static_shared_bytes=shared.size - driver_bytes if shared else 0,
            parameter_bytes=struct.unpack("<H", own[_PARAMETER_BYTES])[0],
            max_threads=threads[0] * threads[1] * threads[2],
        )
    except (KeyError, struct.error, IndexError) as error:
        raise CudaEngineError(
            f"what was compiled for {cubin.symbol} is not a cubin that holds it ({error!r})"
        ) from error


def count_instructions(code: bytes) -> Counter | None:
    """How often each instruction stands in a cubin's machine code; None where there is no `nvdisasm` to read it.

    Of an instruction's modifiers .F64 alone is told, however it is spelt: conversions are of every type.
    """
    tool = disassembler()
    if tool is None:
        return None
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        done = subprocess.run([tool, "-c", file.name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CudaEngineError(f"{tool} cannot read a cubin: {' '.join(done.stderr.split())}")
    found = _INSTRUCTION.findall(done.stdout)
    return Counter(f"{name}.F64" if _OF_DOUBLES.search(modifiers) else name for name, modifiers in found)


@functools.cache
def disassembler() -> str | None:
    """`nvdisasm`: the one on the path, or triton's, which comes with torch on Linux."""
    found = shutil.which("nvdisasm")
    if found:
        return found
    triton = find_spec("triton")
    for folder in triton.submodule_search_locations or () if triton else ():
        tool = Path(folder, "backends", "nvidia", "bin", "nvdisasm")
        if tool.is_file():
            return str(tool)
    return None


# `/*0a10*/  @!P0 HMMA.16816.F32 R4, ...`
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)((?:\.\w+)*)", re.MULTILINE)
_TENSOR = ("HMMA", "IMMA", "BMMA", "DMMA", "HGMMA", "UTCHMMA", "QMMA", "OMMA")
_DOUBLE = ("DADD", "DMUL", "DFMA", "DSETP", "DMNMX", "DMMA", "F2F.F64", "F2I.F64", "I2F.F64", "FRND.F64", "MUFU.F64")
_OF_DOUBLES = re.compile(r"\.(F64|RCP64H|RSQ64H)\b")  # conversions to and from, and first guesses of 1/x and sqrt(x)
_LOCAL = ("LDL", "STL")


def _count(instructions: Counter | None, names: tuple[str, ...]) -> int | None:
    return None if instructions is None else sum(instructions[name] for name in names)


@dataclass(frozen=True)
class _Section:
    content: bytes
    size: int
    kind: int


def _sections(elf: bytes) -> dict[str, _Section]:
    """The sections of a 64-bit little-endian ELF file, by name."""
    if elf[:6] != b"\x7fELF\x02\x01":
        raise KeyError("no ELF file")
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    step, count, names_at = struct.unpack_from("<3H", elf, 0x3A)
    heads = [struct.unpack_from("<IIQQQQ", elf, table + i * step) for i in range(count)]
    names = heads[names_at][4]

    def name(head) -> str:
        start = names + head[0]
        return elf[start : elf.index(b"\0", start)].decode()

    return {
        name(head): _Section(b"" if head[1] == _NOBITS else elf[head[4] : head[4] + head[5]], head[5], head[1])
        for head in heads
    }


def _attributes(content: bytes):
    """The attributes of an information section, as (what, bytes)."""
    at = 0
    while at < len(content):
        form, what, value = struct.unpack_from("<BBH", content, at)
        at += 4
        if form == _VALUE_FOLLOWS:
            yield what, content[at : at + value]
            at += value
        else:
            yield what, struct.pack("<H", value)


def _of_symbol(sections: dict[str, _Section], symbol: str) -> dict[int, int]:
    """The attributes that .nv.info has for one symbol: each is a symbol's number and a value."""
    symbols, names = sections[".symtab"].content, sections[".strtab"].content

    def name(number: int) -> str:
        (start,) = struct.unpack_from("<I", symbols, number * 24)
        return names[start : names.index(b"\0", start)].decode()

    found = {}
    for what, value in _attributes(sections[".nv.info"].content):
        if what in (_REGISTER_COUNT, _FRAME_SIZE):
            number, amount = struct.unpack("<II", value)
            if name(number) == symbol:
                found[what] = amount
    return found
