"""The structs handed to kernels are laid out as C++ lays them out."""

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "emulator"))
import harness

from longconv_audio.engines.cuda import arguments
from longconv_audio.engines.cuda.compiler import source_folder

STRUCTS = (
    arguments.Arguments, arguments.FilterArguments, arguments.PlaneArguments, arguments.OuterArguments,
    arguments.ShortArguments, arguments.ShortSumArguments, arguments.NormArguments,
)  # fmt: skip


@pytest.mark.skipif(harness.compiler() is None, reason="no C++ compiler")
def test_layout(tmp_path):
    lines = [
        f'std::printf("%zu {s.__name__} {field}\\n", offsetof({s.__name__}, {field}));'
        for s in STRUCTS
        for field, _ in s._fields_
    ]
    lines += [f'std::printf("%zu {s.__name__} size\\n", sizeof({s.__name__}));' for s in STRUCTS]
    unit = tmp_path / "layout.cpp"
    unit.write_text(
        '#include <cstddef>\n#include <cstdio>\n#include "arguments.cuh"\nint main() {' + "\n".join(lines) + "}\n"
    )
    command = [harness.compiler(), "-std=c++17", "-w", f"-I{harness.HERE}", f"-I{source_folder()}", str(unit)]
    subprocess.run([*command, "-o", str(tmp_path / "layout")], check=True)
    printed = subprocess.run([str(tmp_path / "layout")], capture_output=True, text=True, check=True).stdout
    for line in printed.splitlines():
        place, name, field = line.split()
        struct = getattr(arguments, name)
        assert int(place) == (ctypes.sizeof(struct) if field == "size" else getattr(struct, field).offset), (
            name,
            field,
        )


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_field_is_named(struct):
    source = re.sub(r"//[^\n]*", "", (source_folder() / "arguments.cuh").read_text())
    body = re.search(rf"struct {struct.__name__} \{{(.*?)\}};", source, re.DOTALL)[1]
    declared = re.findall(r"(\w+)\s*(?=[,;])", body)
    assert declared == [name for name, _ in struct._fields_]
