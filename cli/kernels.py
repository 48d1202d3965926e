"""`longconv kernels`: compiles every kernel of the GPU engine, without a GPU, and says what came of each."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer

from longconv_audio.errors import OptionError

from .messages import complain, print_json, say

ARCHITECTURES = "sm_80,sm_86,sm_89,sm_90a"
# Heading, the field of a row, and its width.
_COLUMNS = (
    ("registers", "registers", 9),
    ("spilled", "spilled_bytes", 8),
    ("shared", "shared_bytes", 8),
    ("tensor", "tensor_instructions", 8),
    ("double", "double_instructions", 8),
    ("local", "local_instructions", 7),
    ("blocks", "blocks", 8),
)


def kernels(
    arch: Annotated[str, typer.Option(metavar="ARCH,...", help="The architectures to compile for.")] = ARCHITECTURES,
    only: Annotated[str, typer.Option(metavar="TEXT", help="Those kernels alone whose name has this in it.")] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Compiles every kernel, with no GPU, and prints its registers, memory and instructions.

    Exit code 1 where one spills registers, computes in double precision, or does not fit a multiprocessor.
    """
    from longconv_audio.engines.cuda.compiler import compiler_version
    from longconv_audio.engines.cuda.errors import CudaEngineError
    from longconv_audio.engines.cuda.gpus import KNOWN
    from longconv_audio.engines.cuda.report import disassembler
    from longconv_audio.engines.cuda.specialisations import all_kernels

    names = list(dict.fromkeys(name.strip() for name in arch.split(",")))
    for name in names:
        if name not in KNOWN:
            raise OptionError(f"--arch {name}: expected some of {', '.join(KNOWN)}")
    wanted = [(k, KNOWN[name]) for name in names for k in all_kernels(KNOWN[name]) if only in k.name]
    if not wanted:
        raise OptionError(f"--only {only}: no kernel has this in its name")
    try:
        version = compiler_version()
    except CudaEngineError as error:
        complain(str(error))
        raise typer.Exit(1) from error

    if not json:
        print("".join(f"{heading:>{width}}" for heading, _, width in _COLUMNS) + "  arch    kernel")
    rows, failures = [], []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NVRTC compiles outside Python's lock
        for (kernel, gpu), result in zip(wanted, pool.map(_compile, wanted), strict=True):
            if isinstance(result, CudaEngineError):
                failures.append({"kernel": kernel.name, "arch": gpu.arch, "error": str(result)})
                complain(str(result))
                continue
            rows.append(result)
            if not json:
                print(_line(result))
    bad = [row for row in rows if not row.good]
    if json:
        made = {"compiler": version, "disassembler": disassembler(), "failures": failures}
        print_json({**made, "kernels": [row.as_dict() for row in rows]})
    elif disassembler() is None:
        say("no nvdisasm, neither on the path nor triton's: the columns of instructions stay empty")
    say(f"{len(rows)} kernels by NVRTC {version}, {len(bad)} not as they should be, {len(failures)} not compiled")
    if bad or failures:
        raise typer.Exit(1)


def _compile(kernel_and_gpu):
    """The kernel's row, or why there is none."""
    from longconv_audio.engines.cuda.cache import cubin
    from longconv_audio.engines.cuda.errors import CudaEngineError
    from longconv_audio.engines.cuda.report import row

    kernel, gpu = kernel_and_gpu
    try:
        return row(kernel, cubin(kernel.header, kernel.name, gpu.arch), gpu)
    except CudaEngineError as error:
        return error


def _line(row) -> str:
    values = []
    for _, field, width in _COLUMNS:
        value = getattr(row, field)
        values.append(f"{'' if value is None else value:>{width}}")
    return "".join(values) + f"  {row.arch:<7} {row.kernel}" + ("" if row.good else "   <- not as it should be")
