"""Writing WAV headers: RIFF while sizes fit in 32 bits, RF64 beyond, and the form for a pipe of unknown length."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from longconv_audio.errors import OptionError

from .pcm import SampleFormat
from .wav import EXTENSIBLE, GUID_TAIL, IEEE_FLOAT, PCM

# The largest file a 32-bit RIFF size can declare.
RIFF_LIMIT = 0xFFFFFFFF
_OPEN = 0xFFFFFFFF
_DS64_BYTES = 28

# LIST INFO identifiers by the names that soundfile gives to tags.
INFO_NAMES = {
    "title": "INAM",
    "artist": "IART",
    "album": "IPRD",
    "date": "ICRD",
    "genre": "IGNR",
    "comment": "ICMT",
    "copyright": "ICOP",
    "software": "ISFT",
    "tracknumber": "ITRK",
}


def build_header(
    fmt: SampleFormat,
    samplerate: int,
    channels: int,
    frames: int | None,
    *,
    chunks: Sequence[tuple[str, bytes]] = (),
    channel_mask: int | None = None,
    reserve: bool = False,
    extensible: bool = False,
    rf64: bool = False,
) -> bytes:
    """A WAV header, up to the first sample.

    Args:
        fmt: PCM_U8, PCM_16, PCM_24, PCM_32, FLOAT or DOUBLE, little endian.
        samplerate: hertz.
        channels: samples per frame.
        frames: how many follow; None writes sizes of all ones, which ffmpeg, SoX and libsndfile read to the end.
        chunks: metadata to put before the samples.
        channel_mask: speaker bits; None leaves the speakers open.
        reserve: keep room for 64-bit sizes, so that the header has one length whatever `frames` is.
        extensible: write WAVEFORMATEXTENSIBLE where the plain form would do.
        rf64: write RF64 where RIFF would do.

    Raises:
        OptionError: what no WAV can hold.
    """
    block = channels * fmt.width
    if not 1 <= samplerate <= 0xFFFFFFFF:
        raise OptionError(f"a sample rate of {samplerate} Hz does not fit in a WAV: pass 1 to 4294967295")
    if channels < 1 or block > 0xFFFF:
        raise OptionError(f"{channels} channels of {fmt.subtype} do not fit in a WAV: a frame has 1 to 65535 bytes")
    body = _fmt_chunk(fmt, samplerate, channels, channel_mask, extensible)
    data_bytes = None if frames is None else frames * block
    # Before the data: 12 bytes of RIFF, the ds64 or its place, the chunks, 8 bytes of data header.
    fact = 12 if fmt.is_float else 0
    metadata = b"".join(_chunk(identifier, contents) for identifier, contents in chunks)
    total = 12 + len(body) + fact + len(metadata) + 8 + (0 if data_bytes is None else data_bytes + data_bytes % 2)
    large = rf64 or total + (_DS64_BYTES + 8 if reserve else 0) - 8 > RIFF_LIMIT
    if large or reserve:
        total += _DS64_BYTES + 8
    riff_size, data_size, frame_size = total - 8, data_bytes, frames
    if data_bytes is None or large:
        riff_size = data_size = frame_size = _OPEN
    parts = [struct.pack("<4sI4s", b"RF64" if large else b"RIFF", riff_size, b"WAVE")]
    if large:
        # Sizes of zero are how an RF64 says that it does not know them.
        sizes = (0, 0, 0) if data_bytes is None else (total - 8, data_bytes, frames)
        parts.append(_chunk("ds64", struct.pack("<QQQI", *sizes, 0)))
    elif reserve:
        parts.append(_chunk("JUNK", bytes(_DS64_BYTES)))
    parts.append(body)
    if fmt.is_float:
        parts.append(_chunk("fact", struct.pack("<I", frame_size)))
    parts += [metadata, struct.pack("<4sI", b"data", data_size)]
    return b"".join(parts)


def info_chunk(tags: Mapping[str, str]) -> tuple[str, bytes] | None:
    """The LIST INFO chunk of these tags (text in UTF-8); None where it would be empty."""
    body = b"".join(
        _chunk(INFO_NAMES[tag], str(text).encode() + b"\0") for tag, text in tags.items() if text and tag in INFO_NAMES
    )
    return ("LIST", b"INFO" + body) if body else None


def info_tags(chunks: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    """The tags in the LIST INFO chunks among `chunks`, by soundfile's names."""
    names = {identifier.encode(): tag for tag, identifier in INFO_NAMES.items()}
    tags: dict[str, str] = {}
    for identifier, body in chunks:
        if identifier != "LIST" or body[:4] != b"INFO":
            continue
        at = 4
        while at + 8 <= len(body):
            name, length = body[at : at + 4], int.from_bytes(body[at + 4 : at + 8], "little")
            raw = body[at + 8 : at + 8 + length].split(b"\0")[0]
            if name in names and raw:
                try:
                    tags.setdefault(names[name], raw.decode("utf-8"))
                except UnicodeDecodeError:
                    tags.setdefault(names[name], raw.decode("latin-1"))
            at += 8 + length + length % 2
    return tags


def _fmt_chunk(fmt: SampleFormat, samplerate: int, channels: int, mask: int | None, extensible: bool) -> bytes:
    """The plain form for mono and stereo, where every reader knows the speakers; else the extensible one."""
    tag = IEEE_FLOAT if fmt.is_float else PCM
    block = channels * fmt.width
    extensible = extensible or channels > 2 or mask not in (None, {1: 0x4, 2: 0x3}[channels])
    plain = struct.pack(
        "<HHIIHH",
        EXTENSIBLE if extensible else tag,
        channels,
        samplerate,
        min(samplerate * block, 0xFFFFFFFF),
        block,
        fmt.bits,
    )
    if extensible:
        extra = struct.pack("<HHIH", 22, fmt.bits, mask or 0, tag) + GUID_TAIL
        return _chunk("fmt ", plain + extra)
    # Anything but PCM carries the size of its extension, even when that is zero.
    return _chunk("fmt ", plain + (b"\0\0" if fmt.is_float else b""))


def _chunk(identifier: str, contents: bytes) -> bytes:
    """A chunk with its header and, for an odd length, its pad byte."""
    head = struct.pack("<4sI", identifier.encode("latin-1"), len(contents))
    return head + contents + b"\0" * (len(contents) % 2)
