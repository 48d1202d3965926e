"""What the first and last bytes of a compressed file say that libsndfile does not."""

from __future__ import annotations

import os

# Kinds of file that libsndfile does not read and people have: (offset, bytes, what to call it, usual suffix).
_FOREIGN = (
    (4, b"ftyp", "M4A/MP4 (AAC or ALAC)", "m4a"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska/WebM", "webm"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA/ASF", "wma"),
    (0, b"wvpk", "WavPack", "wv"),
    (0, b"MAC ", "Monkey's Audio", "ape"),
    (0, b"TTA1", "True Audio", "tta"),
    (0, b"DSD ", "DSF", "dsf"),
    (0, b"FRM8", "DSDIFF", "dff"),
    (0, b"#!AMR", "AMR", "amr"),
    (0, b"ADIF", "AAC", "aac"),
)


def foreign_kind(head: bytes) -> tuple[str, str] | None:
    """The name and usual suffix of a kind of file that must be converted first; None where it is not one.

    Args:
        head: the first 12 bytes.
    """
    for offset, magic, kind, suffix in _FOREIGN:
        if head[offset : offset + len(magic)] == magic:
            return kind, suffix
    # ADTS has MPEG audio's sync word with the layer set to 0, which no MPEG audio has.
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "AAC", "aac"
    return None


def ogg_is_complete(file) -> bool:
    """Whether an Ogg file ends in a whole page that ends its stream (RFC 3533, section 6)."""
    size = file.seek(0, os.SEEK_END)
    # A page has at most 65,307 bytes, so the last one begins within these.
    file.seek(max(0, size - 131072))
    tail = _read_all(file, 131072)
    file.seek(0)
    at = tail.rfind(b"OggS")
    while at >= 0:
        page = tail[at:]
        if len(page) >= 27 and page[4] == 0:
            segments = page[26]
            whole = 27 + segments + sum(page[27 : 27 + segments])
            return bool(page[5] & 4) and len(page) >= whole
        at = tail.rfind(b"OggS", 0, at)
    return False


def mp3_declares_length(file) -> bool:
    """Whether an MP3 begins with a Xing, Info or VBRI frame that counts its frames.

    Without one libsndfile takes the length from the first frame's bit rate, which is wrong for variable ones.
    """
    head = _mp3_head(file)
    for mark in (b"Xing", b"Info"):
        at = head.find(mark)
        if at >= 0 and len(head) >= at + 8 and head[at + 7] & 1:
            return True
    return b"VBRI" in head


def mp3_varies(file) -> bool:
    """Whether the frames at the start of an MP3 differ in bit rate, which needs a declared length to be read whole."""
    file.seek(_id3_bytes(file))
    data = _read_all(file, 1 << 20)
    file.seek(0)
    at, rates = data.find(b"\xff"), set()
    while 0 <= at <= len(data) - 4:
        length = _mp3_frame_bytes(data[at : at + 4])
        if not length:
            at = data.find(b"\xff", at + 1) if not rates else -1
            continue
        rates.add(data[at + 2] >> 4)
        at += length
    return len(rates) > 1


def _mp3_head(file) -> bytes:
    file.seek(_id3_bytes(file))
    head = _read_all(file, 4096)
    file.seek(0)
    return head


def _id3_bytes(file) -> int:
    """Length of the ID3v2 tag at the start (ID3v2.4, section 3.1); its size has 7 bits a byte."""
    file.seek(0)
    head = _read_all(file, 10)
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def _mp3_frame_bytes(head: bytes) -> int:
    """Length of a layer III frame from its four header bytes (ISO 11172-3, 2.4.2.3); 0 where it is none."""
    if head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, rate_index, frequency_index = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or rate_index in (0, 15) or frequency_index == 3:
        return 0
    low = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    high = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    rate = (high if version == 3 else low)[rate_index - 1] * 1000
    frequency = (44100, 48000, 32000)[frequency_index] >> (0, 0, 1, 0)[version] >> (2 if version == 0 else 0)
    return (144 if version == 3 else 72) * rate // frequency + (head[2] >> 1 & 1)


def _read_all(file, count: int) -> bytes:
    parts, left = [], count
    while left and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
