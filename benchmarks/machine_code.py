"""One warp's way through a kernel's machine code: how many instructions, of which kind, and how long it takes alone.

The device's compiler writes into every instruction how many cycles the warp waits after it, which of six scoreboards
its result releases and which ones it waits for itself (Jia et al., arXiv 1804.06826, section 2.1). Loops and branches
depend on integers that come from arguments, thread and block numbers; those are worked out for the first lane of a
warp, and all else is left unknown. So the walk is the warp's own, up to how long an instruction of variable latency
takes: see `Timing`.
"""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass, field

from longconv_audio.engines.cuda.report import disassembler

WORD = 0xFFFFFFFF
PARAMETERS = {8: 0x160, 9: 0x210, 10: 0x380, 12: 0x380}  # where arguments begin in constant bank 0, by generation
LONGEST = 1_000_000  # more instructions than any walk has
_NONE = 7  # no scoreboard


# Instructions by the pipe that takes them, where it is narrower than the issue (CUDA C++ Programming Guide, "Throughput
# of Native Arithmetic Instructions").
PIPES = {
    "tensor": ("HMMA",),
    "integers": (
        "IADD3", "LOP3", "SHF", "LEA", "ISETP", "SEL", "PRMT", "VIADD", "VIMNMX", "IMNMX", "VIADDMNMX", "PLOP3", "F2FP",
        "HMNMX2", "VHMNMX", "FSETP", "FSEL", "IABS", "MOV",
    ),
    "floats": ("FFMA", "FADD", "FMUL", "HFMA2", "HMUL2", "HADD2", "IMAD"),
    "special": ("MUFU", "I2F", "F2I", "POPC", "SHFL", "MOVM"),
}  # fmt: skip
_PIPE = {name: pipe for pipe, names in PIPES.items() for name in names}


@dataclass(frozen=True)
class Timing:
    """Cycles of a scheduler.

    Args:
        device, shared, matrix, other: until a result can be used, where the compiler does not know when: loads of the
            two memories, tensor instructions and transpositions, all else. Measured on an H100 with nothing else
            running by Luo et al., arXiv 2402.13499, tables 4 and 8; an A100 and a 4090 differ by some 20 %.
        tensor, floats, integers, special: that an instruction keeps its pipe.
    """

    device: float = 500
    shared: float = 30
    matrix: float = 33
    other: float = 20
    tensor: float = 13
    floats: float = 1
    integers: float = 2
    special: float = 8

    def latency(self, name: str) -> float:
        if name in ("LDG", "LDGSTS", "LD"):
            return self.device
        if name in ("LDS", "LDSM"):
            return self.shared
        return self.matrix if name in ("HMMA", "MOVM") else self.other


def busiest_pipe(instructions: Counter, timing: Timing) -> float:
    """Cycles of a multiprocessor in which one of its pipes is busy, but for the tensor pipe."""
    pipes = (pipe for pipe in PIPES if pipe != "tensor")
    return max(sum(instructions[name] for name in PIPES[pipe]) * getattr(timing, pipe) for pipe in pipes) / 4


@dataclass(frozen=True)
class Instruction:
    """Args: its opcode and what modifies it; its predicate and operands; and what the compiler wrote for the issue."""

    name: str
    modifiers: tuple[str, ...]
    predicate: str
    operands: tuple[str, ...]
    stall: int
    releases: tuple[int, ...]
    waits: tuple[int, ...]

    @property
    def jumps(self) -> bool:
        """To elsewhere in the kernel: a CALL of such a place does not come back, and one of a subroutine is passed."""
        if self.name == "CALL":
            return self.operands[-1].startswith(".L")
        return self.name == "EXIT" or (self.name == "BRA" and "DIV" not in self.modifiers)


@dataclass
class Walk:
    """What one warp did: cycles of its own, and how often each opcode was issued."""

    cycles: int = 0
    instructions: Counter = field(default_factory=Counter)

    @property
    def issued(self) -> int:
        return sum(self.instructions.values())


