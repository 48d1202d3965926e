"""WAV headers: RIFF, RF64 and BW64, read from files and pipes alike, in one pass and without seeking.

Sources: Multimedia Programming Interface and Data Specifications 1.0 (RIFF, INFO), WAVEFORMATEXTENSIBLE
(Microsoft), EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from longconv_audio.errors import UnreadableError

from .pcm import SampleFormat

PCM, IEEE_FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
# What follows the two bytes of the encoding in a WAVEFORMATEXTENSIBLE: Microsoft's, and the Ambisonic B-format's.
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_AMBISONIC_TAIL = bytes.fromhex("00002107d3118644c8c1ca000000")

# Metadata worth carrying to an output. Loudness, levels and channel names describe the input alone.
CARRIED = frozenset(["LIST", "bext", "iXML", "axml", "id3 ", "ID3 ", "cue ", "smpl", "inst", "cart", "_PMX"])
_CARRIED_BYTES = 64 << 20

# Writers that do not know the length yet and cannot come back put one of these as the size of the data: all ones
# (ffmpeg), all ones less a header (VLC), 0x7FFFF000 less a header (SoX), 2 GiB (arecord).
_STREAMING = ((0xFFFFFF00, 0xFFFFFFFF), (0x7FFF0000, 0x80000000))


class ForeignEncodingError(UnreadableError):
    """A WAV that is sound but holds what this parser does not do (RIFX, ADPCM, mu-law, ...)."""


@dataclass
class WavHeader:
    """What stands before the samples of a WAV.

    Args:
        fmt: the encoding of the samples.
        samplerate: hertz.
        channels: samples per frame.
        data_offset: bytes from the start of the file to the first sample.
        data_bytes: bytes of samples as declared; None where the header leaves it open.
        data_field: the size of the data chunk as it stands in the header, whatever it means.
        open_end: why `data_bytes` is None: "zero" (as a crashed recorder leaves it), "streaming", or "".
        riff_end: where the file ends as declared, bytes from its start; None where the header leaves it open.
        channel_mask: speaker bits of a WAVEFORMATEXTENSIBLE, else None.
        chunks: (identifier, contents) of the metadata chunks before the samples.
    """

    fmt: SampleFormat
    samplerate: int
    channels: int
    data_offset: int = 0
    data_bytes: int | None = None
    data_field: int = 0
    open_end: str = ""
    riff_end: int | None = None
    channel_mask: int | None = None
    chunks: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def frame_bytes(self) -> int:
        """Bytes per frame."""
        return self.channels * self.fmt.width


def parse_header(stream, name: str = "input") -> WavHeader:
    """Read a WAV header up to the first sample, which is what `stream` gives next.

    Args:
        stream: anything with `read(n)`. It is never asked to seek; its `skip(n)` is used where it has one.
        name: what to call it in messages.

    Raises:
        UnreadableError: not a WAV, cut short, or without sense.
        ForeignEncodingError: a WAV with samples of another kind than PCM_U8 to PCM_32, FLOAT, DOUBLE.
    """
    walker = _Walker(stream, name)
    form, size, kind = struct.unpack("<4sI4s", walker.take(12, "its first 12 bytes"))
    if form == b"RIFX":
        raise ForeignEncodingError(f"{name}: a big-endian WAV (RIFX)")
    if form not in (b"RIFF", b"RF64", b"BW64") or kind != b"WAVE":
        raise UnreadableError(f"{name}: not a WAV file: it begins with {(form + kind)!r}")
    large: dict[bytes, int] = {}
    header: WavHeader | None = None
    chunks: list[tuple[str, bytes]] = []
    while True:
        what = "its data chunk" if header else "its fmt chunk"
        identifier, length = struct.unpack("<4sI", walker.take(8, what))
        if identifier == b"data":
            break
        if identifier == b"ds64" and length >= 24:
            large = _parse_ds64(walker.take(length, "its ds64 chunk"))
        elif identifier == b"fmt ":
            if not 14 <= length <= 65536:
                raise UnreadableError(f"{name}: the fmt chunk has {length} bytes; 16, 18 or 40 were expected")
            header = _parse_fmt(walker.take(length, "its fmt chunk"), name)
        elif identifier.decode("latin-1") in CARRIED and length <= _CARRIED_BYTES:
            chunks.append((identifier.decode("latin-1"), walker.take(length, f"its {identifier!r} chunk")))
        else:
            walker.skip(large.get(identifier, length) if length == 0xFFFFFFFF else length, what)
        walker.skip_pad(length)
    if header is None:
        raise UnreadableError(f"{name}: samples come before the fmt chunk that says what they are")
    header.chunks = chunks
    header.data_offset = walker.position
    if form != b"RIFF":
        length = large.get(b"data", length) if length == 0xFFFFFFFF else length
        size = large.get(b"riff", size) if size == 0xFFFFFFFF else size
    header.riff_end = None if size >= 0xFFFFFFFF and form == b"RIFF" else size + 8
    header.open_end = _open_end(length)
    header.data_field = length
    header.data_bytes = None if header.open_end else length
    return header


def is_streaming(size: int) -> bool:
    """Whether a size is one that writers put where they do not know the length yet."""
    return size >= 1 << 63 or any(low <= size <= high for low, high in _STREAMING)


def parse_chunks(buffer: bytes) -> list[tuple[str, bytes]]:
    """The metadata chunks in the bytes behind the samples; stops at the first that makes no sense."""
    chunks, at = [], 0
    while at + 8 <= len(buffer):
        identifier, length = buffer[at : at + 4], int.from_bytes(buffer[at + 4 : at + 8], "little")
        if not _is_identifier(identifier) or at + 8 + length > len(buffer):
            break
        if identifier.decode("latin-1") in CARRIED:
            chunks.append((identifier.decode("latin-1"), bytes(buffer[at + 8 : at + 8 + length])))
        at += 8 + length + length % 2
    return chunks


def begins_with_chunk(buffer: bytes, space: int | None) -> bool:
    """Whether `buffer` begins with a chunk that fits in `space` bytes (None: any), rather than with samples."""
    if len(buffer) < 8 or not _is_identifier(buffer[:4]):
        return False
    return space is None or 8 + int.from_bytes(buffer[4:8], "little") <= space


def _is_identifier(four: bytes) -> bool:
    return len(four) == 4 and all(0x20 <= byte < 0x7F for byte in four) and four[:1] != b" "


def _open_end(length: int) -> str:
    """Why the declared size of the data says nothing; empty where it does say something."""
    if length == 0:
        return "zero"
    return "streaming" if is_streaming(length) else ""


def _parse_ds64(body: bytes) -> dict[bytes, int]:
    """The 64-bit sizes by chunk identifier (EBU Tech 3306, section 4)."""
    riff, data, _frames = struct.unpack_from("<QQQ", body)
    sizes = {}
    count = int.from_bytes(body[24:28], "little")
    for at in range(28, min(28 + 12 * count, len(body) - 11), 12):
        sizes[body[at : at + 4]] = int.from_bytes(body[at + 4 : at + 12], "little")
    return sizes | {b"riff": riff, b"data": data}


def _parse_fmt(body: bytes, name: str) -> WavHeader:
    """The fmt chunk: who, how many, how fast."""
    tag, channels, rate, _bytes_per_second, block = struct.unpack_from("<HHIIH", body)
    bits = int.from_bytes(body[14:16], "little")
    mask = None
    if tag == EXTENSIBLE and len(body) >= 40:
        mask = int.from_bytes(body[20:24], "little")
        tag = int.from_bytes(body[24:26], "little")
        if body[26:40] not in (GUID_TAIL, _AMBISONIC_TAIL):
            raise ForeignEncodingError(f"{name}: a WAV with samples of kind {body[24:40].hex()}")
    if channels == 0:
        raise UnreadableError(f"{name}: the header says 0 channels; at least 1 was expected")
    if rate == 0:
        raise UnreadableError(f"{name}: the header says a sample rate of 0 Hz")
    # The container can be wider than the samples (20 bits in 3 bytes); writers that get it wrong leave the bits right.
    width = block // channels if block % channels == 0 and block // channels * 8 >= bits else (bits + 7) // 8
    subtype = {
        (PCM, 1): "PCM_U8",
        (PCM, 2): "PCM_16",
        (PCM, 3): "PCM_24",
        (PCM, 4): "PCM_32",
        (IEEE_FLOAT, 4): "FLOAT",
        (IEEE_FLOAT, 8): "DOUBLE",
    }.get((tag, width))
    if subtype is None or (tag == IEEE_FLOAT and bits != 8 * width):
        raise ForeignEncodingError(f"{name}: a WAV with samples of kind {tag:#06x} in {bits} bits")
    return WavHeader(SampleFormat(subtype), rate, channels, channel_mask=mask)


class _Walker:
    """Counts bytes off a stream and knows what is missing when it ends."""

    def __init__(self, stream, name: str) -> None:
        self.stream, self.name, self.position = stream, name, 0

    def take(self, count: int, what: str) -> bytes:
        """Exactly `count` bytes."""
        parts, left = [], count
        while left:
            part = self.stream.read(left)
            if not part:
                raise self._cut_short(what)
            parts.append(part)
            left -= len(part)
        self.position += count
        return b"".join(parts)

    def skip(self, count: int, what: str) -> None:
        """Pass over `count` bytes."""
        if hasattr(self.stream, "skip"):
            done = self.stream.skip(count)
        else:
            done = 0
            while done < count and (part := self.stream.read(min(count - done, 1 << 16))):
                done += len(part)
        if done < count:
            raise self._cut_short(what)
        self.position += count

    def skip_pad(self, length: int) -> None:
        """Pass over the byte that makes a chunk's length even."""
        if length % 2:
            self.skip(1, "its data chunk")

    def _cut_short(self, what: str) -> UnreadableError:
        return UnreadableError(f"{self.name}: the WAV header is cut short: the file ends before {what}")
