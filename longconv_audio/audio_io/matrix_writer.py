"""Writing a matrix of filters so that `longconv apply` takes it."""

from __future__ import annotations

import os

import numpy as np

from longconv_audio.errors import OptionError, UnwritableError
from longconv_audio.routing import FilterMatrix, dense

from .impulse_writer import write_ir
from .targets import open_target


def write_matrix(
    target: str, matrix: FilterMatrix, samplerate: int, *, subtype: str | None = None, overwrite: bool = False
) -> list[str]:
    """Writes a matrix of filters.

    Args:
        target: NAME.toml, a matrix file beside which the filters come to lie as NAME.wav; or, for 2 inputs and 2
            outputs, anything that `write_ir` takes, which gets the channels LL, LR, RL, RR of a true-stereo IR.
        matrix: the filters. What comes before time zero delays them: neither file has a place for it.
        samplerate: in hertz.
        subtype: of the WAV; None is FLOAT.
        overwrite: whether files that exist may be replaced.

    Returns:
        the names of what was written.

    Raises:
        OptionError: a file without place for the matrix.
        UnwritableError: exists, no such folder, not allowed, disk full, pipe broken.
    """
    if not target.lower().endswith(".toml"):
        if (matrix.inputs, matrix.outputs) != (2, 2):
            raise OptionError(
                f"{target}: filters from {matrix.inputs} to {matrix.outputs} channels need a matrix file: pass -o "
                "NAME.toml"
            )
        h = dense(matrix)
        taps = np.stack([h[0, 0], h[1, 0], h[0, 1], h[1, 1]])
        return [write_ir(target, taps, samplerate, subtype=subtype, overwrite=overwrite)]
    # Paths that share a filter share a channel.
    rows = list({id(path.taps): path.taps for path in matrix.paths}.values())
    places = {id(row): channel for channel, row in enumerate(rows, 1)}
    taps = np.zeros((len(rows), matrix.taps))
    for row, given in zip(taps, rows, strict=True):
        row[: len(given)] = given
    wav = f"{target[: -len('.toml')]}.wav"
    lines = [f"inputs = {matrix.inputs}", f"outputs = {matrix.outputs}"]
    for path in matrix.paths:
        place = f'file = "{_escaped(os.path.basename(wav))}"\nchannel = {places[id(path.taps)]}'
        lines.append(f"\n[[path]]\ninput = {path.input + 1}\noutput = {path.output + 1}\n{place}")
    text = open_target(target, overwrite)
    try:
        names = [write_ir(wav, taps, samplerate, subtype=subtype, overwrite=overwrite)]
        text.write("\n".join([*lines, ""]).encode())
        text.finish()
    except OSError as error:
        text.discard()
        raise UnwritableError(f"{target}: cannot be written: {error.strerror}") from error
    except BaseException:
        text.discard()
        raise
    return [target, *names]


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')