class MachineCode:
    """A kernel's instructions, from its cubin.

    Raises:
        RuntimeError: where there is no `nvdisasm`, or it cannot read the cubin.
    """

    def __init__(self, code: bytes, arch: str):
        tool = disassembler()
        if tool is None:
            raise RuntimeError("no nvdisasm, which triton's wheel and the CUDA toolkit bring along")
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(code)
            file.flush()
            done = subprocess.run([tool, "-c", "-hex", file.name], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{tool} cannot read a cubin: {' '.join(done.stderr.split())}")
        self.arguments_at = PARAMETERS[int(re.match(r"sm_(\d+)\d", arch)[1])]
        self.instructions, self.labels = _parse(done.stdout)

    def walk(self, arguments: bytes, block: tuple[int, int], threads: int, timing: Timing, warp: int = 0) -> Walk:
        """A warp of a block of so many threads, from its beginning to its end.

        Raises:
            RuntimeError: where the number of a loop's turns depends on something that is not known here.
        """
        constants = {0: threads, 4: 1, 8: 1}  # blockDim
        for at in range(0, len(arguments), 4):
            constants[self.arguments_at + at] = int.from_bytes(arguments[at : at + 4], "little")
        special = {"SR_TID.X": 32 * warp, "SR_CTAID.X": block[0], "SR_CTAID.Y": block[1], "SR_LANEID": 0}
        thread, clock, done = _Thread(constants, special), _Clock(timing), Walk()
        at = 0
        for _ in range(LONGEST):
            instruction = self.instructions[at]
            runs = thread.predicate(instruction.predicate)
            clock.issue(instruction, runs)
            done.instructions[instruction.name] += 1
            at += 1
            if instruction.jumps:
                for operand in instruction.operands[:-1]:
                    runs = _both(runs, thread.predicate(operand))
                if runs is None:
                    runs = self._ordinary_way(at - 1)
                if runs and instruction.name == "EXIT":
                    done.cycles = clock.now
                    return done
                if runs:
                    at = self.labels[instruction.operands[-1]]
            elif runs is not False:
                thread.execute(instruction, runs)
        raise RuntimeError(f"a warp has not ended after {LONGEST} instructions")

    def _ordinary_way(self, at: int) -> bool:
        """Whether a branch is taken that depends on numbers, not on sizes: it is where that avoids a subroutine, for
        those are for infinities, subnormals and the like. Nobody leaves early."""
        instruction = self.instructions[at]
        if instruction.name == "EXIT":
            return False
        target = self.labels.get(instruction.operands[-1], 0) if instruction.operands else 0
        if target <= at:
            raise RuntimeError(f"instruction {at} ends a loop by what only the device knows: {instruction}")
        return any(skipped.name == "CALL" and not skipped.jumps for skipped in self.instructions[at:target])


_LINE = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@(!?U?P\w+)\s+)?([A-Z][\w.]*)\s*([^;]*);\s*/\*")
_LABEL = re.compile(r"^(\.L_x_\d+):")
_CONTROL = re.compile(r"^\s+/\* 0x([0-9a-f]{16}) \*/")


def _parse(text: str):
    instructions, labels, pending = [], {}, None
    for line in text.splitlines():
        if found := _LINE.match(line):
            pending = found.groups()
        elif pending and (found := _CONTROL.match(line)):
            bits = int(found[1], 16) >> 41
            name, *modifiers = pending[1].split(".")
            operands = tuple(part.strip().strip("`()") for part in pending[2].split(",") if part.strip())
            releases = tuple(b for b in (bits >> 5 & 7, bits >> 8 & 7) if b != _NONE)
            waits = tuple(b for b in range(6) if bits >> 11 + b & 1)
            instructions.append(
                Instruction(name, tuple(modifiers), pending[0] or "PT", operands, bits & 15, releases, waits)
            )
            pending = None
        elif found := _LABEL.match(line):
            labels[found[1]] = len(instructions)
    return instructions, labels


