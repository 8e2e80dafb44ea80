"""The size of an image, read from the head of its bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, of PNG, GIF, JPEG or WebP."""
    try:
        if data.startswith(b"\x89PNG"):
            width, height = struct.unpack(">II", data[16:24])
        elif data.startswith(b"GIF8"):
            width, height = struct.unpack("<HH", data[6:10])
        elif data.startswith(b"\xff\xd8"):
            width, height = next(_jpeg_sizes(data))
        elif data[8:12] == b"WEBP":
            width, height = _webp_size(data)
        else:
            return None
    except (struct.error, StopIteration):
        return None
    return (width, height) if width and height else None


def _jpeg_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    place = 2
    while place + 9 < len(data):
        marker, length = struct.unpack(">xBH", data[place : place + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            yield width, height
        place += 2 + length


def _webp_size(data: bytes) -> tuple[int, int]:
    match data[12:16]:
        case b"VP8 ":
            width, height = struct.unpack("<HH", data[26:30])
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack("<I", data[21:25])
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            sides = data[24:27], data[27:30]
            width, height = (int.from_bytes(side, "little") + 1 for side in sides)
            return width, height
        case kind:
            raise struct.error(f"not a WebP image: {kind!r}")
