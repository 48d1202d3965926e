"""A file through a filter in blocks, in fixed memory: what `longconv apply` does, by hand.

Run it as it stands: python examples/files_in_blocks.py [INPUT IR OUTPUT]
Without arguments it makes its own input, in a folder that it removes again.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from longconv_audio import AudioReader, AudioWriter, Convolver, read_ir

BLOCK = 65_536


def convolve_file(source: str, ir_file: str, target: str) -> None:
    """Convolves a file with an IR of one channel, or of as many as the file has."""
    with AudioReader(source) as reader:
        ir = read_ir(ir_file, samplerate=reader.samplerate)  # resampled where its rate differs
        taps = ir.taps[0] if len(ir.taps) == 1 else ir.taps
        convolver = Convolver(taps, dtype="float32")
        with AudioWriter(target, samplerate=reader.samplerate, channels=reader.channels, subtype="FLOAT") as writer:
            while (block := reader.read(BLOCK)).shape[1]:
                writer.write(convolver.process(block))
            writer.write(convolver.flush())
            print(f"{target}: {writer.frames_written} frames")


if len(sys.argv) == 4:
    convolve_file(*sys.argv[1:])
else:
    with tempfile.TemporaryDirectory() as folder:
        noise, echo, wet = (str(Path(folder, name)) for name in ("noise.wav", "echo.wav", "wet.wav"))
        rng = np.random.default_rng(0)
        with AudioWriter(noise, samplerate=48_000, channels=2, subtype="PCM_24") as writer:
            writer.write(0.1 * rng.standard_normal((2, 480_000)))
        with AudioWriter(echo, samplerate=48_000, channels=1, subtype="FLOAT") as writer:
            writer.write(np.eye(1, 24_001) + 0.5 * np.eye(1, 24_001, 24_000))
        convolve_file(noise, echo, wet)