class _Clock:
    """When each instruction of a warp that has a multiprocessor to itself is issued."""

    def __init__(self, timing: Timing):
        self.now, self.timing = 0, timing
        self.free = [0] * 6
        self.pipes = dict.fromkeys(PIPES, 0)
        self.copied, self.groups = 0, []

    def issue(self, instruction: Instruction, runs: bool | None) -> None:
        for board in instruction.waits:
            self.now = max(self.now, self.free[board])
        name = instruction.name
        if pipe := _PIPE.get(name):
            self.now = max(self.now, self.pipes[pipe])
            self.pipes[pipe] = self.now + getattr(self.timing, pipe)
        if runs is not False:
            for board in instruction.releases:
                self.free[board] = max(self.free[board], self.now + self.timing.latency(name))
        if name == "LDGSTS" and runs is not False:
            self.copied = self.now + self.timing.device
        elif name == "LDGDEPBAR":
            self.groups.append(self.copied)
        elif name == "DEPBAR" and self.groups:
            pending = int(instruction.operands[-1], 16)
            self.now = max([self.now, *self.groups[: len(self.groups) - pending]])
        self.now += max(instruction.stall, 1)


def _both(a: bool | None, b: bool | None) -> bool | None:
    return False if a is False or b is False else None if a is None or b is None else True


def _signed(x: int) -> int:
    return x - (1 << 32) if x >> 31 else x


class _Thread:
    """Registers and predicates of a thread, None where unknown; the integer instructions that loops are made of."""

    def __init__(self, constants: dict[int, int], special: dict[str, int]):
        self.constants, self.special = constants, special
        self.registers: dict[str, int | None] = {"RZ": 0, "URZ": 0}
        self.predicates: dict[str, bool | None] = {"PT": True, "UPT": True}

    def predicate(self, name: str) -> bool | None:
        value = self.predicates.get(name.lstrip("!"))
        return value if value is None or not name.startswith("!") else not value

    def value(self, operand: str) -> int | None:
        operand = operand.replace(".reuse", "")
        if operand.startswith("-"):
            value = self.value(operand[1:])
            return None if value is None else -value & WORD
        if operand.startswith("~"):
            value = self.value(operand[1:])
            return None if value is None else ~value & WORD
        if operand.startswith("0x"):
            return int(operand, 16) & WORD
        if operand.startswith("c[0x0][0x"):
            return self.constants.get(int(operand[9:-1], 16), 0)
        return self.registers.get(operand)

    def wide(self, operand: str) -> int | None:
        """A pair of registers, or what stands for one."""
        if operand.startswith("c[0x0]"):
            return self.constant(operand, True)
        if not re.fullmatch(r"U?R\d+(\.reuse)?", operand):
            return self.value(operand)
        low, high = self.value(operand), self.value(_next(operand))
        return None if low is None or high is None else high << 32 | low

    def constant(self, operand: str, double: bool) -> int | None:
        found = re.fullmatch(r"c\[0x0\]\[0x([0-9a-f]+)\]", operand)
        if not found:
            return None
        at = int(found[1], 16)
        high = self.constants.get(at + 4, 0) if double else 0
        return high << 32 | self.constants.get(at, 0)

    def execute(self, instruction: Instruction, runs: bool | None) -> None:
        """Sets what the instruction writes."""
        base = instruction.name.removeprefix("U")
        targets, sources = _split(instruction)
        work = _WORK.get(base)
        values = work(self, instruction.modifiers, sources) if work else None
        if base == "ISETP" or base == "PLOP3":
            for target, value in zip(targets, values, strict=False):
                self._set_predicate(target, value if runs else None)
            return
        for target in targets:
            if re.fullmatch(r"U?P\d", target):
                carry = values[1] if isinstance(values, tuple) else None
                self._set_predicate(target, carry if runs else None)
        if isinstance(values, tuple):
            values = values[0]
        target = next((t for t in targets if re.fullmatch(r"U?R\d+", t)), None)
        if target is None:
            return
        width = _width(instruction)
        if width == 1:
            self.registers[target] = values & WORD if values is not None and runs else None
            return
        for i in range(width):
            known = values is not None and runs
            self.registers[target] = values >> 32 * i & WORD if known else None
            target = _next(target)

    def _set_predicate(self, name: str, value: bool | None) -> None:
        if name not in ("PT", "UPT"):
            self.predicates[name] = value


def _next(register: str) -> str:
    prefix, number = re.fullmatch(r"(U?R)(\d+)", register.replace(".reuse", "")).groups()
    return f"{prefix}{int(number) + 1}"


