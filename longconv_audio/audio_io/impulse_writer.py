"""Writing impulse responses: as audio, as .npy arrays, as text."""

from __future__ import annotations

import io
import os

import numpy as np

from longconv_audio.errors import NonFiniteError, OptionError

from .targets import write_bytes
from .writer import AudioWriter

# The least and the largest magnitude of single precision.
LEAST, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def write_ir(
    target,
    taps: np.ndarray,
    samplerate: int,
    *,
    subtype: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
) -> str:
    """Writes an impulse response so that `read_ir` and `longconv apply` take it as it is.

    Args:
        target: a path, "-" for standard output (WAV), or a binary file object. `.npy` gets float64 of shape
            `(channels, K)`, `.txt` a line a tap with a column a channel; neither has a place for the rate. Anything
            else is audio.
        taps: `(K,)` or `(channels, K)`.
        samplerate: hertz.
        subtype: of audio, as soundfile names it; None is FLOAT, where the format has it.
        format: of audio; None takes it from the name, and WAV for "-".
        overwrite: whether a file that exists may be replaced.

    Returns:
        the target's name, for messages.

    Raises:
        UnwritableError: exists, no such folder, not allowed, disk full, pipe broken.
        OptionError: what the format cannot hold: taps beyond full scale in integers, or beyond single precision in
            FLOAT; a subtype it has not.
        NonFiniteError: a tap is NaN or infinite.
    """
    taps = np.atleast_2d(np.asarray(taps, dtype=np.float64))
    if not np.isfinite(taps).all():
        raise NonFiniteError("the taps: one of them is not finite: nothing was written")
    kind = os.path.splitext(os.fsdecode(target))[1].lower() if isinstance(target, (str, os.PathLike)) else ""
    if kind in (".npy", ".txt"):
        if subtype is not None or format is not None:
            raise OptionError(f"{target}: {kind} has no format or subtype to choose: leave them out")
        return write_bytes(target, _as_npy(taps) if kind == ".npy" else _as_text(taps), overwrite)
    with AudioWriter(
        target,
        samplerate=samplerate,
        channels=len(taps),
        format=format,
        subtype=subtype,
        frames=taps.shape[1],
        overwrite=overwrite,
    ) as writer:
        peak = float(np.abs(taps).max(initial=0.0))
        if peak > 1 and writer.subtype not in ("FLOAT", "DOUBLE"):
            raise OptionError(
                f"{writer.name}: {writer.subtype} cannot hold a tap of {peak:.4g}, beyond 1: write float WAV, .npy or "
                ".txt, or normalize the filter"
            )
        if writer.subtype == "FLOAT" and peak and not LEAST <= peak <= LARGEST:
            raise OptionError(
                f"{writer.name}: FLOAT holds levels from {LEAST:.2g} to {LARGEST:.2g}, and the largest tap is "
                f"{peak:.4g}: write DOUBLE, .npy or .txt, or normalize the filter"
            )
        writer.write(taps)
    return writer.name


def _as_npy(taps: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, taps)
    return file.getvalue()


def _as_text(taps: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savetxt(file, taps.T, fmt="%.17g")
    return file.getvalue()
