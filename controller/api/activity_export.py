"""The stream of events and decisions as JSON and as CSV, written while it is read."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from controller.api.activity import Line, Reading

COLUMNS = (
    *("at", "what", "id", "kind", "severity", "pool", "subject", "reason", "text", "outcome", "node"),
    *("numbers", "tick", "term"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # wide ones, too
_AT_ONCE = 200  # lines of one piece


def as_json(read: Reading) -> Iterator[bytes]:
    """One object: `lines` and `older`."""
    yield b'{"lines":['
    first = True
    for piece in _pieces(iter(read), lambda lines: ",".join(json.dumps(row(line)) for line in lines)):
        yield piece.encode() if first else f",{piece}".encode()
        first = False
    yield f'],"older":{json.dumps(str(read.older) if read.older else None)}}}'.encode()


def as_csv(read: Reading) -> Iterator[bytes]:
    """RFC 4180, with a line of names. What a spreadsheet would take for a formula begins with an apostrophe."""
    yield _written([COLUMNS]).encode()
    for piece in _pieces(iter(read), lambda lines: _written([_cells(line) for line in lines])):
        yield piece.encode()


def row(line: Line) -> dict[str, Any]:
    """As the API tells it; the order is that of `COLUMNS`. What is no number is left out: JSON has no word for it."""
    found = {name: getattr(line, name) for name in COLUMNS}
    numbers = {name: value for name, value in line.numbers.items() if math.isfinite(value)}
    return found | {"at": iso(line.at), "numbers": numbers}


def iso(at: datetime) -> str:
    """With a Z, as everywhere in the API."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def plain(text: str) -> str:
    """What no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _cells(line: Line) -> list[str]:
    told = row(line)
    told["numbers"] = json.dumps(told["numbers"], ensure_ascii=False) if told["numbers"] else ""
    return ["" if value is None else plain(str(value)) for value in told.values()]


def _written(rows: Sequence[Sequence[str]]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerows(rows)
    return written.getvalue()


def _pieces(lines: Iterator[Line], told: Callable[[list[Line]], str]) -> Iterator[str]:
    kept: list[Line] = []
    for line in lines:
        kept.append(line)
        if len(kept) == _AT_ONCE:
            yield told(kept)
            kept = []
    if kept:
        yield told(kept)