def _width(instruction: Instruction) -> int:
    """Registers that are written."""
    name, modifiers = instruction.name, instruction.modifiers
    if name == "HMMA":
        return 4
    if "128" in modifiers:
        return 4
    return 2 if "64" in modifiers or "WIDE" in modifiers or (name == "CS2R" and "32" not in modifiers) else 1


_STORES = ("ST", "STG", "STS", "STSM", "LDGSTS", "BAR", "BSSY", "BSYNC", "WARPSYNC", "NOP", "DEPBAR", "RED", "MEMBAR")


def _split(instruction: Instruction):
    """Operands that are written, and the others."""
    if instruction.name in _STORES:
        return (), instruction.operands
    operands, count = instruction.operands, 1
    if instruction.name.removeprefix("U") in ("ISETP", "PLOP3", "FSETP"):
        return operands[:2], operands[2:]
    if operands and re.fullmatch(r"U?P[\dT]", operands[0]):
        count = 2  # LOP3.LUT P0, RZ, ...
    else:
        while count < len(operands) and re.fullmatch(r"U?P[\dT]", operands[count]) and count < 3:
            count += 1  # IADD3 R6, P0, R14, ...: carries come out
    return operands[:count], operands[count:]


def _known(*values) -> bool:
    return all(value is not None for value in values)


def _multiply_add(t: _Thread, modifiers, s):
    a, b = t.value(s[0]), t.value(s[1])
    if "WIDE" in modifiers or "HI" in modifiers:
        c = t.wide(s[2])
        if "U32" not in modifiers and _known(a, b):
            a, b = _signed(a), _signed(b)
        if not _known(a, b, c):
            return None
        return (a * b + c >> 32 if "HI" in modifiers else a * b + c) & (1 << 64) - 1
    c = t.value(s[2])
    carry = t.predicate(s[3]) if "X" in modifiers else False
    if a == 0 or b == 0:  # moves
        return None if not _known(c, carry) else c + carry
    return a * b + c + carry if _known(a, b, c, carry) else None


def _add(t: _Thread, modifiers, s):
    values = [t.value(operand) for operand in s[:3]]
    carries = [t.predicate(operand) for operand in s[3:]] if "X" in modifiers else []
    if not _known(*values, *carries):
        return None
    total = sum(values) + sum(carries)
    return total, total > WORD


def _compare(t: _Thread, modifiers, s):
    a, b, other = t.value(s[0]), t.value(s[1]), t.predicate(s[2])
    lower = t.predicate(s[3]) if "EX" in modifiers else False
    if not _known(a, b, lower):
        return None, None
    if "U32" not in modifiers:
        a, b = _signed(a), _signed(b)
    relation = next(m for m in modifiers if m in _RELATIONS)
    result = _RELATIONS[relation](a, b)
    if "EX" in modifiers and (a == b or relation == "NE"):  # the upper words: where they are equal, the lower decide
        result = lower or (relation == "NE" and result)

    def combined(value):
        if "AND" in modifiers:
            return _both(value, other)
        return True if value or other else None if other is None else False

    return combined(result), combined(not result)


_RELATIONS = {
    "LT": lambda a, b: a < b, "LE": lambda a, b: a <= b, "GT": lambda a, b: a > b, "GE": lambda a, b: a >= b,
    "EQ": lambda a, b: a == b, "NE": lambda a, b: a != b,
}  # fmt: skip


def _look_up(table: int, a: int, b: int, c: int, mask: int) -> int:
    result = 0
    for i in range(8):
        if table >> i & 1:
            result |= (a if i & 4 else ~a) & (b if i & 2 else ~b) & (c if i & 1 else ~c)
    return result & mask


def _logic(t: _Thread, modifiers, s):
    a, b, c = (t.value(operand) for operand in s[:3])
    table = int(s[3], 16)
    if table == 0xC0 and 0 in (a, b):
        a, b, c = 0, 0, 0
    if not _known(a, b, c):
        return None
    result = _look_up(table, a, b, c, WORD)
    return result, result != 0


def _predicate_logic(t: _Thread, modifiers, s):
    values = [t.predicate(operand) for operand in s[:3]]
    results = []
    for operand in s[3:5]:
        table = int(operand, 16)
        possible = {
            bool(_look_up(table, a, b, c, 1))
            for a in _choices(values[0]) for b in _choices(values[1]) for c in _choices(values[2])
        }  # fmt: skip
        results.append(possible.pop() if len(possible) == 1 else None)
    return results


