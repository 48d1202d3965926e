"""Reading a picture back."""

import struct
import zlib


def png(path):
    """Size and decoded scan lines of an 8-bit PNG; every chunk's checksum is verified."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    position, header, body, last = 8, b"", b"", b""
    while position < len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        last, chunk = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack(">I", data[position + 8 + length : position + 12 + length])
        assert zlib.crc32(last + chunk) == checksum
        header = chunk if last == b"IHDR" else header
        body += chunk if last == b"IDAT" else b""
        position += 12 + length
    assert last == b"IEND"
    return struct.unpack(">II", header[:8]), zlib.decompress(body)
