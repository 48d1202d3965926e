"""What a WAV really holds: its header held against the bytes that are there."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import wav
from .source import ByteSource

# Metadata chunks can follow the samples; beyond this much, what follows is not looked at.
TRAILER_BYTES = 16 << 20


@dataclass
class WavContents:
    """What was found.

    Args:
        frames: how many there are; None where only the end of the pipe will tell.
        certain: whether `frames` was checked against the size of the file.
        chunks: (identifier, contents) of the metadata before the samples and, in a file, behind them.
        complaints: what is wrong, one line each.
    """

    frames: int | None
    certain: bool
    chunks: list[tuple[str, bytes]]
    complaints: list[str] = field(default_factory=list)


def examine(source: ByteSource, header: wav.WavHeader) -> WavContents:
    """Settle how many frames follow `header`; `source` stands at the first of them, before and after."""
    complaints = []
    declared = header.data_bytes
    if header.open_end == "zero":
        declared = _zero(source, header, complaints)
    if source.size is None:
        frames, loose = (None, 0) if declared is None else divmod(declared, header.frame_bytes)
        if loose:
            complaints.append(loose_end(loose))
        return WavContents(frames, False, header.chunks, complaints)
    present = source.size - header.data_offset
    if header.open_end == "streaming" and header.riff_end == source.size and header.data_field <= present:
        # A size like those of streams, in a file that ends where it says: the samples have that size by chance.
        declared = header.data_field
    elif header.open_end == "streaming":
        complaints.append("the header leaves the length open, as a pipe does: the file was read to its end")
    elif declared is not None and declared + (1 << 32) <= present and header.riff_end is not None:
        complaints.append(
            f"the header declares {declared} bytes of samples in a file with {present}, its sizes having run over at "
            "4 GiB: everything to the end was taken for samples"
        )
        declared = None
    taken = present if declared is None else min(declared, present)
    frames, loose = divmod(taken, header.frame_bytes)
    if declared is not None and present < declared:
        complaints.append(cut_short(declared // header.frame_bytes, frames))
    elif loose:
        complaints.append(loose_end(loose))
    return WavContents(frames, True, header.chunks + _behind(source, header.data_offset + taken), complaints)


def cut_short(declared: int, present: int) -> str:
    """The complaint about missing frames."""
    return f"the header declares {declared} frames and {present} are there: cut short"


def loose_end(loose: int) -> str:
    """The complaint about a part of a frame."""
    return f"the samples end in the middle of a frame: the last {loose} bytes were dropped"


def _zero(source: ByteSource, header: wav.WavHeader, complaints: list[str]) -> int | None:
    """A data size of 0: no samples at all, or a recorder that died before it could write the size."""
    following = source.peek(8)
    space = None if header.riff_end is None else header.riff_end - header.data_offset
    if not following or (space and space > 0 and wav.begins_with_chunk(following, space)):
        return 0
    complaints.append(
        "the header declares 0 bytes of samples, as a crashed recorder leaves it, and more follow: everything to the "
        "end was taken for samples"
    )
    return None


def _behind(source: ByteSource, end: int) -> list[tuple[str, bytes]]:
    """The metadata behind samples that end at `end`."""
    here = source.position
    start = end + end % 2
    if start + 8 > source.size:
        return []
    source.seek(start)
    chunks = wav.parse_chunks(source.read(min(source.size - start, TRAILER_BYTES)))
    source.seek(here)
    return chunks