def _choices(value: bool | None) -> tuple[int, ...]:
    return (0, 1) if value is None else (int(value),)


def _shift(t: _Thread, modifiers, s):
    low, by, high = (t.value(operand) for operand in s[:3])
    if "L" in modifiers and "HI" not in modifiers:
        return low << (by & 31) if _known(low, by) else None
    if not _known(low, by, high) or by > 31:
        return None
    if "L" in modifiers:
        return (high << 32 | low) << by >> 32
    if "HI" in modifiers:
        return (_signed(high) if "S32" in modifiers else high) >> by
    return (high << 32 | low) >> by


def _shift_add(t: _Thread, modifiers, s):
    if "X" in modifiers or "SX32" in modifiers:
        return None  # the upper half of an address
    if "HI" in modifiers:
        a, b, c, by = t.value(s[0]), t.value(s[1]), t.value(s[2]), int(s[3], 16)
        return ((c << 32 | a) >> (32 - by)) + b if _known(a, b, c) else None
    a, b, by = t.value(s[0]), t.value(s[1]), int(s[2], 16)
    return ((a << by & WORD) + b, (a << by & WORD) + b > WORD) if _known(a, b) else None


def _select(t: _Thread, modifiers, s):
    a, b, which = t.value(s[0]), t.value(s[1]), t.predicate(s[2])
    return None if which is None else a if which else b


def _least(t: _Thread, modifiers, s):
    values = [t.value(operand) for operand in s[:-1]]
    least = t.predicate(s[-1])
    if not _known(*values, least):
        return None
    if len(values) == 3:
        values = [(values[0] + values[1]) & WORD, values[2]]
    key = None if "U32" in modifiers else _signed
    return min(values, key=key) if least else max(values, key=key)


def _move(t: _Thread, modifiers, s):
    return t.value(s[0])


def _absolute(t: _Thread, modifiers, s):
    value = t.value(s[0])
    return None if value is None else abs(_signed(value))


def _half_constant(t: _Thread, modifiers, s):
    """HFMA2.MMA R2, -RZ, RZ, 0, 5.96e-08: how the compiler writes a small integer, as two numbers of 16 bits."""
    if [operand.lstrip("-") for operand in s[:2]] != ["RZ", "RZ"] or len(s) != 4:
        return None
    low, high = struct.pack("<e", float(s[3])), struct.pack("<e", float(s[2]))
    return int.from_bytes(low + high, "little")


def _as_float(bits: int) -> float:
    return struct.unpack("<f", bits.to_bytes(4, "little"))[0]


def _of_float(value: float) -> int:
    return int.from_bytes(struct.pack("<f", value), "little")


# An integer division: the reciprocal of a float, made a little less, from which the integer instructions go on.
def _to_float(t: _Thread, modifiers, s):
    value = t.value(s[0])
    return None if value is None else _of_float(value)


def _reciprocal(t: _Thread, modifiers, s):
    value = t.value(s[0])
    return _of_float(1 / _as_float(value)) if value and "RCP" in modifiers else None


def _to_integer(t: _Thread, modifiers, s):
    value = t.value(s[0])
    return None if value is None else min(int(_as_float(value)), WORD)


_WORK = {
    "IMAD": _multiply_add, "IADD3": _add, "VIADD": lambda t, m, s: _add(t, m, (*s, "RZ")), "ISETP": _compare,
    "LOP3": _logic, "PLOP3": _predicate_logic, "SHF": _shift, "LEA": _shift_add, "SEL": _select, "VIMNMX": _least,
    "IMNMX": _least, "VIADDMNMX": _least, "MOV": _move, "R2UR": _move, "IABS": _absolute, "HFMA2": _half_constant,
    "I2F": _to_float, "MUFU": _reciprocal, "F2I": _to_integer,
    "LDC": lambda t, m, s: t.constant(s[0], "64" in m), "S2R": lambda t, m, s: t.special.get(s[0], 0),
    "CS2R": lambda t, m, s: 0, "S2UR": lambda t, m, s: t.special.get(s[0], 0),
}  # fmt: skip
