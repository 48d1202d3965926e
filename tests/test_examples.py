"""Each example runs and says something: as it stands, or where that takes minutes, with --quick."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted(Path(__file__).parent.parent.joinpath("examples").glob("*.py"))

# What the longer ones write into the folder that they are given.
WRITES = {
    "generate": {"config.json", "generated.wav", "model.safetensors"},
    "keywords": {"config.json", "model.safetensors"},
    "learn_a_room": {"learn_a_room.png", "room.wav"},
    "long_memory": {"long_memory.png"},
}


def run(example, *arguments, cwd, **options):
    command = [sys.executable, str(example), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_runs(example, tmp_path):
    if example.stem == "keywords" and shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    here, out = tmp_path / "here", tmp_path / "out"
    here.mkdir()
    writes = WRITES.get(example.stem, set())
    result = run(example, *(["--quick", "-o", out] if writes else []), cwd=here)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
    assert "nan" not in result.stdout
    assert not list(here.iterdir())
    assert {path.name for path in out.glob("*") if path.stat().st_size} == writes


def test_without_speech(tmp_path):
    example = next(path for path in EXAMPLES if path.stem == "keywords")
    result = run(example, "--quick", cwd=tmp_path, env={"PATH": str(tmp_path)})
    assert result.returncode == 3
    assert result.stdout == ""
    assert result.stderr.splitlines() == ["espeak-ng, which speaks the words, is not installed: apt install espeak-ng"]
