"""PNG files made small: one byte a pixel, as pages are of few colours. Only the standard library."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator

_HEAD = b"\x89PNG\r\n\x1a\n"
_COLOURS = 256


def smaller(png: bytes) -> bytes:
    """The same picture with the 256 colours that it has most of; takes what Chromium makes, RGB of 8 bits."""
    width, height, rows = _pixels(png)
    counts: Counter[bytes] = Counter()
    for row in rows:
        counts.update(row[at : at + 3] for at in range(0, len(row), 3))
    kept = [colour for colour, _ in counts.most_common(_COLOURS)]
    places = {colour: number for number, colour in enumerate(kept)}
    for colour in counts:
        if colour not in places:
            places[colour] = min(range(len(kept)), key=lambda number: _distance(kept[number], colour))
    lines = b"".join(b"\0" + bytes(places[row[at : at + 3]] for at in range(0, len(row), 3)) for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", b"".join(kept)), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return _HEAD + b"".join(map(_chunk, parts))


def _distance(one: bytes, other: bytes) -> int:
    return sum((left - right) ** 2 for left, right in zip(one, other, strict=True))


def _chunk(part: tuple[bytes, bytes]) -> bytes:
    name, body = part
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_HEAD)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def _pixels(png: bytes) -> tuple[int, int, list[bytes]]:
    """Width, height, and three bytes a pixel."""
    parts = list(_chunks(png))
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", parts[0][1])
    if (depth, interlaced) != (8, 0) or kind not in (2, 6):
        raise ValueError("this is no PNG of 8 bits in RGB, as Chromium makes them")
    size = 3 if kind == 2 else 4
    data = zlib.decompress(b"".join(body for name, body in parts if name == b"IDAT"))
    rows: list[bytes] = []
    above = bytearray(width * size)
    for number in range(height):
        begin = number * (width * size + 1)
        line = bytearray(data[begin + 1 : begin + 1 + width * size])
        _unfilter(data[begin], line, above, size)
        above = line
        rows.append(bytes(line) if size == 3 else _without_alpha(line))
    return width, height, rows


def _without_alpha(line: bytearray) -> bytes:
    found = bytearray(len(line) // 4 * 3)
    for channel in range(3):
        found[channel::3] = line[channel::4]
    return bytes(found)


def _unfilter(kind: int, line: bytearray, above: bytearray, size: int) -> None:
    """Undo in place what a PNG does to a row to make it compress well."""
    for at in range(len(line)):
        left = line[at - size] if at >= size else 0
        up = above[at]
        corner = above[at - size] if at >= size else 0
        if kind == 1:
            line[at] = (line[at] + left) & 255
        elif kind == 2:
            line[at] = (line[at] + up) & 255
        elif kind == 3:
            line[at] = (line[at] + (left + up) // 2) & 255
        elif kind == 4:
            line[at] = (line[at] + _nearest(left, up, corner)) & 255


def _nearest(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    distances = (abs(guess - left), abs(guess - up), abs(guess - corner))
    return (left, up, corner)[distances.index(min(distances))]
